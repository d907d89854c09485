//! What to do about a new program: a machine without a system call.
//!
//! It is told what happened and what time it is, and says what the caller must do. What is absent:
//! processes, sockets and clocks, which are the parent module's.

use std::ffi::c_int;
use std::time::{Duration, Instant};

/// An upgrade, from the wish to its end.
#[derive(Debug)]
pub(super) struct Attempt {
    phase: Phase,
    patience: Duration,
}

/// What the caller must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Do {
    Nothing,
    /// Start the new program; if that fails, say [`Attempt::ended`].
    Start,
    /// Send it this signal.
    Send(c_int),
    /// Tell whoever must know, and drain; if that fails, say [`Attempt::unheard`].
    HandOver,
}

impl Attempt {
    pub(super) fn new(patience: Duration) -> Self {
        Self { phase: Phase::Alone, patience }
    }

    /// Somebody wishes an upgrade. While one goes on a further wish is none.
    pub(super) fn asked(&mut self, now: Instant) -> Do {
        match self.phase {
            Phase::Alone => {
                self.phase = Phase::Starting { give_up_at: now.checked_add(self.patience) };
                Do::Start
            }
            Phase::Starting { .. } | Phase::Ending { .. } | Phase::Over => Do::Nothing,
        }
    }

    /// The new program says that it serves.
    pub(super) fn ready(&mut self) -> Do {
        match self.phase {
            Phase::Starting { .. } => {
                self.phase = Phase::Over;
                Do::HandOver
            }
            // Too late: it has been told to end.
            Phase::Alone | Phase::Ending { .. } | Phase::Over => Do::Nothing,
        }
    }

    /// The new program can never say that it serves.
    pub(super) fn silenced(&mut self, now: Instant) -> Do {
        match self.phase {
            Phase::Starting { .. } => self.unheard(now),
            Phase::Alone | Phase::Ending { .. } | Phase::Over => Do::Nothing,
        }
    }

    /// Whoever must know of the hand-over could not be told, so there is none.
    pub(super) fn unheard(&mut self, now: Instant) -> Do {
        self.phase = Phase::Ending { kill_at: now.checked_add(self.patience) };
        Do::Send(libc::SIGTERM)
    }

    /// The new program has ended, or was never started. It may be tried again.
    pub(super) fn ended(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Alone;
        }
    }

    /// The old program is to end.
    pub(super) fn stop(&mut self) -> Do {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Starting { .. } => Do::Send(libc::SIGTERM),
            // Nobody will be there to wait for it.
            Phase::Ending { .. } => Do::Send(libc::SIGKILL),
            Phase::Alone | Phase::Over => Do::Nothing,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Do {
        let late = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.phase {
            Phase::Starting { give_up_at } if late(give_up_at) => self.unheard(now),
            Phase::Ending { kill_at } if late(kill_at) => {
                self.phase = Phase::Ending { kill_at: None };
                Do::Send(libc::SIGKILL)
            }
            Phase::Alone | Phase::Starting { .. } | Phase::Ending { .. } | Phase::Over => {
                Do::Nothing
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { give_up_at: at } | Phase::Ending { kill_at: at } => at,
            Phase::Alone | Phase::Over => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody is there to take over.
    Alone,
    /// Started, and not ready yet.
    Starting { give_up_at: Option<Instant> },
    /// Failed, and told to end.
    Ending { kill_at: Option<Instant> },
    /// Handed over, or too late for it.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// An attempt whose new program has been started.
    fn starting() -> (Attempt, Instant) {
        let (mut attempt, now) = (Attempt::new(PATIENCE), Instant::now());
        assert_eq!(attempt.next_deadline(), None);
        assert_eq!(attempt.asked(now), Do::Start);
        (attempt, now)
    }

    #[test]
    fn what_is_ready_in_time_takes_over_and_nothing_can_follow() {
        let (mut attempt, now) = starting();
        assert_eq!(attempt.tick(now), Do::Nothing);
        assert_eq!(attempt.next_deadline(), Some(now + PATIENCE));
        assert_eq!(attempt.ready(), Do::HandOver);
        assert_eq!((attempt.next_deadline(), attempt.tick(now + PATIENCE)), (None, Do::Nothing));
        assert_eq!((attempt.asked(now), attempt.ready()), (Do::Nothing, Do::Nothing));
        attempt.ended();
        assert_eq!(attempt.asked(now), Do::Nothing, "the old workers have drained");
    }

    #[test]
    fn a_second_wish_is_none_while_one_goes_on_and_what_has_failed_may_be_tried_again() {
        let (mut attempt, now) = starting();
        assert_eq!(attempt.asked(now), Do::Nothing);
        attempt.ended();
        assert_eq!(attempt.next_deadline(), None);
        assert_eq!(attempt.asked(now), Do::Start);
    }

    #[test]
    fn what_is_late_is_asked_to_end_and_then_killed_and_its_word_counts_no_more() {
        let (mut attempt, now) = starting();
        let just_before = now + PATIENCE - Duration::from_nanos(1);
        assert_eq!(attempt.tick(just_before), Do::Nothing);
        let late = now + PATIENCE;
        assert_eq!(attempt.tick(late), Do::Send(libc::SIGTERM));
        assert_eq!((attempt.ready(), attempt.asked(late)), (Do::Nothing, Do::Nothing));
        assert_eq!(attempt.next_deadline(), Some(late + PATIENCE));
        assert_eq!(attempt.tick(late), Do::Nothing);
        assert_eq!(attempt.tick(late + PATIENCE), Do::Send(libc::SIGKILL));
        assert_eq!(
            (attempt.next_deadline(), attempt.tick(late + 2 * PATIENCE)),
            (None, Do::Nothing)
        );
        attempt.ended();
        assert_eq!(attempt.asked(late), Do::Start);
    }

    #[test]
    fn who_cannot_be_told_to_systemd_does_not_take_over() {
        let (mut attempt, now) = starting();
        assert_eq!(attempt.ready(), Do::HandOver);
        assert_eq!(attempt.unheard(now), Do::Send(libc::SIGTERM));
        attempt.ended();
        assert_eq!(attempt.asked(now), Do::Start);
    }

    #[test]
    fn who_can_say_nothing_any_more_is_asked_to_end_once() {
        let (mut attempt, now) = starting();
        assert_eq!(attempt.silenced(now), Do::Send(libc::SIGTERM));
        assert_eq!(attempt.silenced(now), Do::Nothing);
        let (mut attempt, now) = starting();
        assert_eq!(attempt.stop(), Do::Send(libc::SIGTERM));
        assert_eq!((attempt.silenced(now), attempt.next_deadline()), (Do::Nothing, None));
    }

    #[test]
    fn a_program_that_is_to_end_takes_its_successor_with_it() {
        let (mut attempt, now) = starting();
        assert_eq!(attempt.stop(), Do::Send(libc::SIGTERM));
        assert_eq!((attempt.stop(), attempt.ready()), (Do::Nothing, Do::Nothing));
        assert_eq!(attempt.asked(now), Do::Nothing);
        let (mut attempt, now) = starting();
        assert_eq!(attempt.tick(now + PATIENCE), Do::Send(libc::SIGTERM));
        assert_eq!(attempt.stop(), Do::Send(libc::SIGKILL), "it does not end by itself");
    }
}
