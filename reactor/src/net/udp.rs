//! UDP sockets.
//!
//! A datagram is read whole or cut, never in part, so a short read proves nothing: two may have
//! arrived in one report, and only WouldBlock clears what is known (law 3). What is absent: options
//! such as broadcast and multicast, which are set on `std`'s socket before
//! [`from_std`](UdpSocket::from_std), and resolving names, which would block. Next:
//! `unix_datagram`.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::io::{Io, Side};
use crate::sys::socket;
use crate::sys::source::Wraps;

/// A UDP socket. Its methods take `&self`: one task may receive while another sends.
///
/// In a task `recv`, `send` and their kin wait; in a callback the `try_` ones answer `WouldBlock`.
/// What is longer than the buffer is cut, and the rest is lost (udp(7)).
///
/// # Threads and fork
/// As [`Io`].
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, net::UdpSocket};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(server.local_addr()?)?;
///     client.send(b"ping").await?;
///     let mut buf = [0; 16];
///     let (n, from) = server.recv_from(&mut buf).await?;
///     server.send_to(&buf[..n], from).await?;
///     assert_eq!(client.recv(&mut buf).await?, 4);
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    io: Io<std::net::UdpSocket>,
}

impl UdpSocket {
    /// Binds to an address; port 0 lets the system choose. A name is resolved here, which may
    /// block.
    ///
    /// # Errors
    /// Those of `std::net::UdpSocket::bind`.
    #[track_caller]
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::from_std(std::net::UdpSocket::bind(addr)?)
    }

    /// Takes a socket of `std` and sets it to nonblocking mode.
    ///
    /// # Errors
    /// Those of `fcntl`.
    #[track_caller]
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket::set_nonblocking(socket.as_fd())?;
        Ok(Self { io: Io::new(socket, Interest::BOTH) })
    }

    /// Gives the socket back, deregistered; it stays in nonblocking mode.
    pub fn into_std(self) -> std::net::UdpSocket {
        self.io.into_inner()
    }

    /// Sets the peer: [`send`](Self::send) sends there, and only its datagrams are received. It
    /// waits for nothing, as nothing is sent.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.io.source().connect(peer)
    }

    /// Receives a datagram from the peer, or from anybody if there is none.
    ///
    /// # System calls
    /// One `recv` per datagram, and one that fails for each time that the queue runs empty.
    ///
    /// # Errors
    /// Those of recv(2); on a connected socket ECONNREFUSED says that an earlier datagram found
    /// nobody (udp(7)).
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
    /// Those of send(2): EDESTADDRREQ without a peer, EMSGSIZE for one that is too long, and
    /// ECONNREFUSED for an earlier datagram that found nobody.
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

    /// Sends a datagram to `target`.
    ///
    /// # Errors
    /// Those of sendto(2).
    ///
    /// # Cancel safety
    /// Nothing was sent if it did not return.
    pub async fn send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_to(cx, buf, target)).await
    }

    /// [`send_to`](Self::send_to), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_with(cx, Side::Write, |socket| socket.send_to(buf, target))
    }

    /// Sends a datagram to `target`, or answers `WouldBlock`.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.io.try_with(Side::Write, |socket| socket.send_to(buf, target))
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

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for UdpSocket {
    type Inner = std::net::UdpSocket;
}
