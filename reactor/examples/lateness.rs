//! How late timers fire, coarse and fine (`Builder::fine_timers`), and what they cost.
//!
//!     cargo run --release -p squall-reactor --example lateness
//!     strace -fc target/release/examples/lateness fine      counts the system calls of one kind
//!
//! It printed, on 2 virtual CPUs under Linux 6.18, at real-time priority (`chrt -f 10`, for the
//! machine was busy), in microseconds after the deadline:
//!
//!              median     p99     max   waits for each
//!     coarse     1022    1895    3239   1.000
//!     fine         34      85    1330   1.000
//!
//! strace counted 2,001 `epoll_wait` for each kind, and for the fine one 2,000 `timerfd_settime`.
//! Each of 2,000 timers is armed alone, 0.2 to 5.2 ms ahead, with nothing else to do.

use std::env;
use std::time::{Duration, Instant};

use squall_reactor::{Reactor, Result, sleep_until};

const TIMERS: u32 = 2000;

fn main() -> Result<()> {
    let kind = env::args().nth(1);
    println!("         median     p99     max   waits for each");
    for (name, fine) in [("coarse", false), ("fine", true)] {
        if kind.as_ref().is_none_or(|kind| kind == name) {
            measure(name, fine)?;
        }
    }
    Ok(())
}

fn measure(name: &str, fine: bool) -> Result<()> {
    let mut reactor = Reactor::builder().fine_timers(fine).build()?;
    let before = reactor.stats().wakeups;
    let mut late_us = reactor.block_on(async {
        let mut late_us = Vec::new();
        for index in 0..TIMERS {
            // Spread over the fractions of a millisecond.
            let ahead = Duration::from_micros(200 + u64::from(index * 7919 % 5000));
            let deadline = Instant::now() + ahead;
            sleep_until(deadline).await;
            let now = Instant::now();
            assert!(now >= deadline, "early (law 10)");
            late_us.push((now - deadline).as_micros());
        }
        late_us
    })?;
    let waits = (reactor.stats().wakeups - before) as f64 / f64::from(TIMERS);
    late_us.sort_unstable();
    let at = |part: usize| late_us[(late_us.len() - 1) * part / 100];
    println!("{name:8} {:6}  {:6}  {:6}   {waits:.3}", at(50), at(99), at(100));
    Ok(())
}
