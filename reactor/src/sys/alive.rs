//! How many reactors and pools live in this process: `fork_workers` refuses while one does (law 6).
//!
//! A child inherits the counts of its parent, and rightly: the inherited object is still in its
//! memory. Next: `process`.

use std::sync::atomic::{AtomicUsize, Ordering};

static REACTORS: AtomicUsize = AtomicUsize::new(0);
static POOLS: AtomicUsize = AtomicUsize::new(0);

/// Counts as one living object until it is dropped.
#[derive(Debug)]
pub(crate) struct Alive(&'static AtomicUsize);

impl Alive {
    pub(crate) fn reactor() -> Self {
        Self::count(&REACTORS)
    }

    pub(crate) fn pool() -> Self {
        Self::count(&POOLS)
    }

    fn count(counter: &'static AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }

    /// What lives, if anything does.
    pub(crate) fn any() -> Option<&'static str> {
        if REACTORS.load(Ordering::Relaxed) > 0 {
            Some("reactor")
        } else if POOLS.load(Ordering::Relaxed) > 0 {
            Some("pool")
        } else {
            None
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
