//! Another thread of this process: what it does, as the kernel sees it.
//!
//! Next: `wakeup`.

/// The kernel's number for a thread; it may outlive it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadId(i32);

#[cfg(target_os = "linux")]
impl ThreadId {
    /// The calling thread's (gettid(2)).
    pub(crate) fn current() -> Self {
        // SAFETY: touches no memory and cannot fail.
        Self(unsafe { libc::gettid() })
    }

    /// The number itself.
    pub(crate) fn number(self) -> i32 {
        self.0
    }

    /// The state letter of proc_pid_stat(5): `R` runs, `S` waits, `D` waits for the disk. `None`
    /// where `/proc` is not mounted, or for a thread that has ended.
    pub(crate) fn state(self) -> Option<char> {
        let stat = std::fs::read(format!("/proc/self/task/{}/stat", self.0)).ok()?;
        // Field 2 is a name in parentheses, and may hold some itself.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        stat.get(name_end + 2).map(|&letter| char::from(letter))
    }
}

/// Elsewhere there is no common way to ask.
#[cfg(not(target_os = "linux"))]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self(0)
    }

    pub(crate) fn number(self) -> i32 {
        self.0
    }

    pub(crate) fn state(self) -> Option<char> {
        let _ = self.0;
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_asks_about_itself_runs_and_one_that_waits_sleeps() {
        assert_eq!(ThreadId::current().state(), Some('R'));
        let (tell, told) = std::sync::mpsc::channel();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let waiter = std::thread::spawn(move || {
            tell.send(ThreadId::current()).expect("the test waits");
            wait.recv()
        });
        let id = told.recv().expect("its number");
        while id.state() != Some('S') {
            std::thread::yield_now();
        }
        drop(release);
        assert!(waiter.join().expect("it only waits").is_err());
    }
}
