//! The watchdog: a thread that names what holds a loop, while it still does (law 12).
//!
//! The loop writes a word at each piece of user code and reads no clock; the watchdog has the clock.
//! It looks a few times in each threshold, and a word that stays the same for that long is a piece
//! of work that has not ended. So it names it up to a quarter of the threshold late, never twice,
//! and it cannot end it: nothing can. Without a watchdog no thread starts. Next:
//! `trace`.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::pulse::{Pulse, Work};
use crate::sys::fork::Born;
use crate::sys::thread::ThreadId;

/// A piece of user code that holds a loop: a callback, or a poll, that does not return.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, StuckReport};
/// use std::time::Duration;
///
/// let tell = |report: &StuckReport| eprintln!("{report}");
/// let reactor = Reactor::builder().watchdog(Duration::from_millis(500), tell).build()?;
/// # drop(reactor);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckReport {
    /// What it is.
    pub work: Work,
    /// Where it was registered, spawned, armed or called; `None` for a foreign waker.
    pub place: Option<&'static Location<'static>>,
    /// It has held the loop for at least so long.
    pub held: Duration,
    /// The name of the loop's thread.
    pub thread: String,
    /// What that thread does, as proc_pid_stat(5) has it: `R` it computes, `S` it waits, `D` it waits
    /// for the disk. `None` where the kernel does not tell.
    pub thread_state: Option<char>,
}

impl fmt::Display for StuckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.work {
            Work::Callback => "a callback registered",
            Work::Task => "the poll of a task spawned",
            Work::Timer => "a timer armed",
            Work::Waker => "a foreign waker",
            Work::Call => "a call sent",
        };
        f.write_str(what)?;
        if let Some(place) = self.place {
            write!(f, " at {place}")?;
        }
        write!(f, " has held the loop for {:.1?}; thread {}", self.held, self.thread)?;
        match self.thread_state {
            Some('R') => f.write_str(" computes (R)"),
            Some('S') => f.write_str(" waits (S)"),
            Some('D') => f.write_str(" waits for the disk (D)"),
            Some(state) => write!(f, " is in state {state}"),
            None => Ok(()),
        }
    }
}

/// What a builder asks for.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) threshold: Duration,
    pub(crate) tell: Arc<dyn Fn(&StuckReport) + Send + Sync>,
}

/// The thread, and its end with the reactor.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pulse: Arc<Pulse>,
    thread: Option<JoinHandle<()>>,
    telling: Arc<AtomicBool>,
    born: Born,
}

/// An idle loop's watchdog parks after this time.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// Looks in one threshold.
const LOOKS: u32 = 4;
const MAX_TICK: Duration = Duration::from_millis(250);
const MIN_TICK: Duration = Duration::from_millis(1);

impl Watchdog {
    /// Starts a watchdog over the calling thread's loop.
    ///
    /// # Errors
    /// [`Error::Argument`] for a threshold of 0; [`Error::Os`] if no thread can be started.
    pub(crate) fn start(watch: Watch) -> Result<Self> {
        if watch.threshold.is_zero() {
            return Err(Error::Argument("a watchdog's threshold of 0 would name everything"));
        }
        let (pulse, telling) = (Arc::new(Pulse::new()), Arc::new(AtomicBool::new(false)));
        let dog = Dog {
            pulse: Arc::clone(&pulse),
            watch,
            telling: Arc::clone(&telling),
            thread: thread::current().name().unwrap_or("without a name").to_owned(),
            id: ThreadId::current(),
        };
        let builder = thread::Builder::new().name("squall-watchdog".to_owned());
        let thread = builder.spawn(move || dog.run()).map_err(Error::os("clone"))?;
        Ok(Self { pulse, thread: Some(thread), telling, born: Born::now() })
    }

    /// For the loop: where to write, and whom to call.
    pub(crate) fn pulse(&self) -> Option<(Arc<Pulse>, Thread)> {
        let thread = self.thread.as_ref()?.thread().clone();
        Some((Arc::clone(&self.pulse), thread))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.born.forked() {
            // The thread does not exist in this process: not joined, not detached.
            return mem::forget(thread);
        }
        self.pulse.stop();
        thread.thread().unpark();
        // Whoever is being told may wait for this thread.
        if !self.telling.load(Ordering::Acquire) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}

/// What the thread has.
struct Dog {
    pulse: Arc<Pulse>,
    watch: Watch,
    telling: Arc<AtomicBool>,
    thread: String,
    id: ThreadId,
}

impl Dog {
    fn run(self) {
        let tick = (self.watch.threshold / LOOKS).clamp(MIN_TICK, MAX_TICK);
        let (mut seen, mut since, mut told) = (self.pulse.beat(), Instant::now(), false);
        while !self.pulse.is_stopped() {
            thread::park_timeout(tick);
            let (beat, now) = (self.pulse.beat(), Instant::now());
            if beat != seen {
                (seen, since, told) = (beat, now, false);
                continue;
            }
            let held = now.duration_since(since);
            match seen.work() {
                Some(work) if !told && held >= self.watch.threshold => {
                    told = true;
                    self.tell(work, seen.place, held);
                }
                Some(_) => {}
                None if held >= PARK_AFTER && self.pulse.try_park(seen) => {
                    while self.pulse.is_parked() && !self.pulse.is_stopped() {
                        thread::park();
                    }
                    since = Instant::now();
                }
                None => {}
            }
        }
    }

    fn tell(&self, work: Work, place: Option<&'static Location<'static>>, held: Duration) {
        let (thread, thread_state) = (self.thread.clone(), self.id.state());
        let report = StuckReport { work, place, held, thread, thread_state };
        self.telling.store(true, Ordering::Release);
        // A panic ends this call alone: the hook has told it.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.watch.tell)(&report)));
        self.telling.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_where_how_long_and_what_the_thread_does() {
        let place = Location::caller();
        let mut report = StuckReport {
            work: Work::Callback,
            place: Some(place),
            held: Duration::from_millis(2500),
            thread: "main".to_owned(),
            thread_state: Some('S'),
        };
        assert_eq!(
            report.to_string(),
            format!(
                "a callback registered at {place} has held the loop for 2.5s; thread main waits (S)"
            )
        );
        (report.work, report.place, report.thread_state) = (Work::Waker, None, None);
        let text = "a foreign waker has held the loop for 2.5s; thread main";
        assert_eq!(report.to_string(), text);
    }
}
