//! The feature `serde`: a snapshot as JSON has every figure, under the name that the fields have.
//!
//!     cargo test -p squall-reactor --features serde --test snapshot_json

use std::os::fd::AsRawFd;
use std::time::Duration;

use serde_json::{Value, json};
use squall_reactor::{Interest, Next, Pool, Reactor, Trigger};

/// Broken by a row that is left out, or a word that is serialised as its inside.
#[test]
fn a_snapshot_is_told_in_words_and_figures() {
    let mut reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let (fd, line) = (reader.as_raw_fd(), line!() + 1);
    let registration = handle.register(reader, Interest::BOTH, Trigger::Level, |_, _| Next::Wait);
    let registration = registration.map_err(|(error, _)| error).expect("registered");
    handle.spawn_detached(std::future::pending());
    handle.after(Duration::from_secs(50), || {}).expect("armed");
    let pool = Pool::builder().name("disk").build().expect("a pool");
    reactor.block_on(pool.run(|| ())).expect("it turns").expect("it runs");
    let told = serde_json::to_value(handle.snapshot()).expect("every field is plain");
    let source = &told["sources"][0];
    for (name, value) in [
        ("token", json!(format!("{:?}", registration.token()))),
        ("kind", json!("pipe")),
        ("fd", json!(fd)),
        ("interest", json!("READABLE|WRITABLE")),
        ("trigger", json!("Level")),
        ("phase", json!("Waiting")),
        ("last_readiness", json!("NONE")),
        ("reports", json!(0)),
        ("reports_without_progress", json!(0)),
        ("longest", Value::Null),
    ] {
        assert_eq!(source[name], value, "{name} of {source}");
    }
    let place = source["registered_at"].as_str().expect("a string");
    assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
    assert!(source["idle"]["secs"].is_u64(), "{source}");
    assert_eq!(told["tasks"][0]["phase"], "Waiting");
    assert_eq!(
        (&told["timers"]["armed"], &told["timers"]["due_within"][4][1]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&told["pools"][0][0], &told["pools"][0][1]["completed"]),
        (&json!("disk"), &json!(1))
    );
    assert_eq!((&told["watchdog"], &told["stats"]["sources"]), (&json!("Off"), &json!(1)));
}
