//! The trace: what it records, that its JSON is JSON, and that its arrows go from a wake to a run.

mod json;

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use json::Json;
use squall_reactor::{Interest, Next, Pool, Reactor, Trace, Trigger, sleep};

fn events(trace: &Trace) -> Vec<Json> {
    let mut json = Vec::new();
    trace.write_chrome_json(&mut json).expect("memory takes everything");
    let json = Json::read(std::str::from_utf8(&json).expect("JSON is UTF-8"));
    json.list("traceEvents").to_vec()
}

/// How many events have this name, whatever place stands behind it.
fn named(events: &[Json], name: &str) -> usize {
    events.iter().filter(|event| event.text("name").split(' ').next() == Some(name)).count()
}

/// One of everything: a callback, a task that sleeps, a timer, a remote call, work in the pool.
fn a_busy_loop(capacity: Option<usize>) -> Trace {
    let mut reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    if let Some(capacity) = capacity {
        handle.trace_start(capacity);
    }
    let pool = Pool::builder().build().expect("a pool");
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    theirs.write_all(b"!").expect("room");
    let registered =
        handle.register(ours, Interest::READABLE, Trigger::Edge, |_: &UnixStream, _| Next::Wait);
    let registration = registered.map_err(|(error, _)| error).expect("registered");
    handle.after(Duration::from_millis(1), || {}).expect("armed");
    let remote = reactor.remote();
    std::thread::spawn(move || remote.call(|_| {})).join().expect("it sends").expect("it is sent");
    let task = handle.spawn(sleep(Duration::from_millis(2)));
    reactor
        .block_on(async {
            task.await.expect("it ends");
            let four = pool.run(|| std::hint::black_box(2) + 2).await.expect("it runs");
            assert_eq!(four, 4);
        })
        .expect("it turns");
    drop(registration);
    handle.trace_stop()
}

#[test]
fn a_trace_names_what_the_loop_did_and_is_json() {
    let events = events(&a_busy_loop(Some(10_000)));
    for name in [
        "turn", "wait", "report", "callback", "poll", "timer", "call", "wake", "spawn", "end",
        "give", "work",
    ] {
        assert!(named(&events, name) > 0, "no {name} in {events:#?}");
    }
    let threads: Vec<&Json> =
        events.iter().filter(|event| event.text("name") == "thread_name").collect();
    assert_eq!(threads.len(), 2, "the loop's thread and one of the pool's: {threads:?}");
    let work = events.iter().find(|event| event.text("name").starts_with("work ")).expect("work");
    let turn = events.iter().find(|event| event.text("name") == "turn").expect("a turn");
    assert_ne!(work.number("tid"), turn.number("tid"), "the pool works on a thread of its own");
    assert!(work.text("name").contains("tests/trace.rs"), "{work:?}");
}

#[test]
fn each_arrow_has_two_ends_and_points_forward_at_a_run() {
    let events = events(&a_busy_loop(Some(10_000)));
    let mut begun = HashMap::new();
    let (mut arrows, mut given) = (0, 0);
    for event in events.iter().filter(|event| event.text("ph") != "M") {
        let at = event.number("ts");
        match event.text("ph") {
            "s" => assert!(begun.insert(event.number("id") as u64, at).is_none()),
            "f" => {
                let from = begun.remove(&(event.number("id") as u64)).expect("it began");
                assert!(from <= at, "an arrow into the past");
                let runs: &[&str] = match event.text("name") {
                    "give" => &["work"],
                    _ => &["callback", "poll", "timer", "waker"],
                };
                let run = events.iter().any(|run| {
                    run.text("ph") == "X"
                        && run.number("ts") == at
                        && run.number("tid") == event.number("tid")
                        && runs.contains(&run.text("name").split(' ').next().unwrap_or_default())
                });
                assert!(run, "nothing runs at {at}");
                arrows += 1;
                given += usize::from(event.text("name") == "give");
            }
            _ => {}
        }
    }
    assert!(begun.is_empty(), "arrows without an end: {begun:?}");
    assert!(arrows >= 5, "{arrows} arrows");
    assert_eq!(given, 1, "to the pool's thread");
}

#[test]
fn the_ring_keeps_the_last_events_and_counts_the_others() {
    let trace = a_busy_loop(Some(5));
    assert_eq!(trace.len(), 5);
    assert!(trace.dropped() > 10, "{}", trace.dropped());
    events(&trace);
}

#[test]
fn without_a_start_nothing_is_recorded() {
    let trace = a_busy_loop(None);
    assert!(trace.is_empty() && trace.dropped() == 0);
    let metadata = events(&trace);
    assert!(metadata.iter().all(|event| event.text("ph") == "M"), "{metadata:?}");
}
