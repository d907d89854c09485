//! Turns with an end, for the tests of the laws.

use std::time::{Duration, Instant};

use squall_reactor::Reactor;

/// Turns until `done`; what does not come within a minute never comes.
pub fn turn_until(reactor: &mut Reactor, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "never came: {what}");
        reactor.turn(Some(Duration::from_secs(1))).expect("a turn");
    }
}

/// So many turns that do not sleep. Returns how many events the kernel reported in them.
pub fn turn_at_once(reactor: &mut Reactor, turns: usize) -> u64 {
    let before = reactor.stats().events;
    for _ in 0..turns {
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    reactor.stats().events - before
}
