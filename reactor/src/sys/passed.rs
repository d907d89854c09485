//! Descriptors that were passed to this process by number, as systemd does (sd_listen_fds(3)).
//!
//! A number alone owns nothing, so they are taken once for the life of the process, all together,
//! and only if each is open. What is absent: the protocol that says how many there are
//! (`workers::activation`). Next: `sendfile`.

use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// The first passed descriptor: after the three standard streams (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

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
