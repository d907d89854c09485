//! Threads for work that blocks (law 11).
//!
//! A bounded number of threads and a bounded queue before them. When both are full the caller
//! chooses: an error with his closure back ([`Pool::try_run`]), or a future that waits
//! ([`Pool::run`]). A panic is a value. What has not begun is cancelled by dropping its future;
//! what runs can ask ([`Pool::run_with`]). Nothing here waits for a stuck job beyond a deadline.
//!
//! There is no reactor in this: the futures need a waker and nothing else. There are no priorities
//! and no stealing: one list, in order of arrival. Next: `sys::handler`.

mod queue;
mod job;
mod thread;
mod run;
mod builder;
mod used;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::pool::job::{Asking, Job, Plain, Task, Work};
use crate::pool::thread::Shared;

pub use crate::pool::builder::PoolBuilder;
pub use crate::pool::job::Cancelled;
pub use crate::pool::run::{Full, Reason, Run};

/// Threads for work that blocks. Clones share them.
///
/// Threads start when work finds none idle, up to the maximum; above the minimum they end when
/// they find no work for [`keep_alive`](PoolBuilder::keep_alive), the others wait without a
/// timeout. Dropping the last clone lets no work in any more and waits for nothing: what is queued
/// is done, then the threads end.
///
/// # Threads and fork
/// It may be used from any thread, those of the pool included. In a forked child everything answers
/// [`Error::Forked`] or does nothing, and what was inherited is leaked: its threads do not exist
/// there, and its locks may be held by them (law 6).
///
/// # Examples
/// ```
/// use squall_reactor::pool::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::builder().threads(1..=4).queue(64).build()?;
/// let (sender, receiver) = std::sync::mpsc::channel();
/// pool.execute(move || sender.send(6 * 7).expect("the receiver waits")).expect("there is room");
/// assert_eq!(receiver.recv(), Ok(42));
/// assert!(pool.shutdown(Duration::from_secs(10)).still_running.is_empty());
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    handle: Arc<Handle>,
}

impl Pool {
    /// Sets up a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Queues work at once, and gives the future of its result.
    ///
    /// While the queue is full the work waits before it, in order of arrival, for as long as its
    /// future lives. The future need not be polled for the work to be done.
    ///
    /// # System calls
    /// One futex call if a thread is idle, a clone if one is started, otherwise none.
    ///
    /// # Errors
    /// They are the future's: see [`Run`].
    ///
    /// # Cancel safety
    /// See [`Run`].
    #[track_caller]
    pub fn run<F, T>(&self, work: F) -> Run<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.send(Plain(work), Location::caller())
    }

    /// As [`run`](Self::run), for work that asks now and then whether anybody still waits for it.
    #[track_caller]
    pub fn run_with<F, T>(&self, work: F) -> Run<T>
    where
        F: FnOnce(&Cancelled) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.send(Asking(work), Location::caller())
    }

    /// As [`run`](Self::run), for callbacks: `done` is called with the result on the thread of
    /// `handle`'s reactor. Aborting the returned handle cancels what has not begun, and `done` is
    /// dropped uncalled; dropping the handle changes nothing.
    ///
    /// # Examples
    /// ```
    /// use squall_reactor::{Pool, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let pool = Pool::builder().build()?;
    /// let handle = reactor.handle();
    /// let stop = handle.clone();
    /// pool.run_then(&handle, || 6 * 7, move |answer| {
    ///     assert_eq!(answer.unwrap(), 42);
    ///     stop.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), squall_reactor::Error>(())
    /// ```
    #[track_caller]
    pub fn run_then<F, T>(
        &self,
        handle: &crate::handle::Handle,
        work: F,
        done: impl FnOnce(Result<T>) + 'static,
    ) -> crate::executor::JoinHandle<()>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let run = self.run(work);
        handle.spawn(async move { done(run.await) })
    }

    /// Queues work if there is an idle thread, a thread to start or room, and gives the future of
    /// its result.
    ///
    /// # Errors
    /// [`Full`] gives the closure back and says why.
    #[track_caller]
    pub fn try_run<F, T>(&self, work: F) -> std::result::Result<Run<T>, Full<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.offer(Task::new(Plain(work), Location::caller()))
    }

    /// Queues work that nobody waits for, if there is an idle thread, a thread to start or room.
    /// Its result is dropped on the pool's thread; a panic is counted.
    ///
    /// # Errors
    /// [`Full`] gives the closure back and says why.
    #[track_caller]
    pub fn execute<F, T>(&self, work: F) -> std::result::Result<(), Full<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.offer(Task::detached(Plain(work), Location::caller())).map(Run::let_go)
    }

    /// Lets no work in any more, waits at most `timeout` for all that was brought before, and says
    /// what it left.
    ///
    /// At the deadline what has not begun is cancelled: its closures are dropped here, its futures
    /// answer [`Error::Closed`]. What still runs is told ([`Cancelled`]), named and left alone.
    /// Called in a job of the pool it waits for that job too, and names it.
    ///
    /// # Threads and fork
    /// It blocks its thread: not for a loop's own, unless with [`Duration::ZERO`]. When nothing is
    /// left running all threads have left the pool. In a forked child it does nothing.
    pub fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        let shared = &self.handle.shared;
        if shared.born.forked() {
            return ShutdownReport::default();
        }
        let completed = || shared.counters.completed.load(Ordering::Relaxed);
        let completed_before = completed();
        shared.queue.close();
        shared.queue.wait_until_ended(Instant::now().checked_add(timeout));
        let (queued, begun) = shared.queue.give_up();
        let ran = completed() - completed_before;
        let mut report = ShutdownReport { ran, ..Default::default() };
        for job in queued {
            report.cancelled += usize::from(job.refuse(Error::Closed, &shared.counters));
        }
        for (thread, job) in begun {
            if job.refuse(Error::Closed, &shared.counters) {
                report.cancelled += 1; // a thread had it in hand, and had not begun
            } else if job.is_running() {
                job.tell_cancelled();
                report.still_running.push((shared.thread_name(thread), job.location()));
            }
        }
        report
    }

    /// What the pool does at this moment. In a forked child all are 0.
    pub fn stats(&self) -> PoolStats {
        PoolStats::of(&self.handle.shared)
    }

    /// The pools that this thread has given work to, by name.
    pub(crate) fn used_here() -> Vec<(String, PoolStats)> {
        used::all().iter().map(|pool| (pool.name.clone(), PoolStats::of(pool))).collect()
    }

    fn send<W, T>(&self, work: W, location: &'static Location<'static>) -> Run<T>
    where
        W: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.handle.shared;
        if shared.born.forked() {
            return Run::refused(Error::Forked);
        }
        used::note(shared);
        let task = Arc::new(Task::new(work, location));
        match shared.push(Arc::clone(&task) as Arc<dyn Job>) {
            Ok(serial) => Run::sent(task, serial, shared),
            Err(_) => Run::refused(Error::Closed),
        }
    }

    fn offer<F, T>(&self, task: Task<Plain<F>, T>) -> std::result::Result<Run<T>, Full<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.handle.shared;
        if shared.born.forked() {
            return Err(Full { closure: task.into_work().0, reason: Reason::Forked });
        }
        used::note(shared);
        let task = Arc::new(task);
        match shared.offer(Arc::clone(&task) as Arc<dyn Job>) {
            Ok(serial) => Ok(Run::sent(task, serial, shared)),
            Err(refusal) => {
                let task = Arc::into_inner(task).expect("the queue has given its copy back");
                Err(Full { closure: task.into_work().0, reason: refusal.into() })
            }
        }
    }
}

impl PoolBuilder {
    /// Makes the pool. No thread starts before there is work.
    ///
    /// # Errors
    /// [`Error::Argument`] for a figure out of its range.
    pub fn build(self) -> Result<Pool> {
        Ok(Pool { handle: Arc::new(Handle { shared: self.shared()? }) })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.handle.shared.name;
        f.debug_struct("Pool").field("name", name).field("stats", &self.stats()).finish()
    }
}

/// A pool's figures at one moment.
///
/// # Examples
/// ```
/// use squall_reactor::{Pool, Reactor};
///
/// let pool = Pool::builder().build()?;
/// Reactor::new()?.block_on(pool.run(|| 1 + 1))??;
/// assert_eq!(pool.stats().panicked, 0);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// Threads, those being started included.
    pub threads: usize,
    /// Threads that wait for work.
    pub idle: usize,
    /// Jobs in the queue.
    pub queued: usize,
    /// Jobs whose [`Pool::run`] waits for a place in the queue.
    pub waiting: usize,
    /// Jobs being done.
    pub running: usize,
    /// Jobs that have ended, those that panicked included.
    pub completed: u64,
    /// Panics caught: in jobs, and in the Drop of what cancelled or unwanted ones left.
    pub panicked: u64,
}

impl PoolStats {
    fn of(shared: &Shared) -> Self {
        if shared.born.forked() {
            return Self::default();
        }
        let counts = shared.queue.counts();
        Self {
            threads: counts.threads,
            idle: counts.idle,
            queued: counts.queued,
            waiting: counts.waiting,
            running: shared.queue.count_running(|job| job.is_running()),
            completed: shared.counters.completed.load(Ordering::Relaxed),
            panicked: shared.counters.panicked.load(Ordering::Relaxed),
        }
    }
}

/// What [`Pool::shutdown`] has done and left.
///
/// # Examples
/// ```
/// use squall_reactor::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::builder().build()?;
/// let report = pool.shutdown(Duration::from_secs(1));
/// assert_eq!(report.to_string(), "0 ran, 0 cancelled");
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Jobs that ended while it waited.
    pub ran: u64,
    /// Jobs that had not begun at the deadline.
    pub cancelled: usize,
    /// Threads left behind, with the place where their job was brought.
    pub still_running: Vec<(String, &'static Location<'static>)>,
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ran, {} cancelled", self.ran, self.cancelled)?;
        for (thread, location) in &self.still_running {
            write!(f, ", {thread} still runs the job from {location}")?;
        }
        Ok(())
    }
}

/// What the clones of a pool share: its Drop is that of the last one.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.shared.born.forked() {
            return std::mem::forget(Arc::clone(&self.shared)); // one owner for ever: leaked
        }
        self.shared.queue.close();
    }
}
