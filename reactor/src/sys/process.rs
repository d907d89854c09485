//! Processes: fork, wait, kill, and to die with one's parent.
//!
//! The one idea: [`fork`] takes the child's whole life as a closure and ends the process after it,
//! so no child ever returns into frames that it shares with its parent, and a safe function can
//! offer it. [`Alone`] proves that nobody else's locks were held. What is absent: exec (that is
//! std's `Command`), and any policy (that is `workers`). Next: `source`.

use std::ffi::c_int;
use std::fs;
use std::io::{self, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::Duration;

use crate::{Error, Result};

/// A child of this process that has not been reaped yet, so its number cannot be anybody else's.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It called exit with this code.
    Code(i32),
    /// This signal ended it.
    Signal(c_int),
}

impl Child {
    /// The number of its process.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Sends a signal (kill(2)); to a child that has ended but is not reaped it does nothing.
    pub(crate) fn kill(&self, signal: c_int) -> Result<()> {
        // SAFETY: no memory is involved; `pid` is an unreaped child's, so it is nobody else's.
        let sent = unsafe { libc::kill(self.pid, signal) };
        if sent == 0 { Ok(()) } else { Err(Error::last_os("kill")) }
    }

    /// Reaps the child if it has ended (waitpid(2) with WNOHANG); after `Some` it is gone.
    pub(crate) fn try_wait(&self) -> Result<Option<Exit>> {
        self.waitpid(libc::WNOHANG)
    }

    /// Waits until the child has ended, and reaps it.
    pub(crate) fn wait(&self) -> Result<Option<Exit>> {
        self.waitpid(0)
    }

    fn waitpid(&self, flags: c_int) -> Result<Option<Exit>> {
        loop {
            let mut status = 0;
            // SAFETY: `status` lives until the call returns.
            let reaped = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
            if reaped == 0 {
                return Ok(None);
            }
            if reaped > 0 {
                return Ok(Some(exit(status)));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(Error::Os { call: "waitpid", source: error });
            }
        }
    }
}

/// Proof that the process had one thread when it was asked.
#[derive(Debug)]
pub(crate) struct Alone(());

impl Alone {
    /// Counts the threads of this process.
    ///
    /// A thread that has been joined is counted until the kernel has buried it, and pthread_join
    /// returns a little before that (7 to 10 times in 20,000 it was still counted), so a count
    /// above one is looked at again a few times before it is believed.
    ///
    /// # Errors
    /// [`Error::Threads`], or [`Error::Os`] where `/proc` is not mounted.
    pub(crate) fn check() -> Result<Self> {
        const LOOKS: u32 = 10;
        let mut count = threads()?;
        for _ in 1..LOOKS {
            if count == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            count = threads()?;
        }
        if count == 1 { Ok(Self(())) } else { Err(Error::Threads { count }) }
    }
}

/// Forks; the child runs `life` and exits with its code, or 101 (as a Rust program) if it panics.
///
/// What the parent has printed but not written yet is written first, or each child would print it
/// again. The child leaves through `std::process::exit`, not `_exit`: its own output must be
/// written, and profilers and coverage tools write theirs in atexit handlers. What that costs: the
/// atexit handlers that the parent had registered before the fork run in each child too.
pub(crate) fn fork(_: &Alone, life: impl FnOnce() -> i32) -> Result<Child> {
    flush();
    // SAFETY: the process has one thread, so the child finds no lock held by a thread that it does
    // not have, and may do whatever its parent could. It never returns from this function.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => std::process::exit(live(life)),
        -1 => Err(Error::last_os("fork")),
        pid => Ok(Child { pid }),
    }
}

/// The number of this process (getpid(2)).
pub(crate) fn id() -> libc::pid_t {
    // SAFETY: touches no memory and cannot fail.
    unsafe { libc::getpid() }
}

/// The time of CLOCK_MONOTONIC, which systemd asks for as a number; an `Instant` does not tell it.
pub(crate) fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives until the call returns, which fails for no clock that exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    // Neither is negative: it counts from the start of the machine.
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Asks the kernel to SIGKILL this process when its parent ends; false if it has ended already.
///
/// PR_SET_PDEATHSIG follows the parent's forking thread, not its process (prctl(2)): fork from the
/// main thread. A parent that ended before the call sends nothing, so it is looked for afterwards.
#[cfg(target_os = "linux")]
pub(crate) fn die_with(parent: libc::pid_t) -> bool {
    // SAFETY: touches no memory; this option takes one argument.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: touches no memory and cannot fail.
    let now = unsafe { libc::getppid() };
    set == 0 && now == parent
}

/// Elsewhere the kernel has no such wish to grant; a parent that has ended already is still seen.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with(parent: libc::pid_t) -> bool {
    // SAFETY: touches no memory and cannot fail.
    let now = unsafe { libc::getppid() };
    now == parent
}

/// Ends this process at once: no atexit handler, no destructor, no output (_exit(2)).
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: does not return, and touches no memory of this process.
    unsafe { libc::_exit(code) }
}

/// Runs the child's life; a panic ends it (the hook has printed it) and becomes Rust's exit code.
fn live(life: impl FnOnce() -> i32) -> i32 {
    const PANICKED: i32 = 101;
    match catch_unwind(AssertUnwindSafe(life)) {
        Ok(code) => code,
        Err(payload) => {
            // Its destructor is user code and might panic again.
            mem::forget(payload);
            PANICKED
        }
    }
}

fn flush() {
    // Output that cannot be written now is not lost: it stays buffered, here and in the child.
    let _ = io::stdout().flush();
    // SAFETY: a null stream means all output streams of C's stdio (fflush(3)).
    unsafe { libc::fflush(ptr::null_mut()) };
}

fn exit(status: c_int) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

/// The threads of this process, from `num_threads` in `/proc/self/stat` (proc_pid_stat(5)).
#[cfg(target_os = "linux")]
fn threads() -> Result<usize> {
    let call = "read of /proc/self/stat";
    let stat = fs::read("/proc/self/stat").map_err(Error::os(call))?;
    num_threads(&stat).ok_or_else(|| Error::Os { call, source: io::ErrorKind::InvalidData.into() })
}

/// Elsewhere there is no common way to count them; the caller's promise has to do.
#[cfg(not(target_os = "linux"))]
fn threads() -> Result<usize> {
    Ok(1)
}

/// Field 20 of a stat line. Field 2 is a name in parentheses and may itself hold `)` and spaces, so
/// fields are counted from the last `)`, after which comes field 3.
#[cfg(any(target_os = "linux", test))]
fn num_threads(stat: &[u8]) -> Option<usize> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(20 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn num_threads_is_found_behind_a_name_that_looks_like_fields() {
        let stat = b"7 (a) R 1 2 (\xff) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 5 0 99";
        assert_eq!(num_threads(stat), Some(5));
        assert_eq!(num_threads(b"7 (cut"), None);
        assert_eq!(num_threads(b"7 (short) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn law_06_a_process_with_a_second_thread_is_not_alone() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(matches!(Alone::check(), Err(Error::Threads { count: 2.. })));
        drop(release);
        assert!(thread.join().expect("the thread only waits").is_err());
    }
}
