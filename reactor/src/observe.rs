//! What the observers do with a loop: name what spins.
//!
//! User code runs here (a policy), so nothing is borrowed meanwhile. Next: `callbacks`.

use crate::error::Result;
use crate::interest::{Interest, Readiness};
use crate::local::{Local, TimerCell};
use crate::spin::SpinReport;
use crate::state::detector::Verdict;
use crate::token::Token;

impl Local {
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
