//! One piece of work: a closure, then its result, shared by a future and a thread.
//!
//! Who decides what:
//! 1. One compare-and-swap takes a job from `QUEUED` either to `RUNNING` (a thread) or to
//!    `CANCELLED` (the future, or a shutdown). The winner alone may take the closure.
//! 2. A closure that has run is dropped by its call, on the pool's thread; a cancelled one on the
//!    thread that cancels.
//! 3. The result is left under the lock. The future takes it; if the future is gone
//!    (`abandoned`), the pool's thread drops it. So it is dropped once.
//! 4. Nothing of the user's (closure, result, waker) is called or dropped under a lock, and no
//!    panic of it gets further than here.
//!
//! In a child that the closure itself has forked, nothing is touched any more: another thread of
//! the parent may have held the lock. Next: `run`.

use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::error::{Error, Panic, Result};
use crate::local::Local;
use crate::sys::fork::Born;
use crate::token::Token;
use crate::trace::PoolSpan;

/// Tells work that has begun that nobody waits for it any more.
///
/// # Examples
/// ```
/// use squall_reactor::Pool;
/// use std::sync::mpsc;
///
/// let pool = Pool::builder().build()?;
/// let (tell, told) = mpsc::channel();
/// let run = pool.run_with(move |cancelled| {
///     tell.send("begun").unwrap();
///     while !cancelled.is_cancelled() {
///         std::thread::yield_now(); // one step of the work
///     }
///     tell.send("ended").unwrap();
/// });
/// assert_eq!(told.recv(), Ok("begun"));
/// drop(run); // as when a client has left
/// assert_eq!(told.recv(), Ok("ended"));
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Debug)]
pub struct Cancelled(AtomicBool);

impl Cancelled {
    /// True once the future was dropped or cancelled, or a shutdown's deadline has passed.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The side of a thread.
pub(super) trait Job: Send + Sync {
    /// Does the work, unless it was cancelled. In a child forked by the closure it returns without
    /// having touched anything.
    fn run(&self, born: Born, counters: &Counters);
    /// Cancels what has not begun, and answers its future with `error`; false if it has begun.
    fn refuse(&self, error: Error, counters: &Counters) -> bool;
    /// Tells work that has begun.
    fn tell_cancelled(&self);
    fn is_running(&self) -> bool;
    fn location(&self) -> &'static Location<'static>;
    /// When and where the work was done, if its caller's loop recorded a trace.
    fn span(&self) -> Option<PoolSpan>;
}

/// The side of a future.
pub(super) trait Outcome<T>: Job {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T>>;
    /// Cancels what has not begun: true, and the closure is dropped here. Otherwise it tells the
    /// closure, and drops the result here if it is there.
    fn abandon(&self, counters: &Counters) -> bool;
}

/// A closure as the pool calls it.
pub(super) trait Work<T> {
    fn call(self, cancelled: &Cancelled) -> T;
}

/// A closure that does not ask whether it is cancelled.
pub(super) struct Plain<F>(pub(super) F);

impl<T, F: FnOnce() -> T> Work<T> for Plain<F> {
    fn call(self, _: &Cancelled) -> T {
        (self.0)()
    }
}

/// A closure that does.
pub(super) struct Asking<F>(pub(super) F);

impl<T, F: FnOnce(&Cancelled) -> T> Work<T> for Asking<F> {
    fn call(self, cancelled: &Cancelled) -> T {
        (self.0)(cancelled)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) completed: AtomicU64,
    pub(super) panicked: AtomicU64,
}

pub(super) struct Task<W, T> {
    phase: AtomicU8,
    cancelled: Cancelled,
    location: &'static Location<'static>,
    /// Its name in the trace of its caller's loop.
    traced: Option<Token>,
    body: Mutex<Body<W, T>>,
}

impl<W: Work<T>, T> Task<W, T> {
    pub(super) fn new(work: W, location: &'static Location<'static>) -> Self {
        let body =
            Body { work: Some(work), result: None, waker: None, abandoned: false, span: None };
        let (phase, traced) = (AtomicU8::new(QUEUED), Local::trace_given(location));
        let cancelled = Cancelled(AtomicBool::new(false));
        Self { phase, cancelled, location, traced, body: body.into() }
    }

    /// A task without a future.
    pub(super) fn detached(work: W, location: &'static Location<'static>) -> Self {
        let mut task = Self::new(work, location);
        task.body.get_mut().unwrap_or_else(PoisonError::into_inner).abandoned = true;
        task
    }

    /// Gives the closure of a task back that never got into the queue.
    pub(super) fn into_work(self) -> W {
        let body = self.body.into_inner().unwrap_or_else(PoisonError::into_inner);
        body.work.expect("no thread has seen this task")
    }

    /// Leaves the result to the future, or drops it here if there is none.
    fn finish(&self, result: Result<T>, counters: &Counters) {
        let mut body = self.body();
        self.phase.store(DONE, Ordering::Release);
        let (unwanted, waker) = if body.abandoned {
            (Some(result), None)
        } else {
            body.result = Some(result);
            (None, body.waker.take())
        };
        drop(body);
        guard(counters, || drop(unwanted));
        guard(counters, || waker.map(Waker::wake));
    }

    /// Takes the closure out, for the winner of the swap.
    fn win(&self, phase: u8) -> Option<W> {
        let swap = self.phase.compare_exchange(QUEUED, phase, Ordering::AcqRel, Ordering::Acquire);
        swap.ok().and_then(|_| self.body().work.take())
    }

    fn body(&self) -> MutexGuard<'_, Body<W, T>> {
        // Nothing of the user's runs under this lock, so nothing panics there.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Work<T> + Send, T: Send> Job for Task<W, T> {
    fn run(&self, born: Born, counters: &Counters) {
        let Some(work) = self.win(RUNNING) else { return };
        let traced = self.traced.map(|given| (given, Instant::now()));
        let result = catch_unwind(AssertUnwindSafe(|| work.call(&self.cancelled)));
        if born.forked() {
            return mem::forget(result);
        }
        self.body().span = traced.map(|(given, began)| PoolSpan::since(given, began));
        // Counted first: whoever has the result finds it counted.
        counters.completed.fetch_add(1, Ordering::Relaxed);
        counters.panicked.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        self.finish(result.map_err(|payload| Error::Panicked(Panic::new(payload))), counters);
    }

    fn refuse(&self, error: Error, counters: &Counters) -> bool {
        let Some(work) = self.win(CANCELLED) else { return false };
        guard(counters, || drop(work));
        self.finish(Err(error), counters);
        true
    }

    fn tell_cancelled(&self) {
        self.cancelled.set();
    }

    fn is_running(&self) -> bool {
        self.phase.load(Ordering::Acquire) == RUNNING
    }

    fn location(&self) -> &'static Location<'static> {
        self.location
    }

    fn span(&self) -> Option<PoolSpan> {
        self.body().span.take()
    }
}

impl<W: Work<T> + Send, T: Send> Outcome<T> for Task<W, T> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T>> {
        let waker = context.waker().clone();
        let mut body = self.body();
        if let Some(result) = body.result.take() {
            drop(body);
            return Poll::Ready(result);
        }
        let old = body.waker.replace(waker);
        drop(body);
        drop(old);
        Poll::Pending
    }

    fn abandon(&self, counters: &Counters) -> bool {
        let work = self.win(CANCELLED);
        self.cancelled.set();
        let mut body = self.body();
        body.abandoned = true;
        let (result, waker) = (body.result.take(), body.waker.take());
        drop(body);
        let cancelled = work.is_some();
        guard(counters, || drop(work));
        guard(counters, || drop(result));
        guard(counters, || drop(waker));
        cancelled
    }
}

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const CANCELLED: u8 = 2;
const DONE: u8 = 3;

struct Body<W, T> {
    work: Option<W>,
    result: Option<Result<T>>,
    waker: Option<Waker>,
    /// The future is gone: what comes is dropped where it comes from.
    abandoned: bool,
    span: Option<PoolSpan>,
}

/// Calls the user's code so that a panic of it kills nothing.
fn guard<R>(counters: &Counters, call: impl FnOnce() -> R) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(call()))) {
        counters.panicked.fetch_add(1, Ordering::Relaxed);
        mem::forget(payload); // its own Drop could panic again, and there is nobody left to tell
    }
}
