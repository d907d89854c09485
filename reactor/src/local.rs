//! What one loop shares: the core, the users' values by key, mio's poll, and the mailbox.
//!
//! The core (`state`) decides and holds keys; the tables here hold what the keys stand for: closures,
//! futures, wakers. The rule of the whole shell: **no table and no core is borrowed while user code
//! runs**. User code is a callback, a future's poll, the drop of either, and each method of a foreign
//! waker. So: take out, let go of the borrow, run, put back if the key is still alive.
//!
//! Other threads know only `shared`. Next: `hosted`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, RawWakerVTable, Waker};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use slab::Slab;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::interest::{Answer, Interest, Readiness};
use crate::observers::Observers;
use crate::shared::{Message, Shared, open};
use crate::state::State;
use crate::state::ready::{Job, Kind};
use crate::state::registry::{Call, Order};
use crate::state::waiters::Side;
use crate::stats::Counters;
use crate::sys::alive::Alive;
use crate::sys::fork::Born;
use crate::sys::selector;
use crate::token::Token;

/// A source's closure; it owns its share of the source.
pub(crate) type Callback = Box<dyn FnMut(Token, Readiness) -> Answer>;
/// A task's future.
pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A task's future and its waker; both are out while it is polled.
#[derive(Default)]
pub(crate) struct TaskCell {
    pub(crate) future: Option<LocalFuture>,
    pub(crate) waker: Option<Waker>,
}

/// A timer's closure, and what is told of it.
pub(crate) struct TimerCell {
    pub(crate) serial: u32,
    /// How many timers that were already due led to it, each armed by the one before (law 12).
    pub(crate) chain: u32,
    pub(crate) place: &'static Location<'static>,
    pub(crate) callback: Box<dyn FnOnce()>,
}

/// What a loop knows of the one that hosts it; see `hosted`.
#[derive(Default)]
pub(crate) struct Host {
    /// The descriptor was lent: somebody may sleep on it.
    pub(crate) lent: Cell<bool>,
    /// Between two turns, and nobody has called the host yet: the wake-up protocol says `SLEEPING`.
    pub(crate) asleep: Cell<bool>,
    /// The kernel has more than the last turn took, or may have.
    pub(crate) more: Cell<bool>,
    /// The earliest timer that the host knows of; `u64::MAX` for none.
    pub(crate) told_tick: Cell<u64>,
}

/// What a waker is, by its pointers: a wrapper may share the data, but then its table is another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    data: *const (),
    table: *const RawWakerVTable,
}

impl Identity {
    pub(crate) fn of(waker: &Waker) -> Self {
        Self { data: waker.data(), table: waker.vtable() }
    }
}

/// What all handles of one reactor share on its thread.
pub(crate) struct Local {
    pub(crate) state: RefCell<State>,
    /// Closures by the slot of their source.
    pub(crate) callbacks: RefCell<Vec<Option<Callback>>>,
    /// Futures by the slot of their task.
    pub(crate) tasks: RefCell<Vec<TaskCell>>,
    /// Wakers that are not a task's own, each with its serial.
    pub(crate) wakers: RefCell<Slab<(u32, Waker)>>,
    /// Closures of timers.
    pub(crate) timers: RefCell<Slab<TimerCell>>,
    poll: RefCell<Option<mio::Poll>>,
    shared: RefCell<Arc<Shared>>,
    receiver: RefCell<ManuallyDrop<Receiver<Message>>>,
    born: Cell<Born>,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// The turn's reading of the clock.
    pub(crate) now: Cell<Instant>,
    pub(crate) turning: Cell<bool>,
    pub(crate) stop: Cell<bool>,
    /// The future that `block_on` polls itself, once its job came up.
    pub(crate) root: Cell<Option<Token>>,
    pub(crate) root_ready: Cell<bool>,
    /// The task that is being polled, and its waker's identity.
    pub(crate) running: Cell<Option<(Token, Identity)>>,
    /// What was achieved so far: progress, timers, messages.
    pub(crate) achieved: Cell<u64>,
    /// The same, when the poll of the running task began.
    pub(crate) achieved_before: Cell<u64>,
    pub(crate) host: Host,
    /// What had been achieved before the last sleep, until it is clear whether the wake-up led to more.
    pub(crate) unsettled: Cell<Option<u64>>,
    /// The crate's own I/O made progress during the callback that runs.
    pub(crate) touched: Cell<bool>,
    pub(crate) observers: Observers,
    _alive: Alive,
}

/// Operations that one poll of a task may complete: a task whose peer is quicker than itself would
/// never be pending, and hold the loop (law 7). As many as tokio allows.
pub(crate) const OPERATIONS: u32 = 128;

thread_local! {
    /// What is left of the poll's operations; no bound outside of a poll.
    static OPERATIONS_LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

impl Local {
    pub(crate) fn new(
        config: Config,
        first_serial: u32,
        clock: Clock,
        observers: Observers,
    ) -> Result<Rc<Self>> {
        let (poll, shared, receiver) = open()?;
        clock.attach(&poll)?;
        let now = Instant::now();
        Ok(Rc::new(Self {
            state: RefCell::new(State::new(config.spin_threshold, first_serial)),
            callbacks: RefCell::default(),
            tasks: RefCell::default(),
            wakers: RefCell::default(),
            timers: RefCell::default(),
            poll: RefCell::new(Some(poll)),
            born: Cell::new(shared.born),
            shared: RefCell::new(shared),
            receiver: RefCell::new(ManuallyDrop::new(receiver)),
            config,
            clock,
            now: Cell::new(now),
            turning: Cell::new(false),
            stop: Cell::new(false),
            root: Cell::new(None),
            root_ready: Cell::new(false),
            running: Cell::new(None),
            achieved: Cell::new(0),
            achieved_before: Cell::new(0),
            host: Host::default(),
            unsettled: Cell::new(None),
            touched: Cell::new(false),
            observers,
            _alive: Alive::reactor(),
        }))
    }

    /// The reactor that is turning on this thread.
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// The same, if it is the one that `shared` belongs to.
    pub(crate) fn current_of(shared: &Arc<Shared>) -> Option<Rc<Self>> {
        let found = CURRENT.try_with(|current| {
            let current = current.borrow();
            let ours = current.as_ref().filter(|local| Arc::ptr_eq(&local.shared.borrow(), shared));
            ours.map(Rc::clone)
        });
        found.ok().flatten()
    }

    /// Makes this the thread's reactor until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered(CURRENT.with(|current| current.replace(Some(Rc::clone(self)))))
    }

    /// Law 6: an error in a forked child. One load.
    pub(crate) fn check(&self) -> Result<()> {
        if self.born.get().forked() {
            return Err(Error::Forked);
        }
        if self.poll.borrow().is_none() { Err(Error::Closed) } else { Ok(()) }
    }

    /// True in a child that has not called `after_fork`.
    pub(crate) fn forked(&self) -> bool {
        self.born.get().forked()
    }

    /// What other threads may hold.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared.borrow())
    }

    /// Runs `f` on the counters.
    pub(crate) fn count(&self, f: impl FnOnce(&Counters)) {
        f(&self.shared.borrow().counters);
    }

    /// Something was achieved in this turn.
    pub(crate) fn achieve(&self) {
        self.achieved.set(self.achieved.get().wrapping_add(1));
    }

    /// All that the last wake-up led to has run: was it for nothing?
    pub(crate) fn settle_wakeup(&self) {
        if self.unsettled.take() == Some(self.achieved.get()) {
            self.count(|counters| counters.idle_wakeups.add(1));
        }
    }

    // The kernel.

    /// Carries out an order of the core. In a forked child nothing reaches the parent's epoll.
    pub(crate) fn carry_out(&self, order: Option<Order>) -> Result<()> {
        let Some(order) = order else { return Ok(()) };
        if self.forked() {
            return Ok(());
        }
        let poll = self.poll.borrow();
        let Some(poll) = poll.as_ref() else { return Ok(()) };
        control(poll, order)
    }

    /// Waits for events; user code never runs inside.
    pub(crate) fn wait(
        &self,
        events: &mut mio::Events,
        timeout: Option<Duration>,
    ) -> std::io::Result<()> {
        match self.poll.borrow_mut().as_mut() {
            Some(poll) => poll.poll(events, timeout),
            None => Ok(()),
        }
    }

    /// A duplicate of the epoll's descriptor, for whoever embeds the loop.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd> {
        let poll = self.poll.borrow();
        let poll = poll.as_ref().ok_or(Error::Closed)?;
        selector::duplicate(poll).map_err(Error::os("fcntl(F_DUPFD_CLOEXEC)"))
    }

    /// True if the next wait would report something.
    pub(crate) fn kernel_has_reports(&self) -> bool {
        self.poll.borrow().as_ref().is_some_and(selector::has_reports)
    }

    /// The next message, if any.
    pub(crate) fn receive(&self) -> Option<Message> {
        self.receiver.borrow().try_recv().ok()
    }

    /// How many messages wait.
    pub(crate) fn mail(&self) -> usize {
        self.receiver.borrow().len()
    }

    /// See `Wakeup::try_sleep`.
    pub(crate) fn try_sleep(&self) -> bool {
        self.shared.borrow().wakeup.try_sleep()
    }

    /// See `Wakeup::awake`.
    pub(crate) fn awake(&self) {
        self.shared.borrow().wakeup.awake();
    }

    // Keys and what they stand for.

    /// The job that wakes `waker`: the running task's own key, or a foreign waker's, kept in the
    /// table. `last` is the job that this place used before; it serves again if it means the same.
    pub(crate) fn job_for(&self, waker: &Waker, last: Job) -> Job {
        if let Some((task, identity)) = self.running.get()
            && identity == Identity::of(waker)
        {
            let job = Job::new(Kind::Task, task);
            if last != job {
                self.forget_waker(last);
            }
            return job;
        }
        if self.means(last, waker) {
            return last;
        }
        self.forget_waker(last);
        let waker = waker.clone();
        let serial = self.state.borrow_mut().draw_serial();
        let slot = self.wakers.borrow_mut().insert((serial, waker)) as u32;
        Job::new(Kind::Waker, Token { slot, serial })
    }

    /// The job by which a foreign waker stands at a side of a source already; else `NOBODY`.
    pub(crate) fn standing(&self, token: Token, side: Side, waker: &Waker) -> Job {
        let state = self.state.borrow();
        let mut standing = state.registry.standing(token, side);
        standing.find(|job| self.means(*job, waker)).unwrap_or(Job::NOBODY)
    }

    /// True if `job` wakes this foreign waker.
    fn means(&self, job: Job, waker: &Waker) -> bool {
        let token = job.token();
        job != Job::NOBODY && job.kind() == Kind::Waker && {
            let wakers = self.wakers.borrow();
            let kept = wakers.get(token.index());
            kept.is_some_and(|(serial, kept)| *serial == token.serial && kept.will_wake(waker))
        }
    }

    /// Takes a foreign waker out of the table.
    pub(crate) fn take_waker(&self, token: Token) -> Option<Waker> {
        let mut wakers = self.wakers.borrow_mut();
        let fits = wakers.get(token.index()).is_some_and(|(serial, _)| *serial == token.serial);
        fits.then(|| wakers.remove(token.index()).1)
    }

    /// Drops a foreign waker that is no longer needed.
    pub(crate) fn forget_waker(&self, job: Job) {
        if job != Job::NOBODY && job.kind() == Kind::Waker {
            // Its drop is user code: the table is not borrowed any more.
            drop(self.take_waker(job.token()));
        }
    }

    /// Ends a registration: DEL first, then whoever waited, then the closure (law 1).
    pub(crate) fn deregister(&self, token: Token) -> bool {
        let Some(removed) = self.state.borrow_mut().remove_source(token) else { return false };
        // A failing DEL means that the kernel does not know the descriptor any more.
        let _ = self.carry_out(removed.order);
        let callback = self.callbacks.borrow_mut().get_mut(token.index()).and_then(Option::take);
        for job in removed.waiters {
            if job.kind() == Kind::Task {
                self.state.borrow_mut().wake(job);
            } else if let Some(waker) = self.take_waker(job.token()) {
                waker.wake();
            }
        }
        drop(callback);
        self.added();
        true
    }

    // The end.

    /// Opens a fresh poll and mailbox in a forked child. What belonged to the parent stays closed
    /// to it: the old ends are leaked, and old descriptors are closed without a DEL.
    pub(crate) fn reopen(&self) -> Result<()> {
        let (poll, shared, receiver) = open()?;
        self.clock.attach(&poll)?;
        self.born.set(shared.born);
        drop(self.poll.replace(Some(poll)));
        drop(self.shared.replace(shared));
        self.forget_host();
        // `ManuallyDrop`: the old receiver is leaked.
        let _leaked = self.receiver.replace(ManuallyDrop::new(receiver));
        Ok(())
    }

    /// The reactor is going: deregister everything, and answer late use with an error.
    pub(crate) fn close(&self) {
        let orders: Vec<Order> = {
            let state = self.state.borrow();
            let slots = state.registry.iter().filter(|(_, slot)| slot.is_in_epoll());
            slots.map(|(token, slot)| slot.order(Call::Delete, token)).collect()
        };
        for order in orders {
            let _ = self.carry_out(Some(order));
        }
        if let Some(poll) = self.poll.replace(None)
            && !self.forked()
        {
            self.clock.detach(&poll);
        }
        self.close_mailbox();
    }

    /// Whoever sends from now on is told so; what was not heard is dropped (user code). In a forked
    /// child the parent's end is leaked.
    fn close_mailbox(&self) {
        let receiver = self.receiver.replace(ManuallyDrop::new(crossbeam_channel::never()));
        if !self.forked() {
            drop(ManuallyDrop::into_inner(receiver));
        }
    }
}

/// The crate's own I/O made progress on a source that no task waits on: the callback that runs did it.
pub(crate) fn touch() {
    let _ = CURRENT.try_with(|current| {
        if let Some(local) = current.borrow().as_ref() {
            local.touched.set(true);
            local.achieve();
        }
    });
}

/// Begins a poll with so many operations, and gives what was left of the former one.
pub(crate) fn allow_operations(count: u32) -> u32 {
    OPERATIONS_LEFT.replace(count)
}

/// True if the poll's operations are spent.
pub(crate) fn operations_spent() -> bool {
    OPERATIONS_LEFT.get() == 0
}

/// An operation of the task that is being polled completed.
pub(crate) fn spend_operation() {
    let left = OPERATIONS_LEFT.get();
    if left != u32::MAX {
        OPERATIONS_LEFT.set(left.saturating_sub(1));
    }
}

/// Pending, with the task at the back of the queue, once the poll's operations are spent (a leaf that
/// stops on budget wakes itself).
pub(crate) fn poll_operation(cx: &Context<'_>) -> Poll<()> {
    if OPERATIONS_LEFT.get() > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close_mailbox();
    }
}

/// Restores the thread's former reactor; this one is between two turns then.
pub(crate) struct Entered(Option<Rc<Local>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let former = self.0.take();
        let ours = CURRENT.try_with(|current| current.replace(former));
        if let Ok(Some(ours)) = ours {
            ours.rest();
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("shared", &self.shared.borrow()).finish_non_exhaustive()
    }
}

fn control(poll: &mio::Poll, order: Order) -> Result<()> {
    let Order { call, fd, interest, trigger, token } = order;
    debug_assert!(call == Call::Delete || interest != Interest::NONE);
    let result = match call {
        Call::Add => selector::add(poll, fd, interest, trigger, token),
        Call::Modify => selector::modify(poll, fd, interest, trigger, token),
        Call::Delete => selector::delete(poll, fd),
    };
    result.map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => Error::NotPollable { fd },
        Some(libc::EEXIST) => Error::AlreadyRegistered { fd },
        _ => Error::Os { call: "epoll_ctl", source },
    })
}
