//! Socket activation: the sockets that systemd binds and passes (sd_listen_fds(3)).
//!
//! systemd listens before the service runs, so no connection is refused while it starts or starts
//! again, and it needs no right to bind a low port. The variables LISTEN_PID, LISTEN_FDS and
//! LISTEN_FDNAMES say what was passed; they stay set, and LISTEN_PID keeps children from taking
//! them as theirs. What is absent: services with Accept=yes, whose descriptors are connections
//! (they come as [`Socket::Other`]). Next: `notify`.

use std::env;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};

use crate::sys::{passed, process, socket};
use crate::{Error, Result};

/// One descriptor that was passed.
///
/// # Examples
/// ```
/// use squall_reactor::workers::activation::{Socket, listen_fds};
///
/// for passed in listen_fds()? {
///     match passed.socket {
///         Socket::Tcp(listener) => println!("{} is {:?}", passed.name, listener.local_addr()),
///         other => println!("{} is {other:?}", passed.name),
///     }
/// }
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Debug)]
pub struct Activated {
    /// FileDescriptorName= of the socket unit, by default the unit's name; `unknown` without names.
    pub name: String,
    /// The socket, in nonblocking mode and close-on-exec.
    pub socket: Socket,
}

/// What was passed.
///
/// # Examples
/// ```
/// use squall_reactor::workers::activation::Socket;
/// use std::net::TcpListener;
///
/// let socket = Socket::Tcp(TcpListener::bind("127.0.0.1:0")?);
/// assert!(matches!(socket, Socket::Tcp(_)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// ListenStream= with a port.
    Tcp(TcpListener),
    /// ListenDatagram= with a port.
    Udp(UdpSocket),
    /// ListenStream= with a path or an abstract name.
    Unix(UnixListener),
    /// ListenDatagram= with a path or an abstract name.
    UnixDatagram(UnixDatagram),
    /// Anything else: a connection, a FIFO, a netlink socket. Its mode is left alone.
    Other(OwnedFd),
}

/// Takes the sockets that this process was started with; none if it was not started so, in a
/// second call, and in a forked child, which has them from its parent.
///
/// Call it before [`fork_workers`](super::fork_workers), early in `main`. Workers that share a
/// listener register it with
/// [`Interest::ACCEPT_EXCLUSIVE`](crate::Interest::ACCEPT_EXCLUSIVE), or all of them are woken by
/// each connection.
///
/// # System calls
/// One or two `fcntl` and three `getsockopt` for each.
///
/// # Errors
/// [`Error::Argument`] if a variable is no number, or there are not as many names as descriptors;
/// [`Error::Os`] if one of these is not open. Then nothing was taken.
///
/// # Threads and fork
/// The numbers 3 and up must still be what was passed: nobody may have closed them.
///
/// # Examples
/// ```
/// use squall_reactor::workers::activation::{Socket, listen_fds};
///
/// for activated in listen_fds()? {
///     match activated.socket {
///         Socket::Tcp(listener) => println!("{} on {:?}", activated.name, listener.local_addr()),
///         other => println!("{} is not for us: {other:?}", activated.name),
///     }
/// }
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn listen_fds() -> Result<Vec<Activated>> {
    let variable = |name| env::var(name).ok();
    let names = names(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        process::id(),
    )?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // `names` has checked that the count fits.
    let passed = passed::take(names.len() as u16)?;
    names.into_iter().zip(passed).map(|(name, fd)| activated(name, fd)).collect()
}

fn activated(name: String, fd: OwnedFd) -> Result<Activated> {
    let listens = socket::is_listening(fd.as_fd());
    let kind = socket::kind(fd.as_fd());
    let inet = matches!(kind, Some((libc::AF_INET | libc::AF_INET6, _)));
    let socket = match kind {
        Some((_, libc::SOCK_STREAM)) if inet && listens => Socket::Tcp(fd.into()),
        Some((_, libc::SOCK_DGRAM)) if inet => Socket::Udp(fd.into()),
        Some((libc::AF_UNIX, libc::SOCK_STREAM)) if listens => Socket::Unix(fd.into()),
        Some((libc::AF_UNIX, libc::SOCK_DGRAM)) => Socket::UnixDatagram(fd.into()),
        Some(_) | None => Socket::Other(fd),
    };
    let fd = match &socket {
        Socket::Tcp(socket) => socket.as_fd(),
        Socket::Udp(socket) => socket.as_fd(),
        Socket::Unix(socket) => socket.as_fd(),
        Socket::UnixDatagram(socket) => socket.as_fd(),
        Socket::Other(_) => return Ok(Activated { name, socket }),
    };
    socket::set_nonblocking(fd).map_err(Error::os("fcntl(F_SETFL)"))?;
    Ok(Activated { name, socket })
}

/// A name for each descriptor that was passed to the process with the number `own`.
fn names(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: i32,
) -> Result<Vec<String>> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Vec::new()) };
    let no_number = |_| Error::Argument("LISTEN_PID is not the number of a process");
    if pid.parse::<i32>().map_err(no_number)? != own {
        return Ok(Vec::new());
    }
    let no_number = |_| Error::Argument("LISTEN_FDS is not a number from 0 to 65,535");
    let count = usize::from(count.parse::<u16>().map_err(no_number)?);
    match names {
        _ if count == 0 => Ok(Vec::new()),
        None => Ok(vec!["unknown".to_owned(); count]),
        Some(names) if names.split(':').count() == count => {
            Ok(names.split(':').map(str::to_owned).collect())
        }
        Some(_) => Err(Error::Argument("LISTEN_FDNAMES has not a name for each descriptor")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pid: &str, count: &str, given: Option<&str>) -> Option<Vec<String>> {
        names(Some(pid), Some(count), given, 7).ok()
    }

    #[test]
    fn each_descriptor_has_a_name() {
        assert_eq!(of("7", "2", Some("web:admin")).expect("two names"), ["web", "admin"]);
        assert_eq!(of("7", "2", None).expect("no names"), ["unknown", "unknown"]);
        assert_eq!(of("7", "2", Some("web:")).expect("one is empty"), ["web", ""]);
        assert_eq!(of("7", "0", Some("web")).expect("nothing"), [""; 0]);
    }

    #[test]
    fn what_was_passed_to_another_process_is_not_ours() {
        assert_eq!(of("8", "2", Some("web:admin")), Some(Vec::new()));
        assert_eq!(names(None, Some("2"), None, 7).ok(), Some(Vec::new()));
        assert_eq!(names(Some("7"), None, None, 7).ok(), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_number_or_not_as_many_is_an_error() {
        for (pid, count, given) in [
            ("", "1", None),
            ("seven", "1", None),
            ("7", "-1", None),
            ("7", "65536", None),
            ("7", "1", Some("a:b")),
            ("7", "2", Some("a")),
        ] {
            assert_eq!(of(pid, count, given), None, "{pid} {count} {given:?}");
        }
    }
}
