//! What must hold, and when: after each step, at each report, call and wake-up, and at rest.
//!
//! At rest means that the loop would sleep: nothing is queued and the kernel has nothing to tell.
//! Whoever waits then for what has come waits for ever (law 3). Next: `owners`.

use squall_reactor::state::Wait;
use squall_reactor::state::ready::{Job, Kind};
use squall_reactor::{Interest, Next, Readiness, Side, Token, Trigger};

use crate::model::{ERR, HUP, IN, OUT, PRI, RDHUP};
use crate::shell::{Task, World, slot};
use crate::twins::{self, Registered};

/// Reports that nobody waited for before the source must be out of the epoll.
const UNHEARD_LIMIT: usize = 16;

impl World {
    /// After each step.
    pub fn check(&mut self) {
        self.check_entries();
        let busy = !self.state.ready.is_empty() || self.timers.has_due();
        assert_eq!(self.state.is_busy(), busy, "law 8: whether it may sleep");
        if !self.state.is_busy() && !self.kernel.has_events() {
            self.check_rest();
        }
    }

    /// Laws 1 and 4: the epoll has exactly the entries that the owners' wishes make.
    fn check_entries(&self) {
        let mut must = 0;
        let mut may = 0;
        for source in self.sources.iter().filter(|source| source.live) {
            let entry = self.kernel.entry(source.fd).filter(|e| e.data == source.token.to_u64());
            match source.must_be_in_epoll() {
                Some(must_be) => {
                    let token = source.token;
                    assert_eq!(entry.is_some(), must_be, "law 4: {token:?} in the epoll");
                    must += usize::from(must_be);
                }
                None => may += usize::from(entry.is_some()),
            }
            if let (Some(entry), Some(true)) = (entry, source.must_be_in_epoll()) {
                let mask = twins::mask(source.interest, source.trigger);
                assert_eq!(entry.events, mask, "laws 4, 5: the mask of {:?}", source.token);
            }
        }
        for io in &self.ios {
            let Some(token) = io.token else { continue };
            let entry = self.kernel.entry(io.fd).filter(|entry| entry.data == token.to_u64());
            may += usize::from(entry.is_some());
        }
        assert_eq!(self.kernel.items(), must + may, "law 1: entries of nobody");
    }

    /// Law 3: nobody waits for what has come.
    fn check_rest(&mut self) {
        self.seen.rests += 1;
        for source in self.sources.iter().filter(|source| source.live) {
            let missed = self.kernel.mask(source.fd) & source.promised();
            assert_eq!(missed, 0, "law 3: at rest, and {source:x?} was not told");
        }
        for task in self.tasks.iter().filter(|task| task.live) {
            let Task { parked: Some((io, side)), .. } = task else { continue };
            let io = &self.ios[*io];
            if *side == Side::Read && io.urgent_taken {
                continue;
            }
            let missed = self.kernel.mask(io.fd) & answers(*side, io.interest);
            assert_eq!(missed, 0, "law 3: at rest, and {task:?} was not woken of {io:?}");
        }
    }

    /// The kernel reported: it must have been allowed to.
    pub fn check_report(&mut self, report: u32, token: Token) {
        if let Some(id) = self.source_of(token) {
            let source = &mut self.sources[id];
            let Registered { trigger, armed, paused, interest, .. } = *source;
            assert!(!interest.is_none(), "law 4: {token:?} asked for nothing");
            assert!(trigger != Trigger::Oneshot || armed, "law 5: {token:?} is disarmed");
            source.reports_in_pause += usize::from(paused);
            let most = usize::from(trigger == Trigger::Edge);
            assert!(!paused || source.reports_in_pause <= most, "law 3: {token:?} is paused");
            return;
        }
        let id = self.io_of(token);
        let id = id.unwrap_or_else(|| panic!("law 1: {report:x} for {token:?}, which has ended"));
        let heard = self.tasks.iter().any(|task| task.parked.is_some_and(|(io, _)| io == id));
        let io = &mut self.ios[id];
        let stands = io.abandoned != [0; 3];
        io.abandoned.iter_mut().filter(|mask| report & **mask != 0).for_each(|mask| *mask = 0);
        io.unheard = if heard || stands { 0 } else { io.unheard + 1 };
        assert!(io.unheard <= UNHEARD_LIMIT, "law 8: nobody waits for {token:?}");
    }

    /// Law 2, and laws 3 to 5: who is called, and what it is told.
    pub fn check_call(&self, source: usize, token: Token, told: Readiness) {
        let source = &self.sources[source];
        assert!(source.live && source.token == token, "law 2: {source:?} called for {token:?}");
        assert!(!source.running && !source.paused, "law 3: {source:?} called");
        assert!(!source.interest.is_none(), "law 4: {source:?} called");
        assert_eq!(told, source.known, "laws 3 to 5: what {token:?} is told");
        assert!(!told.is_empty(), "laws 3 to 5: {token:?} is told of nothing");
    }

    /// A token belongs to nobody else.
    pub fn check_new(&self, token: Token) {
        let taken = self.source_of(token).is_some() || self.io_of(token).is_some();
        assert!(!taken && !self.ended.contains(&token), "law 2: {token:?} again");
    }

    /// A job that was woken is in the queue, or its task is being polled.
    pub fn check_woken(&self, job: Job) {
        let running = |task: &Task| task.running && Job::new(Kind::Task, task.token) == job;
        let woken = self.state.ready.iter().any(|queued| queued == job)
            || job.kind() == Kind::Task && self.tasks.iter().any(running);
        let dead = job.kind() == Kind::Task
            && !self.tasks.iter().any(|task| task.live && task.token == job.token());
        assert!(woken || dead, "law 9: {job:?} is lost");
    }

    /// A report for `token` has queued `job`: whoever is meant has to do with it.
    pub fn check_meant(&self, job: Job, token: Token) {
        let task = match job.kind() {
            Kind::Source => return assert_eq!(job.token(), token, "law 2"),
            Kind::Task => self.tasks.iter().rposition(|task| task.token == job.token()),
            Kind::Waker => self.wakers[slot(job.token())].map(|(_, task)| task),
            Kind::Timer => None,
        };
        let io = task.and_then(|task| self.tasks[task].io);
        assert!(io.is_some() && io == self.io_of(token), "law 2: {token:?} has woken {job:?}");
    }

    /// Nobody stands twice where somebody waits.
    pub fn check_standing(&self, token: Token, side: Side) {
        let mut standing: Vec<u64> = Vec::new();
        for job in self.state.registry.standing(token, side).filter(|job| *job != Job::NOBODY) {
            assert!(!standing.contains(&job.to_u64()), "law 3: {job:?} stands twice");
            standing.push(job.to_u64());
        }
    }

    /// Law 2: whatever is said to a registration that has ended comes to nothing.
    pub fn check_late_use(&mut self, token: Token) {
        let (state, side) = (&mut self.state, Side::Read);
        let before = format!("{:?}", state.ready);
        assert!(state.registry.get(token).is_none() && state.registry.get_mut(token).is_none());
        assert!(state.known(token, side).is_none() && state.may_try(token, side).is_none());
        assert!(state.start_source(token).is_none() && state.waiters(token).is_none());
        assert!(state.answer(token, Next::Again.into(), true).is_none());
        assert!(state.set_interest(token, Interest::BOTH).is_none());
        assert!(state.resume(token).is_none() && state.remove_source(token).is_none());
        assert_eq!(state.wait(token, side, Job::NOBODY), Wait::Ended);
        assert!(!state.progress(token) && !state.tasks.contains(token));
        assert_eq!(before, format!("{:?}", state.ready), "law 2: late use of {token:?}");
    }

    /// What is queued is queued once.
    pub fn check_queue(&self, jobs: &[Job]) {
        for (at, job) in jobs.iter().enumerate() {
            let twice = jobs[..at].contains(job);
            assert!(*job != Job::NOBODY && !twice, "law 7: {job:?} is queued, twice: {twice}");
        }
    }

    /// At the end nothing is left of anybody.
    pub fn check_empty(&self) {
        assert_eq!(self.kernel.items(), 0, "law 1: entries outlive their registrations");
        let state = &self.state;
        assert!(state.registry.is_empty() && state.tasks.is_empty() && state.wheel.is_empty());
        assert!(state.ready.is_empty(), "a job of nobody: {:?}", state.ready);
        assert_eq!((state.wheel.next_deadline(), self.timers.len()), (None, 0));
        assert!(self.wakers.iter().all(Option::is_none), "a waker that nobody has forgotten");
    }
}

/// The parts of poll(2)'s answer that whoever waits for a side waits for.
pub fn answers(side: Side, interest: Interest) -> u32 {
    match side {
        Side::Read => twins::asked(interest) & (IN | RDHUP | PRI) | HUP | ERR,
        Side::Write => OUT | HUP | ERR,
        Side::Closed => twins::asked(interest) & RDHUP | HUP | ERR,
        Side::HungUp => HUP | ERR,
    }
}
