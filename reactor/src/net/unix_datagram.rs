//! Unix datagram sockets.
//!
//! As for UDP, a short read proves nothing, and only WouldBlock clears what is known (law 3).
//! Unlike UDP's, these datagrams are not lost on the way: where the receiver's queue is full the
//! sender waits. What is absent: passing descriptors and credentials (SCM_RIGHTS, unix(7)). Next:
//! `pool`.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::io::{Io, Side};
use crate::sys::socket;
use crate::sys::source::Wraps;

/// A Unix datagram socket. Its methods take `&self`: one task may receive while another sends.
///
/// In a task `recv`, `send` and their kin wait; in a callback the `try_` ones answer `WouldBlock`.
/// What is longer than the buffer is cut, and the rest is lost (unix(7)).
///
/// # Threads and fork
/// As [`Io`].
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, net::UnixDatagram};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let (a, b) = UnixDatagram::pair()?;
///     a.send(b"one").await?;
///     a.send(b"two").await?;
///     let mut buf = [0; 16];
///     assert_eq!(b.recv(&mut buf).await?, 3);
///     assert_eq!(&buf[..3], b"one");
///     assert_eq!(b.recv(&mut buf).await?, 3);
///     assert_eq!(&buf[..3], b"two");
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnixDatagram {
    io: Io<std::os::unix::net::UnixDatagram>,
}

impl UnixDatagram {
    /// Binds to a path. It must not exist; nothing removes it afterwards.
    ///
    /// # Errors
    /// Those of `std`'s `UnixDatagram::bind`.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_std(std::os::unix::net::UnixDatagram::bind(path)?)
    }

    /// A socket without a name: it sends, and nobody can answer.
    ///
    /// # Errors
    /// Those of socket(2).
    #[track_caller]
    pub fn unbound() -> io::Result<Self> {
        Self::from_std(std::os::unix::net::UnixDatagram::unbound()?)
    }

    /// Two connected sockets.
    ///
    /// # Errors
    /// Those of socketpair(2).
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((Self::from_std(a)?, Self::from_std(b)?))
    }

    /// Takes a socket of `std` and sets it to nonblocking mode.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<Self> {
        socket::set_nonblocking(socket.as_fd())?;
        Ok(Self { io: Io::new(socket, Interest::BOTH) })
    }

    /// Gives the socket back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> std::os::unix::net::UnixDatagram {
        self.io.into_inner()
    }

    /// Sets the peer: [`send`](Self::send) sends there, and only its datagrams are received. It
    /// waits for nothing, as nothing is sent.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn connect(&self, peer: impl AsRef<Path>) -> io::Result<()> {
        self.io.source().connect(peer)
    }

    /// Receives a datagram from the peer, or from anybody if there is none.
    ///
    /// # System calls
    /// One `recv` per datagram, and one that fails for each time that the queue runs empty.
    ///
    /// # Errors
    /// Those of recv(2); ECONNRESET says that the peer has gone.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buf)).await
    }

    /// [`recv`](Self::recv), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_with(cx, Side::Read, |socket| socket.recv(buf))
    }

    /// Receives a datagram, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_with(Side::Read, |socket| socket.recv(buf))
    }

    /// Receives a datagram, and says who sent it.
    ///
    /// # Errors
    /// Those of recvfrom(2).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, buf)).await
    }

    /// [`recv_from`](Self::recv_from), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.io.poll_with(cx, Side::Read, |socket| socket.recv_from(buf))
    }

    /// Receives a datagram with its sender, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of recvfrom(2).
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_with(Side::Read, |socket| socket.recv_from(buf))
    }

    /// Sends a datagram to the peer, whole or not at all.
    ///
    /// # System calls
    /// One `send` per call that finds room.
    ///
    /// # Errors
    /// Those of send(2): ENOTCONN without a peer, EMSGSIZE for one that is too long, and
    /// ECONNREFUSED if the peer has gone.
    ///
    /// # Cancel safety
    /// Nothing was sent if it did not return.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, buf)).await
    }

    /// [`send`](Self::send), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_with(cx, Side::Write, |socket| socket.send(buf))
    }

    /// Sends a datagram, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_with(Side::Write, |socket| socket.send(buf))
    }

    /// Sends a datagram to the socket bound to `path`, or answers `WouldBlock` if its queue is full.
    ///
    /// There is no waiting form: the kernel says of this socket when it has room, and nothing of
    /// the target's queue (epoll would report room for ever). To wait, [`connect`](Self::connect).
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.io.source().send_to(buf, path)
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
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for UnixDatagram {
    type Inner = std::os::unix::net::UnixDatagram;
}
