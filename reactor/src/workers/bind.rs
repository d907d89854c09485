//! Listening sockets, bound before the workers are forked.
//!
//! One owner, [`Sockets`], holds every socket of every worker. A worker takes its own and its
//! process closes the others; the parent takes none, so all stay open there, and a worker that is
//! killed leaves its queue to its successor. (Closing one of two SO_REUSEPORT listeners reset 16 to
//! 21 of 40 queued connections; with the parent's copy open none was lost.) What is absent: accept,
//! and sockets that systemd passes. Next: `sys::passed`.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::sys::listen::{Options, listen};
use crate::{Error, Result};

/// Binds one nonblocking listener for each address that `address` stands for, IPv4 and IPv6.
///
/// With port 0 the system picks one port for all of them.
///
/// # Errors
/// Those of [`Bind::bind`].
///
/// # Examples
/// ```
/// let listeners = squall_reactor::workers::bind_sockets("127.0.0.1:0")?;
/// assert_eq!(listeners.len(), 1);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn bind_sockets(address: impl ToSocketAddrs) -> Result<Vec<TcpListener>> {
    Ok(Bind::new(address).bind()?.take(0))
}

/// How listening sockets are bound.
///
/// # Examples
/// ```
/// use squall_reactor::workers::Bind;
///
/// let sockets = Bind::new("127.0.0.1:0").reuse_port(2).bind()?;
/// assert_eq!((sockets.sets(), sockets.local_addrs().len()), (2, 1));
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Debug)]
pub struct Bind {
    addresses: io::Result<Vec<SocketAddr>>,
    options: Options,
    /// How many sockets each address gets; one, which all workers share, without SO_REUSEPORT.
    sets: usize,
}

impl Bind {
    /// One socket for each address that `address` resolves to.
    ///
    /// A name is resolved here, which may block; a failure is reported by [`bind`](Bind::bind).
    pub fn new(address: impl ToSocketAddrs) -> Self {
        let addresses = address.to_socket_addrs().map(|found| {
            let mut seen = HashSet::new();
            found.filter(|address| seen.insert(*address)).collect()
        });
        let options = Options {
            backlog: 1024,
            reuse_port: false,
            only_v6: true,
            defer_accept: 0,
            incoming_cpu: None,
        };
        Self { addresses, options, sets: 1 }
    }

    /// How many connections may wait for accept on each socket, 1,024 by default.
    ///
    /// The kernel caps it at `net.core.somaxconn` (listen(2)).
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.options.backlog = connections;
        self
    }

    /// Gives each of `workers` (0: one for each CPU) a socket of its own, by SO_REUSEPORT.
    ///
    /// The kernel spreads connections among them, and a connection wakes one worker, not all.
    #[must_use]
    pub fn reuse_port(mut self, workers: usize) -> Self {
        self.options.reuse_port = true;
        self.sets = or_one_per_cpu(workers);
        self
    }

    /// Whether an IPv6 socket leaves IPv4 alone, as it does by default.
    ///
    /// With `false` a socket on `[::]` takes IPv4 connections too, and cannot be bound beside one
    /// on `0.0.0.0`.
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.options.only_v6 = only;
        self
    }

    /// Keeps a connection from accept until its first bytes are there, or `time` has passed (Linux's
    /// TCP_DEFER_ACCEPT, tcp(7); whole seconds, rounded up, and then to its steps of resending).
    ///
    /// Then the first read finds the request, and a connection that is served once needs no place
    /// in the epoll: 0.85 of the CPU at a connection per request. Not for protocols in which the
    /// server speaks first: their clients wait for `time`.
    #[must_use]
    pub fn defer_accept(mut self, time: Duration) -> Self {
        let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
        self.options.defer_accept = u32::try_from(seconds).unwrap_or(u32::MAX);
        self
    }

    /// Lets the socket of worker 0 prefer connections whose packets CPU 0 handles, that of worker 1
    /// CPU 1, and so on (Linux's SO_INCOMING_CPU, socket(7)); for [`reuse_port`](Bind::reuse_port)
    /// and workers that are pinned to these CPUs. Nobody has measured what it saves.
    #[must_use]
    pub fn incoming_cpu(mut self) -> Self {
        self.options.incoming_cpu = Some(0);
        self
    }

    /// How many sockets each address gets.
    pub(super) fn sets(&self) -> usize {
        self.sets
    }

    /// Binds, and listens: from here on connections queue.
    ///
    /// Of several addresses those of IPv6 are left out where the system has no IPv6, or `::1` is
    /// not configured. With port 0 the first socket's port is everybody's.
    ///
    /// # System calls
    /// Five to eight for each socket, and one `getsockname`.
    ///
    /// # Errors
    /// [`Error::Os`] with the name of the call that was refused, of which `bind` is the usual one:
    /// the port is taken, or is below 1,024. [`Error::Argument`] if the name has no address.
    pub fn bind(self) -> Result<Sockets> {
        let addresses = self.addresses.map_err(Error::os("getaddrinfo"))?;
        let picks = addresses.iter().filter(|address| address.port() == 0).count();
        for _ in 1..PICKS {
            match bind_all(&addresses, self.sets, &self.options) {
                // The port that the system picked for one address is taken on another: pick again.
                Err(error) if picks > 1 && is_kind(&error, io::ErrorKind::AddrInUse) => {}
                bound => return bound,
            }
        }
        bind_all(&addresses, self.sets, &self.options)
    }
}

/// The listening sockets of all workers.
///
/// # Examples
/// ```
/// use squall_reactor::workers::Bind;
///
/// let mut sockets = Bind::new("127.0.0.1:0").bind()?;
/// let address = sockets.local_addrs()[0];
/// let listeners = sockets.take(0); // in worker 0
/// assert_eq!(listeners[0].local_addr()?, address);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sockets {
    addresses: Vec<SocketAddr>,
    sets: Vec<Vec<TcpListener>>,
}

impl Sockets {
    /// None yet.
    pub(super) fn empty() -> Self {
        Self { addresses: Vec::new(), sets: Vec::new() }
    }

    /// Adds a listener to a set, and its address if it is new.
    pub(super) fn add(&mut self, set: usize, listener: TcpListener) -> Result<()> {
        let address = listener.local_addr().map_err(Error::os("getsockname"))?;
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
        if self.sets.len() <= set {
            self.sets.resize_with(set + 1, Vec::new);
        }
        self.sets[set].push(listener);
        Ok(())
    }

    /// A duplicate of each listener, with the set that it belongs to.
    pub(super) fn duplicates(&self) -> io::Result<Vec<(usize, TcpListener)>> {
        let all = self.sets.iter().enumerate();
        let all = all.flat_map(|(set, listeners)| listeners.iter().map(move |one| (set, one)));
        all.map(|(set, listener)| Ok((set, listener.try_clone()?))).collect()
    }

    /// Where it listens: each address once, with the port that the system picked.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many sets of sockets there are: 1 if all workers share one.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Takes the sockets of one worker and closes all others in this process.
    ///
    /// To be called in the worker: in the parent it would close what the other workers need. If
    /// there are more workers than sets they share them in turn. The sockets are nonblocking, a
    /// property that processes share. A second call in the same process finds none.
    pub fn take(&mut self, worker: usize) -> Vec<TcpListener> {
        let mut sets = std::mem::take(&mut self.sets);
        if sets.is_empty() {
            return Vec::new();
        }
        let own = worker % sets.len();
        sets.swap_remove(own)
    }
}

/// A number of workers, where 0 means one for each CPU that this process may use.
pub(super) fn or_one_per_cpu(workers: usize) -> usize {
    if workers > 0 { workers } else { available_parallelism().map_or(1, usize::from) }
}

/// How often a port is picked before it is believed that none is free on all addresses.
const PICKS: usize = 16;

fn bind_all(addresses: &[SocketAddr], sets: usize, options: &Options) -> Result<Sockets> {
    let mut bound = Sockets { addresses: Vec::new(), sets: Vec::new() };
    bound.sets.resize_with(sets, Vec::new);
    let mut picked = 0;
    let mut left_out = None;
    for &wanted in addresses {
        let mut address = wanted;
        if wanted.port() == 0 {
            address.set_port(picked);
        }
        match bind_address(address, &mut bound.sets, options) {
            Ok(address) => {
                bound.addresses.push(address);
                if wanted.port() == 0 {
                    picked = address.port();
                }
            }
            Err(error) if addresses.len() > 1 && no_ipv6(&wanted, &error) => left_out = Some(error),
            Err(error) => return Err(error),
        }
    }
    match left_out {
        Some(error) if bound.addresses.is_empty() => Err(error),
        None if bound.addresses.is_empty() => {
            Err(Error::Argument("the name to listen on has no address"))
        }
        Some(_) | None => Ok(bound),
    }
}

/// Adds one socket to each set; says where they listen.
fn bind_address(
    mut address: SocketAddr,
    sets: &mut [Vec<TcpListener>],
    options: &Options,
) -> Result<SocketAddr> {
    for (worker, set) in (0..).zip(sets) {
        let incoming_cpu = options.incoming_cpu.map(|_| worker);
        let listener = listen(address, &Options { incoming_cpu, ..*options })?;
        if address.port() == 0 {
            address = listener.local_addr().map_err(Error::os("getsockname"))?;
        }
        set.push(listener);
    }
    Ok(address)
}

/// As Tornado does it: a name such as `localhost` may have an IPv6 address on a system without.
fn no_ipv6(address: &SocketAddr, error: &Error) -> bool {
    let Error::Os { source, .. } = error else { return false };
    let SocketAddr::V6(address) = address else { return false };
    source.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || (*address.ip() == Ipv6Addr::LOCALHOST
            && source.kind() == io::ErrorKind::AddrNotAvailable)
}

fn is_kind(error: &Error, kind: io::ErrorKind) -> bool {
    matches!(error, Error::Os { source, .. } if source.kind() == kind)
}
