//! The ready queue: what is to run, in order, and how much of it in one turn (law 7).
//!
//! A job names who is meant and carries nothing: eight bytes, so that the same word serves in the
//! queue, as a waiter of a source, and as the target of a timer. A turn runs what was ready at its
//! start or its budget, whichever is more; what is woken meanwhile goes to the back. Next: `wheel`.

use std::collections::VecDeque;
use std::fmt;

use crate::token::Token;

/// Whom a job means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Call the callback of a source.
    Source,
    /// Poll a task.
    Task,
    /// Wake a waker that is not a task's own: a combinator's, or another executor's.
    Waker,
    /// Call the callback of a timer.
    Timer,
}

/// A kind and a token in eight bytes: the kind is in the upper two bits of the slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Job(u64);

const KIND_SHIFT: u32 = 30;
const SLOT_MASK: u64 = (1 << KIND_SHIFT) - 1;

impl Job {
    /// Nobody; no slot has this number.
    pub const NOBODY: Self = Self(u64::MAX);

    /// A job of `kind` for `token`, whose slot is below 2^30.
    pub fn new(kind: Kind, token: Token) -> Self {
        debug_assert!(u64::from(token.slot) <= SLOT_MASK);
        let kind = match kind {
            Kind::Source => 0,
            Kind::Task => 1,
            Kind::Waker => 2,
            Kind::Timer => 3,
        };
        Self(token.to_u64() | kind << KIND_SHIFT)
    }

    /// Whom it means.
    pub fn kind(self) -> Kind {
        match self.0 >> KIND_SHIFT & 3 {
            0 => Kind::Source,
            1 => Kind::Task,
            2 => Kind::Waker,
            _ => Kind::Timer,
        }
    }

    /// Which one of them.
    pub fn token(self) -> Token {
        let token = Token::from_u64(self.0);
        Token { slot: token.slot & SLOT_MASK as u32, ..token }
    }

    /// The job as the timer wheel carries it.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// The inverse of [`to_u64`](Self::to_u64).
    pub fn from_u64(word: u64) -> Self {
        Self(word)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NOBODY {
            return f.write_str("Nobody");
        }
        write!(f, "{:?} {:?}", self.kind(), self.token())
    }
}

/// The queue, and what is left of this turn's budget.
#[derive(Debug, Default)]
pub struct ReadyQueue {
    jobs: VecDeque<Job>,
    left: usize,
}

impl ReadyQueue {
    /// Adds a job behind all others.
    pub fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Begins the dispatching part of a turn: what is ready now, and at least `budget`, may run.
    pub fn begin(&mut self, budget: usize) {
        self.left = self.jobs.len().max(budget);
    }

    /// The next job of this turn; `None` once the budget is spent or nothing is ready.
    pub fn pop(&mut self) -> Option<Job> {
        self.left = self.left.checked_sub(1)?;
        self.jobs.pop_front()
    }

    /// What is ready, in order.
    pub fn iter(&self) -> impl Iterator<Item = Job> {
        self.jobs.iter().copied()
    }

    /// True if nothing is ready.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many jobs are ready.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.jobs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(slot: u32) -> Job {
        Job::new(Kind::Task, Token { slot, serial: 9 })
    }

    #[test]
    fn a_job_keeps_its_kind_and_its_token() {
        for kind in [Kind::Source, Kind::Task, Kind::Waker, Kind::Timer] {
            let token = Token { slot: SLOT_MASK as u32 - 1, serial: u32::MAX };
            let job = Job::from_u64(Job::new(kind, token).to_u64());
            assert_eq!((job.kind(), job.token()), (kind, token));
        }
    }

    #[test]
    fn a_job_prints_as_what_it_means() {
        assert_eq!(format!("{:?}", Job::NOBODY), "Nobody");
        assert_eq!(format!("{:?}", job(3)), format!("Task {:?}", job(3).token()));
    }

    #[test]
    fn nothing_is_ready_in_a_queue_that_was_cleared() {
        let mut queue = ReadyQueue::default();
        (0..3).for_each(|i| queue.push(job(i)));
        assert_eq!(queue.iter().collect::<Vec<_>>(), [job(0), job(1), job(2)]);
        queue.clear();
        assert!(queue.is_empty() && queue.iter().next().is_none());
    }

    #[test]
    fn law_07_a_turn_ends_although_each_job_wakes_another() {
        let mut queue = ReadyQueue::default();
        (0..3).for_each(|i| queue.push(job(i)));
        queue.begin(2);
        let mut ran = Vec::new();
        while let Some(job) = queue.pop() {
            ran.push(job.token().slot);
            queue.push(job);
        }
        assert_eq!((ran, queue.len()), (vec![0, 1, 2], 3));
        queue.begin(64);
        let mut ran = 0;
        while let Some(job) = queue.pop() {
            ran += 1;
            queue.push(job);
        }
        assert_eq!(ran, 64);
    }
}
