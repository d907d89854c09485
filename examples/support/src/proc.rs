//! What /proc says of a process: CPU per thread, switches, descriptors. Read from outside, without
//! a word to the process.
//!
//! The figure that matters is `schedstat` of each thread: time on a CPU and time in the run queue,
//! in nanoseconds (`stat` counts in ticks). Their sum over the wall clock is how much a thread
//! *wanted* to run: 1.0 for a spinning loop, also when a compiler takes half of its CPU from it;
//! near 0 for a loop that sleeps. Next: `page`.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// The CPU time of every thread of one process at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Instant,
    threads: Vec<Thread>,
}

impl Sample {
    /// Reads /proc/PID/task/*/schedstat. On a kernel without it the ticks of /proc/PID/stat must
    /// do, as one thread.
    ///
    /// # Errors
    /// `NotFound` if there is no such process.
    pub fn take(pid: u32) -> io::Result<Self> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some((run, waited)) = schedstat(pid, tid) {
                threads.push(Thread { tid, run, waited });
            }
        }
        if threads.is_empty() {
            let stat = Stat::read(pid)?;
            threads.push(Thread { tid: pid, run: stat.cpu, waited: Duration::ZERO });
        }
        Ok(Self { at: Instant::now(), threads })
    }

    /// What the process did from `earlier` to this sample.
    pub fn since(&self, earlier: &Self) -> Load {
        let wall = (self.at - earlier.at).as_secs_f64().max(1e-9);
        let mut load = Load { cpu: 0.0, hottest: 0.0 };
        for thread in &self.threads {
            let before = earlier.threads.iter().find(|before| before.tid == thread.tid);
            let (run, waited) = match before {
                Some(t) => {
                    (thread.run.saturating_sub(t.run), thread.waited.saturating_sub(t.waited))
                }
                None => (thread.run, thread.waited), // began in between
            };
            load.cpu += run.as_secs_f64() / wall;
            load.hottest = load.hottest.max((run + waited).as_secs_f64() / wall);
        }
        load
    }
}

/// What a process did between two samples; 1.0 is one CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Time on a CPU, all threads together.
    pub cpu: f64,
    /// The thread that wanted most to run: time on a CPU and in the run queue.
    pub hottest: f64,
}

/// Some of /proc/PID/stat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The name of the program, cut to 15 bytes by the kernel.
    pub name: String,
    /// `R` running, `S` sleeping, `Z` ended and not yet waited for, and others: proc_pid_stat(5).
    pub state: char,
    /// The parent's pid.
    pub parent: u32,
    /// User and system time, in ticks of 10 ms on most systems.
    pub cpu: Duration,
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    /// `NotFound` if there is no such process, `InvalidData` if the line is not as
    /// proc_pid_stat(5) says.
    pub fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        parse_stat(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

/// Some of /proc/PID/status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Threads alive.
    pub threads: u64,
    /// How often the main thread gave its CPU up to sleep. A spinning loop's stands still.
    pub voluntary_switches: u64,
    /// How often its CPU was taken from it.
    pub involuntary_switches: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

impl Status {
    /// Reads it. A line that is missing (a zombie has no memory) counts as 0.
    ///
    /// # Errors
    /// `NotFound` if there is no such process.
    pub fn read(pid: u32) -> io::Result<Self> {
        Ok(parse_status(&fs::read_to_string(format!("/proc/{pid}/status"))?))
    }
}

/// How many descriptors the process has open.
///
/// # Errors
/// `NotFound` if there is no such process, `PermissionDenied` if it is somebody else's.
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[derive(Debug, Clone)]
struct Thread {
    tid: u32,
    run: Duration,
    waited: Duration,
}

fn schedstat(pid: u32, tid: u32) -> Option<(Duration, Duration)> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    let mut fields = text.split_whitespace().map(|field| field.parse().map(Duration::from_nanos));
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name stands in parentheses and may itself hold spaces and parentheses: take the last.
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect(); // fields[0] is number 3, state
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Stat {
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_second()),
    })
}

fn parse_status(text: &str) -> Status {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Status {
        threads: number("Threads"),
        voluntary_switches: number("voluntary_ctxt_switches"),
        involuntary_switches: number("nonvoluntary_ctxt_switches"),
        resident_bytes: number("VmRSS") * 1024,
    }
}

fn ticks_per_second() -> f64 {
    // SAFETY: reads a constant of the system.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) R 7 (b)) S 7 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) R 7 (b)", 'S', 7));
        assert!(stat.cpu > Duration::ZERO);
        assert!(parse_stat("").is_none());
        assert!(parse_stat("1 (x) S").is_none());
    }

    #[test]
    fn a_status_line_is_found_by_its_whole_name() {
        let text = "VmRSS:\t  8 kB\nThreads:\t3\nvoluntary_ctxt_switches:\t5\n\
                    nonvoluntary_ctxt_switches:\t6\n";
        let status = parse_status(text);
        assert_eq!((status.threads, status.resident_bytes), (3, 8192));
        assert_eq!((status.voluntary_switches, status.involuntary_switches), (5, 6));
    }

    // A spinning thread wants its CPU all the time, a sleeping one never: this ratio is what the
    // verdicts rest on.
    #[test]
    fn a_spinning_thread_is_hot_and_a_waiting_one_is_not() {
        let (stop, stopped) = mpsc::channel::<()>();
        let spinner = thread::spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        });
        let before = Sample::take(process::id()).unwrap();
        thread::sleep(Duration::from_millis(300));
        let load = Sample::take(process::id()).unwrap().since(&before);
        drop(stop);
        spinner.join().unwrap();
        assert!(load.hottest > 0.6, "{load:?}");
        assert!(load.cpu > 0.0, "{load:?}");
        let threads = Sample::take(process::id()).unwrap().threads;
        assert!(threads.iter().any(|thread| thread.tid == process::id()));
    }

    #[test]
    fn this_process_has_a_parent_and_descriptors_and_a_dead_one_has_nothing() {
        assert_ne!(Stat::read(process::id()).unwrap().parent, 0);
        assert!(descriptors(process::id()).unwrap() >= 3);
        assert!(Status::read(process::id()).unwrap().threads >= 1);
        assert!(Stat::read(u32::MAX).is_err());
        assert!(Sample::take(u32::MAX).is_err());
    }
}
