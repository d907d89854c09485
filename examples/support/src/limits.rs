//! Limits of processes.
//!
//! A server that runs out of descriptors can accept nobody, and its listener stays readable for
//! ever: one of the ways to burn a core. The soft limit is 1,024 only for select(2)'s sake, and
//! nothing here calls it. Next: `proc`.

use std::io;

/// Raises the soft limit of open files to the hard one and returns it.
///
/// # Errors
/// What getrlimit(2) and setrlimit(2) say.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives until the call returns, which fills it in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` lives until the call returns, which only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Sets the soft limit of open files of a process (0: this one) and returns the one before. What the
/// process has open beyond it stays open.
///
/// # Errors
/// What prlimit(2) says.
pub fn set_open_files(pid: u32, soft: u64) -> io::Result<u64> {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let (pid, what) = (pid as libc::pid_t, libc::RLIMIT_NOFILE);
    // SAFETY: `before` lives until the call returns, which fills it in; there is no new limit.
    if unsafe { libc::prlimit(pid, what, std::ptr::null(), &raw mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let limit = libc::rlimit { rlim_cur: soft.min(before.rlim_max), rlim_max: before.rlim_max };
    // SAFETY: `limit` lives until the call returns, which only reads it; no old limit is wanted.
    if unsafe { libc::prlimit(pid, what, &raw const limit, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(before.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_open_files().expect("a soft limit may always rise to the hard one");
        let text = std::fs::read_to_string("/proc/self/limits").expect("/proc is mounted");
        let line = text.lines().find(|l| l.starts_with("Max open files")).expect("a known line");
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!(fields[3], fields[4]);
        assert_eq!(fields[3], raised.to_string());
    }
}
