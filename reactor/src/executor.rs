//! Futures: a small single-threaded executor whose wakers are entries of the ready queue.
//!
//! A task's waker is an `Arc` with the task's key. Woken on its own thread it puts the key into the
//! ready queue (no atomic, no channel); woken elsewhere it sends the key to the mailbox, once until
//! the loop has heard it. Future and waker are taken out while the task is polled, so a poll may
//! spawn, cancel, and wake anything. A late wake fails the serial check and reaches nobody. Next:
//! `driver`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::error::{Error, Panic, Result};
use crate::local::{Identity, Local, LocalFuture, OPERATIONS, allow_operations};
use crate::shared::{Header, Message};
use crate::state::ready::{Job, Kind};
use crate::token::Token;
use crate::trace::What;

/// Waits for a spawned task, and gives its output.
///
/// Dropping it detaches the task, which goes on. A task that panics hands the panic over as
/// [`Error::Panicked`]; if its handle is gone, the panic unwinds out of the reactor's turn instead,
/// so that it is not lost. A cancelled task gives [`Error::Cancelled`], and one of the parent, in a
/// forked child, [`Error::Forked`].
///
/// # Examples
/// ```
/// use squall_reactor::{Error, Reactor};
/// use std::future::pending;
///
/// let mut reactor = Reactor::new()?;
/// let task = reactor.handle().spawn(pending::<()>());
/// assert!(task.abort());
/// assert!(matches!(reactor.block_on(task)?, Err(Error::Cancelled)));
/// # Ok::<(), Error>(())
/// ```
pub struct JoinHandle<T> {
    join: Rc<Join<T>>,
    local: Rc<Local>,
    token: Token,
}

/// Where a task leaves its output.
struct Join<T> {
    output: RefCell<Option<Result<T>>>,
    waiter: RefCell<Option<Waker>>,
    wanted: Cell<bool>,
}

impl<T> JoinHandle<T> {
    /// Cancels the task: its future is dropped now, or when its poll that is running returns. False
    /// if it has ended already.
    pub fn abort(&self) -> bool {
        self.local.cancel(self.token)
    }

    /// True once the task has ended in any way.
    pub fn is_finished(&self) -> bool {
        !self.local.state.borrow().tasks.contains(self.token)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.join.output.borrow_mut().take() {
            return Poll::Ready(output);
        }
        if self.is_finished() {
            return Poll::Ready(Err(Error::Cancelled));
        }
        if self.local.forked() {
            // Nobody in this process will ever finish it.
            return Poll::Ready(Err(Error::Forked));
        }
        let waker = cx.waker().clone();
        let former = self.join.waiter.replace(Some(waker));
        drop(former);
        Poll::Pending
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.join.wanted.set(false);
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("task", &self.token).finish_non_exhaustive()
    }
}

impl Local {
    /// Spawns a future whose output somebody may wait for.
    #[track_caller]
    pub(crate) fn spawn<F>(self: &Rc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let join = Rc::new(Join {
            output: RefCell::new(None),
            waiter: RefCell::new(None),
            wanted: Cell::new(true),
        });
        let end = End(Rc::clone(&join));
        let token = self.spawn_unit(Box::pin(async move {
            let output = caught(future).await;
            end.give(output);
        }));
        JoinHandle { join, local: Rc::clone(self), token }
    }

    /// Spawns a boxed future. After the reactor has ended the future is dropped at once.
    #[track_caller]
    pub(crate) fn spawn_unit(self: &Rc<Self>, future: LocalFuture) -> Token {
        let place = Location::caller();
        if self.check().is_err() {
            drop(future);
            return Token::WAKER;
        }
        let token = self.state.borrow_mut().add_task(place);
        if self.observers.traces() {
            self.trace(What::Spawn, token, Some(place));
        }
        let waker = self.task_waker(token);
        let mut tasks = self.tasks.borrow_mut();
        if tasks.len() <= token.index() {
            tasks.resize_with(token.index() + 1, Default::default);
        }
        let cell = &mut tasks[token.index()];
        cell.future = Some(future);
        cell.waker = Some(waker);
        drop(tasks);
        self.added();
        token
    }

    /// A waker for a task, whoever holds its future.
    pub(crate) fn task_waker(&self, token: Token) -> Waker {
        let notified = AtomicBool::new(false);
        Waker::from(Arc::new(Header { token, notified, shared: self.shared() }))
    }

    /// A task's job came up.
    pub(crate) fn poll_task(self: &Rc<Self>, token: Token) {
        if !self.state.borrow_mut().tasks.start(token) {
            return;
        }
        let Some((mut future, waker)) = self.take_task(token) else { return };
        let guard = ForgetOnPanic { local: self, token };
        let poll = self.poll_as(token, future.as_mut(), &waker);
        std::mem::forget(guard);
        let mut state = self.state.borrow_mut();
        if poll.is_pending() && state.tasks.contains(token) {
            state.suspend(token);
            drop(state);
            let cell = &mut self.tasks.borrow_mut()[token.index()];
            cell.future = Some(future);
            cell.waker = Some(waker);
            return;
        }
        // Ended, or cancelled by itself. The drops are user code.
        let ended = state.tasks.remove(token);
        drop(state);
        if ended && self.observers.traces() {
            self.trace(What::End, token, None);
        }
        drop(future);
    }

    /// Polls a future as the task `token`, so that a source keeps the bare key.
    pub(crate) fn poll_as<F: Future + ?Sized>(
        &self,
        token: Token,
        future: Pin<&mut F>,
        waker: &Waker,
    ) -> Poll<F::Output> {
        let former = self.running.replace(Some((token, Identity::of(waker))));
        let operations = allow_operations(OPERATIONS);
        self.achieved_before.set(self.achieved.get());
        let restore = Restore { local: self, former, operations };
        let poll = future.poll(&mut Context::from_waker(waker));
        drop(restore);
        poll
    }

    /// Drops a task's future. False if it has ended already.
    pub(crate) fn cancel(&self, token: Token) -> bool {
        if !self.state.borrow_mut().tasks.remove(token) {
            return false;
        }
        if self.observers.traces() {
            self.trace(What::End, token, None);
        }
        // `None` while it is being polled: then the poll's end drops it.
        drop(self.take_task(token));
        true
    }

    fn take_task(&self, token: Token) -> Option<(LocalFuture, Waker)> {
        let mut tasks = self.tasks.borrow_mut();
        let cell = tasks.get_mut(token.index())?;
        cell.future.take().zip(cell.waker.take())
    }
}

impl Wake for Header {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(local) = Local::current_of(&self.shared) {
            local.state.borrow_mut().wake(Job::new(Kind::Task, self.token));
        } else if !self.notified.swap(true, Ordering::AcqRel) {
            // An error means that there is nobody left to wake.
            let _ = self.shared.send(Message::Wake(Arc::clone(self)));
        }
    }
}

/// Removes a task whose poll panics; forgotten when it returns. The future is dropped by the
/// unwinding itself.
struct ForgetOnPanic<'a> {
    local: &'a Local,
    token: Token,
}

impl Drop for ForgetOnPanic<'_> {
    fn drop(&mut self) {
        self.local.state.borrow_mut().tasks.remove(self.token);
    }
}

/// Puts the former running task back, also when a poll panics.
struct Restore<'a> {
    local: &'a Local,
    former: Option<(Token, Identity)>,
    operations: u32,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.local.running.set(self.former);
        allow_operations(self.operations);
    }
}

/// Fills a task's `Join` however the task ends.
struct End<T>(Rc<Join<T>>);

impl<T> End<T> {
    fn give(self, output: Result<T>) {
        if let (Err(Error::Panicked(_)), false) = (&output, self.0.wanted.get())
            && let Err(Error::Panicked(panic)) = output
        {
            panic.resume();
        }
        self.0.output.replace(Some(output));
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let unfinished = self.0.output.borrow().is_none();
        if unfinished {
            self.0.output.replace(Some(Err(Error::Cancelled)));
        }
        let waiter = self.0.waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// The output of `future`, with a panic as a value.
async fn caught<F: Future>(future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(Error::Panicked(Panic::new(payload)))),
    })
    .await
}
