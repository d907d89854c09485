//! What may be registered: the unsafe marker trait, and the types that keep its promise (law 1).
//!
//! The reactor lends a source by `&` and removes it by the number that `as_fd` gave at
//! registration. Both are worth something only if the number stays the source's own. Next:
//! `selector`.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// A type whose descriptor stays the same for as long as it lives.
///
/// It is implemented for the sockets, pipes and standard streams of `std`, for mio's types, for
/// `OwnedFd`, for this crate's own sockets, and for reference counts of sources. A type of your own that keeps the
/// promise may implement it; for one that does not, register `OwnedFd` made of it, or a duplicate.
///
/// # Safety
/// From the moment a value is registered until it is dropped or consumed by value:
/// 1. `as_fd` gives the same descriptor number each time, and
/// 2. nothing that can be done through `&self`, nor moving the value, closes that descriptor or
///    makes the number name another file.
///
/// # Examples
/// A type that could swap its descriptor must not implement it; a `RefCell` around a socket could.
/// ```compile_fail,E0277
/// use squall_reactor::{Interest, Next, Reactor, Trigger};
/// let reactor = Reactor::new().unwrap();
/// let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
/// let swappable = std::cell::RefCell::new(socket);
/// reactor.handle().register(swappable, Interest::READABLE, Trigger::Edge, |_, _| Next::Wait);
/// ```
/// A callback is lent `&S`, so it cannot swap the source either:
/// ```compile_fail,E0308
/// use squall_reactor::{Interest, Next, Reactor, Trigger};
/// use std::os::unix::net::UnixStream;
/// let reactor = Reactor::new().unwrap();
/// let (socket, mut other) = UnixStream::pair().unwrap();
/// let swaps = move |socket: &UnixStream, _| {
///     std::mem::swap(socket, &mut other);
///     Next::Wait
/// };
/// reactor.handle().register(socket, Interest::READABLE, Trigger::Edge, swaps);
/// ```
/// Nor can who holds the registration:
/// ```compile_fail,E0308
/// use squall_reactor::Registration;
/// use std::os::unix::net::UnixStream;
/// fn swap(mut registration: Registration<UnixStream>, mut other: UnixStream) {
///     std::mem::swap(registration.source(), &mut other);
/// }
/// ```
pub unsafe trait Source: AsFd {}

macro_rules! sources {
    ($($(#[$why:meta])* $type:ty),* $(,)?) => {
        // SAFETY: each owns one descriptor from its making to its drop, and none of its methods
        // with `&self` closes or replaces it.
        $(unsafe impl Source for $type {})*
    };
}

sources! {
    OwnedFd,
    std::net::TcpListener,
    std::net::TcpStream,
    std::net::UdpSocket,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixStream,
    std::os::unix::net::UnixDatagram,
    std::io::PipeReader,
    std::io::PipeWriter,
    std::process::ChildStdin,
    std::process::ChildStdout,
    std::process::ChildStderr,
    mio::net::TcpListener,
    mio::net::TcpStream,
    mio::net::UdpSocket,
    mio::net::UnixListener,
    mio::net::UnixStream,
    mio::net::UnixDatagram,
    mio::unix::pipe::Receiver,
    mio::unix::pipe::Sender,
}

// SAFETY: the number 0 is not owned, but std never closes it; whoever closes it by other means
// breaks std's own promise (I/O safety, RFC 3128).
unsafe impl Source for std::io::Stdin {}
// SAFETY: as for `Stdin`.
unsafe impl Source for std::io::Stdout {}
// SAFETY: as for `Stdin`.
unsafe impl Source for std::io::Stderr {}

// SAFETY: a shared content is lent by `&` only, unless it is the last reference, and then
// `get_mut` needs `&mut Rc`, which nobody has while it is registered.
unsafe impl<S: Source + ?Sized> Source for Rc<S> {}
// SAFETY: as for `Rc`.
unsafe impl<S: Source + ?Sized> Source for Arc<S> {}

/// A type of this crate that is a source because of the one that it wraps.
///
/// Sealed in effect: it is not exported, so only this crate's types have it.
pub trait Wraps {
    /// The source inside; it is never replaced.
    type Inner: Source;
}

// SAFETY: only types of this crate implement `Wraps`; their `as_fd` is that of the source inside,
// which they never replace.
unsafe impl<T: Wraps + AsFd> Source for T {}
