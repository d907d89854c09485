//! What the simulation does not ask of the core: law 12, times, the fresh start after a fork.

use super::*;

const READ: Readiness = Readiness::READ;
const THRESHOLD: u32 = 3;

fn job(slot: u32) -> Job {
    Job::new(Kind::Task, Token { slot, serial: 1 })
}

fn callback(state: &mut State, trigger: Trigger) -> Token {
    let (token, order) = state.add_callback(7, Interest::READABLE, trigger, Location::caller());
    assert_eq!(order.map(|order| (order.call, order.fd)), Some((Call::Add, 7)));
    token
}

fn waited(state: &mut State) -> Token {
    let (token, order) = state.add_waited(8, Interest::READABLE, Location::caller());
    assert_eq!(order.map(|order| (order.call, order.fd)), Some((Call::Add, 8)));
    token
}

fn call(order: Option<Order>) -> Option<Call> {
    order.map(|order| order.call)
}

/// Reported, called, answered.
fn call_back(state: &mut State, token: Token, next: Next) -> (Do, Option<Order>, Verdict) {
    assert_eq!(state.event(token, READ), Reported::Taken(None, None));
    assert_eq!(state.start_source(token), Some(READ));
    state.answer(token, next.into(), false).expect("it is registered")
}

// Breaks: the core's clock stands still. Shows: a snapshot that says of everything that it is new.
#[test]
fn what_is_said_is_said_at_the_time_that_was_told() {
    let mut state = State::new(THRESHOLD, 0);
    state.tell_time(1600);
    let source = callback(&mut state, Trigger::Level);
    let task = state.add_task(Location::caller());
    let at = |state: &State| state.registry.get(source).expect("registered").reported_at;
    assert_eq!(at(&state), Moment::at(1600));
    assert_eq!(state.tasks.get(task).expect("alive").since, Moment::at(1600));
    state.tell_time(3200);
    assert_eq!(state.event(source, READ), Reported::Taken(None, None));
    assert_eq!(at(&state), Moment::at(3200));
    assert!(state.tasks.start(task));
    state.suspend(task);
    assert_eq!(state.tasks.get(task).expect("alive").since, Moment::at(3200));
}

// Breaks: what spins stays in the epoll. Shows: no DEL.
#[test]
fn law_12_what_is_held_leaves_the_epoll_and_resume_takes_it_back() {
    let mut state = State::new(THRESHOLD, 0);
    for token in [callback(&mut state, Trigger::Level), waited(&mut state)] {
        assert_eq!(call(state.hold(token)), Some(Call::Delete));
        assert_eq!(call(state.hold(token)), None, "once");
        assert!(!state.registry.get(token).expect("registered").is_in_epoll());
        assert_eq!(state.resume(token).map(call), Some(Some(Call::Add)));
        assert_eq!(state.resume(token).map(call), Some(None), "once");
        assert!(state.remove_source(token).is_some());
        assert_eq!((state.hold(token), state.resume(token)), (None, None));
    }
}

// Breaks: an operation on a held source is tried, and spins on. Shows: it may.
#[test]
fn law_12_nothing_is_tried_on_a_source_that_is_held() {
    let mut state = State::new(THRESHOLD, 0);
    let token = waited(&mut state);
    assert_eq!(state.may_try(token, Side::Read), Some(true), "nothing is disproved yet");
    let _ = state.hold(token);
    // Outside the epoll a side may be tried, for no report will come; but not in a hold.
    assert_eq!(state.may_try(token, Side::Read), Some(false));
    assert!(state.resume(token).is_some());
    assert_eq!(state.may_try(token, Side::Read), Some(false), "the kernel will report it");
    assert_eq!(state.may_try(token, Side::Write), Some(true), "the kernel is not asked");
    assert_eq!(state.event(token, READ), Reported::Taken(None, None));
    assert_eq!(state.may_try(token, Side::Read), Some(true));
    let source = callback(&mut state, Trigger::Edge);
    assert_eq!(state.may_try(source, Side::Read), None);
}

// Breaks: progress is not counted, or where there is none. Shows: a healthy task is named, or a
// spinning one is not.
#[test]
fn law_12_a_task_that_achieves_nothing_is_named_and_one_that_does_is_not() {
    let mut state = State::new(THRESHOLD, 0);
    let token = waited(&mut state);
    let report = |state: &mut State| {
        state.waiters(token).expect("tasks wait").would_block(Side::Read);
        assert_eq!(state.wait(token, Side::Read, job(1)), Wait::Parked(None));
        match state.event(token, READ) {
            Reported::Taken(None, verdict) => verdict,
            other => panic!("{other:?}"),
        }
    };
    // The verdict on a report comes with the next one.
    assert_eq!(report(&mut state), None);
    assert_eq!(report(&mut state), Some(Verdict::Idle));
    assert_eq!(report(&mut state), Some(Verdict::Idle));
    assert_eq!(report(&mut state), Some(Verdict::Spins));
    assert!(state.progress(token), "the report led to it");
    assert!(!state.progress(token), "no report since");
    assert_eq!(report(&mut state), None);
    let detector = state.registry.get(token).expect("registered").detector;
    assert_eq!((detector.reports, detector.idle_reports), (4, 0));
}

// Breaks: tries without a report are not counted. Shows: no name for a task that spins by itself.
#[test]
fn law_12_fruitless_tries_count_until_something_is_achieved() {
    let mut state = State::new(THRESHOLD, 0);
    let token = waited(&mut state);
    assert_eq!(state.fruitless(token), Some(Verdict::Idle));
    assert_eq!(state.fruitless(token), Some(Verdict::Idle));
    assert!(!state.progress(token), "without a report");
    assert_eq!(state.fruitless(token), Some(Verdict::Idle));
    assert_eq!(state.fruitless(token), Some(Verdict::Idle));
    assert_eq!(state.fruitless(token), Some(Verdict::Spins));
    assert!(state.remove_source(token).is_some());
    assert_eq!(state.fruitless(token), None);
    assert!(!state.progress(token));
    let source = callback(&mut state, Trigger::Edge);
    assert!(!state.progress(source), "a callback says it in its answer");
}

// Breaks: a source in a hold enters the epoll because somebody waits. Shows: an ADD.
#[test]
fn law_12_who_waits_does_not_end_a_hold_and_resume_does() {
    let mut state = State::new(THRESHOLD, 0);
    let token = waited(&mut state);
    let _ = state.hold(token);
    assert_eq!(state.wait(token, Side::Read, job(1)), Wait::Parked(None));
    assert_eq!(state.wait(token, Side::Write, job(2)), Wait::Parked(None));
    let order = state.resume(token).flatten().expect("an order");
    let both = Interest::READABLE | Interest::WRITABLE;
    assert_eq!((order.call, order.interest), (Call::Add, both), "with what they wait for");
}

#[test]
fn law_12_a_callbacks_verdict_comes_with_its_answer() {
    let mut state = State::new(THRESHOLD, 0);
    let token = callback(&mut state, Trigger::Level);
    assert_eq!(call_back(&mut state, token, Next::Wait).2, Verdict::Idle);
    assert_eq!(call_back(&mut state, token, Next::Wait).2, Verdict::Idle);
    assert_eq!(call_back(&mut state, token, Next::Wait).2, Verdict::Spins);
}

#[test]
fn law_02_each_thing_has_a_serial_of_its_own() {
    let mut state = State::new(THRESHOLD, 40);
    let (source, task) = (callback(&mut state, Trigger::Edge), state.add_task(Location::caller()));
    assert_eq!((source.serial, task.serial), (41, 42));
    assert_eq!((state.draw_serial(), state.draw_serial()), (43, 44));
}

// Breaks: a listener that was kept over a fork is not in the child's epoll, or one that rests is.
// Shows: no ADD, or one.
#[test]
fn law_06_what_is_kept_enters_the_fresh_epoll_unless_it_rests() {
    let mut state = State::new(THRESHOLD, 0);
    let kept = callback(&mut state, Trigger::Level);
    let rests = callback(&mut state, Trigger::Level);
    assert_eq!(call(call_back(&mut state, rests, Next::Pause).1), Some(Call::Delete));
    assert_eq!(state.start_afresh(kept).map(call), Some(Some(Call::Add)));
    assert_eq!(state.start_afresh(rests).map(call), Some(None));
    assert_eq!(state.resume(rests).map(call), Some(Some(Call::Add)));
    let tasks = waited(&mut state);
    assert_eq!(state.start_afresh(tasks), None, "tasks are not kept");
    assert!(state.remove_source(kept).is_some());
    assert_eq!(state.start_afresh(kept), None);
}

// Breaks: something of the parent lives on in the child. Shows: it is still there.
#[test]
fn law_06_everything_else_is_forgotten_and_serials_go_on() {
    let mut state = State::new(THRESHOLD, 0);
    let (kept, lost) = (callback(&mut state, Trigger::Level), callback(&mut state, Trigger::Level));
    let tasks = waited(&mut state);
    state.waiters(tasks).expect("tasks wait").would_block(Side::Read);
    for nth in 1..=3 {
        assert!(matches!(state.wait(tasks, Side::Read, job(nth)), Wait::Parked(_)));
    }
    let task = state.add_task(Location::caller());
    let timer = state.add_timer(100, job(9));
    assert_eq!(state.event(kept, READ), Reported::Taken(None, None));
    assert!(state.is_busy() && !state.wheel.is_empty());
    state.clear_but(&[kept]);
    assert!(state.registry.get(kept).is_some() && state.registry.get(lost).is_none());
    assert_eq!((state.registry.len(), state.registry.iter().count()), (1, 1));
    assert!(!state.is_busy() && state.ready.is_empty() && state.wheel.is_empty());
    assert!(!state.tasks.contains(task) && state.tasks.is_empty());
    assert_eq!(state.wheel.cancel(timer), None);
    // Whoever waited stands nowhere, also not for who gets the slot.
    let next = waited(&mut state);
    assert!(next.serial > task.serial, "{next:?} {task:?}");
    assert_eq!(state.registry.standing(next, Side::Read).collect::<Vec<_>>(), [Job::NOBODY]);
    assert_eq!(state.registry.standing(tasks, Side::Read).count(), 0);
}

#[test]
fn a_registry_tells_what_it_holds() {
    let mut state = State::new(THRESHOLD, 0);
    assert!(state.registry.is_empty());
    let first = state.registry.vacant();
    let one = callback(&mut state, Trigger::Edge);
    assert_eq!((one.index(), state.registry.len()), (first, 1));
    let next = state.registry.vacant();
    let two = waited(&mut state);
    assert_eq!((two.index(), state.registry.len()), (next, 2));
    assert!(next != first && !state.registry.is_empty());
    let all: Vec<Token> = state.registry.iter().map(|(token, _)| token).collect();
    assert_eq!(all, [one, two]);
    assert!(state.registry.remove(one).is_some() && state.registry.remove(one).is_none());
    assert_eq!(state.registry.vacant(), first, "a slot is used again");
}

// Breaks: the second who waits for a side is forgotten. Shows: it is not in the list, or not woken.
#[test]
fn law_03_all_who_wait_for_a_side_stand_there_in_order_and_are_woken() {
    let mut state = State::new(THRESHOLD, 0);
    let token = waited(&mut state);
    state.waiters(token).expect("tasks wait").would_block(Side::Read);
    let wakers = [1, 2, 3].map(|slot| Job::new(Kind::Waker, Token { slot, serial: 1 }));
    for waker in [wakers[0], wakers[1], wakers[1], wakers[2]] {
        assert_eq!(state.wait(token, Side::Read, waker), Wait::Parked(None));
    }
    assert_eq!(state.registry.standing(token, Side::Read).collect::<Vec<_>>(), wakers);
    assert_eq!(state.registry.standing(token, Side::Write).collect::<Vec<_>>(), [Job::NOBODY]);
    assert_eq!(state.event(token, READ), Reported::Taken(None, None));
    let mut woken: Vec<Job> = state.ready.iter().collect();
    woken.sort_by_key(|job| job.token().slot);
    assert_eq!(woken, wakers);
    assert_eq!(state.registry.standing(token, Side::Read).collect::<Vec<_>>(), [Job::NOBODY]);
}
