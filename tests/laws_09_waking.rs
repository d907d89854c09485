//! Law 9, waking: no eventfd write while the loop is awake, at most one for a sleep, and none lost.
//!
//! strace counts the writes; what must run is asserted with and without it. Next: `laws_10_time`.

mod strace;
mod turning;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use squall_reactor::{Config, Error, Handle, Reactor, Remote, yield_now};
use strace::{Call, Trace, mark, trace};
use turning::{turn_at_once, turn_until};

const THREADS: usize = 8;
const ROUNDS: u64 = 100;
const BURST: u64 = 1000;
const WRITES_AND_WAITS: &str = "write,epoll_wait";

/// Eight threads make a hundred thousand calls each, with random pauses, and all pause together a
/// hundred times, so that the loop falls asleep again and again: every call runs, and the writes are
/// at most as many as the sleeps.
#[test]
fn law_09_of_800_000_calls_none_is_lost_and_no_sleep_is_ended_twice() {
    let test = "law_09_of_800_000_calls_none_is_lost_and_no_sleep_is_ended_twice";
    let traced = trace(test, WRITES_AND_WAITS, || {
        let mut reactor = Reactor::new().unwrap();
        let (ran, together) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(THREADS)));
        mark("begin");
        let callers: Vec<_> = (1..=THREADS)
            .map(|seed| {
                let (remote, ran) = (reactor.remote(), Arc::clone(&ran));
                let together = Arc::clone(&together);
                std::thread::spawn(move || call_with_pauses(&remote, &ran, &together, seed as u64))
            })
            .collect();
        // It runs until the last call stops it: a lost one would leave it asleep.
        let remote = reactor.remote();
        let last = std::thread::spawn(move || {
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            remote.call(Handle::stop).unwrap();
        });
        reactor.run().unwrap();
        mark("end");
        last.join().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), THREADS as u64 * ROUNDS * BURST);
    });
    if let Some(traced) = traced {
        // On a busy machine it may hardly sleep; the law holds for however many there are.
        let (writes, sleeps) = (eventfd_writes(&traced), sleeps(&traced));
        assert!(writes <= sleeps, "{writes} writes for {sleeps} sleeps");
    }
}

/// While a callback holds the loop, another thread calls: no write is needed, and the calls run.
#[test]
fn law_09_calls_to_a_loop_that_is_awake_write_nothing() {
    const CALLS: u64 = 1000;
    let test = "law_09_calls_to_a_loop_that_is_awake_write_nothing";
    let traced = trace(test, WRITES_AND_WAITS, || {
        let mut reactor = Reactor::new().unwrap();
        let ran = Arc::new(AtomicU64::new(0));
        let (remote, count) = (reactor.remote(), Arc::clone(&ran));
        let hold = move || {
            let caller = std::thread::spawn(move || {
                for _ in 0..CALLS {
                    let count = Arc::clone(&count);
                    let add = move |_: &Handle| {
                        count.fetch_add(1, Ordering::Relaxed);
                    };
                    remote.call(add).unwrap();
                }
            });
            caller.join().unwrap();
        };
        reactor.handle().after(Duration::ZERO, hold).unwrap();
        mark("begin");
        while ran.load(Ordering::Relaxed) < CALLS {
            reactor.turn(Some(Duration::from_secs(10))).unwrap();
        }
        mark("end");
    });
    if let Some(traced) = traced {
        assert_eq!(eventfd_writes(&traced), 0, "{traced:?}");
    }
}

/// However many call while it sleeps, the first one writes for all: one write, one wake-up.
#[test]
fn law_09_many_calls_to_a_sleeping_loop_are_one_write() {
    const CALLS: u64 = 1000;
    let test = "law_09_many_calls_to_a_sleeping_loop_are_one_write";
    let traced = trace(test, WRITES_AND_WAITS, || {
        let mut reactor = Reactor::new().unwrap();
        let (remote, ran) = (reactor.remote(), Arc::new(AtomicU64::new(0)));
        let (count, gate) = (Arc::clone(&ran), Arc::new(Barrier::new(2)));
        let held = Arc::clone(&gate);
        mark("begin");
        let caller = std::thread::spawn(move || {
            // The first call ends the sleep, and holds the loop until all others are made.
            let hold = move |_: &Handle| {
                held.wait();
            };
            remote.call(hold).unwrap();
            for _ in 0..CALLS {
                let count = Arc::clone(&count);
                let add = move |_: &Handle| {
                    count.fetch_add(1, Ordering::Relaxed);
                };
                remote.call(add).unwrap();
            }
            remote.call(Handle::stop).unwrap();
            gate.wait();
        });
        reactor.run().unwrap();
        mark("end");
        caller.join().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), CALLS);
        assert!(reactor.stats().wakeups <= 1);
    });
    if let Some(traced) = traced {
        let (writes, sleeps) = (eventfd_writes(&traced), sleeps(&traced));
        assert!(writes <= sleeps && sleeps <= 1, "{writes} writes for {sleeps} sleeps");
    }
}

/// On the loop's own thread nobody needs to be woken: from a callback, a task, a drop, or between
/// two turns.
#[test]
fn law_09_a_wake_from_the_own_thread_writes_nothing() {
    let test = "law_09_a_wake_from_the_own_thread_writes_nothing";
    let traced = trace(test, WRITES_AND_WAITS, || {
        let mut reactor = Reactor::new().unwrap();
        let (handle, ran) = (reactor.handle(), Arc::new(AtomicU64::new(0)));
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let (place, woken) = (Rc::clone(&waker), Rc::new(Cell::new(0)));
        let count = Rc::clone(&woken);
        handle.spawn_detached(async move {
            poll_fn(|cx| {
                *place.borrow_mut() = Some(cx.waker().clone());
                count.set(count.get() + 1);
                Poll::<()>::Pending
            })
            .await;
        });
        turn_at_once(&mut reactor, 1);
        mark("begin");
        // Between two turns: through the mailbox, and still nobody sleeps.
        wake(&waker);
        call(&reactor.remote(), &ran);
        turn_until(&mut reactor, "the poll after a wake between turns", || woken.get() == 2);
        // From a timer's callback.
        let (place, remote, count) = (Rc::clone(&waker), reactor.remote(), Arc::clone(&ran));
        let callback = move || {
            wake(&place);
            call(&remote, &count);
        };
        handle.after(Duration::ZERO, callback).unwrap();
        turn_until(&mut reactor, "the poll after a timer's wake", || woken.get() == 3);
        // From a task, and from the drop of what it holds.
        let on_drop = WakeOnDrop(Rc::clone(&waker), reactor.remote(), Arc::clone(&ran));
        let task = handle.spawn(async move {
            let _held = on_drop;
            std::future::pending::<()>().await;
        });
        let (place, remote, count) = (Rc::clone(&waker), reactor.remote(), Arc::clone(&ran));
        handle.spawn_detached(async move {
            wake(&place);
            call(&remote, &count);
            yield_now().await;
            task.abort();
        });
        turn_until(&mut reactor, "all calls", || ran.load(Ordering::Relaxed) == 4);
        turn_until(&mut reactor, "the poll after a drop's wake", || woken.get() >= 4);
        mark("end");
    });
    if let Some(traced) = traced {
        assert!(!traced.own().contains(&"write"), "{traced:?}");
    }
}

/// A turn that takes one message leaves the others, and nobody will speak again: the next wait may
/// not sleep.
#[test]
fn law_09_mail_that_a_turn_leaves_forbids_the_next_sleep() {
    let mut config = Config::default();
    config.remote = 1;
    let mut reactor = Reactor::builder().config(config).build().unwrap();
    let ran = Arc::new(AtomicU64::new(0));
    (0..10).for_each(|_| call(&reactor.remote(), &ran));
    for expected in 1..=10 {
        reactor.turn(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), expected);
    }
    assert_eq!(reactor.stats().wakeups, 0, "none of these turns had a reason to sleep");
}

/// A task that another thread wakes, ten thousand times, each after the loop had every chance to fall
/// asleep in between.
#[test]
fn law_09_no_wake_of_a_task_by_another_thread_is_lost() {
    const ROUNDS: u64 = 10_000;
    let mut reactor = Reactor::new().unwrap();
    let (round, waker) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None::<Waker>)));
    let (acknowledge, acknowledged) = mpsc::channel();
    let (shared_round, shared_waker) = (Arc::clone(&round), Arc::clone(&waker));
    let waking = std::thread::spawn(move || {
        for n in 1..=ROUNDS {
            shared_round.store(n, Ordering::Release);
            let waker = shared_waker.lock().unwrap().clone();
            if let Some(waker) = waker {
                // More than once, and in both ways: only the first matters.
                waker.wake_by_ref();
                waker.wake();
            }
            assert_eq!(acknowledged.recv(), Ok(n));
        }
    });
    reactor
        .block_on(async {
            for n in 1..=ROUNDS {
                poll_fn(|cx| {
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    let come = round.load(Ordering::Acquire) == n;
                    if come { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                acknowledge.send(n).unwrap();
            }
        })
        .unwrap();
    waking.join().unwrap();
}

/// The calls of one thread run in their order, also across turns.
#[test]
fn law_09_the_calls_of_a_thread_run_in_order() {
    const CALLS: u64 = 5000;
    let mut config = Config::default();
    config.remote = 7;
    let mut reactor = Reactor::builder().config(config).build().unwrap();
    let (remote, order) = (reactor.remote(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&order);
    let caller = std::thread::spawn(move || {
        for n in 0..CALLS {
            let seen = Arc::clone(&seen);
            remote.call(move |_| seen.lock().unwrap().push(n)).unwrap();
        }
    });
    turn_until(&mut reactor, "all calls", || order.lock().unwrap().len() == CALLS as usize);
    caller.join().unwrap();
    assert!(order.lock().unwrap().iter().copied().eq(0..CALLS));
}

/// A reactor inside another loop, which sleeps on its descriptor: a call makes that readable, and
/// mail that is there already is a deadline that has passed.
#[test]
fn law_09_a_call_ends_the_sleep_of_a_loop_that_embeds_the_reactor() {
    let mut reactor = Reactor::new().unwrap();
    let ran = Arc::new(AtomicU64::new(0));
    for round in 1..=100 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        let deadline = reactor.next_deadline();
        let (remote, count) = (reactor.remote(), Arc::clone(&ran));
        std::thread::spawn(move || call(&remote, &count)).join().unwrap();
        assert_eq!(deadline, None);
        let fd = reactor.as_raw_fd();
        let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives until the call returns.
        assert_eq!(unsafe { libc::poll(&raw mut one, 1, 30_000) }, 1, "it sleeps on");
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), round);
    }
    call(&reactor.remote(), &ran);
    assert!(reactor.next_deadline().is_some_and(|deadline| deadline <= Instant::now()));
    assert!(reactor.stats().wakeups == 0, "none of its own waits slept");
    // And it may still sleep by itself.
    reactor.turn(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(reactor.next_deadline(), None);
    reactor.turn(Some(Duration::from_millis(5))).unwrap();
    assert_eq!(reactor.stats().wakeups, 1);
}

/// A call to a reactor that is gone is an error, and what it holds is dropped, however many handles
/// are still about; so is a call that was not run in time.
#[test]
fn law_09_a_call_to_a_reactor_that_is_gone_is_an_error() {
    let reactor = Reactor::new().unwrap();
    let (remote, handle) = (reactor.remote(), reactor.handle());
    let (ran, held) = (Arc::new(AtomicBool::new(false)), Arc::new(()));
    let hold = |held: &Arc<()>| {
        let (held, ran) = (Arc::clone(held), Arc::clone(&ran));
        move |_: &Handle| {
            ran.store(true, Ordering::Relaxed);
            drop(held);
        }
    };
    remote.call(hold(&held)).unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    drop(reactor);
    assert_eq!(Arc::strong_count(&held), 1, "the call that was not run is dropped");
    assert!(matches!(remote.call(hold(&held)), Err(Error::Closed)));
    assert!(matches!(remote.stop(), Err(Error::Closed)));
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(!ran.load(Ordering::Relaxed));
    assert!(matches!(handle.after(Duration::ZERO, || {}), Err(Error::Closed)));
}

/// A waker outlives its reactor, here and elsewhere, and then wakes nobody.
#[test]
fn law_09_a_waker_that_outlives_its_reactor_wakes_nobody() {
    let mut reactor = Reactor::new().unwrap();
    let waker = reactor.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone()))).unwrap();
    waker.wake_by_ref();
    turn_at_once(&mut reactor, 1);
    drop(reactor);
    waker.wake_by_ref();
    std::thread::spawn(move || waker.wake()).join().unwrap();
}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow().clone();
    waker.expect("it was polled").wake();
}

fn call(remote: &Remote, ran: &Arc<AtomicU64>) {
    let ran = Arc::clone(ran);
    let add = move |_: &Handle| {
        ran.fetch_add(1, Ordering::Relaxed);
    };
    remote.call(add).unwrap();
}

struct WakeOnDrop(Rc<RefCell<Option<Waker>>>, Remote, Arc<AtomicU64>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        wake(&self.0);
        call(&self.1, &self.2);
    }
}

/// Calls in bursts with random pauses; after each burst, once every call has run, all threads pause.
fn call_with_pauses(remote: &Remote, ran: &Arc<AtomicU64>, together: &Barrier, seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for round in 1..=ROUNDS {
        for _ in 0..BURST {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % 1024 {
                0 => std::thread::sleep(Duration::from_micros(random >> 32 & 127)),
                1..32 => (0..random >> 32 & 1023).for_each(|_| std::hint::spin_loop()),
                _ => {}
            }
            call(remote, ran);
        }
        together.wait();
        while ran.load(Ordering::Relaxed) < round * BURST * THREADS as u64 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(1));
        together.wait();
    }
}

fn eventfd_writes(traced: &Trace) -> usize {
    let one = r#"\1\0\0\0\0\0\0\0", 8"#;
    traced.calls.iter().filter(|call| call.name == "write" && call.text.contains(one)).count()
}

/// Waits that may last: their timeout, the last argument, is not zero.
fn sleeps(traced: &Trace) -> usize {
    let waits = traced.calls.iter().filter(|call| call.name == "epoll_wait");
    let timeout = |call: &Call| {
        let (arguments, _result) = call.text.rsplit_once(") = ").expect("a call that returned");
        let (_, timeout) = arguments.rsplit_once(", ").expect("four arguments");
        timeout.parse::<i64>().expect("a number")
    };
    waits.filter(|call| timeout(call) != 0).count()
}

/// A waker may share its data with the task's own and have another table: it must be the one that is
/// woken. Broken by comparing the data alone.
#[test]
fn law_09_a_waker_that_wraps_the_tasks_own_is_woken_itself() {
    use std::sync::Mutex;
    use std::task::{Context, RawWaker, RawWakerVTable, Waker};
    static WOKEN: AtomicU64 = AtomicU64::new(0);
    static INNER: Mutex<Option<Waker>> = Mutex::new(None);
    fn wake(_: *const ()) {
        WOKEN.fetch_add(1, Ordering::Relaxed);
        if let Some(inner) = &*INNER.lock().unwrap() {
            inner.wake_by_ref();
        }
    }
    static TABLE: RawWakerVTable =
        RawWakerVTable::new(|data| RawWaker::new(data, &TABLE), wake, wake, |_| {});
    let mut reactor = Reactor::new().unwrap();
    reactor
        .block_on(async {
            let mut sleep = squall_reactor::sleep(Duration::from_millis(5));
            std::future::poll_fn(|cx| {
                *INNER.lock().unwrap() = Some(cx.waker().clone());
                // SAFETY: the table's functions never look at the data.
                let wrapper = unsafe { Waker::from_raw(RawWaker::new(cx.waker().data(), &TABLE)) };
                sleep.poll_elapsed(&mut Context::from_waker(&wrapper))
            })
            .await;
        })
        .unwrap();
    assert_eq!(WOKEN.load(Ordering::Relaxed), 1);
}
