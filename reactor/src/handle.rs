//! The reactor as its own thread sees it: register, spawn, timers, stop.
//!
//! A [`Handle`] is a weak right to a strong thing: it stays on the thread, it may outlive the reactor,
//! and then it answers with an error. Next: `remote`.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::executor::JoinHandle;
use crate::interest::{Answer, Interest, Trigger};
use crate::local::{Local, TimerCell};
use crate::registration::{Ready, Registration};
use crate::state::ready::{Job, Kind};
use crate::state::wheel::TimerKey;
use crate::stats::Stats;
use crate::sys::process;
use crate::sys::source::Source;
use crate::sys::thread::ThreadId;
use crate::token::Token;
use crate::trace::Trace;

/// A clonable handle to a reactor, on the reactor's thread.
///
/// # Threads and fork
/// Not `Send`: other threads use [`Remote`](crate::Remote). In a forked child every method that can
/// fail answers [`Error::Forked`] until `Reactor::after_fork`.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, yield_now};
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let task = handle.spawn(async {
///     yield_now().await;
///     6 * 7
/// });
/// assert_eq!(reactor.block_on(task)??, 42);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) local: Rc<Local>,
}

/// Names a timer that [`Handle::at`] or [`Handle::after`] armed.
///
/// # Examples
/// ```
/// use squall_reactor::Reactor;
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let never = handle.after(Duration::from_secs(60), || unreachable!())?;
/// assert!(handle.cancel(never));
/// let stop = handle.clone();
/// handle.after(Duration::from_millis(1), move || stop.stop())?;
/// reactor.run()?;
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    key: TimerKey,
    callback: Token,
}

impl Handle {
    /// The reactor that is turning on this thread: inside a task, a callback, or `block_on`.
    ///
    /// # Errors
    /// [`Error::NoReactor`].
    pub fn current() -> Result<Self> {
        Local::current().map(|local| Self { local }).ok_or(Error::NoReactor)
    }

    /// Registers a source and the callback that hears of it.
    ///
    /// The descriptor should be in nonblocking mode; the reactor does not change it. The callback is
    /// lent the source by `&`, and says by [`Next`](crate::Next) why it stopped.
    ///
    /// # System calls
    /// One `epoll_ctl(ADD)`. After that `Edge` and `Level` cost none beyond the shared wait, `Oneshot`
    /// one MOD for each re-arming. Elsewhere than on Linux level triggering is not built.
    ///
    /// # Errors
    /// With the source given back: [`Error::NotPollable`] for regular files, which epoll refuses
    /// (epoll_ctl(2), EPERM), [`Error::AlreadyRegistered`], [`Error::Argument`] for
    /// [`Interest::ACCEPT_EXCLUSIVE`] with something else, [`Error::Forked`], [`Error::Closed`].
    #[track_caller]
    pub fn register<S, A>(
        &self,
        source: S,
        interest: Interest,
        trigger: Trigger,
        callback: impl FnMut(&S, Ready) -> A + 'static,
    ) -> std::result::Result<Registration<S>, (Error, S)>
    where
        S: Source + 'static,
        A: Into<Answer>,
    {
        Registration::new(&self.local, source, interest, trigger, callback)
    }

    /// [`Registration::set_interest`], for who has only the token.
    ///
    /// # Errors
    /// The same.
    pub fn set_interest(&self, token: Token, interest: Interest) -> Result<()> {
        self.local.set_interest(token, interest)
    }

    /// [`Registration::resume`] or [`Registration::rearm`], for who has only the token; and the end of
    /// a mask for spinning, also for a source that tasks wait on.
    ///
    /// # Errors
    /// The same.
    pub fn resume(&self, token: Token) -> Result<()> {
        self.local.resume(token)
    }

    /// Ends a registration: DEL, then the callback is dropped. False if it had ended.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Closed`].
    pub fn deregister(&self, token: Token) -> Result<bool> {
        self.local.check()?;
        Ok(self.local.deregister(token))
    }

    /// Spawns a task. After the reactor has ended, or in a forked child, the future is dropped and the
    /// handle answers [`Error::Cancelled`].
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        self.local.spawn(future)
    }

    /// Spawns a task that nobody waits for: one allocation less than [`spawn`](Self::spawn). If it
    /// panics, the panic unwinds out of the reactor's turn.
    #[track_caller]
    pub fn spawn_detached(&self, future: impl Future<Output = ()> + 'static) {
        self.local.spawn_unit(Box::pin(future));
    }

    /// Calls `callback` after `delay`, counted from now (one reading of the clock). Resolution: one
    /// millisecond, or 10 us with [`Builder::fine_timers`](crate::Builder::fine_timers), rounded up,
    /// so never early (law 10).
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Closed`].
    #[track_caller]
    pub fn after(&self, delay: Duration, callback: impl FnOnce() + 'static) -> Result<Timer> {
        let deadline = later(Instant::now(), delay);
        self.arm(deadline, delay.is_zero(), Location::caller(), Box::new(callback))
    }

    /// Calls `callback` at `deadline`; one that is past, in the next turn. A timer that arms itself
    /// so again and again, and achieves nothing, is named as one that spins (law 12): work in pieces
    /// is a task's, which yields.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Closed`].
    #[track_caller]
    pub fn at(&self, deadline: Instant, callback: impl FnOnce() + 'static) -> Result<Timer> {
        let due = deadline <= self.local.now.get();
        self.arm(deadline, due, Location::caller(), Box::new(callback))
    }

    fn arm(
        &self,
        deadline: Instant,
        due: bool,
        place: &'static Location<'static>,
        callback: Box<dyn FnOnce()>,
    ) -> Result<Timer> {
        self.local.check()?;
        let tick = self.local.clock.deadline_tick(deadline);
        let serial = self.local.state.borrow_mut().draw_serial();
        let achieved = self.local.achieved.get();
        let chain = if due { self.local.observers.chain(achieved) } else { 0 };
        let cell = TimerCell { serial, chain, place, callback };
        let slot = self.local.timers.borrow_mut().insert(cell) as u32;
        let callback = Token { slot, serial };
        let job = Job::new(Kind::Timer, callback);
        let key = self.local.state.borrow_mut().add_timer(tick, job);
        self.local.added();
        Ok(Timer { key, callback })
    }

    /// Cancels a timer and drops its callback. False if the callback has been called or cancelled; one
    /// that is due in this turn and still to be called is not.
    pub fn cancel(&self, timer: Timer) -> bool {
        let Some(cell) = self.local.take_timer(timer.callback) else { return false };
        // `None` if it has fired: its job finds no callback.
        let _fired = self.local.state.borrow_mut().wheel.cancel(timer.key);
        drop(cell);
        true
    }

    /// Ends [`Reactor::run`](crate::Reactor::run) after this turn.
    pub fn stop(&self) {
        self.local.stop.set(true);
    }

    /// The clock as the turn read it: for deadlines that may be a turn old, without a reading of
    /// their own.
    pub fn now(&self) -> Instant {
        self.local.now.get()
    }

    /// Begins to record a trace: the last `capacity` events, of 40 bytes each. While it is on, each
    /// event costs a reading of the clock; what was recorded before is forgotten.
    pub fn trace_start(&self, capacity: usize) {
        self.local.observers.start_trace(capacity);
    }

    /// Ends the recording and gives it, empty if there was none.
    pub fn trace_stop(&self) -> Trace {
        let Some(ring) = self.local.observers.stop_trace() else { return Trace::default() };
        let name = std::thread::current().name().unwrap_or("without a name").to_owned();
        ring.into_trace(process::id(), ThreadId::current().number(), name)
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.local.shared().counters.read()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("local", &self.local).finish()
    }
}

/// `start + delay`; where `Instant` cannot hold the sum, some thirty years on.
pub(crate) fn later(start: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    start.checked_add(delay).unwrap_or_else(|| start + FAR)
}
