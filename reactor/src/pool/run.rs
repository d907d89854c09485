//! What a caller holds: the future of his job, or his closure back.
//!
//! The future knows its job and where it stands in the queue, and depends on no reactor: any
//! executor may poll it. Next: `mod`.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::{Error, Result};
use crate::local::Local;
use crate::pool::job::Outcome;
use crate::pool::queue::Refusal;
use crate::pool::thread::Shared;

/// The result of work in a [`Pool`](crate::pool::Pool), to be awaited.
///
/// # Errors
/// - [`Error::Panicked`]: the work panicked; the payload is inside.
/// - [`Error::Cancelled`]: [`cancel`](Run::cancel) came before the work had begun.
/// - [`Error::Closed`]: the pool was shut down before the work had begun.
/// - [`Error::Forked`]: this process is a forked child of the pool's.
/// - [`Error::Os`]: no thread could be started, and there was none.
/// - [`Error::Ended`]: the result has been taken already.
///
/// # Cancel safety
/// Dropping it cancels work that has not begun: the closure is dropped there and then, on the
/// thread that drops the future. Work that has begun goes on, told by
/// [`Cancelled`](crate::pool::Cancelled), and its result is dropped on the pool's thread. A result
/// that is there already is dropped with the future. A panic in these drops goes no further, and is
/// counted.
///
/// # Examples
/// ```
/// use squall_reactor::{Pool, Reactor};
///
/// let pool = Pool::builder().build()?;
/// let sum = Reactor::new()?.block_on(async { pool.run(|| (1..=100).sum::<u32>()).await })??;
/// assert_eq!(sum, 5050);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[must_use = "dropping it cancels work that has not begun: await it, or use Pool::execute"]
pub struct Run<T> {
    state: State<T>,
}

impl<T> Run<T> {
    pub(super) fn sent(task: Arc<dyn Outcome<T>>, serial: u64, shared: &Arc<Shared>) -> Self {
        Self { state: State::Sent { task, serial, shared: Arc::clone(shared) } }
    }

    /// Forgets the job without cancelling it.
    pub(super) fn let_go(mut self) {
        drop(self.state.take());
    }

    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Refused(error) }
    }

    /// Cancels work that has not begun: true, the closure is dropped here, and the future answers
    /// [`Error::Cancelled`]. Work that has begun is told, and goes on.
    ///
    /// # Threads and fork
    /// In a forked child it does nothing.
    pub fn cancel(&self) -> bool {
        let State::Sent { task, serial, shared } = &self.state else { return false };
        if shared.born.forked() {
            return false;
        }
        let cancelled = task.refuse(Error::Cancelled, &shared.counters);
        if cancelled {
            drop(shared.queue.remove(*serial));
        } else {
            task.tell_cancelled();
        }
        cancelled
    }
}

impl<T> Future for Run<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &self.state {
            State::Sent { shared, .. } if shared.born.forked() => Err(Error::Forked),
            State::Sent { task, .. } => match task.poll(context) {
                Poll::Ready(result) => {
                    Local::trace_pool(task.location(), || task.span());
                    result
                }
                Poll::Pending => return Poll::Pending,
            },
            State::Refused(_) | State::Taken => Err(Error::Ended),
        };
        let state = self.state.take();
        Poll::Ready(if let State::Refused(error) = state { Err(error) } else { result })
    }
}

impl<T> Drop for Run<T> {
    fn drop(&mut self) {
        let State::Sent { task, serial, shared } = self.state.take() else { return };
        if task.abandon(&shared.counters) {
            drop(shared.queue.remove(serial));
        }
    }
}

impl<T> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Sent { task, .. } => write!(f, "Run(from {})", task.location()),
            State::Refused(error) => write!(f, "Run(refused: {error})"),
            State::Taken => f.write_str("Run(taken)"),
        }
    }
}

/// A closure that found no place, and why.
///
/// # Examples
/// ```
/// use squall_reactor::Pool;
/// use squall_reactor::pool::Reason;
/// use std::time::Duration;
///
/// let pool = Pool::builder().build()?;
/// pool.shutdown(Duration::ZERO);
/// let full = pool.execute(|| 7).unwrap_err();
/// assert_eq!(full.reason, Reason::Closed);
/// assert_eq!((full.closure)(), 7); // done here instead
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub struct Full<F> {
    /// The closure, as it was given.
    pub closure: F,
    /// Why it was not taken.
    pub reason: Reason,
}

/// Why a pool takes no work.
///
/// # Examples
/// ```
/// use squall_reactor::pool::Reason;
///
/// fn status(reason: Reason) -> u16 {
///     match reason {
///         Reason::Full => 503, // try again
///         _ => 500,
///     }
/// }
/// assert_eq!(status(Reason::Full), 503);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// All threads are busy, and the queue is full.
    Full,
    /// The pool has been shut down.
    Closed,
    /// The pool belongs to a parent process; this process is its forked child (law 6).
    Forked,
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::Closed => Self::Closed,
        }
    }
}

impl<F> fmt::Debug for Full<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Full").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Full<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Full => f.write_str(
                "the pool's threads are busy and its queue is full: try later, or wait with \
                 Pool::run",
            ),
            Reason::Closed => Error::Closed.fmt(f),
            Reason::Forked => Error::Forked.fmt(f),
        }
    }
}

impl<F> std::error::Error for Full<F> {}

enum State<T> {
    Sent { task: Arc<dyn Outcome<T>>, serial: u64, shared: Arc<Shared> },
    Refused(Error),
    Taken,
}

impl<T> State<T> {
    /// Leaves `Taken`. In a forked child a job that was sent is leaked, for its lock may be held by
    /// a thread that exists in the parent alone (law 6).
    fn take(&mut self) -> Self {
        match mem::replace(self, Self::Taken) {
            Self::Sent { task, shared, .. } if shared.born.forked() => {
                mem::forget((task, shared));
                Self::Taken
            }
            state => state,
        }
    }
}
