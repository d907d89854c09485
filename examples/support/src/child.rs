//! Children that die with us, and whole trees of them ended.
//!
//! A reproduction of a spin that leaves a spinning process behind is worse than none. So, whatever
//! happens here, the children go: each is the leader of a process group of its own, ended as a
//! whole by one kill(2) when the [`Child`] is dropped (also by a panic) and from the handler of
//! SIGINT, SIGTERM and SIGHUP; and each asks the kernel to be killed when we die
//! (PR_SET_PDEATHSIG), which covers a SIGKILL of ours. This process becomes a subreaper, so that
//! a killed child's own children are handed to us and can be waited for by their group. What is
//! not caught: a descendant that starts a session of its own. Next: `client`.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{self, Command, ExitStatus};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// A child process with all its descendants. Dropping it ends them and waits for them.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    group: libc::pid_t,
    ended: bool,
}

impl Child {
    /// Starts `command` in a process group of its own.
    ///
    /// The kernel sends the death signal when the *thread* that called this ends, so call it on
    /// one that lives as long as the child shall.
    ///
    /// # Errors
    /// What [`Command::spawn`] says.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        adopt_orphans();
        let parent = process::id();
        command.process_group(0);
        // SAFETY: the closure runs between fork and exec and makes two system calls and no
        // allocation.
        unsafe { command.pre_exec(move || die_with(parent)) };
        let process = command.spawn()?;
        let group = process.id() as libc::pid_t;
        remember(group);
        Ok(Self { process, group, ended: false })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its standard output, once, if the command asked for a pipe.
    pub fn stdout(&mut self) -> Option<process::ChildStdout> {
        self.process.stdout.take()
    }

    /// How it ended, or `None` while it runs. It is left a zombie until [`Child::end`], so its pid,
    /// which is also the group's, cannot be given to somebody else meanwhile.
    ///
    /// # Errors
    /// What waitid(2) says.
    pub fn exit_status(&self) -> io::Result<Option<ExitStatus>> {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: siginfo_t is plain data, for which all zeroes is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` lives until the call returns, which fills it in.
        let answer = unsafe { libc::waitid(libc::P_PID, self.group as _, &raw mut info, flags) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: after a waitid that succeeded the SIGCHLD fields are the ones in use.
        let pid = unsafe { info.si_pid() };
        // SAFETY: as above.
        let status = unsafe { info.si_status() };
        Ok(match (pid, info.si_code) {
            (0, _) => None,
            (_, libc::CLD_EXITED) => Some(ExitStatus::from_raw((status & 0xff) << 8)),
            _ => Some(ExitStatus::from_raw(status)),
        })
    }

    /// Sends a signal to the child alone, not to its descendants.
    ///
    /// # Errors
    /// What kill(2) says.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: no memory is involved. The child is not waited for before `end`, so the pid is
        // still its own.
        match unsafe { libc::kill(self.group, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Kills the child and all its descendants, and waits until none is left.
    pub fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        // SAFETY: no memory is involved. The leader is not yet waited for, so the group is ours.
        unsafe { libc::kill(-self.group, libc::SIGKILL) };
        forget(self.group);
        // The leader first: its children become ours before it can be waited for.
        let _ = self.process.wait();
        loop {
            // SAFETY: a null status is allowed: it is not wanted.
            let reaped = unsafe { libc::waitpid(-self.group, ptr::null_mut(), 0) };
            let interrupted = io::Error::last_os_error().raw_os_error() == Some(libc::EINTR);
            if reaped < 0 && !interrupted {
                return; // ECHILD: the group is empty
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP end every [`Child`] before they end this process.
pub fn end_children_on_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        set_disposition(signal, end_all_and_die as extern "C" fn(libc::c_int) as usize);
    }
}

/// Asks the kernel to kill this process when its parent dies; for a process that was forked
/// rather than spawned by [`Child::spawn`], called in the child with the parent's pid.
///
/// # Errors
/// What prctl(2) says, and `BrokenPipe` if the parent is dead already: it may have died before
/// the kernel was asked, and then nothing would be sent.
pub fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: the option takes a signal number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    Ok(())
}

/// Sends a signal to any process. That the pid is still the one that is meant is the caller's
/// business.
///
/// # Errors
/// What kill(2) says.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    match unsafe { libc::kill(pid as libc::pid_t, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The groups of all children alive, for the signal handler; 0 is a free place.
static GROUPS: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];

/// Without a free place a child is still killed by PR_SET_PDEATHSIG, though not its descendants.
fn remember(group: libc::pid_t) {
    let free = |place: &&AtomicI32| {
        place.compare_exchange(0, group, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    let _ = GROUPS.iter().find(free);
}

fn forget(group: libc::pid_t) {
    for place in &GROUPS {
        let _ = place.compare_exchange(group, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Only what signal-safety(7) allows: atomics, kill, signal, raise.
extern "C" fn end_all_and_die(signal: libc::c_int) {
    for place in &GROUPS {
        let group = place.load(Ordering::SeqCst);
        if group > 0 {
            // SAFETY: no memory is involved; `end` forgets a group before it waits for it.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
    set_disposition(signal, libc::SIG_DFL);
    // SAFETY: no memory is involved; it is delivered when this handler returns.
    unsafe { libc::raise(signal) };
}

fn set_disposition(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: the handler is SIG_DFL or `end_all_and_die`, which is async-signal-safe.
    unsafe { libc::signal(signal, handler) };
}

fn adopt_orphans() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the option takes a flag and touches no memory. If it fails, a child's own
        // children are killed all the same; init waits for them.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::Stdio;

    /// A shell with a grandchild, and the grandchild's pid.
    fn family() -> (Child, u32) {
        let script = "sleep 1000 & echo $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::spawn(&mut command).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    fn alive(pid: u32) -> bool {
        // SAFETY: signal 0 only asks whether the process exists.
        unsafe { libc::kill(pid as libc::pid_t, 0) == 0 }
    }

    #[test]
    fn a_dropped_child_takes_its_own_children_with_it() {
        let (child, grandchild) = family();
        let pid = child.pid();
        assert!(alive(pid) && alive(grandchild));
        drop(child);
        assert!(!alive(pid) && !alive(grandchild));
    }

    #[test]
    fn a_panic_ends_the_children_too() {
        let (child, grandchild) = family();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _child = child;
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(result.is_err());
        assert!(!alive(grandchild));
    }

    #[test]
    fn an_exit_code_and_a_signal_are_told_apart_and_told_twice() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = Child::spawn(&mut command).unwrap();
        assert_eq!(child.exit_status().unwrap(), None);
        child.signal(libc::SIGTERM).unwrap();
        let signalled = wait(&child);
        assert_eq!((signalled.code(), signalled.signal()), (None, Some(libc::SIGTERM)));

        let child = Child::spawn(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        assert_eq!(wait(&child).code(), Some(3));
        assert_eq!(wait(&child).code(), Some(3));
    }

    fn wait(child: &Child) -> ExitStatus {
        loop {
            match child.exit_status().unwrap() {
                Some(status) => return status,
                None => std::thread::sleep(std::time::Duration::from_millis(2)),
            }
        }
    }

    // The end of the thread that spawned counts as the parent's death: the nearest thing to our
    // own end that a test can bring about. The pipe's end says when the child is gone.
    #[test]
    fn the_kernel_kills_a_child_whose_parent_is_gone() {
        let (child, mut stdout) = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("1000").stdout(Stdio::piped());
            let mut child = Child::spawn(&mut command).unwrap();
            let stdout = child.stdout().unwrap();
            (child, stdout)
        })
        .join()
        .unwrap();
        assert_eq!(stdout.read_to_string(&mut String::new()).unwrap(), 0);
        assert_eq!(wait(&child).signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_parent_that_is_dead_already_is_noticed() {
        assert!(die_with(u32::MAX).is_err());
    }
}
