//! Callbacks: take the closure out, call it, put it back if its registration still lives.
//!
//! While it runs, no table is borrowed, so it may do anything through a handle: register, end itself
//! or its neighbours, stop the loop. If it panics its registration ends (DEL, then the closure),
//! the panic goes on, and the reactor stays usable. Next: `executor`.

use std::rc::Rc;

use crate::error::Result;
use crate::interest::{Answer, Next};
use crate::local::{Callback, Local, TimerCell};
use crate::state::detector::Verdict;
use crate::state::readiness::Do;
use crate::token::Token;

impl Local {
    /// Keeps the closure of a new registration.
    pub(crate) fn keep_callback(&self, token: Token, callback: Callback) {
        let mut callbacks = self.callbacks.borrow_mut();
        if callbacks.len() <= token.index() {
            callbacks.resize_with(token.index() + 1, || None);
        }
        callbacks[token.index()] = Some(callback);
    }

    /// A source's job came up.
    pub(crate) fn call_back(self: &Rc<Self>, token: Token) -> Result<()> {
        let started = self.state.borrow_mut().start_source(token);
        let Some(readiness) = started else {
            if self.state.borrow().registry.get(token).is_none() {
                // Law 2: it went stale in the ready queue.
                self.count(|counters| counters.stale_events.add(1));
            }
            return Ok(());
        };
        let taken = self.callbacks.borrow_mut().get_mut(token.index()).and_then(Option::take);
        let Some(mut callback) = taken else { return Ok(()) };
        self.touched.set(false);
        let guard = EndOnPanic { local: self, token };
        let answer = callback(token, readiness);
        std::mem::forget(guard);
        self.answered(token, callback, answer)
    }

    fn answered(&self, token: Token, callback: Callback, answer: Answer) -> Result<()> {
        let progress = answer.progress.unwrap_or(false) || self.touched.get();
        let outcome = self.state.borrow_mut().answer(token, answer, progress);
        let spins = outcome.is_some_and(|(.., verdict)| verdict == Verdict::Spins);
        self.count(|counters| {
            let judged = if progress { &counters.progress } else { &counters.no_progress };
            judged.add(1);
            counters.spins.add(u64::from(spins));
        });
        if progress {
            self.achieve();
        }
        // It ended its own registration, so the closure ends here, after DEL.
        let Some((todo, order, _)) = outcome else { return Ok(()) };
        debug_assert_eq!(todo == Do::Remove, answer.next == Next::Done);
        if todo == Do::Remove {
            self.deregister(token);
            return Ok(());
        }
        self.keep_callback(token, callback);
        self.carry_out_again(order)?;
        if spins { self.name_spin(token) } else { Ok(()) }
    }

    /// A timer's job came up.
    pub(crate) fn call_timer(&self, token: Token) {
        let Some(timer) = self.take_timer(token) else { return };
        let threshold = self.config.spin_threshold.max(1);
        if timer.chain > 0 && timer.chain.is_multiple_of(threshold) {
            self.name_timer(token, &timer);
        }
        let fired = self.observers.fire(timer.chain, self.achieved.get());
        (timer.callback)();
        drop(fired);
    }

    /// Takes a timer's closure out; `None` if it was called or cancelled.
    pub(crate) fn take_timer(&self, token: Token) -> Option<TimerCell> {
        let mut timers = self.timers.borrow_mut();
        let fits = timers.get(token.index()).is_some_and(|timer| timer.serial == token.serial);
        fits.then(|| timers.remove(token.index()))
    }
}

/// Ends the registration whose callback panics; forgotten when it returns.
struct EndOnPanic<'a> {
    local: &'a Local,
    token: Token,
}

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        self.local.deregister(self.token);
    }
}
