//! The end of a child as a descriptor: its pidfd, or the eventfd of SIGCHLD.
//!
//! A pidfd names one process for as long as it is open, so nothing reaches a stranger that has got
//! the number since, and nobody else's children wake us. Where there is none (Linux before 5.3, a
//! seccomp filter that does not know the call, other systems) every SIGCHLD is looked into. No
//! signal is blocked for either, so children hear every signal (rust-lang/rust#101077). What is
//! absent: reaping, which is std's. Next: `child`.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, FromRawFd};

use super::handler::Set;
use super::signal::Subscription;
use super::source::Wraps;
use crate::{Error, Result};

/// What becomes readable when a child ends.
#[derive(Debug)]
pub(crate) enum Watch {
    /// Readable from the child's end on.
    Process(OwnedFd),
    /// Readable whenever a child may have ended, until [`Watch::silence`].
    Signal(Subscription),
}

impl Watch {
    /// Watches an unreaped child of this process. The caller must look afterwards whether it has
    /// ended already: of that SIGCHLD tells no more.
    pub(crate) fn new(pid: u32) -> Result<Self> {
        match pidfd(pid) {
            Ok(fd) => Ok(Self::Process(fd)),
            Err(error) if is_unknown(&error) => Self::signal(),
            Err(source) => Err(Error::Os { call: "pidfd_open", source }),
        }
    }

    /// Watches by SIGCHLD.
    pub(crate) fn signal() -> Result<Self> {
        Ok(Self::Signal(Subscription::new(Set::new([libc::SIGCHLD])?)?))
    }

    /// Before each look at the child: what ends after it makes the descriptor readable again.
    pub(crate) fn silence(&self) -> Result<()> {
        match self {
            Self::Process(_) => Ok(()),
            Self::Signal(subscription) => subscription.take().map(drop),
        }
    }

    /// Sends a signal to the child, whose number is `pid` and which is not reaped.
    pub(crate) fn send(&self, pid: u32, signal: c_int) -> Result<()> {
        let sent = match self {
            #[cfg(target_os = "linux")]
            Self::Process(fd) => {
                let (fd, signal) = (libc::c_long::from(fd.as_raw_fd()), libc::c_long::from(signal));
                let (info, flags) = (0 as libc::c_long, 0 as libc::c_long);
                // SAFETY: a null info means one as kill(2) makes it; no memory is involved.
                unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, flags) == 0 }
            }
            _ => {
                // SAFETY: touches no memory.
                unsafe { libc::kill(pid as libc::pid_t, signal) == 0 }
            }
        };
        if sent { Ok(()) } else { Err(Error::last_os("kill")) }
    }
}

impl Wraps for Watch {
    type Inner = OwnedFd;
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process(fd) => fd.as_fd(),
            Self::Signal(subscription) => subscription.as_fd(),
        }
    }
}

/// pidfd_open(2); close-on-exec is set always.
#[cfg(target_os = "linux")]
fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let (pid, flags) = (libc::c_long::from(pid), 0 as libc::c_long);
    // SAFETY: touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it; it fits, as all numbers do.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_: u32) -> io::Result<OwnedFd> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// The call does not exist (ENOSYS), or a filter pretends so (EPERM); ESRCH: the child is gone
/// without a trace, for SIGCHLD is ignored, and waiting for it will say so.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::ESRCH))
}
