//! What a descriptor is, for a reader of a snapshot.
//!
//! A socket says so by getsockopt(2), anything else by the name behind `/proc/self/fd` (proc(5)).
//! Nothing is kept: who wants to know asks, and pays. Next: `snapshot`.

use std::ffi::c_int;
use std::fmt;
use std::os::fd::RawFd;

use super::socket::number_option;

/// What a registered descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceKind {
    /// A TCP socket that listens.
    TcpListener,
    /// A TCP connection.
    TcpStream,
    /// A UDP socket.
    Udp,
    /// A Unix socket that listens.
    UnixListener,
    /// A Unix stream connection.
    UnixStream,
    /// A Unix datagram socket.
    UnixDatagram,
    /// A pipe(2). (A FIFO has a name of its own, and is `Other`.)
    Pipe,
    /// An eventfd(2).
    EventFd,
    /// A timerfd_create(2).
    TimerFd,
    /// A signalfd(2).
    SignalFd,
    /// An inotify(7) instance.
    Inotify,
    /// A pidfd_open(2).
    PidFd,
    /// Anything else, or a kernel that does not tell.
    Other,
}

impl SourceKind {
    /// The kind of a descriptor that its registration keeps open.
    ///
    /// # System calls
    /// Three `getsockopt` for a socket; for anything else one, and one `readlink`.
    pub(crate) fn of(fd: RawFd) -> Self {
        match number_option(fd, libc::SO_TYPE) {
            Some(kind) => {
                let listens = number_option(fd, libc::SO_ACCEPTCONN).is_some_and(|on| on != 0);
                socket(domain(fd), kind, listens)
            }
            None => link(fd).map_or(Self::Other, |name| named(&name)),
        }
    }

    /// As a word: `tcp-listener`, `eventfd`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpListener => "tcp-listener",
            Self::TcpStream => "tcp",
            Self::Udp => "udp",
            Self::UnixListener => "unix-listener",
            Self::UnixStream => "unix",
            Self::UnixDatagram => "unix-datagram",
            Self::Pipe => "pipe",
            Self::EventFd => "eventfd",
            Self::TimerFd => "timerfd",
            Self::SignalFd => "signalfd",
            Self::Inotify => "inotify",
            Self::PidFd => "pidfd",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn socket(domain: Option<c_int>, kind: c_int, listens: bool) -> SourceKind {
    let internet = matches!(domain, Some(libc::AF_INET | libc::AF_INET6));
    let unix = domain == Some(libc::AF_UNIX);
    match kind {
        libc::SOCK_STREAM if internet && listens => SourceKind::TcpListener,
        libc::SOCK_STREAM if internet => SourceKind::TcpStream,
        libc::SOCK_DGRAM if internet => SourceKind::Udp,
        libc::SOCK_STREAM if unix && listens => SourceKind::UnixListener,
        libc::SOCK_STREAM if unix => SourceKind::UnixStream,
        libc::SOCK_DGRAM if unix => SourceKind::UnixDatagram,
        _ => SourceKind::Other,
    }
}

/// Linux names a pipe `pipe:[inode]` and what has no inode of its own `anon_inode:[eventfd]`.
fn named(name: &str) -> SourceKind {
    let kinds = [
        ("pipe:", SourceKind::Pipe),
        ("anon_inode:[eventfd]", SourceKind::EventFd),
        ("anon_inode:[timerfd]", SourceKind::TimerFd),
        ("anon_inode:[signalfd]", SourceKind::SignalFd),
        ("anon_inode:inotify", SourceKind::Inotify),
        ("anon_inode:[pidfd]", SourceKind::PidFd),
    ];
    let found = kinds.into_iter().find(|(start, _)| name.starts_with(start));
    found.map_or(SourceKind::Other, |(_, kind)| kind)
}

#[cfg(target_os = "linux")]
fn domain(fd: RawFd) -> Option<c_int> {
    number_option(fd, libc::SO_DOMAIN)
}

#[cfg(target_os = "linux")]
fn link(fd: RawFd) -> Option<String> {
    let name = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(name.to_string_lossy().into_owned())
}

#[cfg(not(target_os = "linux"))]
fn domain(_: RawFd) -> Option<c_int> {
    None
}

#[cfg(not(target_os = "linux"))]
fn link(_: RawFd) -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn each_kind_is_told_from_its_descriptor() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let stream = std::net::TcpStream::connect(tcp.local_addr().expect("its address"))
            .expect("a connection");
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let datagram = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let null = std::fs::File::open("/dev/null").expect("a file");
        for (fd, kind) in [
            (tcp.as_raw_fd(), SourceKind::TcpListener),
            (stream.as_raw_fd(), SourceKind::TcpStream),
            (udp.as_raw_fd(), SourceKind::Udp),
            (unix.as_raw_fd(), SourceKind::UnixStream),
            (datagram.as_raw_fd(), SourceKind::UnixDatagram),
            (reader.as_raw_fd(), SourceKind::Pipe),
            (writer.as_raw_fd(), SourceKind::Pipe),
            (null.as_raw_fd(), SourceKind::Other),
            (-1, SourceKind::Other),
        ] {
            assert_eq!(SourceKind::of(fd), kind, "descriptor {fd}");
        }
    }

    #[test]
    fn what_has_no_inode_of_its_own_is_told_by_its_name() {
        assert_eq!(named("anon_inode:[eventfd]"), SourceKind::EventFd);
        assert_eq!(named("anon_inode:inotify"), SourceKind::Inotify);
        assert_eq!(named("/dev/pts/0"), SourceKind::Other);
    }
}
