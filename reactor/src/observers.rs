//! Who looks at the loop while it works, and what they remember.
//!
//! Nobody, by default: then each piece of user code costs one branch, on one byte. A watchdog is told
//! what begins and ends, a clock measures it, a trace records it. The policy for what spins acts only
//! when something does; what counts a timer's chain costs two stores for each timer with a callback.
//! Next: `shared`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::pulse::{Pulse, Work};
use crate::spin::SpinPolicy;
use crate::token::Token;
use crate::trace::{Ring, What};

/// What one loop's observers hold.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    pub(crate) on_spin: SpinPolicy,
    firing: Cell<Option<Firing>>,
    sleepless: RefCell<HashMap<Token, Sleepless>>,
    /// Who is there: `WATCH`, `TIME`, `TRACE`.
    present: Cell<u8>,
    /// What the watchdog reads, and its thread.
    pulse: Option<(Arc<Pulse>, Thread)>,
    /// The longest callback of each source and the longest poll of each task, by slot.
    longest: [RefCell<Vec<Longest>>; 2],
    trace: RefCell<Option<Ring>>,
}

const WATCH: u8 = 1;
const TIME: u8 = 2;
const TRACE: u8 = 4;

/// The longest piece of work of whoever has this slot.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    serial: u32,
    took_ns: u64,
}

/// The timer whose callback runs.
#[derive(Clone, Copy, Debug)]
struct Firing {
    /// How many zero timers led to it, each armed by the one before.
    chain: u32,
    /// What had been achieved when it was called.
    achieved: u64,
}

/// A task whose polls slept until moments that had passed, and achieved nothing.
#[derive(Debug, Default)]
struct Sleepless {
    last_poll: u32,
    polls_in_a_row: u32,
}

/// Tasks that are remembered as sleepless; mostly none is.
const SLEEPLESS: usize = 1024;

/// A piece of user code, for those who look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) work: Work,
    pub(crate) token: Token,
    pub(crate) place: Option<&'static Location<'static>>,
}

impl Observers {
    pub(crate) fn new(
        on_spin: SpinPolicy,
        pulse: Option<(Arc<Pulse>, Thread)>,
        timing: bool,
    ) -> Self {
        let watch = if pulse.is_some() { WATCH } else { 0 };
        let time = if timing { TIME } else { 0 };
        Self { on_spin, pulse, present: Cell::new(watch | time), ..Self::default() }
    }

    /// True if anybody looks: the one branch of who does not.
    pub(crate) fn any(&self) -> bool {
        self.present.get() != 0
    }

    /// The loop's part in the watchdog's parking (law 8).
    pub(crate) fn turn(&self) {
        if let Some((pulse, thread)) = self.watched()
            && pulse.turn()
        {
            thread.unpark();
        }
    }

    /// A piece of user code begins. Gives the time, if anybody needs it.
    pub(crate) fn begin(&self, piece: Piece) -> Option<Instant> {
        if let Some((pulse, _)) = self.watched() {
            pulse.begin(piece.work, piece.place);
        }
        (self.present.get() & (TIME | TRACE) != 0).then(Instant::now)
    }

    /// It has ended, and so took that long.
    pub(crate) fn end(&self, piece: Piece, began: Option<Instant>) -> Duration {
        if let Some((pulse, _)) = self.watched() {
            pulse.end();
        }
        let Some(began) = began else { return Duration::ZERO };
        let took = began.elapsed();
        if self.times() {
            self.measured(piece, took);
        }
        self.record(What::Piece(piece.work), piece.token, piece.place, began, took);
        took
    }

    /// The longest piece of work of a source or a task; `None` where nobody measures.
    pub(crate) fn longest(&self, work: Work, token: Token) -> Option<Duration> {
        let longest = self.longest.get(table(work)?)?.borrow();
        let longest = longest.get(token.index()).filter(|longest| longest.serial == token.serial);
        let took_ns = longest.map_or(0, |longest| longest.took_ns);
        self.times().then_some(Duration::from_nanos(took_ns))
    }

    /// In a forked child: the watchdog's thread is the parent's.
    pub(crate) fn leave_watchdog(&self) {
        self.present.set(self.present.get() & !WATCH);
    }

    /// Where the watchdog is: `None` without one, else whether it is parked.
    pub(crate) fn watchdog_is_parked(&self) -> Option<bool> {
        self.watched().map(|(pulse, _)| pulse.is_parked())
    }

    // The trace.

    /// Begins to record; what was recorded before is forgotten.
    pub(crate) fn start_trace(&self, capacity: usize) {
        self.trace.replace(Some(Ring::new(capacity)));
        self.present.set(self.present.get() | TRACE);
    }

    /// Ends the recording.
    pub(crate) fn stop_trace(&self) -> Option<Ring> {
        self.present.set(self.present.get() & !TRACE);
        self.trace.take()
    }

    /// True while a trace is recorded.
    pub(crate) fn traces(&self) -> bool {
        self.present.get() & TRACE != 0
    }

    /// Records an event, if a trace is recorded.
    pub(crate) fn record(
        &self,
        what: What,
        token: Token,
        place: Option<&'static Location<'static>>,
        at: Instant,
        took: Duration,
    ) {
        if let Some(ring) = self.trace.borrow_mut().as_mut() {
            ring.record(what, token, place, at, took);
        }
    }

    fn watched(&self) -> Option<&(Arc<Pulse>, Thread)> {
        self.pulse.as_ref().filter(|_| self.present.get() & WATCH != 0)
    }

    fn times(&self) -> bool {
        self.present.get() & TIME != 0
    }

    fn measured(&self, piece: Piece, took: Duration) {
        let Some(table) = table(piece.work) else { return };
        let Token { serial, .. } = piece.token;
        let mut longest = self.longest[table].borrow_mut();
        if longest.len() <= piece.token.index() {
            longest.resize(piece.token.index() + 1, Longest::default());
        }
        let longest = &mut longest[piece.token.index()];
        let took_ns = took.as_nanos() as u64;
        let former_ns = if longest.serial == serial { longest.took_ns } else { 0 };
        *longest = Longest { serial, took_ns: took_ns.max(former_ns) };
    }

    // Timers that arm themselves, and tasks that do not sleep.

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

    /// This poll of a task was sleepless: how many were so in a row.
    pub(crate) fn sleepless(&self, token: Token, poll: u32) -> u32 {
        let mut tasks = self.sleepless.borrow_mut();
        if tasks.len() >= SLEEPLESS {
            tasks.clear();
        }
        let task = tasks.entry(token).or_default();
        let in_a_row = poll.wrapping_sub(task.last_poll) == 1;
        task.polls_in_a_row = if in_a_row { task.polls_in_a_row.saturating_add(1) } else { 1 };
        task.last_poll = poll;
        task.polls_in_a_row
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

/// Sources and tasks are measured each; the others end with their piece.
fn table(work: Work) -> Option<usize> {
    match work {
        Work::Callback => Some(0),
        Work::Task => Some(1),
        Work::Timer | Work::Waker | Work::Call => None,
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

    #[test]
    fn law_12_only_sleepless_polls_in_a_row_count() {
        let observers = Observers::default();
        let [one, other] = [1, 2].map(|serial| Token { slot: 3, serial });
        let counts = [(one, 1), (one, 2), (other, 1), (one, 3), (one, 5), (one, 6)]
            .map(|(token, poll)| observers.sleepless(token, poll));
        assert_eq!(counts, [1, 2, 1, 3, 1, 2]);
        assert_eq!(observers.sleepless(one, u32::MAX), 1);
        assert_eq!(observers.sleepless(one, 0), 2, "polls wrap");
    }

    #[test]
    fn the_longest_piece_is_kept_for_each_owner_of_a_slot() {
        let observers = Observers::new(SpinPolicy::count(), None, true);
        let [old, new] = [1, 2].map(|serial| Token { slot: 3, serial });
        let poll = |token, ms| {
            let piece = Piece { work: Work::Task, token, place: None };
            observers.measured(piece, Duration::from_millis(ms));
            observers.longest(Work::Task, token).map(|longest| longest.as_millis())
        };
        assert_eq!([poll(old, 5), poll(old, 9), poll(old, 7)], [Some(5), Some(9), Some(9)]);
        assert_eq!(poll(new, 1), Some(1));
        assert_eq!(observers.longest(Work::Callback, new), Some(Duration::ZERO));
        assert_eq!(Observers::default().longest(Work::Task, old), None);
    }
}
