//! The loop's lag: how long it was away from the kernel, in `Stats`, and in a scrape for Prometheus.

mod turning;

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use squall_http::metrics::Metrics;
use squall_reactor::{Reactor, Stats, sleep, yield_now};
use turning::{turn_at_once, turn_until};

const MS: Duration = Duration::from_millis(1);

/// How often, and the least and the most that all times together can be.
fn sums(stats: &Stats) -> (u64, Duration, Duration) {
    let (mut count, mut least, mut most, mut lower) =
        (0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for (bound, times) in stats.lag.iter() {
        count += times;
        least += lower * times as u32;
        most = most.saturating_add(bound.saturating_mul(times as u32));
        lower = bound;
    }
    (count, least, most)
}

// A loop that counts its sleep, or not its work, has figures that nobody can act on.
#[test]
fn each_wait_counts_once_and_all_that_was_counted_is_the_busy_time() {
    let mut reactor = Reactor::new().unwrap();
    let work = async {
        for round in 0..20 {
            sleep(5 * MS).await;
            yield_now().await;
            thread::sleep(MS * (round % 3));
        }
    };
    reactor.block_on(work).unwrap();
    turn_at_once(&mut reactor, 10);
    let stats = reactor.stats();
    let (count, least, most) = sums(&stats);
    assert_eq!(count, stats.turns);
    let busy = Duration::from_nanos(stats.busy_ns);
    // A time is longer than the bound before its own.
    assert!(least <= busy && busy <= most, "{least:?} <= {busy:?} <= {most:?}");
}

#[test]
fn a_callback_that_blocks_is_one_long_count_that_a_scrape_shows() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    turn_at_once(&mut reactor, 1);
    let blocked = Rc::new(Cell::new(false));
    let done = Rc::clone(&blocked);
    let block = move || {
        thread::sleep(40 * MS);
        done.set(true);
    };
    handle.after(Duration::ZERO, block).unwrap();
    let long = |stats: &Stats| {
        let above = stats.lag.iter().skip_while(|(bound, _)| *bound <= 40 * MS);
        above.map(|(_, times)| times).sum::<u64>()
    };
    let before = long(&reactor.stats());
    turn_until(&mut reactor, "the timer", || blocked.get());
    // It is counted at the next wait's begin.
    turn_at_once(&mut reactor, 1);
    let stats = reactor.stats();
    assert!(long(&stats) > before && stats.lag.longest() >= 40 * MS, "{:?}", stats.lag);
    let scrape = Metrics::new().reactor(&stats);
    let count = format!("squall_lag_seconds_bucket{{le=\"+Inf\"}} {}\n", sums(&stats).0);
    assert!(scrape.as_str().contains(&count), "{}", scrape.as_str());
    let below: Vec<u64> = scrape
        .as_str()
        .lines()
        .filter_map(|line| line.strip_prefix("squall_lag_seconds_bucket{le=\"")?.split_once("\"} "))
        .map(|(_, times)| times.parse().unwrap())
        .collect();
    assert!(below.len() > 20 && below.is_sorted(), "{below:?}");
}

// What passes between the turns of a guest is its host's sleep or its host's work: nobody knows.
#[test]
fn a_loop_that_another_hosts_counts_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let _ = reactor.as_fd(); // from now on it is lent
    thread::sleep(5 * MS);
    turn_at_once(&mut reactor, 3);
    assert_eq!(sums(&reactor.stats()).0, 0);
}
