//! Squall beside httparse, hyper and Node's llhttp: every difference has a row in
//! `peers/classes.rs`, or a test fails.
//!
//! The same random connections go to all. A difference is either Squall being stricter, or one of a
//! few cases of a peer that refuses what the RFC allows; what is neither is a bug in one of them.
//! `CASES=1000000 cargo test -p squall-http --test differential` runs longer.

mod inputs;
mod peers;
mod properties;
mod reference;

use std::path::PathBuf;
use std::{env, fs};

use peers::classes::{CHUNK_SIZES, CONNECTIONS, Class, Difference, classified};
use peers::{Story, httparse, hyper, llhttp, squall};
use properties::Random;

#[test]
fn every_difference_to_httparse_about_a_head_has_its_class() {
    for seed in 0..cases() {
        let mut random = Random(seed);
        let bytes = match seed % 2 {
            0 => inputs::head(&mut random),
            _ => inputs::framed_head(&mut random),
        };
        classified("httparse", CONNECTIONS, &bytes, &squall::head(&bytes), &httparse::head(&bytes));
    }
}

#[test]
fn every_difference_to_httparse_about_a_chunk_size_has_its_class() {
    for seed in 0..cases() {
        let bytes = inputs::chunked(&mut Random(seed));
        let (ours, theirs) = (squall::chunk_size(&bytes), httparse::chunk_size(&bytes));
        classified("httparse", CHUNK_SIZES, &bytes, &ours, &theirs);
    }
}

#[test]
fn every_difference_to_hyper_about_a_connection_has_its_class() {
    for seed in 0..cases() {
        let bytes = inputs::connection(&mut Random(seed));
        classified("hyper", CONNECTIONS, &bytes, &squall::story(&bytes), &hyper::story(&bytes));
    }
}

#[test]
fn every_difference_to_llhttp_about_a_connection_has_its_class() {
    let connections: Vec<Vec<u8>> =
        (0..cases()).map(|seed| inputs::connection(&mut Random(seed))).collect();
    let Some(stories) = llhttp::stories(&connections) else {
        println!("skipped: there is no Node here, or it lets nobody at an llhttp of version 9");
        return;
    };
    for (bytes, theirs) in connections.iter().zip(&stories) {
        classified("llhttp", CONNECTIONS, bytes, &squall::story(bytes), theirs);
    }
}

// A row that no longer holds, because a peer has changed, would excuse a bug of ours.
#[test]
fn every_class_is_seen_in_its_example() {
    let examples: Vec<Vec<u8>> = CONNECTIONS.iter().map(|class| (class.example)()).collect();
    let by_llhttp = llhttp::stories(&examples);
    for (index, (class, bytes)) in CONNECTIONS.iter().zip(&examples).enumerate() {
        let whole = squall::story(bytes);
        shows(class, "hyper", bytes, &whole, &hyper::story(bytes));
        shows(class, "httparse", bytes, &squall::head(bytes), &httparse::head(bytes));
        if let Some(stories) = &by_llhttp {
            shows(class, "llhttp", bytes, &whole, &stories[index]);
        }
    }
    for class in CHUNK_SIZES {
        let bytes = (class.example)();
        let (ours, theirs) = (squall::chunk_size(&bytes), httparse::chunk_size(&bytes));
        shows(class, "httparse", &bytes, &ours, &theirs);
    }
}

#[test]
fn the_page_of_differences_has_these_rows_and_no_other() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md");
    // The packaged crate has no page.
    let Ok(page) = fs::read_to_string(page) else { return };
    let rows: Vec<&str> = page.lines().filter(|line| line.contains("| 91")).collect();
    let expected: Vec<String> = CONNECTIONS.iter().chain(CHUNK_SIZES).map(Class::row).collect();
    assert_eq!(rows, expected);
}

/// The example shows the class for each peer that it names.
#[track_caller]
fn shows(class: &Class, peer: &str, bytes: &[u8], ours: &squall::Story, theirs: &Story) {
    if class.peers.split(", ").any(|name| name == peer) {
        let difference = Difference::between(bytes, ours, theirs);
        assert!(
            difference.is_some_and(|difference| class.has(peer, &difference)),
            "{} and {peer}: {}\nours {ours:?}\ntheirs {theirs:?}",
            class.what,
            bytes.escape_ascii(),
        );
    }
}

fn cases() -> u64 {
    env::var("CASES").map_or(10_000, |text| text.parse().expect("a number"))
}
