//! Pipes: one end reads, the other writes.
//!
//! A pipe may hold packets (O_DIRECT, pipe(2)), so a short read proves nothing, and only WouldBlock
//! clears what is known (law 3). What is absent: named pipes, which are opened as files and waited
//! for through `Fd`. Next: `net`.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use crate::interest::Interest;
use crate::io::{Io, Side, some};
use crate::sys::socket;
use crate::sys::source::Wraps;

/// Makes a pipe.
///
/// # Errors
/// Those of pipe(2).
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, pipe};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let (reader, writer) = pipe()?;
///     writer.write_all(b"through").await?;
///     drop(writer);
///     let mut text = Vec::new();
///     reader.read_to_end(&mut text).await?;
///     assert_eq!(text, b"through");
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((PipeReader::from_std(reader)?, PipeWriter::from_std(writer)?))
}

/// The end of a pipe that reads; a child's output is one.
///
/// In a task `read` waits; in a callback `try_read` answers `WouldBlock`.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, pipe};
///
/// let mut reactor = Reactor::new()?;
/// let (reader, writer) = pipe()?;
/// drop(writer);
/// let end = reactor.block_on(async { reader.read(&mut [0; 8]).await })??;
/// assert_eq!(end, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PipeReader {
    io: Io<io::PipeReader>,
}

impl PipeReader {
    /// Takes an end of `std` and sets it to nonblocking mode. The other end keeps its own.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(reader: io::PipeReader) -> io::Result<Self> {
        socket::set_nonblocking(reader.as_fd())?;
        Ok(Self::wrap(reader.into()))
    }

    /// Gives the end back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> io::PipeReader {
        self.io.into_inner()
    }

    /// Reads what is there, at least one byte; 0 is the end: every writer has closed.
    ///
    /// # System calls
    /// One `read` that finds data, and one that fails for each time that it runs empty.
    ///
    /// # Errors
    /// Those of read(2).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// [`read`](Self::read), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_judged(cx, Side::Read, |mut pipe| pipe.read(buf), some)
    }

    /// Reads, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_judged(Side::Read, |mut pipe| pipe.read(buf), some)
    }

    /// Reads until every writer has closed, appends it to `text`, and returns how much it was.
    /// There is no limit: whoever writes decides how much memory it takes.
    ///
    /// # Errors
    /// Those of read(2); what was read before is in `text`.
    ///
    /// # Cancel safety
    /// What was read is in `text`.
    pub async fn read_to_end(&self, text: &mut Vec<u8>) -> io::Result<usize> {
        let before = text.len();
        let mut buf = [0; 4096];
        loop {
            match self.read(&mut buf).await? {
                0 => return Ok(text.len() - before),
                n => text.extend_from_slice(&buf[..n]),
            }
        }
    }

    /// One that is in nonblocking mode already.
    #[track_caller]
    pub(crate) fn wrap(fd: OwnedFd) -> Self {
        Self { io: Io::new(fd.into(), Interest::READABLE) }
    }
}

/// The end of a pipe that writes; a child's input is one.
///
/// In a task `write` waits; in a callback `try_write` answers `WouldBlock`.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, pipe};
///
/// let mut reactor = Reactor::new()?;
/// let (reader, writer) = pipe()?;
/// drop(reader);
/// let broken = reactor.block_on(async { writer.write(b"!").await })?;
/// assert_eq!(broken.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PipeWriter {
    io: Io<io::PipeWriter>,
}

impl PipeWriter {
    /// Takes an end of `std` and sets it to nonblocking mode. The other end keeps its own.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(writer: io::PipeWriter) -> io::Result<Self> {
        socket::set_nonblocking(writer.as_fd())?;
        Ok(Self::wrap(writer.into()))
    }

    /// Gives the end back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> io::PipeWriter {
        self.io.into_inner()
    }

    /// Writes some of `buf`, at least one byte. Up to PIPE_BUF (4,096 on Linux) it is all or
    /// nothing (pipe(7)).
    ///
    /// # System calls
    /// One `write` that finds room, and one that fails for each time that the pipe is full.
    ///
    /// # Errors
    /// Those of write(2): `BrokenPipe` once every reader has closed. (Rust programs ignore SIGPIPE;
    /// one that has set its disposition back is ended by it.)
    ///
    /// # Cancel safety
    /// Nothing was written if it did not return.
    pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, buf)).await
    }

    /// [`write`](Self::write), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_judged(cx, Side::Write, |mut pipe| pipe.write(buf), some)
    }

    /// Writes, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_judged(Side::Write, |mut pipe| pipe.write(buf), some)
    }

    /// Writes some of several buffers by one `writev`.
    ///
    /// # Errors
    /// Those of writev(2), as those of [`write`](Self::write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_judged(cx, Side::Write, |mut pipe| pipe.write_vectored(bufs), some)
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// Those of write(2).
    ///
    /// # Cancel safety
    /// Not cancel-safe: a part may have been written.
    pub async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.write(buf).await?;
            buf = &buf[n..];
        }
        Ok(())
    }

    /// One that is in nonblocking mode already.
    #[track_caller]
    pub(crate) fn wrap(fd: OwnedFd) -> Self {
        Self { io: Io::new(fd.into(), Interest::WRITABLE) }
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsFd for PipeWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for PipeReader {
    type Inner = io::PipeReader;
}

impl Wraps for PipeWriter {
    type Inner = io::PipeWriter;
}
