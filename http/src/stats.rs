//! The figures of a server: what its connections count already, asked through weak ends.
//!
//! A handler may hold them, and the server holds the handler; so nothing here keeps a server alive.
//! Next: `server`.

use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};

use crate::app::App;
use crate::drain::Connections;

/// The figures of a server, or of several together; clones show the same. What it shows of a server
/// begins with its start and ends with its end.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Server, ServerStats};
///
/// let stats = ServerStats::default();
/// let own = stats.clone();
/// let server = Server::new(async move |_: &mut Request<'_>| {
///     Response::text(format!("{} connections\n", own.connections()))
/// })
/// .stats(&stats);
/// # drop(server);
/// ```
#[derive(Clone, Default)]
pub struct ServerStats {
    // Weak, because a handler that holds this belongs to the server.
    servers: Rc<RefCell<Vec<Shown>>>,
}

/// A server as its figures are asked of it.
type Shown = (Weak<dyn Counts>, Weak<Connections>);

impl ServerStats {
    /// Connections that are open.
    pub fn connections(&self) -> usize {
        let servers = self.servers.borrow();
        servers.iter().filter_map(|(_, connections)| Some(connections.upgrade()?.len())).sum()
    }

    /// Requests whose head was read.
    pub fn requests(&self) -> u64 {
        self.sum(|counts| counts.requests())
    }

    /// Requests whose handler was dropped because its client had left.
    pub fn cancelled(&self) -> u64 {
        self.sum(|counts| counts.cancelled())
    }

    /// Whether one of the servers is about to end:
    /// [`Serving::announce_shutdown`](crate::Serving::announce_shutdown) or
    /// [`Serving::shutdown`](crate::Serving::shutdown) was called.
    pub fn is_draining(&self) -> bool {
        self.sum(|counts| u64::from(counts.is_draining())) > 0
    }

    /// Requests that were refused before any handler saw them.
    pub fn refused(&self) -> u64 {
        self.sum(|counts| counts.refused())
    }

    /// Connections that were reset because their address had its share.
    pub fn turned_away(&self) -> u64 {
        let servers = self.servers.borrow();
        servers
            .iter()
            .filter_map(|(_, connections)| Some(connections.upgrade()?.turned_away()))
            .sum()
    }

    /// Shows a server that starts.
    pub(crate) fn show(&self, counts: &Rc<dyn Counts>, connections: &Rc<Connections>) {
        self.servers.borrow_mut().push((Rc::downgrade(counts), Rc::downgrade(connections)));
    }

    fn sum(&self, figure: impl Fn(&dyn Counts) -> u64) -> u64 {
        let servers = self.servers.borrow();
        servers.iter().filter_map(|(counts, _)| Some(figure(&*counts.upgrade()?))).sum()
    }
}

impl fmt::Debug for ServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerStats")
            .field("connections", &self.connections())
            .field("requests", &self.requests())
            .field("cancelled", &self.cancelled())
            .field("refused", &self.refused())
            .field("turned_away", &self.turned_away())
            .finish()
    }
}

/// What a server counts and can be told, whatever its handler's type.
pub(crate) trait Counts {
    fn requests(&self) -> u64;
    fn cancelled(&self) -> u64;
    fn is_draining(&self) -> bool;
    fn refused(&self) -> u64;
    fn drain(&self);
}

impl<H> Counts for App<H> {
    fn requests(&self) -> u64 {
        self.requests.get()
    }

    fn cancelled(&self) -> u64 {
        self.cancelled.get()
    }

    fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn refused(&self) -> u64 {
        self.refused.get()
    }

    fn drain(&self) {
        self.draining.set(true);
    }
}
