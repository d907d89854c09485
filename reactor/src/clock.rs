//! The loop's clock: instants as ticks of the wheel, and the alarm for ticks below a millisecond.
//!
//! A tick is a millisecond, for that is what epoll_wait(2) counts in; with fine timers it is 10 us,
//! about a third of what a wake-up costs, so that a finer one would promise what nobody can keep,
//! and the wheel's levels still reach over a week. Then a timerfd ends the wait, and the wait's
//! timeout stands behind it. It is set when the loop is about to sleep and the earliest deadline is
//! another than before, and never otherwise (law 8). What is absent: the wheel, which knows only ticks.
//! Next: `local`.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::interest::{Interest, Trigger};
use crate::sys::selector;
use crate::sys::timerfd::Alarm;
use crate::token::Token;

/// See the module.
pub(crate) struct Clock {
    /// Tick 0.
    epoch: Instant,
    tick_ns: u32,
    alarm: RefCell<Option<Alarm>>,
    /// What the alarm is set to; [`NEVER`] if it is silent.
    alarm_tick: Cell<u64>,
}

const COARSE_NS: u32 = 1_000_000;
const FINE_NS: u32 = 10_000;
const SECOND_NS: u32 = 1_000_000_000;
const NEVER: u64 = u64::MAX;

impl Clock {
    /// A clock that begins now.
    pub(crate) fn new(fine: bool) -> Self {
        Self {
            epoch: Instant::now(),
            tick_ns: if fine { FINE_NS } else { COARSE_NS },
            alarm: RefCell::default(),
            alarm_tick: Cell::new(NEVER),
        }
    }

    /// Gives a poll its alarm, if the clock is fine. One that was inherited by a fork is closed and
    /// not touched: to set it would set the parent's (law 6).
    pub(crate) fn attach(&self, poll: &mio::Poll) -> Result<()> {
        if self.tick_ns == COARSE_NS {
            return Ok(());
        }
        let alarm = Alarm::new().map_err(Error::os("timerfd_create"))?;
        if let Some(alarm) = &alarm {
            // Its report is a wake-up, and nothing else: that is the waker's token.
            let (fd, token) = (alarm.number(), Token::WAKER);
            selector::add(poll, fd, Interest::READABLE, Trigger::Edge, token)
                .map_err(Error::os("epoll_ctl"))?;
        }
        self.alarm_tick.set(NEVER);
        self.alarm.replace(alarm);
        Ok(())
    }

    /// Takes the alarm out of the poll, and closes it (law 1).
    pub(crate) fn detach(&self, poll: &mio::Poll) {
        if let Some(alarm) = self.alarm.take() {
            // It fails only if the kernel does not know it any more.
            let _ = selector::delete(poll, alarm.number());
        }
    }

    /// The loop is about to sleep until this tick.
    ///
    /// # System calls
    /// One `timerfd_settime` if the tick is another than the last time; none without fine timers.
    pub(crate) fn set_alarm(&self, next_tick: Option<u64>) {
        let next_tick = next_tick.unwrap_or(NEVER);
        let set_to = self.alarm_tick.replace(next_tick);
        let alarm = self.alarm.borrow();
        let Some(alarm) = alarm.as_ref().filter(|_| set_to != next_tick) else { return };
        let now = Instant::now();
        // What has gone off already is silent.
        if next_tick != NEVER || set_to > self.tick(now) {
            let after = (next_tick != NEVER).then(|| self.until(next_tick, now));
            // If it failed, the wait's timeout would stand in.
            let _ = alarm.set(after);
        }
    }

    /// The tick at `instant`, rounded down: firing.
    pub(crate) fn tick(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch);
        since.as_secs() * self.ticks_in_a_second() + u64::from(since.subsec_nanos() / self.tick_ns)
    }

    /// The tick at `deadline`, rounded up: a timer never fires early (law 10).
    pub(crate) fn deadline_tick(&self, deadline: Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.epoch);
        let rest = since.subsec_nanos().div_ceil(self.tick_ns);
        since.as_secs().saturating_mul(self.ticks_in_a_second()).saturating_add(u64::from(rest))
    }

    /// How long from `now` until `tick`.
    pub(crate) fn until(&self, tick: u64, now: Instant) -> Duration {
        let (seconds, rest) = (tick / self.ticks_in_a_second(), tick % self.ticks_in_a_second());
        // Less than a second's worth of ticks, so less than a second.
        let at = Duration::new(seconds, rest as u32 * self.tick_ns);
        at.saturating_sub(now.saturating_duration_since(self.epoch))
    }

    /// Milliseconds at `instant`, whatever a tick is: the unit in which the core notes when something
    /// was said.
    pub(crate) fn millis(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch);
        since.as_secs() * 1000 + u64::from(since.subsec_millis())
    }

    fn ticks_in_a_second(&self) -> u64 {
        u64::from(SECOND_NS / self.tick_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_10_a_deadline_s_tick_is_never_before_it_and_less_than_a_tick_behind() {
        for fine in [false, true] {
            let clock = Clock::new(fine);
            let tick = Duration::from_nanos(clock.tick_ns.into());
            for ns in
                [0, 1, 9_999, 10_000, 10_001, 999_999, 1_000_000, 1_999_999_999, 86_400_u64 << 31]
            {
                let deadline = clock.epoch + Duration::from_nanos(ns);
                let at = clock.deadline_tick(deadline);
                let fires = clock.epoch + clock.until(at, clock.epoch);
                assert!(fires >= deadline && fires < deadline + tick, "{ns} ns, fine: {fine}");
                assert_eq!(clock.tick(fires), at);
                assert_eq!(clock.until(at, fires), Duration::ZERO);
            }
        }
    }
}
