//! epoll_ctl on mio's own epoll (laws 1, 4 and 5).
//!
//! mio registers everything edge-triggered and has neither level nor oneshot; but its poll decodes
//! any entry whose data is a token. So each registration goes through this one function, which
//! leaves EPOLLET out or sets EPOLLONESHOT as its trigger says. (mio's own `reregister` would turn an
//! entry to edge, and so is never called.) Next: `socket`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::interest::{Interest, Readiness, Trigger};
use crate::token::Token;

/// Adds `fd`, a number that its registration read once.
///
/// # System calls
/// One `epoll_ctl(ADD)`. EPERM: a regular file or directory; EEXIST: registered already.
#[cfg(target_os = "linux")]
pub(crate) fn add(
    poll: &mio::Poll,
    fd: RawFd,
    interest: Interest,
    trigger: Trigger,
    token: Token,
) -> io::Result<()> {
    control(poll, libc::EPOLL_CTL_ADD, fd, mask(interest, trigger), token)
}

/// Changes what is asked for, and arms a oneshot again.
///
/// # System calls
/// One `epoll_ctl(MOD)`.
#[cfg(target_os = "linux")]
pub(crate) fn modify(
    poll: &mio::Poll,
    fd: RawFd,
    interest: Interest,
    trigger: Trigger,
    token: Token,
) -> io::Result<()> {
    control(poll, libc::EPOLL_CTL_MOD, fd, mask(interest, trigger), token)
}

/// Removes `fd`. It must come before the descriptor closes: while a duplicate lives, here or in a
/// child, close removes nothing and the number can no longer be named (epoll(7), question 6).
///
/// # System calls
/// One `epoll_ctl(DEL)`.
#[cfg(target_os = "linux")]
pub(crate) fn delete(poll: &mio::Poll, fd: RawFd) -> io::Result<()> {
    control(poll, libc::EPOLL_CTL_DEL, fd, 0, Token::WAKER)
}

#[cfg(target_os = "linux")]
fn mask(interest: Interest, trigger: Trigger) -> u32 {
    let mut mask = 0;
    if interest.contains(Interest::READABLE) {
        mask |= libc::EPOLLIN | libc::EPOLLRDHUP;
    }
    if interest.contains(Interest::WRITABLE) {
        mask |= libc::EPOLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        mask |= libc::EPOLLPRI;
    }
    if interest.is_exclusive() {
        mask |= libc::EPOLLIN | libc::EPOLLEXCLUSIVE;
    }
    mask |= match trigger {
        Trigger::Edge => libc::EPOLLET,
        Trigger::Level => 0,
        Trigger::Oneshot => libc::EPOLLONESHOT,
    };
    mask as u32
}

#[cfg(target_os = "linux")]
fn control(
    poll: &mio::Poll,
    call: libc::c_int,
    fd: RawFd,
    events: u32,
    token: Token,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token.to_u64() };
    // SAFETY: `event` lives until the call returns, and the kernel only reads it. `poll` is
    // borrowed, so it is open; a number that is not open is answered with EBADF.
    let result = unsafe { libc::epoll_ctl(poll.as_raw_fd(), call, fd, &raw mut event) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A second descriptor of the same epoll. It may outlive `poll`, which mio lends only by number.
pub(crate) fn duplicate(poll: &mio::Poll) -> io::Result<OwnedFd> {
    // SAFETY: `poll` is borrowed, so the number is its own and open while it is lent here.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }.try_clone_to_owned()
}

/// True if the next wait would report something. On an epoll, poll(2) looks and takes nothing.
pub(crate) fn has_reports(poll: &mio::Poll) -> bool {
    let mut one = libc::pollfd { fd: poll.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives until the call returns.
    let n = unsafe { libc::poll(&raw mut one, 1, 0) };
    // An error: to look once more is harmless, to miss a report is not.
    n != 0
}

/// What mio tells of the kernel's report. `is_readable` includes PRI, so an urgent byte alone sets
/// READ too. HUP shows as an end in both directions; what mio calls the end of writing alone is an
/// ERR, which WouldBlock takes back (law 3), where a hang-up would stay for ever.
pub(crate) fn readiness(event: &mio::event::Event) -> Readiness {
    let mut readiness = Readiness::NONE;
    for (set, part) in [
        (event.is_readable(), Readiness::READ),
        (event.is_writable(), Readiness::WRITE),
        (event.is_priority(), Readiness::PRIORITY),
        (event.is_read_closed(), Readiness::READ_CLOSED),
        (event.is_write_closed() && event.is_read_closed(), Readiness::WRITE_CLOSED),
        (event.is_error(), Readiness::ERROR),
    ] {
        if set {
            readiness |= part;
        }
    }
    readiness
}
