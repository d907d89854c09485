//! The threads of a pool, and what they share with its handles.
//!
//! A thread asks the queue for a job, does it, and asks again, until the queue lets it go. Nobody
//! joins it: a job that is stuck must hold up nobody. What a thread does besides is in `queue`
//! (when to wait) and `job` (what can go wrong). Next: `run`.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;

use crate::error::Error;
use crate::pool::job::{Counters, Job};
use crate::pool::queue::{Comes, Placed, Queue, Refusal};
use crate::sys::alive::Alive;
use crate::sys::fork::Born;

/// One pool, as its handles, futures and threads see it.
pub(super) struct Shared {
    /// Compared before anything else is touched: in a forked child every lock is suspect (law 6).
    pub(super) born: Born,
    pub(super) name: String,
    pub(super) queue: Queue<Arc<dyn Job>>,
    pub(super) counters: Counters,
    /// Until the last handle and the last thread are gone `fork_workers` refuses.
    pub(super) _alive: Alive,
}

impl Shared {
    /// Queues a job, beyond the capacity if need be; gives its serial.
    pub(super) fn push(self: &Arc<Self>, job: Arc<dyn Job>) -> Result<u64, Refusal> {
        let placed = self.queue.push(job).map_err(|(_, refusal)| refusal)?;
        Ok(self.staff(placed))
    }

    /// Queues a job if it finds a thread or room; gives its serial.
    pub(super) fn offer(self: &Arc<Self>, job: Arc<dyn Job>) -> Result<u64, Refusal> {
        let placed = self.queue.offer(job).map_err(|(_, refusal)| refusal)?;
        Ok(self.staff(placed))
    }

    pub(super) fn thread_name(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// Starts the thread that a job was promised. Without it the other threads see to the job; if
    /// there are none, all that is queued fails as the start did.
    fn staff(self: &Arc<Self>, placed: Placed) -> u64 {
        if let Some(number) = placed.start
            && let Err(error) = self.start(number)
        {
            for job in self.queue.start_failed() {
                let source = io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0));
                job.refuse(Error::Os { call: "pthread_create", source }, &self.counters);
            }
        }
        placed.serial
    }

    fn start(self: &Arc<Self>, number: u64) -> io::Result<()> {
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name(self.thread_name(number));
        thread.spawn(move || work(shared, number)).map(drop)
    }
}

fn work(shared: Arc<Shared>, number: u64) {
    let mut comes = Comes::New;
    while let Some(job) = shared.queue.take(number, comes) {
        job.run(shared.born, &shared.counters);
        if shared.born.forked() {
            // The closure has forked, and this is the child: its only thread ends here.
            return mem::forget((job, shared));
        }
        comes = Comes::Back;
    }
}
