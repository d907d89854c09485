//! The blocking pool through its public interface (laws 6, 8 and 11).
//!
//! The futures are polled by a small `block_on` of this file's own: they need no reactor.

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

use squall_reactor::Error;
use squall_reactor::pool::{Pool, Reason, Run};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn law_11_the_result_of_blocking_work_is_a_future_value() {
    let pool = pool(1, 2, 8);
    assert_eq!(block_on(pool.run(|| 6 * 7)).expect("it ran"), 42);
    assert_eq!(block_on(pool.run_with(|cancelled| cancelled.is_cancelled())).ok(), Some(false));
    let run = pool.try_run(|| String::from("text")).expect("an idle pool has room");
    assert_eq!(block_on(run).expect("it ran"), "text");
    assert_eq!((pool.stats().completed, pool.stats().panicked), (3, 0));
}

#[test]
fn law_11_a_panic_is_a_value_and_the_thread_lives_on() {
    let pool = pool(1, 1, 8);
    let before = block_on(pool.run(|| thread::current().id())).expect("it ran");
    let error = block_on(pool.run(|| -> u32 { panic!("spoilt {}", "fish") })).expect_err("panic");
    let Error::Panicked(panic) = error else { panic!("not a panic: {error}") };
    assert_eq!(panic.message(), "spoilt fish");
    let after = block_on(pool.run(|| thread::current().id())).expect("it ran");
    assert_eq!(before, after);
    assert_eq!((pool.stats().completed, pool.stats().panicked), (3, 1));
}

// The three places where a value of the user's is dropped for him: by the call, by the future that
// cancels, by the thread whose result nobody wants. Each panics, and nothing else may happen.
#[test]
fn law_11_a_panic_in_a_drop_kills_nothing() {
    let pool = pool(1, 1, 8);
    let before = block_on(pool.run(|| thread::current().id())).expect("it ran");

    let bomb = Bomb;
    let called = block_on(pool.run(move || drop(bomb)));
    assert!(matches!(called, Err(Error::Panicked(_))));

    let (gate, _) = stop_one(&pool);
    let bomb = Bomb;
    drop(pool.run(move || drop(bomb)));
    gate.open();

    let (gate, unwanted) = stop_one_with(&pool, || Bomb);
    drop(unwanted);
    gate.open();

    let after = block_on(pool.run(|| thread::current().id())).expect("the same thread lives");
    assert_eq!((before, pool.stats().panicked), (after, 3));

    let bomb = Bomb;
    let (gate, _run) = stop_one(&pool);
    let left = pool.run(move || drop(bomb));
    assert_eq!(pool.shutdown(Duration::ZERO).cancelled, 1);
    assert!(matches!(block_on(left), Err(Error::Closed)));
    gate.open();
    assert_eq!(pool.stats().panicked, 4);
}

#[test]
fn law_11_a_dropped_future_cancels_what_has_not_begun() {
    let pool = pool(1, 1, 1);
    let (gate, stopped) = stop_one(&pool);
    let (ran, dropped_on) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let (flag, witness) = (Arc::clone(&ran), OnDrop(Arc::clone(&dropped_on)));
    let run = pool.run(move || {
        let _witness = witness;
        flag.store(true, Ordering::Relaxed);
    });
    assert_eq!(pool.stats().queued, 1);
    drop(run);
    assert_eq!(*dropped_on.lock().unwrap(), Some(thread::current().id()), "dropped here and now");
    assert_eq!(pool.stats().queued, 0);
    let next = pool.try_run(|| ()).expect("its place is free again");
    gate.open();
    block_on(stopped).expect("it ran");
    block_on(next).expect("it ran");
    assert!(!ran.load(Ordering::Relaxed));
    assert_eq!(pool.stats().completed, 2);
}

#[test]
fn law_11_a_dropped_future_detaches_what_runs_and_tells_it() {
    let pool = pool(1, 1, 1);
    let (begun, has_begun) = channel();
    let (said, says) = channel();
    let dropped_on = Arc::new(Mutex::new(None));
    let witness = OnDrop(Arc::clone(&dropped_on));
    let run = pool.run_with(move |cancelled| {
        begun.send(thread::current().id()).unwrap();
        while !cancelled.is_cancelled() {
            thread::yield_now();
        }
        said.send(()).unwrap();
        witness
    });
    let pool_thread = has_begun.recv_timeout(LONG).expect("it begins");
    drop(run);
    says.recv_timeout(LONG).expect("it is told");
    block_on(pool.run(|| ())).expect("it ran after the first was done");
    assert_eq!(*dropped_on.lock().unwrap(), Some(pool_thread), "the result drops on the thread");
}

#[test]
fn law_11_a_result_that_is_there_is_dropped_with_its_future() {
    let pool = pool(1, 1, 2);
    let dropped_on = Arc::new(Mutex::new(None));
    let witness = OnDrop(Arc::clone(&dropped_on));
    let run = pool.run(move || witness);
    block_on(pool.run(|| ())).expect("the one before is done by now");
    assert_eq!(*dropped_on.lock().unwrap(), None);
    drop(run);
    assert_eq!(*dropped_on.lock().unwrap(), Some(thread::current().id()));
}

#[test]
fn law_11_cancel_answers_as_a_value() {
    let pool = pool(1, 1, 2);
    let (gate, stopped) = stop_one(&pool);
    let run = pool.run(|| ());
    assert!(run.cancel());
    assert!(!run.cancel());
    assert!(matches!(block_on(run), Err(Error::Cancelled)));
    assert!(!stopped.cancel(), "it has begun");
    gate.open();
    block_on(stopped).expect("it goes on");
}

#[test]
fn law_11_a_result_is_taken_once() {
    let pool = pool(1, 1, 2);
    let mut run = pin!(pool.run(|| 1));
    assert!(matches!(block_on(run.as_mut()), Ok(1)));
    assert!(matches!(block_on(run.as_mut()), Err(Error::Ended)));
}

// Threads on their way make room, so that as many are accepted as threads and queue can hold,
// however slowly the threads start.
#[test]
fn law_11_full_gives_the_closure_back() {
    let pool = pool(0, 2, 3);
    let (gates, held): (Vec<_>, Vec<_>) = (0..5)
        .map(|_| {
            let (gate, wait) = gate();
            (gate, pool.try_run(wait).expect("2 threads and 3 places"))
        })
        .unzip();
    let text = String::from("mine");
    let full = pool.try_run(move || text).expect_err("no place");
    assert_eq!(full.reason, Reason::Full);
    assert_eq!((full.closure)(), "mine");
    let full = pool.execute(|| 5).expect_err("no place");
    assert_eq!((full.reason, (full.closure)()), (Reason::Full, 5));
    gates.into_iter().for_each(Gate::open);
    held.into_iter().for_each(|run| block_on(run).expect("it ran"));
    assert_eq!(pool.stats().completed, 5);
}

// One thread does the jobs in order; try_run must not slip in before those who wait.
#[test]
fn law_11_waiting_callers_are_served_in_order() {
    let pool = pool(1, 1, 2);
    let (gate, stopped) = stop_one(&pool);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut runs: Vec<_> = (0..50)
        .map(|i| {
            let order = Arc::clone(&order);
            pool.run(move || order.lock().unwrap().push(i))
        })
        .collect();
    assert_eq!((pool.stats().queued, pool.stats().waiting), (2, 48));
    assert!(pool.try_run(|| ()).is_err(), "nobody overtakes");
    drop(runs.remove(10));
    assert_eq!(pool.stats().waiting, 47);
    gate.open();
    block_on(stopped).expect("it ran");
    runs.into_iter().for_each(|run| block_on(run).expect("it ran"));
    let expected: Vec<_> = (0..50).filter(|i| *i != 10).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

// The job reads a pipe to which nobody writes. Joining it would take for ever.
#[test]
fn law_11_shutdown_names_a_stuck_job_and_does_not_wait_for_it() {
    let pool = Pool::builder().threads(1..=1).queue(2).name("diver").build().expect("a pool");
    let (mut pipe, mut end) = std::io::pipe().expect("a pipe");
    let (begun, has_begun) = channel();
    let here = Location::caller();
    let stuck = pool.run_with(move |cancelled| {
        begun.send(()).unwrap();
        let read = pipe.read(&mut [0; 1]).expect("a pipe can be read");
        (read, cancelled.is_cancelled())
    });
    has_begun.recv_timeout(LONG).expect("it begins");
    let queued: Vec<_> = (0..3).map(|_| pool.run(|| ())).collect();

    let report = pool.shutdown(Duration::from_millis(20));
    assert_eq!((report.ran, report.cancelled), (0, 3));
    let [(thread, location)] = &report.still_running[..] else { panic!("{report}") };
    assert_eq!(thread, "diver-1");
    assert_eq!((location.file(), location.line()), (file!(), here.line() + 1));
    for run in queued {
        assert!(matches!(block_on(run), Err(Error::Closed)));
    }
    assert!(matches!(block_on(pool.run(|| ())), Err(Error::Closed)));
    assert_eq!(pool.try_run(|| ()).expect_err("closed").reason, Reason::Closed);

    end.write_all(b"x").expect("a pipe can be written");
    assert_eq!(block_on(stuck).expect("it ends in the end"), (1, true));
    assert!(pool.shutdown(LONG).still_running.is_empty());
}

#[test]
fn law_11_shutdown_runs_what_was_brought_before() {
    let pool = pool(0, 2, 4);
    let (gates, waits): (Vec<_>, Vec<_>) = (0..2).map(|_| gate()).unzip();
    let stopped: Vec<_> = waits.into_iter().map(|wait| pool.run(wait)).collect();
    let rest: Vec<_> = (0..100).map(|i| pool.run(move || i)).collect();
    let closer = thread::spawn({
        let pool = pool.clone();
        move || pool.shutdown(LONG)
    });
    until(|| matches!(pool.execute(|| ()), Err(full) if full.reason == Reason::Closed));
    gates.into_iter().for_each(Gate::open);
    let report = closer.join().expect("shutdown does not panic");
    assert_eq!((report.ran, report.cancelled, report.still_running.len()), (102, 0, 0), "{report}");
    assert_eq!((pool.stats().threads, pool.stats().idle), (0, 0));
    stopped.into_iter().for_each(|run| block_on(run).expect("it ran"));
    for (i, run) in rest.into_iter().enumerate() {
        assert_eq!(block_on(run).expect("it ran"), i);
    }
}

#[test]
fn law_11_shutdown_inside_a_job_names_that_job() {
    let pool = pool(1, 1, 1);
    let inside = pool.clone();
    let report = block_on(pool.run(move || inside.shutdown(Duration::from_millis(5))));
    let report = report.expect("it ran");
    assert_eq!((report.ran, report.still_running.len()), (0, 1), "{report}");
}

#[test]
fn law_11_dropping_the_last_handle_waits_for_nothing_and_ends_the_threads() {
    let pool = Pool::builder().threads(2..=2).name("last-handle").build().expect("a pool");
    let (first, _second) = (stop_one(&pool), block_on(pool.run(|| ())));
    let (gate, stopped) = first;
    let queued = pool.run(|| 3);
    drop(pool.clone());
    assert!(!threads_named("last-handle").is_empty());
    drop(pool);
    gate.open();
    block_on(stopped).expect("it goes on");
    assert_eq!(block_on(queued).expect("it was queued before"), 3);
    until(|| threads_named("last-handle").is_empty());
}

#[test]
fn law_11_threads_above_the_minimum_end_and_the_others_stay() {
    let pool = Pool::builder().threads(2..=5).keep_alive(Duration::from_millis(20));
    let pool = pool.name("shrinking").build().expect("a pool");
    assert_eq!(pool.stats().threads, 0, "no thread before there is work");
    for _ in 0..3 {
        meet(&pool, 5);
        until(|| pool.stats().idle == 2 && pool.stats().threads == 2);
        until(|| threads_named("shrinking").len() == 2);
    }
}

// Each job waits until all are there: it ends only if as many run at once, also when the threads
// were idle before and are woken by a burst.
#[test]
fn law_11_as_many_jobs_run_at_once_as_there_are_threads_and_no_more() {
    let pool = pool(4, 4, 64);
    for _ in 0..50 {
        meet(&pool, 4);
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let runs: Vec<_> = (0..200)
        .map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            pool.run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    runs.into_iter().for_each(|run| block_on(run).expect("it ran"));
    assert!(most.load(Ordering::SeqCst) <= 4);
    assert_eq!(pool.stats().threads, 4);
}

#[test]
fn law_11_ten_thousand_jobs_from_four_threads_all_run() {
    let pool = pool(0, 4, 16);
    let sum = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let add = |i| {
                    let sum = Arc::clone(&sum);
                    pool.run(move || sum.fetch_add(i, Ordering::Relaxed))
                };
                let runs: Vec<_> = (1..=2_500).map(add).collect();
                runs.into_iter().for_each(|run| {
                    block_on(run).expect("it ran");
                });
            });
        }
    });
    assert_eq!(sum.load(Ordering::Relaxed), 4 * 2_500 * 2_501 / 2);
    assert_eq!(pool.stats().completed, 10_000);
}

// Futures are dropped at every stage, while the threads race for the same jobs.
#[test]
fn law_11_closure_and_result_are_dropped_exactly_once() {
    let pool = pool(0, 3, 16);
    let alive = Arc::new(AtomicUsize::new(0));
    let ran = Arc::new(AtomicUsize::new(0));
    for i in 0..5_000_usize {
        let (token, ran) = (Counted::new(&alive), Arc::clone(&ran));
        let mut run = Box::pin(pool.run(move || {
            ran.fetch_add(1, Ordering::Relaxed);
            token
        }));
        match i % 5 {
            0 => drop(run),
            1 => drop((poll_once(run.as_mut()), run)),
            2 => drop((thread::yield_now(), run)),
            3 => drop((run.cancel(), run)),
            _ => drop(block_on(run).expect("it ran")),
        }
    }
    assert!(pool.shutdown(LONG).still_running.is_empty());
    assert_eq!(alive.load(Ordering::SeqCst), 0, "each is dropped (and none twice: it would wrap)");
    assert_eq!(pool.stats().completed, ran.load(Ordering::Relaxed) as u64);
    assert!(ran.load(Ordering::Relaxed) >= 1_000);
}

#[test]
fn law_11_the_waker_of_the_last_poll_is_woken_and_no_lock_is_held() {
    let pool = pool(1, 1, 4);
    let (gate, stopped) = stop_one(&pool);
    let mut run = Box::pin(pool.run(|| 9));
    let early = Arc::new(Asks { pool: pool.clone(), run: Mutex::new(None), woken: channel().0 });
    let early = Waker::from(early);
    assert!(run.as_mut().poll(&mut Context::from_waker(&early)).is_pending());
    let (woken, is_woken) = channel();
    let asks = Arc::new(Asks { pool: pool.clone(), run: Mutex::new(None), woken });
    let waker = Waker::from(Arc::clone(&asks));
    assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    *asks.run.lock().unwrap() = Some(run);
    gate.open();
    block_on(stopped).expect("it ran");
    assert_eq!(is_woken.recv_timeout(LONG), Ok(9), "woken with the result, and nothing locked");
}

#[test]
fn law_11_a_job_may_use_its_own_pool() {
    let pool = pool(0, 2, 4);
    let inside = pool.clone();
    let outer = pool.run(move || block_on(inside.run(|| 4)).expect("it ran") + 1);
    assert_eq!(block_on(outer).expect("it ran"), 5);
}

#[test]
fn law_11_work_that_nobody_waits_for_runs_and_its_panic_is_counted() {
    let pool = pool(1, 1, 4);
    let (sender, receiver) = channel();
    pool.execute(move || sender.send(1).unwrap()).expect("there is room");
    assert_eq!(receiver.recv_timeout(LONG), Ok(1));
    pool.execute(|| panic!("unseen")).expect("there is room");
    pool.execute(|| Bomb).expect("there is room");
    block_on(pool.run(|| ())).expect("the thread lives");
    assert_eq!(pool.stats().panicked, 2);
}

#[test]
fn law_11_figures_out_of_range_are_refused() {
    let second = Duration::from_secs(1);
    let builders = [
        Pool::builder().threads(0..=0),
        Pool::builder().threads(RangeInclusive::new(3, 2)),
        Pool::builder().threads(1..=1_000_000),
        Pool::builder().queue(0),
        Pool::builder().queue(usize::MAX),
        Pool::builder().keep_alive(second + Duration::from_nanos(1)),
        Pool::builder().name("a\0b"),
    ];
    for builder in builders {
        assert!(matches!(builder.clone().build(), Err(Error::Argument(_))), "{builder:?}");
    }
    Pool::builder().threads(0..=1).queue(1).keep_alive(second).name("").build().expect("in range");
}

// A thread that ticks blocks again and again, and the kernel counts that.
#[test]
fn law_08_an_idle_pool_makes_no_system_call() {
    let pool = Pool::builder().threads(2..=4).keep_alive(Duration::from_millis(20));
    let pool = pool.name("quiet").build().expect("a pool");
    meet(&pool, 4);
    until(|| threads_named("quiet").len() == 2);
    let switches = || -> Vec<_> {
        let status = |task: String| fs::read_to_string(task + "/status").expect("it lives");
        let tasks = threads_named("quiet").into_iter();
        tasks.map(|task| status(task).lines().filter(|l| l.contains("ctxt")).collect()).collect()
    };
    // A moment for the last timed wait to end, which happens once; a tick would come each time.
    until(|| {
        let before: Vec<String> = switches();
        thread::sleep(Duration::from_millis(1_200));
        before == switches()
    });
}

// Other threads are inside the pools' locks at most times, so some of the children inherit them
// held: whoever locks there hangs, and is killed by the alarm. (The child starts no thread: glibc
// itself may hang there when the parent was starting one.)
#[test]
fn law_06_a_pool_in_a_forked_child_answers_forked_and_locks_nothing() {
    let over = Arc::new(AtomicBool::new(false));
    let pool = pool(1, 1, 1_000);
    let (gate, _stopped) = stop_one(&pool);
    let busy = thread::spawn({
        let (pool, over) = (pool.clone(), Arc::clone(&over));
        move || {
            while !over.load(Ordering::Relaxed) {
                drop(pool.run(|| ()));
                pool.stats();
            }
        }
    });
    for _ in 0..100 {
        let (polled, dropped) = (pool.run(|| ()), pool.run(|| ()));
        let last_handle = Pool::builder().threads(1..=2).queue(10_000).build().expect("a pool");
        (0..2_000).for_each(|_| last_handle.execute(|| ()).expect("there is room"));
        let status = in_child(|| {
            drop(dropped);
            drop(last_handle);
            let forked = |run| matches!(block_on(run), Err(Error::Forked));
            let full = pool.try_run(|| 7).expect_err("refused");
            let right = full.reason == Reason::Forked
                && (full.closure)() == 7
                && !polled.cancel()
                && forked(polled)
                && forked(pool.run(|| ()))
                && pool.execute(|| ()).is_err()
                && pool.shutdown(LONG).still_running.is_empty()
                && pool.stats() == Default::default();
            i32::from(!right)
        });
        assert_eq!(status, 0);
    }
    over.store(true, Ordering::Relaxed);
    busy.join().expect("it does not panic");
    gate.open();
    assert_eq!(block_on(pool.run(|| 1)).expect("the parent's pool works"), 1);
}

// Dropped there, it could do for a second time what the parent's does: flush, unlink, say goodbye.
#[test]
fn law_06_a_closure_inherited_by_a_forked_child_is_leaked_there() {
    let pool = pool(1, 1, 4);
    let (gate, stopped) = stop_one(&pool);
    let dropped_on = Arc::new(Mutex::new(None));
    let witness = OnDrop(Arc::clone(&dropped_on));
    let run = pool.run(move || drop(witness));
    let status = in_child(|| {
        drop(run);
        drop(stopped);
        drop(pool);
        i32::from(dropped_on.lock().unwrap().is_some())
    });
    assert_eq!(status, 0);
    assert!(dropped_on.lock().unwrap().is_some(), "in the parent the same drop cancels");
    gate.open();
}

// The child is the job's own thread; when the closure returns there, it must wake nobody, for a
// waker may write to an eventfd of the parent's.
#[test]
fn law_06_a_job_that_forks_ends_its_child_and_answers_in_the_parent() {
    let pool = pool(1, 1, 4);
    let (gate, wait) = gate();
    let mut run = Box::pin(pool.run(move || {
        wait();
        // SAFETY: the child returns from this closure, and its only thread ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the call touches no memory.
            unsafe { libc::alarm(30) };
        }
        child
    }));
    let (woken, is_woken) = channel();
    let waker = Waker::from(Arc::new(WakesOnlyIn { process: std::process::id(), woken }));
    assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    gate.open();
    is_woken.recv_timeout(LONG).expect("the parent is woken");
    let child = block_on(run).expect("it ran");
    assert!(child > 0);
    assert_eq!(wait_for(child), 0);
    assert_eq!(block_on(pool.run(|| 1)).expect("it ran"), 1);
}

fn pool(min: usize, max: usize, queue: usize) -> Pool {
    let builder = Pool::builder().threads(min..=max).queue(queue);
    builder.keep_alive(Duration::from_millis(20)).build().expect("figures in range")
}

/// Runs `count` jobs that wait for each other.
fn meet(pool: &Pool, count: usize) {
    let barrier = Arc::new(Barrier::new(count));
    let runs: Vec<_> = (0..count)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            pool.run(move || barrier.wait())
        })
        .collect();
    runs.into_iter().for_each(|run| assert!(block_on(run).is_ok(), "all meet"));
}

/// Holds a job until it is opened or dropped.
struct Gate(Sender<()>);

impl Gate {
    fn open(self) {
        drop(self.0);
    }
}

fn gate() -> (Gate, impl FnOnce() + Send) {
    let (sender, receiver): (_, Receiver<()>) = channel();
    (Gate(sender), move || assert!(receiver.recv().is_err(), "opened"))
}

/// Occupies one thread until the gate opens.
fn stop_one(pool: &Pool) -> (Gate, Run<()>) {
    stop_one_with(pool, || ())
}

fn stop_one_with<T: Send + 'static>(
    pool: &Pool,
    result: impl FnOnce() -> T + Send + 'static,
) -> (Gate, Run<T>) {
    let (gate, wait) = gate();
    let (begun, has_begun) = channel();
    let run = pool.run(move || {
        begun.send(()).unwrap();
        wait();
        result()
    });
    has_begun.recv_timeout(LONG).expect("it begins");
    (gate, run)
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a panic in Drop");
    }
}

/// Notes on which thread it is dropped; twice is a panic.
struct OnDrop(Arc<Mutex<Option<ThreadId>>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        assert_eq!(self.0.lock().unwrap().replace(thread::current().id()), None);
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A waker that uses pool and future while it is woken.
struct Asks {
    pool: Pool,
    run: Mutex<Option<Pin<Box<Run<i32>>>>>,
    woken: Sender<i32>,
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        self.pool.stats();
        drop(self.pool.run(|| ()));
        let mut run = self.run.lock().unwrap().take().expect("the future was put here before");
        if let Poll::Ready(Ok(result)) = poll_once(run.as_mut()) {
            self.woken.send(result).unwrap();
        }
    }
}

/// A waker that ends a process where it does not belong.
struct WakesOnlyIn {
    process: u32,
    woken: Sender<()>,
}

impl Wake for WakesOnlyIn {
    fn wake(self: Arc<Self>) {
        if std::process::id() == self.process {
            self.woken.send(()).unwrap();
        } else {
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(3) };
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The /proc directories of this process's threads whose name begins so.
fn threads_named(name: &str) -> HashSet<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs");
    let tasks = tasks.map(|task| task.expect("an entry").path().display().to_string());
    let has_name = |task: &String| {
        fs::read_to_string(format!("{task}/comm")).is_ok_and(|n| n.starts_with(name))
    };
    tasks.filter(has_name).collect()
}

/// Runs `child` in a forked child that an alarm ends, and gives its exit status.
fn in_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: glibc's fork leaves its allocator usable in the child, which ends by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: the call touches no memory.
        unsafe { libc::alarm(30) };
        let code = child();
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    assert!(pid > 0);
    wait_for(pid)
}

fn wait_for(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}
