//! The trace: what a loop did, in order, in a ring of events.
//!
//! Off by default. While it is on each event costs a reading of the clock and 40 bytes; a full ring
//! forgets its oldest. What is absent: what a pool's thread does that no future waits for, and the
//! picture, which `trace::chrome` draws. Next: `observers`.

mod chrome;

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::interest::Readiness;
use crate::pulse::Work;
use crate::state::ready::Kind;
use crate::sys::thread::ThreadId;
use crate::token::Token;

/// What a loop did between `Handle::trace_start` and `Handle::trace_stop`.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, yield_now};
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// handle.trace_start(10_000);
/// reactor.block_on(yield_now())?;
/// let trace = handle.trace_stop();
/// let mut json = Vec::new();
/// trace.write_chrome_json(&mut json)?; // a file, for ui.perfetto.dev
/// assert!(json.starts_with(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":["));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Trace {
    events: Vec<Event>,
    dropped: u64,
    process: i32,
    thread: i32,
    thread_name: String,
}

/// The events of a trace that is being recorded.
pub(crate) struct Ring {
    events: VecDeque<Event>,
    capacity: usize,
    dropped: u64,
    began: Instant,
}

/// One event; a span if it took time.
#[derive(Clone, Copy, Debug)]
struct Event {
    at_ns: u64,
    took_ns: u64,
    what: What,
    token: Token,
    place: Option<&'static Location<'static>>,
}

const _: () = assert!(size_of::<Event>() <= 40);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A turn, from the end of its wait to the end of its last job.
    Turn,
    /// A wait that was allowed to sleep, or one that only looked.
    Wait { slept: bool },
    /// A piece of user code.
    Piece(Work),
    /// The kernel reported a source.
    Report(Readiness),
    /// A job was put into the ready queue.
    Wake(Kind),
    /// A task was spawned.
    Spawn,
    /// A task ended.
    End,
    /// A pool was given a piece of work.
    Give,
    /// A pool's thread did it, and a future of this loop took the result.
    Pool { thread: i32 },
}

/// When a pool's thread did a piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSpan {
    /// The name by which it was given.
    pub(crate) given: Token,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) thread: i32,
}

impl PoolSpan {
    /// From `began` until now, on this thread.
    pub(crate) fn since(given: Token, began: Instant) -> Self {
        Self { given, began, took: began.elapsed(), thread: ThreadId::current().number() }
    }
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        let (capacity, began) = (capacity.max(1), Instant::now());
        Self { events: VecDeque::with_capacity(capacity), capacity, dropped: 0, began }
    }

    /// Adds an event, in place of the oldest if there is no room.
    pub(crate) fn record(
        &mut self,
        what: What,
        token: Token,
        place: Option<&'static Location<'static>>,
        at: Instant,
        took: Duration,
    ) {
        if self.events.len() == self.capacity {
            self.events.pop_front();
            self.dropped += 1;
        }
        let at_ns = at.saturating_duration_since(self.began).as_nanos() as u64;
        let took_ns = took.as_nanos() as u64;
        self.events.push_back(Event { at_ns, took_ns, what, token, place });
    }

    /// The recording is over. An event stands where it began, and what contains it before it.
    pub(crate) fn into_trace(self, process: i32, thread: i32, thread_name: String) -> Trace {
        let mut events = Vec::from(self.events);
        events.sort_by_key(|event| (event.at_ns, std::cmp::Reverse(event.took_ns)));
        Trace { events, dropped: self.dropped, process, thread, thread_name }
    }
}

impl Trace {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True if nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many older events the ring had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, dropped) = (self.events.len(), self.dropped);
        f.debug_struct("Trace").field("events", &events).field("dropped", &dropped).finish()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn record(ring: &mut Ring, what: What, at_ns: u64, took_ns: u64) {
        let at = ring.began + Duration::from_nanos(at_ns);
        let token = Token { slot: 1, serial: 2 };
        ring.record(what, token, None, at, Duration::from_nanos(took_ns));
    }

    #[test]
    fn a_full_ring_forgets_its_oldest_event() {
        let mut ring = Ring::new(3);
        (0..5).for_each(|i| record(&mut ring, What::Turn, i, 0));
        let trace = ring.into_trace(1, 1, String::new());
        let kept: Vec<u64> = trace.events.iter().map(|event| event.at_ns).collect();
        assert_eq!((kept, trace.dropped(), trace.len()), (vec![2, 3, 4], 2, 3));
    }
}
