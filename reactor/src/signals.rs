//! Signals of this process as a source.
//!
//! A handler notes the signal and makes a descriptor readable; what the program does about it then
//! happens in its loop, where it may do anything. What is absent: the table that the handler
//! touches (`sys::signal`), and the numbers of rarely used signals (take libc's). Next: `sys::exit`.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::interest::Interest;
use crate::io::{Io, Side};
use crate::sys::signal::{Set, Subscription};
use crate::sys::source::Wraps;

/// Signals that this process receives as readiness of a descriptor instead of being ended by them.
///
/// Several may live, also for the same signal: each is told. When the last one for a signal is
/// dropped, the disposition that the first one found is put back. No signal mask is changed, so
/// programs that this process starts hear every signal.
///
/// # Threads and fork
/// A signal reaches it whichever thread the kernel chooses. In a forked child an inherited one
/// answers [`Error::Forked`](crate::Error::Forked), and the parent hears nothing of signals that
/// the child gets: there they do what they did before (SIGTERM ends it), until the child makes a
/// `Signals` of its own.
///
/// # Examples
/// ```
/// use squall_reactor::Signals;
///
/// let signals = Signals::new([Signals::TERM, Signals::INT])?;
/// assert_eq!(signals.take()?.count(), 0);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    io: Io<Subscription>,
}

impl Signals {
    /// SIGTERM: end in order.
    pub const TERM: c_int = libc::SIGTERM;
    /// SIGINT: Ctrl-C at the terminal.
    pub const INT: c_int = libc::SIGINT;
    /// SIGQUIT: Ctrl-\ at the terminal.
    pub const QUIT: c_int = libc::SIGQUIT;
    /// SIGHUP: the terminal is gone; for servers, by custom, read the configuration again.
    pub const HUP: c_int = libc::SIGHUP;
    /// SIGUSR1: yours.
    pub const USR1: c_int = libc::SIGUSR1;
    /// SIGUSR2: yours.
    pub const USR2: c_int = libc::SIGUSR2;
    /// SIGCHLD: a child has ended, stopped or gone on.
    pub const CHLD: c_int = libc::SIGCHLD;

    /// Starts to receive `signals`, by their numbers.
    ///
    /// # System calls
    /// One `eventfd` (a pipe off Linux), and two `sigaction` for each signal.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a number that is no signal, for SIGKILL and
    /// SIGSTOP, for the signals of a faulting instruction, and when 32 are alive already;
    /// [`Error::Os`](crate::Error::Os) if the system refuses a call.
    pub fn new(signals: impl IntoIterator<Item = c_int>) -> Result<Self> {
        let subscription = Subscription::new(Set::new(signals)?)?;
        Ok(Self { io: Io::new(subscription, Interest::READABLE) })
    }

    /// Waits in a task until a signal arrives, and takes all that have, lowest number first.
    ///
    /// # System calls
    /// One `read` for each time that signals arrive, and one that fails.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked), and those of waiting on any source.
    ///
    /// # Cancel safety
    /// No signal is lost.
    pub async fn recv(&self) -> Result<impl Iterator<Item = c_int> + use<>> {
        let taken = self.io.with(Side::Read, |subscription| {
            let mut set = subscription.take().map_err(io::Error::from)?.peekable();
            if set.peek().is_none() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(set)
        });
        taken.await.map_err(Error::of_io("read from the signals' eventfd"))
    }

    /// Takes the signals that have arrived since the last call, lowest number first.
    ///
    /// It never blocks. Signals of one kind that arrive before they are taken are reported once,
    /// as signal(7) allows. The descriptor may be readable once with nothing to take.
    ///
    /// # System calls
    /// One `read`.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that made it.
    pub fn take(&self) -> Result<impl Iterator<Item = c_int> + use<>> {
        self.io.source().take()
    }

    /// Blocks this thread until something may have arrived, here or at `other`, for at most `timeout`.
    pub(crate) fn wait(
        &self,
        other: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        self.io.source().wait(other, timeout)
    }
}

impl AsFd for Signals {
    /// The descriptor that is readable while signals wait to be taken; the same one for life.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for Signals {
    type Inner = OwnedFd;
}
