//! The server: listeners, connections, limits, drain.
//!
//! Listening sockets are callbacks, level-triggered with one accept for each report: an accept that
//! fails costs more than a report. A connection is a task. Nothing is created before the reactor,
//! so a server cannot be shared over a fork by accident: bind, fork, then serve.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use squall_reactor::net::{TcpListener, TcpStream};
use squall_reactor::{Handle, Interest, Next, Registration, Trigger, timeout};

use crate::app::{App, OnRefusal, Refusal};
use crate::connection::{Connection, SCRATCH_BYTES, Service};
use crate::date::Date;
use crate::drain::Connections;
use crate::exchange::exchange;
use crate::limits::Limits;
use crate::request::Request;
use crate::response::Response;
use crate::slots::Slots;
use crate::stats::{Counts, ServerStats};
use crate::watch::Fin;

/// How long a listener rests after accept(2) said that descriptors or memory are short.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Connections of one server at once, by default.
const MAX_CONNECTIONS: usize = 65_536;
/// Connections of one address at once, by default: a proxy is one address.
const MAX_PER_ADDRESS: usize = 16_384;

/// What the kernel takes of an answer beyond what is on its way: a slow reader holds no megabytes of
/// it, and none are made for it before others have had their turn.
const MAX_UNSENT_BYTES: u32 = 256 << 10;

/// Builds a server around one handler: an async function from request to response.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Server};
/// use squall_reactor::{Reactor, net::TcpStream};
///
/// let mut reactor = Reactor::new()?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let serving = Server::new(async |request: &mut Request<'_>| {
///     Response::text(format!("you asked for {}\n", String::from_utf8_lossy(request.path())))
/// })
/// .add_sockets([listener])
/// .start(&reactor.handle())?;
///
/// let answer = reactor.block_on(async {
///     let client = TcpStream::connect(addr).await?;
///     client.write_all(b"GET /tea HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
///     let (mut answer, mut buf) = (Vec::new(), [0; 512]);
///     while let n @ 1.. = client.read(&mut buf).await? {
///         answer.extend_from_slice(&buf[..n]);
///     }
///     Ok::<_, std::io::Error>(answer)
/// })??;
/// assert!(answer.ends_with(b"you asked for /tea\n"));
/// # drop(serving);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server<H> {
    handler: H,
    limits: Limits,
    fin: Fin,
    max_connections: usize,
    max_per_address: usize,
    on_refusal: Option<OnRefusal>,
    sockets: Vec<std::net::TcpListener>,
    stats: ServerStats,
}

impl<H> Server<H>
where
    H: AsyncFn(&mut Request<'_>) -> Response + 'static,
{
    /// A server with the default limits and no sockets.
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            limits: Limits::default(),
            fin: Fin::default(),
            max_connections: MAX_CONNECTIONS,
            max_per_address: MAX_PER_ADDRESS,
            on_refusal: None,
            sockets: Vec::new(),
            stats: ServerStats::default(),
        }
    }

    /// What a client may send and how long it may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What it means that a client has finished sending while its request is handled.
    #[must_use]
    pub fn on_fin(mut self, fin: Fin) -> Self {
        self.fin = fin;
        self
    }

    /// Connections at once, at least 1 (default 65,536). Beyond it the listeners rest, and further
    /// clients wait in the accept backlog.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// Connections of one address at once, at least 1 (default 16,384: a proxy is one address). Further
    /// ones are accepted and reset: they cannot be left in the accept backlog, where they would stand
    /// before everybody else's. An IPv6 address counts with all that share its first 64 bits.
    #[must_use]
    pub fn max_connections_per_address(mut self, count: usize) -> Self {
        self.max_per_address = count.max(1);
        self
    }

    /// Tells `tell` of each request that is refused before any handler sees it, so that it can be
    /// logged or counted: an access log wraps a handler, and never hears of these.
    #[must_use]
    pub fn on_refusal(mut self, tell: impl Fn(&Refusal) + 'static) -> Self {
        self.on_refusal = Some(Box::new(tell));
        self
    }

    /// Serves on sockets that are bound and listening already: bind them before a fork, and add them
    /// after it.
    #[must_use]
    pub fn add_sockets(mut self, sockets: impl IntoIterator<Item = std::net::TcpListener>) -> Self {
        self.sockets.extend(sockets);
        self
    }

    /// Shows the server's figures through `stats`, of which its own handlers may hold a clone.
    #[must_use]
    pub fn stats(mut self, stats: &ServerStats) -> Self {
        self.stats = stats.clone();
        self
    }

    /// Starts serving on the reactor of `handle`. The server ends when the value is dropped.
    ///
    /// # Errors
    /// Those of registering the listeners: [`squall_reactor::Error::Forked`] in a child that inherited
    /// the reactor.
    pub fn start(self, handle: &Handle) -> squall_reactor::Result<Serving> {
        let app = Rc::new(App {
            handler: self.handler,
            limits: self.limits.clone(),
            fin: self.fin,
            handle: handle.clone(),
            draining: Cell::new(false),
            requests: Cell::new(0),
            cancelled: Cell::new(0),
            refused: Cell::new(0),
            on_refusal: self.on_refusal,
            date: RefCell::new((Date::new(0), Instant::now() - Duration::from_nanos(1))),
        });
        let connections = Rc::new(Connections::new(self.max_connections, self.max_per_address));
        let counts = Rc::clone(&app) as Rc<dyn Counts>;
        self.stats.show(&counts, &connections);
        let service = Rc::new(Service {
            make: move |stream, peer, space| exchange(Rc::clone(&app), stream, peer, space),
            slots: Slots::new(),
            limits: self.limits,
            handle: handle.clone(),
            connections: Rc::clone(&connections),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
        });
        let spawner = handle.clone();
        let spawn: Spawn = Rc::new(move |stream, peer| {
            if let Some(connection) = Connection::new(&service, stream, peer) {
                spawner.spawn_detached(connection);
            }
        });
        let mut listeners = Vec::new();
        for socket in self.sockets {
            listeners.push(listen(handle, socket, &connections, Rc::clone(&spawn))?);
        }
        Ok(Serving { listeners, spawn, connections, counts })
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

/// A server that has been started; dropping it closes its listeners and resets its connections.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Server};
/// use squall_reactor::Reactor;
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let server = Server::new(async |_: &mut Request<'_>| Response::text("hello\n"));
/// let mut serving = server.add_sockets([listener]).start(&reactor.handle())?;
/// assert_eq!(serving.connections(), 0);
/// assert!(reactor.block_on(serving.shutdown(Duration::from_secs(5)))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Serving {
    listeners: Vec<Registration<TcpListener>>,
    spawn: Spawn,
    connections: Rc<Connections>,
    counts: Rc<dyn Counts>,
}

impl Serving {
    /// The addresses that it listens on.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.source().local_addr().ok()).collect()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Requests whose head was read.
    pub fn requests(&self) -> u64 {
        self.counts.requests()
    }

    /// Requests whose handler was dropped because its client had left.
    pub fn cancelled(&self) -> u64 {
        self.counts.cancelled()
    }

    /// Says that the end is near, and goes on: from now each answer ends its connection
    /// (`Connection: close`), and [`ServerStats::is_draining`] is true, by which a route for health
    /// tells a balancer to go elsewhere. What still comes is served. A client's next request then
    /// opens a connection where there is a future, in place of meeting a close half way.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Request, Response, Server, ServerStats, StatusCode};
    /// use squall_reactor::{Reactor, sleep};
    /// use std::time::Duration;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let stats = ServerStats::default();
    /// let own = stats.clone();
    /// let health = async move |_: &mut Request<'_>| match own.is_draining() {
    ///     false => Response::text("ok\n"),
    ///     true => Response::error(StatusCode::SERVICE_UNAVAILABLE, "it is about to end"),
    /// };
    /// let mut serving = Server::new(health).stats(&stats).start(&reactor.handle())?;
    /// reactor.block_on(async {
    ///     serving.announce_shutdown(); // SIGTERM has come, say
    ///     sleep(Duration::from_millis(5)).await; // for as long as a balancer takes to notice
    ///     serving.shutdown(Duration::from_secs(10)).await;
    /// })?;
    /// # Ok::<(), squall_reactor::Error>(())
    /// ```
    pub fn announce_shutdown(&self) {
        self.counts.drain();
    }

    /// Ends in order: takes what waits in the listeners' queues and closes them, closes the idle
    /// connections, answers what has begun with `Connection: close`, and after `patience` drops the
    /// rest. A connection that has not yet asked anything gets half a second to do so. True if
    /// nothing had to be dropped.
    ///
    /// # Cancel safety
    /// Dropping it leaves the server draining.
    pub async fn shutdown(&mut self, patience: Duration) -> bool {
        self.accept_the_queued();
        self.listeners.clear();
        self.counts.drain();
        self.connections.drain();
        let in_time = timeout(patience, self.connections.emptied()).await.is_ok();
        if !in_time {
            self.connections.abort();
            self.connections.emptied().await;
        }
        in_time
    }

    /// To close a listener resets the connections in its queue, and their clients have perhaps sent
    /// already.
    fn accept_the_queued(&self) {
        for listener in &self.listeners {
            // An error has many meanings here and one consequence: no more.
            while !self.connections.is_full()
                && let Ok((stream, peer)) = listener.source().try_accept()
            {
                (self.spawn)(stream, peer);
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.listeners.clear();
        self.connections.abort();
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("listeners", &self.listeners)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// Gives a connection that was accepted a task of its own.
type Spawn = Rc<dyn Fn(TcpStream, SocketAddr)>;

/// Registers a listener: one accept for each report.
fn listen(
    handle: &Handle,
    socket: std::net::TcpListener,
    connections: &Rc<Connections>,
    spawn: Spawn,
) -> squall_reactor::Result<Registration<TcpListener>> {
    let os = |call| move |source| squall_reactor::Error::Os { call, source };
    let listener = TcpListener::from_std(socket).map_err(os("fcntl"))?;
    // The accepted sockets inherit it (tcp(7)).
    listener.set_nodelay(true).map_err(os("setsockopt"))?;
    listener.set_unsent_limit(MAX_UNSENT_BYTES).map_err(os("setsockopt"))?;
    let (own, connections) = (handle.clone(), Rc::clone(connections));
    let accept = move |listener: &TcpListener, ready: squall_reactor::Ready| {
        if connections.is_full() {
            connections.rest(&own, ready.token());
            return Next::Pause.progress(true);
        }
        match listener.try_accept() {
            Ok((stream, peer)) => {
                spawn(stream, peer);
                Next::Wait.progress(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Wait.progress(false),
            // Somebody has shut the socket down: it will never accept again, and reports it for ever.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Next::Done.progress(true),
            Err(error) if is_lasting(&error) => {
                // The connection stays in the backlog, and the listener readable: without a rest the
                // loop would spin (cause f).
                let (handle, token) = (own.clone(), ready.token());
                let resume = move || drop(handle.resume(token));
                match own.after(ACCEPT_REST, resume) {
                    Ok(_) => Next::Pause.progress(true),
                    Err(_) => Next::Done.progress(true),
                }
            }
            // The client has left the backlog, or a network error is meant for it (accept(2)).
            Err(_) => Next::Wait.progress(true),
        }
    };
    let registered = handle.register(listener, Interest::READABLE, Trigger::Level, accept);
    registered.map_err(|(error, _)| error)
}

/// Descriptors or memory are short (accept(2)): the next accept would say so too.
fn is_lasting(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOMEM: i32 = 12;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOMEM | ENOBUFS))
}
