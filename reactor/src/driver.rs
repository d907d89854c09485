//! One turn: the heart of the loop.
//!
//! wait -> collect -> receive -> fire -> dispatch. Each step takes a bounded share (law 7); what is
//! left over makes the next wait return at once. The core decides, this file introduces it to the
//! kernel, and it sleeps exactly until something is due (law 8).
//! Next: `registration`.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::local::Local;
use crate::shared::Message;
use crate::state::Reported;
use crate::state::detector::Verdict;
use crate::state::ready::{Job, Kind};
use crate::stats::Lag;
use crate::sys::selector;
use crate::token::Token;
use crate::trace::What;

impl Local {
    /// One turn; it sleeps at most for `limit`, and not at all if something is ready. Returns how
    /// many jobs ran.
    pub(crate) fn turn(
        self: &Rc<Self>,
        events: &mut mio::Events,
        limit: Option<Duration>,
    ) -> Result<usize> {
        self.check()?;
        if self.turning.replace(true) {
            return Err(Error::Nested);
        }
        let turning = Turning(self);
        let achieved = self.achieved.get();
        let slept = self.sleep(events, limit)?;
        if self.observers.any() {
            self.observers.turn();
        }
        let tick = self.clock.tick(self.now.get());
        self.state.borrow_mut().tell_time(self.clock.millis(self.now.get()));
        self.collect(events);
        self.receive_some();
        if self.forked() {
            // A call forked, and this is the child: the rest is the parent's.
            return Err(Error::Forked);
        }
        self.fire(tick);
        let ran = self.dispatch()?;
        if self.observers.traces() {
            self.trace_span(What::Turn, self.now.get(), Instant::now());
        }
        self.count(|counters| {
            counters.turns.add(1);
            counters.wakeups.add(u64::from(slept));
        });
        self.unsettled.set(slept.then_some(achieved));
        if !self.root_ready.get() {
            self.settle_wakeup();
        }
        self.count_what_lives();
        drop(turning);
        Ok(ran)
    }

    /// Waits for the kernel. True if the wait was allowed to sleep.
    fn sleep(&self, events: &mut mio::Events, limit: Option<Duration>) -> Result<bool> {
        let timeout = self.timeout(limit);
        // What a bounded step left over forbids the attempt: a loop that sleeps on a queue that is
        // not empty has lost a wake-up.
        let may_sleep = timeout != Some(Duration::ZERO) && self.mail() == 0 && self.try_sleep();
        if may_sleep {
            self.clock.set_alarm(self.state.borrow().wheel.next_deadline());
        }
        let timeout = if may_sleep { timeout } else { Some(Duration::ZERO) };
        let reads = may_sleep || self.observers.traces();
        let before = if reads { Instant::now() } else { self.now.get() };
        let result = self.wait(events, timeout);
        self.awake();
        let now = Instant::now();
        self.count(|counters| {
            let busy = before.saturating_duration_since(self.now.get());
            let rest = now.saturating_duration_since(before);
            let busy = (busy + if may_sleep { Duration::ZERO } else { rest }).as_nanos() as u64;
            counters.busy_ns.add(busy);
            if !self.host.lent.get() {
                counters.lag[Lag::bucket(busy)].add(1);
            }
            if may_sleep {
                counters.asleep_ns.add(rest.as_nanos() as u64);
            }
        });
        self.now.set(now);
        if self.observers.traces() {
            self.trace_span(What::Wait { slept: may_sleep }, before, now);
        }
        match result {
            Ok(()) => {
                self.host.more.set(events.iter().count() == events.capacity());
                Ok(may_sleep)
            }
            // A signal: its handler may have made something ready, so the turn goes on.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                events.clear();
                self.host.more.set(true);
                Ok(false)
            }
            Err(error) => Err(Error::Os { call: "epoll_wait", source: error }),
        }
    }

    /// How long the wait may last: until the earliest timer, and not at all if something is ready.
    fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        let state = self.state.borrow();
        if state.is_busy() || self.root_ready.get() {
            return Some(Duration::ZERO);
        }
        let due = state.wheel.next_deadline().map(|tick| self.clock.until(tick, Instant::now()));
        match (due, limit) {
            (Some(due), Some(limit)) => Some(due.min(limit)),
            (due, limit) => due.or(limit),
        }
    }

    /// Tells the core what the kernel reported. No user code runs here, but for naming what spins.
    fn collect(&self, events: &mio::Events) {
        let (mut taken, mut stale, mut fruitless) = (0, 0, 0);
        let mut spinning = Vec::new();
        let (traces, queued) = (self.observers.traces(), self.queued());
        for event in events {
            let token = Token::from_u64(event.token().0 as u64);
            if token == Token::WAKER {
                continue;
            }
            taken += 1;
            let readiness = selector::readiness(event);
            if traces {
                let place = self.state.borrow().registry.get(token).map(|slot| slot.place);
                self.trace(What::Report(readiness), token, place);
            }
            let reported = self.state.borrow_mut().event(token, readiness);
            let order = match reported {
                Reported::Stale => {
                    stale += 1;
                    None
                }
                Reported::Taken(order, verdict) => {
                    fruitless += u64::from(verdict.is_some());
                    if verdict == Some(Verdict::Spins) {
                        spinning.push(token);
                    }
                    order
                }
            };
            // Only ever a DEL; where it fails the kernel does not know the source. To end here would
            // lose the rest of the batch.
            let _ = self.carry_out(order);
        }
        if traces {
            self.trace_woken(queued, Instant::now());
        }
        if taken > 0 {
            self.count(|counters| {
                counters.events.add(taken);
                counters.stale_events.add(stale);
                counters.no_progress.add(fruitless);
                counters.spins.add(spinning.len() as u64);
            });
        }
        for token in spinning {
            // As above.
            let _ = self.name_spin(token);
        }
    }

    /// Takes a bounded share of what other threads sent.
    fn receive_some(self: &Rc<Self>) {
        let share = self.mail().min(self.config.remote);
        for _ in 0..share {
            let Some(message) = self.receive() else { return };
            self.achieve();
            match message {
                Message::Wake(header) => {
                    // Before the task can be polled, so a wake during the poll is sent again.
                    header.notified.store(false, Ordering::Release);
                    let queued = self.queued();
                    self.state.borrow_mut().wake(Job::new(Kind::Task, header.token));
                    if self.observers.traces() {
                        self.trace_woken(queued, Instant::now());
                    }
                }
                Message::Stop => self.stop.set(true),
                Message::Call(call) => {
                    self.count(|counters| counters.remote_calls.add(1));
                    call();
                    if self.forked() {
                        return;
                    }
                }
            }
        }
    }

    /// Makes a bounded share of the due timers ready; one reading of the clock serves them all.
    fn fire(&self, tick: u64) {
        let mut state = self.state.borrow_mut();
        state.advance(tick);
        let (mut fired, queued) = (0, state.ready.len());
        while fired < self.config.timers as u64 && state.pop_due() {
            fired += 1;
        }
        drop(state);
        if fired > 0 {
            if self.observers.traces() {
                self.trace_woken(queued, Instant::now());
            }
            self.count(|counters| counters.timers_fired.add(fired));
            self.achieve();
        }
    }

    /// Runs what was ready, or the budget, whichever is more.
    fn dispatch(self: &Rc<Self>) -> Result<usize> {
        self.state.borrow_mut().ready.begin(self.config.jobs);
        let mut ran = 0;
        loop {
            let Some(job) = self.state.borrow_mut().ready.pop() else { break };
            ran += 1;
            self.run(job)?;
            if self.forked() {
                // The job forked, and this is the child: the rest is the parent's.
                return Err(Error::Forked);
            }
        }
        if ran > 0 {
            self.count(|counters| counters.dispatches.add(ran as u64));
        }
        Ok(ran)
    }

    fn run(self: &Rc<Self>, job: Job) -> Result<()> {
        let _observed = if self.observers.any() { self.observe_job(job) } else { None };
        let token = job.token();
        match job.kind() {
            Kind::Source => return self.call_back(token),
            Kind::Task if self.root.get() == Some(token) => self.root_ready.set(true),
            Kind::Task => self.poll_task(token),
            Kind::Waker => {
                if let Some(waker) = self.take_waker(token) {
                    waker.wake();
                }
            }
            Kind::Timer => self.call_timer(token),
        }
        Ok(())
    }

    fn count_what_lives(&self) {
        let state = self.state.borrow();
        self.count(|counters| {
            counters.sources.set(state.registry.len() as u64);
            counters.tasks.set(state.tasks.len() as u64);
            counters.timers.set(state.wheel.len() as u64);
        });
    }
}

/// The turn is over, also when a job panics.
struct Turning<'a>(&'a Local);

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.0.turning.set(false);
    }
}
