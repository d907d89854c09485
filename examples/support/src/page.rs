//! A page of counters that several processes share.
//!
//! One process writes a word, another reads it: no request, no pipe, no system call, so the reader
//! does not disturb what it measures. The page is a memfd, and a child gets it as its standard
//! input: a place that survives `exec` and that any language can map. Next: `child`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Stdio;
use std::ptr;
use std::sync::atomic::AtomicU64;

/// 512 words of 64 bits in memory that processes share, all zero at first.
#[derive(Debug)]
pub struct Page {
    words: &'static [AtomicU64],
    file: File,
}

impl Page {
    /// How many words it has.
    pub const WORDS: usize = 512;

    /// Makes a page.
    ///
    /// # Errors
    /// What memfd_create(2), ftruncate(2) and mmap(2) say.
    pub fn create() -> io::Result<Self> {
        let file = memory_file()?;
        file.set_len(Self::BYTES as u64)?;
        Self::map(file)
    }

    /// Maps the page that a parent gave as standard input.
    ///
    /// # Errors
    /// What dup(2) and mmap(2) say, and `InvalidInput` if standard input is no page.
    pub fn from_stdin() -> io::Result<Self> {
        use std::os::fd::AsFd;
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        // A mapping beyond the end of a file is a SIGBUS at the first touch.
        if file.metadata()?.len() != Self::BYTES as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "standard input is no page"));
        }
        Self::map(file)
    }

    /// The page for a child's standard input.
    ///
    /// # Errors
    /// What dup(2) says.
    pub fn stdin(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// The word at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`Page::WORDS`].
    pub fn word(&self, index: usize) -> &AtomicU64 {
        &self.words[index]
    }

    const BYTES: usize = Self::WORDS * size_of::<AtomicU64>();

    fn map(file: File) -> io::Result<Self> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a fresh mapping at an address of the kernel's choice; no existing memory is
        // touched.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), Self::BYTES, prot, flags, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is page-aligned, BYTES long and backed by a file of that length
        // which nobody shrinks; it lives until this value is dropped, and `word` lends it no
        // longer than that. Any bit pattern is an AtomicU64, and all who share it use atomics.
        let words = unsafe { std::slice::from_raw_parts(address.cast(), Self::WORDS) };
        Ok(Self { words, file })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let address = self.words.as_ptr().cast_mut().cast();
        // SAFETY: the mapping of `map`, and no borrow of it outlives `self`.
        unsafe { libc::munmap(address, Self::BYTES) };
    }
}

/// A file that lives in memory and goes with its last descriptor. A child may write its log there:
/// unlike a pipe it never fills and never blocks.
///
/// # Errors
/// What memfd_create(2) says.
pub fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a C string; no other memory is involved.
    let fd = unsafe { libc::memfd_create(c"squall".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn what_a_child_writes_on_its_standard_input_the_parent_reads() {
        let page = Page::create().unwrap();
        let script = "printf '\\7' 1<>/proc/self/fd/0"; // byte 0 of word 0
        let status =
            Command::new("sh").args(["-c", script]).stdin(page.stdin().unwrap()).status().unwrap();
        assert!(status.success());
        assert_eq!(page.word(0).load(Relaxed).to_ne_bytes()[0], 7);
        assert_eq!(page.word(Page::WORDS - 1).load(Relaxed), 0);
    }
}
