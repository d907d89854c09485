//! The language that `squall-http` takes and sends, held against a reference that was written from
//! the grammar: on random messages, on damaged ones, and on what the fuzzer has kept.
//!
//! Each case has a number from which its bytes, its limits and its splits follow; a failure prints
//! the bytes and the number. `CASES=1000000 cargo test -p squall-http --test language` runs longer.

mod inputs;
mod properties;
mod reference;

use std::path::PathBuf;
use std::{env, fs};

use properties::{Conditions, Random};

type Property = fn(Conditions, &[u8]);

// What breaks them: a scan that looks past a bad byte, a limit that waits for a line's end, a state
// that a split loses. Two hops that disagree about such bytes are what smuggling is made of.

#[test]
fn rfc9112_2_2_a_head_has_one_outcome_however_it_is_split() {
    hold("head", properties::head::head, inputs::head);
}

#[test]
fn rfc9112_6_3_a_head_says_the_same_of_its_body_as_the_rules_one_by_one() {
    hold("framing", properties::head::framing, inputs::framed_head);
}

#[test]
fn rfc9112_7_1_a_chunked_body_has_one_outcome_however_it_is_split() {
    hold("chunked", properties::chunked::chunked, inputs::chunked);
}

// What breaks it: a header value that ends a line, a length beside a coding, a body behind a 304.
#[test]
fn rfc9112_11_1_what_is_encoded_reads_as_one_response_with_the_lines_that_were_given() {
    hold("encode", properties::encode::encode, inputs::response);
}

// What breaks it: an answer behind an error, a body that is taken for a request.
#[test]
fn rfc9112_9_6_a_connection_has_the_same_answers_however_its_bytes_are_split() {
    hold("connection", properties::connection::connection, inputs::connection);
}

// The target's limit is told before the head's although both are passed (RFC 9112, 3), and neither
// waits for the end of the line.
#[test]
fn rfc9112_3_an_unfinished_target_is_414_before_the_unfinished_head_is_431() {
    use squall_http::{Error, Limits};
    let mut limits = Limits::default();
    for (target, head) in [(20, 60), (20, 25), (20, 24), (8 << 10, 16 << 10)] {
        (limits.max_target_bytes, limits.max_head_bytes) = (target, head);
        let bytes = [b"GET /".to_vec(), b"a".repeat(head)].concat();
        let first_over = "GET ".len() + target + 1;
        let near = |place: usize| place.saturating_sub(2)..place + 3;
        for len in near(5).chain(near(first_over)).chain(near(head)) {
            let len = len.min(bytes.len());
            let outcome = properties::head::in_parts(&bytes[..len], &[len / 2], &limits);
            let expected = match len {
                _ if first_over <= head && len >= first_over => Err(Error::TargetTooLong),
                _ if len >= head => Err(Error::HeadTooLarge),
                _ => Ok(None),
            };
            assert_eq!(outcome, expected, "{len} bytes of a target, {target} and {head} allowed");
            assert_eq!(reference::head::head(&bytes[..len], &limits), expected, "{len}");
        }
    }
}

/// Holds a property on random bytes and on the corpus of the fuzz target of this name.
fn hold(name: &str, property: Property, input: fn(&mut Random) -> Vec<u8>) {
    let cases = env::var("CASES").map_or(6_000, |text| text.parse().expect("a number"));
    for seed in 0..cases {
        let mut random = Random(seed);
        let bytes = input(&mut random);
        let mut conditions = Conditions { seed: random.number() as u32 };
        if !seed.is_multiple_of(3) {
            conditions.seed &= 0x7fff_ffff; // the default limits
        }
        property(conditions, &bytes);
    }
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    // The packaged crate has no corpus.
    let Ok(files) = fs::read_dir(corpus) else { return };
    for file in files {
        let data = fs::read(file.expect("an entry").path()).expect("a file");
        if let Some((conditions, bytes)) = Conditions::split(&data) {
            property(conditions, bytes);
        }
    }
}
