//! A loop inside another one: what makes its descriptor readable between two turns.
//!
//! A host sleeps on the epoll's descriptor and until the deadline. So once the descriptor was lent
//! the loop counts as asleep between its turns: whoever gives it something to do, be it its own
//! thread, writes the eventfd, the first one for all (law 9), and so does a turn that leaves
//! something over (law 7). What is absent: the host, which is the user's. Next: `observe`.

use std::time::Instant;

use crate::local::Local;

impl Local {
    /// The descriptor is lent.
    pub(crate) fn lend(&self) {
        if !self.host.lent.replace(true) {
            self.rest();
        }
    }

    /// The loop is between two turns.
    pub(crate) fn rest(&self) {
        if !self.host.lent.get() || self.turning.get() || self.check().is_err() {
            return;
        }
        self.tell_host();
        self.host.more.set(self.host.more.get() && self.kernel_has_reports());
        // Awake first, or a call that this turn has heard already would call the host for nothing. In
        // the order of a turn: what was said before is in the mailbox.
        self.awake();
        if !self.has_left_over() && self.try_sleep() {
            self.host.asleep.set(true);
        } else {
            self.call_host();
        }
    }

    /// A turn begins, or several do.
    pub(crate) fn end_rest(&self) {
        if self.host.asleep.replace(false) {
            self.awake();
        }
    }

    /// The loop's own thread may have added something between two turns: the host must come back.
    pub(crate) fn added(&self) {
        if !self.host.asleep.get() || self.forked() {
            return;
        }
        if self.has_left_over() || self.earliest_tick() < self.host.told_tick.get() {
            self.host.asleep.set(false);
            if self.shared().wakeup.notify() {
                self.call_host();
            }
        }
    }

    /// Until when the host may sleep; `None`: until the descriptor is readable.
    pub(crate) fn host_deadline(&self) -> Option<Instant> {
        self.lend();
        self.tell_host();
        let now = Instant::now();
        if self.has_left_over() {
            return Some(now);
        }
        let tick = self.state.borrow().wheel.next_deadline()?;
        now.checked_add(self.clock.until(tick, now))
    }

    /// The child has a descriptor of its own, which nobody has seen.
    pub(crate) fn forget_host(&self) {
        self.host.lent.set(false);
        self.host.asleep.set(false);
    }

    fn call_host(&self) {
        // mio makes room in a counter that is full, and nothing else can fail.
        let _ = self.shared().write();
    }

    fn has_left_over(&self) -> bool {
        self.state.borrow().is_busy() || self.mail() > 0 || self.host.more.get()
    }

    fn tell_host(&self) {
        self.host.told_tick.set(self.earliest_tick());
    }

    fn earliest_tick(&self) -> u64 {
        self.state.borrow().wheel.next_deadline().unwrap_or(u64::MAX)
    }
}
