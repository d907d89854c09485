//! A reactor inside another loop: its descriptor, its deadline, and turns that do not sleep.
//!
//! The host here is a second Squall reactor; what it needs to know of its guest is the same for any
//! other loop.

use std::cell::RefCell;
use std::future::pending;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use squall_reactor::{Fd, Handle, Interest, Next, Reactor, Side, Timer, Trigger, sleep};

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
