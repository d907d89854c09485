//! The reactor itself: build, run, turn, block on, after a fork, and the order of its end.
//!
//! It owns what only the turning thread needs (mio's buffer of events) and the right to turn. All else
//! is in `local`, which handles share. Next: `time`.

use std::fmt;
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::local::{Callback, Local};
use crate::observers::Observers;
use crate::remote::Remote;
use crate::spin::SpinPolicy;
use crate::state::registry::Slot;
use crate::stats::Stats;
use crate::sys::socket;
use crate::token::Token;
use crate::watchdog::{StuckReport, Watch, Watchdog};

/// Rounds in which the tasks' drops may leave something behind before the rest is leaked to the
/// drop of the tables.
const DROP_ROUNDS: usize = 64;

/// An event loop, owned by one thread.
///
/// # Threads and fork
/// Not `Send`. In a forked child every method answers [`Error::Forked`] until
/// [`after_fork`](Self::after_fork), and its drop does nothing to the parent.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, sleep};
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// let answer = reactor.block_on(async {
///     sleep(Duration::from_millis(5)).await;
///     42
/// })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub struct Reactor {
    local: Rc<Local>,
    events: mio::Events,
    /// A duplicate of the epoll's, to lend: the poll itself is borrowed while it waits.
    fd: OwnedFd,
    /// Ends with the reactor.
    _watchdog: Option<Watchdog>,
}

/// Builds a [`Reactor`] with other budgets than the defaults.
///
/// # Examples
/// ```
/// use squall_reactor::{Config, Reactor};
///
/// let reactor = Reactor::builder().config(Config::default()).build()?;
/// # drop(reactor);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
    on_spin: SpinPolicy,
    watch: Option<Watch>,
    timing: bool,
    fine_timers: bool,
    first_serial: u32,
}

impl Builder {
    /// The budgets and thresholds.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What happens when a source spins (law 12). By default it is counted.
    pub fn on_spin(mut self, policy: SpinPolicy) -> Self {
        self.on_spin = policy;
        self
    }

    /// Starts a watchdog: a thread that tells `tell` of a callback or a poll which has held the loop
    /// for `threshold`, while it still does, once for each. It looks four times in a threshold (at
    /// least every 250 ms) while the loop works, and parks when the loop has been idle for a second;
    /// the next turn wakes it by one futex call. Each piece of user code then costs three stores.
    ///
    /// # Threads and fork
    /// `tell` is called on the watchdog's thread, so it may use a `Remote` but no handle. The thread
    /// ends with the reactor, which waits for it unless it is telling. A forked child has none, also
    /// after `after_fork`.
    ///
    /// # Examples
    /// ```
    /// use squall_reactor::Reactor;
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, told) = mpsc::channel();
    /// let tell = move |report: &squall_reactor::StuckReport| {
    ///     eprintln!("{report}");
    ///     let _ = sender.send(report.clone());
    /// };
    /// let mut reactor = Reactor::builder().watchdog(Duration::from_millis(10), tell).build()?;
    /// let report = reactor.block_on(async { told.recv() })?; // blocks the loop until it is named
    /// assert_eq!(report?.place.map(|place| place.file()), Some(file!()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watchdog(
        mut self,
        threshold: Duration,
        tell: impl Fn(&StuckReport) + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(Watch { threshold, tell: Arc::new(tell) });
        self
    }

    /// Measures each callback and each poll, for the longest ones in a snapshot: two readings of the
    /// clock for each. Off by default.
    pub fn timing(mut self, on: bool) -> Self {
        self.timing = on;
        self
    }

    /// Rounds deadlines up to 10 us in place of a millisecond, and ends the wait by a timerfd (Linux;
    /// elsewhere the wait itself stays as coarse as it is). Off by default: most deadlines are
    /// timeouts, and do not mind.
    ///
    /// A single timer was 34 us late in the median and 85 us in the worst of a hundred, where a
    /// coarse one is 1,022 and 1,895 (`examples/lateness.rs`); none is early. A loop inside another
    /// one ([`AsFd`]) is as exact as its host.
    ///
    /// # System calls
    /// One `timerfd_create` and one `epoll_ctl` when it is built; one `timerfd_settime` before each
    /// sleep whose end is another than the last one's. The wait stays one (law 8).
    ///
    /// # Threads and fork
    /// `after_fork` makes a timerfd for the child; its parent's is left alone.
    ///
    /// # Examples
    /// ```
    /// use squall_reactor::{Reactor, sleep};
    /// use std::time::{Duration, Instant};
    ///
    /// let mut reactor = Reactor::builder().fine_timers(true).build()?;
    /// let begun = Instant::now();
    /// reactor.block_on(sleep(Duration::from_micros(150)))?;
    /// assert!(begun.elapsed() >= Duration::from_micros(150));
    /// # Ok::<(), squall_reactor::Error>(())
    /// ```
    pub fn fine_timers(mut self, on: bool) -> Self {
        self.fine_timers = on;
        self
    }

    /// Where the serials start, so that a test can stand near their wrap (law 2).
    #[doc(hidden)]
    pub fn first_serial(mut self, serial: u32) -> Self {
        self.first_serial = serial;
        self
    }

    /// Builds the reactor.
    ///
    /// # System calls
    /// `epoll_create1`, `eventfd`, one `epoll_ctl`, and one `fcntl` for [`AsFd`].
    ///
    /// # Errors
    /// [`Error::Argument`] for a budget or a threshold of 0; [`Error::Os`], mostly EMFILE.
    pub fn build(self) -> Result<Reactor> {
        let Config { events, jobs, remote, timers, .. } = self.config;
        if [events, jobs, remote, timers].contains(&0) {
            return Err(Error::Argument("a budget of 0 would never run anything: use 1 or more"));
        }
        let watchdog = self.watch.map(Watchdog::start).transpose()?;
        let pulse = watchdog.as_ref().and_then(Watchdog::pulse);
        let observers = Observers::new(self.on_spin, pulse, self.timing);
        let local =
            Local::new(self.config, self.first_serial, Clock::new(self.fine_timers), observers)?;
        let fd = local.duplicate()?;
        let events = mio::Events::with_capacity(events);
        Ok(Reactor { local, events, fd, _watchdog: watchdog })
    }
}

impl Reactor {
    /// A reactor with the default budgets.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A builder.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// For this thread.
    pub fn handle(&self) -> Handle {
        Handle { local: Rc::clone(&self.local) }
    }

    /// For other threads.
    pub fn remote(&self) -> Remote {
        Remote::new(self.local.shared())
    }

    /// Turns until [`Handle::stop`] or [`Remote::stop`] is called.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Nested`] while a reactor runs on this thread, be it another one,
    /// [`Error::Os`] if the wait fails.
    ///
    /// # Panics
    /// With the panic of a callback, or of a task whose handle is gone. The reactor stays usable.
    pub fn run(&mut self) -> Result<()> {
        let _entered = self.enter_to_block()?;
        while !self.local.stop.replace(false) {
            self.local.turn(&mut self.events, None)?;
        }
        Ok(())
    }

    /// One turn: sleeps at most for `limit` (`None`: until something happens), and not at all if
    /// something is ready. Returns how many callbacks and tasks ran.
    ///
    /// # Errors
    /// As [`run`](Self::run); but inside another reactor it may turn, which so embeds it.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn turn(&mut self, limit: Option<Duration>) -> Result<usize> {
        let _entered = self.enter()?;
        self.local.turn(&mut self.events, limit)
    }

    /// Runs a future to its end, and everything else meanwhile.
    ///
    /// # Errors
    /// As [`run`](Self::run); the future is dropped.
    ///
    /// # Panics
    /// As [`run`](Self::run), and with the future's own panic.
    #[track_caller]
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output> {
        let _entered = self.enter_to_block()?;
        let mut future = pin!(future);
        let root = Root::new(&self.local);
        let waker = self.local.task_waker(root.token);
        loop {
            if self.local.root_ready.replace(false)
                && self.local.state.borrow_mut().tasks.start(root.token)
            {
                let observed = self.local.observe_root(root.token);
                let poll = self.local.poll_as(root.token, future.as_mut(), &waker);
                drop(observed);
                if let Poll::Ready(output) = poll {
                    return Ok(output);
                }
                self.local.state.borrow_mut().suspend(root.token);
                self.local.settle_wakeup();
            }
            self.local.turn(&mut self.events, None)?;
        }
    }

    /// Makes the reactor usable in a forked child.
    ///
    /// It opens a fresh epoll and mailbox, registers again the listening sockets that callbacks hold
    /// (their registrations stay valid), and drops every other callback, task (with the sources
    /// inside) and timer: a connection has one owner, the parent. In a process that has not forked
    /// it does nothing.
    ///
    /// # Errors
    /// [`Error::Os`] if the kernel refuses the new objects.
    pub fn after_fork(&mut self) -> Result<()> {
        if !self.local.forked() {
            return Ok(());
        }
        self.local.observers.leave_watchdog();
        let listeners = self.take_listeners();
        let kept: Vec<Token> = listeners.iter().map(|(token, _)| *token).collect();
        self.drop_all_but(&kept);
        self.local.reopen()?;
        self.fd = self.local.duplicate()?;
        for (token, callback) in listeners {
            // None: its owner was among what was dropped.
            let Some(order) = self.local.state.borrow_mut().start_afresh(token) else { continue };
            self.local.keep_callback(token, callback);
            self.local.carry_out(order)?;
        }
        Ok(())
    }

    /// Until when a loop that embeds this one may sleep on its descriptor ([`AsFd`]); `None`: until
    /// that is readable. To be asked after each [`turn`](Self::turn); a timer that the own thread
    /// arms later, and that is due before, makes the descriptor readable.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.local.host_deadline()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.handle().stats()
    }

    /// Whoever blocks inside a reactor that runs on this thread would bring it to a standstill. One
    /// that was inherited by a fork does not run here.
    fn enter_to_block(&self) -> Result<crate::local::Entered> {
        if Local::current().is_some_and(|outer| outer.check().is_ok()) {
            self.local.check()?;
            return Err(Error::Nested);
        }
        self.enter()
    }

    fn enter(&self) -> Result<crate::local::Entered> {
        self.local.check()?;
        if self.local.turning.get() {
            return Err(Error::Nested);
        }
        self.local.end_rest();
        Ok(self.local.enter())
    }

    /// Takes out the callbacks that hold listening sockets.
    fn take_listeners(&self) -> Vec<(Token, Callback)> {
        let state = self.local.state.borrow();
        let mut callbacks = self.local.callbacks.borrow_mut();
        let mut take = |(token, slot): (Token, &Slot)| {
            let listens = socket::is_listening_number(slot.fd);
            let cell = callbacks.get_mut(token.index()).filter(|_| listens)?;
            Some((token, cell.take()?))
        };
        state.registry.iter().filter_map(&mut take).collect()
    }

    /// Drops the users' values, and then their drops' leavings, for a bounded number of rounds; the
    /// core forgets everything but the registrations in `kept`.
    fn drop_all_but(&self, kept: &[Token]) {
        for _ in 0..DROP_ROUNDS {
            let tasks = self.local.tasks.take();
            let callbacks = self.local.callbacks.take();
            let timers = self.local.timers.take();
            let wakers = self.local.wakers.take();
            if tasks.is_empty() && callbacks.is_empty() && timers.is_empty() && wakers.is_empty() {
                break;
            }
            // Tasks first: the sources inside them deregister.
            drop(tasks);
            drop(callbacks);
            drop(timers);
            drop(wakers);
        }
        self.local.state.borrow_mut().clear_but(kept);
    }
}

impl AsFd for Reactor {
    /// The epoll's descriptor, to embed the loop in another one: wait for it, and for
    /// [`next_deadline`](Reactor::next_deadline), and call [`turn`](Reactor::turn) with a limit of
    /// zero.
    ///
    /// From the first call on it is readable between two turns as soon as there is something to do:
    /// a report of the kernel, what the last turn left over, a call or a wake-up by another thread,
    /// what this thread spawned or resumed, a timer that is due before the deadline that was told.
    /// A host that hears only of changes (epoll's edge, so tokio's `AsyncFd`) must call `turn` again
    /// until it has run nothing: a level-triggered source that is still ready is no change.
    ///
    /// # System calls
    /// None. Between two turns at most one `write` to the eventfd, however much is added (law 9).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.local.lend();
        self.fd.as_fd()
    }
}

impl AsRawFd for Reactor {
    /// The number of [`as_fd`](AsFd::as_fd)'s descriptor, and all that is said there.
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Reactor {
    /// Deregisters every source (DEL before close), then drops tasks, callbacks and timers. Handles
    /// and registrations that live on answer [`Error::Closed`].
    fn drop(&mut self) {
        self.local.close();
        let _entered = self.local.enter();
        self.drop_all_but(&[]);
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("local", &self.local).finish_non_exhaustive()
    }
}

/// The future that `block_on` polls itself, as a task; it ends with `block_on`, however that ends.
struct Root<'a> {
    local: &'a Local,
    token: Token,
}

impl<'a> Root<'a> {
    #[track_caller]
    fn new(local: &'a Local) -> Self {
        let token = local.state.borrow_mut().add_task(std::panic::Location::caller());
        local.root.set(Some(token));
        Self { local, token }
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        self.local.state.borrow_mut().tasks.remove(self.token);
        self.local.root.set(None);
        self.local.root_ready.set(false);
        self.local.settle_wakeup();
    }
}
