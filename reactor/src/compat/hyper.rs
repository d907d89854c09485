//! hyper's runtime traits: streams that it reads and writes, tasks that it spawns, time.
//!
//! - [`TcpStream`](crate::net::TcpStream) and [`UnixStream`](crate::net::UnixStream) are
//!   `hyper::rt::Read` and `Write` as they are; bytes go from the kernel into hyper's own buffer.
//! - [`Handle`](crate::Handle) is an `Executor` of futures that stay on its thread.
//! - [`HyperTimer`] is a `Timer`. hyper wants sleeps that any thread may hold; see there.
//! - [`HyperIo`] makes a stream for hyper out of a futures-io one, such as a TLS stream.
//!
//! What is absent: a connector for `hyper_util::client::legacy`, which requires `Send` of the
//! stream; `hyper::client::conn` does not. Next: nothing, this is the end of the crate.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::hyper::rt::{self, ReadBufCursor};

use super::EndWriting;
use crate::handle::{Handle, later};
use crate::local::{self, Local};
use crate::net::{TcpStream, UnixStream};
use crate::shared::{Message, Shared};
use crate::sys::cursor;
use crate::time::{self, Arming};

/// A stream of futures-io as hyper's: for TLS and the like between hyper and the socket.
///
/// At most 16 KiB (a TLS record, RFC 8446, 5.1) are read at once, into zeroed memory.
///
/// # Examples
/// ```
/// use hyper::rt::{Read, ReadBuf};
/// use squall_reactor::{Reactor, compat::HyperIo, net::UnixStream};
/// use std::{future::poll_fn, pin::Pin};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let (ours, theirs) = UnixStream::pair()?;
///     let mut ours = HyperIo::new(ours); // any AsyncRead and AsyncWrite
///     theirs.write_all(b"hello").await?;
///     let mut memory = [0; 16];
///     let mut buf = ReadBuf::new(&mut memory);
///     poll_fn(|cx| Pin::new(&mut ours).poll_read(cx, buf.unfilled())).await?;
///     assert_eq!(buf.filled(), b"hello");
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "futures-io")]
#[derive(Debug)]
pub struct HyperIo<T> {
    stream: T,
}

#[cfg(feature = "futures-io")]
impl<T> HyperIo<T> {
    /// Wraps a stream.
    pub fn new(stream: T) -> Self {
        Self { stream }
    }

    /// The stream.
    pub fn stream(&self) -> &T {
        &self.stream
    }

    /// Gives the stream back, for instance after an upgrade.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

#[cfg(feature = "futures-io")]
impl<T: ::futures_io::AsyncRead + Unpin> rt::Read for HyperIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        const RECORD: usize = 16 << 10;
        cursor::fill(&mut buf, RECORD, |buf| Pin::new(&mut self.stream).poll_read(cx, buf))
    }
}

#[cfg(feature = "futures-io")]
impl<T: ::futures_io::AsyncWrite + Unpin> rt::Write for HyperIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl rt::Read for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_by(cx, buf.remaining(), |fd| cursor::recv(fd, &mut buf));
        read.map_ok(drop)
    }
}

impl rt::Read for UnixStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_by(cx, |fd| cursor::recv(fd, &mut buf)).map_ok(drop)
    }
}

macro_rules! write {
    ($($stream:ty),*) => { $(
        impl rt::Write for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                <$stream>::poll_write(&self, cx, buf)
            }

            /// Nothing is held back.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.end_writing())
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                <$stream>::poll_write_vectored(&self, cx, bufs)
            }
        }
    )* };
}

write!(TcpStream, UnixStream);

/// Spawns on the handle's reactor, as [`Handle::spawn_detached`].
impl<F: Future + 'static> rt::Executor<F> for Handle {
    #[track_caller]
    fn execute(&self, future: F) {
        self.spawn_detached(async {
            future.await;
        });
    }
}

/// hyper's timer: `Builder::timer(HyperTimer)`.
///
/// hyper requires that its sleeps are `Send + Sync`, and a timer of a reactor is not. So a sleep is only
/// a key: the timer is armed in the reactor where the sleep is polled. Reset or dropped there, it is
/// moved or disarmed at once, O(1). Elsewhere (on another thread, or between two turns) that is a
/// message to the reactor, as [`Remote::call`](crate::Remote::call) sends one; polled elsewhere, in
/// another reactor, it is armed anew there.
///
/// # Panics
/// A sleep panics when it is polled where no reactor turns, as [`sleep`](crate::sleep) does.
///
/// # Examples
/// ```
/// use hyper::rt::Timer;
/// use squall_reactor::{Reactor, compat::HyperTimer};
/// use std::time::{Duration, Instant};
///
/// let begun = Instant::now();
/// Reactor::new()?.block_on(HyperTimer.sleep(Duration::from_millis(2)))?;
/// assert!(begun.elapsed() >= Duration::from_millis(2)); // never early
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperTimer;

impl rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(later(Instant::now(), duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(KeyedSleep { deadline, armed: None })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<KeyedSleep>() {
            Some(mut ours) => ours.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

/// A deadline, and the key of its timer once it is armed.
struct KeyedSleep {
    deadline: Instant,
    armed: Option<Armed>,
}

/// Where the timer is: a loop as other threads know it.
struct Armed {
    shared: Arc<Shared>,
    arming: Arming,
}

impl KeyedSleep {
    fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let Some(armed) = &self.armed {
            // False if it has fired: then the next poll arms it.
            armed.there(move |local, arming| {
                arming.reset(local, deadline);
            });
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let local = time::current();
        if let Some(Armed { shared, arming }) = &mut self.armed {
            let here = Local::current_of(shared).is_some();
            if here && arming.stands(&local, self.deadline, cx.waker()) {
                return Poll::Pending;
            }
        }
        self.disarm();
        let Some(arming) = Arming::new(&local, self.deadline, cx.waker()) else {
            return Poll::Ready(());
        };
        self.armed = Some(Armed { shared: local.shared(), arming });
        Poll::Pending
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            armed.there(|local, arming| arming.cancel(local));
        }
    }
}

impl Armed {
    /// Runs `f` in the loop of the timer: now if that is the current one, else as a message.
    fn there(&self, f: impl FnOnce(&Local, Arming) + Send + 'static) {
        let arming = self.arming;
        if let Some(local) = Local::current_of(&self.shared) {
            return f(&local, arming);
        }
        // An error means that the loop has ended, or is the parent's: the timer with it.
        let _ = self.shared.send(Message::Call(Box::new(move || {
            if let Some(local) = Local::current() {
                f(&local, arming);
            }
        })));
    }
}

impl Future for KeyedSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(local::poll_operation(cx));
        let elapsed = self.poll_timer(cx);
        if elapsed.is_ready() {
            local::spend_operation();
        }
        elapsed
    }
}

impl rt::Sleep for KeyedSleep {}

impl Drop for KeyedSleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for KeyedSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = self.armed.is_some();
        f.debug_struct("KeyedSleep")
            .field("deadline", &self.deadline)
            .field("armed", &armed)
            .finish()
    }
}

#[cfg(test)]
mod tests;
