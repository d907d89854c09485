//! Counters with one writer and any number of readers.
//!
//! Only the loop's own thread writes, so an increment is a load and a store (a quarter of a
//! nanosecond) and needs no atomic read-modify-write. The one exception counts system calls of
//! other threads. Next: `spin`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long the loop was away from the kernel, counted once for each wait: what becomes ready
/// meanwhile is served so much later, and the next one may be as late again. A callback or a poll
/// that blocks is one long count.
///
/// It costs no reading of the clock: the loop knows these times. A loop that another hosts
/// (`Reactor: AsFd`) counts nothing, because the time between its turns is its host's.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, sleep};
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     std::thread::sleep(Duration::from_millis(20)); // the mistake: the loop stands still
///     sleep(Duration::from_millis(1)).await;
/// })?;
/// assert!(reactor.stats().lag.longest() >= Duration::from_millis(20));
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag([u64; LAG_BUCKETS]);

impl Lag {
    /// How often it was at most so long, and longer than the bound before. The bounds are 1,024 ns
    /// and its doubles; the last is [`Duration::MAX`].
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> + use<> {
        let counts = self.0.into_iter().enumerate();
        counts.map(|(bucket, count)| match bucket {
            LAST_BUCKET => (Duration::MAX, count),
            _ => (Duration::from_nanos(FIRST_BOUND_NS << bucket), count),
        })
    }

    /// The smallest bound that no time was above; zero if there was none.
    pub fn longest(&self) -> Duration {
        self.iter()
            .filter(|(_, count)| *count > 0)
            .last()
            .map_or(Duration::ZERO, |(bound, _)| bound)
    }

    /// In which of the counters a time belongs.
    pub(crate) fn bucket(ns: u64) -> usize {
        let bounds = ns.saturating_sub(1) / FIRST_BOUND_NS;
        LAST_BUCKET.min((u64::BITS - bounds.leading_zeros()) as usize)
    }
}

const FIRST_BOUND_NS: u64 = 1 << 10;
/// Bounds up to 4.3 s, and what is longer.
const LAG_BUCKETS: usize = 24;
const LAST_BUCKET: usize = LAG_BUCKETS - 1;

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the loop's thread may.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds, from any thread.
    pub(crate) fn add_anywhere(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters as the loop writes them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) lag: [Counter; LAG_BUCKETS],
        }

        /// The counters of a reactor at one moment; each since the reactor was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// How long the loop was away from the kernel between two waits.
            pub lag: Lag,
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats {
                    $($name: self.$name.value(),)*
                    lag: Lag(std::array::from_fn(|bucket| self.lag[bucket].value())),
                }
            }
        }

        impl Stats {
            /// Every counter with its name, in the order of the fields.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Rounds of collect, fire and dispatch.
    turns,
    /// Returns from a wait that was allowed to sleep.
    wakeups,
    /// Wake-ups after which nothing was achieved: no progress on a source, no timer, no remote call.
    idle_wakeups,
    /// Events that the kernel reported, wake-ups by other threads apart.
    events,
    /// Events dropped because their registration had ended (law 2).
    stale_events,
    /// Callbacks called and tasks polled.
    dispatches,
    /// Reports to a callback or task that achieved something.
    progress,
    /// Reports to a callback or task that achieved nothing (law 12).
    no_progress,
    /// Times that a source, or a timer that arms itself, passed the spin threshold (law 12).
    spins,
    /// Timers fired.
    timers_fired,
    /// Remote calls run.
    remote_calls,
    /// Writes to the eventfd, by whoever woke the loop (law 9).
    eventfd_writes,
    /// Sources registered now.
    sources,
    /// Tasks alive now.
    tasks,
    /// Timers armed now.
    timers,
    /// Nanoseconds outside the wait.
    busy_ns,
    /// Nanoseconds in waits that were allowed to sleep.
    asleep_ns,
}

impl Counter {
    /// Replaces the value; for what goes up and down.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_under_the_first_bound_that_it_does_not_exceed() {
        let mut times: Vec<u64> = (0..40)
            .flat_map(|bit| [-1, 0, 1].map(|by| (1 << bit) + by))
            .map(|ns: i64| ns as u64)
            .collect();
        times.extend([0, 5_000_000_000, u64::MAX]);
        for ns in times {
            let mut lag = Lag::default();
            lag.0[Lag::bucket(ns)] += 1;
            let time = Duration::from_nanos(ns);
            let bound = lag.iter().map(|(bound, _)| bound).find(|bound| *bound >= time);
            assert_eq!(Some(lag.longest()), bound, "{ns} ns");
        }
        assert_eq!(Lag::default().longest(), Duration::ZERO);
    }
}
