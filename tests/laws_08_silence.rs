//! Law 8, silence: an idle reactor makes no system call until something is due, and one wait until
//! then.
//!
//! strace counts the calls; the reactor's own counters are asked too, so that without strace
//! something is still tested. Next: `laws_09_waking`.

mod sockets;
mod strace;
mod turning;

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use sockets::tcp_pair;
use squall_reactor::net::TcpStream;
use squall_reactor::{Handle, Interest, Next, Reactor, Registration, Trigger, sleep, yield_now};
use strace::{mark, trace};
use turning::{turn_at_once, turn_until};

const IDLE: usize = 10_000;

/// One timer among ten thousand idle sources is one wait: no tick, no cascade, no look around.
#[test]
fn law_08_one_timer_among_ten_thousand_idle_sources_is_one_wait() {
    let test = "law_08_one_timer_among_ten_thousand_idle_sources_is_one_wait";
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::new().unwrap();
        let _sources = idle_sources(&reactor);
        turn_at_once(&mut reactor, 3);
        let stop = reactor.handle();
        reactor.handle().after(Duration::from_millis(1500), move || stop.stop()).unwrap();
        let before = reactor.stats();
        mark("begin");
        reactor.run().unwrap();
        mark("end");
        let after = reactor.stats();
        assert_eq!((after.turns - before.turns, after.wakeups - before.wakeups), (1, 1));
    });
    if let Some(traced) = traced {
        assert_eq!(traced.own(), ["epoll_wait"]);
    }
}

/// With fine timers it is one more call, which sets the alarm, and still one wait: neither is the
/// alarm read, nor does the wait's own timeout end a second one.
#[test]
fn law_08_a_fine_timer_is_one_alarm_and_one_wait() {
    let test = "law_08_a_fine_timer_is_one_alarm_and_one_wait";
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::builder().fine_timers(true).build().unwrap();
        let _sources = idle_sources(&reactor);
        turn_at_once(&mut reactor, 3);
        let stop = reactor.handle();
        let before = reactor.stats();
        mark("begin");
        for delay in [Duration::from_micros(300_150), Duration::from_millis(700)] {
            let stop = stop.clone();
            reactor.handle().after(delay, move || stop.stop()).unwrap();
            reactor.run().unwrap();
        }
        mark("end");
        let after = reactor.stats();
        assert_eq!((after.turns - before.turns, after.wakeups - before.wakeups), (2, 2));
    });
    if let Some(traced) = traced {
        let timer = ["timerfd_settime", "epoll_wait"];
        assert_eq!(traced.own(), [timer, timer].concat());
    }
}

/// Broken by an alarm that is left standing: it would wake the loop for a timer that is gone.
#[test]
fn law_08_a_fine_timer_that_is_cancelled_wakes_nobody() {
    let test = "law_08_a_fine_timer_that_is_cancelled_wakes_nobody";
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::builder().fine_timers(true).build().unwrap();
        let handle = reactor.handle();
        let turn = |reactor: &mut Reactor, ms| {
            reactor.turn(Some(Duration::from_millis(ms))).unwrap();
        };
        turn_at_once(&mut reactor, 3);
        mark("begin");
        let timer = handle.after(Duration::from_millis(150), || panic!("cancelled")).unwrap();
        turn(&mut reactor, 1);
        let later = handle.after(Duration::from_secs(60), || panic!("later")).unwrap();
        // The earliest one is the same: nothing is set.
        turn(&mut reactor, 1);
        handle.cancel(timer);
        handle.cancel(later);
        let before = reactor.stats();
        turn(&mut reactor, 300);
        mark("end");
        let after = reactor.stats();
        assert_eq!((after.turns - before.turns, after.wakeups - before.wakeups), (1, 1));
        assert!(after.asleep_ns - before.asleep_ns >= 300_000_000, "an alarm woke it");
    });
    if let Some(traced) = traced {
        let (set, wait) = ("timerfd_settime", "epoll_wait");
        assert_eq!(traced.own(), [set, wait, wait, set, wait]);
    }
}

/// The same for a task that sleeps; and the wait lasts to the end, across the wheel's levels.
#[test]
fn law_08_a_sleeping_task_is_one_wait() {
    let test = "law_08_a_sleeping_task_is_one_wait";
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::new().unwrap();
        let _sources = idle_sources(&reactor);
        turn_at_once(&mut reactor, 3);
        reactor
            .block_on(async {
                yield_now().await;
                mark("begin");
                sleep(Duration::from_millis(1100)).await;
                mark("end");
            })
            .unwrap();
        assert_eq!(reactor.stats().wakeups, 1);
    });
    if let Some(traced) = traced {
        assert_eq!(traced.own(), ["epoll_wait"]);
    }
}

/// Timers that were cancelled, or put off, wake nobody.
#[test]
fn law_08_cancelled_timers_and_refreshed_sleeps_wake_nobody() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let timers: Vec<_> = (1..200)
        .map(|ms| handle.after(Duration::from_millis(ms), || panic!("it was cancelled")).unwrap())
        .collect();
    timers.into_iter().for_each(|timer| assert!(handle.cancel(timer)));
    let stop = handle.clone();
    handle.after(Duration::from_millis(300), move || stop.stop()).unwrap();
    reactor.run().unwrap();
    let stats = reactor.stats();
    assert_eq!((stats.turns, stats.wakeups, stats.timers_fired), (1, 1, 1));
}

/// With nothing due at all it is one wait without an end, until another thread speaks.
#[test]
fn law_08_an_idle_reactor_waits_once_until_it_is_called() {
    let test = "law_08_an_idle_reactor_waits_once_until_it_is_called";
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::new().unwrap();
        let _sources = idle_sources(&reactor);
        turn_at_once(&mut reactor, 3);
        let remote = reactor.remote();
        let caller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            remote.stop().unwrap();
        });
        mark("begin");
        reactor.run().unwrap();
        mark("end");
        caller.join().unwrap();
        assert_eq!(reactor.stats().wakeups, 1);
    });
    if let Some(traced) = traced {
        assert_eq!(traced.own(), ["epoll_wait"]);
    }
}

/// A stop that nobody runs for is remembered for the next `run`; until then it must not keep the loop
/// awake.
#[test]
fn law_08_a_stop_does_not_keep_block_on_awake() {
    let mut reactor = Reactor::new().unwrap();
    reactor
        .block_on(async {
            Handle::current().unwrap().stop();
            sleep(Duration::from_millis(100)).await;
        })
        .unwrap();
    let turns = reactor.stats().turns;
    assert!(turns <= 4, "{turns} turns for one sleep");
    reactor.run().unwrap();
    assert_eq!(reactor.stats().turns, turns, "it was stopped before");
}

/// Level triggering costs nothing beyond the shared wait, edge neither: a hundred reports, a hundred
/// waits and the callback's own reads.
#[test]
fn law_08_reports_cost_no_system_call_beyond_the_wait() {
    let test = "law_08_reports_cost_no_system_call_beyond_the_wait";
    const REPORTS: usize = 100;
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::new().unwrap();
        let calls = Rc::new(Cell::new(0));
        let mut registrations = Vec::new();
        let (sources, mut peers) =
            (0..2).map(|_| UnixStream::pair().unwrap()).unzip::<_, _, Vec<_>, Vec<_>>();
        for (source, trigger) in sources.into_iter().zip([Trigger::Level, Trigger::Edge]) {
            source.set_nonblocking(true).unwrap();
            let count = Rc::clone(&calls);
            registrations.push(reactor.handle().register(
                source,
                Interest::READABLE,
                trigger,
                move |mut source: &UnixStream, _| {
                    count.set(count.get() + 1);
                    assert_eq!(source.read(&mut [0; 16]).unwrap(), 1);
                    Next::Wait
                },
            ));
        }
        turn_at_once(&mut reactor, 1);
        mark("begin");
        for _ in 0..REPORTS {
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
            }
            reactor.turn(Some(Duration::from_secs(1))).unwrap();
        }
        mark("end");
        assert_eq!(calls.get(), 2 * REPORTS);
    });
    let Some(traced) = traced else { return };
    let own = traced.own();
    let count = |name: &str| own.iter().filter(|call| **call == name).count();
    assert_eq!(count("epoll_wait"), REPORTS);
    assert_eq!(own.len(), REPORTS * 5, "{own:?}");
}

/// A request costs one read and one write: a short read on TCP is known to have drained it, and no
/// second read is needed to find that out (law 3).
#[test]
fn law_08_a_request_is_one_wait_one_read_and_one_write() {
    let test = "law_08_a_request_is_one_wait_one_read_and_one_write";
    const REQUESTS: usize = 100;
    let traced = trace(test, "all", || {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        let (answered, served) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (count, ours) = (Rc::clone(&served), TcpStream::from_std(ours).unwrap());
        reactor.handle().spawn_detached(async move {
            let mut buf = [0; 1024];
            while let Ok(n @ 1..) = ours.read(&mut buf).await {
                ours.write_all(&buf[..n]).await.unwrap();
                count.set(count.get() + 1);
            }
        });
        let mut exchange = |reactor: &mut Reactor| {
            theirs.write_all(b"request").unwrap();
            answered.set(answered.get() + 1);
            turn_until(reactor, "the answer", || served.get() == answered.get());
            theirs.read_exact(&mut [0; 7]).unwrap();
        };
        (0..3).for_each(|_| exchange(&mut reactor));
        mark("begin");
        (0..REQUESTS).for_each(|_| exchange(&mut reactor));
        mark("end");
    });
    let Some(traced) = traced else { return };
    let own = traced.own();
    let count = |names: &[&str]| own.iter().filter(|call| names.contains(call)).count();
    // The peer writes and reads in this thread too, by sendto and recvfrom like the stream.
    assert_eq!(count(&["recvfrom", "read"]), 2 * REQUESTS, "{own:?}");
    assert_eq!(count(&["sendto", "write"]), 2 * REQUESTS);
    assert_eq!(count(&["epoll_ctl"]), 0);
    // A request may need a second wait where the network was slower than the first.
    let waits = count(&["epoll_wait"]);
    assert!((REQUESTS..REQUESTS + 10).contains(&waits), "{waits} waits");
}

/// Half by callbacks under each trigger, half out of the epoll; as many as the limit of open files
/// allows.
fn idle_sources(reactor: &Reactor) -> Vec<(Registration<UnixStream>, Registration<UnixStream>)> {
    let count = IDLE.min(raise_file_limit() - 200) / 2;
    let triggers = [Trigger::Level, Trigger::Edge, Trigger::Oneshot];
    let register = |source: UnixStream, trigger| {
        source.set_nonblocking(true).unwrap();
        let callback = |_: &UnixStream, _: squall_reactor::Ready| -> Next { panic!("it is idle") };
        reactor.handle().register(source, Interest::READABLE, trigger, callback).unwrap()
    };
    (0..count)
        .map(|i| {
            let (one, two) = UnixStream::pair().unwrap();
            let trigger = triggers[i % triggers.len()];
            (register(one, trigger), register(two, trigger))
        })
        .collect()
}

/// Raises the soft limit of open files to the hard one, which it returns.
fn raise_file_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives until the call returns.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the kernel only reads it.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    usize::try_from(limit.rlim_max).unwrap_or(usize::MAX)
}
