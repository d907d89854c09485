//! Law 12, nothing spins unseen: reports that lead to nothing are counted, and others are not.
//!
//! What is judged is progress, never a rate: a busy source must not be named.

mod turning;

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::time::Duration;

use squall_reactor::net::UnixStream;
use squall_reactor::{Config, Interest, Io, Next, Reactor, Side, Trigger, sleep, yield_now};
use turning::{turn_at_once, turn_until};

const THRESHOLD: u32 = 10;

/// A callback that says `progress(true)`, however often it is called, never counts as spinning.
#[test]
fn law_12_a_callback_that_makes_progress_is_not_named_under_load() {
    let mut reactor = reactor();
    let (ours, mut theirs) = pair();
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Level,
        |mut source: &StdUnixStream, _| {
            let n = source.read(&mut [0; 16]).unwrap();
            Next::Wait.progress(n > 0)
        },
    );
    let _registration = registration.unwrap();
    for _ in 0..1000 {
        theirs.write_all(b"work").unwrap();
        turn_at_once(&mut reactor, 1);
    }
    let stats = reactor.stats();
    assert_eq!((stats.progress, stats.no_progress, stats.spins), (1000, 0, 0));
}

/// The crate's own sockets say it by themselves, also in a callback.
#[test]
fn law_12_own_sockets_count_progress_in_a_callback() {
    let mut reactor = reactor();
    let (ours, mut theirs) = pair();
    let registration = reactor.handle().register(
        UnixStream::from_std(ours).unwrap(),
        Interest::READABLE,
        Trigger::Level,
        |source: &UnixStream, _| {
            source.try_read(&mut [0; 16]).unwrap();
            Next::Wait
        },
    );
    let _registration = registration.map_err(|(error, _)| error).unwrap();
    for _ in 0..100 {
        theirs.write_all(b"work").unwrap();
        turn_at_once(&mut reactor, 1);
    }
    let stats = reactor.stats();
    assert_eq!((stats.progress, stats.no_progress, stats.spins), (100, 0, 0));
}

/// A callback that achieves nothing is named once for each threshold's worth of reports; a single
/// success begins the count anew.
#[test]
fn law_12_a_callback_that_achieves_nothing_is_named_once_a_threshold() {
    let mut reactor = reactor();
    let (ours, mut theirs) = pair();
    let fruitful = Rc::new(Cell::new(false));
    let progress = Rc::clone(&fruitful);
    let registration =
        reactor.handle().register(ours, Interest::READABLE, Trigger::Level, move |_, _| {
            Next::Wait.progress(progress.take())
        });
    let _registration = registration.unwrap();
    theirs.write_all(b"unread").unwrap();
    let threshold = u64::from(THRESHOLD);
    turn_at_once(&mut reactor, THRESHOLD as usize - 1);
    assert_eq!(reactor.stats().spins, 0);
    fruitful.set(true);
    turn_at_once(&mut reactor, THRESHOLD as usize);
    assert_eq!(reactor.stats().spins, 0, "one success among them");
    turn_at_once(&mut reactor, 1);
    assert_eq!(reactor.stats().spins, 1);
    turn_at_once(&mut reactor, 2 * THRESHOLD as usize);
    let stats = reactor.stats();
    assert_eq!((stats.spins, stats.progress), (3, 1));
    assert_eq!(stats.no_progress, 4 * threshold - 1);
}

/// A callback that ends its own registration after it has achieved something has achieved something.
#[test]
fn law_12_the_last_call_of_a_registration_counts() {
    for by_answer in [true, false] {
        let mut reactor = reactor();
        let (ours, mut theirs) = pair();
        let (done, handle) = (Rc::new(Cell::new(false)), reactor.handle());
        let end = Rc::clone(&done);
        let registration =
            reactor.handle().register(ours, Interest::READABLE, Trigger::Edge, move |_, ready| {
                end.set(true);
                let next = if by_answer {
                    Next::Done
                } else {
                    assert!(handle.deregister(ready.token()).unwrap());
                    Next::Wait
                };
                next.progress(true)
            });
        registration.unwrap().detach();
        let writer = std::thread::spawn(move || {
            theirs.write_all(b"work").unwrap();
            theirs
        });
        turn_until(&mut reactor, "the call", || done.get());
        writer.join().unwrap();
        let stats = reactor.stats();
        assert_eq!((stats.progress, stats.idle_wakeups), (1, 0), "by_answer {by_answer}");
    }
}

/// Tasks: a report that led to bytes is progress, and one whose reader found nothing, because
/// somebody else was quicker, is not: the wake-ups of a thundering herd.
#[test]
fn law_12_a_task_that_is_woken_for_nothing_is_counted_and_named() {
    let mut reactor = reactor();
    let (ours, mut theirs) = pair();
    let (mut quicker, read) = (ours.try_clone().unwrap(), Rc::new(Cell::new(0)));
    let (count, ours) = (Rc::clone(&read), Io::new(ours, Interest::READABLE));
    reactor.handle().spawn_detached(async move {
        loop {
            let n = ours.with(Side::Read, |mut source| source.read(&mut [0; 16])).await.unwrap();
            count.set(count.get() + n);
        }
    });
    turn_at_once(&mut reactor, 2);
    for i in 1..=100 {
        theirs.write_all(b"x").unwrap();
        turn_until(&mut reactor, "the byte", || read.get() == i);
    }
    let fed = reactor.stats();
    assert_eq!((fed.progress, fed.no_progress, fed.spins), (100, 0, 0));
    // It stands in the queue already when the report comes, so it is before the reader.
    reactor.handle().spawn_detached(async move {
        loop {
            let _ = quicker.read(&mut [0; 16]);
            yield_now().await;
        }
    });
    turn_at_once(&mut reactor, 1);
    let rounds = 5 * THRESHOLD;
    for _ in 0..rounds {
        theirs.write_all(b"x").unwrap();
        assert_eq!(turn_at_once(&mut reactor, 1), 1);
    }
    let herd = reactor.stats();
    assert_eq!(read.get(), 100, "the other one was quicker");
    assert_eq!(herd.progress, fed.progress);
    // A report is judged when the next one comes: the first was open, the last one still is.
    let judged = u64::from(rounds - 1);
    assert_eq!((herd.no_progress, herd.spins), (judged, judged / u64::from(THRESHOLD)));
}

/// What `block_on`'s own future achieves counts for the wake-up that led to it.
#[test]
fn law_12_a_wake_up_that_feeds_the_future_of_block_on_is_not_idle() {
    let mut reactor = reactor();
    let (ours, mut theirs) = pair();
    let ours = UnixStream::from_std(ours).unwrap();
    let (begin, begun) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        while begun.recv().is_ok() {
            // Long enough for the loop to fall asleep; if it does not, it has one wake-up less.
            std::thread::sleep(Duration::from_millis(2));
            theirs.write_all(b"x").unwrap();
        }
    });
    reactor
        .block_on(async {
            // Registered before the count begins.
            std::future::poll_fn(|cx| {
                assert!(ours.poll_read(cx, &mut [0]).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            sleep(Duration::from_millis(1)).await;
        })
        .unwrap();
    let before = reactor.stats();
    reactor
        .block_on(async {
            for _ in 0..50 {
                begin.send(()).unwrap();
                assert_eq!(ours.read(&mut [0; 16]).await.unwrap(), 1);
            }
        })
        .unwrap();
    let stats = reactor.stats();
    assert!(stats.wakeups > before.wakeups);
    assert_eq!(stats.idle_wakeups, before.idle_wakeups, "of {} wake-ups", stats.wakeups);
    drop(begin);
    writer.join().unwrap();
}

/// A wake-up after which nothing was achieved is idle; one for a timer or a remote call is not.
#[test]
fn law_12_only_wake_ups_for_nothing_are_idle() {
    let mut reactor = reactor();
    let (ours, mut theirs) = pair();
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Level,
        |_: &StdUnixStream, _| Next::Wait,
    );
    let registration = registration.unwrap();
    reactor.block_on(sleep(Duration::from_millis(2))).unwrap();
    let remote = reactor.remote();
    let caller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(2));
        remote.stop().unwrap();
    });
    reactor.run().unwrap();
    caller.join().unwrap();
    assert_eq!(reactor.stats().idle_wakeups, 0);
    theirs.write_all(b"unread").unwrap();
    for _ in 0..7 {
        reactor.turn(None).unwrap();
    }
    assert_eq!(reactor.stats().idle_wakeups, 7);
    drop(registration);
}

fn reactor() -> Reactor {
    let mut config = Config::default();
    config.spin_threshold = THRESHOLD;
    Reactor::builder().config(config).build().unwrap()
}

fn pair() -> (StdUnixStream, StdUnixStream) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}
