//! Readiness for futures: a source that tasks wait on.
//!
//! [`Io`] owns a source and registers it, edge-triggered, when an operation first says `WouldBlock`: what
//! succeeds at once costs no `epoll_ctl` (law 3 does the rest). An operation is a closure that is
//! tried; the streams of `net` are made of this. Next: `fd`.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::Location;
use std::task::{Context, Poll, ready};

use crate::error::{Error, Result};
use crate::interest::{Interest, Readiness};
use crate::local::{self, Local};
use crate::registration::Entry;
use crate::state::Wait;
use crate::sys::source::Source;

pub use crate::state::waiters::Side;

/// A source that tasks wait on. The source must be in nonblocking mode.
///
/// # Threads and fork
/// It stays on its reactor's thread once it has waited. In a forked child operations that would
/// have to wait answer [`Error::Forked`]; its drop closes the child's copy and nothing else.
///
/// # Examples
/// ```
/// use squall_reactor::{Interest, Io, Reactor, Side};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let mut reactor = Reactor::new()?;
/// let (ours, mut theirs) = UnixStream::pair()?;
/// ours.set_nonblocking(true)?;
/// std::thread::spawn(move || theirs.write_all(b"hello"));
/// let text = reactor.block_on(async {
///     let ours = Io::new(ours, Interest::READABLE);
///     let mut text = [0; 5];
///     ours.with(Side::Read, |mut source| source.read_exact(&mut text)).await?;
///     Ok::<_, std::io::Error>(text)
/// })??;
/// assert_eq!(&text, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Io<S: Source> {
    // Before the source: DEL comes before close.
    entry: OnceCell<Entry>,
    interest: Interest,
    /// What said `WouldBlock` before there was a registration to remember it.
    disproved: Cell<Readiness>,
    /// The last operation told an end or an error: the same again is no progress (law 12).
    told: Cell<bool>,
    place: &'static Location<'static>,
    source: S,
}

impl<S: Source> Io<S> {
    /// Wraps a source; `interest` is what the registration will ask for.
    #[track_caller]
    pub fn new(source: S, interest: Interest) -> Self {
        Self::at(source, interest, Location::caller())
    }

    /// The same for a caller that stands between the user and this.
    pub(crate) fn at(source: S, interest: Interest, place: &'static Location<'static>) -> Self {
        let (entry, disproved) = (OnceCell::new(), Cell::new(Readiness::NONE));
        Self { entry, interest, disproved, told: Cell::new(false), place, source }
    }

    /// The same, but nothing is believed that the kernel has not reported.
    #[track_caller]
    pub(crate) fn unproven(source: S, interest: Interest) -> Self {
        let io = Self::new(source, interest);
        io.disproved.set(Readiness::READ | Readiness::WRITE);
        io
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Deregisters and gives the source back.
    pub fn into_inner(self) -> S {
        let Self { entry, source, .. } = self;
        drop(entry);
        source
    }

    /// True once it has had to wait.
    pub fn is_registered(&self) -> bool {
        self.entry.get().is_some()
    }

    /// Waits until `side` may succeed. A guess: another task may be quicker.
    ///
    /// # Errors
    /// [`Error::NoReactor`], [`Error::Forked`], [`Error::Closed`], or what registering said.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready(&self, side: Side) -> Result<Readiness> {
        poll_fn(|cx| {
            let answer = self.poll_ready(cx, side);
            if answer.is_pending() && local::operations_spent() && self.is_known(side) {
                // The task asks again and again, and never tries: nothing else would count that.
                self.fruitless();
            }
            answer
        })
        .await
    }

    /// Tries `f` whenever `side` may succeed, until it says something else than `WouldBlock`. A
    /// success counts as progress, and so does an error the first time (law 12); so make an end of
    /// the data an error, if whoever ignores it is to be named.
    ///
    /// # Errors
    /// Those of `f`, and those of [`ready`](Self::ready) inside an `io::Error`.
    ///
    /// # Cancel safety
    /// Nothing is lost if `f` does all or nothing.
    pub async fn with<R>(
        &self,
        side: Side,
        mut f: impl FnMut(&S) -> io::Result<R>,
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
        f: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_judged(cx, side, f, |_| true)
    }

    /// [`poll_with`](Self::poll_with) for an operation whose success may be none: 0 bytes.
    pub(crate) fn poll_judged<R>(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        mut f: impl FnMut(&S) -> io::Result<R>,
        fruitful: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        ready!(local::poll_operation(cx));
        loop {
            match self.try_judged(side, &mut f, &fruitful) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_known(cx, side))?;
                    // A hang-up is remembered, and `f` says WouldBlock all the same: others first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    local::spend_operation();
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Tries `f` once. What is known to block is answered without a system call. Nothing is
    /// registered, so it serves a callback too, whose own registration the source then has.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_with<R>(&self, side: Side, f: impl FnOnce(&S) -> io::Result<R>) -> io::Result<R> {
        self.try_judged(side, f, |_| true)
    }

    /// [`try_with`](Self::try_with) for an operation whose success may be none: 0 bytes.
    pub(crate) fn try_judged<R>(
        &self,
        side: Side,
        f: impl FnOnce(&S) -> io::Result<R>,
        fruitful: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        if let Some(entry) = self.entry.get() {
            match entry.local().state.borrow().may_try(entry.token(), side) {
                Some(true) => {}
                Some(false) => return Err(io::ErrorKind::WouldBlock.into()),
                None => return Err(self.ended().into()),
            }
        }
        let result = f(&self.source);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.disprove(side),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(value) if fruitful(value) => {
                self.told.set(false);
                self.progress(side);
            }
            // An end or an error is news once.
            Ok(_) | Err(_) if !self.told.replace(true) => self.progress(side),
            Ok(_) | Err(_) => self.fruitless(),
        }
        result
    }

    /// Its owner was told what he knew, or asked and did not try. It needs no report, so a task that
    /// goes on would spin unseen without a registration to count it.
    #[cold]
    fn fruitless(&self) {
        let in_task = || Local::current().is_some_and(|local| local.running.get().is_some());
        if !self.is_registered() && in_task() {
            // Refused: then it cannot be counted.
            let _ = self.register();
        }
        if let Some(entry) = self.entry.get() {
            entry.local().fruitless(entry.token());
        }
    }

    /// Waits until `side` may succeed; for futures written by hand. The last waker of each task counts.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn poll_ready(&self, cx: &mut Context<'_>, side: Side) -> Poll<Result<Readiness>> {
        ready!(local::poll_operation(cx));
        let known = ready!(self.poll_known(cx, side));
        local::spend_operation();
        Poll::Ready(known)
    }

    fn poll_known(&self, cx: &Context<'_>, side: Side) -> Poll<Result<Readiness>> {
        let entry = match (self.entry.get(), self.believed(side)) {
            (Some(entry), _) => entry,
            (None, Some(believed)) => return Poll::Ready(Ok(believed)),
            (None, None) => self.register()?,
        };
        let (local, token) = (entry.local(), entry.token());
        if let Err(error) = local.check() {
            return Poll::Ready(Err(error));
        }
        match local.state.borrow().known(token, side) {
            None => return Poll::Ready(Err(self.ended())),
            Some(Some(known)) => return Poll::Ready(Ok(known)),
            Some(None) => {}
        }
        let job = local.job_for(cx.waker(), local.standing(token, side, cx.waker()));
        let wait = local.state.borrow_mut().wait(token, side, job);
        match wait {
            Wait::Ready(known) => Poll::Ready(Ok(known)),
            Wait::Parked(order) => match local.carry_out_again(order) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            Wait::Ended => Poll::Ready(Err(self.ended())),
        }
    }

    /// A TCP read or write moved fewer bytes than it could: nothing is left, unless something else
    /// is remembered (law 3).
    pub(crate) fn short(&self, side: Side) {
        if let Some(entry) = self.entry.get()
            && let Some(waiters) = entry.local().state.borrow_mut().waiters(entry.token())
        {
            waiters.short(side);
        }
    }

    /// A side that its owner knows to be pending, such as that of a connection just started.
    pub(crate) fn would_block(&self, side: Side) -> Result<()> {
        self.disprove(side);
        if !self.is_registered() {
            self.register()?;
        }
        Ok(())
    }

    fn disprove(&self, side: Side) {
        let Some(entry) = self.entry.get() else {
            self.disproved.set(self.disproved.get() | side.disproved());
            return;
        };
        let mut state = entry.local().state.borrow_mut();
        let Some(waiters) = state.waiters(entry.token()) else { return };
        waiters.would_block(side);
        let remembered = waiters.ready(side).is_some();
        drop(state);
        if remembered {
            // A hang-up, which no `WouldBlock` takes back (law 3): whoever tries on will not sleep.
            self.fruitless();
        }
    }

    /// True if an operation on `side` would be tried at once.
    fn is_known(&self, side: Side) -> bool {
        match self.entry.get() {
            Some(entry) => {
                matches!(entry.local().state.borrow().known(entry.token(), side), Some(Some(_)))
            }
            None => self.believed(side).is_some(),
        }
    }

    /// What an unregistered source may be tried for: everything that has not been disproved.
    fn believed(&self, side: Side) -> Option<Readiness> {
        let believed = (Readiness::READ | Readiness::WRITE).without(self.disproved.get());
        side.is_ready(believed).then_some(believed)
    }

    /// Room to write is not asked for before somebody waits for it: it would be reported at once,
    /// and wake the loop for nothing. A source that only writes needs a place in the epoll all the
    /// same, or the end of its reader would not be heard.
    fn register(&self) -> Result<&Entry> {
        let local = Local::current().ok_or(Error::NoReactor)?;
        let fd = self.source.as_fd().as_raw_fd();
        let without = self.interest.without(Interest::WRITABLE);
        let waits_for_room = self.disproved.get().contains(Readiness::WRITE);
        let interest = if waits_for_room || without.is_none() { self.interest } else { without };
        let entry = Entry::waited(&local, fd, interest, self.place)?;
        if let Some(waiters) = local.state.borrow_mut().waiters(entry.token()) {
            waiters.disprove(self.disproved.get());
        }
        Ok(self.entry.get_or_init(|| entry))
    }

    /// Its owner achieved something.
    pub(crate) fn progress(&self, side: Side) {
        match self.entry.get() {
            Some(entry) => {
                let local = entry.local();
                let led = local.state.borrow_mut().progress(entry.token());
                if led {
                    local.count(|counters| counters.progress.add(1));
                }
                local.achieve();
            }
            None => {
                self.disproved.set(self.disproved.get().without(side.disproved()));
                local::touch();
            }
        }
    }

    fn ended(&self) -> Error {
        let forked = self.entry.get().is_some_and(|entry| entry.local().forked());
        if forked { Error::Forked } else { Error::Closed }
    }
}

/// 0 bytes, read or written, are an end or a mistake: news once (law 12).
pub(crate) fn some(n: &usize) -> bool {
    *n > 0
}

impl<S: Source> AsFd for Io<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Io<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registered = self.is_registered();
        f.debug_struct("Io").field("source", &self.source).field("registered", &registered).finish()
    }
}
