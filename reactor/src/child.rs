//! Child processes of `std::process`, as sources.
//!
//! [`Child`] wraps what `Command` spawns: its end is the readiness of a descriptor (`sys::exit`),
//! its standard streams are pipes. No signal mask is changed. What is absent: forked workers, which
//! are `workers`, and children that this process did not start. Next: `sys::listen`.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::process::{Command, ExitStatus, Output};
use std::task::{Context, Poll};

use crate::error::{Error, Result};
use crate::interest::Interest;
use crate::io::{Io, Side};
use crate::pipe::{PipeReader, PipeWriter};
use crate::sys::exit::Watch;
use crate::sys::fork::Born;
use crate::sys::socket;
use crate::sys::source::Wraps;

/// A child process.
///
/// Its end is awaited ([`status`](Self::status)), or heard of by a callback, for it is a
/// [`Source`](crate::Source): register it readable, call [`try_status`](Self::try_status), and
/// answer `Done` once that gives a status, for a pidfd stays readable.
///
/// It is a pidfd where the kernel has pidfd_open(2) (Linux 5.3), and `Signals` of SIGCHLD where
/// not; of these there may be 32 at once. Dropping it neither ends nor reaps the process, as with
/// `std`: an ended child that nobody waits for remains a zombie until this process ends.
///
/// # Threads and fork
/// As [`Io`]. A forked child of this process is no parent of its siblings: all methods that could
/// reach the process answer [`Error::Forked`] there.
///
/// # Examples
/// ```
/// use squall_reactor::{Child, Reactor};
/// use std::process::{Command, Stdio};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let mut cat = Command::new("cat");
///     let mut child = Child::spawn(cat.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
///     let stdin = child.stdin.take().expect("it is piped");
///     stdin.write_all(b"meow").await?;
///     drop(stdin); // the end of its input
///     let output = child.output().await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"meow");
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// The other interface:
/// ```
/// use squall_reactor::{Child, Interest, Next, Reactor, Trigger};
/// use std::process::Command;
///
/// let mut reactor = Reactor::new()?;
/// let stop = reactor.handle();
/// let child = Child::spawn(Command::new("sh").args(["-c", "exit 3"]))?;
/// let ended = move |child: &Child, _| match child.try_status() {
///     Ok(None) => Next::Wait,
///     status => {
///         assert_eq!(status.unwrap().unwrap().code(), Some(3));
///         stop.stop();
///         Next::Done
///     }
/// };
/// let handle = reactor.handle();
/// let _registration =
///     handle.register(child, Interest::READABLE, Trigger::Level, ended).map_err(|(e, _)| e)?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Child {
    io: Io<Watch>,
    process: RefCell<std::process::Child>,
    /// Once it is reaped; the number may be anybody's from then on.
    status: Cell<Option<ExitStatus>>,
    born: Born,
    /// Its standard input, if it is piped.
    pub stdin: Option<PipeWriter>,
    /// Its standard output, if it is piped.
    pub stdout: Option<PipeReader>,
    /// Its standard error, if it is piped.
    pub stderr: Option<PipeReader>,
}

impl Child {
    /// Starts a program. This blocks until the program runs or is known not to (`std`'s `spawn`
    /// waits for exec).
    ///
    /// # System calls
    /// Those of `Command::spawn`, one `pidfd_open`, and two `fcntl` for each piped stream.
    ///
    /// # Errors
    /// [`Error::Os`]: the program is not found, or descriptors have run out. No process remains.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let process = command.spawn().map_err(Error::os("spawn"))?;
        Self::from_std(process).map_err(|(error, mut process)| {
            // It cannot be watched, so it must not live unwatched; both calls may find it ended.
            let _ = process.kill();
            let _ = process.wait();
            error
        })
    }

    /// Takes a child of `std`, with those of its streams that are still there. Nobody else may wait
    /// for it (waitpid(2) with -1 does).
    ///
    /// # Errors
    /// With the child given back: [`Error::Os`], mostly EMFILE.
    #[track_caller]
    pub fn from_std(
        process: std::process::Child,
    ) -> std::result::Result<Self, (Error, std::process::Child)> {
        match make_nonblocking(&process).and_then(|()| Watch::new(process.id())) {
            Ok(watch) => Ok(Self::watched(process, watch)),
            Err(error) => Err((error, process)),
        }
    }

    /// Waits until the child has ended, and reaps it. Afterwards, and for all who wait at the same
    /// time, it gives the same status again. It does not close `stdin`: a child that reads to the
    /// end of its input ends when that is dropped. A child whose output nobody reads does not end
    /// when the pipe is full; [`output`](Self::output) reads it.
    ///
    /// # System calls
    /// One `waitpid` that finds it running, one `epoll_ctl`, and one `waitpid` that reaps.
    ///
    /// # Errors
    /// Those of waitpid(2): ECHILD if somebody else reaped it, or SIGCHLD is ignored. Those of
    /// waiting on any source; [`Error::Forked`].
    ///
    /// # Cancel safety
    /// Nothing is lost: the child is reaped in the poll that gives the status.
    pub async fn status(&self) -> Result<ExitStatus> {
        poll_fn(|cx| self.poll_status(cx)).await
    }

    /// [`status`](Self::status), for futures written by hand.
    ///
    /// # Errors
    /// The same.
    pub fn poll_status(&self, cx: &mut Context<'_>) -> Poll<Result<ExitStatus>> {
        if let Some(status) = self.status.get() {
            return Poll::Ready(Ok(status));
        }
        // Whoever is woken has been told by a report, which wakes all who wait; so nobody may look
        // in between and take the report's cause away (see `try_status`).
        let poll = self.io.poll_with(cx, Side::Read, |watch| {
            watch.silence()?;
            self.reap()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        poll.map_err(Error::of_io("waitpid"))
    }

    /// The status, if the child has ended; then it is reaped.
    ///
    /// # System calls
    /// One `waitpid`; none once it is reaped.
    ///
    /// # Errors
    /// Those of waitpid(2), as for [`status`](Self::status); [`Error::Forked`].
    pub fn try_status(&self) -> Result<Option<ExitStatus>> {
        if !self.io.is_registered() {
            // In a callback. A task that waits is told by the same descriptor, which so must speak.
            self.io.source().silence()?;
        }
        let status = self.reap()?;
        if status.is_some() {
            self.io.progress(Side::Read);
        }
        Ok(status)
    }

    /// Closes the child's input, reads its output to the end, and waits until it has ended. What is
    /// not piped, or has been taken, is empty. The child decides how much memory it takes.
    ///
    /// # Errors
    /// Those of read(2), and those of [`status`](Self::status); the child lives on.
    ///
    /// # Cancel safety
    /// Not cancel-safe: what was read is lost.
    pub async fn output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let reads = both(
            read_to_end(self.stdout.take(), &mut stdout),
            read_to_end(self.stderr.take(), &mut stderr),
        );
        let (out, err) = reads.await;
        out.and(err).map_err(Error::of_io("read"))?;
        let status = self.status().await?;
        Ok(Output { status, stdout, stderr })
    }

    /// Ends the child by SIGKILL; one that has ended is left alone. It must still be waited for.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn kill(&self) -> Result<()> {
        self.send(libc::SIGKILL)
    }

    /// Sends a signal, such as [`Signals::TERM`](crate::Signals::TERM); a child that has ended is
    /// left alone.
    ///
    /// # System calls
    /// One `pidfd_send_signal`, or one `kill`; none once it is reaped.
    ///
    /// # Errors
    /// Those of kill(2); [`Error::Forked`].
    pub fn send(&self, signal: c_int) -> Result<()> {
        if self.born.forked() {
            return Err(Error::Forked);
        }
        if self.status.get().is_some() {
            return Ok(());
        }
        self.io.source().send(self.id(), signal)
    }

    /// The number of its process. Once it is reaped another process may have it.
    pub fn id(&self) -> u32 {
        self.process.borrow().id()
    }

    #[track_caller]
    fn watched(mut process: std::process::Child, watch: Watch) -> Self {
        Self {
            io: Io::new(watch, Interest::READABLE),
            stdin: writer(process.stdin.take()),
            stdout: reader(process.stdout.take()),
            stderr: reader(process.stderr.take()),
            process: RefCell::new(process),
            status: Cell::new(None),
            born: Born::now(),
        }
    }

    /// Law 6: in a forked child the process is a sibling, and its end the parent's to hear of.
    fn reap(&self) -> Result<Option<ExitStatus>> {
        if self.born.forked() {
            return Err(Error::Forked);
        }
        if self.status.get().is_none() {
            let ended = self.process.borrow_mut().try_wait().map_err(Error::os("waitpid"))?;
            self.status.set(ended);
        }
        Ok(self.status.get())
    }
}

impl AsFd for Child {
    /// The descriptor that is readable when the child has ended; the same one for life.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Wraps for Child {
    // Both kinds of `Watch` are one descriptor for life.
    type Inner = OwnedFd;
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("status", &self.status.get())
            .finish_non_exhaustive()
    }
}

/// Our ends only: the child's are open files of their own, and stay blocking.
fn make_nonblocking(process: &std::process::Child) -> Result<()> {
    let stdin = process.stdin.as_ref().map(AsFd::as_fd);
    let stdout = process.stdout.as_ref().map(AsFd::as_fd);
    let stderr = process.stderr.as_ref().map(AsFd::as_fd);
    for fd in [stdin, stdout, stderr].into_iter().flatten() {
        socket::set_nonblocking(fd).map_err(Error::os("fcntl(F_SETFL)"))?;
    }
    Ok(())
}

#[track_caller]
fn writer(pipe: Option<impl Into<OwnedFd>>) -> Option<PipeWriter> {
    let fd = pipe?.into();
    Some(PipeWriter::wrap(fd))
}

#[track_caller]
fn reader(pipe: Option<impl Into<OwnedFd>>) -> Option<PipeReader> {
    let fd = pipe?.into();
    Some(PipeReader::wrap(fd))
}

async fn read_to_end(pipe: Option<PipeReader>, text: &mut Vec<u8>) -> io::Result<()> {
    match pipe {
        Some(pipe) => pipe.read_to_end(text).await.map(drop),
        None => Ok(()),
    }
}

/// Runs both to their ends: of two pipes read one after the other, the second would fill, and hold
/// the child.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    poll_fn(|cx| {
        if done_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            done_a = Some(output);
        }
        if done_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            done_b = Some(output);
        }
        match (done_a.take(), done_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (done_a, done_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests;
