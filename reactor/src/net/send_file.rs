//! Files to TCP streams by sendfile(2).
//!
//! A method of its own file, because its rules are its own: a short send proves nothing, and the
//! file may block although the socket does not. Reading ahead is the pool's work; [`read_ahead`] is what
//! it does. What is absent: other sockets. Next: `unix`.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use super::tcp::TcpStream;
use crate::io::{Side, some};
use crate::sys::sendfile::{load, sendfile};

/// Brings `len` bytes of `file` from `offset` on into the page cache and waits until they are there, so
/// that [`TcpStream::send_file`] does not wait for them. It blocks: it is work for a
/// [`Pool`](crate::pool::Pool). Gives the number of bytes; it is smaller if the file ends before. Nothing
/// says how long they stay.
///
/// # System calls
/// On Linux one open(2) and one close(2) of /dev/null, and a sendfile(2) to it for each 2 MiB: the kernel
/// loads the pages, and copies none. Elsewhere the bytes are read.
///
/// # Errors
/// Those of sendfile(2) and read(2).
///
/// # Examples
/// ```
/// use squall_reactor::{Pool, Reactor, net::read_ahead};
/// use std::fs::File;
///
/// let pool = Pool::builder().build()?;
/// let file = File::open("Cargo.toml")?;
/// let loaded = Reactor::new()?.block_on(pool.run(move || read_ahead(&file, 0, 5)))???;
/// assert_eq!(loaded, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_ahead(file: &File, offset: u64, len: usize) -> io::Result<u64> {
    load(file, offset, len)
}

impl TcpStream {
    /// Sends some of `file`, at least one byte of the `len` from `offset` on; 0 if the file ends
    /// there. The file's own position stays as it is. At most 2 MiB go in one call, so that a quick
    /// peer does not hold the loop (law 7): call again with what is left.
    ///
    /// The socket does not block, the file does: what is not in the page cache is waited for by the
    /// whole loop. Where that may be, let the pool bring the range in first ([`read_ahead`], a few MiB
    /// ahead of the sending): it waits for the disk there, and the pages are here afterwards.
    ///
    /// # System calls
    /// One `sendfile` per call that finds room.
    ///
    /// # Errors
    /// Those of sendfile(2): EINVAL for a file that has no pages, such as a pipe. SIGPIPE, which
    /// sendfile cannot leave out, is ignored by Rust programs: it is `BrokenPipe`.
    ///
    /// # Cancel safety
    /// Nothing was sent if it did not return.
    ///
    /// # Examples
    /// ```no_run
    /// use squall_reactor::net::TcpStream;
    /// use std::fs::File;
    ///
    /// /// Sends a whole file, and stops where it has been cut meanwhile.
    /// async fn send_all(stream: &TcpStream, file: &File) -> std::io::Result<u64> {
    ///     let len = file.metadata()?.len();
    ///     let mut sent = 0;
    ///     while sent < len {
    ///         match stream.send_file(file, sent, (len - sent) as usize).await? {
    ///             0 => break,
    ///             n => sent += n as u64,
    ///         }
    ///     }
    ///     Ok(sent)
    /// }
    /// ```
    pub async fn send_file(&self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_file(cx, file, offset, len)).await
    }

    /// [`send_file`](Self::send_file), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: &File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        // Sending less than asked proves nothing here: the file may have ended, or the call's share.
        self.io.poll_judged(cx, Side::Write, |s| sendfile(s.as_fd(), file, offset, len), some)
    }

    /// Sends some of `file`, or answers `WouldBlock`, by which the socket is meant, not the file.
    ///
    /// # Errors
    /// Those of sendfile(2).
    pub fn try_send_file(&self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        self.io.try_judged(Side::Write, |s| sendfile(s.as_fd(), file, offset, len), some)
    }
}
