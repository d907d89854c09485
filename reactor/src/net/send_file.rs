//! Files to TCP streams by sendfile(2).
//!
//! A method of its own file, because its rules are its own: a short send proves nothing, and the
//! file may block although the socket does not. What is absent: other sockets, and reading ahead,
//! which is the pool's work. Next: `unix`.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use super::tcp::TcpStream;
use crate::io::{Side, some};
use crate::sys::sendfile::sendfile;

impl TcpStream {
    /// Sends some of `file`, at least one byte of the `len` from `offset` on; 0 if the file ends
    /// there. The file's own position stays as it is. At most 2 MiB go in one call, so that a quick
    /// peer does not hold the loop (law 7): call again with what is left.
    ///
    /// The socket does not block, the file does: what is not in the page cache is waited for by the
    /// whole loop. Where that may be, let the pool read the range first
    /// (`pool.run(move || file.read_at(&mut scratch, offset))`, a few MiB ahead of the sending): it
    /// waits for the disk there, and the pages are here afterwards. Large files that are seldom
    /// read are better read by the pool and sent by [`write`](Self::write).
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
