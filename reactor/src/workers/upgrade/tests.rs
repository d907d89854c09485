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
    assert_eq!((attempt.next_deadline(), attempt.tick(late + 2 * PATIENCE)), (None, Do::Nothing));
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

#[test]
fn the_word_goes_to_the_process_that_it_names() {
    assert_eq!(number(Some("7:5"), 7).ok(), Some(Some(5)));
    assert_eq!(number(Some("8:5"), 7).ok(), Some(None));
    assert_eq!(number(None, 7).ok(), Some(None));
    for wrong in ["", "7", "7:", ":5", "7:5:6", "seven:5", "7:two", "7:2", "7:-1"] {
        assert!(number(Some(wrong), 7).is_err(), "{wrong}");
    }
}

#[test]
fn no_socket_is_left_without_a_worker() {
    let sets = |count| ["worker-0", "worker-1", "worker-2"].map(|name| set_of(name, count));
    assert_eq!(sets(3), [0, 1, 2]);
    assert_eq!(sets(4), [0, 1, 2]); // and worker 3 shares one, see `Sockets::take`
    assert_eq!(sets(2), [0, 1, 0]);
    assert_eq!(sets(1), [0, 0, 0]);
    for systemd_s in ["web", "worker-", "worker-x", "unknown", ""] {
        assert_eq!(set_of(systemd_s, 2), 0, "{systemd_s}");
    }
    assert_eq!(name_of(2), "worker-2");
}
