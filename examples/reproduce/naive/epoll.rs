//! The system calls of the naive server: epoll, eventfd, fork.
//!
//! As thin as they can be, so that what goes wrong is to be seen in `naive` and not here.
//! Next: `squall`.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::process;
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use squall_support::child;

use crate::rows::Trigger;

/// An epoll instance, with descriptors as what a report says, as it is usual.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        Ok(Self(owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?))
    }

    pub fn add(&self, fd: RawFd, trigger: Trigger) -> io::Result<()> {
        let edge = if trigger == Trigger::Edge { libc::EPOLLET } else { 0 };
        // The descriptor's number is all that a report will say.
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | edge) as u32, u64: fd as u64 };
        let epoll = self.0.as_raw_fd();
        // SAFETY: `event` lives until the call returns, and the kernel only reads it.
        match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn delete(&self, fd: RawFd) {
        let epoll = self.0.as_raw_fd();
        // SAFETY: EPOLL_CTL_DEL ignores the event, which may be null since Linux 2.6.9.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) };
    }

    /// Waits for events or the deadline; leaves the descriptors that are ready in `ready`.
    pub fn wait(&self, ready: &mut Vec<RawFd>, deadline: Option<Instant>) -> io::Result<()> {
        const MAX: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX];
        // Rounded up, or the last fraction of a millisecond would be spent in waits of 0.
        let timeout = deadline.map_or(-1, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32
        });
        let epoll = self.0.as_raw_fd();
        // SAFETY: the kernel writes at most MAX events into an array of MAX, which outlives the
        // call.
        let n = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), MAX as i32, timeout) };
        ready.clear();
        match usize::try_from(n) {
            Ok(n) => ready.extend(events[..n].iter().map(|event| event.u64 as RawFd)),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// An eventfd that threads share and the server's end closes.
#[derive(Clone)]
pub struct EventFd(Arc<File>);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        Ok(Self(Arc::new(owned(fd)?.into())))
    }

    pub fn set(&self) {
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }

    /// Clears it; true if it was set.
    pub fn take(&self) -> bool {
        (&*self.0).read(&mut [0; 8]).is_ok()
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Forks two workers and returns their index in them. The parent does not return: it waits, as
/// Tornado's does, and ends when a worker has ended.
pub fn fork_two() -> io::Result<usize> {
    let parent = process::id();
    for index in 0..2 {
        // SAFETY: this process has one thread, so the child may do anything.
        match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                child::die_with(parent)?;
                return Ok(index);
            }
            _ => {}
        }
    }
    // SAFETY: a null status is allowed: it is not wanted.
    unsafe { libc::wait(ptr::null_mut()) };
    process::exit(1)
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller has just been given this descriptor by the kernel; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
