//! A timerfd, which ends the loop's wait at a moment finer than a millisecond (timerfd_create(2)).
//!
//! It is registered edge-triggered and never read: to set it again makes it silent, and each expiry
//! is an edge. (Read it would cost a second system call for each timer.) The wait's own timeout stays
//! as it is, so what the alarm would not do is late, and not lost. Next: `cursor`.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::fd::{OwnedFd, RawFd};
#[cfg(target_os = "linux")]
use std::ptr;
use std::time::Duration;

/// An alarm clock with one alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    fd: OwnedFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// One that is silent; `None` where the system has none.
    ///
    /// # System calls
    /// One `timerfd_create`.
    pub(crate) fn new() -> io::Result<Option<Self>> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: touches no memory.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, and nobody else knows it.
        Ok(Some(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } }))
    }

    /// Goes off once, `after` from now and not before; `None`: not at all. The time is relative: the
    /// kernel reads its clock after the caller has, so this is never early.
    ///
    /// # System calls
    /// One `timerfd_settime`.
    pub(crate) fn set(&self, after: Option<Duration>) -> io::Result<()> {
        // Zero would disarm it.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let seconds = libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX);
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let once = libc::timespec { tv_sec: seconds, tv_nsec: after.subsec_nanos().into() };
        let setting = libc::itimerspec { it_interval: zero, it_value: once };
        let fd = self.fd.as_raw_fd();
        // SAFETY: the setting lives until the call returns, which only reads it.
        let set = unsafe { libc::timerfd_settime(fd, 0, &raw const setting, ptr::null_mut()) };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new() -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn set(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn number(&self) -> RawFd {
        -1
    }
}
