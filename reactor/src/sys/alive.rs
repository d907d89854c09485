//! How many reactors and pools live in this process (law 6).
//!
//! `fork_workers` refuses while there is one, because its children would share the parent's epoll
//! and wait for threads that do not exist there. The count is ordinary memory, so a child made by a
//! bare fork(2) inherits it, and inherited objects count there until they are dropped there: an
//! object whose thread vanished in the fork counts for ever. That is honest (its descriptors are
//! still open in the child) and needs no knowledge of generations. There is no system call here.
//! Next: `process`.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Held by each reactor and each pool as long as it lives, in a forked child too.
#[derive(Debug)]
#[must_use]
pub(crate) struct Alive(&'static AtomicUsize);

impl Alive {
    /// Counts one reactor.
    pub(crate) fn reactor() -> Self {
        Self::count(&REACTORS)
    }

    /// Counts one blocking pool.
    pub(crate) fn pool() -> Self {
        Self::count(&POOLS)
    }

    /// What lives in this process, if anything does.
    pub(crate) fn what() -> Option<&'static str> {
        if REACTORS.load(Ordering::Acquire) > 0 {
            Some("reactor")
        } else if POOLS.load(Ordering::Acquire) > 0 {
            Some("pool")
        } else {
            None
        }
    }

    fn count(of: &'static AtomicUsize) -> Self {
        of.fetch_add(1, Ordering::AcqRel);
        Self(of)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

static REACTORS: AtomicUsize = AtomicUsize::new(0);
static POOLS: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, workers::fork_workers};

    // Other tests of this crate own reactors and pools at the same time, so the opposite case (no
    // refusal once they are gone) is in tests/workers.rs, where each case is its own process.
    #[test]
    fn law_06_fork_workers_refuses_while_a_reactor_lives() {
        let _reactor = Alive::reactor();
        assert_eq!(Alive::what(), Some("reactor"));
        let refused = fork_workers(1, |_| 0);
        assert!(matches!(refused, Err(Error::Alive { what: "reactor" })), "{refused:?}");
    }

    #[test]
    fn law_06_fork_workers_refuses_while_a_pool_lives() {
        let _pool = Alive::pool();
        assert!(Alive::what().is_some());
        let refused = fork_workers(1, |_| 0);
        assert!(matches!(refused, Err(Error::Alive { .. })), "{refused:?}");
    }
}
