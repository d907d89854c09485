//! What owners call: registrations, sources that tasks wait on, tasks, timers.
//!
//! The second half of the simulated shell: registration, io, executor and time. A closure and a
//! future are what `owners` makes of them. Next: `laws`.

use std::panic::Location;

use squall_reactor::state::Wait;
use squall_reactor::state::ready::{Job, Kind};
use squall_reactor::state::registry::Call;
use squall_reactor::state::waiters::Waiters;
use squall_reactor::state::wheel::TimerKey;
use squall_reactor::{Interest, Readiness, Side, Token, Trigger};

use crate::laws::answers;
use crate::model::{Errno, Kernel};
use crate::owners::Role;
use crate::shell::{Closure, Parked, Task, Waited, World, keep, serial, slot, take_if_fits};
use crate::twins::{self, Registered, Timer};

impl World {
    // registration.rs

    pub fn register(&mut self, fd: i32, interest: Interest, trigger: Trigger, to_write: usize) {
        let file = self.kernel.file(fd).expect("an open descriptor");
        let (token, order) = self.state.add_callback(fd, interest, trigger, Location::caller());
        self.say(|| format!("register {fd}: {interest:?}, {trigger:?}, {token:?}"));
        self.check_new(token);
        if !self.tell(order) {
            let _removed = self.state.remove_source(token);
            self.ended.push(token);
            self.close(fd);
            return;
        }
        if self.callbacks.len() <= slot(token) {
            self.callbacks.resize(slot(token) + 1, None);
        }
        self.callbacks[slot(token)] = Some(self.sources.len());
        self.sources.push(Registered {
            fd,
            file,
            token,
            trigger,
            interest,
            live: true,
            open: true,
            leaving: false,
            running: false,
            resumed: false,
            paused: false,
            armed: true,
            owed: false,
            expects: twins::asked(interest),
            known: Readiness::NONE,
            reports_in_pause: 0,
            to_write,
        });
    }

    pub fn set_interest(&mut self, source: usize, interest: Interest) {
        let Registered { token, live, .. } = self.sources[source];
        self.say(|| format!("set_interest {token:?}: {interest:?}"));
        let order = self.state.set_interest(token, interest);
        assert_eq!(order.is_some(), live, "law 2: the interest of {token:?}");
        let Some(order) = order else { return };
        self.sources[source].asks(interest);
        if !self.tell(order) && order.is_some_and(|order| order.call == Call::Add) {
            let slot = self.state.registry.get_mut(token).expect("it lives");
            slot.stands_outside();
            slot.interest = Interest::NONE;
            self.sources[source].asks(Interest::NONE);
        }
    }

    pub fn resume(&mut self, source: usize) {
        let Registered { token, live, .. } = self.sources[source];
        self.say(|| format!("resume {token:?}"));
        let order = self.state.resume(token);
        assert_eq!(order.is_some(), live, "law 2: resuming {token:?}");
        let Some(order) = order else { return };
        self.sources[source].resumes();
        self.count(order);
        self.tell_again(order);
    }

    /// Its owner drops it: DEL, the closure, and close, which waits for a callback that runs.
    pub fn drop_source(&mut self, source: usize) {
        let Registered { token, live, running, .. } = self.sources[source];
        if live {
            self.deregister(token);
        }
        if running {
            self.sources[source].leaving = true;
        } else {
            self.close_source(source);
        }
    }

    pub fn close_source(&mut self, source: usize) {
        let fd = self.sources[source].fd;
        (self.sources[source].open, self.sources[source].leaving) = (false, false);
        self.close(fd);
    }

    /// close(2), by an owner: law 1 wants the entry gone before.
    pub fn close(&mut self, fd: i32) {
        self.say(|| format!("close {fd}"));
        assert_eq!(self.kernel.entry(fd), None, "law 1: {fd} closes before its DEL");
        self.seen.outlived += usize::from(self.kernel.is_shared(fd));
        self.kernel.close(fd).expect("an owner closes once");
    }

    // io.rs

    /// Tries an operation on a side of a source that tasks wait on.
    pub fn io_try(
        &mut self,
        io: usize,
        side: Side,
        f: impl FnOnce(&mut Kernel, i32) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let Waited { fd, token, .. } = self.ios[io];
        if let Some(token) = token
            && !self.state.may_try(token, side).expect("a registration that is held")
        {
            return Err(Errno::Again);
        }
        let result = f(&mut self.kernel, fd);
        match (result, token) {
            (Err(Errno::Again), Some(token)) => self.waiters(token).would_block(side),
            (Err(Errno::Again), None) => self.ios[io].disproved |= side.disproved(),
            (Err(_), _) => {}
            (Ok(_), Some(token)) => {
                let _led = self.state.progress(token);
            }
            (Ok(_), None) => {
                let disproved = self.ios[io].disproved;
                self.ios[io].disproved = disproved.without(side.disproved());
            }
        }
        self.say(|| format!("io {io}, {side:?} = {result:?}"));
        result
    }

    /// A TCP read or write moved fewer bytes than it could.
    pub fn io_short(&mut self, io: usize, side: Side) {
        if let (true, Some(token)) = (self.ios[io].tcp, self.ios[io].token) {
            self.waiters(token).short(side);
        }
    }

    /// Waits for a side.
    pub fn io_park(&mut self, task: usize, io: usize, side: Side) -> Parked {
        let Waited { token, disproved, .. } = self.ios[io];
        let believed = (Readiness::READ | Readiness::WRITE).without(disproved);
        let token = match token {
            Some(token) => token,
            None if side.is_ready(believed) => return Parked::Ready,
            None => match self.io_register(io) {
                Some(token) => token,
                None => return Parked::Refused,
            },
        };
        if self.state.known(token, side).expect("a registration that is held").is_some() {
            return Parked::Ready;
        }
        let job = self.io_job(task, token, side);
        self.seen.crowded += usize::from(self.state.registry.standing(token, side).count() > 1);
        match self.state.wait(token, side, job) {
            Wait::Ready(_) => Parked::Ready,
            Wait::Parked(order) => {
                self.say(|| format!("task {task} waits for {side:?} of io {io}"));
                self.count(order);
                self.ios[io].unheard = 0;
                if !self.tell_again(order) {
                    self.abandon(io, side);
                    return Parked::Refused;
                }
                self.tasks[task].parked = Some((io, side));
                self.check_standing(token, side);
                Parked::Waits
            }
            Wait::Ended => panic!("law 2: {token:?} has ended under its owner"),
        }
    }

    /// The task's own job, or the one by which its foreign waker stands there already.
    fn io_job(&mut self, task: usize, token: Token, side: Side) -> Job {
        let ours = |job: &Job| {
            let token = job.token();
            *job != Job::NOBODY
                && job.kind() == Kind::Waker
                && self.wakers.get(slot(token)) == Some(&Some((serial(token), task)))
        };
        let standing = self.state.registry.standing(token, side).find(ours);
        standing.unwrap_or_else(|| self.job_for(task))
    }

    fn io_register(&mut self, io: usize) -> Option<Token> {
        let Waited { fd, interest, disproved, .. } = self.ios[io];
        let without = interest.without(Interest::WRITABLE);
        let waits_for_room = disproved.contains(Readiness::WRITE);
        let interest = if waits_for_room || without.is_none() { interest } else { without };
        let (token, order) = self.state.add_waited(fd, interest, Location::caller());
        self.check_new(token);
        self.say(|| format!("io {io} is {token:?}"));
        if !self.tell(order) {
            let _removed = self.state.remove_source(token);
            self.ended.push(token);
            return None;
        }
        self.waiters(token).disprove(disproved);
        self.ios[io].token = Some(token);
        Some(token)
    }

    fn waiters(&mut self, token: Token) -> &mut Waiters {
        self.state.waiters(token).expect("a registration that is held")
    }

    fn let_go(&mut self, io: usize) {
        self.ios[io].holders -= 1;
        if self.ios[io].holders > 0 {
            return;
        }
        if let Some(token) = self.ios[io].token {
            self.deregister(token);
        }
        self.close(self.ios[io].fd);
    }

    // executor.rs and time.rs

    pub fn spawn(&mut self, role: Role, io: Option<usize>) {
        let token = self.state.add_task(Location::caller());
        let foreign = self.rng.chance(25);
        self.say(|| format!("spawn {token:?}: {role:?}, io {io:?}"));
        self.tasks.push(Task {
            token,
            role,
            io,
            live: true,
            running: false,
            woken: false,
            foreign,
            parked: None,
            sleep: None,
        });
        if let Some(io) = io {
            self.ios[io].holders += 1;
        }
        self.check_woken(Job::new(Kind::Task, token));
    }

    pub fn poll_task(&mut self, token: Token) {
        let task = self.tasks.iter().position(|task| task.live && task.token == token);
        assert_eq!(self.state.tasks.start(token), task.is_some(), "law 2: a poll of {token:?}");
        let Some(task) = task else { return };
        self.seen.polls += 1;
        (self.tasks[task].running, self.tasks[task].woken) = (true, false);
        self.unpark(task);
        let done = self.poll(task);
        self.tasks[task].running = false;
        self.say(|| format!("task {task} polled, done: {done}"));
        if !done && self.tasks[task].live {
            self.state.suspend(token);
            if self.tasks[task].woken {
                self.check_woken(Job::new(Kind::Task, token));
            }
            return;
        }
        let live = std::mem::replace(&mut self.tasks[task].live, false);
        assert_eq!(self.state.tasks.remove(token), live);
        self.drop_future(task);
    }

    /// Drops a task's future; that of one which is being polled when its poll returns.
    pub fn cancel(&mut self, task: usize) {
        let Task { token, live, running, .. } = self.tasks[task];
        assert_eq!(self.state.tasks.remove(token), live, "law 2: cancelling {token:?}");
        if !live {
            return;
        }
        self.say(|| format!("cancel task {task}"));
        self.tasks[task].live = false;
        if !running {
            self.unpark(task);
            self.drop_future(task);
        }
    }

    fn drop_future(&mut self, task: usize) {
        self.unpark(task);
        if let Some((key, _)) = self.tasks[task].sleep.take() {
            self.cancel_timer(key);
        }
        if let Some(io) = self.tasks[task].io {
            self.let_go(io);
        }
    }

    /// It waits no more; its job may still stand with the source.
    fn unpark(&mut self, task: usize) {
        if let Some((io, side)) = self.tasks[task].parked.take() {
            self.abandon(io, side);
        }
    }

    fn abandon(&mut self, io: usize, side: Side) {
        let place = match side {
            Side::Read => 0,
            Side::Write => 1,
            Side::Closed | Side::HungUp => 2,
        };
        self.ios[io].abandoned[place] |= answers(side, Interest::BOTH | Interest::PRIORITY);
    }

    pub fn sleep(&mut self, task: usize, deadline_us: u64, stall: bool) {
        let job = self.job_for(task);
        let key = self.add_timer(deadline_us, job);
        self.tasks[task].sleep = Some((key, stall));
    }

    pub fn add_closure(&mut self, deadline_us: u64, closure: Closure) {
        let serial = self.state.draw_serial();
        let token = keep(&mut self.closures, serial, closure);
        self.add_timer(deadline_us, Job::new(Kind::Timer, token));
    }

    fn add_timer(&mut self, deadline_us: u64, job: Job) -> TimerKey {
        let deadline_tick = deadline_us.div_ceil(1000);
        let key = self.state.add_timer(deadline_tick, job);
        self.say(|| format!("timer {key:?} at {deadline_tick} ms: {job:?}"));
        self.timers.insert(Timer { key, deadline_tick, deadline_us, job });
        key
    }

    pub fn cancel_timer(&mut self, key: TimerKey) {
        let twin = self.timers.remove(key);
        let target = self.state.wheel.cancel(key);
        assert_eq!(target, twin.map(|timer| timer.job.to_u64()), "law 10: cancelling {key:?}");
        let Some(Timer { job, .. }) = twin else { return };
        match job.kind() {
            Kind::Waker => drop(self.take_waker(job.token())),
            Kind::Timer => drop(take_if_fits(&mut self.closures, job.token())),
            Kind::Source | Kind::Task => {}
        }
    }

    pub fn reset_timer(&mut self, key: TimerKey, deadline_us: u64) {
        let deadline_tick = deadline_us.div_ceil(1000);
        let reset = self.state.wheel.reset(key, deadline_tick);
        let twin = self.timers.remove(key);
        assert_eq!(reset, twin.is_some(), "law 10: resetting {key:?}");
        if let Some(timer) = twin {
            self.timers.insert(Timer { deadline_tick, deadline_us, ..timer });
        }
    }
}
