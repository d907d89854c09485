//! Law 7, fairness: a turn takes bounded shares, so nobody starves anybody.
//!
//! Shares are counted in turns, never in time. Next: `laws_08_silence`.

mod turning;

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use squall_reactor::net::UnixStream;
use squall_reactor::{Config, Handle, Interest, Next, Reactor, Trigger, yield_now};
use turning::{turn_at_once, turn_until};

const TURNS: u64 = 100;
const CALLS: u64 = 1_000_000;

/// A task that wakes itself, a timer that sets itself again for at once, a million remote calls, and
/// peers that flood a callback and a task, all in one reactor: each gets its share of 100 turns.
#[test]
fn law_07_everybody_gets_a_share_of_a_hundred_turns() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();

    let polls = counter();
    let count = Rc::clone(&polls);
    handle.spawn_detached(async move {
        loop {
            add(&count);
            yield_now().await;
        }
    });

    let fired = counter();
    set_again(handle.clone(), Rc::clone(&fired));

    let (ours, flooder) = flood();
    let called = counter();
    let count = Rc::clone(&called);
    let _registration = handle
        .register(ours, Interest::READABLE, Trigger::Edge, move |mut source: &StdUnixStream, _| {
            add(&count);
            if source.read(&mut [0]).is_ok() { Next::Again } else { Next::Wait }
        })
        .unwrap();

    let (ours, second_flooder) = flood();
    let reads = counter();
    let count = Rc::clone(&reads);
    handle.spawn_detached(async move {
        let ours = UnixStream::from_std(ours).unwrap();
        while let Ok(1..) = ours.read(&mut [0]).await {
            add(&count);
        }
    });

    let (remote, heard) = (reactor.remote(), Arc::new(AtomicU64::new(0)));
    let (half, hear) = (Arc::new(Barrier::new(2)), Arc::clone(&heard));
    let halfway = Arc::clone(&half);
    let caller = std::thread::spawn(move || {
        for i in 0..CALLS {
            if i == CALLS / 2 {
                halfway.wait();
            }
            let hear = Arc::clone(&hear);
            let call = move |_: &Handle| {
                hear.fetch_add(1, Ordering::Relaxed);
            };
            remote.call(call).unwrap();
        }
    });
    half.wait();

    turn_at_once(&mut reactor, TURNS as usize);
    let (polls, fired, called, reads) = (polls.get(), fired.get(), called.get(), reads.get());
    assert!(polls >= TURNS, "the task that wakes itself: {polls}");
    assert!((TURNS - 1..=TURNS).contains(&fired), "the timer: {fired}");
    assert!(called >= TURNS, "the flooded callback: {called}");
    assert!(reads >= TURNS, "the flooded task: {reads}");
    let budget = Config::default().remote as u64;
    assert_eq!(heard.load(Ordering::Relaxed), TURNS * budget, "the remote calls");

    turn_until(&mut reactor, "every remote call", || heard.load(Ordering::Relaxed) == CALLS);
    caller.join().unwrap();
    drop(reactor);
    drop(_registration);
    flooder.join().unwrap();
    second_flooder.join().unwrap();
}

/// What is woken during a turn goes behind what was ready at its start: two tasks that wake each other
/// leave their turn to a third.
#[test]
fn law_07_a_turn_ends_although_two_tasks_wake_each_other() {
    let mut config = Config::default();
    config.jobs = 8;
    let mut reactor = Reactor::builder().config(config).build().unwrap();
    let polls = counter();
    for _ in 0..2 {
        let count = Rc::clone(&polls);
        reactor.handle().spawn_detached(async move {
            loop {
                add(&count);
                yield_now().await;
            }
        });
    }
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), 8);
    assert_eq!(polls.get(), 8);
}

/// All that was ready at the start runs, however much it is.
#[test]
fn law_07_a_turn_runs_all_that_was_ready_at_its_start() {
    let mut reactor = Reactor::new().unwrap();
    let polls = counter();
    for _ in 0..1000 {
        let count = Rc::clone(&polls);
        reactor.handle().spawn_detached(async move { add(&count) });
    }
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), 1000);
    assert_eq!(polls.get(), 1000);
}

/// More due timers than a turn takes: the rest fires in the next turns, which do not sleep.
#[test]
fn law_07_due_timers_beyond_the_budget_fire_in_the_next_turns() {
    let mut config = Config::default();
    config.timers = 10;
    let mut reactor = Reactor::builder().config(config).build().unwrap();
    let (fired, past) = (counter(), Instant::now());
    for _ in 0..25 {
        let count = Rc::clone(&fired);
        reactor.handle().at(past, move || add(&count)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(2));
    for expected in [10, 20, 25] {
        // Were it to sleep, it would do so for ever: nothing else is due.
        reactor.turn(None).unwrap();
        assert_eq!(fired.get(), expected);
    }
    assert_eq!(reactor.stats().wakeups, 0);
}

/// A task in `block_on` gets its poll in every turn, whatever else is ready.
#[test]
fn law_07_the_future_of_block_on_is_polled_while_tasks_wake_themselves() {
    let mut reactor = Reactor::new().unwrap();
    let polls = counter();
    let count = Rc::clone(&polls);
    reactor.handle().spawn_detached(async move {
        loop {
            add(&count);
            yield_now().await;
        }
    });
    let before = reactor.stats().turns;
    reactor
        .block_on(async {
            for _ in 0..100 {
                yield_now().await;
            }
        })
        .unwrap();
    let turns = reactor.stats().turns - before;
    assert!((100..=102).contains(&turns), "{turns} turns for 100 yields");
    assert!(polls.get() >= 100);
}

fn set_again(handle: Handle, count: Rc<Cell<u64>>) {
    let again = handle.clone();
    let past = handle.now();
    let timer = handle.at(past, move || {
        add(&count);
        set_again(again, count);
    });
    timer.unwrap();
}

/// A socket whose buffer is full already, and the thread that keeps it full.
fn flood() -> (StdUnixStream, std::thread::JoinHandle<()>) {
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    while theirs.write(&[0; 4096]).is_ok() {}
    theirs.set_nonblocking(false).unwrap();
    let flooder = std::thread::spawn(move || while theirs.write_all(&[0; 4096]).is_ok() {});
    (ours, flooder)
}

fn counter() -> Rc<Cell<u64>> {
    Rc::default()
}

fn add(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// A task that is behind its deadlines catches up without holding the loop. Broken by a timer that is due
/// and costs nothing of what one poll may complete.
#[test]
fn law_07_a_task_that_is_behind_its_deadlines_lets_others_run() {
    let behind = std::time::Instant::now();
    let mut reactor = squall_reactor::Reactor::new().unwrap();
    let handle = reactor.handle();
    let caught_up = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let count = std::rc::Rc::clone(&caught_up);
    handle.spawn_detached(async move {
        loop {
            squall_reactor::sleep_until(behind).await;
            count.set(count.get() + 1);
        }
    });
    let others = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let other = std::rc::Rc::clone(&others);
    handle.spawn_detached(async move {
        loop {
            other.set(other.get() + 1);
            squall_reactor::yield_now().await;
        }
    });
    for _ in 0..10 {
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert!(others.get() >= 10 && caught_up.get() >= 10, "{others:?} {caught_up:?}");
}
