//! A reactor inside another loop: its descriptor, its deadline, and turns that do not sleep.
//!
//! The host here is a second Squall reactor; what it needs to know of its guest is the same for any
//! other loop.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use squall_reactor::{
    Config, Fd, Handle, Interest, Next, Reactor, Side, Timer, Trigger, sleep, yield_now,
};

const FAR: Duration = Duration::from_secs(3600);

/// A reactor that another one hosts.
struct Guest {
    reactor: RefCell<Reactor>,
    host: Handle,
    timer: RefCell<Option<Timer>>,
}

impl Guest {
    /// Level-triggered: an epoll with more in it than one turn takes must be reported again.
    fn move_in(reactor: Reactor, host: Handle) -> Rc<Self> {
        let fd = reactor.as_fd().try_clone_to_owned().expect("a duplicate");
        let (reactor, timer) = (RefCell::new(reactor), RefCell::new(None));
        let guest = Rc::new(Self { reactor, host: host.clone(), timer });
        let served = Rc::clone(&guest);
        let serve = move |_: &_, _| {
            served.serve();
            Next::Wait.progress(true)
        };
        let registered = host.register(fd, Interest::READABLE, Trigger::Level, serve);
        registered.map_err(|(error, _)| error).expect("an epoll is pollable").detach();
        guest.serve();
        guest
    }

    /// One turn, and a timer for the next one if the descriptor will not ask for it.
    fn serve(self: &Rc<Self>) {
        let mut reactor = self.reactor.borrow_mut();
        reactor.turn(Some(Duration::ZERO)).expect("a guest may turn");
        if let Some(timer) = self.timer.take() {
            self.host.cancel(timer);
        }
        if let Some(due) = reactor.next_deadline() {
            let guest = Rc::clone(self);
            let timer = self.host.at(due, move || guest.serve()).expect("the host lives");
            self.timer.replace(Some(timer));
        }
    }
}

/// Broken if a source, a timer or a call from another thread reaches the guest only when the host
/// happens to turn; and by a host that must spin to keep its guest alive.
#[test]
fn a_guests_sources_timers_and_remote_calls_run_while_its_host_sleeps() {
    let guest = Reactor::new().expect("a reactor");
    let (handle, remote) = (guest.handle(), guest.remote());
    let mut host = Reactor::new().expect("another reactor");
    let stop = host.handle();
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let (heard, steps) = mpsc::channel();
    let called = heard.clone();
    handle.spawn_detached(async move {
        let reader = Fd::new(reader, Interest::READABLE).map_err(|(error, _)| error);
        let reader = reader.expect("a pipe is pollable");
        let mut text = [0; 5];
        let read = reader.with(Side::Read, |mut pipe| pipe.read(&mut text)).await;
        heard.send("read").expect("the test listens");
        assert_eq!((read.expect("five bytes"), &text), (5, b"guest"));
        sleep(Duration::from_millis(20)).await;
        heard.send("slept").expect("the test listens");
        drop(heard);
        stop.stop();
    });
    let helper = std::thread::spawn(move || {
        let call = move |_: &Handle| {
            called.send("called").expect("the test listens");
            writer.write_all(b"guest").expect("a reader");
        };
        remote.call(call).expect("the guest lives");
    });
    let _guest = Guest::move_in(guest, host.handle());
    host.run().expect("nothing runs here yet");
    helper.join().expect("it only calls");
    assert_eq!(steps.iter().collect::<Vec<_>>(), ["called", "read", "slept"]);
    let turns = host.stats().turns;
    assert!(turns < 50, "the host spins: {turns} turns");
}

/// Broken if an idle guest keeps its host awake.
#[test]
fn law_08_an_idle_guest_costs_its_host_nothing() {
    let guest = Reactor::new().expect("a reactor");
    guest.handle().spawn_detached(pending());
    let mut host = Reactor::new().expect("another reactor");
    let handle = host.handle();
    let _guest = Guest::move_in(guest, handle.clone());
    let until = Instant::now() + Duration::from_millis(100);
    let stop = handle.clone();
    handle.at(until, move || stop.stop()).expect("a timer");
    host.run().expect("nothing runs here yet");
    let turns = host.stats().turns;
    assert!(turns <= 3, "the guest's first turn and the host's timer, but {turns} turns");
}

/// Broken if the descriptor that is lent were not the epoll's, or went with a turn.
#[test]
fn the_descriptor_that_is_lent_is_the_epolls_and_stays() {
    let mut reactor = Reactor::new().expect("a reactor");
    let number = reactor.as_fd().as_raw_fd();
    assert_eq!(number, reactor.as_raw_fd());
    let link = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open");
    assert_eq!(link.to_string_lossy(), "anon_inode:[eventpoll]");
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(reactor.as_fd().as_raw_fd(), number);
}

/// A host as the kernel sees one: it waits for the guest's descriptor, by level and by edge.
struct Host {
    edge: mio::Poll,
    guest: Reactor,
}

impl Host {
    /// The guest is at rest, and has told its deadline.
    fn of(guest: Reactor) -> Self {
        let edge = mio::Poll::new().expect("an epoll");
        let (number, readable) = (guest.as_raw_fd(), mio::Interest::READABLE);
        edge.registry()
            .register(&mut SourceFd(&number), mio::Token(0), readable)
            .expect("an epoll is pollable");
        let mut host = Self { edge, guest };
        host.turn_until_nothing_runs();
        assert_eq!(host.hears(), (false, false), "at rest");
        host
    }

    /// What a host that waits by level would hear now, and what one that waits by edge.
    fn hears(&mut self) -> (bool, bool) {
        let mut one = libc::pollfd { fd: self.guest.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives until the call returns.
        let n = unsafe { libc::poll(&raw mut one, 1, 0) };
        assert!(n >= 0, "{}", io::Error::last_os_error());
        let mut events = mio::Events::with_capacity(1);
        self.edge.poll(&mut events, Some(Duration::ZERO)).expect("a poll");
        (n > 0, !events.is_empty())
    }

    /// One turn without a sleep; how many jobs ran.
    fn turn(&mut self) -> usize {
        self.guest.turn(Some(Duration::ZERO)).expect("a turn")
    }

    /// What the host by edge does.
    fn turn_until_nothing_runs(&mut self) {
        while self.turn() > 0 {}
        let _ = self.hears();
    }

    fn writes(&self) -> u64 {
        self.guest.stats().eventfd_writes
    }
}

/// Each way to give a guest something to do between two turns, a hundred times: its host hears of
/// it, by level and by edge, and the eventfd is written once. Broken if the host sleeps on, which is
/// a hang, or if each addition is a write.
#[test]
fn law_09_what_is_added_between_turns_is_one_write_that_calls_the_host() {
    type Add = fn(&Handle, Box<dyn FnOnce() + Send>);
    let ways: [(&str, Add); 3] = [
        ("a task", |handle, done| handle.spawn_detached(async move { done() })),
        ("a timer that is due", |handle, done| {
            handle.at(Instant::now(), done).expect("a timer");
        }),
        ("a call by another thread", |handle, done| {
            let remote = handle.remote();
            let call = move || remote.call(|_| done()).expect("the guest lives");
            std::thread::spawn(call).join().expect("no panic");
        }),
    ];
    for (what, add) in ways {
        let mut host = Host::of(Reactor::new().expect("a reactor"));
        let (handle, done) = (host.guest.handle(), Arc::new(AtomicU64::new(0)));
        for round in 1..=3 {
            let before = host.writes();
            for _ in 0..100 {
                let done = Arc::clone(&done);
                add(&handle, Box::new(move || assert!(done.fetch_add(1, Relaxed) < 300)));
            }
            assert_eq!(host.hears(), (true, true), "{what}");
            assert_eq!(host.writes() - before, 1, "{what}");
            // Timers round up to the next millisecond.
            while done.load(Relaxed) < round * 100 {
                host.turn();
            }
            host.turn_until_nothing_runs();
            assert_eq!(host.hears(), (false, false), "{what}: at rest again");
        }
    }
}

/// Two threads give it work: whoever comes first writes for both.
#[test]
fn law_09_the_own_thread_and_another_one_share_the_one_write() {
    for remote_first in [true, false] {
        let mut host = Host::of(Reactor::new().expect("a reactor"));
        let (handle, remote) = (host.guest.handle(), host.guest.remote());
        let before = host.writes();
        let call = move || {
            let call = move || remote.call(|_| ()).expect("the guest lives");
            std::thread::spawn(call).join().expect("no panic");
        };
        let spawn = move || handle.spawn_detached(async {});
        if remote_first {
            call();
            spawn();
        } else {
            spawn();
            call();
        }
        assert_eq!(host.writes() - before, 1);
        host.turn_until_nothing_runs();
        assert_eq!(host.hears(), (false, false));
    }
}

/// A waker that the own thread calls between two turns, which is no message and no wake-up inside.
#[test]
fn law_09_a_task_that_is_woken_between_turns_calls_the_host_once() {
    let guest = Reactor::new().expect("a reactor");
    let (polls, waker) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Waker>)));
    let (counted, kept) = (Rc::clone(&polls), Rc::clone(&waker));
    guest.handle().spawn_detached(poll_fn(move |cx| {
        counted.set(counted.get() + 1);
        kept.replace(Some(cx.waker().clone()));
        Poll::Pending
    }));
    let mut host = Host::of(guest);
    let waker = waker.take().expect("it was polled");
    let before = host.writes();
    for _ in 0..100 {
        waker.wake_by_ref();
    }
    assert_eq!(host.hears(), (true, true));
    assert_eq!(host.writes() - before, 1);
    host.turn_until_nothing_runs();
    assert_eq!(polls.get(), 2);
}

/// A timer calls the host only if it is due before the deadline that the host knows.
#[test]
fn law_09_only_a_timer_before_the_told_deadline_calls_the_host() {
    let mut host = Host::of(Reactor::new().expect("a reactor"));
    let handle = host.guest.handle();
    handle.after(FAR, || ()).expect("a timer");
    assert_eq!(host.hears(), (true, true), "the first one");
    host.turn();
    let told = host.guest.next_deadline().expect("an hour on");
    let before = host.writes();
    handle.after(2 * FAR, || ()).expect("a timer");
    assert_eq!(host.hears(), (false, false), "later than what the host waits for");
    handle.after(FAR / 2, || ()).expect("a timer");
    assert_eq!(host.hears(), (true, true), "earlier");
    handle.after(FAR / 4, || ()).expect("a timer");
    assert_eq!(host.writes() - before, 1);
    host.turn();
    assert!(host.guest.next_deadline().expect("a timer") < told - FAR / 2);
    // A sleep that is moved is a timer, too.
    let moved = Rc::new(RefCell::new(sleep(FAR)));
    let waiting = Rc::clone(&moved);
    handle.spawn_detached(poll_fn(move |cx| waiting.borrow_mut().poll_elapsed(cx)));
    host.turn_until_nothing_runs();
    moved.borrow_mut().reset(Instant::now());
    assert_eq!(host.hears(), (true, true), "a sleep that was moved");
}

/// A source that is resumed, and readiness that was remembered for it.
#[test]
fn law_03_a_resumed_source_calls_the_host() {
    let guest = Reactor::new().expect("a reactor");
    let (handle, heard) = (guest.handle(), Rc::new(Cell::new(0)));
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("nonblocking");
    theirs.write_all(b"!").expect("room");
    let count = Rc::clone(&heard);
    let pause = move |_: &UnixStream, _| {
        count.set(count.get() + 1);
        Next::Pause
    };
    let registered = handle.register(ours, Interest::READABLE, Trigger::Edge, pause);
    let registration = registered.map_err(|(error, _)| error).expect("registered");
    let mut host = Host::of(guest);
    assert_eq!(heard.get(), 1);
    registration.resume().expect("it lives");
    assert_eq!(host.hears(), (true, true));
    host.turn();
    assert_eq!(heard.get(), 2);
}

/// A source that is taken from a task which waits for it: the task hears of it, as inside a turn.
#[test]
fn a_task_whose_source_is_deregistered_calls_the_host() {
    let guest = Reactor::new().expect("a reactor");
    let (reader, _writer) = squall_reactor::pipe().expect("a pipe");
    let ended = Rc::new(Cell::new(false));
    let told = Rc::clone(&ended);
    guest.handle().spawn_detached(async move {
        reader.read(&mut [0; 1]).await.expect_err("its source is gone");
        told.set(true);
    });
    let mut host = Host::of(guest);
    let handle = host.guest.handle();
    let token = handle.snapshot().sources[0].token;
    assert!(handle.deregister(token).expect("alive"));
    assert_eq!(host.hears(), (true, true));
    host.turn();
    assert!(ended.get());
}

/// What a turn's shares leave over (law 7) must bring the host back, also one that hears only of
/// changes: each kind of share, and one write a turn.
#[test]
fn law_07_what_a_turn_leaves_over_calls_the_host() {
    type Fill = fn(&Handle, &Rc<Cell<u64>>) -> Box<dyn std::any::Any>;
    let kinds: [(&str, u64, Fill); 4] = [
        ("tasks that wake themselves", 3, |handle, done| {
            let done = Rc::clone(done);
            handle.spawn_detached(async move {
                // The first poll and 63 more are a turn's share of 64.
                for _ in 0..3 {
                    for _ in 0..64 {
                        yield_now().await;
                    }
                    done.set(done.get() + 1);
                }
            });
            Box::new(())
        }),
        ("calls", 3, |handle, done| {
            for _ in 0..3 {
                handle.remote().call(|_| ()).expect("the guest lives");
            }
            done.set(3);
            Box::new(())
        }),
        ("due timers", 3, |handle, done| {
            for _ in 0..3 {
                let done = Rc::clone(done);
                let past = Instant::now() - Duration::from_millis(5);
                handle.at(past, move || done.set(done.get() + 1)).expect("a timer");
            }
            Box::new(())
        }),
        ("events", 3, |handle, done| {
            let mut kept = Vec::new();
            for _ in 0..3 {
                let (ours, mut theirs) = UnixStream::pair().expect("a pair");
                theirs.write_all(b"!").expect("room");
                let done = Rc::clone(done);
                let note = move |_: &UnixStream, _| {
                    done.set(done.get() + 1);
                    Next::Wait
                };
                let registered = handle.register(ours, Interest::READABLE, Trigger::Edge, note);
                kept.push((registered.map_err(|(error, _)| error).expect("registered"), theirs));
            }
            Box::new(kept)
        }),
    ];
    for (what, turns, fill) in kinds {
        let mut config = Config::default();
        (config.events, config.remote, config.timers) = (1, 1, 1);
        let guest = Reactor::builder().config(config).build().expect("a reactor");
        let mut host = Host::of(guest);
        let done = Rc::new(Cell::new(0));
        let _kept = fill(&host.guest.handle(), &done);
        assert_eq!(host.hears(), (true, true), "{what}");
        let before = host.writes();
        let mut left = 0;
        loop {
            host.turn();
            let (level, edge) = host.hears();
            if !level {
                break;
            }
            assert!(edge, "{what}: a host by edge sleeps on what is left");
            left += 1;
            assert!(host.writes() - before <= left, "{what}: more than one write a turn");
            assert!(left < 100, "{what}: it never comes to rest");
        }
        assert!(left >= turns - 1, "{what}: {left} turns left something over");
        assert_eq!(done.get(), 3, "{what}");
    }
}

/// A host that catches a guest's panic still hears of what comes after it.
#[test]
fn a_guest_that_panics_in_its_turn_still_calls_its_host() {
    let mut host = Host::of(Reactor::new().expect("a reactor"));
    let (handle, remote) = (host.guest.handle(), host.guest.remote());
    handle.spawn_detached(async { panic!("a guest's own") });
    let turn = catch_unwind(AssertUnwindSafe(|| host.turn()));
    assert!(turn.is_err());
    let _ = host.hears();
    std::thread::spawn(move || remote.call(Handle::stop)).join().expect("no panic").expect("sent");
    assert_eq!(host.hears(), (true, true));
}

/// A loop that runs by itself, lent or not, is awake: nothing is written (law 9).
#[test]
fn law_09_a_loop_that_runs_by_itself_writes_nothing_for_its_own_thread() {
    for lent in [false, true] {
        let mut reactor = Reactor::new().expect("a reactor");
        if lent {
            let _ = reactor.as_fd();
        }
        reactor
            .block_on(async {
                let handle = Handle::current().expect("inside");
                for _ in 0..1000 {
                    handle.spawn(yield_now()).await.expect("no panic");
                }
                sleep(Duration::from_millis(1)).await;
            })
            .expect("nothing runs here yet");
        assert_eq!(reactor.stats().eventfd_writes, 0, "lent: {lent}");
    }
}

/// The host gives its guest work while the guest is at rest: the guest does it, and nobody spins.
#[test]
fn a_host_may_spawn_on_its_guest_at_any_time() {
    let guest = Reactor::new().expect("a reactor");
    let theirs = guest.handle();
    let mut host = Reactor::new().expect("another reactor");
    let handle = host.handle();
    let _guest = Guest::move_in(guest, handle.clone());
    let stop = handle.clone();
    let give = move || {
        theirs.spawn_detached(async move {
            sleep(Duration::from_millis(5)).await;
            stop.stop();
        });
    };
    handle.after(Duration::from_millis(5), give).expect("a timer");
    host.run().expect("nothing runs here yet");
    let turns = host.stats().turns;
    assert!(turns < 20, "the host spins: {turns} turns");
}
