//! What a loop shows of itself to its watchdog: which piece of user code runs, and since which turn.
//!
//! One word, a serial and the kind of work; the loop alone writes it, at the beginning and the end of
//! each piece and once a turn. A watchdog that reads the same word again knows that nothing has
//! ended meanwhile. The place beside it is read between two readings of the word: if they are equal,
//! it is the place of that piece.
//!
//! A watchdog of an idle loop parks (law 8), and this is the protocol: it says so, and then looks at
//! the word once more; the loop writes the word at the beginning of a turn, and then looks whether
//! it parks. Between the two steps of each stands a SeqCst fence, so one of them sees the other.
//! Next: `watchdog`.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crate::sys::place::AtomicPlace;

/// What runs on a loop's thread.
///
/// # Examples
/// ```
/// use squall_reactor::{StuckReport, Work};
///
/// fn is_ours_to_mend(report: &StuckReport) -> bool {
///     matches!(report.work, Work::Callback | Work::Task) && report.thread_state == Some('R')
/// }
/// # let _ = is_ours_to_mend;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// The callback of a source.
    Callback,
    /// The poll of a task.
    Task,
    /// The callback of a timer.
    Timer,
    /// A waker that is not a task's own: a combinator's, or another executor's.
    Waker,
    /// A call from another thread.
    Call,
}

/// The loop's side and the watchdog's.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The serial, and in the lowest bits the kind of work; 0: none.
    word: AtomicU64,
    place: AtomicPlace,
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// What the watchdog saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    word: u64,
    /// The place of the work, where it has one.
    pub(crate) place: Option<&'static Location<'static>>,
}

const KIND_BITS: u32 = 3;

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            place: AtomicPlace::new(),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    // The loop's side.

    /// A piece of user code begins.
    pub(crate) fn begin(&self, work: Work, place: Option<&'static Location<'static>>) {
        self.place.store(place);
        self.advance(1 + work as u64);
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        self.advance(0);
    }

    /// A turn begins. True if the watchdog is parked and must be called.
    #[must_use]
    pub(crate) fn turn(&self) -> bool {
        self.advance(0);
        fence(Ordering::SeqCst);
        self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel)
    }

    /// The loop is gone. The watchdog must be called.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.parked.store(false, Ordering::Release);
    }

    fn advance(&self, kind: u64) {
        let serial = (self.word.load(Ordering::Relaxed) >> KIND_BITS).wrapping_add(1);
        self.word.store(serial << KIND_BITS | kind, Ordering::Release);
    }

    // The watchdog's side.

    /// What runs now.
    pub(crate) fn beat(&self) -> Beat {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let place = self.place.load();
            if self.word.load(Ordering::Acquire) == word {
                return Beat { word, place: place.filter(|_| word & KIND_MASK != 0) };
            }
        }
    }

    /// The watchdog parks, unless the loop has moved since it saw `beat`.
    #[must_use]
    pub(crate) fn try_park(&self, beat: Beat) -> bool {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let same = self.word.load(Ordering::Relaxed) == beat.word;
        if !same {
            self.parked.store(false, Ordering::Relaxed);
        }
        same
    }

    /// True until the loop calls, or is gone.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

const KIND_MASK: u64 = (1 << KIND_BITS) - 1;

impl Beat {
    /// What runs; `None` between two pieces of work, and while the loop waits.
    pub(crate) fn work(self) -> Option<Work> {
        const WORK: [Work; 5] = [Work::Callback, Work::Task, Work::Timer, Work::Waker, Work::Call];
        WORK.get(((self.word & KIND_MASK) as usize).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_of_work_is_seen_with_its_place_and_no_two_look_alike() {
        let (pulse, place) = (Pulse::new(), Location::caller());
        let mut seen = vec![pulse.beat()];
        for work in [Work::Callback, Work::Task, Work::Timer, Work::Waker, Work::Call] {
            pulse.begin(work, Some(place));
            let beat = pulse.beat();
            assert_eq!((beat.work(), beat.place), (Some(work), Some(place)));
            seen.push(beat);
            pulse.end();
            let beat = pulse.beat();
            assert_eq!((beat.work(), beat.place), (None, None));
            seen.push(beat);
        }
        let words: std::collections::HashSet<u64> = seen.iter().map(|beat| beat.word).collect();
        assert_eq!(words.len(), seen.len());
    }

    #[test]
    fn law_08_a_watchdog_parks_only_if_nothing_moved_and_is_called_once() {
        let pulse = Pulse::new();
        let beat = pulse.beat();
        assert!(!pulse.turn(), "nobody is parked");
        assert!(!pulse.try_park(beat), "the loop has moved");
        assert!(pulse.try_park(pulse.beat()) && pulse.is_parked());
        assert!(pulse.turn());
        assert!(!pulse.turn() && !pulse.is_parked());
    }
}
