//! What the observers see of a loop: each piece of user code, and what spins.
//!
//! A policy that is told is user code, so nothing is borrowed meanwhile. Next: `callbacks`.

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::local::{Local, TimerCell};
use crate::observers::Piece;
use crate::pulse::Work;
use crate::spin::{SpinReport, Spinner};
use crate::state::detector::Verdict;
use crate::state::ready::{Job, Kind};
use crate::token::Token;
use crate::trace::{PoolSpan, What};

impl Local {
    /// A job is about to run, and somebody looks. `None` for the future of `block_on`, which runs
    /// after the turn, and for a job that has nobody left.
    #[inline(never)]
    pub(crate) fn observe_job(&self, job: Job) -> Option<Observed<'_>> {
        let token = job.token();
        let (work, place) = match job.kind() {
            Kind::Source => (Work::Callback, Some(self.state.borrow().registry.get(token)?.place)),
            Kind::Task if self.root.get() == Some(token) => return None,
            Kind::Task => (Work::Task, Some(self.state.borrow().tasks.get(token)?.spawned)),
            Kind::Waker => (Work::Waker, None),
            Kind::Timer => {
                let timers = self.timers.borrow();
                let timer = timers.get(token.index()).filter(|cell| cell.serial == token.serial)?;
                (Work::Timer, Some(timer.place))
            }
        };
        Some(self.observe(Piece { work, token, place }))
    }

    /// The future of `block_on` is about to be polled.
    pub(crate) fn observe_root(&self, token: Token) -> Option<Observed<'_>> {
        if !self.observers.any() {
            return None;
        }
        let place = self.state.borrow().tasks.get(token)?.spawned;
        Some(self.observe(Piece { work: Work::Task, token, place: Some(place) }))
    }

    /// A call from another thread is about to run.
    pub(crate) fn observe_call(&self, place: &'static Location<'static>) -> Option<Observed<'_>> {
        let (work, token) = (Work::Call, Token::WAKER);
        let piece = Piece { work, token, place: Some(place) };
        self.observers.any().then(|| self.observe(piece))
    }

    fn observe(&self, piece: Piece) -> Observed<'_> {
        let (queued, began) = (self.queued(), self.observers.begin(piece));
        Observed { local: self, piece, began, queued }
    }

    // The trace.

    /// Something else than a piece of user code happened now.
    pub(crate) fn trace(
        &self,
        what: What,
        token: Token,
        place: Option<&'static Location<'static>>,
    ) {
        self.observers.record(what, token, place, Instant::now(), Duration::ZERO);
    }

    /// A span of the loop's own that ends now.
    pub(crate) fn trace_span(&self, what: What, began: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(began);
        self.observers.record(what, Token::WAKER, None, began, took);
    }

    /// How long the ready queue is, for `trace_woken`.
    pub(crate) fn queued(&self) -> usize {
        self.state.try_borrow().map_or(0, |state| state.ready.len())
    }

    /// What stands in the ready queue behind the first `queued` jobs was woken at `at`.
    pub(crate) fn trace_woken(&self, queued: usize, at: Instant) {
        // A panic may have come from where the core is borrowed.
        let Ok(state) = self.state.try_borrow() else { return };
        for job in state.ready.iter().skip(queued) {
            self.observers.record(What::Wake(job.kind()), job.token(), None, at, Duration::ZERO);
        }
    }

    /// Work is given to a pool: the name by which the trace will know it, if the loop that turns on
    /// this thread records one.
    pub(crate) fn trace_given(place: &'static Location<'static>) -> Option<Token> {
        let local = Self::current().filter(|local| local.observers.traces())?;
        let given = Token { slot: 0, serial: local.state.borrow_mut().draw_serial() };
        local.trace(What::Give, given, Some(place));
        Some(given)
    }

    /// The loop that turns on this thread has the result of a pool's work, which took `span`.
    pub(crate) fn trace_pool(
        place: &'static Location<'static>,
        span: impl FnOnce() -> Option<PoolSpan>,
    ) {
        if let Some(local) = Self::current().filter(|local| local.observers.traces())
            && let Some(PoolSpan { given, began, took, thread }) = span()
        {
            let what = What::Pool { thread };
            local.observers.record(what, given, Some(place), began, took);
        }
    }

    /// A source passed the spin threshold: masks it, if that is the policy, and names it.
    #[cold]
    pub(crate) fn name_spin(&self, token: Token) -> Result<()> {
        let masks = self.observers.on_spin.masks();
        let report = {
            let state = self.state.borrow();
            let Some(slot) = state.registry.get(token) else { return Ok(()) };
            SpinReport {
                spinner: Spinner::Source,
                token,
                fd: Some(slot.fd),
                interest: slot.interest,
                trigger: Some(slot.trigger()),
                last_readiness: slot.reported,
                reports: slot.detector.idle_reports,
                masked: masks,
                registered_at: slot.place,
            }
        };
        if masks {
            let order = self.state.borrow_mut().hold(token);
            self.carry_out(order)?;
        }
        self.observers.on_spin.tell(&report);
        Ok(())
    }

    /// A timer has armed itself again as already due for the threshold-th time in a row.
    #[cold]
    pub(crate) fn name_timer(&self, token: Token, timer: &TimerCell) {
        self.name_other(Spinner::Timer, token, timer.chain, timer.place);
    }

    /// The task that is being polled has spent its operations, and would sleep until a moment that
    /// has passed. If it has achieved nothing meanwhile, and so for the threshold-th poll in a row, it
    /// is named.
    #[cold]
    pub(crate) fn sleepless() {
        let Some(local) = Self::current() else { return };
        let Some((token, _)) = local.running.get() else { return };
        let task = local.state.borrow().tasks.get(token).map(|task| (task.polls, task.spawned));
        let Some((poll, place)) = task else { return };
        if local.achieved.get() != local.achieved_before.get() {
            return;
        }
        let polls = local.observers.sleepless(token, poll);
        if polls.is_multiple_of(local.config.spin_threshold.max(1)) {
            local.name_other(Spinner::Task, token, polls, place);
        }
    }

    /// What spins has no descriptor.
    fn name_other(
        &self,
        spinner: Spinner,
        token: Token,
        reports: u32,
        registered_at: &'static Location<'static>,
    ) {
        self.count(|counters| counters.spins.add(1));
        self.observers.on_spin.tell(&SpinReport {
            spinner,
            token,
            fd: None,
            interest: Interest::NONE,
            trigger: None,
            last_readiness: Readiness::NONE,
            reports,
            masked: false,
            registered_at,
        });
    }

    /// An operation on a source that tasks wait on told its owner what he had been told already: an
    /// end or an error, again.
    #[cold]
    pub(crate) fn fruitless(&self, token: Token) {
        let Some(verdict) = self.state.borrow_mut().fruitless(token) else { return };
        let spins = verdict == Verdict::Spins;
        self.count(|counters| {
            counters.no_progress.add(1);
            counters.spins.add(u64::from(spins));
        });
        if spins {
            // Only ever a DEL; where it fails the kernel does not know the source.
            let _ = self.name_spin(token);
        }
    }
}

/// A piece of user code is running; dropped when it ends, also by a panic.
#[must_use]
pub(crate) struct Observed<'a> {
    local: &'a Local,
    piece: Piece,
    began: Option<Instant>,
    queued: usize,
}

impl Drop for Observed<'_> {
    // Out of line, like `observe_job`: what nobody looks at pays a branch alone.
    #[inline(never)]
    fn drop(&mut self) {
        let took = self.local.observers.end(self.piece, self.began);
        if let Some(began) = self.began
            && self.local.observers.traces()
        {
            // Within the span, so that the arrow begins at it.
            let last = took.saturating_sub(Duration::from_nanos(1));
            self.local.trace_woken(self.queued, began + last);
        }
    }
}
