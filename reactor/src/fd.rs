//! Any descriptor of any type, as a source that tasks wait on.
//!
//! A registered source must keep its descriptor's number (law 1), and most types make no such
//! promise. So an [`Fd`] registers a duplicate that it owns: whatever the value does with its own
//! descriptor, close or swap it, the DEL names the duplicate. What is absent: a read that knows the
//! kind (each kind has its own records; `with` lends the value), and any kind that epoll refuses.
//! Next: `pipe`.

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use crate::error::{Error, Result};
use crate::interest::{Interest, Readiness};
use crate::io::{Io, Side};
use crate::sys::socket;
use crate::sys::source::Wraps;

/// A value with a descriptor, and a duplicate of this descriptor that is registered: a pipe, an
/// eventfd, timerfd, signalfd or inotify, a pidfd, a tun device, a terminal, another epoll.
///
/// A short read proves nothing here (one inotify record, one line of a terminal, one packet), so
/// only WouldBlock clears what is known (law 3). Nothing is believed before the kernel has reported
/// it: [`ready`](Self::ready) is an answer about the descriptor, not a guess.
///
/// Tasks wait edge-triggered. An epoll with more in it than one look takes stays silent then: host
/// another loop by a level-triggered callback ([`Reactor::turn`](crate::Reactor::turn)).
///
/// It is a [`Source`](crate::Source) too, so a callback may have it (`Handle::register`), and try
/// the value with [`try_with`](Self::try_with). Who registers types that are sources themselves
/// (sockets, `OwnedFd`, std's pipes) needs no `Fd`: [`Io`] costs no duplicate.
///
/// # Threads and fork
/// As [`Io`].
///
/// # Examples
/// An eventfd or any other descriptor; here the reading end of a pipe, as if it were of a type
/// that nobody knows:
/// ```
/// use squall_reactor::{Fd, Interest, Reactor, Side};
/// use std::fs::File;
/// use std::io::{Read, Write};
/// use std::os::fd::OwnedFd;
///
/// let mut reactor = Reactor::new()?;
/// let (ours, mut theirs) = std::io::pipe()?;
/// let ours = Fd::new(File::from(OwnedFd::from(ours)), Interest::READABLE).map_err(|(e, _)| e)?;
/// std::thread::spawn(move || theirs.write_all(b"hello"));
/// let text = reactor.block_on(async {
///     let mut text = [0; 5];
///     ours.with(Side::Read, |mut file| file.read(&mut text)).await?;
///     Ok::<_, std::io::Error>(text)
/// })??;
/// assert_eq!(&text, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Fd<T> {
    // Before the value: the duplicate leaves the epoll and closes first.
    io: Io<OwnedFd>,
    value: T,
}

impl<T: AsFd> Fd<T> {
    /// Duplicates `value`'s descriptor and sets it to nonblocking mode.
    ///
    /// That mode belongs to the open file, which duplicates and other processes share: a terminal
    /// made nonblocking here is so for the shell as well. To leave it alone register an `OwnedFd`
    /// duplicate as a level-triggered callback and read once for each report.
    ///
    /// # System calls
    /// One `fcntl(F_DUPFD_CLOEXEC)`, one `fstat`, and one or two `fcntl` for the mode.
    ///
    /// # Errors
    /// With the value given back: [`Error::NotPollable`] for regular files and directories (what
    /// else epoll refuses, such as /dev/null, is told at the first wait), [`Error::Os`].
    #[track_caller]
    pub fn new(value: T, interest: Interest) -> std::result::Result<Self, (Error, T)> {
        match duplicate(value.as_fd()) {
            Ok(duplicate) => Ok(Self { io: Io::unproven(duplicate, interest), value }),
            Err(error) => Err((error, value)),
        }
    }

    /// Deregisters, closes the duplicate, and gives the value back; it stays in nonblocking mode.
    pub fn into_inner(self) -> T {
        let Self { io, value } = self;
        drop(io);
        value
    }

    /// Waits until the kernel has reported `side`, and then for as long as it is not disproved.
    ///
    /// # Errors
    /// As [`Io::ready`]; [`Error::NotPollable`] if epoll refuses the descriptor.
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

    /// Tries `f` whenever `side` may succeed, until it says something else than `WouldBlock`.
    ///
    /// # Errors
    /// Those of `f`, and those of [`ready`](Self::ready) inside an `io::Error`.
    ///
    /// # Cancel safety
    /// Nothing is lost if `f` does all or nothing.
    pub async fn with<R>(
        &self,
        side: Side,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| self.poll_with(cx, side, &mut f)).await
    }

    /// [`with`](Self::with), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_with<R>(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.io.poll_with(cx, side, |_| f(&self.value))
    }

    /// [`with`](Self::with), for values whose operations need `&mut`.
    ///
    /// # Errors
    /// The same.
    ///
    /// # Cancel safety
    /// Nothing is lost if `f` does all or nothing.
    pub async fn with_mut<R>(
        &mut self,
        side: Side,
        mut f: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let Self { io, value } = self;
        poll_fn(|cx| io.poll_with(cx, side, |_| f(value))).await
    }

    /// Tries `f` once, or answers `WouldBlock` where that is known. Nothing is registered.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_with<R>(&self, side: Side, f: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.io.try_with(side, |_| f(&self.value))
    }
}

impl<T> Fd<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, to change; law 1 holds whatever is done to it.
    pub fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> AsFd for Fd<T> {
    /// The duplicate.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T> Wraps for Fd<T> {
    type Inner = OwnedFd;
}

impl<T: fmt::Debug> fmt::Debug for Fd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fd").field("value", &self.value).field("io", &self.io).finish()
    }
}

/// A nonblocking duplicate, unless epoll would refuse it (epoll_ctl(2), EPERM): reading a regular
/// file never says WouldBlock, so the refusal would never be heard.
fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let duplicate = fd.try_clone_to_owned().map_err(Error::os("fcntl(F_DUPFD_CLOEXEC)"))?;
    let file = File::from(duplicate);
    let kind = file.metadata().map_err(Error::os("fstat"))?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Err(Error::NotPollable { fd: fd.as_raw_fd() });
    }
    socket::set_nonblocking(file.as_fd()).map_err(Error::os("fcntl(F_SETFL)"))?;
    Ok(file.into())
}
