//! What to do when a worker ends or a signal comes: a machine without a system call.
//!
//! It is told what happened and what time it is ([`Supervisor::exited`] and its neighbours), and
//! says what to do next ([`Supervisor::next`], asked until it answers [`Do::Wait`]). Three things
//! end a worker's restarts: it exits with 0, a signal was passed on, or the limit is reached; the
//! last two end all workers. What is absent: processes and clocks, which are the parent module's.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use crate::sys::process::Exit;

/// The state of all workers of one parent.
#[derive(Debug)]
pub(super) struct Supervisor {
    workers: Vec<Worker>,
    stop: Option<Stop>,
    orders: VecDeque<(usize, c_int)>,
    restarts: u32,
    limit: u32,
    grace: Duration,
}

/// What the caller must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Do {
    /// Fork this worker, then report [`Supervisor::started`] or [`Supervisor::unstarted`].
    Start(usize),
    /// Send this worker a signal.
    Send(usize, c_int),
    /// Wait for an exit or a signal, but no longer than this.
    Wait(Option<Instant>),
    /// All workers have ended.
    End(Outcome),
}

/// How it all ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By themselves with code 0, or after a signal that was passed on.
    Done,
    /// Ended by us: more restarts than this were needed.
    RestartLimit(u32),
    /// Ended by us: a worker could not be forked for the first time.
    Unstarted,
}

impl Supervisor {
    /// All workers are due at once.
    pub(super) fn new(workers: usize, limit: u32, grace: Duration, now: Instant) -> Self {
        let due = Worker { phase: Phase::Due { at: now }, delay: Duration::ZERO, starts: 0 };
        Self {
            workers: vec![due; workers],
            stop: None,
            orders: VecDeque::new(),
            restarts: 0,
            limit,
            grace,
        }
    }

    /// The worker of the last [`Do::Start`] runs.
    pub(super) fn started(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        worker.phase = Phase::Running { since: now };
        worker.starts = worker.starts.saturating_add(1);
    }

    /// The worker of the last [`Do::Start`] could not be forked.
    ///
    /// The first time that is an error of the whole; later it is one more crash, for memory may be
    /// short for a moment and the other workers are serving.
    pub(super) fn unstarted(&mut self, index: usize, now: Instant) {
        if self.workers[index].starts == 0 {
            self.workers[index].phase = Phase::Ended;
            self.stop(Outcome::Unstarted, libc::SIGTERM, now);
        } else {
            self.crashed(index, Duration::ZERO, now);
        }
    }

    /// A running worker has ended.
    pub(super) fn exited(&mut self, index: usize, exit: Exit, now: Instant) {
        let Phase::Running { since } = self.workers[index].phase else {
            debug_assert!(false, "worker {index} did not run");
            return;
        };
        match (&self.stop, exit) {
            (Some(_), Exit::Code(_) | Exit::Signal(_)) | (None, Exit::Code(0)) => {
                self.workers[index].phase = Phase::Ended;
            }
            (None, Exit::Code(_) | Exit::Signal(_)) => {
                self.crashed(index, now.saturating_duration_since(since), now);
            }
        }
    }

    /// The parent received a signal that is for all: pass it on, and start nobody any more.
    ///
    /// The grace counts from the first one; every further one is passed on too.
    pub(super) fn signalled(&mut self, signal: c_int, now: Instant) {
        self.stop(Outcome::Done, signal, now);
    }

    /// What to do now; to be asked again after each answer but [`Do::End`].
    pub(super) fn next(&mut self, now: Instant) -> Do {
        self.kill_the_late(now);
        while let Some((index, signal)) = self.orders.pop_front() {
            // It may have ended since the order was given.
            if self.workers[index].runs() {
                return Do::Send(index, signal);
            }
        }
        if let Some(index) = self.workers.iter().position(|worker| worker.is_due(now)) {
            return Do::Start(index);
        }
        if self.workers.iter().all(|worker| matches!(worker.phase, Phase::Ended)) {
            return Do::End(self.stop.as_ref().map_or(Outcome::Done, |stop| stop.outcome));
        }
        Do::Wait(self.next_deadline())
    }

    fn crashed(&mut self, index: usize, ran: Duration, now: Instant) {
        if self.restarts >= self.limit {
            self.workers[index].phase = Phase::Ended;
            self.stop(Outcome::RestartLimit(self.restarts), libc::SIGTERM, now);
            return;
        }
        self.restarts += 1;
        let worker = &mut self.workers[index];
        worker.delay = next_delay(worker.delay, ran);
        worker.phase = Phase::Due { at: now + worker.delay };
    }

    /// Sends `signal` to all; the first reason to stop is the one that counts.
    fn stop(&mut self, outcome: Outcome, signal: c_int, now: Instant) {
        let grace = self.grace;
        self.stop.get_or_insert_with(|| Stop { outcome, kill_at: now.checked_add(grace) });
        for (index, worker) in self.workers.iter_mut().enumerate() {
            match worker.phase {
                Phase::Due { .. } => worker.phase = Phase::Ended,
                Phase::Running { .. } => self.orders.push_back((index, signal)),
                Phase::Ended => {}
            }
        }
    }

    fn kill_the_late(&mut self, now: Instant) {
        if let Some(stop) = &mut self.stop
            && stop.kill_at.is_some_and(|kill_at| kill_at <= now)
        {
            stop.kill_at = None;
            self.orders = (0..self.workers.len()).map(|index| (index, libc::SIGKILL)).collect();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let starts = self.workers.iter().filter_map(|worker| match worker.phase {
            Phase::Due { at } => Some(at),
            Phase::Running { .. } | Phase::Ended => None,
        });
        let kill = self.stop.as_ref().and_then(|stop| stop.kill_at);
        starts.chain(kill).min()
    }
}

#[derive(Clone, Debug)]
struct Worker {
    phase: Phase,
    /// How long the last restart was put off.
    delay: Duration,
    starts: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// To be started at this time.
    Due { at: Instant },
    /// Started at this time.
    Running { since: Instant },
    /// It will not be started again.
    Ended,
}

impl Worker {
    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    fn is_due(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Due { at } if at <= now)
    }
}

#[derive(Debug)]
struct Stop {
    outcome: Outcome,
    /// When SIGKILL follows; none once it has been ordered, or if the grace has no end.
    kill_at: Option<Instant>,
}

/// A worker that ran this long is not crashing in a loop: it restarts at once.
const STEADY: Duration = Duration::from_secs(10);
/// Short enough that one crash during a deployment is not noticed.
const FIRST_DELAY: Duration = Duration::from_millis(10);
/// A start a second costs nothing, and the default limit is reached while somebody looks on.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

fn next_delay(last: Duration, ran: Duration) -> Duration {
    if ran >= STEADY { Duration::ZERO } else { (2 * last).clamp(FIRST_DELAY, LONGEST_DELAY) }
}

#[cfg(test)]
mod tests;
