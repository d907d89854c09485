//! The watchdog: who holds the loop is named while it still does; who does not, never; and an idle
//! loop's watchdog sleeps (laws 8 and 12).

mod strace;

use std::cell::RefCell;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use squall_reactor::snapshot::WatchdogState;
use squall_reactor::{
    Error, Interest, Next, Reactor, StuckReport, Trigger, Work, sleep, yield_now,
};

const THRESHOLD: Duration = Duration::from_millis(20);

/// Each kind of user code holds the loop until it has been named, and is named with its line.
#[test]
fn law_12_what_holds_the_loop_is_named_while_it_still_does() {
    let (tell, told) = mpsc::channel();
    let mut reactor = watched(tell);
    let told = Rc::new(told);
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &theirs, b"x").unwrap();
    let seen: Rc<RefCell<Vec<StuckReport>>> = Rc::default();
    let hold = |seen: &Rc<RefCell<Vec<StuckReport>>>| {
        let (seen, told) = (Rc::clone(seen), Rc::clone(&told));
        move || seen.borrow_mut().push(named(&told))
    };
    let in_callback = hold(&seen);
    let callback_line = line!() + 1;
    let registration = reactor.handle().register(ours, Interest::READABLE, Trigger::Edge, {
        move |_, _| {
            in_callback();
            Next::Wait
        }
    });
    turn_until(&mut reactor, &seen, 1);
    let (in_task, task_line) = (hold(&seen), line!() + 1);
    reactor.handle().spawn_detached(async move { in_task() });
    turn_until(&mut reactor, &seen, 2);
    let (in_timer, timer_line) = (hold(&seen), line!() + 1);
    reactor.handle().after(Duration::ZERO, in_timer).unwrap();
    turn_until(&mut reactor, &seen, 3);
    let (in_root, root_line) = (hold(&seen), line!() + 1);
    reactor.block_on(async move { in_root() }).unwrap();
    let reports = seen.borrow();
    let expected = [
        (Work::Callback, callback_line),
        (Work::Task, task_line),
        (Work::Timer, timer_line),
        (Work::Task, root_line),
    ];
    for (report, (work, line)) in reports.iter().zip(expected) {
        let place = report.place.unwrap();
        assert_eq!((report.work, place.file(), place.line()), (work, file!(), line), "{report}");
        assert!(report.held >= THRESHOLD, "{report}");
        assert_eq!(Some(report.thread.as_str()), thread::current().name());
    }
    assert_eq!(reports.len(), expected.len());
    drop(registration);
}

/// A call from another thread holds the loop like anything else.
#[test]
fn law_12_a_call_that_holds_the_loop_is_named_with_its_senders_line() {
    let (tell, told) = mpsc::channel();
    let mut reactor = watched(tell);
    let (remote, seen) = (reactor.remote(), Arc::new(Mutex::new(None)));
    let (keep, line) = (Arc::clone(&seen), line!() + 1);
    let call = remote.call(move |handle| {
        keep.lock().unwrap().replace(named(&told));
        handle.stop();
    });
    call.unwrap();
    reactor.run().unwrap();
    let report = seen.lock().unwrap().take().unwrap();
    let place = report.place.unwrap();
    assert_eq!((report.work, place.file(), place.line()), (Work::Call, file!(), line), "{report}");
}

/// What the loop's thread does while it is held: it waits here, and there it computes.
#[cfg(target_os = "linux")]
#[test]
fn law_12_a_report_says_what_the_thread_does() {
    for computes in [false, true] {
        let (tell, told) = mpsc::channel();
        let mut reactor = watched(tell);
        let report = reactor.block_on(async move {
            if computes {
                return loop {
                    if let Ok(report) = told.try_recv() {
                        break report;
                    }
                };
            }
            named(&told)
        });
        let expected = if computes { 'R' } else { 'S' };
        assert_eq!(report.unwrap().thread_state, Some(expected));
    }
}

/// Broken by a watchdog that says at each look what it has said already.
#[test]
fn law_12_each_piece_that_holds_the_loop_is_named_once() {
    let (tell, told) = mpsc::channel();
    let mut reactor = watched(tell);
    let reports = reactor.block_on(async move {
        let mut reports = Vec::new();
        for _ in 0..3 {
            reports.push(named(&told));
            // Several looks more.
            thread::sleep(2 * THRESHOLD);
            reports.extend(told.try_iter());
            yield_now().await;
        }
        reports
    });
    assert_eq!(reports.unwrap().len(), 3);
}

/// Broken by a watchdog that takes many short pieces, or a loop that waits, for a long one.
#[test]
fn law_12_a_loop_that_works_in_short_pieces_or_waits_is_not_named() {
    let (tell, told) = mpsc::channel();
    let tell = move |report: &StuckReport| tell.send(report.clone()).unwrap();
    // So long that this machine's other work does not look like a stuck loop.
    let threshold = Duration::from_millis(1500);
    let mut reactor = Reactor::builder().watchdog(threshold, tell).build().unwrap();
    reactor
        .block_on(async move {
            let began = Instant::now();
            while began.elapsed() < 2 * threshold {
                yield_now().await;
            }
            sleep(2 * threshold).await;
        })
        .unwrap();
    drop(reactor);
    let reports: Vec<_> = told.iter().collect();
    assert!(reports.is_empty(), "{reports:?}");
}

/// Broken by a watchdog that is left ticking, or that sleeps on when the loop works again.
#[test]
fn law_08_the_watchdog_of_an_idle_loop_parks_and_is_back_when_the_loop_is() {
    let (tell, told) = mpsc::channel();
    let mut reactor = watched(tell);
    for _ in 0..2 {
        let handle = reactor.handle();
        assert_eq!(handle.snapshot().watchdog, WatchdogState::Ticking);
        while handle.snapshot().watchdog != WatchdogState::Parked {
            thread::sleep(Duration::from_millis(20));
        }
        // Within one turn the watchdog wakes and names it.
        reactor.block_on(async { named(&told) }).unwrap();
    }
}

/// Broken by a tick: an idle reactor with a parked watchdog makes one wait, and no other thread makes
/// a call.
#[test]
fn law_08_a_parked_watchdog_makes_no_system_call() {
    let test = "law_08_a_parked_watchdog_makes_no_system_call";
    let trace = strace::trace(test, "all", || {
        let (tell, _told) = mpsc::channel();
        let mut reactor = watched(tell);
        let handle = reactor.handle();
        let timer = handle.after(Duration::from_secs(4), move || {}).unwrap();
        while handle.snapshot().watchdog != WatchdogState::Parked {
            thread::sleep(Duration::from_millis(20));
        }
        strace::mark("begin");
        reactor.turn(None).unwrap();
        strace::mark("end");
        handle.cancel(timer);
    });
    let Some(trace) = trace else { return };
    let others: Vec<_> = trace.calls.iter().filter(|call| call.thread != trace.thread).collect();
    // The call by which it parks may come after it has said so; a tick would make hundreds.
    // The turn's beginning calls the watchdog, which looks again from then on.
    let before = trace.calls.iter().position(|call| call.name.starts_with("epoll_")).unwrap();
    let early = others
        .iter()
        .filter(|call| trace.calls[..before].iter().any(|earlier| std::ptr::eq(earlier, **call)));
    assert!(early.count() <= 1, "{trace:#?}");
    let waits = trace.own().iter().filter(|name| name.starts_with("epoll_")).count();
    assert_eq!(waits, 1, "{trace:#?}");
}

/// Broken by a thread that outlives its reactor, or one that starts without being asked for.
#[cfg(target_os = "linux")]
#[test]
fn the_thread_lives_as_long_as_the_reactor_and_none_starts_without_a_watchdog() {
    fn watchdogs() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with(b"squall-watchdog".as_slice())).count()
    }
    // Other tests of this process have their own.
    let test = "the_thread_lives_as_long_as_the_reactor_and_none_starts_without_a_watchdog";
    if !alone(test) {
        return;
    }
    let plain = Reactor::new().unwrap();
    assert_eq!((watchdogs(), plain.handle().snapshot().watchdog), (0, WatchdogState::Off));
    let (tell, _told) = mpsc::channel();
    let reactor = watched(tell);
    // A thread gives itself its name, and the kernel buries a joined one a little later.
    let comes_to = |count: usize| {
        let began = Instant::now();
        while watchdogs() != count {
            assert!(began.elapsed() < Duration::from_secs(60), "never {count}");
            thread::yield_now();
        }
    };
    comes_to(1);
    drop(reactor);
    comes_to(0);
}

/// Broken by a child that is watched, that waits for a thread it does not have, or that ends its
/// parent's watchdog.
#[test]
fn law_06_a_forked_child_has_no_watchdog_and_its_parent_keeps_its_own() {
    if !alone("law_06_a_forked_child_has_no_watchdog_and_its_parent_keeps_its_own") {
        return;
    }
    let (tell, told) = mpsc::channel();
    let mut reactor = watched(tell);
    // SAFETY: the test harness's other thread holds no lock: it waits for this one. The watchdog's
    // holds none either, because nothing is stuck. The child ends by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let well = reactor.after_fork().is_ok()
            && reactor.block_on(async { thread::sleep(10 * THRESHOLD) }).is_ok()
            && reactor.handle().snapshot().watchdog == WatchdogState::Off
            && told.try_recv().is_err();
        drop(reactor);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!well)) };
    }
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "the child's exit");
    reactor.block_on(async { named(&told) }).unwrap();
}

/// Broken by a reactor that waits for who is being told, who waits for the reactor's thread.
#[test]
fn a_reactor_may_be_dropped_while_its_watchdog_tells() {
    let (tell, told) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let tell = move |report: &StuckReport| {
        tell.send(report.clone()).unwrap();
        let _ = released.lock().unwrap().recv();
    };
    let mut reactor = Reactor::builder().watchdog(THRESHOLD, tell).build().unwrap();
    reactor.block_on(async { named(&told) }).unwrap();
    drop(reactor);
    release.send(()).unwrap();
}

/// Broken by a watchdog that ends with the first panic of whom it tells.
#[test]
fn a_panic_in_whom_it_tells_ends_that_call_alone() {
    let (tell, told) = mpsc::channel();
    let tell = move |report: &StuckReport| {
        tell.send(report.clone()).unwrap();
        panic!("as the test wants it");
    };
    let mut reactor = Reactor::builder().watchdog(THRESHOLD, tell).build().unwrap();
    for _ in 0..2 {
        reactor.block_on(async { named(&told) }).unwrap();
    }
}

#[test]
fn a_threshold_of_zero_is_refused() {
    let refused = Reactor::builder().watchdog(Duration::ZERO, |_| {}).build();
    assert!(matches!(refused, Err(Error::Argument(_))));
}

/// Timing alone, without a watchdog: the longest poll and the longest callback.
#[test]
fn the_longest_poll_and_callback_are_measured_where_timing_is_on() {
    let long = Duration::from_millis(20);
    for on in [false, true] {
        let mut reactor = Reactor::builder().timing(on).build().unwrap();
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &theirs, b"x").unwrap();
        let registration =
            reactor.handle().register(ours, Interest::READABLE, Trigger::Edge, move |_, _| {
                thread::sleep(long);
                Next::Wait
            });
        reactor.handle().spawn_detached(async move {
            yield_now().await;
            thread::sleep(2 * long);
            std::future::pending().await
        });
        for _ in 0..3 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        let snapshot = reactor.handle().snapshot();
        let (source, task) = (snapshot.sources[0].longest, snapshot.tasks[0].longest);
        if on {
            assert!(source >= Some(long) && task >= Some(2 * long), "{snapshot}");
        } else {
            assert_eq!((source, task), (None, None));
        }
        drop(registration);
    }
}

/// True in a process that runs this test alone, which the first call starts and waits for.
fn alone(test: &str) -> bool {
    if std::env::var_os("SQUALL_ALONE").is_some() {
        return true;
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let output = alone.args(["--exact", test]).env("SQUALL_ALONE", test).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    false
}

fn watched(tell: Sender<StuckReport>) -> Reactor {
    let tell = move |report: &StuckReport| drop(tell.send(report.clone()));
    Reactor::builder().watchdog(THRESHOLD, tell).build().unwrap()
}

/// Blocks until the watchdog says so. What does not come within a minute never comes.
fn named(told: &Receiver<StuckReport>) -> StuckReport {
    told.recv_timeout(Duration::from_secs(60)).expect("it is named while it holds the loop")
}

fn turn_until(reactor: &mut Reactor, seen: &Rc<RefCell<Vec<StuckReport>>>, count: usize) {
    while seen.borrow().len() < count {
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
}
