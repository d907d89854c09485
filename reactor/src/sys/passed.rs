//! Descriptors that are passed from program to program by number, as systemd does (sd_listen_fds(3)).
//!
//! A number alone owns nothing, so they are taken once for the life of the process, all together,
//! and only if each is open. To pass some on is the last thing that a process does: whatever was
//! under these numbers is replaced. What is absent: the protocol that says how many there are
//! (`workers::activation`). Next: `workers::activation`.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::process;
use crate::{Error, Result};

/// The first passed descriptor: after the three standard streams (SD_LISTEN_FDS_START).
pub(crate) const FIRST: RawFd = 3;

/// Takes `count` descriptors, from number 3 on, and marks each close-on-exec: the program that
/// passed them had to leave that out. None in a second call.
///
/// # Errors
/// [`Error::Os`] with EBADF if one of them is not open; then none is taken.
pub(crate) fn take(count: u16) -> Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let numbers = || FIRST..FIRST + c_int::from(count);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    for fd in numbers() {
        // SAFETY: touches no memory; a number that is not open is answered with EBADF.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            let error = Error::last_os("fcntl(F_SETFD)");
            TAKEN.store(false, Ordering::Release);
            return Err(error);
        }
    }
    let own = |fd| {
        // SAFETY: it is open, and by the protocol it is this process's and nobody else's in it:
        // whoever started the program passed it to whoever asks here, and this is the one time.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    Ok(numbers().map(own).collect())
}

/// Takes one more, by its number, which the program that passed it has told. None in a second call.
///
/// # Errors
/// As [`take`].
pub(crate) fn take_one(number: RawFd) -> Result<Option<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(None);
    }
    // SAFETY: touches no memory; a number that is not open is answered with EBADF.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(Error::last_os("fcntl(F_SETFD)"));
    }
    // SAFETY: as for `take`; that number is behind those of the sockets.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// The number of the passed descriptor with this index.
pub(crate) fn number(index: usize) -> RawFd {
    // A process has less than 2^31 descriptors.
    FIRST + index as RawFd
}

/// Becomes another program, which finds `fds` under the numbers from 3 on. If that fails the
/// process exits with 127, as a shell does.
pub(crate) fn exec(command: &mut Command, fds: &[BorrowedFd<'_>]) -> ! {
    const NOT_STARTED: i32 = 127;
    if place(fds).is_ok() {
        // It returns only to say why it failed.
        let _error = command.exec();
    }
    process::exit_at_once(NOT_STARTED)
}

/// Duplicates first, above all the numbers that are needed, so that none is overwritten before its
/// turn.
fn place(fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut high = Vec::with_capacity(fds.len());
    for fd in fds {
        let above = number(fds.len());
        // SAFETY: touches no memory; the descriptor is borrowed, so it is open.
        let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above) };
        if copy < 0 {
            return Err(Error::last_os("fcntl(F_DUPFD_CLOEXEC)"));
        }
        high.push(copy);
    }
    for (index, copy) in high.into_iter().enumerate() {
        // SAFETY: touches no memory. It may close what another value owns, but that is never used
        // again: `exec` does not return. The copy is without close-on-exec (dup2(2)).
        if unsafe { libc::dup2(copy, number(index)) } < 0 {
            return Err(Error::last_os("dup2"));
        }
    }
    Ok(())
}
