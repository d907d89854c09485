//! The pure core: what is registered, ready, due and alive, as one machine.
//!
//! Nothing here makes a system call, reads a clock or holds a user's value; there are only keys. Four
//! kinds of method, in the order of a turn: what came in (`event`, `advance`), what is to run
//! (`begin`, `pop`, `start_source`), what became of it (`answer`, `suspend`), and what the owners
//! say in between (`wait`, `wake`, `set_interest`, `resume`). Some answer with an [`Order`] for the
//! kernel, which the driver carries out. So a simulated kernel can drive it, and no user code runs
//! while it is borrowed.

pub mod moment;
pub mod ready;
pub mod readiness;
pub mod waiters;
pub mod detector;
pub mod registry;
pub mod wheel;
pub mod tasks;

use std::panic::Location;

use crate::interest::{Answer, Interest, Next, Readiness, Trigger};
use crate::token::{Serials, Token};
use detector::Verdict;
use moment::Moment;
use readiness::{Do, Machine};
use ready::{Job, Kind, ReadyQueue};
use registry::{Call, Consumer, Order, Registry, Removed};
use tasks::Tasks;
use waiters::{Side, Waiters};
use wheel::{TimerKey, Wheel};

/// Everything a reactor decides with.
#[derive(Debug, Default)]
pub struct State {
    /// The sources.
    pub registry: Registry,
    /// What is to run.
    pub ready: ReadyQueue,
    /// The timers; their payload is a [`Job`].
    pub wheel: Wheel,
    /// The tasks.
    pub tasks: Tasks,
    serials: Serials,
    now: Moment,
    spin_threshold: u32,
}

/// Whether somebody must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Try now: this is known.
    Ready(Readiness),
    /// The job will be woken; first the kernel must hear this, if anything.
    Parked(Option<Order>),
    /// The registration has ended.
    Ended,
}

/// What a kernel's event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reported {
    /// Its registration had ended: dropped (law 2).
    Stale,
    /// Taken in; the kernel may have to hear something. The verdict is on the report before this
    /// one, where that woke a task which achieved nothing since (law 12).
    Taken(Option<Order>, Option<Verdict>),
}

impl State {
    /// An empty core whose serials start after `last_serial`.
    pub fn new(spin_threshold: u32, last_serial: u32) -> Self {
        Self { serials: Serials::starting_at(last_serial), spin_threshold, ..Self::default() }
    }

    // What came in.

    /// The time is `now_tick`: what is said from here on is said then.
    pub fn tell_time(&mut self, now_tick: u64) {
        self.now = Moment::at(now_tick);
    }

    /// The kernel reported `readiness` for `token`.
    pub fn event(&mut self, token: Token, readiness: Readiness) -> Reported {
        let Some(slot) = self.registry.get_mut(token) else { return Reported::Stale };
        (slot.reported, slot.reported_at) = (readiness, self.now);
        if let Some(machine) = slot.machine() {
            let todo = machine.report(readiness);
            let order = slot.order_for(todo, token);
            if todo == Do::Queue {
                self.ready.push(Job::new(Kind::Source, token));
            }
            return Reported::Taken(order, None);
        }
        self.event_for_tasks(token, readiness)
    }

    fn event_for_tasks(&mut self, token: Token, readiness: Readiness) -> Reported {
        let (ready, tasks) = (&mut self.ready, &mut self.tasks);
        let report =
            self.registry.report_to_tasks(token, readiness, |job| wake_job(ready, tasks, job));
        let Some(report) = report else { return Reported::Stale };
        for job in report.wake {
            wake_job(ready, tasks, job);
        }
        let Some(slot) = self.registry.get_mut(token) else { return Reported::Stale };
        let order = if report.mask { slot.leave(token) } else { None };
        let threshold = self.spin_threshold;
        Reported::Taken(order, report.fruitless.then(|| slot.detector.judge(false, threshold)))
    }

    /// The time is `now` (a tick): what is due is set aside for [`pop_due`](Self::pop_due).
    pub fn advance(&mut self, now: u64) {
        self.wheel.advance(now);
    }

    /// Fires the next due timer: its job becomes ready.
    pub fn pop_due(&mut self) -> bool {
        let Some((_, target)) = self.wheel.pop_due() else { return false };
        self.wake(Job::from_u64(target));
        true
    }

    // What is to run.

    /// True if a turn must not sleep.
    pub fn is_busy(&self) -> bool {
        !self.ready.is_empty() || self.wheel.has_due()
    }

    /// A source's job came up: what to tell its callback. `None` if it has ended or been served
    /// otherwise (law 2: also an event that goes stale in the queue reaches nobody).
    pub fn start_source(&mut self, token: Token) -> Option<Readiness> {
        self.registry.get_mut(token)?.machine()?.start()
    }

    // What became of it.

    /// The callback of `token` answered. `None` if it ended its own registration meanwhile.
    pub fn answer(
        &mut self,
        token: Token,
        answer: Answer,
        progress: bool,
    ) -> Option<(Do, Option<Order>, Verdict)> {
        let threshold = self.spin_threshold;
        let slot = self.registry.get_mut(token)?;
        let todo = slot.answer(answer.next);
        let verdict = slot.detector.judge(progress, threshold);
        let order = slot.order_for(todo, token);
        if todo == Do::Queue {
            self.ready.push(Job::new(Kind::Source, token));
        }
        debug_assert_eq!(todo == Do::Remove, answer.next == Next::Done);
        Some((todo, order, verdict))
    }

    /// The poll of a task answered `Pending`.
    pub fn suspend(&mut self, token: Token) {
        if self.tasks.suspend(token, self.now) {
            self.ready.push(Job::new(Kind::Task, token));
        }
    }

    // What the owners say.

    /// Registers a source with a callback; the order adds it.
    pub fn add_callback(
        &mut self,
        fd: i32,
        interest: Interest,
        trigger: Trigger,
        place: &'static Location<'static>,
    ) -> (Token, Option<Order>) {
        self.add(fd, interest, Consumer::Callback(Machine::new(trigger)), place)
    }

    /// Registers a source that tasks wait on; the order adds it.
    pub fn add_waited(
        &mut self,
        fd: i32,
        interest: Interest,
        place: &'static Location<'static>,
    ) -> (Token, Option<Order>) {
        self.add(fd, interest, Consumer::Tasks(Waiters::default()), place)
    }

    fn add(
        &mut self,
        fd: i32,
        interest: Interest,
        consumer: Consumer,
        place: &'static Location<'static>,
    ) -> (Token, Option<Order>) {
        let serial = self.serials.draw();
        let token = self.registry.insert(serial, fd, interest, consumer, place, self.now);
        let order = self.registry.get_mut(token).and_then(|slot| slot.enter(token));
        (token, order)
    }

    /// Ends a registration.
    pub fn remove_source(&mut self, token: Token) -> Option<Removed> {
        self.registry.remove(token)
    }

    /// Changes what is asked for. `None` if the registration has ended.
    pub fn set_interest(&mut self, token: Token, interest: Interest) -> Option<Option<Order>> {
        Some(self.registry.get_mut(token)?.set_interest(interest, token))
    }

    /// Ends a pause or a hold, or arms a oneshot. `None` if the registration has ended.
    pub fn resume(&mut self, token: Token) -> Option<Option<Order>> {
        let slot = self.registry.get_mut(token)?;
        if let Consumer::Tasks(waiters) = &mut slot.consumer {
            let released = waiters.release();
            return Some(if released { slot.enter(token) } else { None });
        }
        let todo = slot.machine()?.resume();
        let order = slot.order_for(todo, token);
        if todo == Do::Queue {
            self.ready.push(Job::new(Kind::Source, token));
        }
        Some(order)
    }

    /// A source spins: it leaves the epoll until `resume`.
    pub fn hold(&mut self, token: Token) -> Option<Order> {
        let slot = self.registry.get_mut(token)?;
        match &mut slot.consumer {
            Consumer::Callback(machine) => {
                let todo = machine.hold();
                slot.order_for(todo, token)
            }
            Consumer::Tasks(waiters) => {
                waiters.hold();
                slot.leave(token)
            }
        }
    }

    /// The kernel refused to take back a source that had left the epoll. It stays outside, because
    /// a DEL for what the kernel does not know hits another registration of the same descriptor.
    pub fn stay_outside(&mut self, refused: Order) {
        if refused.call != Call::Add {
            return;
        }
        let Some(slot) = self.registry.get_mut(refused.token) else { return };
        slot.stands_outside();
        if let Some(machine) = slot.machine() {
            machine.stay_masked();
        }
    }

    /// Somebody waits for a side of a source, unless it is ready.
    pub fn wait(&mut self, token: Token, side: Side, job: Job) -> Wait {
        match self.known(token, side) {
            None => Wait::Ended,
            Some(Some(known)) => Wait::Ready(known),
            Some(None) => Wait::Parked(self.registry.wait(token, side, job)),
        }
    }

    /// What is known of a side: `None` if the registration has ended, `Some(None)` if it is not
    /// ready.
    pub fn known(&self, token: Token, side: Side) -> Option<Option<Readiness>> {
        match &self.registry.get(token)?.consumer {
            Consumer::Tasks(waiters) => Some(waiters.ready(side)),
            Consumer::Callback(_) => None,
        }
    }

    /// Whether an operation on a side may succeed: false only if it is known to block and the
    /// kernel will say when that is over. `None` if the registration has ended.
    pub fn may_try(&self, token: Token, side: Side) -> Option<bool> {
        let slot = self.registry.get(token)?;
        match &slot.consumer {
            Consumer::Tasks(waiters) if waiters.is_held() => Some(false),
            Consumer::Tasks(waiters) => Some(waiters.ready(side).is_some() || !slot.hears(side)),
            Consumer::Callback(_) => None,
        }
    }

    /// The waiters of a source that tasks wait on.
    pub fn waiters(&mut self, token: Token) -> Option<&mut Waiters> {
        match &mut self.registry.get_mut(token)?.consumer {
            Consumer::Tasks(waiters) => Some(waiters),
            Consumer::Callback(_) => None,
        }
    }

    /// The owner of a source that tasks wait on achieved something. True if a report led to it.
    pub fn progress(&mut self, token: Token) -> bool {
        let threshold = self.spin_threshold;
        let Some(slot) = self.registry.get_mut(token) else { return false };
        let Consumer::Tasks(waiters) = &mut slot.consumer else { return false };
        let led = waiters.progress();
        if led {
            let _ = slot.detector.judge(true, threshold);
        } else {
            slot.detector.idle_reports = 0;
        }
        led
    }

    /// The owner of a source that tasks wait on tried it and achieved nothing, without a report.
    pub fn fruitless(&mut self, token: Token) -> Option<Verdict> {
        let threshold = self.spin_threshold;
        Some(self.registry.get_mut(token)?.detector.judge(false, threshold))
    }

    /// A new task, queued.
    pub fn add_task(&mut self, place: &'static Location<'static>) -> Token {
        let serial = self.serials.draw();
        let token = self.tasks.insert(serial, place, self.now);
        self.ready.push(Job::new(Kind::Task, token));
        token
    }

    /// Makes a job ready; a task only once, however often it is woken.
    pub fn wake(&mut self, job: Job) {
        wake_job(&mut self.ready, &mut self.tasks, job);
    }

    /// Arms a timer at `deadline` (a tick).
    pub fn add_timer(&mut self, deadline: u64, job: Job) -> TimerKey {
        self.wheel.insert(deadline, job.to_u64())
    }

    /// A serial for whatever else needs an identity.
    pub fn draw_serial(&mut self) -> u32 {
        self.serials.draw()
    }

    /// A registration that was kept goes into a fresh epoll. `None` if it has ended.
    pub fn start_afresh(&mut self, token: Token) -> Option<Option<Order>> {
        let slot = self.registry.get_mut(token)?;
        slot.machine()?.start_afresh();
        slot.stands_outside();
        let silent = slot.machine()?.is_silent();
        Some(if silent { None } else { slot.enter(token) })
    }

    /// Forgets every job, timer and task, and every source but those in `kept`; serials go on.
    pub fn clear_but(&mut self, kept: &[Token]) {
        self.registry.clear_but(kept);
        self.ready.clear();
        self.wheel.clear();
        self.tasks = Tasks::default();
    }
}

fn wake_job(ready: &mut ReadyQueue, tasks: &mut Tasks, job: Job) {
    let push = job != Job::NOBODY && (job.kind() != Kind::Task || tasks.wake(job.token()));
    if push {
        ready.push(job);
    }
}

#[cfg(test)]
mod tests;
