//! Law 10, time: a timer never fires early, equal deadlines fire in order, and a key means its own
//! timer or nothing.
//!
//! No test here asks that something be quick. Next: `laws_12_unseen`.

mod turning;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use squall_reactor::{
    Error, Handle, Reactor, Sleep, Timer, interval, sleep, sleep_until, timeout, yield_now,
};
use turning::{turn_at_once, turn_until};

const MS: Duration = Duration::from_millis(1);

/// A relative deadline counts from now, not from the turn's old reading of the clock.
#[test]
fn law_10_a_timer_set_after_work_in_the_same_turn_is_not_early() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let waited = Rc::new(Cell::new(None));
    let result = Rc::clone(&waited);
    let again = handle.clone();
    let work = move || {
        busy(30 * MS);
        let start = Instant::now();
        let timer = again.after(10 * MS, move || result.set(Some(start.elapsed())));
        timer.unwrap();
    };
    handle.after(Duration::ZERO, work).unwrap();
    turn_until(&mut reactor, "the timer", || waited.get().is_some());
    assert!(waited.get() >= Some(10 * MS), "{:?}", waited.get());

    let waited = reactor.block_on(async {
        sleep(MS).await;
        busy(30 * MS);
        let start = Instant::now();
        sleep(10 * MS).await;
        start.elapsed()
    });
    assert!(waited.unwrap() >= 10 * MS);
}

/// Sub-millisecond deadlines are rounded up, whatever the fraction of the reactor's birth was.
#[test]
fn law_10_no_fraction_of_a_millisecond_is_early() {
    let mut reactor = Reactor::new().unwrap();
    for micros in (0..3000).step_by(77) {
        let delay = Duration::from_micros(micros);
        let start = Instant::now();
        reactor.block_on(sleep(delay)).unwrap();
        assert!(start.elapsed() >= delay, "{delay:?}");
        let waited = Rc::new(Cell::new(None));
        let (result, start) = (Rc::clone(&waited), Instant::now());
        let timer = reactor.handle().after(delay, move || result.set(Some(start.elapsed())));
        timer.unwrap();
        turn_until(&mut reactor, "the timer", || waited.get().is_some());
        assert!(waited.get() >= Some(delay), "{delay:?}");
    }
}

/// Fine timers keep the law: none is early by a fraction of a tick, wherever in a tick it begins.
#[test]
fn law_10_no_fine_timer_is_early() {
    let mut reactor = Reactor::builder().fine_timers(true).build().unwrap();
    for nanos in (0..1_500_000).step_by(3_777) {
        let delay = Duration::from_nanos(nanos);
        let start = Instant::now();
        reactor.block_on(sleep(delay)).unwrap();
        assert!(start.elapsed() >= delay, "{delay:?}");
    }
}

/// Coarse timers that are due in one millisecond are equal, and fire as they were armed; fine ones
/// fire in the order of their deadlines, and so do those of a whole week and more.
#[test]
fn law_10_fine_timers_fire_in_order_and_not_early() {
    const COUNT: usize = 20_000;
    let mut reactor = Reactor::builder().fine_timers(true).build().unwrap();
    let handle = reactor.handle();
    let (fired, early) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let (mut random, mut expected) = (Random(4), Vec::new());
    let base = Instant::now();
    let far = handle.at(base + Duration::from_secs(30 * 24 * 3600), || panic!("in a month"));
    for index in 0..COUNT {
        let steps = random.below(400);
        // Far enough from each other to be other ticks.
        let deadline = base + Duration::from_micros(20) * steps as u32;
        let (order, count) = (Rc::clone(&fired), Rc::clone(&early));
        let timer = handle.at(deadline, move || {
            order.borrow_mut().push((steps, index));
            count.set(count.get() + usize::from(Instant::now() < deadline));
        });
        timer.unwrap();
        expected.push((steps, index));
    }
    expected.sort();
    // As above: no turn has been made.
    turn_until(&mut reactor, "every timer", || fired.borrow().len() == COUNT);
    assert_eq!(early.get(), 0);
    assert!(*fired.borrow() == expected, "the order");
    assert!(handle.cancel(far.unwrap()));
}

/// A hundred thousand random deadlines, a third of them cancelled: each of the others fires once,
/// not early, and in the order of deadline, then of insertion.
#[test]
fn law_10_random_timers_fire_in_order_and_not_early() {
    const COUNT: usize = 100_000;
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (fired, early) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let (mut random, base) = (Random(1), Instant::now());
    let (mut expected, mut timers) = (Vec::new(), Vec::new());
    for index in 0..COUNT {
        let delay_ms = random.below(400);
        let deadline = base + MS * delay_ms as u32;
        let (order, count) = (Rc::clone(&fired), Rc::clone(&early));
        let timer = handle.at(deadline, move || {
            order.borrow_mut().push((delay_ms, index));
            count.set(count.get() + usize::from(Instant::now() < deadline));
        });
        timers.push(timer.unwrap());
        expected.push((delay_ms, index));
    }
    expected.retain(|(_, index)| index % 3 != 0 || !handle.cancel(timers[*index]));
    assert!(expected.len() < COUNT);
    // What had been due when the last was inserted is still to fire: no turn has been made.
    expected.sort();
    turn_until(&mut reactor, "every timer", || fired.borrow().len() == expected.len());
    turn_at_once(&mut reactor, 3);
    assert_eq!(early.get(), 0);
    assert!(*fired.borrow() == expected, "the order");
    assert_eq!(reactor.stats().timers, 0);
}

/// The same for futures: each of ten thousand tasks sleeps until its deadline.
#[test]
fn law_10_random_sleeps_end_in_order_and_not_early() {
    const COUNT: usize = 10_000;
    let mut reactor = Reactor::new().unwrap();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let (mut random, mut expected) = (Random(2), Vec::new());
    for index in 0..COUNT {
        let delay_ms = 1 + random.below(200);
        let order = Rc::clone(&ended);
        reactor.handle().spawn_detached(async move {
            // All are polled in one turn, so they share its reading of the clock.
            let now = Handle::current().expect("a reactor").now();
            let deadline = now + MS * delay_ms as u32;
            sleep_until(deadline).await;
            assert!(Instant::now() >= deadline, "early");
            order.borrow_mut().push((delay_ms, index));
        });
        expected.push((delay_ms, index));
    }
    expected.sort();
    turn_until(&mut reactor, "every sleep", || ended.borrow().len() == COUNT);
    assert!(*ended.borrow() == expected, "the order");
}

/// What `Instant` can just hold, and what it cannot, is far away; zero and the past are next.
#[test]
fn law_10_extreme_deadlines_are_far_away_or_next() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let fired = Rc::new(Cell::new(0));
    let count = |n| {
        let fired = Rc::clone(&fired);
        move || fired.set(fired.get() + n)
    };
    let far: Vec<_> = [
        Duration::MAX,
        Duration::from_secs(u64::MAX / 4),
        Duration::new(u64::MAX / 2000, 999_999_999),
        Duration::new(u64::MAX / 1000, 999_999_999),
        Duration::new(u64::MAX / 4, 999_999_999),
        Duration::from_secs(10 * 365 * 24 * 3600),
    ]
    .map(|delay| handle.after(delay, count(1000)).unwrap())
    .into();
    handle.after(Duration::ZERO, count(1)).unwrap();
    handle.at(Instant::now() - Duration::from_secs(1).min(uptime()), count(1)).unwrap();
    turn_until(&mut reactor, "the near ones", || fired.get() >= 2);
    turn_at_once(&mut reactor, 10);
    reactor.turn(Some(5 * MS)).unwrap();
    assert_eq!(fired.get(), 2);
    assert_eq!(reactor.stats().timers, far.len() as u64);
    assert!(far.into_iter().all(|timer| handle.cancel(timer)));
    turn_at_once(&mut reactor, 1);
    assert_eq!(reactor.stats().timers, 0);

    let slept = reactor.block_on(async {
        let far = timeout(5 * MS, sleep(Duration::MAX)).await;
        sleep(Duration::ZERO).await;
        sleep_until(Instant::now() - Duration::from_secs(1).min(uptime())).await;
        far
    });
    assert!(matches!(slept, Ok(Err(Error::TimedOut))));
}

/// In its own callback a timer has fired, and its key means nothing.
#[test]
fn law_10_a_timer_cannot_be_cancelled_in_its_own_callback() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (own, answer) = (Rc::new(Cell::new(None::<Timer>)), Rc::new(Cell::new(None)));
    let (key, result, again) = (Rc::clone(&own), Rc::clone(&answer), handle.clone());
    let timer = handle.after(MS, move || result.set(key.get().map(|key| again.cancel(key))));
    own.set(Some(timer.unwrap()));
    turn_until(&mut reactor, "the callback", || answer.get().is_some());
    assert_eq!(answer.get(), Some(false));
    assert!(!handle.cancel(own.get().unwrap()), "nor afterwards");
}

/// Two timers are due in one turn: the first one's callback cancels the second, and then it must not
/// be called.
#[test]
fn law_10_a_timer_that_is_cancelled_by_its_neighbour_in_the_same_turn_does_not_run() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (second, ran) = (Rc::new(Cell::new(None::<Timer>)), Rc::new(Cell::new((None, false))));
    let (key, result, again) = (Rc::clone(&second), Rc::clone(&ran), handle.clone());
    let deadline = Instant::now() + MS;
    let first = move || result.set((key.get().map(|key| again.cancel(key)), result.get().1));
    handle.at(deadline, first).unwrap();
    let result = Rc::clone(&ran);
    let timer = handle.at(deadline, move || result.set((result.get().0, true)));
    second.set(Some(timer.unwrap()));
    turn_until(&mut reactor, "the first", || ran.get().0.is_some());
    turn_at_once(&mut reactor, 3);
    assert_eq!(ran.get(), (Some(true), false));
    assert!(!handle.cancel(second.get().unwrap()), "it is cancelled already");
}

/// The place of a timer is used again; the old key does not reach the new timer.
#[test]
fn law_10_the_key_of_a_fired_timer_does_not_cancel_its_successor() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let fired = Rc::new(Cell::new(0));
    let count = || {
        let fired = Rc::clone(&fired);
        move || fired.set(fired.get() + 1)
    };
    let cancelled = handle.after(Duration::from_secs(3600), count()).unwrap();
    assert!(handle.cancel(cancelled));
    let old = handle.after(Duration::ZERO, count()).unwrap();
    turn_until(&mut reactor, "the first", || fired.get() == 1);
    let new = handle.after(10 * MS, count()).unwrap();
    assert!(old != new && cancelled != new);
    assert!(!handle.cancel(old) && !handle.cancel(cancelled));
    turn_until(&mut reactor, "the second", || fired.get() == 2);
    assert!(!handle.cancel(new));
}

/// A cancelled timer drops what its callback holds at once.
#[test]
fn law_10_cancel_drops_the_callback() {
    let reactor = Reactor::new().unwrap();
    let held = Rc::new(());
    let hold = Rc::clone(&held);
    let timer = reactor.handle().after(Duration::from_secs(3600), move || drop(hold)).unwrap();
    assert_eq!(Rc::strong_count(&held), 2);
    assert!(reactor.handle().cancel(timer));
    assert_eq!(Rc::strong_count(&held), 1);
}

/// A dropped sleep leaves no timer behind.
#[test]
fn law_10_a_dropped_sleep_disarms_its_timer() {
    let mut reactor = Reactor::new().unwrap();
    let task = reactor.handle().spawn(async {
        let mut far: Vec<_> = (0..100).map(|_| Box::pin(sleep(Duration::MAX))).collect();
        std::future::poll_fn(|cx| {
            far.iter_mut().for_each(|sleep| assert!(sleep.as_mut().poll(cx).is_pending()));
            Poll::<()>::Pending
        })
        .await;
    });
    turn_at_once(&mut reactor, 2);
    assert_eq!(reactor.stats().timers, 100);
    assert!(task.abort());
    turn_at_once(&mut reactor, 1);
    assert_eq!(reactor.stats().timers, 0);
    let ended = reactor.block_on(timeout(Duration::from_secs(3600), async { 7 }));
    assert_eq!(ended.unwrap().unwrap(), 7);
    turn_at_once(&mut reactor, 1);
    assert_eq!(reactor.stats().timers, 0);
}

/// The quicker one of the two decides, also where both are over at the first poll.
#[test]
fn law_10_timeout_gives_the_output_or_says_that_time_is_up() {
    let mut reactor = Reactor::new().unwrap();
    reactor
        .block_on(async {
            let start = Instant::now();
            let late = timeout(20 * MS, std::future::pending::<()>()).await;
            assert!(matches!(late, Err(Error::TimedOut)) && start.elapsed() >= 20 * MS);
            assert_eq!(timeout(Duration::MAX, sleep(MS)).await.ok(), Some(()));
            assert_eq!(timeout(Duration::ZERO, async { 1 }).await.ok(), Some(1));
            let late = timeout(Duration::ZERO, std::future::pending::<()>()).await;
            assert!(matches!(late, Err(Error::TimedOut)));
            let yielding = async {
                loop {
                    yield_now().await;
                }
            };
            let late = timeout(5 * MS, yielding).await;
            assert!(
                matches!(late, Err::<(), _>(Error::TimedOut)),
                "a busy future starves no timer"
            );
        })
        .unwrap();
}

/// Ticks stand at a fixed distance; a late one moves none of the others, missed ones are one.
#[test]
fn law_10_an_interval_keeps_its_distance_and_tells_missed_ticks_as_one() {
    let mut reactor = Reactor::new().unwrap();
    reactor
        .block_on(async {
            let (start, period) = (Instant::now(), 5 * MS);
            let mut ticks = interval(period);
            let first = ticks.tick().await;
            assert!(first >= start + period && Instant::now() >= first);
            for _ in 0..5 {
                let due = ticks.tick().await;
                assert!(Instant::now() >= due, "not early");
                assert!(multiple(due - first, period));
            }
            busy(33 * MS);
            let (missed, next) = (ticks.tick().await, ticks.tick().await);
            assert!(next - missed >= 5 * period, "missed ticks are one: {:?}", next - missed);
            assert!(multiple(next - first, period) && Instant::now() >= next);
        })
        .unwrap();
}

/// A sleep that is put off does not end at its old time, and one that is brought forward does not
/// wait for it; both also once they have ended.
#[test]
fn law_10_a_sleep_that_is_reset_ends_at_its_new_time() {
    let mut reactor = Reactor::new().unwrap();
    reactor
        .block_on(async {
            let mut sleep = sleep(5 * MS);
            assert!(poll_once(&mut sleep).await.is_pending());
            let later = Instant::now() + 30 * MS;
            sleep.reset(later);
            (&mut sleep).await;
            assert!(Instant::now() >= later, "put off");
            sleep.reset(Instant::now() + Duration::from_secs(3600));
            assert!(poll_once(&mut sleep).await.is_pending(), "ended, and armed again");
            let sooner = Instant::now() + 5 * MS;
            sleep.reset(sooner);
            (&mut sleep).await;
            assert!(Instant::now() >= sooner, "brought forward");
            // It fires while nobody polls it, and is then put off.
            sleep.reset(Instant::now() + MS);
            assert!(poll_once(&mut sleep).await.is_pending());
            busy(3 * MS);
            yield_now().await;
            let later = Instant::now() + 10 * MS;
            sleep.reset(later);
            (&mut sleep).await;
            assert!(Instant::now() >= later, "put off after it fired");
        })
        .unwrap();
}

/// Whoever polled last is woken: a sleep that moves to another task, or to another waker.
#[test]
fn law_10_a_sleep_wakes_whoever_polled_it_last() {
    let mut reactor = Reactor::new().unwrap();
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    reactor.handle().spawn_detached(async move {
        let mut sleep = sleep(20 * MS);
        assert!(poll_once(&mut sleep).await.is_pending());
        Handle::current().unwrap().spawn_detached(async move {
            sleep.await;
            end.set(true);
        });
        std::future::pending().await
    });
    turn_until(&mut reactor, "the second task", || ended.get());
}

/// A sleep that each poll gives another waker keeps the last one alone.
#[test]
fn law_10_a_sleep_leaves_no_foreign_waker_behind() {
    struct Forward(Waker);
    impl Wake for Forward {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let given = Rc::clone(&wakers);
    let task = reactor.handle().spawn(async move {
        let mut sleep = Box::pin(sleep(Duration::from_secs(3600)));
        std::future::poll_fn(|cx| {
            for _ in 0..10 {
                let foreign = Arc::new(Forward(cx.waker().clone()));
                given.borrow_mut().push(Arc::downgrade(&foreign));
                let foreign = Waker::from(foreign);
                assert!(sleep.as_mut().poll(&mut Context::from_waker(&foreign)).is_pending());
                assert!(sleep.as_mut().poll(&mut Context::from_waker(&foreign)).is_pending());
            }
            Poll::<()>::Pending
        })
        .await;
    });
    turn_at_once(&mut reactor, 3);
    let alive = |wakers: &Vec<std::sync::Weak<Forward>>| {
        wakers.iter().filter(|waker| waker.strong_count() > 0).count()
    };
    assert_eq!((alive(&wakers.borrow()), wakers.borrow().len()), (1, 10));
    assert!(task.abort());
    assert_eq!(alive(&wakers.borrow()), 0);
}

async fn poll_once(sleep: &mut Sleep) -> Poll<()> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *sleep).poll(cx))).await
}

fn multiple(distance: Duration, period: Duration) -> bool {
    distance.as_nanos().is_multiple_of(period.as_nanos())
}

fn busy(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// `Instant` cannot lie before the machine's start on every platform.
fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    Duration::from_secs(seconds as u64)
}

/// xorshift64*: the same deadlines for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}
