//! Counters with one writer and any number of readers.
//!
//! Only the loop's own thread writes, so an increment is a load and a store (a quarter of a
//! nanosecond) and needs no atomic read-modify-write. The one exception counts system calls of
//! other threads. Next: `spin`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        /// The counters of a reactor at one moment; each since the reactor was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.value(),)* }
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
