//! Listening sockets with the options that std and mio do not offer.
//!
//! One function, because the order is fixed: socket, options, bind, listen; an option set after
//! bind(2) comes too late. What is absent: name resolution and which sockets a server needs (that
//! is `workers::bind`), and accept. Next: `workers::bind`.

use std::ffi::c_int;
use std::mem;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

/// What a listening socket is set up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Connections that may wait for accept; the kernel caps it at net.core.somaxconn (listen(2)).
    pub(crate) backlog: u32,
    /// Several sockets on one address, among which the kernel spreads connections (socket(7)).
    pub(crate) reuse_port: bool,
    /// An IPv6 socket takes no IPv4 connections (ipv6(7)).
    pub(crate) only_v6: bool,
    /// Seconds that a connection without data is kept from accept; 0: none (tcp(7)). Linux's own.
    pub(crate) defer_accept: u32,
    /// The CPU whose connections the socket prefers (socket(7)). Linux's own.
    pub(crate) incoming_cpu: Option<u32>,
}

/// Opens a nonblocking, close-on-exec socket that listens on `address`.
///
/// SO_REUSEADDR is set: without it a server cannot start again while connections of the last one
/// are in TIME-WAIT.
pub(crate) fn listen(address: SocketAddr, options: &Options) -> Result<TcpListener> {
    let socket = open(&address)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if options.reuse_port {
        set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if address.is_ipv6() {
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, c_int::from(options.only_v6))?;
    }
    set_linux(&socket, options)?;
    match address {
        SocketAddr::V4(address) => bind(&socket, &sockaddr_v4(&address))?,
        SocketAddr::V6(address) => bind(&socket, &sockaddr_v6(&address))?,
    }
    let backlog = c_int::try_from(options.backlog).unwrap_or(c_int::MAX);
    // SAFETY: touches no memory; the socket is borrowed, so it is open.
    let listens = unsafe { libc::listen(socket.as_raw_fd(), backlog) };
    check(listens, "listen")?;
    Ok(TcpListener::from(socket))
}

#[cfg(not(target_vendor = "apple"))]
fn open(address: &SocketAddr) -> Result<OwnedFd> {
    socket(address, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
}

/// Apple's socket(2) takes no flags.
#[cfg(target_vendor = "apple")]
fn open(address: &SocketAddr) -> Result<OwnedFd> {
    let socket = socket(address, libc::SOCK_STREAM)?;
    // SAFETY: touches no memory; the socket is borrowed, so it is open.
    let cloexec = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    check(cloexec, "fcntl")?;
    // SAFETY: as above.
    let nonblock = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    check(nonblock, "fcntl")?;
    Ok(socket)
}

fn socket(address: &SocketAddr, kind: c_int) -> Result<OwnedFd> {
    let domain = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: touches no memory.
    let fd = unsafe { libc::socket(domain, kind, 0) };
    check(fd, "socket")?;
    // SAFETY: the descriptor is new, open, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(target_os = "linux")]
fn set_linux(socket: &OwnedFd, options: &Options) -> Result<()> {
    let value = |number| c_int::try_from(number).unwrap_or(c_int::MAX);
    if options.defer_accept > 0 {
        let seconds = value(options.defer_accept);
        set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
    }
    match options.incoming_cpu {
        Some(cpu) => set(socket, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, value(cpu)),
        None => Ok(()),
    }
}

/// Both only save work, so a system without them does without.
#[cfg(not(target_os = "linux"))]
fn set_linux(_: &OwnedFd, _: &Options) -> Result<()> {
    Ok(())
}

fn set(socket: &OwnedFd, level: c_int, name: c_int, value: c_int) -> Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `value` lives until the call returns, and the kernel only reads its `len` bytes.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len)
    };
    check(result, "setsockopt")
}

/// `Address` is `sockaddr_in` or `sockaddr_in6`.
fn bind<Address>(socket: &OwnedFd, address: &Address) -> Result<()> {
    let len = size_of::<Address>() as libc::socklen_t;
    let pointer = (&raw const *address).cast::<libc::sockaddr>();
    // SAFETY: the kernel only reads `len` bytes, all of them inside the borrowed address.
    let result = unsafe { libc::bind(socket.as_raw_fd(), pointer, len) };
    check(result, "bind")
}

fn sockaddr_v4(address: &SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: plain numbers, for which zero is a value. (Some systems have a length field, which
    // their bind(2) fills in itself.)
    let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
    raw.sin_family = libc::AF_INET as libc::sa_family_t;
    raw.sin_port = address.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    raw
}

fn sockaddr_v6(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    // SAFETY: as for `sockaddr_v4`.
    let mut raw: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    raw.sin6_port = address.port().to_be();
    raw.sin6_flowinfo = address.flowinfo();
    raw.sin6_addr.s6_addr = address.ip().octets();
    raw.sin6_scope_id = address.scope_id();
    raw
}

fn check(result: c_int, call: &'static str) -> Result<()> {
    if result >= 0 { Ok(()) } else { Err(Error::last_os(call)) }
}
