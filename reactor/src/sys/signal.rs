//! Signals as a descriptor: a handler that notes the signal and writes an eventfd.
//!
//! signalfd(2) needs the signals blocked in every thread, and children that std's `Command` starts
//! inherit that mask and stay deaf (rust-lang/rust#101077). A handler needs no mask. What is
//! absent: the handler itself, with the table that it touches (`handler`). Next: `signals`.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::fork::Born;
use super::handler::{Slot, sigset};
use super::source::Wraps;
use crate::{Error, Result};

pub(crate) use super::handler::{Set, put_back_inherited};

/// A live slot of the table, with the descriptor that tells when something is pending.
#[derive(Debug)]
pub(crate) struct Subscription {
    slot: &'static Slot,
    set: Set,
    born: Born,
    readable: OwnedFd,
    /// What the handler writes, kept open: apart from `readable` only where there is no eventfd.
    _writable: Option<OwnedFd>,
}

impl Subscription {
    /// Takes a slot and installs the handler for each signal in `set`.
    pub(crate) fn new(set: Set) -> Result<Self> {
        let born = Born::now();
        let (readable, writable) = channel()?;
        let written = writable.as_ref().unwrap_or(&readable).as_raw_fd();
        let slot = Slot::take(born.number(), set, written)?;
        Ok(Self { slot, set, born, readable, _writable: writable })
    }

    /// Takes what is pending, never blocks, and makes the descriptor silent until the next signal.
    ///
    /// # System calls
    /// One read(2).
    ///
    /// # Errors
    /// [`Error::Forked`] in a child: a read there would take the parent's wake-up.
    pub(crate) fn take(&self) -> Result<Set> {
        if self.born.forked() {
            return Err(Error::Forked);
        }
        // First the descriptor, then the signals: the handler does it the other way round, so what
        // arrives between the two is reported now and wakes once more for nothing, and never the
        // opposite.
        empty(self.readable.as_fd())?;
        Ok(self.slot.take_pending())
    }

    /// Blocks until something may be pending, `other` may be readable, or `timeout` has passed; may
    /// return early.
    ///
    /// # System calls
    /// One poll(2), rounded up to milliseconds.
    pub(crate) fn wait(
        &self,
        other: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A negative number is passed over (poll(2)).
        let other = other.map_or(-1, |other| other.as_raw_fd());
        let mut entries = [entry(self.readable.as_raw_fd()), entry(other)];
        let ms = timeout.map_or(-1, |timeout| {
            c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
        });
        // SAFETY: both entries live until the call returns, and no more are announced.
        let ready = unsafe { libc::poll(entries.as_mut_ptr(), 2, ms) };
        if ready >= 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            source => Err(Error::Os { call: "poll", source }),
        }
    }
}

impl Wraps for Subscription {
    type Inner = OwnedFd;
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

impl Drop for Subscription {
    /// In a forked child only the descriptors are closed: slot and handler are the parent's.
    fn drop(&mut self) {
        if !self.born.forked() {
            self.slot.leave(self.born.number(), self.set);
        }
    }
}

/// While it lives, this thread receives the given signals, whatever mask it was started with.
#[derive(Debug)]
pub(crate) struct Unblocked {
    before: libc::sigset_t,
}

impl Unblocked {
    /// Takes `set` out of this thread's mask (pthread_sigmask(3)).
    pub(crate) fn new(set: Set) -> Result<Self> {
        let wanted = sigset(set);
        let mut before = sigset(Set::default());
        // SAFETY: both sets live until the call returns; the first is only read.
        let error =
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const wanted, &raw mut before) };
        if error == 0 {
            Ok(Self { before })
        } else {
            let source = io::Error::from_raw_os_error(error);
            Err(Error::Os { call: "pthread_sigmask", source })
        }
    }

    /// Puts the mask back; a child does this before it does anything else.
    pub(crate) fn put_back(&self) {
        let before = &raw const self.before;
        // SAFETY: the set is only read and lives until the call returns; SIG_SETMASK with a set
        // that the kernel has made cannot fail.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
    }
}

impl Drop for Unblocked {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Reads until nothing is left: an eventfd gives its count at once, a pipe byte by byte.
fn empty(fd: BorrowedFd<'_>) -> Result<()> {
    let mut buffer = [0_u8; 64];
    loop {
        // SAFETY: the buffer lives until the call returns, and its length is given.
        let read = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if read == buffer.len() as isize {
            continue;
        }
        if read >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(()),
            io::ErrorKind::Interrupted => {}
            _ => return Err(Error::Os { call: "read", source: error }),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn channel() -> Result<(OwnedFd, Option<OwnedFd>)> {
    // SAFETY: touches no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(Error::last_os("eventfd"));
    }
    // SAFETY: the descriptor is new, open, and nobody else's.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, None))
}

/// Where there is no eventfd, a pipe.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn channel() -> Result<(OwnedFd, Option<OwnedFd>)> {
    let (reader, writer) = io::pipe().map_err(Error::os("pipe"))?;
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    for end in [&reader, &writer] {
        // SAFETY: touches no memory; the descriptor is borrowed, so it is open.
        let set = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        if set < 0 {
            return Err(Error::last_os("fcntl"));
        }
    }
    Ok((reader, Some(writer)))
}
