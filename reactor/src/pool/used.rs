//! Which pools a thread has given work to: they stand in the snapshot of its loop.
//!
//! A pool belongs to no reactor, so the thread remembers, weakly. Next: `mod`.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::pool::thread::Shared;

thread_local! {
    static USED: RefCell<Vec<Weak<Shared>>> = const { RefCell::new(Vec::new()) };
}

/// This thread gives work to this pool.
pub(super) fn note(pool: &Arc<Shared>) {
    // While the thread ends nobody will ask.
    let _ = USED.try_with(|used| {
        let known = |other: &Weak<Shared>| other.as_ptr() == Arc::as_ptr(pool);
        if !used.borrow().iter().any(known) {
            let mut used = used.borrow_mut();
            used.retain(|other| other.strong_count() > 0);
            used.push(Arc::downgrade(pool));
        }
    });
}

/// The pools that still live, in the order of their first work.
pub(super) fn all() -> Vec<Arc<Shared>> {
    let live = |used: &RefCell<Vec<Weak<Shared>>>| {
        used.borrow().iter().filter_map(Weak::upgrade).collect()
    };
    USED.try_with(live).unwrap_or_default()
}
