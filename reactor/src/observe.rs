//! What the observers see of a loop: each piece of user code, and what spins.
//!
//! A policy that is told is user code, so nothing is borrowed meanwhile. Next: `callbacks`.

use std::panic::Location;

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::local::{Local, TimerCell};
use crate::observers::{Observed, Piece};
use crate::pulse::Work;
use crate::spin::SpinReport;
use crate::state::detector::Verdict;
use crate::state::ready::{Job, Kind};
use crate::token::Token;

impl Local {
    /// A job is about to run, and somebody looks. `None` for the future of `block_on`, which runs
    /// after the turn, and for a job that has nobody left.
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
        Some(self.observers.begin(Piece { work, token, place }))
    }

    /// The future of `block_on` is about to be polled.
    pub(crate) fn observe_root(&self, token: Token) -> Option<Observed<'_>> {
        if !self.observers.any() {
            return None;
        }
        let place = self.state.borrow().tasks.get(token)?.spawned;
        Some(self.observers.begin(Piece { work: Work::Task, token, place: Some(place) }))
    }

    /// A call from another thread is about to run.
    pub(crate) fn observe_call(&self, place: &'static Location<'static>) -> Option<Observed<'_>> {
        let (work, token) = (Work::Call, Token::WAKER);
        let piece = Piece { work, token, place: Some(place) };
        self.observers.any().then(|| self.observers.begin(piece))
    }

    /// A source passed the spin threshold: masks it, if that is the policy, and names it.
    #[cold]
    pub(crate) fn name_spin(&self, token: Token) -> Result<()> {
        let masks = self.observers.on_spin.masks();
        let report = {
            let state = self.state.borrow();
            let Some(slot) = state.registry.get(token) else { return Ok(()) };
            SpinReport {
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
        self.count(|counters| counters.spins.add(1));
        self.observers.on_spin.tell(&SpinReport {
            token,
            fd: None,
            interest: Interest::NONE,
            trigger: None,
            last_readiness: Readiness::NONE,
            reports: timer.chain,
            masked: false,
            registered_at: timer.place,
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
