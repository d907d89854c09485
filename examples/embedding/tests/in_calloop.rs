//! A Squall reactor inside calloop, and calloop inside Squall.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use calloop::EventLoop;
use calloop::timer::{TimeoutAction, Timer};
use squall_embedding::in_calloop::Guest;
use squall_reactor::net::UnixStream;
use squall_reactor::{Config, Handle, Interest, Next, Reactor, Trigger, sleep, yield_now};

/// A host with a guest, and what the test waits for.
struct Scene {
    host: EventLoop<'static, ()>,
    guest: Rc<Guest<()>>,
    handle: Handle,
}

impl Scene {
    fn new(config: Config) -> Self {
        let host: EventLoop<'static, ()> = EventLoop::try_new().expect("an event loop");
        let reactor = Reactor::builder().config(config).build().expect("a reactor");
        let handle = reactor.handle();
        let guest = Guest::move_in(reactor, host.handle()).expect("moved in");
        Self { host, guest, handle }
    }

    /// Dispatches, asleep, until `done`.
    fn wait(&mut self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            self.host.dispatch(Duration::from_secs(30), &mut ()).expect("a dispatch");
            assert!(begun.elapsed() < Duration::from_secs(30), "the host sleeps on: {what}");
        }
    }
}

/// Sources, timers and calls of other threads reach the guest while its host sleeps.
#[test]
fn a_guests_sources_timers_and_calls_run_while_calloop_sleeps() {
    let mut scene = Scene::new(Config::default());
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let steps = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&steps);
    scene.handle.spawn_detached(async move {
        let mut text = [0; 8];
        let n = ours.read(&mut text).await.expect("a message");
        assert_eq!(&text[..n], b"called");
        noted.borrow_mut().push("read");
        sleep(Duration::from_millis(5)).await;
        noted.borrow_mut().push("slept");
    });
    scene.host.dispatch(Some(Duration::ZERO), &mut ()).expect("a dispatch"); // it waits
    let remote = scene.handle.remote();
    let theirs = theirs.into_std();
    std::thread::spawn(move || {
        let call = move |_: &Handle| {
            std::io::Write::write_all(&mut &theirs, b"called").expect("room");
        };
        remote.call(call).expect("the guest lives");
    });
    scene.wait("the guest", || steps.borrow().len() == 2);
    assert_eq!(*steps.borrow(), ["read", "slept"]);
    let turns = scene.guest.turns();
    assert!(turns < 50, "the host spins: {turns} turns");
}

/// The host's own callbacks give its guest work: a task, and a timer, by one write each time.
#[test]
fn law_09_what_calloops_callbacks_add_calls_the_host_by_one_write() {
    type Add = fn(&Handle, Rc<Cell<bool>>);
    let ways: [Add; 2] = [
        |handle, done| handle.spawn_detached(async move { done.set(true) }),
        |handle, done| {
            handle.after(Duration::from_millis(3), move || done.set(true)).expect("a timer");
        },
    ];
    for add in ways {
        let mut scene = Scene::new(Config::default());
        let done = Rc::new(Cell::new(false));
        let (handle, flag) = (scene.handle.clone(), Rc::clone(&done));
        let before = handle.stats().eventfd_writes;
        let later = Timer::from_duration(Duration::from_millis(5));
        let give = move |_, _: &mut (), _: &mut ()| {
            add(&handle, Rc::clone(&flag));
            TimeoutAction::Drop
        };
        scene.host.handle().insert_source(later, give).expect("a timer");
        scene.wait("what was added", || done.get());
        assert_eq!(scene.handle.stats().eventfd_writes - before, 1);
    }
}

/// What a turn leaves over brings calloop back: tasks beyond the budget, events beyond the batch.
#[test]
fn law_07_what_a_turn_leaves_over_is_served() {
    let mut config = Config::default();
    config.events = 2;
    let mut scene = Scene::new(config);
    let (heard, spun) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..32 {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let heard = Rc::clone(&heard);
        scene.handle.spawn_detached(async move {
            theirs.write_all(b"!").await.expect("room");
            yield_now().await;
            heard.set(heard.get() + ours.read(&mut [0; 8]).await.expect("a byte"));
        });
    }
    let count = Rc::clone(&spun);
    scene.handle.spawn_detached(async move {
        for _ in 0..1000 {
            yield_now().await;
            count.set(count.get() + 1);
        }
    });
    scene.wait("leftovers", || heard.get() == 32 && spun.get() == 1000);
}

/// An idle guest costs its host nothing.
#[test]
fn law_08_an_idle_guest_does_not_turn() {
    let mut scene = Scene::new(Config::default());
    scene.handle.spawn_detached(std::future::pending());
    scene.host.dispatch(Some(Duration::ZERO), &mut ()).expect("a dispatch");
    let before = scene.guest.turns();
    scene.host.dispatch(Some(Duration::from_millis(50)), &mut ()).expect("a dispatch");
    assert_eq!(scene.guest.turns(), before);
}

/// The reverse: calloop's epoll is a level-triggered source of Squall. Its own timers are absent:
/// it does not say when the next one is due.
#[test]
fn calloop_turns_inside_squall_when_its_descriptor_is_readable() {
    let mut guest: EventLoop<'static, u32> = EventLoop::try_new().expect("an event loop");
    let (sender, channel) = calloop::channel::channel();
    guest
        .handle()
        .insert_source(channel, |event, (), sum: &mut u32| {
            if let calloop::channel::Event::Msg(n) = event {
                *sum += n;
            }
        })
        .map_err(|error| error.error)
        .expect("a channel");
    let mut host = Reactor::new().expect("a reactor");
    let (handle, sum) = (host.handle(), Rc::new(Cell::new(0)));
    let fd = guest.as_fd().try_clone_to_owned().expect("a duplicate");
    let (stop, total) = (handle.clone(), Rc::clone(&sum));
    let turn = move |_: &_, _| {
        let mut got = 0;
        guest.dispatch(Some(Duration::ZERO), &mut got).expect("a dispatch");
        total.set(total.get() + got);
        if total.get() == 5050 {
            stop.stop();
        }
        Next::Wait.progress(true)
    };
    let registered = handle.register(fd, Interest::READABLE, Trigger::Level, turn);
    let _registration = registered.map_err(|(error, _)| error).expect("an epoll is pollable");
    let send = std::thread::spawn(move || {
        for n in 1..=100 {
            sender.send(n).expect("a receiver");
            std::thread::yield_now();
        }
    });
    host.run().expect("nothing runs here yet");
    send.join().expect("no panic");
    assert_eq!(sum.get(), 5050);
    assert!(host.stats().turns < 1000, "the host spins");
}
