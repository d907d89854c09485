//! Law 5, oneshot: reported once, then silent, hang-ups included, until it is armed again.
//!
//! Next: `laws_07_fairness`.

mod sockets;
mod turning;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use sockets::tcp_pair;
use squall_reactor::{Interest, Next, Reactor, Registration, Trigger};
use turning::{turn_at_once, turn_until};

/// While disarmed a flood is not even an event, so it wakes nobody.
#[test]
fn law_05_a_flood_while_disarmed_wakes_nobody() {
    let (mut reactor, _registration, mut theirs, calls) = fired(Next::Wait);
    let before = reactor.stats();
    for _ in 0..200 {
        theirs.write_all(b"more").unwrap();
        assert_eq!(turn_at_once(&mut reactor, 1), 0);
    }
    reactor.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(reactor.stats().events, before.events);
    assert_eq!(calls.get(), 1);
}

/// FIN and RST of a disarmed source are silent too, and are reported when it is armed.
#[test]
fn law_05_a_hang_up_while_disarmed_is_silent_until_the_source_is_armed() {
    let (mut reactor, registration, theirs, calls) = fired(Next::Wait);
    drop(theirs);
    assert_eq!(turn_at_once(&mut reactor, 100), 0);
    reactor.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(calls.get(), 1);
    registration.rearm().unwrap();
    turn_until(&mut reactor, "the end", || calls.get() == 2);
}

/// To arm a source that is ready reports it at once, and exactly once, however often one asks.
#[test]
fn law_05_arming_a_source_that_is_ready_reports_it_once() {
    let (mut reactor, registration, _theirs, calls) = fired(Next::Wait);
    registration.rearm().unwrap();
    registration.rearm().unwrap();
    assert_eq!(turn_at_once(&mut reactor, 100), 1);
    assert_eq!(calls.get(), 2);
    registration.rearm().unwrap();
    assert_eq!(turn_at_once(&mut reactor, 100), 1);
    assert_eq!(calls.get(), 3);
}

/// To arm a source that is drained reports it at the next arrival.
#[test]
fn law_05_arming_a_source_that_is_drained_reports_the_next_arrival() {
    let (mut reactor, registration, mut theirs, calls) = fired(Next::Wait);
    let mut ours = registration.source();
    while let Ok(1..) = ours.read(&mut [0; 64]) {}
    registration.rearm().unwrap();
    assert_eq!(turn_at_once(&mut reactor, 100), 0);
    theirs.write_all(b"more").unwrap();
    turn_until(&mut reactor, "the arrival", || calls.get() == 2);
    assert_eq!(turn_at_once(&mut reactor, 100), 0);
}

/// `Again` arms: what is left is reported in the next turn, and then for every call.
#[test]
fn law_05_again_arms() {
    let (mut reactor, _registration, _theirs, calls) = fired(Next::Again);
    assert_eq!(turn_at_once(&mut reactor, 50), 50);
    assert_eq!(calls.get(), 51);
}

/// A pause disarms, and `resume` arms.
#[test]
fn law_05_a_pause_stays_silent_until_resume() {
    let (mut reactor, registration, mut theirs, calls) = fired(Next::Pause);
    theirs.write_all(b"more").unwrap();
    assert_eq!(turn_at_once(&mut reactor, 100), 0);
    registration.resume().unwrap();
    turn_until(&mut reactor, "the report", || calls.get() == 2);
}

/// To arm within the callback is not undone by its answer.
#[test]
fn law_05_a_callback_may_arm_its_own_registration() {
    for next in [Next::Wait, Next::Pause, Next::Again] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        let (calls, handle) = (Rc::new(Cell::new(0)), reactor.handle());
        let count = Rc::clone(&calls);
        let registration = reactor.handle().register(
            ours,
            Interest::READABLE,
            Trigger::Oneshot,
            move |_: &TcpStream, ready| {
                count.set(count.get() + 1);
                handle.resume(ready.token()).unwrap();
                next
            },
        );
        let _registration = registration.unwrap();
        theirs.write_all(b"unread").unwrap();
        turn_until(&mut reactor, "three calls", || calls.get() >= 3);
    }
}

/// Two sources fire in one turn, and the callback of the first changes the interest of the second,
/// which is on its way to be called. The kernel has disarmed it, so a report that is forgotten
/// there is lost for ever.
#[test]
fn law_05_an_interest_changed_between_report_and_call_loses_nothing() {
    for interest in [Interest::BOTH, Interest::WRITABLE] {
        let mut reactor = Reactor::new().unwrap();
        let (neighbours, calls) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        let mut registrations = Vec::new();
        let mut peers = Vec::new();
        for i in 0..2 {
            let (ours, theirs) = tcp_pair();
            let (tokens, count) = (Rc::clone(&neighbours), Rc::clone(&calls));
            let handle = reactor.handle();
            let registration = reactor.handle().register(
                ours,
                Interest::READABLE,
                Trigger::Oneshot,
                move |_: &TcpStream, _| {
                    count.set(count.get() + 1);
                    if count.get() == 1 {
                        let neighbour = tokens.borrow()[1 - i];
                        handle.set_interest(neighbour, interest).unwrap();
                    }
                    Next::Wait
                },
            );
            let registration = registration.unwrap();
            neighbours.borrow_mut().push(registration.token());
            registrations.push(registration);
            peers.push(theirs);
        }
        for peer in &mut peers {
            peer.write_all(b"unread").unwrap();
        }
        turn_until(&mut reactor, "both calls", || calls.get() == 2);
        assert_eq!(turn_at_once(&mut reactor, 100), 0, "both are disarmed");
        assert_eq!(calls.get(), 2);
    }
}

/// No interest and back: armed means armed, disarmed means disarmed.
#[test]
fn law_05_losing_and_finding_interest_does_not_call_a_disarmed_source() {
    let (mut reactor, registration, mut theirs, calls) = fired(Next::Wait);
    registration.set_interest(Interest::NONE).unwrap();
    registration.set_interest(Interest::READABLE).unwrap();
    theirs.write_all(b"more").unwrap();
    turn_at_once(&mut reactor, 100);
    assert_eq!(calls.get(), 1, "nobody has armed it");
    registration.rearm().unwrap();
    turn_until(&mut reactor, "the report", || calls.get() == 2);
}

/// A oneshot source with unread bytes whose callback was called once and said `next`.
fn fired(next: Next) -> (Reactor, Registration<TcpStream>, TcpStream, Rc<Cell<u32>>) {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Oneshot,
        move |_: &TcpStream, _| {
            count.set(count.get() + 1);
            next
        },
    );
    theirs.write_all(b"unread").unwrap();
    turn_until(&mut reactor, "the first report", || calls.get() == 1);
    (reactor, registration.unwrap(), theirs, calls)
}
