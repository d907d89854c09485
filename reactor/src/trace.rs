//! The trace: what a loop did, in order, in a ring of events; and how it becomes a picture.
//!
//! Off by default. While it is on each event costs a reading of the clock and 40 bytes; a full ring
//! forgets its oldest. [`Trace::write_chrome_json`] writes the trace-event format, which
//! <https://ui.perfetto.dev> and `chrome://tracing` open: slices for waits, turns and each piece of user
//! code, instants for what the kernel reported, arrows from what woke a job to its run. What is
//! absent: what a pool's thread does that no future waits for. Next: `observers`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::interest::Readiness;
use crate::pulse::Work;
use crate::state::ready::{Job, Kind};
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
    /// A pool's thread did a piece of work for a future of this loop.
    Pool { thread: i32 },
}

/// When a pool's thread did a piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSpan {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) thread: i32,
}

impl PoolSpan {
    /// From `began` until now, on this thread.
    pub(crate) fn since(began: Instant) -> Self {
        Self { began, took: began.elapsed(), thread: ThreadId::current().number() }
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

    /// Writes the trace-event format. Many small writes: give it a `BufWriter`.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_chrome_json(&self, mut to: impl Write) -> io::Result<()> {
        let process = self.process;
        write!(to, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let mut separator = "\n";
        for (thread, name) in self.threads() {
            write!(to, "{separator}{{\"ph\":\"M\",\"pid\":{process},\"tid\":{thread},")?;
            write!(to, "\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}", Escaped(&name))?;
            separator = ",\n";
        }
        let own = format!("\"pid\":{process},\"tid\":{}", self.thread);
        let mut woken = HashMap::new();
        let mut flows = 0_u64;
        for event in &self.events {
            match event.what {
                What::Pool { thread } => {
                    write!(to, ",\n{{\"pid\":{process},\"tid\":{thread},{event}}}")?;
                }
                _ => write!(to, ",\n{{{own},{event}}}")?,
            }
            if let What::Wake(_) = event.what {
                woken.entry(event.job().map(Job::to_u64)).or_insert(event.at_ns);
            } else if let Some(job) = event.job()
                && let Some(woken_ns) = woken.remove(&Some(job.to_u64()))
            {
                flows += 1;
                for (phase, at_ns) in [("s\"", woken_ns), ("f\",\"bp\":\"e\"", event.at_ns)] {
                    write!(to, ",\n{{{own},\"ph\":\"{phase},\"id\":{flows},\"name\":\"wake\",")?;
                    write!(to, "\"cat\":\"wake\",\"ts\":{}}}", Micros(at_ns))?;
                }
            }
        }
        writeln!(to, "\n]}}")
    }

    /// The loop's thread, and those of pools that worked for it.
    fn threads(&self) -> BTreeMap<i32, String> {
        let mut threads = BTreeMap::new();
        for event in &self.events {
            if let What::Pool { thread } = event.what {
                threads.entry(thread).or_insert_with(|| format!("pool {thread}"));
            }
        }
        threads.insert(self.thread, format!("{} (reactor)", self.thread_name));
        threads
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

impl Event {
    /// Whose wake or run it is.
    fn job(&self) -> Option<Job> {
        let kind = match self.what {
            What::Wake(kind) => kind,
            What::Piece(Work::Callback) => Kind::Source,
            What::Piece(Work::Task) => Kind::Task,
            What::Piece(Work::Timer) => Kind::Timer,
            What::Piece(Work::Waker) => Kind::Waker,
            What::Piece(Work::Call)
            | What::Turn
            | What::Wait { .. }
            | What::Report(_)
            | What::Spawn
            | What::Pool { .. }
            | What::End => return None,
        };
        Some(Job::new(kind, self.token))
    }

    /// Its name, and the group that it can be filtered by.
    fn name(&self) -> (&'static str, &'static str) {
        match self.what {
            What::Turn => ("turn", "loop"),
            What::Wait { slept: true } => ("wait", "loop"),
            What::Wait { slept: false } => ("look", "loop"),
            What::Piece(Work::Callback) => ("callback", "source"),
            What::Piece(Work::Task) => ("poll", "task"),
            What::Piece(Work::Timer) => ("timer", "timer"),
            What::Piece(Work::Waker) => ("waker", "waker"),
            What::Piece(Work::Call) => ("call", "remote"),
            What::Report(_) => ("report", "source"),
            What::Wake(_) => ("wake", "wake"),
            What::Spawn => ("spawn", "task"),
            What::End => ("end", "task"),
            What::Pool { .. } => ("work", "pool"),
        }
    }

    fn is_span(&self) -> bool {
        matches!(self.what, What::Turn | What::Wait { .. } | What::Piece(_) | What::Pool { .. })
    }
}

/// The fields of its JSON object but for process and thread.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, group) = self.name();
        write!(f, "\"cat\":\"{group}\",\"ts\":{},\"name\":\"{name}", Micros(self.at_ns))?;
        if let Some(place) = self.place {
            write!(f, " {}:{}", Escaped(place.file()), place.line())?;
        }
        f.write_str("\",")?;
        if self.is_span() {
            write!(f, "\"ph\":\"X\",\"dur\":{}", Micros(self.took_ns))?;
        } else {
            f.write_str("\"ph\":\"i\",\"s\":\"t\"")?;
        }
        match self.what {
            What::Turn | What::Wait { .. } | What::Piece(Work::Call) | What::Pool { .. } => Ok(()),
            What::Piece(_) | What::Spawn | What::End => {
                write!(f, ",\"args\":{{\"token\":\"{:?}\"}}", self.token)
            }
            What::Report(readiness) => {
                write!(f, ",\"args\":{{\"token\":\"{:?}\",", self.token)?;
                write!(f, "\"readiness\":\"{readiness:?}\"}}")
            }
            What::Wake(kind) => {
                write!(f, ",\"args\":{{\"token\":\"{:?}\",\"kind\":\"{kind:?}\"}}", self.token)
            }
        }
    }
}

/// Nanoseconds as the format's microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Text inside a JSON string (RFC 8259, 7).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(ring: Ring) -> String {
        let mut json = Vec::new();
        let trace = ring.into_trace(7, 8, "a \"thread\"\n".to_owned());
        trace.write_chrome_json(&mut json).expect("memory takes everything");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    fn record(ring: &mut Ring, what: What, at_ns: u64, took_ns: u64) {
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

    #[test]
    fn a_wake_and_the_next_run_of_the_same_job_are_joined_by_a_flow() {
        let mut ring = Ring::new(10);
        record(&mut ring, What::Wake(Kind::Task), 1500, 0);
        record(&mut ring, What::Wake(Kind::Source), 1600, 0);
        record(&mut ring, What::Piece(Work::Task), 2000, 1);
        record(&mut ring, What::Piece(Work::Task), 3000, 1);
        let json = json(ring);
        let flow = "\"id\":1,\"name\":\"wake\",\"cat\":\"wake\",\"ts\":";
        assert!(json.contains(&format!("\"ph\":\"s\",{flow}1.500}}")), "{json}");
        assert!(json.contains(&format!("\"ph\":\"f\",\"bp\":\"e\",{flow}2.000}}")), "{json}");
        assert!(!json.contains("\"id\":2"), "a run that nobody woke, a wake that led to no run");
    }

    #[test]
    fn what_contains_others_stands_before_them_and_text_is_escaped() {
        let mut ring = Ring::new(10);
        record(&mut ring, What::Piece(Work::Task), 10, 5);
        record(&mut ring, What::Turn, 10, 90);
        let json = json(ring);
        assert!(json.find("\"name\":\"turn\"") < json.find("\"name\":\"poll\""), "{json}");
        assert!(json.contains(r#""name":"a \"thread\"\u000a (reactor)""#), "{json}");
    }
}
