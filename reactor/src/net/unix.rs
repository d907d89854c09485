//! Unix stream sockets: listeners and streams.
//!
//! A short read proves nothing here (it ends at a message with descriptors), so only WouldBlock
//! clears what is known (law 3). Next: `udp`.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::path::Path;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::io::{Io, Side, some};
use crate::sys::socket::{self, More};
use crate::sys::source::Wraps;

/// A listening Unix socket.
///
/// # Examples
/// ```
/// use squall_reactor::Reactor;
/// use squall_reactor::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("squall-doc-{}", std::process::id()));
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let server = listener.accept().await?;
///     # drop((client, server));
///     std::io::Result::Ok(())
/// })??;
/// std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    io: Io<std::os::unix::net::UnixListener>,
}

impl UnixListener {
    /// Binds to a path and listens. The path must not exist; nothing removes it afterwards.
    ///
    /// # Errors
    /// Those of `std`'s `UnixListener::bind`.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_std(std::os::unix::net::UnixListener::bind(path)?)
    }

    /// Takes a listener of `std` and sets it to nonblocking mode.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket::set_nonblocking(listener.as_fd())?;
        Ok(Self { io: Io::new(listener, Interest::READABLE) })
    }

    /// The same, for a listener that other processes accept from too: a connection wakes one that
    /// sleeps, not all ([`Interest::ACCEPT_EXCLUSIVE`]).
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std_exclusive(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket::set_nonblocking(listener.as_fd())?;
        Ok(Self { io: Io::new(listener, Interest::ACCEPT_EXCLUSIVE) })
    }

    /// Gives the listener back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> std::os::unix::net::UnixListener {
        self.io.into_inner()
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// As `TcpListener::accept`.
    ///
    /// # Cancel safety
    /// No connection is lost.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = io::Result<UnixStream>> {
        let place = Location::caller();
        self.io.with(Side::Read, move |listener| accept(listener, place))
    }

    /// Accepts a connection, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of accept(2).
    #[track_caller]
    pub fn try_accept(&self) -> io::Result<UnixStream> {
        let place = Location::caller();
        self.io.try_with(Side::Read, |listener| accept(listener, place))
    }
}

/// A Unix stream connection. Its methods take `&self`: one task may read while another writes.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, net::UnixStream};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let (a, b) = UnixStream::pair()?;
///     a.write_all(b"hi").await?;
///     let mut text = [0; 2];
///     assert_eq!(b.read(&mut text).await?, 2);
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnixStream {
    io: Io<std::os::unix::net::UnixStream>,
}

impl UnixStream {
    /// Connects to a path.
    ///
    /// # Errors
    /// Those of connect(2); EAGAIN, where the listener's queue is full, is one of them.
    #[track_caller]
    pub fn connect(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Self>> {
        let place = Location::caller();
        async move {
            let stream = mio::net::UnixStream::connect(path)?;
            Ok(Self::wrap(stream.into(), place))
        }
    }

    /// Two connected streams.
    ///
    /// # Errors
    /// Those of socketpair(2).
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        Ok((Self::from_std(a)?, Self::from_std(b)?))
    }

    /// Takes a stream of `std` and sets it to nonblocking mode.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket::set_nonblocking(stream.as_fd())?;
        Ok(Self::wrap(stream, Location::caller()))
    }

    /// Gives the stream back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> std::os::unix::net::UnixStream {
        self.io.into_inner()
    }

    /// Reads what is there, at least one byte; 0 is the end.
    ///
    /// # System calls
    /// One `recv` that finds data, and one that fails for each time that it runs empty.
    ///
    /// # Errors
    /// Those of recv(2).
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
        self.poll_read_by(cx, |stream| socket::recv(stream, buf))
    }

    /// [`poll_read`](Self::poll_read) by another call.
    pub(crate) fn poll_read_by(
        &self,
        cx: &mut Context<'_>,
        mut recv: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_judged(cx, Side::Read, |stream| recv(stream.as_fd()), some)
    }

    /// Reads, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_judged(Side::Read, |stream| socket::recv(stream.as_fd(), buf), some)
    }

    /// Writes some of `buf`, at least one byte. No SIGPIPE.
    ///
    /// # Errors
    /// Those of send(2).
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
        self.io.poll_judged(cx, Side::Write, |s| socket::send(s.as_fd(), buf, More::No), some)
    }

    /// Writes, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_judged(Side::Write, |s| socket::send(s.as_fd(), buf, More::No), some)
    }

    /// Writes some of several buffers by one `sendmsg`.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_judged(cx, Side::Write, |s| socket::send_vectored(s.as_fd(), bufs), some)
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// Those of send(2).
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

    /// Waits until `side` may succeed.
    ///
    /// # Errors
    /// As [`Io::ready`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&self, side: Side) -> Result<Readiness> {
        self.io.ready(side).await
    }

    /// Ends sending, receiving, or both.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.source().shutdown(how)
    }

    fn wrap(stream: std::os::unix::net::UnixStream, place: &'static Location<'static>) -> Self {
        Self { io: Io::at(stream, Interest::BOTH, place) }
    }
}

/// `place` is the accepter's, because the stream's registration is to name a line of its user.
fn accept(
    listener: &std::os::unix::net::UnixListener,
    place: &'static Location<'static>,
) -> io::Result<UnixStream> {
    let (fd, _peer) = socket::accept(listener.as_fd())?;
    Ok(UnixStream::wrap(std::os::unix::net::UnixStream::from(fd), place))
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for UnixListener {
    type Inner = std::os::unix::net::UnixListener;
}

impl Wraps for UnixStream {
    type Inner = std::os::unix::net::UnixStream;
}
