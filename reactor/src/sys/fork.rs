//! Which side of a fork is this? (law 6)
//!
//! One page is mapped with MADV_WIPEONFORK: in a child it reads as zero, whoever made the child
//! (fork, `_Fork`, raw clone; pthread_atfork hears of the first alone). The page holds the
//! generation number of this process; zero means "just forked: take the next number". Each object
//! keeps the number it was born under and compares: one load, no system call. A mere flag would
//! miss a second reactor that is made after the fork.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::generation::{Word, number};

/// The generation of this process: it changes in every forked child, and never otherwise.
///
/// # System calls
/// None, but for `mmap` and `madvise` at the first call in a process tree.
pub(crate) fn generation() -> u32 {
    // Ordinary memory, so a child inherits its parent's last number and goes on from there.
    static LAST: AtomicU32 = AtomicU32::new(0);
    number(page(), &LAST)
}

/// The same number as a signal handler may read it: zero in a child that has not asked yet.
///
/// One load and nothing else: to take the next number, as [`generation`] does, is more than a
/// handler may do that interrupts anything (signal-safety(7)). Zero equals no object's number.
pub(crate) fn seen() -> u32 {
    PAGE.get().map_or(0, |page| AtomicU32::load(page, Ordering::Relaxed))
}

/// An object's birth certificate: the generation in which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Born(u32);

impl Born {
    pub(crate) fn now() -> Self {
        Self(generation())
    }

    /// True in a child that was forked after the object was made.
    pub(crate) fn forked(self) -> bool {
        self.0 != generation()
    }

    /// The generation's number, for what a signal handler compares with [`seen`].
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

static PAGE: OnceLock<&'static AtomicU32> = OnceLock::new();

impl Word for AtomicU32 {
    fn load(&self) -> u32 {
        AtomicU32::load(self, Ordering::Relaxed)
    }

    fn add_one(&self) -> u32 {
        self.fetch_add(1, Ordering::Relaxed)
    }

    fn replace_zero(&self, number: u32) -> Result<u32, u32> {
        self.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed)
    }
}

fn page() -> &'static AtomicU32 {
    PAGE.get_or_init(|| wiped_page().unwrap_or_else(atfork_word))
}

#[cfg(target_os = "linux")]
fn wiped_page() -> Option<&'static AtomicU32> {
    let len = 4096;
    let (prot, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh anonymous mapping; no existing memory is touched.
    let address = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is the mapping just made, which nobody else knows.
    let advised = unsafe { libc::madvise(address, len, libc::MADV_WIPEONFORK) };
    if advised != 0 {
        // Linux before 4.14, or an emulator that does not know the advice.
        // SAFETY: the mapping just made, never shared.
        unsafe { libc::munmap(address, len) };
        return None;
    }
    // SAFETY: page-aligned, zeroed, at least four bytes long, and never unmapped.
    Some(unsafe { &*address.cast::<AtomicU32>() })
}

#[cfg(not(target_os = "linux"))]
fn wiped_page() -> Option<&'static AtomicU32> {
    None
}

/// The fallback: a word that a pthread_atfork handler clears. It does not hear of raw clone.
fn atfork_word() -> &'static AtomicU32 {
    static WORD: AtomicU32 = AtomicU32::new(0);
    extern "C" fn in_child() {
        WORD.store(0, Ordering::Relaxed);
    }
    // SAFETY: the handler stores to one static atomic, which is async-signal-safe.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    &WORD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_06_the_generation_changes_in_a_child_and_not_in_its_parent() {
        let born = Born::now();
        assert!(!born.forked());
        assert_eq!(seen(), born.number());
        // SAFETY: the child calls nothing but this module (loads and stores) and `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let fresh = seen() == 0 && born.forked() && !Born::now().forked();
            let code = i32::from(!fresh || seen() == born.number());
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(code) };
        }
        assert!(pid > 0);
        let mut status = 0;
        // SAFETY: `status` lives until the call returns.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!((reaped, status), (pid, 0));
        assert!(!born.forked());
    }
}
