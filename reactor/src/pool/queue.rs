//! The hand-over between those who bring work and the threads that do it, alone.
//!
//! One lock, one list. A thread that finds the list empty waits; whoever brings work takes one
//! waiting thread out of `idle` himself before he calls it. So a second piece never counts on a
//! thread that the first has called, and nobody is called twice: no wake-up without work, no work
//! without a thread that knows of it. Entries beyond the capacity are the waiting callers: since
//! they stand in the same list, they are served in order.
//!
//! It knows nothing of jobs, futures or how a thread is started, and runs nothing: whatever leaves
//! the list is given to the caller, who drops it after the lock is gone. It needs a mutex, a
//! condition variable and, for a timed wait, a clock: small enough for loom. Next: `job`.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

pub(super) struct Queue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
    /// Waited on by idle threads.
    work: Condvar,
    /// Waited on by whoever shuts down.
    ended: Condvar,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) min_threads: usize,
    pub(super) max_threads: usize,
    /// Entries beyond those that a thread is already on its way for.
    pub(super) capacity: usize,
    /// How long a thread above the minimum waits for work.
    pub(super) keep_alive: Duration,
}

/// The entry stands in the queue.
#[must_use]
pub(super) struct Placed {
    /// Names the entry, for [`Queue::remove`].
    pub(super) serial: u64,
    /// The number of a thread that the caller must start, or report by [`Queue::start_failed`].
    pub(super) start: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Closed,
}

/// What a thread does when it asks for work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    /// It has just started.
    New,
    /// It has done the work of its last call.
    Back,
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) threads: usize,
    pub(super) idle: usize,
    pub(super) queued: usize,
    pub(super) waiting: usize,
}

impl<T: Clone> Queue<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            entries: VecDeque::new(),
            next_serial: 0,
            threads: 0,
            idle: 0,
            called: 0,
            starting: 0,
            running: Vec::new(),
            next_thread: 1,
            closed: false,
        };
        Self { limits, state: Mutex::new(state), work: Condvar::new(), ended: Condvar::new() }
    }

    /// Puts an entry in, beyond the capacity if need be.
    pub(super) fn push(&self, entry: T) -> Result<Placed, (T, Refusal)> {
        let state = self.lock();
        if state.closed {
            return Err((entry, Refusal::Closed));
        }
        Ok(self.place(state, entry))
    }

    /// Puts an entry in if it finds a thread or room.
    pub(super) fn offer(&self, entry: T) -> Result<Placed, (T, Refusal)> {
        let state = self.lock();
        if state.closed {
            return Err((entry, Refusal::Closed));
        }
        let a_thread = state.idle > 0 || state.threads < self.limits.max_threads;
        if !a_thread && state.entries.len() >= self.room(&state) {
            return Err((entry, Refusal::Full));
        }
        Ok(self.place(state, entry))
    }

    /// Takes an entry out that no thread has taken.
    pub(super) fn remove(&self, serial: u64) -> Option<T> {
        let mut state = self.lock();
        let index = state.entries.binary_search_by_key(&serial, |(serial, _)| *serial).ok()?;
        state.entries.remove(index).map(|(_, entry)| entry)
    }

    /// Gives `thread` the next entry, waiting for one; `None` when the thread shall end.
    pub(super) fn take(&self, thread: u64, comes: Comes) -> Option<T> {
        let mut state = self.lock();
        let done = state.arrive(thread, comes);
        let taken = loop {
            if let Some((_, entry)) = state.entries.pop_front() {
                state.running.push((thread, entry.clone()));
                break Some(entry);
            }
            if state.closed {
                break None;
            }
            let woke;
            (state, woke) = self.wait_for_work(state);
            if woke == Woke::TooMany {
                break None;
            }
        };
        if taken.is_none() {
            self.leave(&mut state);
        }
        drop(state);
        drop(done);
        taken
    }

    /// Takes back a thread that [`Placed::start`] announced and that could not be started. If it
    /// was the only one, nobody will come for what is queued: it is given back.
    pub(super) fn start_failed(&self) -> Vec<T> {
        let mut state = self.lock();
        state.starting -= 1;
        self.leave(&mut state);
        if state.threads > 0 { Vec::new() } else { state.drain() }
    }

    /// Lets nothing in any more; threads end when nothing is left.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Waits until every thread has ended or the deadline has passed; `None` is no deadline.
    pub(super) fn wait_until_ended(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        while state.threads > 0 {
            let timed_out;
            (state, timed_out) = wait(&self.ended, state, deadline);
            if timed_out {
                return;
            }
        }
    }

    /// Gives the caller everything that no thread has taken, and a list of what they have taken.
    pub(super) fn give_up(&self) -> (Vec<T>, Vec<(u64, T)>) {
        let mut state = self.lock();
        (state.drain(), state.running.clone())
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        let queued = state.entries.len().min(self.room(&state));
        let waiting = state.entries.len() - queued;
        Counts { threads: state.threads, idle: state.idle, queued, waiting }
    }

    /// What is being done, as far as `is_running` agrees.
    pub(super) fn count_running(&self, is_running: impl Fn(&T) -> bool) -> usize {
        self.lock().running.iter().filter(|(_, entry)| is_running(entry)).count()
    }

    /// How many entries may stand here: a thread on its way makes room.
    fn room(&self, state: &State<T>) -> usize {
        self.limits.capacity + state.called + state.starting
    }

    fn place(&self, mut state: MutexGuard<'_, State<T>>, entry: T) -> Placed {
        let serial = state.next_serial;
        state.next_serial += 1;
        state.entries.push_back((serial, entry));
        let mut start = None;
        if state.idle > 0 {
            state.idle -= 1;
            state.called += 1;
            drop(state);
            self.work.notify_one();
        } else if state.threads < self.limits.max_threads {
            state.threads += 1;
            state.starting += 1;
            start = Some(state.next_thread);
            state.next_thread += 1;
        }
        Placed { serial, start }
    }

    /// Waits without a timeout, or once for `keep_alive` in a thread above the minimum: a pool that
    /// is idle longer makes no system call (law 8).
    fn wait_for_work<'a>(
        &self,
        mut state: MutexGuard<'a, State<T>>,
    ) -> (MutexGuard<'a, State<T>>, Woke) {
        let above_minimum = state.threads > self.limits.min_threads;
        let deadline = above_minimum.then(|| Instant::now() + self.limits.keep_alive);
        state.idle += 1;
        loop {
            let timed_out;
            (state, timed_out) = wait(&self.work, state, deadline);
            if state.called > 0 {
                state.called -= 1; // whoever called has taken one thread out of `idle`
                return (state, Woke::Look);
            }
            if state.closed || timed_out {
                state.idle -= 1;
                let too_many = state.threads > self.limits.min_threads;
                let woke = if timed_out && too_many { Woke::TooMany } else { Woke::Look };
                return (state, woke);
            }
        }
    }

    fn leave(&self, state: &mut State<T>) {
        state.threads -= 1;
        if state.closed && state.threads == 0 {
            self.ended.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of the user's runs under this lock, so nothing panics there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State<T> {
    /// By serial, ascending.
    entries: VecDeque<(u64, T)>,
    next_serial: u64,
    /// Alive, `starting` included.
    threads: usize,
    /// Waiting and not called.
    idle: usize,
    /// Called, and not awake yet.
    called: usize,
    /// Announced, and not here yet.
    starting: usize,
    /// What each thread does, by its number.
    running: Vec<(u64, T)>,
    next_thread: u64,
    closed: bool,
}

impl<T> State<T> {
    /// Notes that a thread is here; gives back the entry that it has done.
    fn arrive(&mut self, thread: u64, comes: Comes) -> Option<T> {
        if comes == Comes::New {
            self.starting -= 1;
            return None;
        }
        let index = self.running.iter().position(|(owner, _)| *owner == thread)?;
        Some(self.running.swap_remove(index).1)
    }

    fn drain(&mut self) -> Vec<T> {
        self.entries.drain(..).map(|(_, entry)| entry).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woke {
    Look,
    TooMany,
}

/// One wait; says whether the deadline has passed. It may wake without a cause.
fn wait<'a, S>(
    condition: &Condvar,
    state: MutexGuard<'a, S>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, S>, bool) {
    let Some(deadline) = deadline else {
        return (condition.wait(state).unwrap_or_else(PoisonError::into_inner), false);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return (state, true);
    }
    let (state, _) = condition.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
    (state, Instant::now() >= deadline)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn queue(max_threads: usize, capacity: usize) -> Queue<u32> {
        let keep_alive = Duration::ZERO;
        Queue::new(Limits { min_threads: 0, max_threads, capacity, keep_alive })
    }

    fn placed(placed: Result<Placed, (u32, Refusal)>) -> (u64, Option<u64>) {
        let Ok(Placed { serial, start }) = placed else { panic!("refused") };
        (serial, start)
    }

    // Work that waits for a thread which will never come would wait for ever.
    #[test]
    fn law_11_what_is_queued_comes_back_when_the_only_thread_cannot_start() {
        let queue = queue(2, 4);
        assert_eq!(placed(queue.push(10)), (0, Some(1)));
        assert_eq!(placed(queue.push(11)), (1, Some(2)));
        assert_eq!(placed(queue.push(12)), (2, None));
        assert_eq!(queue.start_failed(), [], "the other thread will come for all of it");
        assert_eq!(queue.start_failed(), [10, 11, 12]);
        assert_eq!(queue.counts().threads, 0);
        assert_eq!(placed(queue.push(13)).1, Some(3), "the next one tries again");
    }

    #[test]
    fn law_11_a_removed_entry_gives_its_place_to_the_next_waiting_one() {
        let queue = queue(1, 2);
        let serials: Vec<_> = (0..5).map(|i| placed(queue.push(i)).0).collect();
        let counts = queue.counts();
        assert_eq!((counts.queued, counts.waiting), (3, 2), "one for the thread, two places");
        assert_eq!(queue.remove(serials[1]), Some(1));
        assert_eq!(queue.remove(serials[1]), None);
        assert!(matches!(queue.offer(9), Err((9, Refusal::Full))));
        assert_eq!(queue.take(1, Comes::New), Some(0));
        assert_eq!(queue.take(1, Comes::Back), Some(2));
        assert_eq!((queue.counts().queued, queue.counts().waiting), (2, 0));
    }

    #[test]
    fn law_11_a_closed_queue_gives_out_what_it_has_and_then_lets_the_thread_go() {
        let queue = queue(1, 2);
        assert_eq!(placed(queue.push(1)).1, Some(1));
        queue.close();
        assert!(matches!(queue.push(2), Err((2, Refusal::Closed))));
        assert!(matches!(queue.offer(3), Err((3, Refusal::Closed))));
        assert_eq!(queue.take(1, Comes::New), Some(1));
        assert_eq!(queue.take(1, Comes::Back), None);
        queue.wait_until_ended(None);
    }
}
