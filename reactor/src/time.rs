//! Time for futures: sleep, timeout, interval, yield.
//!
//! A [`Sleep`] arms its timer at its first poll and disarms it when dropped. Resolution: one
//! millisecond, or 10 us with [`Builder::fine_timers`](crate::Builder::fine_timers), rounded up, so
//! never early (law 10). Next: `io`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::later;
use crate::local::{self, Local};
use crate::state::ready::Job;
use crate::state::wheel::TimerKey;

/// Waits for `duration`, counted from now (one reading of the clock).
///
/// # Panics
/// When it is polled where no reactor turns.
///
/// # Cancel safety
/// Dropping it disarms the timer.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, sleep};
/// use std::time::{Duration, Instant};
///
/// let begun = Instant::now();
/// Reactor::new()?.block_on(sleep(Duration::from_millis(2)))?;
/// assert!(begun.elapsed() >= Duration::from_millis(2)); // never early
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(later(Instant::now(), duration))
}

/// Waits until `deadline`; one that is past is over at the first poll.
///
/// # Panics
/// As [`sleep`].
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, sleep_until};
/// use std::time::Instant;
///
/// Reactor::new()?.block_on(sleep_until(Instant::now()))?; // ready at once
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, armed: None }
}

/// Gives the output of `future`, or [`Error::TimedOut`] if `duration` passes first.
///
/// # Errors
/// [`Error::TimedOut`]; the future is dropped.
///
/// # Cancel safety
/// That of `future`.
///
/// # Examples
/// ```
/// use squall_reactor::{Error, Reactor, timeout};
/// use std::future::pending;
/// use std::time::Duration;
///
/// let never = timeout(Duration::from_millis(1), pending::<()>());
/// assert!(matches!(Reactor::new()?.block_on(never)?, Err(Error::TimedOut)));
/// # Ok::<(), Error>(())
/// ```
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    let mut sleep = sleep(duration);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        sleep.poll_elapsed(cx).map(|()| Err(Error::TimedOut))
    })
    .await
}

/// Lets everything else that is ready run first: the task goes to the back of the queue.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, yield_now};
///
/// Reactor::new()?.block_on(async {
///     for _step in 0..10 {
///         yield_now().await; // between two steps of a long computation
///     }
/// })?;
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A future that waits for a deadline; see [`sleep`].
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, sleep};
/// use std::time::{Duration, Instant};
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let mut sleep = sleep(Duration::from_secs(60));
///     sleep.reset(Instant::now() + Duration::from_millis(1));
///     sleep.await;
/// })?;
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub struct Sleep {
    deadline: Instant,
    armed: Option<Armed>,
}

struct Armed {
    local: Rc<Local>,
    arming: Arming,
}

/// The timer in the wheel of a loop that its owner knows, and the job that it wakes.
#[derive(Clone, Copy)]
pub(crate) struct Arming {
    key: TimerKey,
    job: Job,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the end, without a reading of the clock. An armed timer moves with it: O(1).
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let Some(Armed { local, arming }) = &self.armed
            && !arming.reset(local, deadline)
        {
            self.armed = None;
        }
    }

    /// Ready once the deadline has passed; else `cx` is woken then. For futures written by hand.
    ///
    /// # Panics
    /// Where no reactor turns.
    pub fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A task that is behind its deadlines must not hold the loop until it has caught up (law 7).
        if local::poll_operation(cx).is_pending() {
            Local::sleepless();
            return Poll::Pending;
        }
        let elapsed = self.poll_timer(cx);
        if elapsed.is_ready() {
            local::spend_operation();
        }
        elapsed
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(Armed { local, arming }) = &mut self.armed
            && arming.stands(local, self.deadline, cx.waker())
        {
            return Poll::Pending;
        }
        // Or it fired; or its reactor was dropped, or is the parent's: then it is armed again where
        // it is polled, because it must not be early (law 10).
        self.arm(cx)
    }

    fn arm(&mut self, cx: &Context<'_>) -> Poll<()> {
        let local = current();
        let Some(arming) = Arming::new(&local, self.deadline, cx.waker()) else {
            return Poll::Ready(());
        };
        self.armed = Some(Armed { local, arming });
        Poll::Pending
    }

    /// Disarms it; the next poll arms it again, at the same deadline.
    pub fn disarm(&mut self) {
        if let Some(Armed { local, arming }) = self.armed.take() {
            arming.cancel(&local);
        }
    }
}

impl Arming {
    /// Arms a timer; `None` if the deadline has passed.
    pub(crate) fn new(local: &Local, deadline: Instant, waker: &Waker) -> Option<Self> {
        let tick = local.clock.deadline_tick(deadline);
        if tick <= local.clock.tick(local.now.get()) {
            return None;
        }
        let job = local.job_for(waker, Job::NOBODY);
        let key = local.state.borrow_mut().add_timer(tick, job);
        Some(Self { key, job })
    }

    /// False if it has fired, or its loop has forgotten it. Else it wakes `waker` at the deadline.
    pub(crate) fn stands(&mut self, local: &Local, deadline: Instant, waker: &Waker) -> bool {
        let gone = local.state.borrow().wheel.deadline(self.key).is_none();
        if gone || local.forked() {
            return false;
        }
        let job = local.job_for(waker, self.job);
        if job != self.job {
            // Another waker: the timer moves to it.
            let mut state = local.state.borrow_mut();
            state.wheel.cancel(self.key);
            let tick = local.clock.deadline_tick(deadline);
            (self.key, self.job) = (state.add_timer(tick, job), job);
        }
        true
    }

    /// Moves the deadline; false if it has fired.
    pub(crate) fn reset(self, local: &Local, deadline: Instant) -> bool {
        let tick = local.clock.deadline_tick(deadline);
        let stands = local.state.borrow_mut().wheel.reset(self.key, tick);
        local.added();
        stands
    }

    pub(crate) fn cancel(self, local: &Local) {
        local.state.borrow_mut().wheel.cancel(self.key);
        local.forget_waker(self.job);
    }
}

/// The reactor in which a deadline is polled.
pub(crate) fn current() -> Rc<Local> {
    Local::current()
        .expect("sleep is polled inside Reactor::block_on, run or turn, where a reactor is current")
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_elapsed(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = self.armed.is_some();
        f.debug_struct("Sleep").field("deadline", &self.deadline).field("armed", &armed).finish()
    }
}

/// Ticks at a fixed distance; a late tick does not move the later ones, and ticks that were missed
/// are told as one.
///
/// # Examples
/// ```
/// use squall_reactor::{Reactor, interval};
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// reactor.block_on(async {
///     let mut interval = interval(Duration::from_millis(1));
///     let first = interval.tick().await;
///     assert!(interval.tick().await > first);
/// })?;
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

/// An [`Interval`] whose first tick is one period from now.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// use squall_reactor::interval;
/// use std::time::Duration;
///
/// async fn report() {
///     let mut minute = interval(Duration::from_secs(60));
///     loop {
///         minute.tick().await;
///         println!("still here");
///     }
/// }
/// ```
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period above zero");
    Interval { sleep: sleep(period), period }
}

impl Interval {
    /// Waits for the next tick, and says when it was due.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.sleep.poll_elapsed(cx)).await;
        let due = self.sleep.deadline();
        let late = Instant::now().saturating_duration_since(due);
        let missed = late.as_nanos() / self.period.as_nanos();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX - 1);
        self.sleep.reset(later(due, self.period.saturating_mul(missed + 1)));
        due
    }
}
