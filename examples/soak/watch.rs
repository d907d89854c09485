//! The judge: what the workers say of themselves, and what the kernel says of them.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_support::client::Client;
use squall_support::proc::{Sample, Status, descriptors};

use crate::faults::Done;
use crate::plan::{Address, PATIENCE, WORKERS, Wrong};

/// How long a worker may take to begin, and a question's connection to end.
const BEGIN: Duration = Duration::from_millis(200);
/// After the load: pool threads above the minimum have ended, the watchdog has parked.
const SETTLE: Duration = Duration::from_millis(2500);
/// How long nothing may wake up.
const SILENCE: Duration = Duration::from_secs(1);
/// Growth of resident memory over the first third of the rounds that is no leak: what the
/// allocator keeps depends on chance. Measured: 3.3 to 3.7 MiB in all.
const SPARE_BYTES: u64 = 1 << 20;

/// The watch over the server's processes.
pub struct Watch {
    address: Address,
    supervisor: u32,
    supervisor_descriptors: usize,
    pids: Vec<u32>,
    /// Of each worker before any load.
    first: Vec<Figures>,
    first_descriptors: Vec<usize>,
    first_threads: Vec<u64>,
    /// Resident bytes of worker 0 at the end of each round.
    resident: Vec<u64>,
    before: Figures,
}

/// What a round left, for the eye.
#[derive(Debug)]
pub struct Rest {
    resident: u64,
    descriptors: usize,
    threads: u64,
    wakeups: u64,
    idle_wakeups: u64,
    begun: u64,
    calls: u64,
}

impl Watch {
    pub fn begin(address: &Address, supervisor: u32) -> Result<Self, Wrong> {
        let mut watch = Self {
            address: address.clone(),
            supervisor,
            supervisor_descriptors: 0,
            pids: Vec::new(),
            first: Vec::new(),
            first_descriptors: Vec::new(),
            first_threads: Vec::new(),
            resident: Vec::new(),
            before: Figures::default(),
        };
        for &asked in &address.asked {
            // What there is, is counted at the end of a turn; the first one may end before all is there.
            for _ in 0..3 {
                Figures::ask(asked)?;
                thread::sleep(BEGIN);
            }
            watch.first.push(Figures::ask(asked)?);
        }
        thread::sleep(BEGIN); // the questions' connections are gone
        for figures in &watch.first {
            let pid = figures.pid();
            watch.pids.push(pid);
            watch.first_descriptors.push(descriptors(pid).map_err(gone(pid))?);
            watch.first_threads.push(Status::read(pid).map_err(gone(pid))?.threads);
        }
        watch.supervisor_descriptors = descriptors(supervisor).map_err(gone(supervisor))?;
        watch.before = watch.first[0].clone();
        Ok(watch)
    }

    pub fn pids(&self) -> Vec<u32> {
        self.pids.clone()
    }

    /// Lets the workers begin things of their own, or no more.
    pub fn churn(&self, on: bool) -> Result<(), Wrong> {
        self.address.asked.iter().try_for_each(|&asked| switch(asked, on))
    }

    /// Waits for the workers to come to rest, and judges it.
    pub fn rest(&mut self, done: &Done) -> Result<Rest, Wrong> {
        self.pids.clone_from(&done.pids);
        let mut figures = Vec::new();
        for index in 0..WORKERS {
            figures.push(self.at_rest(index)?);
        }
        thread::sleep(SETTLE);
        for index in 0..WORKERS {
            self.nothing_is_left(index)?;
        }
        let open = descriptors(self.supervisor).map_err(gone(self.supervisor))?;
        if open != self.supervisor_descriptors {
            let before = self.supervisor_descriptors;
            return Err(Wrong(format!("the supervisor has {open} descriptors, at first {before}")));
        }
        self.silence()?;
        self.waking(&figures[0])?;
        let status = Status::read(self.pids[0]).map_err(gone(self.pids[0]))?;
        self.resident.push(status.resident_bytes);
        let since = |name: &str| figures[0].of(name) - self.before.of(name);
        let rest = Rest {
            resident: status.resident_bytes,
            descriptors: descriptors(self.pids[0]).map_err(gone(self.pids[0]))?,
            threads: status.threads,
            wakeups: since("wakeups"),
            idle_wakeups: since("idle_wakeups"),
            begun: since("begun"),
            calls: since("calls"),
        };
        self.before = figures.swap_remove(0);
        Ok(rest)
    }

    /// Memory after the first third of the rounds stays within what it was then.
    pub fn memory(&self) -> Result<(), Wrong> {
        let warm = self.resident.len().div_ceil(3);
        let (first, later) = self.resident.split_at(warm);
        let most = |bytes: &[u64]| bytes.iter().copied().max().unwrap_or(0);
        let (before, after) = (most(first), most(later));
        if after > before + SPARE_BYTES {
            let kib = |bytes: u64| bytes >> 10;
            let all: Vec<u64> = self.resident.iter().map(|&bytes| kib(bytes)).collect();
            return Err(Wrong(format!(
                "worker 0 grows: {} KiB at most in the first {warm} rounds, {} KiB later; {all:?}",
                kib(before),
                kib(after)
            )));
        }
        Ok(())
    }

    /// Everything that began has ended.
    fn at_rest(&self, index: usize) -> Result<Figures, Wrong> {
        let (asked, begin) = (self.address.asked[index], Instant::now());
        loop {
            let now = Figures::ask(asked)?;
            if now.pid() != self.pids[index] {
                let (old, new) = (self.pids[index], now.pid());
                return Err(Wrong(format!("worker {index} died by itself: pid {old}, now {new}")));
            }
            for name in ["spins", "panics", "calls_lost"] {
                if now.of(name) != 0 {
                    return Err(Wrong(format!("worker {index}: {name} {}", now.of(name))));
                }
            }
            let wrong = self.open(index, &now);
            if wrong.is_empty() {
                return Ok(now);
            }
            if begin.elapsed() > PATIENCE {
                let table = get(asked, "/snapshot").unwrap_or_default();
                return Err(Wrong(format!(
                    "worker {index} does not come to rest: {}\n{table}",
                    wrong.join(", ")
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What is still there, beyond what was there at first.
    fn open(&self, index: usize, now: &Figures) -> Vec<String> {
        let first = &self.first[index];
        let names = ["sources", "tasks", "timers", "connections", "jobs_open", "open"];
        let more = |name: &&str| now.of(name) > first.of(name);
        let say = |name: &str| format!("{} {name} (at first {})", now.of(name), first.of(name));
        names.into_iter().filter(more).map(say).collect()
    }

    fn nothing_is_left(&self, index: usize) -> Result<(), Wrong> {
        let pid = self.pids[index];
        let (open, first) = (descriptors(pid).map_err(gone(pid))?, self.first_descriptors[index]);
        if open > first {
            let list = links(pid);
            return Err(Wrong(format!(
                "worker {index} has {open} descriptors, at first {first}: {list}"
            )));
        }
        // The pool keeps one.
        let threads = Status::read(pid).map_err(gone(pid))?.threads;
        if threads > self.first_threads[index] + 1 {
            let first = self.first_threads[index];
            return Err(Wrong(format!("worker {index} has {threads} threads, at first {first}")));
        }
        Ok(())
    }

    /// Nobody wakes up and nobody uses the CPU, the supervisor neither (law 8).
    fn silence(&self) -> Result<(), Wrong> {
        let all: Vec<u32> = self.pids.iter().copied().chain([self.supervisor]).collect();
        let look = |pid: u32| {
            let sample = Sample::take(pid).map_err(gone(pid))?;
            Ok((switches(pid).map_err(gone(pid))?, sample))
        };
        let before = all.iter().map(|&pid| look(pid)).collect::<Result<Vec<_>, Wrong>>()?;
        thread::sleep(SILENCE);
        for (&pid, (switches, sample)) in all.iter().zip(&before) {
            let (later_switches, later) = look(pid)?;
            let (woken, load) = (later_switches.saturating_sub(*switches), later.since(sample));
            if woken > 0 || load.cpu > 0.01 {
                return Err(Wrong(format!(
                    "process {pid} is idle and was woken {woken} times in {SILENCE:?}, CPU {:.3}",
                    load.cpu
                )));
            }
        }
        Ok(())
    }

    /// Few of the wake-ups of the round were for nothing.
    fn waking(&self, now: &Figures) -> Result<(), Wrong> {
        let since = |name: &str| now.of(name) - self.before.of(name);
        let (wakeups, idle) = (since("wakeups"), since("idle_wakeups"));
        if idle > wakeups / 5 + 100 {
            return Err(Wrong(format!(
                "{idle} of {wakeups} wake-ups of worker 0 were for nothing"
            )));
        }
        Ok(())
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "worker 0: {} KiB, {} descriptors, {} threads, {} wake-ups ({} idle), {} begun, {} calls",
            self.resident >> 10,
            self.descriptors,
            self.threads,
            self.wakeups,
            self.idle_wakeups,
            self.begun,
            self.calls
        )
    }
}

/// A worker's figures, by name.
#[derive(Debug, Clone, Default)]
struct Figures(HashMap<String, u64>);

impl Figures {
    fn ask(address: SocketAddr) -> Result<Self, Wrong> {
        let text = get(address, "/ask").map_err(|error| Wrong(format!("no figures: {error}")))?;
        let figure = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(Self(text.lines().filter_map(figure).collect()))
    }

    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn pid(&self) -> u32 {
        self.of("pid") as u32
    }
}

/// The process that answers there.
pub fn pid_of(address: SocketAddr) -> Result<u32, Wrong> {
    Figures::ask(address).map(|figures| figures.pid())
}

/// Lets a worker begin things of its own, or no more.
pub fn switch(asked: SocketAddr, on: bool) -> Result<(), Wrong> {
    match get(asked, &format!("/churn/{}", u8::from(on))) {
        Ok(_) => Ok(()),
        Err(error) => Err(Wrong(format!("a worker does not hear: {error}"))),
    }
}

fn get(address: SocketAddr, target: &str) -> io::Result<String> {
    let mut client = Client::connect(address, PATIENCE)?;
    client.get(target)?;
    Ok(String::from_utf8_lossy(&client.answer(PATIENCE)?.body).into_owned())
}

/// How often the process's threads gave their CPU up to sleep: proc_pid_status(5).
fn switches(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

fn links(pid: u32) -> String {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return String::new() };
    let link = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        Some(format!("{} {}", entry.file_name().display(), target.display()))
    };
    entries.filter_map(link).collect::<Vec<_>>().join(", ")
}

fn gone(pid: u32) -> impl Fn(io::Error) -> Wrong {
    move |error| Wrong(format!("process {pid} is gone: {error}"))
}
