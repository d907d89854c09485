//! What can go wrong, as one enum.
//!
//! A variant stands for something that a caller can do differently; everything else is
//! [`Error::Os`], which names the system call. Messages say what is wrong and what to do.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Mutex;

/// Why an operation of this crate failed.
///
/// # Examples
/// ```
/// use squall_reactor::{Error, Handle};
///
/// match Handle::current() {
///     Err(Error::NoReactor) => {} // here nothing turns
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The object belongs to a parent process; this process is its forked child (law 6).
    Forked,
    /// The reactor or the pool that the object belonged to is gone or shut down.
    Closed,
    /// The registration or timer has ended.
    Ended,
    /// No reactor runs on this thread.
    NoReactor,
    /// `block_on` or `run` was called inside a reactor that runs on this thread, or `turn` while
    /// this reactor was already turning.
    Nested,
    /// The registration's own callback is running, and holds the source.
    InUse,
    /// epoll refuses this kind of file (regular files, directories).
    NotPollable {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The descriptor is registered with this reactor already.
    AlreadyRegistered {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// `fork_workers` needs a process with one thread.
    Threads {
        /// How many there are.
        count: usize,
    },
    /// `fork_workers` was called while a reactor or a pool lives.
    Alive {
        /// `reactor` or `pool`.
        what: &'static str,
    },
    /// Workers ended badly more often than the limit allows; all have been ended.
    RestartLimit {
        /// How many restarts there were.
        restarts: u32,
    },
    /// An argument is out of its range.
    Argument(&'static str),
    /// The work panicked; the payload is inside.
    Panicked(Panic),
    /// The work was cancelled before it ended.
    Cancelled,
    /// A deadline passed first.
    TimedOut,
    /// The system refused a call.
    Os {
        /// The call's name.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// What an operation of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error of a system call that has just failed, from `errno`.
    pub(crate) fn last_os(call: &'static str) -> Self {
        Self::Os { call, source: io::Error::last_os_error() }
    }

    /// An `io::Error` with the call that it came from.
    pub(crate) fn os(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { call, source }
    }

    /// The same, but an error of this crate that was made one of `io` is itself again.
    pub(crate) fn of_io(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| source.downcast().unwrap_or_else(|source| Self::Os { call, source })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forked => f.write_str(
                "this belongs to the parent of a forked process: create it after the fork, or call \
                 Reactor::after_fork in the child",
            ),
            Self::Closed => f.write_str("the reactor or pool is gone: keep it alive while it is used"),
            Self::Ended => f.write_str("the registration has ended: register the source again"),
            Self::NoReactor => f.write_str(
                "no reactor runs on this thread: call this inside Reactor::block_on, or in a task or \
                 callback",
            ),
            Self::Nested => f.write_str(
                "a reactor already runs on this thread: await the future instead of blocking on it",
            ),
            Self::InUse => f.write_str(
                "the registration's callback is running and holds the source: return Next::Done, or \
                 take the source back later",
            ),
            Self::NotPollable { fd } => {
                write!(f, "cannot watch descriptor {fd}: epoll refuses regular files and directories; use Pool::run")
            }
            Self::AlreadyRegistered { fd } => write!(
                f,
                "descriptor {fd} is registered with this reactor already: drop the first registration, \
                 or register a duplicate"
            ),
            Self::Threads { count } => write!(
                f,
                "the process has {count} threads, and a fork copies only the calling one: call \
                 fork_workers before any thread starts"
            ),
            Self::Alive { what } => {
                write!(f, "a {what} exists, and workers must not share it: create it inside the worker, after the fork")
            }
            Self::RestartLimit { restarts } => write!(
                f,
                "workers ended badly {restarts} times, more than the limit: all have been ended; see \
                 their own output for the reason"
            ),
            Self::Argument(what) => f.write_str(what),
            Self::Panicked(panic) => write!(f, "the work panicked: {}", panic.message()),
            Self::Cancelled => f.write_str("the work was cancelled before it ended"),
            Self::TimedOut => f.write_str("the deadline passed first"),
            Self::Os { call, source } => write!(f, "{call} failed: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Keeps the `io::Error` of a system call; everything else becomes `io::ErrorKind::Other` with the
/// error inside (`TimedOut` keeps its kind).
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Os { source, .. } => source,
            Error::TimedOut => Self::new(io::ErrorKind::TimedOut, error),
            other => Self::other(other),
        }
    }
}

/// A panic that was caught, as a value.
///
/// # Examples
/// ```
/// use squall_reactor::{Error, Reactor};
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let task = handle.spawn(async { panic!("out of luck") });
/// match reactor.block_on(task)? {
///     Err(Error::Panicked(panic)) => assert_eq!(panic.message(), "out of luck"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Error>(())
/// ```
pub struct Panic {
    message: String,
    // The payload is `Send` but not `Sync`, and an error should be both.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "a payload that is not text".to_owned()
        };
        Self { message, payload: Mutex::new(payload) }
    }

    /// The panic's message, where its payload is text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The payload, as `std::panic::catch_unwind` gave it.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Goes on unwinding on this thread.
    ///
    /// # Panics
    /// Always: with the payload of the first panic.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.into_payload())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message).finish()
    }
}
