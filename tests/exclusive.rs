//! EPOLLEXCLUSIVE: a connection to a listener that four processes watch wakes one of them.
//!
//! A wake-up is counted where it cannot be missed: a process that was woken, whatever it then found,
//! goes back to sleep, and that is one voluntary context switch (proc_pid_status(5)).

mod alone;
mod kernel;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::time::Duration;

use alone::{Case, Exit, fork, kill, status, wait};
use squall_reactor::{Error, Interest, Next, Reactor, Trigger, net};

const WORKERS: usize = 4;
const CONNECTIONS: u64 = 50;
/// In the mask that the kernel shows; so is EPOLLIN (1).
const EPOLLEXCLUSIVE: u32 = 1 << 28;

fn main() -> ExitCode {
    let cases: &[Case] = &[
        ("a_connection_wakes_one_of_four_callbacks", a_connection_wakes_one_of_four_callbacks),
        ("a_connection_wakes_one_of_four_tasks", a_connection_wakes_one_of_four_tasks),
        ("without_it_a_connection_wakes_all_four", without_it_a_connection_wakes_all_four),
        ("a_change_of_interest_leaves_and_enters", a_change_of_interest_leaves_and_enters),
        ("a_pause_and_its_end_keep_it_exclusive", a_pause_and_its_end_keep_it_exclusive),
        ("what_the_kernel_refuses_is_refused_with_words", what_the_kernel_refuses_is_refused),
    ];
    alone::run(cases)
}

fn a_connection_wakes_one_of_four_callbacks() {
    let woken = switches(|listener| call_back(listener, Interest::ACCEPT_EXCLUSIVE));
    assert!(woken < 2 * CONNECTIONS, "{woken} wake-ups for {CONNECTIONS} connections");
}

fn a_connection_wakes_one_of_four_tasks() {
    let woken = switches(|listener| {
        let mut reactor = Reactor::new().expect("a reactor");
        let serve = async {
            let listener = net::TcpListener::from_std_exclusive(listener).expect("nonblocking");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.try_write(b"x").expect("an empty socket");
            }
        };
        reactor.block_on(serve).expect("nothing runs here yet");
    });
    assert!(woken < 2 * CONNECTIONS, "{woken} wake-ups for {CONNECTIONS} connections");
}

// That the two above can fail.
fn without_it_a_connection_wakes_all_four() {
    let woken = switches(|listener| call_back(listener, Interest::READABLE));
    assert!(woken > 3 * CONNECTIONS, "{woken} wake-ups for {CONNECTIONS} connections");
}

fn call_back(listener: TcpListener, interest: Interest) {
    let mut reactor = Reactor::new().expect("a reactor");
    let accept = |listener: &TcpListener, _| {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.write_all(b"x").expect("an empty socket");
        }
        Next::Wait.progress(true)
    };
    let registered = reactor.handle().register(listener, interest, Trigger::Level, accept);
    let _registration = registered.expect("a listener is pollable");
    reactor.run().expect("nothing runs here yet");
}

/// How often four workers that serve one listener were woken by `CONNECTIONS` connections, each
/// made while all were asleep.
fn switches(serve: impl Fn(TcpListener)) -> u64 {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            fork(|| {
                serve(listener.try_clone().expect("a duplicate"));
                0
            })
        })
        .collect();
    let names: Vec<String> = workers.iter().map(ToString::to_string).collect();
    let connect = || {
        let mut stream = TcpStream::connect(address).expect("a listener");
        stream.read_exact(&mut [0]).expect("a worker answers");
        drop(stream);
        names.iter().for_each(|name| await_sleep(name));
    };
    names.iter().for_each(|name| await_sleep(name));
    connect();
    let before: u64 = names.iter().map(|name| voluntary(name)).sum();
    (0..CONNECTIONS).for_each(|_| connect());
    let after: u64 = names.iter().map(|name| voluntary(name)).sum();
    for worker in workers {
        assert!(kill(worker, libc::SIGKILL));
        assert_eq!(wait(worker), Exit::Signal(libc::SIGKILL));
    }
    after - before
}

/// Until the worker waits in its epoll; the kernel names the function that a process sleeps in only
/// to root, so: asleep, with an epoll open.
fn await_sleep(pid: &str) {
    let has_epoll = || {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("our child");
        let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.into_iter().any(|link| link.to_string_lossy().contains("eventpoll"))
    };
    while !(status(pid, "State:").starts_with('S') && has_epoll()) {
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn voluntary(pid: &str) -> u64 {
    status(pid, "voluntary_ctxt_switches:").parse().expect("a number")
}

/// Broken by an EPOLL_CTL_MOD, which the kernel refuses for such an entry, and to make one.
fn a_change_of_interest_leaves_and_enters() {
    let reactor = Reactor::new().expect("a reactor");
    let epoll = reactor.as_raw_fd();
    for trigger in [Trigger::Edge, Trigger::Level] {
        let listener = listener();
        let fd = listener.as_raw_fd();
        let exclusive = Interest::ACCEPT_EXCLUSIVE;
        let registered = reactor.handle().register(listener, exclusive, trigger, |_, _| Next::Wait);
        let registration = registered.expect("a listener is pollable");
        let is_exclusive = || mask(epoll, fd).map(|mask| mask & EPOLLEXCLUSIVE != 0);
        assert_eq!(is_exclusive(), Some(true));
        for (interest, expected) in [
            (Interest::READABLE, Some(false)),
            (exclusive, Some(true)),
            (Interest::NONE, None),
            (exclusive, Some(true)),
            (exclusive, Some(true)),
        ] {
            registration.set_interest(interest).expect("it lives");
            assert_eq!(is_exclusive(), expected, "{interest:?} {trigger:?}");
        }
    }
}

fn a_pause_and_its_end_keep_it_exclusive() {
    let mut reactor = Reactor::new().expect("a reactor");
    let listener = listener();
    let (address, fd) = (listener.local_addr().expect("an address"), listener.as_raw_fd());
    let interest = Interest::ACCEPT_EXCLUSIVE;
    let registered =
        reactor.handle().register(listener, interest, Trigger::Level, |_, _| Next::Pause);
    let registration = registered.expect("a listener is pollable");
    let _client = TcpStream::connect(address).expect("a listener");
    while reactor.turn(Some(Duration::from_secs(1))).expect("a turn") == 0 {}
    assert_eq!(mask(reactor.as_raw_fd(), fd), None, "paused");
    registration.resume().expect("it lives");
    let mask = mask(reactor.as_raw_fd(), fd).expect("resumed");
    assert_ne!(mask & EPOLLEXCLUSIVE, 0);
    assert_eq!(reactor.turn(Some(Duration::from_secs(60))).expect("a turn"), 1, "told again");
}

fn what_the_kernel_refuses_is_refused() {
    let reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let with_end = Interest::ACCEPT_EXCLUSIVE | Interest::READABLE;
    for (interest, trigger) in [
        (Interest::ACCEPT_EXCLUSIVE, Trigger::Oneshot),
        (with_end, Trigger::Level),
        (Interest::ACCEPT_EXCLUSIVE | Interest::PRIORITY, Trigger::Edge),
    ] {
        let refused = handle.register(listener(), interest, trigger, |_, _| Next::Wait);
        assert!(matches!(refused, Err((Error::Argument(_), _))), "{interest:?} {trigger:?}");
    }
    let registered =
        handle.register(listener(), Interest::READABLE, Trigger::Oneshot, |_, _| Next::Wait);
    let registration = registered.expect("a listener is pollable");
    for interest in [Interest::ACCEPT_EXCLUSIVE, with_end] {
        let refused = registration.set_interest(interest);
        assert!(matches!(refused, Err(Error::Argument(_))), "{interest:?}");
    }
    // It was left as it was.
    let fd = registration.source().as_raw_fd();
    assert_eq!(mask(reactor.as_raw_fd(), fd).expect("it is registered") & 1, 1);
}

/// The mask of a descriptor in an epoll, as fdinfo shows it; none if it is not there.
fn mask(epoll: RawFd, fd: RawFd) -> Option<u32> {
    let list = kernel::epoll_list(epoll);
    let line = list.iter().find(|line| {
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()) == Some(fd)
    })?;
    let mask = line.split("events:").nth(1)?.split_whitespace().next()?;
    Some(u32::from_str_radix(mask, 16).expect("a hexadecimal number"))
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.set_nonblocking(true).expect("nonblocking mode");
    listener
}
