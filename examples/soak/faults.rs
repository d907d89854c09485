//! The faults of one round: descriptors that run out, and a worker that is killed.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use squall_support::child::kill;
use squall_support::limits::set_open_files;
use squall_support::proc::descriptors;

use crate::plan::{Address, Chance, PATIENCE, Plan, VICTIM, WORKERS, Wrong};
use crate::watch::pid_of;

/// A thread that does harm until it is told to finish.
pub struct Faults {
    kills: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Done, Wrong>>,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Done {
    /// The workers that must be there now.
    pub pids: Vec<u32>,
    kills: u64,
    shortages: u64,
    /// How often in a shortage the worker was seen with no descriptor left.
    exhausted: u64,
}

struct Harm {
    address: Address,
    chance: Chance,
    /// Two to four times a round each.
    pause: Duration,
    kills: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    done: Done,
}

impl Faults {
    pub fn start(address: &Address, plan: &Plan, round: u64, pids: Vec<u32>) -> Self {
        let (kills, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut harm = Harm {
            address: address.clone(),
            chance: Chance::new(plan.seed ^ round, u64::MAX),
            pause: plan.load / 6,
            kills: Arc::clone(&kills),
            stop: Arc::clone(&stop),
            done: Done { pids, kills: 0, shortages: 0, exhausted: 0 },
        };
        let thread = thread::spawn(move || {
            while !harm.stop.load(SeqCst) {
                harm.wait();
                match harm.chance.below(2) {
                    0 => harm.kill()?,
                    _ => harm.exhaust()?,
                }
            }
            Ok(harm.done)
        });
        Self { kills, stop, thread }
    }

    /// How many workers were killed so far: the excuse of a client that lost its connection.
    pub fn kills(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.kills)
    }

    pub fn finish(self) -> Result<Done, Wrong> {
        self.stop.store(true, SeqCst);
        self.thread.join().map_err(|_| Wrong("the faults' thread panicked".to_owned()))?
    }
}

impl Harm {
    fn wait(&mut self) {
        let time = self.pause / 2 + self.chance.up_to_ms(self.pause.as_millis().max(1) as u64);
        let begin = Instant::now();
        while begin.elapsed() < time && !self.stop.load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, and wait for the successor.
    fn kill(&mut self) -> Result<(), Wrong> {
        let killed = self.done.pids[VICTIM];
        // Counted first: its clients see it at once.
        self.kills.fetch_add(1, SeqCst);
        self.done.kills += 1;
        kill(killed, libc::SIGKILL).map_err(|e| Wrong(format!("worker {VICTIM} is gone: {e}")))?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            match pid_of(self.address.asked[VICTIM]) {
                Ok(pid) if pid != killed => {
                    self.done.pids[VICTIM] = pid;
                    crate::watch::switch(self.address.asked[VICTIM], true)?;
                    return Ok(());
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(Wrong(format!("worker {VICTIM} was killed, and {PATIENCE:?} later has no successor")))
    }

    /// Takes all but a few descriptors away for a moment.
    fn exhaust(&mut self) -> Result<(), Wrong> {
        let index = self.chance.below(WORKERS as u64) as usize;
        let pid = self.done.pids[index];
        let wrong = |error: io::Error| Wrong(format!("worker {index}'s limit: {error}"));
        let few = descriptors(pid).map_err(wrong)? as u64 + self.chance.below(3);
        let before = set_open_files(pid, few).map_err(wrong)?;
        self.done.shortages += 1;
        for _ in 0..20 + self.chance.below(100) {
            thread::sleep(Duration::from_millis(10));
            let open = descriptors(pid).map_err(wrong)? as u64;
            self.done.exhausted += u64::from(open >= few);
        }
        set_open_files(pid, before).map_err(wrong)?;
        Ok(())
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, shortages, exhausted, .. } = self;
        write!(
            f,
            "{kills} killed, {shortages} shortages of descriptors ({exhausted} times none left)"
        )
    }
}
