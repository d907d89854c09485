//! Registrations: what owns a source together with its place in the reactor (law 1).
//!
//! An [`Entry`] is the place alone, and its drop is the DEL. [`Registration`] puts it over a source
//! that a callback hears of; `Io` (in `io`) over one that tasks wait on. In both the entry is the
//! field before the source, so that DEL comes before close on every path. Next: `handle`.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::interest::{Answer, Interest, Readiness, Trigger};
use crate::local::Local;
use crate::state::readiness::Phase;
use crate::state::registry::{Call, Order};
use crate::sys::source::Source;
use crate::token::Token;

/// A place in a reactor; dropping it deregisters (one `epoll_ctl(DEL)`, none in a forked child).
pub(crate) struct Entry {
    local: Rc<Local>,
    token: Token,
    /// Left to the reactor: the drop does nothing.
    detached: bool,
}

impl Entry {
    /// Adds `fd` for tasks to wait on.
    pub(crate) fn waited(
        local: &Rc<Local>,
        fd: i32,
        interest: Interest,
        place: &'static Location<'static>,
    ) -> Result<Self> {
        local.check()?;
        check(interest, Trigger::Edge)?;
        let (token, order) = local.state.borrow_mut().add_waited(fd, interest, place);
        Self::added(local, token, order)
    }

    fn added(local: &Rc<Local>, token: Token, order: Option<Order>) -> Result<Self> {
        if let Err(error) = local.carry_out(order) {
            // The kernel does not know it, so there is nothing to delete.
            let _ = local.state.borrow_mut().remove_source(token);
            return Err(error);
        }
        Ok(Self { local: Rc::clone(local), token, detached: false })
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    fn phase(&self) -> Option<Phase> {
        let mut state = self.local.state.borrow_mut();
        state.registry.get_mut(self.token)?.machine().map(|machine| machine.phase())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.detached {
            self.local.deregister(self.token);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.token)
    }
}

/// What a callback is told: the readiness (it derefs to it) and whose it is.
///
/// # Examples
/// ```
/// use squall_reactor::{Interest, Next, Reactor, Ready, Trigger};
/// use std::os::unix::net::UnixStream;
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// let (ours, theirs) = UnixStream::pair()?;
/// let stop = handle.clone();
/// let on_ready = move |_: &UnixStream, ready: Ready| {
///     assert!(ready.is_hung_up());
///     stop.stop();
///     Next::Done
/// };
/// let registered = handle.register(ours, Interest::READABLE, Trigger::Edge, on_ready);
/// let registration = registered.map_err(|(error, _)| error)?;
/// drop(theirs);
/// reactor.run()?;
/// # drop(registration);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    readiness: Readiness,
    token: Token,
}

impl Ready {
    /// The readiness itself.
    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// The registration, for `Handle::{set_interest, resume, rearm, deregister}`.
    pub fn token(&self) -> Token {
        self.token
    }
}

impl std::ops::Deref for Ready {
    type Target = Readiness;
    fn deref(&self) -> &Readiness {
        &self.readiness
    }
}

/// A source that a callback hears of. It owns the source together with the callback, which is lent
/// `&S`; dropping it deregisters, drops the callback, and closes the source, in this order.
///
/// After [`Next::Done`](crate::Next::Done) the registration has ended, and the source closes when
/// this is dropped.
///
/// # Threads and fork
/// It stays on its reactor's thread. In a forked child its methods answer [`Error::Forked`], and its
/// drop closes the child's copy of the descriptor without a word to the parent's epoll.
///
/// # Examples
/// ```
/// use squall_reactor::{Interest, Next, Reactor, Trigger};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let mut reactor = Reactor::new()?;
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let handle = reactor.handle();
/// let stop = handle.clone();
/// let registration = handle
///     .register(ours, Interest::READABLE, Trigger::Level, move |mut source: &UnixStream, _| {
///         let mut byte = [0];
///         let n = source.read(&mut byte).unwrap();
///         assert_eq!((n, byte), (1, *b"!"));
///         stop.stop();
///         Next::Wait.progress(n > 0)
///     })
///     .map_err(|(error, _source)| error)?;
/// theirs.write_all(b"!")?;
/// reactor.run()?;
/// drop(registration);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registration<S: Source> {
    // Before the source: DEL comes before close.
    entry: Entry,
    source: Rc<S>,
}

impl<S: Source + 'static> Registration<S> {
    #[track_caller]
    pub(crate) fn new<A: Into<Answer>>(
        local: &Rc<Local>,
        source: S,
        interest: Interest,
        trigger: Trigger,
        mut callback: impl FnMut(&S, Ready) -> A + 'static,
    ) -> std::result::Result<Self, (Error, S)> {
        use std::os::fd::AsRawFd;
        if let Err(error) = local.check().and_then(|()| check(interest, trigger)) {
            return Err((error, source));
        }
        // Law 1: the number is read once.
        let fd = source.as_fd().as_raw_fd();
        let place = Location::caller();
        let (token, order) = local.state.borrow_mut().add_callback(fd, interest, trigger, place);
        let entry = match Entry::added(local, token, order) {
            Ok(entry) => entry,
            Err(error) => return Err((error, source)),
        };
        let source = Rc::new(source);
        let lent = Rc::clone(&source);
        let callback =
            Box::new(move |token, readiness| callback(&lent, Ready { readiness, token }).into());
        local.keep_callback(token, callback);
        Ok(Self { entry, source })
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Names the registration; `Handle`'s methods take it.
    pub fn token(&self) -> Token {
        self.entry.token
    }

    /// Changes what is asked for. The kernel then reports afresh what is ready.
    ///
    /// # System calls
    /// One `epoll_ctl(MOD)`, none if nothing changes. From or to no interest it is ADD or DEL,
    /// because a mask of 0 still reports a hang-up (law 4); from or to `ACCEPT_EXCLUSIVE` it is both,
    /// because the kernel does not modify such an entry.
    ///
    /// # Errors
    /// [`Error::Ended`] after `Next::Done`; [`Error::Argument`] for `ACCEPT_EXCLUSIVE` with
    /// something else; [`Error::Forked`]; [`Error::Closed`].
    pub fn set_interest(&self, interest: Interest) -> Result<()> {
        self.entry.local.set_interest(self.entry.token, interest)
    }

    /// Ends a [`Next::Pause`](crate::Next::Pause): the callback is called with what is known.
    ///
    /// # System calls
    /// None under `Edge`, unless the peer kept sending (then one ADD); one ADD under `Level`; one
    /// MOD under `Oneshot`.
    ///
    /// # Errors
    /// As [`set_interest`](Self::set_interest).
    pub fn resume(&self) -> Result<()> {
        self.entry.local.resume(self.entry.token)
    }

    /// Arms a oneshot that has fired; a source that is ready is reported at once (law 5).
    ///
    /// # System calls
    /// One `epoll_ctl(MOD)`; none if it is armed.
    ///
    /// # Errors
    /// As [`set_interest`](Self::set_interest).
    pub fn rearm(&self) -> Result<()> {
        self.resume()
    }

    /// Leaves the registration to the reactor: it ends, and the source closes, when the callback
    /// answers `Next::Done`, or with the reactor.
    pub fn detach(mut self) -> Token {
        // The callback's share keeps the source.
        self.entry.detached = true;
        self.entry.token
    }

    /// Deregisters and gives the source back.
    ///
    /// # Errors
    /// The registration itself, while its own callback is running: the callback holds the source.
    pub fn into_inner(self) -> std::result::Result<S, Self> {
        let running = matches!(self.entry.phase(), Some(Phase::Running | Phase::RunningAgain));
        if running {
            return Err(self);
        }
        self.entry.local.deregister(self.entry.token);
        let Self { entry, source } = self;
        // A callback that ended its registration may still be on the stack with its share.
        Rc::try_unwrap(source).map_err(|source| Self { entry, source })
    }
}

impl<S: Source> fmt::Debug for Registration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("token", &self.entry.token).finish_non_exhaustive()
    }
}

impl Local {
    pub(crate) fn set_interest(&self, token: Token, interest: Interest) -> Result<()> {
        self.check()?;
        let order = self.change_interest(token, interest)?;
        let result = self.carry_out(order);
        if result.is_err()
            && order.is_some_and(|order| order.call == Call::Add)
            && let Some(slot) = self.state.borrow_mut().registry.get_mut(token)
        {
            // The kernel does not know it: a DEL would hit another registration of the descriptor.
            slot.stands_outside();
            slot.interest = Interest::NONE;
        }
        result
    }

    /// The order that is left to carry out. An exclusive entry cannot be modified, nor any made
    /// exclusive (EINVAL): there it leaves the epoll at once, and the order adds it.
    fn change_interest(&self, token: Token, interest: Interest) -> Result<Option<Order>> {
        let mut state = self.state.borrow_mut();
        let slot = state.registry.get(token).ok_or(Error::Ended)?;
        check(interest, slot.trigger())?;
        let exclusive = slot.interest.is_exclusive() || interest.is_exclusive();
        let order = state.set_interest(token, interest).ok_or(Error::Ended)?;
        drop(state);
        match order {
            Some(order) if exclusive && order.call == Call::Modify => {
                self.carry_out(Some(Order { call: Call::Delete, ..order }))?;
                Ok(Some(Order { call: Call::Add, ..order }))
            }
            order => Ok(order),
        }
    }

    /// Takes a source back into the epoll; if the kernel refuses, it stays outside.
    pub(crate) fn carry_out_again(&self, order: Option<Order>) -> Result<()> {
        let result = self.carry_out(order);
        if let (Err(_), Some(order)) = (&result, order) {
            self.state.borrow_mut().stay_outside(order);
        }
        result
    }

    pub(crate) fn resume(&self, token: Token) -> Result<()> {
        self.check()?;
        let order = self.state.borrow_mut().resume(token).ok_or(Error::Ended)?;
        self.added();
        self.carry_out_again(order)
    }
}

fn check(interest: Interest, trigger: Trigger) -> Result<()> {
    if interest.is_valid(trigger) {
        return Ok(());
    }
    Err(Error::Argument("ACCEPT_EXCLUSIVE stands alone, and not under Trigger::Oneshot"))
}
