//! A task's states: idle, queued, running, woken while running.
//!
//! The future itself lives with the executor; here is only whether it must be polled. A wake during
//! the poll is kept and sends the task to the back of the queue. Next: `detector`.

use std::panic::Location;

use slab::Slab;

use crate::state::moment::Moment;
use crate::token::Token;

/// Whether a task is to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits to be woken.
    Idle,
    /// Its job is in the ready queue.
    Queued,
    /// It is being polled.
    Running,
    /// It is being polled, and was woken meanwhile.
    Woken,
}

/// One task, for the core and for a snapshot.
#[derive(Debug)]
pub struct Task {
    serial: u32,
    /// Whether it is to be polled.
    pub state: TaskState,
    /// Polls so far; it wraps.
    pub polls: u32,
    /// When its last poll ended; before that, when it was spawned.
    pub since: Moment,
    /// Where it was spawned.
    pub spawned: &'static Location<'static>,
}

const _: () = assert!(size_of::<Task>() <= 24);

/// The tasks of a reactor.
#[derive(Debug, Default)]
pub struct Tasks {
    slots: Slab<Task>,
}

impl Tasks {
    /// A new task, already queued: the caller pushes its first job.
    pub fn insert(
        &mut self,
        serial: u32,
        spawned: &'static Location<'static>,
        now: Moment,
    ) -> Token {
        let (state, polls, since) = (TaskState::Queued, 0, now);
        let slot = self.slots.insert(Task { serial, state, polls, since, spawned }) as u32;
        Token { slot, serial }
    }

    /// Asks for a poll. True if the caller must push a job: neither queued already nor ended.
    #[must_use]
    pub fn wake(&mut self, token: Token) -> bool {
        let Some(task) = self.task(token) else { return false };
        let (next, push) = match task.state {
            TaskState::Idle => (TaskState::Queued, true),
            TaskState::Running => (TaskState::Woken, false),
            unchanged @ (TaskState::Queued | TaskState::Woken) => (unchanged, false),
        };
        task.state = next;
        push
    }

    /// Its job came up. True if it is to be polled: false if it has ended meanwhile.
    #[must_use]
    pub fn start(&mut self, token: Token) -> bool {
        let Some(task) = self.task(token) else { return false };
        debug_assert_eq!(task.state, TaskState::Queued);
        task.state = TaskState::Running;
        task.polls = task.polls.wrapping_add(1);
        true
    }

    /// Its poll answered `Pending`. True if the caller must push a job: it was woken meanwhile.
    #[must_use]
    pub fn suspend(&mut self, token: Token, now: Moment) -> bool {
        let Some(task) = self.task(token) else { return false };
        let woken = task.state == TaskState::Woken;
        task.since = now;
        task.state = if woken { TaskState::Queued } else { TaskState::Idle };
        woken
    }

    /// Ends a task. False if it has ended already.
    pub fn remove(&mut self, token: Token) -> bool {
        let known = self.task(token).is_some();
        if known {
            self.slots.remove(token.index());
        }
        known
    }

    /// True while the task has not ended.
    pub fn contains(&self, token: Token) -> bool {
        self.get(token).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The task that `token` names.
    pub fn get(&self, token: Token) -> Option<&Task> {
        self.slots.get(token.index()).filter(|task| task.serial == token.serial)
    }

    /// Every task.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &Task)> {
        self.slots
            .iter()
            .map(|(slot, task)| (Token { slot: slot as u32, serial: task.serial }, task))
    }

    fn task(&mut self, token: Token) -> Option<&mut Task> {
        self.slots.get_mut(token.index()).filter(|task| task.serial == token.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::BEGINNING;

    #[test]
    fn a_task_is_queued_once_however_often_it_is_woken() {
        let mut tasks = Tasks::default();
        let token = tasks.insert(1, Location::caller(), NOW);
        assert!(!tasks.wake(token), "a new task is queued already");
        assert!(tasks.start(token));
        assert!(!tasks.wake(token), "a running task is queued when it suspends");
        assert!(tasks.suspend(token, NOW));
        assert!(tasks.start(token));
        assert!(!tasks.suspend(token, NOW));
        assert!(tasks.wake(token));
        assert!(!tasks.wake(token));
    }

    #[test]
    fn law_02_a_late_wake_does_not_reach_the_next_task_in_the_slot() {
        let mut tasks = Tasks::default();
        let old = tasks.insert(1, Location::caller(), NOW);
        assert!(tasks.remove(old));
        let new = tasks.insert(2, Location::caller(), NOW);
        assert_eq!(old.slot, new.slot);
        assert!(tasks.start(new));
        assert!(!tasks.suspend(new, NOW));
        assert!(!tasks.wake(old) && !tasks.start(old) && !tasks.remove(old));
        assert!(tasks.wake(new));
    }

    #[test]
    fn the_tasks_tell_who_lives() {
        let mut tasks = Tasks::default();
        assert!(tasks.is_empty());
        let alive = [1, 2, 3].map(|serial| tasks.insert(serial, Location::caller(), NOW));
        assert!(tasks.remove(alive[1]) && !tasks.contains(alive[1]));
        assert!(tasks.contains(alive[0]) && tasks.contains(alive[2]));
        let listed: Vec<Token> = tasks.iter().map(|(token, _)| token).collect();
        assert_eq!((listed, tasks.len()), (vec![alive[0], alive[2]], 2));
        assert!(!tasks.is_empty());
    }

    #[test]
    fn a_task_tells_how_often_it_was_polled_and_since_when_it_waits() {
        let mut tasks = Tasks::default();
        let token = tasks.insert(1, Location::caller(), NOW);
        for tick in [160, 320] {
            assert!(tasks.start(token));
            assert!(!tasks.suspend(token, Moment::at(tick)));
            assert!(tasks.wake(token));
        }
        let task = tasks.get(token).expect("it lives");
        assert_eq!((task.polls, task.since, task.state), (2, Moment::at(320), TaskState::Queued));
    }
}
