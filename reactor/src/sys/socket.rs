//! What std's sockets lack: accept4 that gives a nonblocking socket, MSG_MORE, reset on close.
//!
//! Functions on a borrowed descriptor, each one call. The sockets themselves are std's. Next: `place`.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix;
use std::os::unix::ffi::OsStrExt;

use crate::{Error, Result};

/// How bytes are sent (send(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// At once.
    No,
    /// More follows immediately, or the end does: the kernel may wait for it (MSG_MORE).
    Yes,
}

/// recv(2).
pub(crate) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live, exclusive buffer.
    let n = unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// recv(2) into memory that nobody has written: the first bytes, as many as it says, are then.
#[cfg(feature = "hyper")]
pub(super) fn recv_uninit(
    fd: BorrowedFd<'_>,
    buf: &mut [mem::MaybeUninit<u8>],
) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live, exclusive buffer, which the kernel only
    // writes.
    let n = unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// send(2), without SIGPIPE.
pub(crate) fn send(fd: BorrowedFd<'_>, buf: &[u8], more: More) -> io::Result<usize> {
    let flags = match more {
        More::No => NOSIGNAL,
        More::Yes => NOSIGNAL | MORE,
    };
    // SAFETY: the pointer and length are those of a live buffer, which the kernel only reads.
    let n = unsafe { libc::send(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// sendmsg(2) with several buffers, without SIGPIPE.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all-zero is a valid msghdr: no name, no buffers, no control data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // IoSlice is guaranteed to have the layout of iovec; more than IOV_MAX (1,024) is EMSGSIZE.
    message.msg_iov = bufs.as_ptr().cast_mut().cast();
    message.msg_iovlen = bufs.len().min(1024) as _;
    // SAFETY: `message` names only `bufs`, which outlive the call and are only read.
    let n = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, NOSIGNAL) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// TCP_NODELAY (tcp(7)).
pub(crate) fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_tcp(fd, libc::TCP_NODELAY, libc::c_int::from(on))
}

/// TCP_NOTSENT_LOWAT (tcp(7)): beyond so many unsent bytes the socket has no room.
#[cfg(target_os = "linux")]
pub(crate) fn set_unsent_limit(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_NOTSENT_LOWAT, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX))
}

/// It is Linux's; elsewhere the send buffer is the only bound.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_unsent_limit(_: BorrowedFd<'_>, _: u32) -> io::Result<()> {
    Ok(())
}

/// SIOCOUTQ (tcp(7)), which is TIOCOUTQ by another name.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `bytes` lives until the call returns and is the int that this request writes.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// What others have in its place counts other things.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged(_: BorrowedFd<'_>) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

fn set_tcp(fd: BorrowedFd<'_>, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value lives until the call returns and has the length that is given.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            name,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

/// SO_LINGER of zero seconds: close sends RST.
pub(crate) fn set_reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the value lives until the call returns and has the length that is given.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            mem::size_of::<libc::linger>() as libc::socklen_t,
        )
    })
}

#[cfg(target_os = "linux")]
const NOSIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(target_os = "linux")]
const MORE: libc::c_int = libc::MSG_MORE;
// std's sockets set SO_NOSIGPIPE there.
#[cfg(not(target_os = "linux"))]
const NOSIGNAL: libc::c_int = 0;
#[cfg(not(target_os = "linux"))]
const MORE: libc::c_int = 0;

/// accept4(2) on any listener: the new socket is nonblocking and close-on-exec.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    // SAFETY: all-zero is a valid sockaddr_storage: family AF_UNSPEC.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `storage` and `len` live until the call returns, and `len` is the storage's size.
    let fd = unsafe {
        libc::accept4(listener.as_raw_fd(), (&raw mut storage).cast(), &raw mut len, flags)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((fd, address(&storage)))
}

/// The peer of a TCP socket; `None` for other families.
fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: AF_INET says that the storage, which is large and aligned enough for every
            // family, holds a sockaddr_in.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, a sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Sets O_NONBLOCK, unless it is set.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: reads the flags of an open descriptor.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::O_NONBLOCK != 0 {
        return Ok(());
    }
    // SAFETY: sets the flags of an open descriptor.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
}

/// The error that is kept for the next operation, which is told only once (SO_ERROR).
#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let error = option(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((error != 0).then(|| io::Error::from_raw_os_error(error)))
}

/// True if `fd` is a listening socket (SO_ACCEPTCONN).
pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN).is_ok_and(|value| value != 0)
}

/// True if the numbered descriptor, which its registration keeps open, is a listening socket.
pub(crate) fn is_listening_number(fd: RawFd) -> bool {
    number_option(fd, libc::SO_ACCEPTCONN).is_some_and(|value| value != 0)
}

/// An option of SOL_SOCKET (socket(7)) of the numbered descriptor; `None` if that is no socket.
pub(super) fn number_option(fd: RawFd, name: libc::c_int) -> Option<libc::c_int> {
    if fd < 0 {
        return None;
    }
    // SAFETY: not -1, and only borrowed for one getsockopt; a number that is not open is answered
    // with EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    option(fd, libc::SOL_SOCKET, name).ok()
}

/// A socket's family and type (AF_INET and SOCK_STREAM); `None` if it is no socket.
#[cfg(target_os = "linux")]
pub(crate) fn kind(fd: BorrowedFd<'_>) -> Option<(libc::c_int, libc::c_int)> {
    let family = option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN).ok()?;
    Some((family, option(fd, libc::SOL_SOCKET, libc::SO_TYPE).ok()?))
}

/// systemd, whose sockets are asked about, is Linux's.
#[cfg(not(target_os = "linux"))]
pub(crate) fn kind(_: BorrowedFd<'_>) -> Option<(libc::c_int, libc::c_int)> {
    None
}

/// The address of a Unix socket as systemd writes it: a path, or `@` and an abstract name (unix(7)).
pub(crate) fn unix_address(name: &OsStr) -> Result<unix::net::SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => unix::net::SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            unix::net::SocketAddr::from_abstract_name(name)
        }
        _ => return Err(Error::Argument("an address is a path, or @ and an abstract name")),
    }
    .map_err(Error::os("address of a Unix socket"))
}

fn option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `len` live until the call returns, and `len` is the value's size.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
    })?;
    Ok(value)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
