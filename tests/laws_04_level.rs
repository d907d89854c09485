//! Law 4, level: a source is reported in every turn in which it is ready, and in no other.
//!
//! The oracle is poll(2), asked about the same descriptors just before each turn. Next:
//! `laws_05_oneshot`.

mod turning;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use squall_reactor::{Config, Interest, Next, Reactor, Readiness, Registration, Trigger};
use turning::{turn_at_once, turn_until};

const SOURCES: usize = 24;

/// Random operations on 24 sockets, by their owner, by the peer, and by somebody else who reads from
/// the same socket: every turn must report exactly what poll(2) says.
#[test]
fn law_04_every_turn_reports_what_poll_says_and_nothing_else() {
    for seed in 1..=4 {
        let mut random = Random(seed);
        let mut reactor = Reactor::new().unwrap();
        let reports: Reports = Rc::default();
        let answer = Rc::new(Cell::new(Next::Wait));
        let mut sources: Vec<_> =
            (0..SOURCES).map(|i| Watched::new(&reactor, i, &reports, &answer)).collect();
        let (mut reported, mut silent) = (0, 0);
        for turn in 0..2000 {
            for _ in 0..random.below(4) {
                let source = random.below(SOURCES);
                sources[source].disturb(&mut random);
            }
            answer.set(if random.below(2) == 0 { Next::Wait } else { Next::Again });
            let expected: HashMap<_, _> = sources
                .iter()
                .enumerate()
                .filter_map(|(i, source)| Some((i, source.poll()?)))
                .collect();
            reports.borrow_mut().clear();
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(*reports.borrow(), expected, "seed {seed}, turn {turn}");
            reported += expected.len();
            silent += SOURCES - expected.len();
        }
        assert!(reported > 1000 && silent > 1000, "{reported} reports, {silent} silences");
    }
}

/// A pause masks: nothing is reported, whatever comes, and the epoll does not list it.
#[test]
fn law_04_a_paused_source_is_out_of_the_epoll_until_it_is_resumed() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let fd = ours.as_raw_fd();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Level,
        move |_: &UnixStream, _| {
            count.set(count.get() + 1);
            Next::Pause
        },
    );
    let registration = registration.unwrap();
    assert!(epoll_lists(&reactor, fd));
    theirs.write_all(b"unread").unwrap();
    turn_until(&mut reactor, "the report", || calls.get() == 1);
    assert!(!epoll_lists(&reactor, fd));
    theirs.write_all(b"more").unwrap();
    drop(theirs);
    assert_eq!(turn_at_once(&mut reactor, 100), 0);
    registration.resume().unwrap();
    assert!(epoll_lists(&reactor, fd));
    turn_until(&mut reactor, "the report after the pause", || calls.get() == 2);
}

/// What is not drained is reported in every turn; a law 12 counter sees that it leads to nothing.
#[test]
fn law_04_a_source_that_is_never_drained_is_reported_in_every_turn_and_counted_as_spinning() {
    let mut config = Config::default();
    config.spin_threshold = 50;
    let mut reactor = Reactor::builder().config(config).build().unwrap();
    let (ours, mut theirs) = pair();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Level,
        move |_: &UnixStream, ready| {
            assert_eq!(ready.readiness(), Readiness::READ);
            count.set(count.get() + 1);
            Next::Wait
        },
    );
    let _registration = registration.unwrap();
    theirs.write_all(b"unread").unwrap();
    assert_eq!(turn_at_once(&mut reactor, 100), 100);
    assert_eq!(calls.get(), 100);
    assert_eq!((reactor.stats().spins, reactor.stats().no_progress), (2, 100));
}

/// A mask of 0 still reports a hang-up for ever, so no interest means out of the epoll.
#[test]
fn law_04_no_interest_and_a_peer_that_has_gone_wake_nobody() {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::Oneshot] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, theirs) = pair();
        let fd = ours.as_raw_fd();
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        let registration =
            reactor.handle().register(ours, Interest::READABLE, trigger, move |_, ready| {
                assert!(ready.is_hung_up());
                count.set(count.get() + 1);
                Next::Wait
            });
        let registration = registration.unwrap();
        assert!(epoll_lists(&reactor, fd));
        registration.set_interest(Interest::NONE).unwrap();
        assert!(!epoll_lists(&reactor, fd));
        drop(theirs);
        assert_eq!(turn_at_once(&mut reactor, 100), 0, "{trigger:?}");
        assert_eq!(calls.get(), 0);
        registration.set_interest(Interest::READABLE).unwrap();
        assert!(epoll_lists(&reactor, fd));
        turn_until(&mut reactor, "the hang-up", || calls.get() == 1);
        registration.set_interest(Interest::NONE).unwrap();
        assert_eq!(turn_at_once(&mut reactor, 100), 0, "{trigger:?}");
        drop(registration);
        assert!(!epoll_lists(&reactor, fd));
    }
}

/// From the callback itself, and whatever it answers: no interest is no report.
#[test]
fn law_04_a_callback_that_loses_interest_is_not_called_again() {
    for next in [Next::Wait, Next::Again, Next::Pause] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, theirs) = pair();
        let fd = ours.as_raw_fd();
        let (calls, handle) = (Rc::new(Cell::new(0)), reactor.handle());
        let count = Rc::clone(&calls);
        let registration = reactor.handle().register(
            ours,
            Interest::READABLE,
            Trigger::Level,
            move |_: &UnixStream, ready| {
                count.set(count.get() + 1);
                handle.set_interest(ready.token(), Interest::NONE).unwrap();
                next
            },
        );
        let registration = registration.unwrap();
        drop(theirs);
        turn_until(&mut reactor, "the hang-up", || calls.get() == 1);
        assert_eq!(turn_at_once(&mut reactor, 100), 0, "{next:?}");
        assert_eq!(calls.get(), 1);
        assert!(!epoll_lists(&reactor, fd));
        registration.resume().unwrap();
        assert_eq!(turn_at_once(&mut reactor, 100), 0, "{next:?}, resumed");
        registration.set_interest(Interest::READABLE).unwrap();
        turn_until(&mut reactor, "the hang-up again", || calls.get() == 2);
    }
}

/// A half-closed peer is readable for ever: reported while reading is asked for, and not when only
/// writing is, or nothing.
#[test]
fn law_04_a_half_closed_peer_is_reported_while_reading_is_asked_for() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, theirs) = pair();
    let last = Rc::new(Cell::new(Readiness::NONE));
    let seen = Rc::clone(&last);
    let registration =
        reactor.handle().register(ours, Interest::READABLE, Trigger::Level, move |_, ready| {
            seen.set(ready.readiness());
            Next::Wait
        });
    let registration = registration.unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    assert_eq!(turn_at_once(&mut reactor, 20), 20);
    assert_eq!(last.get(), Readiness::READ | Readiness::READ_CLOSED);
    registration.set_interest(Interest::WRITABLE).unwrap();
    assert_eq!(turn_at_once(&mut reactor, 20), 20);
    assert_eq!(last.get(), Readiness::WRITE);
    registration.set_interest(Interest::NONE).unwrap();
    assert_eq!(turn_at_once(&mut reactor, 20), 0);
}

/// Under edge triggering a changed interest makes the kernel say afresh what is ready.
#[test]
fn law_04_a_changed_interest_is_reported_afresh_under_every_trigger() {
    for (trigger, next) in [
        (Trigger::Level, Next::Pause),
        (Trigger::Edge, Next::Wait),
        (Trigger::Edge, Next::Pause),
        (Trigger::Oneshot, Next::Pause),
    ] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = pair();
        let last = Rc::new(Cell::new(Readiness::NONE));
        let seen = Rc::clone(&last);
        let registration =
            reactor.handle().register(ours, Interest::READABLE, trigger, move |_, ready| {
                seen.set(ready.readiness());
                next
            });
        let registration = registration.unwrap();
        theirs.write_all(b"unread").unwrap();
        turn_until(&mut reactor, "READ", || last.get() == Readiness::READ);
        registration.set_interest(Interest::WRITABLE).unwrap();
        registration.resume().unwrap();
        turn_until(&mut reactor, "WRITE", || last.get() != Readiness::READ);
        assert_eq!(last.get(), Readiness::WRITE, "{trigger:?}, {next:?}");
        registration.set_interest(Interest::BOTH).unwrap();
        registration.resume().unwrap();
        turn_until(&mut reactor, "both", || last.get() == Readiness::READ | Readiness::WRITE);
        assert_eq!(
            theirs.read(&mut [0]).map_err(|e| e.kind()),
            Err(std::io::ErrorKind::WouldBlock)
        );
    }
}

type Reports = Rc<RefCell<HashMap<usize, Readiness>>>;

/// One source, its peer, and what is asked for.
struct Watched {
    registration: Registration<UnixStream>,
    peer: Option<UnixStream>,
    interest: Interest,
}

impl Watched {
    fn new(reactor: &Reactor, index: usize, reports: &Reports, answer: &Rc<Cell<Next>>) -> Self {
        let (ours, peer) = pair();
        let (reports, answer) = (Rc::clone(reports), Rc::clone(answer));
        let interest = Interest::READABLE;
        let callback = move |_: &UnixStream, ready: squall_reactor::Ready| {
            let former = reports.borrow_mut().insert(index, ready.readiness());
            assert_eq!(former, None, "one report a turn");
            answer.get()
        };
        let registration = reactor.handle().register(ours, interest, Trigger::Level, callback);
        Self { registration: registration.unwrap(), peer: Some(peer), interest }
    }

    fn disturb(&mut self, random: &mut Random) {
        let mut buf = [0; 4096];
        let mut ours = self.registration.source();
        match random.below(12) {
            0..=2 => {
                let _ = self.peer.as_mut().map(|peer| peer.write(&buf[..100]));
            }
            3..=5 => {
                let _ = ours.read(&mut buf);
            }
            6 => while let Ok(1..) = ours.write(&buf) {},
            7 => while let Some(Ok(1..)) = self.peer.as_mut().map(|peer| peer.read(&mut buf)) {},
            8 | 9 => {
                let choice = [Interest::NONE, Interest::READABLE, Interest::WRITABLE];
                self.interest = choice.get(random.below(4)).copied().unwrap_or(Interest::BOTH);
                self.registration.set_interest(self.interest).unwrap();
            }
            10 if random.below(8) == 0 => {
                let _ = self.peer.as_ref().map(|peer| peer.shutdown(Shutdown::Write));
            }
            11 if random.below(16) == 0 => self.peer = None,
            _ => {}
        }
    }

    /// What poll(2) says now, in the reactor's words; `None` if nothing.
    fn poll(&self) -> Option<Readiness> {
        if self.interest.is_none() {
            return None;
        }
        let mut events = 0;
        if self.interest.contains(Interest::READABLE) {
            events |= libc::POLLIN | libc::POLLRDHUP;
        }
        if self.interest.contains(Interest::WRITABLE) {
            events |= libc::POLLOUT;
        }
        let fd = self.registration.source().as_raw_fd();
        let mut one = libc::pollfd { fd, events, revents: 0 };
        // SAFETY: one entry, which lives until the call returns.
        let n = unsafe { libc::poll(&raw mut one, 1, 0) };
        assert!(n >= 0);
        let (mut readiness, hup) = (Readiness::NONE, one.revents & libc::POLLHUP != 0);
        for (flag, part) in [
            (libc::POLLIN, Readiness::READ),
            (libc::POLLOUT, Readiness::WRITE),
            (libc::POLLRDHUP, Readiness::READ_CLOSED),
            (libc::POLLERR, Readiness::ERROR),
        ] {
            if one.revents & flag != 0 {
                readiness |= part;
            }
        }
        if hup {
            readiness |= Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        }
        (!readiness.is_empty()).then_some(readiness)
    }
}

/// xorshift64*: the same turns for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// Whether the kernel's list of the reactor's epoll has this descriptor.
fn epoll_lists(reactor: &Reactor, fd: i32) -> bool {
    let path = format!("/proc/self/fdinfo/{}", reactor.as_raw_fd());
    let info = std::fs::read_to_string(path).unwrap();
    info.lines().any(|line| {
        let number = line.strip_prefix("tfd:").and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()) == Some(fd)
    })
}
