//! Who looks at the loop while it works, and what they remember.
//!
//! Nobody, by default. The policy for sources that spin acts only when one does; what counts a
//! timer's chain costs two stores for each timer with a callback. Next: `shared`.

use std::cell::Cell;

use crate::spin::SpinPolicy;

/// What one loop's observers hold.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    pub(crate) on_spin: SpinPolicy,
    firing: Cell<Option<Firing>>,
}

/// The timer whose callback runs.
#[derive(Clone, Copy, Debug)]
struct Firing {
    /// How many zero timers led to it, each armed by the one before.
    chain: u32,
    /// What had been achieved when it was called.
    achieved: u64,
}

impl Observers {
    pub(crate) fn new(on_spin: SpinPolicy) -> Self {
        Self { on_spin, ..Self::default() }
    }

    /// The callback of a timer is about to run.
    pub(crate) fn fire(&self, chain: u32, achieved: u64) -> Fired<'_> {
        Fired { observers: self, former: self.firing.replace(Some(Firing { chain, achieved })) }
    }

    /// The chain of a timer that is armed as already due: one more than that of the timer whose
    /// callback arms it, if that has achieved nothing so far.
    pub(crate) fn chain(&self, achieved: u64) -> u32 {
        let armed_by = self.firing.get().filter(|firing| firing.achieved == achieved);
        armed_by.map_or(0, |firing| firing.chain.saturating_add(1))
    }
}

/// The callback of a timer is running; dropped when it ends, also by a panic.
#[must_use]
pub(crate) struct Fired<'a> {
    observers: &'a Observers,
    former: Option<Firing>,
}

impl Drop for Fired<'_> {
    fn drop(&mut self) {
        self.observers.firing.set(self.former);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_12_a_chain_grows_only_where_a_timer_arms_the_next_and_achieves_nothing() {
        let observers = Observers::default();
        assert_eq!(observers.chain(5), 0, "nobody fires");
        let fired = observers.fire(7, 5);
        assert_eq!(observers.chain(5), 8);
        assert_eq!(observers.chain(6), 0, "it achieved something");
        drop(fired);
        assert_eq!(observers.chain(5), 0);
    }
}
