//! TCP: listeners and streams.
//!
//! A short read or write proves a TCP stream drained, so a request costs one read and one write
//! (law 3); urgent data, an end or an error that is remembered forbids the conclusion. Next:
//! `sys::sendfile`.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::io::{Io, Side, some};
use crate::sys::socket::{self, More};
use crate::sys::source::Wraps;

/// A listening TCP socket.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, net::{TcpListener, TcpStream}};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _peer) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     let mut text = [0; 16];
///     let n = server.read(&mut text).await?;
///     assert_eq!(&text[..n], b"hello");
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    io: Io<std::net::TcpListener>,
}

impl TcpListener {
    /// Binds and listens (backlog as `std`; see `workers::Bind` for more say).
    ///
    /// # Errors
    /// Those of `std::net::TcpListener::bind`.
    #[track_caller]
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::from_std(std::net::TcpListener::bind(addr)?)
    }

    /// Takes a listener of `std` and sets it to nonblocking mode.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        socket::set_nonblocking(listener.as_fd())?;
        Ok(Self { io: Io::new(listener, Interest::READABLE) })
    }

    /// The same, for a listener that other processes accept from too: a connection wakes one that
    /// sleeps, not all ([`Interest::ACCEPT_EXCLUSIVE`]).
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std_exclusive(listener: std::net::TcpListener) -> io::Result<Self> {
        socket::set_nonblocking(listener.as_fd())?;
        Ok(Self { io: Io::new(listener, Interest::ACCEPT_EXCLUSIVE) })
    }

    /// Gives the listener back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> std::net::TcpListener {
        self.io.into_inner()
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }

    /// Sets TCP_NODELAY on the listener, and so on what it accepts: tcp(7) sockets inherit it.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        socket::set_nodelay(self.as_fd(), on)
    }

    /// Bounds what the kernel takes for a connection and has not yet sent (TCP_NOTSENT_LOWAT, tcp(7)), on
    /// the listener and so on what it accepts. Without it the send buffer grows to megabytes, which a
    /// client that stops reading then holds.
    ///
    /// # System calls
    /// One `setsockopt`; none elsewhere than on Linux, where it does nothing.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_unsent_limit(&self, bytes: u32) -> io::Result<()> {
        socket::set_unsent_limit(self.as_fd(), bytes)
    }

    /// Waits for a connection.
    ///
    /// # System calls
    /// One `accept4` for a connection, and one that fails for each time that the queue runs empty.
    ///
    /// # Errors
    /// Those of accept(2). With EMFILE and ENFILE the connection stays in the queue: wait a little
    /// before the next call, or the loop spins.
    ///
    /// # Cancel safety
    /// No connection is lost.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> {
        let place = Location::caller();
        poll_fn(|cx| self.io.poll_with(cx, Side::Read, |listener| accept(listener, place)))
    }

    /// [`accept`](Self::accept), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    #[track_caller]
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let place = Location::caller();
        self.io.poll_with(cx, Side::Read, |listener| accept(listener, place))
    }

    /// Accepts a connection, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of accept(2).
    #[track_caller]
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let place = Location::caller();
        self.io.try_with(Side::Read, |listener| accept(listener, place))
    }
}

/// A TCP connection. Its methods take `&self`: one task may read while another writes.
///
/// # Examples
/// ```
/// use squall_reactor::Reactor;
/// use squall_reactor::net::{TcpListener, TcpStream};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut buf = [0; 16];
///     let n = server.read(&mut buf).await?;
///     assert_eq!(&buf[..n], b"ping");
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    pub(super) io: Io<std::net::TcpStream>,
}

impl TcpStream {
    /// Connects.
    ///
    /// # Errors
    /// Those of connect(2).
    ///
    /// # Cancel safety
    /// Dropping it closes the socket.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> impl Future<Output = io::Result<Self>> {
        Self::connect_at(addr, Location::caller())
    }

    async fn connect_at(addr: SocketAddr, place: &'static Location<'static>) -> io::Result<Self> {
        let stream = mio::net::TcpStream::connect(addr)?;
        let stream = Self::wrap(stream.into(), place);
        // The kernel reports WRITE once it is decided; until then the socket must not be written.
        stream.io.would_block(Side::Write)?;
        loop {
            stream.io.ready(Side::Write).await?;
            if let Some(error) = stream.io.source().take_error()? {
                return Err(error);
            }
            match stream.io.source().peer_addr() {
                Ok(_) => return Ok(stream),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    stream.io.would_block(Side::Write)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a stream of `std` and sets it to nonblocking mode.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        socket::set_nonblocking(stream.as_fd())?;
        Ok(Self::wrap(stream, Location::caller()))
    }

    /// Gives the stream back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> std::net::TcpStream {
        self.io.into_inner()
    }

    /// Reads what is there, at least one byte; 0 is the end.
    ///
    /// # System calls
    /// One `recv` per call that finds data; none while it is known that there is none.
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
        self.poll_read_by(cx, buf.len(), |stream| socket::recv(stream, buf))
    }

    /// [`poll_read`](Self::poll_read) by a call that reads at most `len` bytes.
    pub(crate) fn poll_read_by(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        mut recv: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let poll = self.io.poll_judged(cx, Side::Read, |stream| recv(stream.as_fd()), some);
        self.settle(Side::Read, len, &poll);
        poll
    }

    /// Reads, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len();
        let result =
            self.io.try_judged(Side::Read, |stream| socket::recv(stream.as_fd(), buf), some);
        self.settle_result(Side::Read, len, &result);
        result
    }

    /// Reads without taking (MSG_PEEK), or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.source().peek(buf)
    }

    /// Writes some of `buf`, at least one byte.
    ///
    /// # System calls
    /// One `send` per call that finds room. No SIGPIPE.
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
        self.poll_send(cx, buf, false)
    }

    /// [`poll_write`](Self::poll_write) where `more` follows at once, be it only the end: the kernel
    /// may hold the bytes back for it (MSG_MORE, send(2)).
    ///
    /// # Errors
    /// The same.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        let more = if more { More::Yes } else { More::No };
        let poll =
            self.io.poll_judged(cx, Side::Write, |s| socket::send(s.as_fd(), buf, more), some);
        self.settle(Side::Write, buf.len(), &poll);
        poll
    }

    /// Writes, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        let result =
            self.io.try_judged(Side::Write, |s| socket::send(s.as_fd(), buf, More::No), some);
        self.settle_result(Side::Write, buf.len(), &result);
        result
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
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let send = |stream: &std::net::TcpStream| socket::send_vectored(stream.as_fd(), bufs);
        let poll = self.io.poll_judged(cx, Side::Write, send, some);
        self.settle(Side::Write, len, &poll);
        poll
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// Those of send(2); `WriteZero` never happens on a socket.
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

    /// Waits until `side` may succeed; `Side::Closed` waits for the peer's end, or its leaving.
    ///
    /// # Errors
    /// As [`Io::ready`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&self, side: Side) -> Result<Readiness> {
        self.io.ready(side).await
    }

    /// [`ready`](Self::ready), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_ready(&self, cx: &mut Context<'_>, side: Side) -> Poll<Result<Readiness>> {
        self.io.poll_ready(cx, side)
    }

    /// Ends sending, receiving, or both.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.source().shutdown(how)
    }

    /// Turns Nagle's algorithm off (TCP_NODELAY).
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.io.source().set_nodelay(on)
    }

    /// Makes the close a reset (SO_LINGER of 0 seconds): what is unsent is lost.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_reset_on_close(&self) -> io::Result<()> {
        socket::set_reset_on_close(self.as_fd())
    }

    /// Bytes that were written and that the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)), unsent
    /// ones included. Room is reported only once there is a lot of it; this shows whether a slow
    /// client takes anything at all.
    ///
    /// # System calls
    /// One `ioctl`.
    ///
    /// # Errors
    /// Those of ioctl(2); elsewhere than on Linux `Unsupported`.
    pub fn unacknowledged(&self) -> io::Result<usize> {
        socket::unacknowledged(self.as_fd())
    }

    /// The peer's address.
    ///
    /// # Errors
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().peer_addr()
    }

    /// The own address.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }

    fn wrap(stream: std::net::TcpStream, place: &'static Location<'static>) -> Self {
        // PRI, so that urgent data is remembered: a read stops short at it (law 3).
        Self { io: Io::at(stream, Interest::BOTH | Interest::PRIORITY, place) }
    }

    fn settle(&self, side: Side, len: usize, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(result) = poll {
            self.settle_result(side, len, result);
        }
    }

    fn settle_result(&self, side: Side, len: usize, result: &io::Result<usize>) {
        if let Ok(n) = result
            && *n < len
            && *n > 0
        {
            self.io.short(side);
        }
    }
}

/// `place` is the accepter's, because the stream's registration is to name a line of its user.
fn accept(
    listener: &std::net::TcpListener,
    place: &'static Location<'static>,
) -> io::Result<(TcpStream, SocketAddr)> {
    let (fd, peer) = socket::accept(listener.as_fd())?;
    let stream = TcpStream::wrap(std::net::TcpStream::from(fd), place);
    let peer = match peer {
        Some(peer) => peer,
        None => stream.peer_addr()?,
    };
    Ok((stream, peer))
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for TcpListener {
    type Inner = std::net::TcpListener;
}

impl Wraps for TcpStream {
    type Inner = std::net::TcpStream;
}
