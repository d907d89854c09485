//! A place in the program that one thread writes and another reads.
//!
//! std has no atomic `&'static`, so it is a pointer that was made of one. Next: `thread`.

use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An `Option<&'static Location>` to be read and written by any thread.
pub(crate) struct AtomicPlace(AtomicPtr<Location<'static>>);

impl AtomicPlace {
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// What was written before by this thread is seen by whoever reads this place.
    pub(crate) fn store(&self, place: Option<&'static Location<'static>>) {
        let place = place.map_or(ptr::null_mut(), |place| ptr::from_ref(place).cast_mut());
        self.0.store(place, Ordering::Release);
    }

    pub(crate) fn load(&self) -> Option<&'static Location<'static>> {
        let place = self.0.load(Ordering::Acquire);
        // SAFETY: `store` wrote it: it is null, or was made of a `&'static Location`, which nobody
        // ever writes to.
        unsafe { place.as_ref() }
    }
}

impl fmt::Debug for AtomicPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.load(), f)
    }
}
