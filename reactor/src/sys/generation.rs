//! How a process takes its generation's number, alone: for loom.
//!
//! The word reads as zero in a process that has just been forked. Whoever asks first takes the next
//! number; threads that ask at once must agree, or one would take another's objects for its
//! parent's. Next: `sys::fork`.

/// An atomic word. None of its operations orders anything else.
pub(crate) trait Word {
    fn load(&self) -> u32;
    /// Adds one, and gives what was there.
    fn add_one(&self) -> u32;
    /// Stores `number` where zero stands; if there is another, gives it.
    fn replace_zero(&self, number: u32) -> Result<u32, u32>;
}

/// The number in `word`. Where that is zero, the one after `last` is stored there first.
#[inline]
pub(crate) fn number(word: &impl Word, last: &impl Word) -> u32 {
    match word.load() {
        0 => renew(word, last),
        number => number,
    }
}

#[cold]
fn renew(word: &impl Word, last: &impl Word) -> u32 {
    let next = match last.add_one().wrapping_add(1) {
        0 => return renew(word, last), // zero is nobody's, and must not count as one
        next => next,
    };
    match word.replace_zero(next) {
        Ok(_) => next,
        Err(another_threads) => another_threads,
    }
}
