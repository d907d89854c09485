//! The simulated shell: what driver, local and callbacks do, on the model kernel.
//!
//! Each function is its counterpart in `squall_reactor` without what the core never sees. A closure
//! is a number here, and what it does is in `owners`; what must hold is in `laws`. Time is a number
//! that only the schedule moves. Next: `handles`.

use squall_reactor::state::ready::{Job, Kind};
use squall_reactor::state::registry::{Call, Order};
use squall_reactor::state::wheel::TimerKey;
use squall_reactor::state::{Reported, State};
use squall_reactor::{Interest, Next, Readiness, Side, Token};

use crate::model::Kernel;
use crate::owners::Role;
use crate::rng::Rng;
use crate::twins::{self, Registered, Timers};

/// A core, its kernel, and everybody who uses it.
pub struct World {
    pub rng: Rng,
    pub kernel: Kernel,
    pub state: State,
    pub now_us: u64,
    pub budgets: Budgets,
    /// No more faults, and everybody does what they came for.
    pub calm: bool,
    pub sources: Vec<Registered>,
    pub ios: Vec<Waited>,
    pub tasks: Vec<Task>,
    pub timers: Timers,
    /// Descriptors that nobody registers.
    pub copies: Vec<i32>,
    /// Registrations that have ended.
    pub ended: Vec<Token>,
    pub seen: Seen,
    /// Callbacks by slot; wakers and timers' closures by slot, with their serial.
    pub callbacks: Vec<Option<usize>>,
    pub wakers: Vec<Option<(u32, usize)>>,
    pub closures: Vec<Option<(u32, Closure)>>,
    trace: bool,
}

/// What a turn may do.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    pub events: usize,
    pub jobs: usize,
    pub timers: usize,
}

/// A source that tasks wait on.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    pub fd: i32,
    pub tcp: bool,
    pub interest: Interest,
    pub token: Option<Token>,
    /// What has blocked before there was a registration.
    pub disproved: Readiness,
    /// Tasks that hold it.
    pub holders: usize,
    /// Reports in a row while nobody waited.
    pub unheard: usize,
    /// Waits that were given up: their jobs stand there until one of these is reported.
    pub abandoned: [u32; 3],
    /// Somebody else who holds its socket took an urgent byte out of band: a read stops at its place
    /// all the same, and PRI no longer says why, so a short read proves nothing (docs/limits.md).
    pub urgent_taken: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub token: Token,
    pub role: Role,
    pub io: Option<usize>,
    pub live: bool,
    pub running: bool,
    /// It was woken while it runs.
    pub woken: bool,
    /// It waits through a waker that is not its own.
    pub foreign: bool,
    pub parked: Option<(usize, Side)>,
    /// A timer that wakes it, and whether it does nothing before.
    pub sleep: Option<(TimerKey, bool)>,
}

/// What a wait came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    Waits,
    Ready,
    /// The kernel has no place for it.
    Refused,
}

/// What a timer's closure does.
#[derive(Clone, Copy, Debug)]
pub enum Closure {
    Meddle,
    Resume(usize),
}

/// What has happened; the tests ask whether the schedules reach every corner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub turns: usize,
    pub events: usize,
    pub stale: usize,
    pub stale_jobs: usize,
    pub calls: usize,
    pub polls: usize,
    pub timers: usize,
    pub masked: usize,
    pub unmasked: usize,
    pub rearmed: usize,
    pub too_many: usize,
    pub interrupted: usize,
    pub left_over: usize,
    pub crowded: usize,
    pub reused: usize,
    pub outlived: usize,
    pub rests: usize,
    pub refused: usize,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        for (sum, more) in self.counters().into_iter().zip({ other }.counters()) {
            *sum += *more;
        }
    }

    /// A simulation that never gets somewhere shows nothing about it.
    pub fn assert_every_corner(mut self) {
        let seen = format!("{self:?}");
        assert!(self.counters().into_iter().all(|count| *count > 0), "a corner is missed: {seen}");
    }

    pub fn counters(&mut self) -> [&mut usize; 18] {
        let Self {
            turns,
            events,
            stale,
            stale_jobs,
            calls,
            polls,
            timers,
            masked,
            unmasked,
            rearmed,
            too_many,
            interrupted,
            left_over,
            crowded,
            reused,
            outlived,
            rests,
            refused,
        } = self;
        [
            turns,
            events,
            stale,
            stale_jobs,
            calls,
            polls,
            timers,
            masked,
            unmasked,
            rearmed,
            too_many,
            interrupted,
            left_over,
            crowded,
            reused,
            outlived,
            rests,
            refused,
        ]
    }
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        // Some begin just before the serials wrap.
        let last_serial = if rng.chance(20) { u32::MAX - rng.below(20) as u32 } else { 0 };
        let (events, jobs, timers) = (rng.upto(8), rng.upto(6), rng.upto(3));
        Self {
            kernel: Kernel::new(4 + rng.below(12)),
            state: State::new(1000, last_serial),
            rng,
            now_us: 0,
            budgets: Budgets { events, jobs, timers },
            calm: false,
            sources: Vec::new(),
            ios: Vec::new(),
            tasks: Vec::new(),
            timers: Timers::default(),
            copies: Vec::new(),
            ended: Vec::new(),
            seen: Seen::default(),
            callbacks: Vec::new(),
            wakers: Vec::new(),
            closures: Vec::new(),
            trace,
        }
    }

    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>10} us: {}", self.now_us, line());
        }
    }

    // driver.rs

    /// One turn. It sleeps until the earliest timer if nothing is ready, and does nothing where the
    /// loop would sleep for longer.
    pub fn turn(&mut self) {
        let deadline = self.state.wheel.next_deadline();
        assert_eq!(deadline, self.timers.next_deadline(), "law 8: the earliest deadline");
        let asleep = !self.state.is_busy() && !self.kernel.has_events();
        if asleep {
            let Some(deadline) = deadline else { return };
            self.now_us = self.now_us.max(deadline.saturating_mul(1000));
        }
        self.seen.turns += 1;
        let now_us = self.now_us;
        let interrupted = !self.calm && self.rng.chance(5);
        self.say(|| format!("turn, interrupted: {interrupted}"));
        if interrupted {
            self.seen.interrupted += 1;
        } else {
            self.collect();
        }
        self.disturb();
        let fired = self.fire(now_us);
        assert!(!asleep || fired > 0, "law 8: it woke up for nothing");
        self.dispatch();
    }

    fn collect(&mut self) {
        let max = if self.calm { self.budgets.events } else { self.rng.upto(self.budgets.events) };
        for (report, data) in self.kernel.wait(max) {
            self.seen.events += 1;
            self.check_report(report, Token::from_u64(data));
            self.event(Token::from_u64(data), twins::readiness(report));
        }
    }

    /// Tells the core what the kernel reported, or what a schedule makes up.
    pub fn event(&mut self, token: Token, readiness: Readiness) {
        self.say(|| format!("event {readiness:?} for {token:?}"));
        let known = self.source_of(token).is_some() || self.io_of(token).is_some();
        let queued = self.state.ready.len();
        let order = match self.state.event(token, readiness) {
            Reported::Stale => {
                assert!(!known, "law 2: an event for {token:?} counts as stale");
                self.seen.stale += 1;
                return;
            }
            Reported::Taken(order, _verdict) => order,
        };
        assert!(known, "law 2: an event for {token:?}, which has ended, was taken in");
        if let Some(source) = self.source_of(token) {
            self.sources[source].reported(readiness);
        }
        for job in self.state.ready.iter().skip(queued) {
            self.check_meant(job, token);
        }
        self.tell(order);
    }

    fn fire(&mut self, now_us: u64) -> usize {
        let tick = now_us / 1000;
        self.state.advance(tick);
        self.timers.advance(tick);
        if !self.calm && self.rng.chance(5) {
            // A reading that is older than the last one.
            self.state.advance(tick.saturating_sub(100));
        }
        for fired in 0..self.budgets.timers {
            let timer = self.timers.pop_due();
            assert_eq!(self.state.pop_due(), timer.is_some(), "law 10: what is due");
            let Some(timer) = timer else { return fired };
            self.say(|| format!("timer {timer:?}"));
            assert!(timer.deadline_us <= self.now_us, "law 10: {timer:?} is early");
            self.seen.timers += 1;
            self.check_woken(timer.job);
        }
        self.budgets.timers
    }

    fn dispatch(&mut self) {
        let waiting: Vec<Job> = self.state.ready.iter().collect();
        self.check_queue(&waiting);
        let most = waiting.len().max(self.budgets.jobs);
        self.state.ready.begin(self.budgets.jobs);
        let mut ran = 0;
        while let Some(job) = self.state.ready.pop() {
            let due = waiting.get(ran);
            assert!(due.is_none_or(|due| *due == job), "law 7: {due:?} waits, {job:?} runs");
            ran += 1;
            self.run(job);
        }
        let left = self.state.ready.len();
        assert!(ran >= waiting.len(), "law 7: {ran} of {} ran", waiting.len());
        assert!(ran <= most, "law 7: a turn of {most} ran {ran}");
        assert!(ran == most || left == 0, "law 7: {ran} of {most} ran, and {left} are left");
        self.seen.left_over += usize::from(left > 0);
    }

    fn run(&mut self, job: Job) {
        let token = job.token();
        match job.kind() {
            Kind::Source => self.call_back(token),
            Kind::Task => self.poll_task(token),
            Kind::Waker => {
                if let Some(task) = self.take_waker(token) {
                    self.wake(task);
                }
            }
            Kind::Timer => {
                let taken = take_if_fits(&mut self.closures, token);
                let closure = taken.expect("a timer's closure runs once");
                self.run_closure(closure);
            }
        }
    }

    // local.rs

    /// Carries out an order. The core knows what the kernel knows, so none is refused but an ADD
    /// for which there is no place (ENOSPC): then false.
    pub fn tell(&mut self, order: Option<Order>) -> bool {
        let Some(Order { call, fd, interest, trigger, token }) = order else { return true };
        self.say(|| format!("{call:?} {fd}, {interest:?}, {trigger:?}, {token:?}"));
        let (events, data) = (twins::mask(interest, trigger), token.to_u64());
        assert!(call == Call::Delete || !interest.is_none(), "law 4: a mask of 0");
        if call == Call::Add && !self.calm && self.rng.chance(3) {
            self.say(|| "refused".to_owned());
            self.seen.refused += 1;
            return false;
        }
        let done = match call {
            Call::Add => self.kernel.add(fd, events, data),
            Call::Modify => self.kernel.modify(fd, events, data),
            Call::Delete => self.kernel.delete(fd),
        };
        assert_eq!(done, Ok(()), "{call:?} of {token:?}, descriptor {fd}");
        true
    }

    /// The same for a source that left the epoll; if it is refused it stays outside.
    pub fn tell_again(&mut self, order: Option<Order>) -> bool {
        let taken = self.tell(order);
        if let (false, Some(order)) = (taken, order) {
            self.state.stay_outside(order);
            if let Some(source) = self.source_of(order.token) {
                self.sources[source].stays_outside();
            }
        }
        taken
    }

    /// Ends a registration: DEL first, then whoever waited, then the closure.
    pub fn deregister(&mut self, token: Token) -> bool {
        let known = self.source_of(token).is_some() || self.io_of(token).is_some();
        let removed = self.state.remove_source(token);
        assert_eq!(removed.is_some(), known, "law 2: removing {token:?}");
        let Some(removed) = removed else { return false };
        self.say(|| format!("end {token:?}"));
        self.tell(removed.order);
        self.ended.push(token);
        if let Some(source) = self.source_of(token) {
            let callback = self.callbacks[slot(token)].take();
            let running = self.sources[source].running;
            assert_eq!(callback, (!running).then_some(source), "law 2: whose callback it was");
            self.sources[source].live = false;
        }
        if let Some(io) = self.io_of(token) {
            self.ios[io].token = None;
        }
        for job in removed.waiters {
            if job.kind() == Kind::Task {
                self.state.wake(job);
            } else if let Some(task) = self.take_waker(job.token()) {
                self.wake(task);
            }
        }
        true
    }

    pub fn job_for(&mut self, task: usize) -> Job {
        let Task { token, foreign, .. } = self.tasks[task];
        if !foreign {
            return Job::new(Kind::Task, token);
        }
        let serial = self.state.draw_serial();
        Job::new(Kind::Waker, keep(&mut self.wakers, serial, task))
    }

    pub fn take_waker(&mut self, token: Token) -> Option<usize> {
        take_if_fits(&mut self.wakers, token)
    }

    /// Wakes a task, as its own waker does.
    pub fn wake(&mut self, task: usize) {
        let job = Job::new(Kind::Task, self.tasks[task].token);
        let before = self.state.ready.len();
        self.state.wake(job);
        if self.tasks[task].live {
            self.tasks[task].woken = true;
            self.check_woken(job);
        } else {
            assert_eq!(self.state.ready.len(), before, "law 2: a late wake of {job:?}");
        }
    }

    // callbacks.rs

    fn call_back(&mut self, token: Token) {
        let told = self.state.start_source(token);
        let Some(told) = told else {
            self.seen.stale_jobs += usize::from(self.source_of(token).is_none());
            return;
        };
        let source = self.callbacks[slot(token)].take().expect("a source has a callback");
        self.check_call(source, token, told);
        self.say(|| format!("call {token:?}: {told:?}"));
        self.seen.calls += 1;
        self.sources[source].starts();
        let (next, blocked, progress) = self.behave(source, told);
        self.sources[source].running = false;
        self.say(|| format!("{token:?} answers {next:?}"));
        match next {
            Some(next) => self.answered(source, token, next, blocked, progress),
            // It panics: the guard ends the registration.
            None => {
                if self.sources[source].live {
                    self.sources[source].running = true; // its closure is out
                    self.deregister(token);
                    self.sources[source].running = false;
                }
            }
        }
        if self.sources[source].leaving {
            self.close_source(source);
        }
    }

    fn answered(&mut self, id: usize, token: Token, next: Next, blocked: u32, progress: bool) {
        let live = self.sources[id].live;
        let outcome = self.state.answer(token, next.into(), progress);
        assert_eq!(outcome.is_some(), live, "law 2: the answer of {token:?}");
        let Some((_, order, _)) = outcome else { return };
        self.sources[id].answers(next, blocked);
        self.callbacks[slot(token)] = Some(id);
        if next == Next::Done {
            assert_eq!(order, None);
            self.deregister(token);
            return;
        }
        self.count(order);
        self.tell_again(order);
    }

    pub fn count(&mut self, order: Option<Order>) {
        let counter = match order.map(|order| order.call) {
            None => return,
            Some(Call::Add) => &mut self.seen.unmasked,
            Some(Call::Modify) => &mut self.seen.rearmed,
            Some(Call::Delete) => &mut self.seen.masked,
        };
        *counter += 1;
    }

    // Who is who.

    pub fn source_of(&self, token: Token) -> Option<usize> {
        self.sources.iter().rposition(|source| source.live && source.token == token)
    }

    pub fn io_of(&self, token: Token) -> Option<usize> {
        self.ios.iter().rposition(|io| io.token == Some(token))
    }
}

pub fn slot(token: Token) -> usize {
    token.to_u64() as u32 as usize
}

pub fn serial(token: Token) -> u32 {
    (token.to_u64() >> 32) as u32
}

/// Puts a value into the first free slot.
pub fn keep<T: Copy>(table: &mut Vec<Option<(u32, T)>>, serial: u32, value: T) -> Token {
    let free = table.iter().position(Option::is_none).unwrap_or(table.len());
    if free == table.len() {
        table.push(None);
    }
    table[free] = Some((serial, value));
    Token::from_u64(u64::from(serial) << 32 | free as u64)
}

pub fn take_if_fits<T: Copy>(table: &mut [Option<(u32, T)>], token: Token) -> Option<T> {
    let entry = table.get_mut(slot(token))?;
    entry.take_if(|(kept, _)| *kept == serial(token)).map(|(_, value)| value)
}
