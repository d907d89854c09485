//! What all connections of a server share, and what was refused on them. Next: `answer`.

use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use squall_reactor::Handle;

use crate::date::Date;
use crate::error::Error;
use crate::limits::Limits;
use crate::status::StatusCode;
use crate::watch::Fin;

/// What all connections of a server share.
pub(crate) struct App<H> {
    pub(crate) handler: H,
    pub(crate) limits: Limits,
    pub(crate) fin: Fin,
    pub(crate) handle: Handle,
    /// Answers end their connections.
    pub(crate) draining: Cell<bool>,
    pub(crate) requests: Cell<u64>,
    pub(crate) cancelled: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) on_refusal: Option<OnRefusal>,
    pub(crate) date: RefCell<(Date, Instant)>,
}

/// Who is told of refusals.
pub(crate) type OnRefusal = Box<dyn Fn(&Refusal)>;

/// A request that was refused before any handler saw it.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Server};
///
/// let server = Server::new(async |_: &mut Request<'_>| Response::text("hello\n"))
///     .on_refusal(|refusal| eprintln!("{refusal}")); // 192.0.2.1:40123: 400, Host is missing (RFC 9112, 3.2)
/// # drop(server);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// What it was answered.
    pub status: StatusCode,
    /// What was wrong; `None` for what is well-formed and not served (TRACE, CONNECT, a method that
    /// nobody knows).
    pub error: Option<Error>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, ", self.peer, self.status.as_u16())?;
        match self.error {
            Some(error) => error.fmt(f),
            None => f.write_str(self.status.reason()),
        }
    }
}

impl<H> App<H> {
    /// A request is refused.
    #[cold]
    pub(crate) fn refuse(&self, peer: SocketAddr, status: StatusCode, error: Option<Error>) {
        self.refused.set(self.refused.get() + 1);
        if let Some(tell) = &self.on_refusal {
            tell(&Refusal { peer, status, error });
        }
    }

    /// The value of Date; the clock is read at most once a turn.
    pub(crate) fn date(&self) -> Ref<'_, Date> {
        let now = self.handle.now();
        if self.date.borrow().1 != now {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut date = self.date.borrow_mut();
            date.0.renew(since.as_secs());
            date.1 = now;
        }
        Ref::map(self.date.borrow(), |(date, _)| date)
    }
}
