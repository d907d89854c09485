//! Worker processes: bind, fork, supervise.
//!
//! The right order is the whole idea, and Tornado's wrong one (listen, start the loop, then fork)
//! is refused: sockets are bound first, then the workers are forked, and each makes its own
//! reactor. The parent only waits: it starts crashed workers again, passes SIGTERM and SIGINT on,
//! and holds every listening socket open, so that connections which wait for a killed worker are
//! served by its successor. What is absent: threads, a pid file, a wire between parent and workers.
//! Under systemd, `activation` takes its sockets and `notify` tells it how things stand. Next: `bind`
//! (sockets), `supervisor` (the parent's decisions), `upgrade` (a new program takes over).
//!
//! ```no_run
//! use squall_reactor::workers::{Bind, fork_workers};
//!
//! let mut sockets = Bind::new("[::1]:8080").reuse_port(4).bind()?;
//! fork_workers(4, |index| {
//!     let listeners = sockets.take(index);
//!     // A reactor is made here, after the fork, and serves `listeners`.
//! #   drop(listeners);
//!     0
//! })?;
//! # Ok::<(), squall_reactor::Error>(())
//! ```

mod bind;
pub mod activation;
pub mod notify;
mod supervisor;
pub mod upgrade;

pub use bind::{Bind, Sockets, bind_sockets};

use std::ffi::c_int;
use std::time::{Duration, Instant};

use crate::signals::Signals;
use crate::sys::alive::Alive;
use crate::sys::process::{self, Alone, Child};
use crate::sys::signal::{self, Set, Unblocked};
use crate::{Error, Result};
use supervisor::{Do, Outcome, Supervisor};
use upgrade::{Upgrade, Upgrading};

/// Forks `workers` processes (0: one for each CPU), runs `worker` in each, and supervises them.
///
/// [`Workers`] with its defaults; there it says what happens.
///
/// # Errors
/// Those of [`Workers::run`].
///
/// # Examples
/// ```
/// use squall_reactor::workers::{bind_sockets, fork_workers};
///
/// let listeners = bind_sockets("127.0.0.1:0")?; // before the fork, and no reactor yet
/// let ended = fork_workers(2, |_worker| {
///     // A reactor is made here, and serves `listeners`.
///     0
/// });
/// # ended.ok();
/// # drop(listeners);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn fork_workers(workers: usize, worker: impl FnMut(usize) -> i32) -> Result<()> {
    Workers::new(workers).run(worker)
}

/// How worker processes are started again and ended.
///
/// # Examples
/// ```
/// use squall_reactor::workers::Workers;
/// use std::time::Duration;
///
/// let ended = Workers::new(2).restarts(10).grace(Duration::from_secs(5)).run(|worker| {
///     // A reactor is made here, after the fork.
///     println!("worker {worker}");
///     0
/// });
/// # ended.ok();
/// ```
#[derive(Debug)]
pub struct Workers {
    workers: usize,
    restarts: u32,
    grace: Duration,
    upgrade: Option<Upgrade>,
}

impl Workers {
    /// This many workers; 0 means one for each CPU that this process may use.
    pub fn new(workers: usize) -> Self {
        Self { workers, restarts: 100, grace: Duration::from_secs(30), upgrade: None }
    }

    /// How many restarts of crashed workers there may be in all, 100 by default.
    #[must_use]
    pub fn restarts(self, limit: u32) -> Self {
        Self { restarts: limit, ..self }
    }

    /// How long workers may take to end after a signal before SIGKILL, 30 s by default.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Lets a new program take over at SIGUSR2; see [`upgrade`].
    #[must_use]
    pub fn upgrade(self, upgrade: Upgrade) -> Self {
        Self { upgrade: Some(upgrade), ..self }
    }

    /// Forks, and returns in the parent when all workers have ended.
    ///
    /// In each child `worker` is called with the worker's index, and what it returns is the
    /// process's exit code: a child leaves by [`std::process::exit`] and never returns into its
    /// caller. A worker that panics, exits with another code than 0 or is ended by a signal is
    /// started again with the same index, at once if it ran for ten seconds, else after a delay
    /// that doubles from 10 ms to 1 s. A successor begins from the parent's memory, not from its
    /// predecessor's.
    ///
    /// The first SIGTERM or SIGINT ends the restarts; each one is passed on to all workers, and
    /// those that have not ended after the grace get SIGKILL. (At a terminal Ctrl-C reaches the
    /// workers directly, too.) No worker outlives the parent, however that ends: on Linux the
    /// kernel sees to it, for the workers themselves, not for processes that they start.
    ///
    /// The parent sleeps until something happens. It reaps its workers only; other children are
    /// the caller's. Whatever signal mask it was started with, it hears SIGCHLD, SIGTERM and
    /// SIGINT; mask and dispositions are put back in each child before `worker` runs, and in the
    /// parent before this returns.
    ///
    /// # System calls
    /// One `fork` and two or three small ones for each worker; one `poll` while nothing happens.
    ///
    /// # Errors
    /// - [`Error::Alive`] while a reactor or a pool exists in this process, and [`Error::Threads`]
    ///   unless it has exactly one thread: nothing has been forked.
    /// - [`Error::RestartLimit`] if one more worker crashed than may be restarted; all have been
    ///   ended, for a socket without its worker would queue connections for ever. Exit with 1.
    /// - [`Error::Os`] if the system refused the first fork or a call of the parent's own; no
    ///   worker runs any more.
    ///
    /// # Threads and fork
    /// Call it from the main thread: on Linux the workers end with the thread that forked them.
    /// The kernel forgets to end a worker with its parent when the worker changes its user
    /// (prctl(2), PR_SET_PDEATHSIG): drop privileges before the fork, or ask for it again after.
    /// Functions that the process registered with atexit(3) run in each child as well.
    pub fn run(self, mut worker: impl FnMut(usize) -> i32) -> Result<()> {
        upgrade::predecessor()?;
        let mut parent = Parent::new(self.upgrade.map(Upgrading::new))?;
        let count = bind::or_one_per_cpu(self.workers);
        let mut fleet = Fleet::new(count);
        let mut supervisor = Supervisor::new(count, self.restarts, self.grace, Instant::now());
        let mut refused = None;
        loop {
            match supervisor.next(Instant::now()) {
                Do::Start(index) => match parent.start(index, &mut worker) {
                    Ok(child) => {
                        fleet.children[index] = Some(child);
                        supervisor.started(index, Instant::now());
                    }
                    Err(error) => {
                        refused.get_or_insert(error);
                        supervisor.unstarted(index, Instant::now());
                    }
                },
                Do::Send(index, signal) => fleet.send(index, signal)?,
                Do::Wait(until) => {
                    parent.wait(until, &mut supervisor)?;
                    fleet.reap(&mut supervisor)?;
                }
                Do::End(Outcome::Done) => return Ok(()),
                Do::End(Outcome::RestartLimit(restarts)) => {
                    return Err(Error::RestartLimit { restarts });
                }
                Do::End(Outcome::Unstarted) => {
                    return Err(refused.expect("a start that failed has left its error"));
                }
            }
        }
    }
}

/// The parent's side: its proof, its signals, its mask. The fields are dropped in this order.
struct Parent {
    alone: Alone,
    pid: libc::pid_t,
    mask: Unblocked,
    /// None in a child, which closes what it has inherited.
    signals: Option<Signals>,
    /// The same.
    upgrading: Option<Upgrading>,
}

impl Parent {
    /// Law 6: nothing may live here that a child must not share.
    fn new(upgrading: Option<Upgrading>) -> Result<Self> {
        if let Some(what) = Alive::what() {
            return Err(Error::Alive { what });
        }
        let alone = Alone::check()?;
        let heard = [Signals::CHLD, Signals::TERM, Signals::INT].into_iter();
        let heard = heard.chain(upgrading.as_ref().map(Upgrading::signal));
        // The handlers first: a signal that was blocked comes as soon as it no longer is.
        let signals = Some(Signals::new(heard.clone())?);
        let mask = Unblocked::new(Set::new(heard)?)?;
        Ok(Self { alone, pid: process::id(), mask, signals, upgrading })
    }

    fn start(&mut self, index: usize, worker: &mut impl FnMut(usize) -> i32) -> Result<Child> {
        let Self { alone, pid, mask, signals, upgrading } = self;
        process::fork(alone, || {
            if !process::die_with(*pid) {
                process::exit_at_once(1);
            }
            signal::put_back_inherited();
            mask.put_back();
            drop(signals.take());
            if let Some(upgrading) = upgrading.take() {
                upgrading.leave();
            }
            worker(index)
        })
    }

    fn wait(&mut self, until: Option<Instant>, supervisor: &mut Supervisor) -> Result<()> {
        let signals = self.signals.as_ref().expect("only a child takes the signals out");
        let upgrading = self.upgrading.as_ref();
        let until = until.into_iter().chain(upgrading.and_then(Upgrading::next_deadline)).min();
        signals.wait(
            upgrading.and_then(Upgrading::word),
            until.map(|until| until.saturating_duration_since(Instant::now())),
        )?;
        for signal in signals.take()? {
            match (signal, &mut self.upgrading) {
                (Signals::CHLD, _) => {}
                (Signals::TERM | Signals::INT, upgrading) => {
                    upgrading.as_mut().map_or(Ok(()), Upgrading::give_up)?;
                    supervisor.signalled(signal, Instant::now());
                }
                (_, Some(upgrading)) => upgrading.ask(&self.alone, || {
                    signal::put_back_inherited();
                    self.mask.put_back();
                }),
                (_, None) => {}
            }
        }
        if let Some(upgrading) = &mut self.upgrading
            && upgrading.look()?
        {
            // The old workers drain, and nobody starts one again.
            supervisor.signalled(Signals::TERM, Instant::now());
        }
        Ok(())
    }
}

/// The workers that run. Dropped early, by an error, it ends them.
struct Fleet {
    children: Vec<Option<Child>>,
}

impl Fleet {
    fn new(count: usize) -> Self {
        Self { children: (0..count).map(|_| None).collect() }
    }

    fn send(&self, index: usize, signal: c_int) -> Result<()> {
        self.children[index].as_ref().map_or(Ok(()), |child| child.kill(signal))
    }

    /// Asks for each worker by its own number: waitpid(-1) would reap the caller's other children.
    fn reap(&mut self, supervisor: &mut Supervisor) -> Result<()> {
        for (index, place) in self.children.iter_mut().enumerate() {
            if let Some(child) = place
                && let Some(exit) = child.try_wait()?
            {
                *place = None;
                supervisor.exited(index, exit, Instant::now());
            }
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let killed = |child: &&Child| child.kill(libc::SIGKILL).is_ok();
        let killed: Vec<&Child> = self.children.iter().flatten().filter(killed).collect();
        for child in killed {
            // Nobody is left to tell how it ended.
            let _ = child.wait();
        }
    }
}
