//! A source that tasks wait on: what is known, and who waits for what (law 3).
//!
//! Always edge-triggered. Reading and writing are believed possible until WouldBlock says
//! otherwise, so the first attempt needs no report and often no registration. A waiter is a job, so
//! nothing here can run user code. Next: `registry`.

use crate::interest::Readiness;
use crate::state::ready::Job;

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Something to read: data, the end, an error.
    Read,
    /// Room to write, or an error.
    Write,
    /// The peer: it has finished sending, or has left. More data does not wake this side.
    Closed,
    /// The peer has left for certain: a hang-up in both directions, or an error. Neither more data
    /// nor the end of the data wakes this side, which shares its place with `Closed`.
    HungUp,
}

pub const SIDES: [Side; 3] = [Side::Read, Side::Write, Side::Closed];

/// Reports that nobody heard before the source leaves the epoll until somebody waits: a peer that
/// floods a task which does not read must not wake the loop for each arrival.
const UNHEARD_LIMIT: u8 = 16;

/// What is known of a source, and the first waiter of each side.
#[derive(Clone, Copy, Debug)]
pub struct Waiters {
    known: Readiness,
    /// It spun: it stays out of the epoll until its owner resumes it, whoever waits.
    held: bool,
    unheard: u8,
    /// A report woke somebody, who has not yet achieved anything.
    unproven: bool,
    /// Further waiters stand in the registry's list.
    pub(super) crowded: bool,
    /// Who waits for the peer waits for `HungUp`, not for `Closed`.
    only_hang_up: bool,
    jobs: [Job; 3],
}

/// What a report came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// Whom to wake, by side.
    pub wake: [Job; 3],
    /// Nobody has listened for long: EPOLL_CTL_DEL, until somebody waits.
    pub mask: bool,
    /// The last report that woke somebody achieved nothing.
    pub fruitless: bool,
}

impl Default for Waiters {
    /// Nothing has been disproved yet.
    fn default() -> Self {
        Self {
            known: Readiness::READ | Readiness::WRITE,
            held: false,
            unheard: 0,
            unproven: false,
            crowded: false,
            only_hang_up: false,
            jobs: [Job::NOBODY; 3],
        }
    }
}

impl Waiters {
    /// The kernel reported.
    pub fn report(&mut self, report: Readiness) -> Report {
        self.known |= report;
        let mut wake = [Job::NOBODY; 3];
        for side in SIDES {
            let side = if self.only_hang_up { side.or_hung_up() } else { side };
            if side.is_ready(report) {
                wake[side.place()] = std::mem::replace(&mut self.jobs[side.place()], Job::NOBODY);
            }
        }
        let woken = wake != [Job::NOBODY; 3];
        let fruitless = woken && std::mem::replace(&mut self.unproven, true);
        // Whoever still waits, for another side or for the peer's leaving, must stay registered.
        let heard = woken || self.crowded || self.jobs != [Job::NOBODY; 3];
        self.unheard = if heard { 0 } else { self.unheard.saturating_add(1) };
        Report { wake, mask: self.unheard >= UNHEARD_LIMIT, fruitless }
    }

    /// What is known, if it answers for `side`.
    pub fn ready(&self, side: Side) -> Option<Readiness> {
        side.is_ready(self.known).then_some(self.known)
    }

    /// `job` waits for `side`. False if another one stands there already.
    #[must_use]
    pub fn wait(&mut self, side: Side, job: Job) -> bool {
        let place = &mut self.jobs[side.place()];
        let peer = side.place() == Side::Closed.place();
        if *place == Job::NOBODY {
            *place = job;
            self.only_hang_up = if peer { side == Side::HungUp } else { self.only_hang_up };
        } else if peer {
            // Two who wait for different things, or one who waits for both: each hears of each.
            self.only_hang_up &= side == Side::HungUp;
        }
        *place == job
    }

    /// Who stands first at `side`.
    pub fn first(&self, side: Side) -> Job {
        self.jobs[side.place()]
    }

    /// The kernel said WouldBlock on `side`.
    pub fn would_block(&mut self, side: Side) {
        self.disprove(side.disproved());
    }

    /// Takes back what has been disproved.
    pub fn disprove(&mut self, gone: Readiness) {
        self.known = self.known.without(gone);
    }

    /// A read or write on TCP moved fewer bytes than it could. That proves the side drained,
    /// unless urgent data, an end or an error is remembered: then no further event would come.
    pub fn short(&mut self, side: Side) {
        let doubt = Readiness::PRIORITY
            | Readiness::READ_CLOSED
            | Readiness::WRITE_CLOSED
            | Readiness::ERROR;
        if !self.known.intersects(doubt) {
            self.would_block(side);
        }
    }

    /// It spins: nothing is known any more, and nobody is woken, until it is released.
    pub fn hold(&mut self) {
        self.held = true;
        self.known = Readiness::NONE;
    }

    /// The owner ends the hold. True if there was one.
    #[must_use]
    pub fn release(&mut self) -> bool {
        std::mem::replace(&mut self.held, false)
    }

    /// True if it spun and has not been released.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The owner achieved something. True if a report led to it.
    pub fn progress(&mut self) -> bool {
        std::mem::replace(&mut self.unproven, false)
    }
}

impl Side {
    /// True if `known` answers for this side.
    pub fn is_ready(self, known: Readiness) -> bool {
        match self {
            Self::Read => known.is_readable() || known.is_priority(),
            Self::Write => known.is_writable(),
            Self::Closed => known
                .intersects(Readiness::READ_CLOSED | Readiness::WRITE_CLOSED | Readiness::ERROR),
            Self::HungUp => known.is_hung_up() || known.is_error(),
        }
    }

    /// What WouldBlock on this side disproves: never a hang-up, nor the peer's end.
    pub fn disproved(self) -> Readiness {
        match self {
            Self::Read => Readiness::READ | Readiness::PRIORITY | Readiness::ERROR,
            Self::Write => Readiness::WRITE | Readiness::ERROR,
            Self::Closed | Self::HungUp => Readiness::NONE,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Closed | Self::HungUp => 2,
        }
    }

    fn or_hung_up(self) -> Self {
        if self == Self::Closed { Self::HungUp } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ready::Kind;
    use crate::token::Token;

    fn job(slot: u32) -> Job {
        Job::new(Kind::Task, Token { slot, serial: 1 })
    }

    fn drained() -> Waiters {
        let mut waiters = Waiters::default();
        waiters.would_block(Side::Read);
        waiters
    }

    #[test]
    fn law_03_readiness_is_believed_until_would_block() {
        let mut waiters = Waiters::default();
        assert!(waiters.ready(Side::Read).is_some() && waiters.ready(Side::Write).is_some());
        assert!(waiters.ready(Side::Closed).is_none());
        waiters.would_block(Side::Read);
        assert!(waiters.ready(Side::Read).is_none() && waiters.ready(Side::Write).is_some());
    }

    #[test]
    fn law_03_a_short_read_proves_nothing_once_urgent_data_or_an_end_is_known() {
        for doubt in [Readiness::PRIORITY, Readiness::READ_CLOSED, Readiness::ERROR] {
            let mut waiters = Waiters::default();
            let _ = waiters.report(Readiness::READ | doubt);
            waiters.short(Side::Read);
            assert!(waiters.ready(Side::Read).is_some(), "{doubt:?}");
        }
        let mut waiters = Waiters::default();
        let _ = waiters.report(Readiness::READ);
        waiters.short(Side::Read);
        assert!(waiters.ready(Side::Read).is_none());
    }

    #[test]
    fn a_report_wakes_the_sides_that_it_answers() {
        let mut waiters = drained();
        waiters.would_block(Side::Write);
        assert!(waiters.wait(Side::Read, job(1)));
        assert!(waiters.wait(Side::Write, job(2)));
        assert!(waiters.wait(Side::Closed, job(3)));
        assert!(!waiters.wait(Side::Read, job(4)), "the registry's list takes the second");
        assert_eq!(waiters.report(Readiness::READ).wake, [job(1), Job::NOBODY, Job::NOBODY]);
        let hung_up = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        assert_eq!(waiters.report(hung_up).wake, [Job::NOBODY, job(2), job(3)]);
    }

    #[test]
    fn a_half_close_wakes_who_waits_for_the_end_and_not_who_waits_for_a_hang_up() {
        let mut waiters = drained();
        assert!(waiters.wait(Side::HungUp, job(1)));
        assert_eq!(waiters.report(Readiness::READ_CLOSED).wake, [Job::NOBODY; 3]);
        assert!(waiters.ready(Side::Closed).is_some() && waiters.ready(Side::HungUp).is_none());
        let reset = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED | Readiness::ERROR;
        assert_eq!(waiters.report(reset).wake, [Job::NOBODY, Job::NOBODY, job(1)]);
    }

    #[test]
    fn a_flood_that_nobody_hears_is_masked_and_one_that_a_watcher_may_end_is_not() {
        let mut waiters = drained();
        let masked = (1..).find(|_| waiters.report(Readiness::READ).mask);
        assert_eq!(masked, Some(UNHEARD_LIMIT));
        let mut waiters = drained();
        assert!(waiters.wait(Side::Closed, job(1)));
        assert!((0..100).all(|_| !waiters.report(Readiness::READ).mask));
    }

    #[test]
    fn a_flood_that_somebody_hears_each_time_is_never_masked() {
        let mut waiters = drained();
        for _ in 0..100 {
            assert!(waiters.wait(Side::Read, job(1)));
            assert!(!waiters.report(Readiness::READ).mask);
        }
    }

    #[test]
    fn law_12_a_source_that_is_held_comes_back_by_release_and_not_by_waiting() {
        let mut waiters = Waiters::default();
        waiters.hold();
        assert!(waiters.ready(Side::Read).is_none(), "nothing is tried");
        assert!(waiters.wait(Side::Read, job(1)) && waiters.is_held());
        assert!(waiters.release() && !waiters.release() && !waiters.is_held());
        assert_eq!(waiters.report(Readiness::READ).wake[0], job(1));
    }

    #[test]
    fn law_12_a_report_is_fruitless_if_the_last_one_led_to_nothing() {
        let mut waiters = drained();
        let mut report = || {
            let _ = waiters.wait(Side::Read, job(1));
            waiters.report(Readiness::READ).fruitless
        };
        assert!(!report());
        assert!(report());
        assert!(waiters.progress());
        let _ = waiters.wait(Side::Read, job(1));
        assert!(!waiters.report(Readiness::READ).fruitless);
    }
}
