use super::*;

const CRASH: Exit = Exit::Code(1);
const GRACE: Duration = Duration::from_secs(30);
const TERM: c_int = libc::SIGTERM;

/// A supervisor whose workers have all been started.
fn running(workers: usize, limit: u32) -> (Supervisor, Instant) {
    let now = Instant::now();
    let mut supervisor = Supervisor::new(workers, limit, GRACE, now);
    for index in 0..workers {
        assert_eq!(supervisor.next(now), Do::Start(index));
        supervisor.started(index, now);
    }
    (supervisor, now)
}

#[test]
fn all_workers_start_in_order_and_then_it_waits_without_a_deadline() {
    let (mut supervisor, now) = running(3, 100);
    assert_eq!(supervisor.next(now), Do::Wait(None));
}

#[test]
fn code_zero_is_not_restarted_and_the_last_one_ends_it() {
    let (mut supervisor, now) = running(2, 100);
    supervisor.exited(1, Exit::Code(0), now);
    assert_eq!(supervisor.next(now), Do::Wait(None));
    supervisor.exited(0, Exit::Code(0), now);
    assert_eq!(supervisor.next(now), Do::End(Outcome::Done));
}

#[test]
fn no_workers_at_all_is_done() {
    let (mut supervisor, now) = running(0, 100);
    assert_eq!(supervisor.next(now), Do::End(Outcome::Done));
}

#[test]
fn fast_crashes_are_put_off_twice_as_long_each_time_up_to_a_second() {
    let (mut supervisor, mut now) = running(1, 100);
    let mut delays = Vec::new();
    for _ in 0..10 {
        supervisor.exited(0, CRASH, now);
        let Do::Wait(Some(at)) = supervisor.next(now) else { panic!("it does not wait") };
        assert_eq!(supervisor.next(at - Duration::from_nanos(1)), Do::Wait(Some(at)));
        delays.push((at - now).as_millis());
        now = at;
        assert_eq!(supervisor.next(now), Do::Start(0));
        supervisor.started(0, now);
    }
    assert_eq!(delays, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
}

#[test]
fn a_worker_that_ran_long_restarts_at_once_and_starts_the_doubling_anew() {
    let (mut supervisor, now) = running(1, 100);
    supervisor.exited(0, CRASH, now);
    let now = now + FIRST_DELAY;
    assert_eq!(supervisor.next(now), Do::Start(0));
    supervisor.started(0, now);
    let now = now + STEADY;
    supervisor.exited(0, Exit::Signal(libc::SIGSEGV), now);
    assert_eq!(supervisor.next(now), Do::Start(0));
    supervisor.started(0, now);
    supervisor.exited(0, CRASH, now);
    assert_eq!(supervisor.next(now), Do::Wait(Some(now + FIRST_DELAY)));
}

#[test]
fn one_crash_past_the_limit_ends_all_workers_with_the_count() {
    let (mut supervisor, mut now) = running(3, 2);
    for _ in 0..2 {
        supervisor.exited(1, CRASH, now);
        now += LONGEST_DELAY;
        assert_eq!(supervisor.next(now), Do::Start(1));
        supervisor.started(1, now);
    }
    supervisor.exited(1, CRASH, now);
    assert_eq!(supervisor.next(now), Do::Send(0, TERM));
    assert_eq!(supervisor.next(now), Do::Send(2, TERM));
    assert_eq!(supervisor.next(now), Do::Wait(Some(now + GRACE)));
    supervisor.exited(0, Exit::Signal(TERM), now);
    supervisor.exited(2, Exit::Code(0), now);
    assert_eq!(supervisor.next(now), Do::End(Outcome::RestartLimit(2)));
}

#[test]
fn a_signal_is_passed_on_and_nobody_is_started_again() {
    let (mut supervisor, now) = running(3, 100);
    supervisor.exited(2, CRASH, now); // due in 10 ms, and that must not happen any more
    supervisor.signalled(libc::SIGINT, now);
    assert_eq!(supervisor.next(now), Do::Send(0, libc::SIGINT));
    assert_eq!(supervisor.next(now), Do::Send(1, libc::SIGINT));
    let later = now + Duration::from_secs(1);
    assert_eq!(supervisor.next(later), Do::Wait(Some(now + GRACE)));
    supervisor.exited(0, CRASH, later);
    supervisor.exited(1, Exit::Signal(libc::SIGINT), later);
    assert_eq!(supervisor.next(later), Do::End(Outcome::Done));
}

#[test]
fn who_still_runs_after_the_grace_is_killed_once() {
    let (mut supervisor, now) = running(2, 100);
    supervisor.signalled(TERM, now);
    let _ = (supervisor.next(now), supervisor.next(now));
    supervisor.exited(0, Exit::Code(0), now);
    let late = now + GRACE;
    assert_eq!(supervisor.next(late), Do::Send(1, libc::SIGKILL));
    assert_eq!(supervisor.next(late), Do::Wait(None));
    supervisor.exited(1, Exit::Signal(libc::SIGKILL), late);
    assert_eq!(supervisor.next(late), Do::End(Outcome::Done));
}

#[test]
fn a_second_signal_is_passed_on_but_does_not_prolong_the_grace() {
    let (mut supervisor, now) = running(1, 100);
    supervisor.signalled(TERM, now);
    assert_eq!(supervisor.next(now), Do::Send(0, TERM));
    let later = now + GRACE / 2;
    supervisor.signalled(libc::SIGINT, later);
    assert_eq!(supervisor.next(later), Do::Send(0, libc::SIGINT));
    assert_eq!(supervisor.next(later), Do::Wait(Some(now + GRACE)));
}

#[test]
fn an_order_for_a_worker_that_has_ended_meanwhile_is_not_sent() {
    let (mut supervisor, now) = running(2, 100);
    supervisor.signalled(TERM, now);
    supervisor.exited(0, Exit::Code(0), now);
    assert_eq!(supervisor.next(now), Do::Send(1, TERM));
}

#[test]
fn a_first_fork_that_fails_ends_those_already_started() {
    let now = Instant::now();
    let mut supervisor = Supervisor::new(2, 100, GRACE, now);
    assert_eq!(supervisor.next(now), Do::Start(0));
    supervisor.started(0, now);
    assert_eq!(supervisor.next(now), Do::Start(1));
    supervisor.unstarted(1, now);
    assert_eq!(supervisor.next(now), Do::Send(0, TERM));
    supervisor.exited(0, Exit::Signal(TERM), now);
    assert_eq!(supervisor.next(now), Do::End(Outcome::Unstarted));
}

#[test]
fn a_later_fork_that_fails_is_one_more_crash() {
    let (mut supervisor, now) = running(1, 2);
    supervisor.exited(0, CRASH, now);
    let now = now + FIRST_DELAY;
    assert_eq!(supervisor.next(now), Do::Start(0));
    supervisor.unstarted(0, now);
    let now = now + 2 * FIRST_DELAY;
    assert_eq!(supervisor.next(now), Do::Start(0));
    supervisor.unstarted(0, now);
    assert_eq!(supervisor.next(now), Do::End(Outcome::RestartLimit(2)));
}

#[test]
fn a_grace_without_end_never_kills() {
    let now = Instant::now();
    let mut supervisor = Supervisor::new(1, 100, Duration::MAX, now);
    assert_eq!(supervisor.next(now), Do::Start(0));
    supervisor.started(0, now);
    supervisor.signalled(TERM, now);
    assert_eq!(supervisor.next(now), Do::Send(0, TERM));
    assert_eq!(supervisor.next(now + 1000 * GRACE), Do::Wait(None));
}
