//! A snapshot: everything that one loop holds, at one moment, as values.
//!
//! It is taken on the loop's thread between two pieces of user code, so it is consistent; another
//! thread asks for one by a call, and a loop that is stuck does not answer (then the watchdog names
//! what holds it). Next: `snapshot::serialize`.

#[cfg(feature = "serde")]
mod serialize;
mod table;

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::interest::{Interest, Readiness, Trigger};
use crate::local::Local;
use crate::pool::{Pool, PoolStats};
use crate::pulse::Work;
use crate::remote::Remote;
use crate::state::moment::Moment;
use crate::state::readiness::Phase;
use crate::state::ready::Job;
use crate::state::registry::{Consumer, Slot};
use crate::state::tasks::{Task, TaskState};
use crate::state::waiters::SIDES;
use crate::stats::Stats;
use crate::token::Token;

pub use crate::sys::kind::SourceKind;

/// Everything that a reactor holds at one moment. `Display` prints it as tables.
///
/// With the feature `serde` it is `Serialize`: words as strings, durations as serde has them, places
/// as `file:line:column`.
///
/// # Examples
/// ```
/// use squall_reactor::{Interest, Next, Reactor, Trigger, snapshot::SourceKind};
///
/// let reactor = Reactor::new()?;
/// let (reader, _writer) = std::io::pipe()?;
/// let registration = reactor
///     .handle()
///     .register(reader, Interest::READABLE, Trigger::Level, |_, _| Next::Wait)
///     .map_err(|(error, _)| error)?;
/// let snapshot = reactor.handle().snapshot();
/// let source = &snapshot.sources[0];
/// assert_eq!((source.token, source.kind), (registration.token(), SourceKind::Pipe));
/// assert_eq!((source.interest, source.trigger), (Interest::READABLE, Trigger::Level));
/// println!("{snapshot}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// Every registration, by slot.
    pub sources: Vec<SourceRow>,
    /// Every task, by slot; the future of `block_on` is one.
    pub tasks: Vec<TaskRow>,
    /// The timers.
    pub timers: Timers,
    /// The pools that the loop's thread has given work to, by name. (A pool belongs to no loop.)
    pub pools: Vec<(String, PoolStats)>,
    /// Jobs in the ready queue.
    pub ready: usize,
    /// Messages of other threads that the loop has not heard yet.
    pub mail: usize,
    /// The watchdog.
    pub watchdog: WatchdogState,
    /// The counters.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::counters"))]
    pub stats: Stats,
}

/// Where the loop's watchdog is.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, snapshot::WatchdogState};
///
/// let snapshot = Reactor::new()?.handle().snapshot();
/// assert_eq!(snapshot.watchdog, WatchdogState::Off);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum WatchdogState {
    /// There is none.
    Off,
    /// It looks at the loop a few times in each threshold.
    Ticking,
    /// The loop has been idle, and it waits for the next turn.
    Parked,
}

/// One registration.
///
/// # Examples
/// ```
/// use squall_reactor::{Handle, snapshot::SourceRow};
///
/// /// The source that is reported most often for nothing.
/// fn suspect(handle: &Handle) -> Option<SourceRow> {
///     handle.snapshot().sources.into_iter().max_by_key(|source| source.reports_without_progress)
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SourceRow {
    /// Names it, for the methods of [`Handle`].
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::words"))]
    pub token: Token,
    /// What the descriptor is.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::text"))]
    pub kind: SourceKind,
    /// The descriptor's number.
    pub fd: i32,
    /// What is asked for.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::words"))]
    pub interest: Interest,
    /// How it is reported.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::words"))]
    pub trigger: Trigger,
    /// Where it is.
    pub phase: SourcePhase,
    /// What the kernel reported last.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::words"))]
    pub last_readiness: Readiness,
    /// Reports that were judged. (One that woke a task is judged when the task achieves something,
    /// or when the next one comes.)
    pub reports: u32,
    /// Reports in a row without progress (law 12).
    pub reports_without_progress: u32,
    /// Since the last report or, before the first one, the registration; to 16 ms.
    pub idle: Duration,
    /// Its longest callback, where timing is switched on ([`Builder::timing`]).
    ///
    /// [`Builder::timing`]: crate::Builder::timing
    pub longest: Option<Duration>,
    /// Where it was registered.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::text"))]
    pub registered_at: &'static Location<'static>,
}

/// Where a source is.
///
/// # Examples
/// ```
/// use squall_reactor::{Handle, snapshot::SourcePhase};
///
/// fn masked(handle: &Handle) -> usize {
///     let sources = handle.snapshot().sources;
///     sources.iter().filter(|source| source.phase == SourcePhase::Masked).count()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum SourcePhase {
    /// A report will call its callback, or wake a task that waits for it.
    Waiting,
    /// Its callback is about to be called.
    Queued,
    /// Its callback is running.
    Running,
    /// Paused by its callback.
    Paused,
    /// Out of the epoll: paused while its peer kept sending, masked for spinning, or flooding
    /// tasks that do not listen.
    Masked,
    /// A oneshot that has fired.
    Disarmed,
    /// Its tasks do something else: nobody waits for it.
    Unawaited,
}

/// One task.
///
/// # Examples
/// ```
/// use squall_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// handle.spawn_detached(async {});
/// let snapshot = handle.snapshot();
/// assert_eq!(snapshot.tasks[0].polls, 0);
/// assert!(snapshot.tasks[0].spawned_at.file().ends_with(".rs"));
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TaskRow {
    /// Names it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::words"))]
    pub token: Token,
    /// Where it is.
    pub phase: TaskPhase,
    /// How often it was polled.
    pub polls: u32,
    /// Since its last poll ended or, before the first one, it was spawned; to 16 ms.
    pub since: Duration,
    /// Its longest poll, where timing is switched on ([`Builder::timing`]).
    ///
    /// [`Builder::timing`]: crate::Builder::timing
    pub longest: Option<Duration>,
    /// Where it was spawned.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::text"))]
    pub spawned_at: &'static Location<'static>,
}

/// Where a task is.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, snapshot::TaskPhase};
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// handle.spawn_detached(async {});
/// assert_eq!(handle.snapshot().tasks[0].phase, TaskPhase::Queued); // nobody has turned yet
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum TaskPhase {
    /// It waits to be woken.
    Waiting,
    /// It was woken, and its poll is due.
    Queued,
    /// It is being polled: it asked for this snapshot.
    Running,
}

/// The timers by due time.
///
/// # Examples
/// ```
/// use squall_reactor::Reactor;
/// use std::time::Duration;
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// handle.after(Duration::from_secs(60), || {})?;
/// let timers = handle.snapshot().timers;
/// assert!(timers.armed == 1 && timers.next_in > Some(Duration::from_secs(59)));
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Timers {
    /// How many are armed.
    pub armed: usize,
    /// Until the earliest.
    pub next_in: Option<Duration>,
    /// How many are due within each span (those of the shorter spans not counted again).
    pub due_within: Vec<(Duration, usize)>,
    /// How many are due later than that.
    pub later: usize,
}

impl Handle {
    /// Takes a snapshot, also inside a callback or a task.
    ///
    /// # System calls
    /// For each source what tells its kind: three `getsockopt` for a socket, for anything else a
    /// `getsockopt` and a `readlink`. It reads the clock once, and takes each pool's lock.
    pub fn snapshot(&self) -> Snapshot {
        self.local.snapshot()
    }
}

impl Remote {
    /// Asks the loop for a snapshot and waits for it, from any thread; on the loop's own thread it
    /// is taken at once.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the loop does not answer within `timeout`: a callback or a poll holds
    /// it, or nobody turns it. [`Error::Closed`], [`Error::Forked`].
    ///
    /// # Threads and fork
    /// It blocks the calling thread. The loop takes the snapshot between two pieces of user code.
    ///
    /// # Examples
    /// ```
    /// use squall_reactor::{Reactor, sleep};
    /// use std::time::Duration;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// let asker = std::thread::spawn(move || {
    ///     let snapshot = remote.snapshot(Duration::from_secs(10));
    ///     remote.stop().and(snapshot)
    /// });
    /// reactor.handle().spawn_detached(sleep(Duration::from_secs(3600)));
    /// reactor.run()?;
    /// let snapshot = asker.join().expect("it only asks")?;
    /// assert_eq!(snapshot.tasks.len(), 1);
    /// # Ok::<(), squall_reactor::Error>(())
    /// ```
    #[track_caller]
    pub fn snapshot(&self, timeout: Duration) -> Result<Snapshot> {
        if let Some(local) = Local::current_of(&self.shared) {
            local.check()?;
            return Ok(local.snapshot());
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.call(move |handle| {
            // Whoever asked may have given up.
            let _ = sender.send(handle.snapshot());
        })?;
        receiver.recv_timeout(timeout).map_err(|error| match error {
            crossbeam_channel::RecvTimeoutError::Timeout => Error::TimedOut,
            crossbeam_channel::RecvTimeoutError::Disconnected => Error::Closed,
        })
    }
}

impl Local {
    fn snapshot(&self) -> Snapshot {
        let state = self.state.borrow();
        let now = Instant::now();
        let moment = Moment::at(self.clock.millis(now));
        let sources = state.registry.iter().map(|(token, slot)| SourceRow {
            longest: self.observers.longest(Work::Callback, token),
            ..source_row(token, slot, moment)
        });
        let tasks = state.tasks.iter().map(|(token, task)| TaskRow {
            longest: self.observers.longest(Work::Task, token),
            ..task_row(token, task, moment)
        });
        let due_in = |tick: u64| self.clock.until(tick, now);
        Snapshot {
            sources: sources.collect(),
            tasks: tasks.collect(),
            timers: timers(state.wheel.deadlines().map(due_in)),
            pools: Pool::used_here(),
            ready: state.ready.len(),
            mail: self.mail(),
            watchdog: match self.observers.watchdog_is_parked() {
                None => WatchdogState::Off,
                Some(false) => WatchdogState::Ticking,
                Some(true) => WatchdogState::Parked,
            },
            stats: self.shared().counters.read(),
        }
    }
}

fn source_row(token: Token, slot: &Slot, now: Moment) -> SourceRow {
    SourceRow {
        token,
        kind: SourceKind::of(slot.fd),
        fd: slot.fd,
        interest: slot.interest,
        trigger: slot.trigger(),
        phase: source_phase(slot),
        last_readiness: slot.reported,
        reports: slot.detector.reports,
        reports_without_progress: slot.detector.idle_reports,
        idle: Duration::from_millis(slot.reported_at.ticks_until(now)),
        longest: None,
        registered_at: slot.place,
    }
}

fn source_phase(slot: &Slot) -> SourcePhase {
    match &slot.consumer {
        Consumer::Callback(machine) => match machine.phase() {
            Phase::Waiting => SourcePhase::Waiting,
            Phase::Queued => SourcePhase::Queued,
            Phase::Running | Phase::RunningAgain => SourcePhase::Running,
            Phase::Paused => SourcePhase::Paused,
            Phase::Masked => SourcePhase::Masked,
            Phase::Disarmed => SourcePhase::Disarmed,
        },
        Consumer::Tasks(_) if !slot.is_in_epoll() => SourcePhase::Masked,
        Consumer::Tasks(waiters) => {
            let awaited = SIDES.into_iter().any(|side| waiters.first(side) != Job::NOBODY);
            if awaited { SourcePhase::Waiting } else { SourcePhase::Unawaited }
        }
    }
}

fn task_row(token: Token, task: &Task, now: Moment) -> TaskRow {
    TaskRow {
        token,
        phase: match task.state {
            TaskState::Idle => TaskPhase::Waiting,
            TaskState::Queued => TaskPhase::Queued,
            TaskState::Running | TaskState::Woken => TaskPhase::Running,
        },
        polls: task.polls,
        since: Duration::from_millis(task.since.ticks_until(now)),
        longest: None,
        spawned_at: task.spawned,
    }
}

fn timers(due_in: impl Iterator<Item = Duration>) -> Timers {
    const SPANS_MS: [u64; 6] = [10, 100, 1000, 10_000, 60_000, 3_600_000];
    let due_within = SPANS_MS.map(|span| (Duration::from_millis(span), 0));
    let mut timers = Timers { due_within: due_within.to_vec(), ..Timers::default() };
    for due_in in due_in {
        timers.armed += 1;
        timers.next_in = Some(timers.next_in.map_or(due_in, |next| next.min(due_in)));
        match timers.due_within.iter_mut().find(|(span, _)| due_in <= *span) {
            Some((_, count)) => *count += 1,
            None => timers.later += 1,
        }
    }
    timers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_told_by_the_span_in_which_they_are_due() {
        let due_in = [0, 10, 11, 50_000, 4_000_000].map(Duration::from_millis);
        let timers = timers(due_in.into_iter());
        let counts: Vec<usize> = timers.due_within.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts, timers.later), (vec![2, 1, 0, 0, 1, 0], 1));
        assert_eq!((timers.armed, timers.next_in), (5, Some(Duration::ZERO)));
        assert_eq!(
            timers.to_string(),
            "5 timers, the first in 0.0ns; 2 within 10ms; 1 within 100ms; 1 within 60s; 1 later"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_snapshot_is_serialisable_and_its_words_are_strings() {
        use std::fmt;
        struct Shown<F>(F);
        impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Shown<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0(f)
            }
        }
        fn is_serialisable<T: serde::Serialize>() {}
        is_serialisable::<Snapshot>();
        let words = Shown(|f: &mut fmt::Formatter<'_>| serialize::words(&Interest::BOTH, f));
        assert_eq!(words.to_string(), "READABLE|WRITABLE");
        let kind = Shown(|f: &mut fmt::Formatter<'_>| serialize::text(&SourceKind::EventFd, f));
        assert_eq!(kind.to_string(), "eventfd");
    }
}
