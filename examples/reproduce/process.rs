//! A server as a process: started, watched and ended.
//!
//! Its figures come from two places, neither of which disturbs it: /proc for the CPU, the page for
//! what it counts itself. Dropping a [`Server`] ends it with its workers. Next: `exchange`.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use squall_support::child::Child;
use squall_support::page;
use squall_support::proc::Sample;

use crate::counters::Counters;
use crate::rows::{Row, System};
use crate::server::{Job, REFUSED};
use crate::tornado;
use crate::verdict::Pace;

/// How long a server may take to start. Tornado on a busy machine takes seconds.
const STARTUP: Duration = Duration::from_secs(30);

/// A server process with its workers.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    log: File,
    counters: Counters,
    pids: Vec<u32>,
}

/// How a start went.
#[derive(Debug)]
pub enum Started {
    Serving(Server),
    /// It would not, and says why.
    Refused(String),
}

impl Server {
    /// Starts the row's server and waits until each worker waits for events.
    pub fn start(row: &Row, hold: Duration, python: Option<&str>) -> Result<Started, String> {
        let Row { start, trigger, handler, .. } = *row;
        let job = Job { start, trigger, handler, hold };
        let mut command = match row.system {
            System::Naive | System::Squall => job.command(&row.system.to_string()),
            System::Tornado { .. } => tornado::command(python.unwrap_or("python3"), &job),
        };
        Self::spawn(&mut command, row.workers()).map_err(|e| format!("cannot start it: {e}"))?
    }

    fn spawn(command: &mut Command, workers: usize) -> io::Result<Result<Started, String>> {
        let counters = Counters::create()?;
        let log = page::memory_file()?;
        command.stdin(counters.stdin()?).stdout(Stdio::null()).stderr(log.try_clone()?);
        let child = Child::spawn(command)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { address, child, log, counters, pids: Vec::new() };
        let deadline = Instant::now() + STARTUP;
        loop {
            let pids = (0..workers).map(|index| server.counters.worker(index).pid());
            if let (Some(port), Some(pids)) = (server.counters.port(), pids.collect()) {
                server.address.set_port(port);
                server.pids = pids;
                return Ok(Ok(Started::Serving(server)));
            }
            if let Some(status) = server.child.exit_status()? {
                let log = server.log();
                return Ok(match status.code() {
                    Some(REFUSED) => Ok(Started::Refused(log.trim().to_owned())),
                    _ => Err(format!("the server ended at once, {status}{log}")),
                });
            }
            if Instant::now() > deadline {
                return Ok(Err(format!("the server does not start{}", server.log())));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the server wrote on its standard error, after a line feed.
    pub fn log(&self) -> String {
        let mut text = vec![0; 4096];
        let n = self.log.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..n]);
        if text.trim().is_empty() { String::new() } else { format!("\n{}", text.trim_end()) }
    }

    /// Slow handlers begun, and those returned, of all workers.
    pub fn handlers(&self) -> (u64, u64) {
        let each = (0..self.pids.len()).map(|index| self.counters.worker(index).handlers());
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Connections accepted by the worker that has the fewest.
    pub fn least_accepted(&self) -> u64 {
        let each = (0..self.pids.len()).map(|index| self.counters.worker(index).accepted());
        each.min().unwrap_or(0)
    }

    /// The figures of each worker, now.
    pub fn snapshot(&self) -> io::Result<Vec<Snapshot>> {
        let worker = |(index, &pid): (usize, &u32)| {
            let wakeups = self.counters.worker(index).wakeups();
            Ok(Snapshot { at: Instant::now(), cpu: Sample::take(pid)?, wakeups })
        };
        self.pids.iter().enumerate().map(worker).collect()
    }
}

/// One worker's figures at one moment.
#[derive(Debug)]
pub struct Snapshot {
    at: Instant,
    cpu: Sample,
    wakeups: (u64, u64),
}

impl Snapshot {
    pub fn since(&self, earlier: &Self) -> Pace {
        let wall = (self.at - earlier.at).as_secs_f64().max(1e-9);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / wall;
        let load = self.cpu.since(&earlier.cpu);
        Pace {
            cpu: load.cpu,
            hot: load.hottest,
            wakeups: rate(self.wakeups.0, earlier.wakeups.0),
            idle_wakeups: rate(self.wakeups.1, earlier.wakeups.1),
        }
    }
}
