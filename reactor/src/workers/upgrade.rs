//! Hot upgrade: the new program takes over the listening sockets, and then the old one drains.
//!
//! SIGUSR2 to the parent starts its program anew, with every listening socket passed as systemd
//! passes them (LISTEN_FDS and LISTEN_FDNAMES, sd_listen_fds(3)). The sockets are the same ones, so
//! nobody is refused and no queue is lost, whoever accepts. Once a worker of the new program says
//! [`ready`], over a socket pair that it has inherited, the old workers get SIGTERM; a new program
//! that ends before that, or takes too long, is ended, and the old one goes on. What is absent: Unix
//! and datagram sockets, state other than sockets, and the decisions, which are `attempt`'s. Next: the
//! parent module.

mod attempt;

use std::env;
use std::ffi::{OsStr, OsString, c_int};
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::activation::{Activated, Socket, listen_fds};
use super::bind::{Bind, Sockets};
use super::notify;
use crate::signals::Signals;
use crate::sys::passed;
use crate::sys::process::{self, Alone, Child, Exit};
use crate::{Error, Result};
use attempt::{Attempt, Do};

/// How a new program takes the place of this one; for [`Workers::upgrade`](super::Workers::upgrade).
///
/// Put the new program where the old one is (by rename, for a program that runs cannot be written),
/// and send SIGUSR2 to the parent. Its program is started again with the same arguments and the
/// listening sockets; [`Bind::inherit_or_bind`] finds them there, and [`ready`] says that they are
/// served. Then the old workers drain, as after SIGTERM, and `run` returns. If the new program ends
/// before it is ready, or is not ready in time, nothing has changed. Requests are answered by both
/// meanwhile; none is refused.
///
/// Under systemd (Type=notify) the old parent tells it the new one's number (`MAINPID=`), which it
/// must do before it ends, or systemd would take the service for ended. If systemd cannot be told,
/// the upgrade has failed. Elsewhere whoever keeps the number of the process must learn the new one:
/// [`on_progress`](Self::on_progress) tells it. The new parent is a child of the old one until that ends.
///
/// # Examples
/// ```no_run
/// use squall_reactor::workers::{Bind, Workers, upgrade};
///
/// let mut sockets = Bind::new("[::1]:8080").reuse_port(2).inherit_or_bind()?;
/// let upgrade = upgrade::Upgrade::new(&sockets)?.on_progress(|progress| eprintln!("{progress}"));
/// Workers::new(2).upgrade(upgrade).run(|index| {
///     let listeners = sockets.take(index);
///     // A reactor is made here and serves `listeners`; then:
///     upgrade::ready().map_or(1, |_| 0)
/// #   ; drop(listeners); 0
/// })?;
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub struct Upgrade {
    program: OsString,
    args: Vec<OsString>,
    signal: c_int,
    patience: Duration,
    /// Duplicates, each with the set that it belongs to.
    sockets: Vec<(usize, TcpListener)>,
    tell: Option<Box<dyn FnMut(Progress)>>,
}

/// What becomes of an upgrade.
///
/// # Examples
/// ```
/// use squall_reactor::workers::upgrade::Progress;
///
/// assert_eq!(Progress::Replaced { pid: 7 }.to_string(), "process 7 has taken over");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The new program has been started.
    Started {
        /// The number of its process.
        pid: i32,
    },
    /// It is ready; the old workers drain now.
    Replaced {
        /// The number of its process.
        pid: i32,
    },
    /// It could not be started, has ended, or was not ready in time. The old workers go on.
    Failed {
        /// Its exit code, 127 if the program could not be executed; none if a signal ended it, or
        /// it was not even forked.
        code: Option<i32>,
    },
}

impl Upgrade {
    /// Passes these sockets on, at SIGUSR2, to the program that this process was started as (its
    /// argument 0, which may be a symbolic link that leads elsewhere by then), with the same
    /// arguments.
    ///
    /// # System calls
    /// One `fcntl` for each socket: it keeps duplicates.
    ///
    /// # Errors
    /// [`Error::Os`] if descriptors run out.
    pub fn new(sockets: &Sockets) -> Result<Self> {
        let mut args = env::args_os();
        let program = args.next().unwrap_or_default();
        let sockets = sockets.duplicates().map_err(Error::os("fcntl(F_DUPFD_CLOEXEC)"))?;
        let (signal, patience) = (Signals::USR2, Duration::from_secs(60));
        Ok(Self { program, args: args.collect(), signal, patience, sockets, tell: None })
    }

    /// Starts this program instead, with these arguments.
    #[must_use]
    pub fn program<A: AsRef<OsStr>>(
        mut self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        self.program = program.as_ref().to_owned();
        self.args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self
    }

    /// Listens to another signal than SIGUSR2. (SIGTERM, SIGINT and SIGCHLD keep their meaning.)
    #[must_use]
    pub fn signal(mut self, signal: c_int) -> Self {
        self.signal = signal;
        self
    }

    /// How long the new program may take until it is ready, 60 s by default. Then it gets SIGTERM,
    /// and after as long again SIGKILL.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Calls `tell` in the parent with each step.
    #[must_use]
    pub fn on_progress(mut self, tell: impl FnMut(Progress) + 'static) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }
}

/// Tells the program that this one replaces that it may drain; false if there is none (any more).
///
/// To be called in a worker, once it serves; the first one's word is enough, for what the others do
/// not take yet waits in their queues. A server without workers may call it too.
///
/// # System calls
/// One `sendto`; at the first call two more. None if nobody is replaced.
///
/// # Errors
/// [`Error::Argument`] if SQUALL_UPGRADE is not what an [`Upgrade`] sets.
///
/// # Examples
/// ```
/// use squall_reactor::workers::upgrade;
///
/// assert!(!upgrade::ready()?); // this process replaces nobody
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn ready() -> Result<bool> {
    let Some(mut predecessor) = predecessor()? else { return Ok(false) };
    // A predecessor that does not listen any more has gone, or has drained already.
    Ok(predecessor.write_all(&[0]).is_ok())
}

impl Bind {
    /// Takes the listening sockets that this program was started with, by the program that it
    /// replaces ([`Upgrade`]) or by systemd ([`listen_fds`]); without any it [`bind`](Bind::bind)s.
    ///
    /// Sockets that come from a predecessor keep to their workers; if it had more workers, some of
    /// ours get several. All workers share those of systemd. Addresses and options are what they
    /// were: those given here count only when it binds.
    ///
    /// # Errors
    /// Those of [`listen_fds`] and of [`bind`](Bind::bind), and [`Error::Argument`] if something
    /// else than a TCP listener was passed.
    pub fn inherit_or_bind(self) -> Result<Sockets> {
        let passed = listen_fds()?;
        if passed.is_empty() {
            return self.bind();
        }
        let mut sockets = Sockets::empty();
        for Activated { name, socket } in passed {
            let Socket::Tcp(listener) = socket else {
                return Err(Error::Argument("something else than a TCP listener was passed"));
            };
            sockets.add(set_of(&name, self.sets()), listener)?;
        }
        Ok(sockets)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { pid } => write!(f, "process {pid} starts to take over"),
            Self::Replaced { pid } => write!(f, "process {pid} has taken over"),
            Self::Failed { code: Some(code) } => {
                write!(f, "the new program ended with {code}: the old one goes on")
            }
            Self::Failed { code: None } => {
                f.write_str("the new program did not start: the old one goes on")
            }
        }
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

/// The parent's side of it.
#[derive(Debug)]
pub(super) struct Upgrading {
    upgrade: Upgrade,
    attempt: Attempt,
    successor: Option<Successor>,
}

/// The new program, until it has taken over.
#[derive(Debug)]
struct Successor {
    child: Child,
    /// It becomes readable when somebody there says that he is ready; none once nobody can.
    word: Option<UnixStream>,
}

impl Upgrading {
    pub(super) fn new(upgrade: Upgrade) -> Self {
        let attempt = Attempt::new(upgrade.patience);
        Self { upgrade, attempt, successor: None }
    }

    pub(super) fn signal(&self) -> c_int {
        self.upgrade.signal
    }

    /// The signal came. `undo` is what the child must do before it becomes the new program.
    pub(super) fn ask(&mut self, alone: &Alone, undo: impl FnOnce()) {
        if self.attempt.asked(Instant::now()) == Do::Start {
            match start(&self.upgrade, alone, undo) {
                Ok(successor) => {
                    self.tell(Progress::Started { pid: successor.child.pid() });
                    self.successor = Some(successor);
                }
                Err(_) => {
                    self.attempt.ended();
                    self.tell(Progress::Failed { code: None });
                }
            }
        }
    }

    /// Something may have happened; true if the new program has taken over now.
    pub(super) fn look(&mut self) -> Result<bool> {
        let Some(successor) = &mut self.successor else { return Ok(false) };
        let pid = successor.child.pid();
        let said = successor.word.as_mut().map(|word| word.read(&mut [0]));
        let exit = successor.child.try_wait()?;
        let mut order = match said {
            Some(Ok(1..)) => self.attempt.ready(),
            Some(Ok(0)) => {
                // Nobody there has the other end any more; it would be readable for ever.
                successor.word = None;
                self.attempt.silenced(Instant::now())
            }
            Some(Err(_)) | None => Do::Nothing,
        };
        if order == Do::HandOver {
            if exit.is_none() && notify::send(&format!("MAINPID={pid}")).is_ok() {
                self.successor = None;
                self.tell(Progress::Replaced { pid });
                return Ok(true);
            }
            order = self.attempt.unheard(Instant::now());
        }
        if let Some(exit) = exit {
            self.attempt.ended();
            self.successor = None;
            self.tell(Progress::Failed { code: code(exit) });
            return Ok(false);
        }
        if order == Do::Nothing {
            order = self.attempt.tick(Instant::now());
        }
        self.carry_out(order)?;
        Ok(false)
    }

    /// This program is to end, so nobody takes its place.
    pub(super) fn give_up(&mut self) -> Result<()> {
        let order = self.attempt.stop();
        self.carry_out(order)
    }

    /// Until when there is nothing to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.attempt.next_deadline()
    }

    /// What tells of the new program.
    pub(super) fn word(&self) -> Option<BorrowedFd<'_>> {
        self.successor.as_ref()?.word.as_ref().map(UnixStream::as_fd)
    }

    /// In a worker: what it has inherited is closed, and nobody is sent anything.
    pub(super) fn leave(mut self) {
        self.successor = None;
    }

    fn carry_out(&self, order: Do) -> Result<()> {
        match (order, &self.successor) {
            (Do::Send(signal), Some(successor)) => successor.child.kill(signal),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, progress: Progress) {
        if let Some(tell) = &mut self.upgrade.tell {
            tell(progress);
        }
    }
}

impl Drop for Upgrading {
    /// An attempt that is cut short by an error of the parent's; in a child `leave` comes first.
    fn drop(&mut self) {
        let _ = self.give_up();
    }
}

/// Forks, and becomes the new program in the child.
fn start(upgrade: &Upgrade, alone: &Alone, undo: impl FnOnce()) -> Result<Successor> {
    let (word, theirs) = UnixStream::pair().map_err(Error::os("socketpair"))?;
    word.set_nonblocking(true).map_err(Error::os("fcntl(F_SETFL)"))?;
    let child = process::fork(alone, || {
        undo();
        become_successor(upgrade, theirs.into())
    })?;
    Ok(Successor { child, word: Some(word) })
}

/// The environment is systemd's, and a variable of our own: the numbers of this process, and of the
/// descriptor behind the sockets, on which [`ready`] gives its word.
fn become_successor(upgrade: &Upgrade, word: OwnedFd) -> ! {
    let pid = process::id().to_string();
    let count = upgrade.sockets.len();
    let names: Vec<String> = upgrade.sockets.iter().map(|(set, _)| name_of(*set)).collect();
    let mut command = Command::new(&upgrade.program);
    command.args(&upgrade.args);
    command.env("LISTEN_PID", &pid).env("LISTEN_FDS", count.to_string());
    command.env("LISTEN_FDNAMES", names.join(":"));
    command.env(VARIABLE, format!("{pid}:{}", passed::number(count)));
    if env::var_os("WATCHDOG_PID").is_some() {
        // systemd's watch goes over to the new main process.
        command.env("WATCHDOG_PID", &pid);
    }
    let mut fds: Vec<BorrowedFd<'_>> =
        upgrade.sockets.iter().map(|(_, listener)| listener.as_fd()).collect();
    fds.push(word.as_fd());
    passed::exec(&mut command, &fds)
}

/// The end of the socket pair that the predecessor has passed; taken once, before the workers are
/// forked, who inherit it.
pub(super) fn predecessor() -> Result<Option<&'static UnixStream>> {
    static PREDECESSOR: OnceLock<Option<UnixStream>> = OnceLock::new();
    if let Some(known) = PREDECESSOR.get() {
        return Ok(known.as_ref());
    }
    let value = env::var(VARIABLE).ok();
    let word = match number(value.as_deref(), process::id())? {
        Some(number) => passed::take_one(number)?.map(UnixStream::from),
        None => None,
    };
    Ok(PREDECESSOR.get_or_init(|| word).as_ref())
}

const VARIABLE: &str = "SQUALL_UPGRADE";

/// The descriptor in `PID:NUMBER`, if it is meant for the process `own`.
fn number(value: Option<&str>, own: i32) -> Result<Option<i32>> {
    let Some(value) = value else { return Ok(None) };
    let numbers = value.split_once(':').and_then(|(pid, number)| {
        let number = number.parse::<i32>().ok().filter(|number| *number >= passed::FIRST)?;
        Some((pid.parse::<i32>().ok()?, number))
    });
    let Some((pid, number)) = numbers else {
        return Err(Error::Argument("SQUALL_UPGRADE is not PID:DESCRIPTOR"));
    };
    Ok((pid == own).then_some(number))
}

fn name_of(set: usize) -> String {
    format!("{NAME}{set}")
}

const NAME: &str = "worker-";

/// The set of a passed socket, where there are `sets`: no socket may be left without a worker. All
/// workers share what has another name.
fn set_of(name: &str, sets: usize) -> usize {
    let set = name.strip_prefix(NAME).and_then(|set| set.parse::<usize>().ok());
    set.map_or(0, |set| set % sets.max(1))
}

fn code(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_goes_to_the_process_that_it_names() {
        assert_eq!(number(Some("7:5"), 7).ok(), Some(Some(5)));
        assert_eq!(number(Some("8:5"), 7).ok(), Some(None));
        assert_eq!(number(None, 7).ok(), Some(None));
        for wrong in ["", "7", "7:", ":5", "7:5:6", "seven:5", "7:two", "7:2", "7:-1"] {
            assert!(number(Some(wrong), 7).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_socket_is_left_without_a_worker() {
        let sets = |count| ["worker-0", "worker-1", "worker-2"].map(|name| set_of(name, count));
        assert_eq!(sets(3), [0, 1, 2]);
        assert_eq!(sets(4), [0, 1, 2]); // and worker 3 shares one, see `Sockets::take`
        assert_eq!(sets(2), [0, 1, 0]);
        assert_eq!(sets(1), [0, 0, 0]);
        for systemd_s in ["web", "worker-", "worker-x", "unknown", ""] {
            assert_eq!(set_of(systemd_s, 2), 0, "{systemd_s}");
        }
        assert_eq!(name_of(2), "worker-2");
    }
}
