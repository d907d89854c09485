//! Obvious twins of what the core keeps: a list of timers, and one source as its owner sees it.
//!
//! They are slow and plain, so that what they say is evidently right. Next: `shell`.

use std::collections::VecDeque;

use squall_reactor::state::ready::Job;
use squall_reactor::state::wheel::TimerKey;
use squall_reactor::{Interest, Next, Readiness, Token, Trigger};

use crate::model::{EDGE, ERR, FileId, HUP, IN, ONESHOT, OUT, PRI, RDHUP};

/// The timers as two lists: those that wait, and those that are due, in order.
#[derive(Debug, Default)]
pub struct Timers {
    now_tick: u64,
    waiting: Vec<Timer>,
    due: VecDeque<Timer>,
}

#[derive(Clone, Copy, Debug)]
pub struct Timer {
    pub key: TimerKey,
    pub deadline_tick: u64,
    pub deadline_us: u64,
    pub job: Job,
}

impl Timers {
    pub fn insert(&mut self, timer: Timer) {
        let deadline_tick = timer.deadline_tick.max(self.now_tick);
        self.waiting.push(Timer { deadline_tick, ..timer });
    }

    pub fn remove(&mut self, key: TimerKey) -> Option<Timer> {
        if let Some(at) = self.waiting.iter().position(|timer| timer.key == key) {
            return Some(self.waiting.remove(at));
        }
        let at = self.due.iter().position(|timer| timer.key == key)?;
        self.due.remove(at)
    }

    pub fn advance(&mut self, now_tick: u64) {
        self.now_tick = now_tick.max(self.now_tick);
        let (mut due, waiting): (Vec<_>, Vec<_>) =
            self.waiting.iter().partition(|timer| timer.deadline_tick <= self.now_tick);
        due.sort_by_key(|timer: &Timer| timer.deadline_tick);
        self.due.extend(due);
        self.waiting = waiting;
    }

    pub fn pop_due(&mut self) -> Option<Timer> {
        self.due.pop_front()
    }

    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub fn next_deadline(&self) -> Option<u64> {
        let due = self.due.iter().map(|timer| timer.deadline_tick).min();
        due.or_else(|| self.waiting.iter().map(|timer| timer.deadline_tick).min())
    }

    pub fn contains(&self, key: TimerKey) -> bool {
        self.iter().any(|timer| timer.key == key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.due.iter().chain(&self.waiting)
    }

    pub fn len(&self) -> usize {
        self.due.len() + self.waiting.len()
    }
}

/// A registration with a callback, as its owner sees it.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    pub fd: i32,
    pub file: FileId,
    pub token: Token,
    pub trigger: Trigger,
    pub interest: Interest,
    /// Not yet ended; the descriptor may outlive it.
    pub live: bool,
    pub open: bool,
    /// Its descriptor is to close once the callback returns.
    pub leaving: bool,
    pub running: bool,
    /// Resumed while its callback runs.
    pub resumed: bool,
    pub paused: bool,
    /// Oneshot: the kernel will report it.
    pub armed: bool,
    /// Oneshot: reported, and its callback has not been called yet.
    pub owed: bool,
    /// What must lead to a call: it was promised, or seen to block since.
    pub expects: u32,
    pub known: Readiness,
    pub reports_in_pause: usize,
    pub to_write: usize,
}

impl Registered {
    /// What the kernel may report.
    pub fn asked(&self) -> u32 {
        asked(self.interest)
    }

    /// Whether the epoll must have an entry; `None` if it may.
    pub fn must_be_in_epoll(&self) -> Option<bool> {
        match self.trigger {
            _ if self.interest.is_none() => Some(false),
            Trigger::Level => Some(!self.paused),
            Trigger::Edge => (!self.paused).then_some(true),
            Trigger::Oneshot => (self.armed && !self.paused).then_some(true),
        }
    }

    /// What it is to be told of by now, unless the loop is on its way.
    pub fn promised(&self) -> u32 {
        match self.trigger {
            _ if self.paused || self.running || self.interest.is_none() => 0,
            Trigger::Level => self.asked(),
            Trigger::Oneshot if self.armed => self.asked(),
            Trigger::Oneshot => 0,
            Trigger::Edge => self.expects & self.asked(),
        }
    }

    pub fn reported(&mut self, readiness: Readiness) {
        self.known = match self.trigger {
            Trigger::Level => readiness,
            Trigger::Edge | Trigger::Oneshot => self.known | readiness,
        };
        self.owed = true;
        self.armed = false;
    }

    /// The interest has changed: the kernel says afresh what is ready.
    pub fn asks(&mut self, interest: Interest) {
        if interest == self.interest {
            return;
        }
        self.interest = interest;
        let keeps = self.trigger == Trigger::Edge && !interest.is_none();
        self.known = if keeps { without_disproved(self.known) } else { Readiness::NONE };
        self.expects = self.asked();
        // Not yet called for its report: that is void, and the kernel says it anew.
        if self.owed && !self.running && !self.paused && self.trigger == Trigger::Oneshot {
            self.armed = true;
        }
        self.owed = false;
    }

    /// Its callback begins.
    pub fn starts(&mut self) {
        (self.running, self.owed) = (true, false);
    }

    pub fn resumes(&mut self) {
        if self.running {
            self.resumed = true;
            return;
        }
        let stopped = self.paused || self.trigger == Trigger::Oneshot && !self.owed;
        if stopped {
            self.expects = self.asked();
            self.armed = true;
        }
        self.paused = false;
        self.reports_in_pause = 0;
    }

    /// The kernel had no place for it: it waits for the next `resume`.
    pub fn stays_outside(&mut self) {
        self.paused = true;
        self.armed = false;
    }

    /// It answered; `blocked` is what it has seen to block in this call.
    pub fn answers(&mut self, next: Next, blocked: u32) {
        let resumed = std::mem::take(&mut self.resumed);
        let next = match next {
            Next::Wait if resumed && self.trigger == Trigger::Oneshot => Next::Again,
            Next::Pause if resumed => Next::Again,
            next => next,
        };
        self.known = match (next, self.trigger) {
            (Next::Wait, _) => without_disproved(self.known),
            (Next::Again | Next::Pause, Trigger::Edge) => self.known,
            (Next::Again | Next::Pause | Next::Done, _) => Readiness::NONE,
        };
        self.expects = match next {
            Next::Wait => blocked,
            Next::Again | Next::Pause | Next::Done => self.asked(),
        };
        self.paused = next == Next::Pause;
        self.reports_in_pause = 0;
        self.armed |= next == Next::Again;
    }
}

/// What WouldBlock takes back: everything but a hang-up.
fn without_disproved(known: Readiness) -> Readiness {
    let data = Readiness::READ | Readiness::WRITE | Readiness::PRIORITY;
    known.without(data | Readiness::ERROR)
}

/// epoll_ctl's mask for an interest, and what is always in it.
pub fn asked(interest: Interest) -> u32 {
    let mut mask = 0;
    for (part, bits) in
        [(Interest::READABLE, IN | RDHUP), (Interest::WRITABLE, OUT), (Interest::PRIORITY, PRI)]
    {
        if interest.contains(part) {
            mask |= bits;
        }
    }
    if mask == 0 { 0 } else { mask | HUP | ERR }
}

/// The mask with the trigger's bit, as `sys::selector` makes it.
pub fn mask(interest: Interest, trigger: Trigger) -> u32 {
    let how = match trigger {
        Trigger::Edge => EDGE,
        Trigger::Level => 0,
        Trigger::Oneshot => ONESHOT,
    };
    asked(interest) | how
}

/// A report as mio tells it.
pub fn readiness(report: u32) -> Readiness {
    let has = |bits| report & bits == bits;
    let mut readiness = Readiness::NONE;
    for (set, part) in [
        (has(IN) || has(PRI), Readiness::READ),
        (has(OUT), Readiness::WRITE),
        (has(PRI), Readiness::PRIORITY),
        (has(HUP) || has(IN | RDHUP), Readiness::READ_CLOSED),
        (has(HUP) || has(OUT | ERR) || report == ERR, Readiness::WRITE_CLOSED),
        (has(ERR), Readiness::ERROR),
    ] {
        if set {
            readiness |= part;
        }
    }
    readiness
}
