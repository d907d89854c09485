//! What all connections of a server share. Next: `answer`.

use std::cell::{Cell, Ref, RefCell};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use squall_reactor::Handle;

use crate::date::Date;
use crate::limits::Limits;
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
    pub(crate) lingering: Cell<usize>,
    pub(crate) date: RefCell<(Date, Instant)>,
}

impl<H> App<H> {
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
