//! One source's machine: edge, level, oneshot, and the pause (laws 3 to 5).
//!
//! For a source with a callback: what comes in is a report, the callback's answer, or a word of its
//! owner; what goes out is one [`Do`] for the driver. Under edge triggering the kernel is silent
//! after its report, so what is known is kept until the callback says that it is gone. Under level
//! triggering the kernel repeats itself and nothing is kept. A source that tasks wait on has no
//! phase: see `registry`. Next: `registry`.

use crate::interest::{Interest, Next, Readiness, Trigger};

/// Where a source with a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The kernel will report.
    Waiting,
    /// Reported; its job is in the ready queue.
    Queued,
    /// Its callback is running.
    Running,
    /// Its callback is running, and its owner asked meanwhile that it be called again.
    RunningAgain,
    /// Not called until `resume`; still registered, so that an edge is remembered.
    Paused,
    /// Not called until `resume`, and out of the epoll, so that the peer cannot wake the loop.
    Masked,
    /// Oneshot has fired, and nobody has re-armed it.
    Disarmed,
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Do {
    /// Nothing.
    Nothing,
    /// Put its job at the back of the ready queue.
    Queue,
    /// EPOLL_CTL_DEL, and keep the registration.
    Mask,
    /// EPOLL_CTL_ADD: the kernel reports at once what is ready.
    Unmask,
    /// EPOLL_CTL_MOD, which arms a oneshot again.
    Rearm,
    /// EPOLL_CTL_DEL, and end the registration.
    Remove,
}

/// One source's trigger, phase, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    trigger: Trigger,
    phase: Phase,
    known: Readiness,
}

/// What WouldBlock disproves. A hang-up is never taken back.
pub const DISPROVED: Readiness = disproved();

const fn disproved() -> Readiness {
    // `BitOr` is not const.
    Readiness::from_bits(
        Readiness::READ.bits()
            | Readiness::WRITE.bits()
            | Readiness::PRIORITY.bits()
            | Readiness::ERROR.bits(),
    )
}

impl Machine {
    /// A source that has just been registered.
    pub fn new(trigger: Trigger) -> Self {
        Self { trigger, phase: Phase::Waiting, known: Readiness::NONE }
    }

    /// The kernel reported.
    pub fn report(&mut self, report: Readiness) -> Do {
        use Phase::{Disarmed, Masked, Paused, Queued, Running, RunningAgain, Waiting};
        self.known = match self.trigger {
            Trigger::Level => report,
            Trigger::Edge | Trigger::Oneshot => self.known | report,
        };
        let (phase, todo) = match (self.phase, self.trigger) {
            (Waiting, _) => (Queued, Do::Queue),
            // Law 3: remembered. The next arrival would wake the loop again for nothing, so the
            // source leaves the epoll until `resume`.
            (Paused, _) => (Masked, Do::Mask),
            // Already on its way, or a report that crossed a change: the answer decides.
            (phase @ (Queued | Running | RunningAgain | Masked | Disarmed), _) => {
                (phase, Do::Nothing)
            }
        };
        self.phase = phase;
        todo
    }

    /// Its job came up: what to tell the callback. `None` if there is nothing to tell.
    pub fn start(&mut self) -> Option<Readiness> {
        if self.phase != Phase::Queued {
            return None;
        }
        if self.known.is_empty() {
            self.phase = Phase::Waiting;
            return None;
        }
        self.phase = Phase::Running;
        Some(self.known)
    }

    /// The callback answered.
    pub fn answer(&mut self, next: Next) -> Do {
        use Trigger::{Edge, Level, Oneshot};
        let again = self.phase == Phase::RunningAgain;
        let next = match next {
            Next::Wait if again && self.trigger == Oneshot => Next::Again,
            Next::Pause if again => Next::Again,
            next => next,
        };
        let (phase, todo) = match (next, self.trigger) {
            (Next::Done, _) => (Phase::Waiting, Do::Remove),
            // WouldBlock: more is a new edge.
            (Next::Wait, Edge | Level) => (Phase::Waiting, Do::Nothing),
            (Next::Wait, Oneshot) => (Phase::Disarmed, Do::Nothing),
            // Out of budget: the kernel is silent from here.
            (Next::Again, Edge) => (Phase::Queued, Do::Queue),
            // The kernel reports it in the next turn by itself.
            (Next::Again, Level) => (Phase::Waiting, Do::Nothing),
            (Next::Again, Oneshot) => (Phase::Waiting, Do::Rearm),
            (Next::Pause, Edge | Oneshot) => (Phase::Paused, Do::Nothing),
            // A level that is not drained would be reported in every turn.
            (Next::Pause, Level) => (Phase::Masked, Do::Mask),
        };
        self.phase = phase;
        self.known = match (next, self.trigger) {
            (Next::Wait, _) => self.known.without(DISPROVED),
            (Next::Again | Next::Pause, Edge) => self.known,
            // The kernel says it afresh.
            (Next::Again | Next::Pause, Level | Oneshot) | (Next::Done, _) => Readiness::NONE,
        };
        todo
    }

    /// The owner ends a pause, or arms a oneshot again.
    pub fn resume(&mut self) -> Do {
        let (phase, todo) = match (self.phase, self.trigger) {
            (Phase::Running | Phase::RunningAgain, _) => (Phase::RunningAgain, Do::Nothing),
            (Phase::Paused | Phase::Disarmed, Trigger::Oneshot) => (Phase::Waiting, Do::Rearm),
            (Phase::Paused, _) if !self.known.is_empty() => (Phase::Queued, Do::Queue),
            (Phase::Paused, _) => (Phase::Waiting, Do::Nothing),
            (Phase::Masked, _) => (Phase::Waiting, Do::Unmask),
            (phase @ (Phase::Waiting | Phase::Queued | Phase::Disarmed), _) => (phase, Do::Nothing),
        };
        self.phase = phase;
        todo
    }

    /// It spins: out of the epoll until `resume`. While its callback runs, the answer decides.
    pub fn hold(&mut self) -> Do {
        let (phase, todo) = match self.phase {
            phase @ (Phase::Masked | Phase::Running | Phase::RunningAgain) => (phase, Do::Nothing),
            Phase::Waiting | Phase::Queued | Phase::Paused | Phase::Disarmed => {
                (Phase::Masked, Do::Mask)
            }
        };
        self.phase = phase;
        todo
    }

    /// Its `Unmask` was refused: it stays out of the epoll, and `resume` tries again.
    pub fn stay_masked(&mut self) {
        self.phase = Phase::Masked;
    }

    /// The source goes into a fresh epoll, which reports at once what is ready. One that is not to
    /// be reported stays outside until `resume`.
    pub fn start_afresh(&mut self) {
        self.known = Readiness::NONE;
        self.phase = match self.phase {
            Phase::Paused | Phase::Masked | Phase::Disarmed => Phase::Masked,
            Phase::Waiting | Phase::Queued | Phase::Running | Phase::RunningAgain => Phase::Waiting,
        };
    }

    /// The interest changed: the kernel says afresh what is ready. Who is on the way to be called is
    /// called if there is something to tell by then; an edge keeps a hang-up, but for who asks for
    /// nothing (law 4).
    pub fn forget(&mut self, interest: Interest) {
        let keeps = self.trigger == Trigger::Edge && !interest.is_none();
        self.known = if keeps { self.known.without(DISPROVED) } else { Readiness::NONE };
    }

    /// True if the kernel is silent until its owner or its callback's answer ends that: paused out
    /// of the epoll, or a oneshot that has fired and was taken up.
    pub fn is_silent(&self) -> bool {
        match self.phase {
            Phase::Waiting | Phase::Queued => false,
            Phase::Masked => true,
            Phase::Running | Phase::RunningAgain | Phase::Paused | Phase::Disarmed => {
                self.trigger == Trigger::Oneshot
            }
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is known.
    pub fn known(&self) -> Readiness {
        self.known
    }

    /// How it is reported.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Readiness = Readiness::READ;

    fn running(trigger: Trigger) -> Machine {
        let mut machine = Machine::new(trigger);
        assert_eq!(machine.report(READ), Do::Queue);
        assert_eq!(machine.start(), Some(READ));
        machine
    }

    #[test]
    fn law_03_an_edge_is_remembered_until_wait() {
        let mut machine = running(Trigger::Edge);
        assert_eq!(machine.answer(Next::Again), Do::Queue);
        assert_eq!(machine.start(), Some(READ));
        assert_eq!(machine.answer(Next::Pause), Do::Nothing);
        assert_eq!(machine.start(), None);
        assert_eq!(machine.resume(), Do::Queue);
        assert_eq!(machine.start(), Some(READ));
        assert_eq!(machine.answer(Next::Wait), Do::Nothing);
        assert_eq!(machine.known(), Readiness::NONE);
    }

    #[test]
    fn law_03_what_was_forgotten_in_a_pause_is_not_told_after_it() {
        let mut machine = running(Trigger::Edge);
        assert_eq!(machine.answer(Next::Pause), Do::Nothing);
        machine.forget(Interest::READABLE);
        assert_eq!((machine.resume(), machine.phase()), (Do::Nothing, Phase::Waiting));
    }

    #[test]
    fn law_06_a_fresh_epoll_says_it_afresh_and_what_rests_stays_outside() {
        let mut queued = Machine::new(Trigger::Edge);
        assert_eq!(queued.report(READ), Do::Queue);
        let (mut called, mut paused) = (running(Trigger::Edge), running(Trigger::Edge));
        assert_eq!(paused.answer(Next::Pause), Do::Nothing);
        let mut disarmed = running(Trigger::Oneshot);
        assert_eq!(disarmed.answer(Next::Wait), Do::Nothing);
        for (machine, phase) in [
            (&mut queued, Phase::Waiting),
            (&mut called, Phase::Waiting),
            (&mut paused, Phase::Masked),
            (&mut disarmed, Phase::Masked),
        ] {
            machine.start_afresh();
            assert_eq!((machine.phase(), machine.known()), (phase, Readiness::NONE));
        }
    }

    #[test]
    fn law_03_would_block_takes_back_everything_but_a_hang_up() {
        let mut machine = Machine::new(Trigger::Edge);
        let all = DISPROVED | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        assert_eq!(machine.report(all), Do::Queue);
        assert_eq!(machine.start(), Some(all));
        assert_eq!(machine.answer(Next::Wait), Do::Nothing);
        assert_eq!(machine.known(), Readiness::READ_CLOSED | Readiness::WRITE_CLOSED);
    }

    #[test]
    fn law_03_a_peer_that_floods_a_paused_source_wakes_the_loop_once() {
        let mut machine = running(Trigger::Edge);
        assert_eq!(machine.answer(Next::Pause), Do::Nothing);
        assert_eq!(machine.report(READ), Do::Mask);
        assert_eq!(machine.resume(), Do::Unmask);
        assert_eq!(machine.report(READ), Do::Queue);
    }

    #[test]
    fn law_04_a_level_is_told_as_the_kernel_says_it_and_a_pause_masks_it() {
        let mut machine = running(Trigger::Level);
        assert_eq!(machine.answer(Next::Wait), Do::Nothing);
        assert_eq!(machine.report(Readiness::WRITE), Do::Queue);
        assert_eq!(machine.start(), Some(Readiness::WRITE), "the old READ is not added");
        assert_eq!(machine.answer(Next::Pause), Do::Mask);
        assert_eq!(machine.resume(), Do::Unmask);
    }

    #[test]
    fn law_05_a_oneshot_is_silent_until_it_is_armed_again() {
        let mut machine = running(Trigger::Oneshot);
        assert_eq!(machine.answer(Next::Wait), Do::Nothing);
        assert_eq!(machine.phase(), Phase::Disarmed);
        assert_eq!(machine.resume(), Do::Rearm);
        assert_eq!(machine.resume(), Do::Nothing, "armed already");
        assert_eq!(machine.report(READ), Do::Queue);
        assert_eq!(machine.start(), Some(READ));
        assert_eq!(machine.answer(Next::Again), Do::Rearm);
    }

    #[test]
    fn law_12_a_source_that_is_held_is_masked_once_and_comes_back_by_resume() {
        let mut machine = running(Trigger::Edge);
        assert_eq!(machine.hold(), Do::Nothing, "its callback runs");
        assert_eq!(machine.answer(Next::Again), Do::Queue);
        assert_eq!(machine.hold(), Do::Mask);
        assert_eq!(machine.hold(), Do::Nothing);
        assert_eq!(machine.start(), None, "its job finds it masked");
        assert_eq!(machine.resume(), Do::Unmask);
    }

    #[test]
    fn a_word_of_the_owner_during_the_callback_is_not_lost() {
        let mut machine = running(Trigger::Edge);
        assert_eq!(machine.resume(), Do::Nothing);
        assert_eq!(machine.answer(Next::Pause), Do::Queue);
        let mut machine = running(Trigger::Oneshot);
        assert_eq!(machine.resume(), Do::Nothing);
        assert_eq!(machine.answer(Next::Wait), Do::Rearm);
    }
}
