//! What the default build of each crate needs on Linux, and nothing else.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::process::Command;

/// What is compiled for the users of a crate: its normal dependencies and those of these, without
/// any feature that is not on by default.
fn needs(crate_name: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none"]);
    tree.args(["--format", "{p}", "-p", crate_name]);
    tree.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    let output = tree.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    text.lines().filter(|line| !line.is_empty()).filter_map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const REACTOR: [&str; 6] =
    ["squall-reactor", "mio", "libc", "slab", "crossbeam-channel", "crossbeam-utils"];

#[test]
fn the_reactor_needs_mio_libc_slab_and_crossbeam_channel_and_nothing_else() {
    assert_eq!(needs("squall-reactor"), set(&REACTOR));
}

#[test]
fn the_http_layer_needs_the_reactor_and_matchit_and_nothing_else() {
    let needed = set(&[&REACTOR[..], &["squall-http", "matchit"]].concat());
    assert_eq!(needs("squall-http"), needed);
}
