//! The words of readiness: what is asked for, how it is reported, what is known, what comes next.
//!
//! All four are small values that print as words. Next: `error`.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What a registration asks the kernel to report.
///
/// HUP and ERR are always reported (epoll_ctl(2)), asked for or not, unless the interest is
/// [`NONE`](Self::NONE): then the source is deregistered (law 4).
///
/// # Examples
/// ```
/// use squall_reactor::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert_eq!(both, Interest::BOTH);
/// assert!(both.contains(Interest::READABLE));
/// assert_eq!(format!("{:?}", both.without(Interest::READABLE)), "WRITABLE");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Nothing: the source is out of the epoll until the interest changes.
    pub const NONE: Self = Self(0);
    /// Data to read, a connection to accept, a peer that has finished sending (IN and RDHUP).
    pub const READABLE: Self = Self(1);
    /// Room to write (OUT).
    pub const WRITABLE: Self = Self(2);
    /// Urgent data (PRI). Under [`Trigger::Level`] an unread urgent byte is reported every turn.
    pub const PRIORITY: Self = Self(4);
    /// Connections to accept, on a listener that several processes watch, each with a reactor of its
    /// own: one that sleeps is woken by each connection, not all (EPOLLEXCLUSIVE, epoll_ctl(2)).
    ///
    /// It stands alone, and not under [`Trigger::Oneshot`]: the kernel refuses it beside RDHUP,
    /// which [`READABLE`](Self::READABLE) asks for, and PRI. It spares wake-ups and spreads nothing:
    /// mostly the same process is woken, and one that hangs then keeps its connection waiting until
    /// the next one comes. For an even load give each worker its own socket
    /// ([`Bind::reuse_port`](crate::workers::Bind::reuse_port)).
    pub const ACCEPT_EXCLUSIVE: Self = Self(8);
    /// Readable and writable.
    pub const BOTH: Self = Self(3);

    /// True if every part of `other` is asked for.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This without the parts of `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if nothing is asked for.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// True if the kernel allows no change of it but DEL and ADD.
    pub(crate) fn is_exclusive(self) -> bool {
        self.contains(Self::ACCEPT_EXCLUSIVE)
    }

    /// True if the kernel takes it under `trigger`; see [`ACCEPT_EXCLUSIVE`](Self::ACCEPT_EXCLUSIVE).
    pub(crate) fn is_valid(self, trigger: Trigger) -> bool {
        !self.is_exclusive() || (self == Self::ACCEPT_EXCLUSIVE && trigger != Trigger::Oneshot)
    }
}

impl BitOr for Interest {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(f, self.0, &["READABLE", "WRITABLE", "PRIORITY", "ACCEPT_EXCLUSIVE"])
    }
}

/// When the kernel reports a source (epoll(7)).
///
/// # Examples
/// ```
/// use squall_reactor::{Handle, Interest, Next, Registration, Result, Trigger};
/// use std::net::TcpListener;
///
/// /// A listener is best level-triggered: one connection a call, and nobody is forgotten.
/// fn listen(handle: &Handle, listener: TcpListener) -> Result<Registration<TcpListener>> {
///     let registered =
///         handle.register(listener, Interest::READABLE, Trigger::Level, |listener: &TcpListener, _| {
///             let accepted = listener.accept().is_ok();
///             Next::Wait.progress(accepted)
///         });
///     registered.map_err(|(error, _listener)| error)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Once for each change (EPOLLET). The reactor remembers readiness until it is proved gone
    /// (law 3). No system call beyond the shared wait.
    Edge,
    /// In every turn for as long as the source is ready (law 4). The kernel does it, so it costs no
    /// system call beyond the shared wait.
    Level,
    /// Once, then silent until re-armed (EPOLLONESHOT, law 5). Each re-arming is one `epoll_ctl`.
    Oneshot,
}

/// What is known of a source: the kernel's report, or the sum of several.
///
/// # Examples
/// ```
/// use squall_reactor::Readiness;
///
/// let reset = Readiness::READ | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED | Readiness::ERROR;
/// assert!(reset.is_hung_up() && reset.is_error());
/// let half_closed = Readiness::READ | Readiness::READ_CLOSED;
/// assert!(half_closed.is_read_closed() && !half_closed.is_hung_up());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing is known.
    pub const NONE: Self = Self(0);
    /// Reading may succeed (IN).
    pub const READ: Self = Self(1);
    /// Writing may succeed (OUT).
    pub const WRITE: Self = Self(2);
    /// Urgent data (PRI).
    pub const PRIORITY: Self = Self(4);
    /// The peer has finished sending, or the source has hung up (RDHUP or HUP).
    pub const READ_CLOSED: Self = Self(8);
    /// The source has hung up in both directions (HUP). Where only writing fails, as on a pipe
    /// without a reader, it is [`ERROR`](Self::ERROR).
    pub const WRITE_CLOSED: Self = Self(16);
    /// An error is pending (ERR).
    pub const ERROR: Self = Self(32);

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// True if every part of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if any part of `other` is set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True if nothing is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reading will not block: there is data, an end, or an error to fetch.
    pub fn is_readable(self) -> bool {
        self.intersects(Self(Self::READ.0 | Self::READ_CLOSED.0 | Self::ERROR.0))
    }

    /// Writing will not block: there is room, or an error to fetch.
    pub fn is_writable(self) -> bool {
        self.intersects(Self(Self::WRITE.0 | Self::WRITE_CLOSED.0 | Self::ERROR.0))
    }

    /// Urgent data is there.
    pub fn is_priority(self) -> bool {
        self.contains(Self::PRIORITY)
    }

    /// The peer has finished sending; data may still be unread.
    pub fn is_read_closed(self) -> bool {
        self.contains(Self::READ_CLOSED)
    }

    /// The source has hung up whole: on TCP a reset, or both directions shut.
    pub fn is_hung_up(self) -> bool {
        self.contains(Self(Self::READ_CLOSED.0 | Self::WRITE_CLOSED.0))
    }

    /// An error is pending.
    pub fn is_error(self) -> bool {
        self.contains(Self::ERROR)
    }

    /// This without the parts of `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(f, self.0, &["READ", "WRITE", "PRIORITY", "READ_CLOSED", "WRITE_CLOSED", "ERROR"])
    }
}

/// Why a callback stopped, and so what happens next (laws 3 to 5).
///
/// # Examples
/// ```
/// use squall_reactor::Next;
/// use std::io::{ErrorKind, Read};
/// use std::os::unix::net::UnixStream;
///
/// /// Reads at most a thousand bytes a call, so that other sources have their turn.
/// fn readable(mut stream: &UnixStream) -> Next {
///     match stream.read(&mut [0; 1000]) {
///         Ok(0) => Next::Done,
///         Ok(_) => Next::Again,
///         Err(error) if error.kind() == ErrorKind::WouldBlock => Next::Wait,
///         Err(_) => Next::Done,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left: the source said `WouldBlock`. Call again at the next report. Under
    /// `Oneshot` the source stays disarmed until [`Registration::rearm`](crate::Registration::rearm).
    Wait,
    /// The budget is spent and more may be there: call again after the others. `Oneshot` re-arms.
    Again,
    /// Keep what is known and do not call until
    /// [`Registration::resume`](crate::Registration::resume).
    Pause,
    /// Deregister, drop the callback, and close the source once its
    /// [`Registration`](crate::Registration) is gone too.
    Done,
}

impl Next {
    /// Says whether the call achieved anything (law 12): bytes, a connection, a new error, the
    /// first end of file. The crate's own I/O says it by itself; other sources count as without
    /// progress unless told.
    pub fn progress(self, made: bool) -> Answer {
        Answer { next: self, progress: Some(made) }
    }
}

/// What a callback answers: [`Next`], perhaps with [`Next::progress`].
///
/// # Examples
/// ```
/// use squall_reactor::{Answer, Next};
///
/// let plain: Answer = Next::Wait.into();
/// assert_ne!(plain, Next::Wait.progress(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(crate) next: Next,
    pub(crate) progress: Option<bool>,
}

impl From<Next> for Answer {
    fn from(next: Next) -> Self {
        Self { next, progress: None }
    }
}

/// Prints the set bits as words: `READABLE|WRITABLE`.
fn words(f: &mut fmt::Formatter<'_>, bits: u8, names: &[&str]) -> fmt::Result {
    let mut first = true;
    for (i, name) in names.iter().enumerate() {
        if bits & 1 << i != 0 {
            if !first {
                f.write_str("|")?;
            }
            f.write_str(name)?;
            first = false;
        }
    }
    if first { f.write_str("NONE") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_words() {
        assert_eq!(format!("{:?}", Interest::BOTH), "READABLE|WRITABLE");
        assert_eq!(format!("{:?}", Interest::NONE), "NONE");
        assert_eq!(format!("{:?}", Interest::ACCEPT_EXCLUSIVE), "ACCEPT_EXCLUSIVE");
        assert_eq!(format!("{:?}", Readiness::READ | Readiness::ERROR), "READ|ERROR");
    }

    #[test]
    fn an_end_and_an_error_are_both_read_and_a_hang_up_is_an_end_in_both_directions() {
        assert!(Readiness::READ_CLOSED.is_readable());
        assert!(Readiness::ERROR.is_readable());
        assert!(!Readiness::WRITE.is_readable());
        assert!(!Readiness::READ_CLOSED.is_hung_up());
        assert!((Readiness::READ_CLOSED | Readiness::WRITE_CLOSED).is_hung_up());
    }
}
