//! What a pool can be told before it exists, and what it refuses. Next: `used`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::pool::job::Counters;
use crate::pool::queue::{Limits, Queue};
use crate::pool::thread::Shared;
use crate::sys::alive::Alive;
use crate::sys::fork::Born;

/// Sets up a [`Pool`](crate::pool::Pool).
///
/// # Examples
/// ```
/// use squall_reactor::Pool;
///
/// let pool = Pool::builder().threads(1..=4).queue(64).name("disk").build()?;
/// assert_eq!(pool.stats().threads, 0); // a thread starts when there is work
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolBuilder {
    threads: Option<RangeInclusive<usize>>,
    queue: usize,
    keep_alive: Duration,
    name: String,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self { threads: None, queue: 1_024, keep_alive: MAX_KEEP_ALIVE, name: "squall-pool".into() }
    }

    /// How many threads stay once they have been started, and how many there are at most.
    ///
    /// A thread starts when work finds none idle. The default is 1 to the number of CPUs, at least
    /// 4: blocking work waits more than it computes. At most 4,096.
    pub fn threads(mut self, threads: RangeInclusive<usize>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// How many jobs wait while all threads are busy, 1 to 16,777,216; by default 1,024.
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    /// How long a thread above the minimum waits for work before it ends: at most a second, which
    /// is the default (an idle pool falls silent within it, law 8).
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// What the threads are called, followed by their number; by default `squall-pool`. The kernel
    /// keeps 15 bytes of it (pthread_setname_np(3)).
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(super) fn shared(self) -> Result<Arc<Shared>> {
        let threads = self.threads.unwrap_or_else(default_threads);
        let (min_threads, max_threads) = threads.into_inner();
        if max_threads == 0 || max_threads > MAX_THREADS || min_threads > max_threads {
            return Err(Error::Argument(
                "a pool has at least 1 thread and at most 4,096, and the range must not be empty",
            ));
        }
        if self.queue == 0 || self.queue > MAX_QUEUE {
            return Err(Error::Argument("a pool's queue holds 1 to 16,777,216 jobs"));
        }
        if self.keep_alive > MAX_KEEP_ALIVE {
            return Err(Error::Argument("a pool's keep_alive is at most one second"));
        }
        if self.name.contains('\0') {
            return Err(Error::Argument("a pool's name must not contain a NUL"));
        }
        let (capacity, keep_alive) = (self.queue, self.keep_alive);
        let limits = Limits { min_threads, max_threads, capacity, keep_alive };
        let (queue, counters) = (Queue::new(limits), Counters::default());
        let (born, name, _alive) = (Born::now(), self.name, Alive::pool());
        Ok(Arc::new(Shared { born, name, queue, counters, _alive }))
    }
}

const MAX_THREADS: usize = 4_096;
const MAX_QUEUE: usize = 1 << 24;
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1);

fn default_threads() -> RangeInclusive<usize> {
    1..=available_parallelism().map_or(4, |cpus| cpus.get().clamp(4, MAX_THREADS))
}
