//! The wake-up protocol alone: who must write the eventfd (law 9).
//!
//! One byte with three states. Another thread pushes its message first and then says so; only
//! if it finds the loop asleep must it write the eventfd, and nobody after it must. The loop says
//! that it is awake before it drains, and goes to sleep only if nothing was said since.
//!
//! ```text
//! remote: push; if state.swap(NOTIFIED) == SLEEPING { write }
//! loop:   state.swap(AWAKE); drain; if compare_exchange(AWAKE, SLEEPING) { wait } else { poll }
//! ```
//!
//! Every swap is AcqRel and unconditional. Each shortcut loses a wake-up with a queue that orders
//! nothing by itself: draining before the swap, a plain store of AWAKE, skipping the swap when
//! NOTIFIED is seen. A loop whose bounded drain left something must not try to sleep at all.
//! Next: `pulse`.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const NOTIFIED: u8 = 1;
const SLEEPING: u8 = 2;

/// The state that the loop shares with all who may wake it.
#[derive(Debug)]
pub(crate) struct Wakeup {
    state: AtomicU8,
}

impl Wakeup {
    /// The loop is awake.
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(AWAKE) }
    }

    /// Another thread has pushed a message. True if it must write the eventfd.
    #[must_use]
    pub(crate) fn notify(&self) -> bool {
        self.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING
    }

    /// The loop is back from its wait, and drains next.
    pub(crate) fn awake(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }

    /// The loop has drained everything. True if it may sleep.
    #[must_use]
    pub(crate) fn try_sleep(&self) -> bool {
        let result =
            self.state.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Acquire);
        result.is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn law_09_no_write_while_awake_and_one_for_a_sleep() {
        let wakeup = Wakeup::new();
        assert!(!wakeup.notify(), "awake");
        assert!(!wakeup.try_sleep(), "something was said since");
        wakeup.awake();
        assert!(wakeup.try_sleep());
        assert!(wakeup.notify());
        assert!(!wakeup.notify(), "the first one writes for all");
    }
}
