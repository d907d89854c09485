//! Law 2, identity: what was meant for yesterday's owner never reaches today's.
//!
//! Within one batch the first callback ends the second source and registers a new one, which gets
//! the same slot and the same descriptor number. The batch still holds a report for both. What must
//! tell them apart is the serial. The same for tasks, timers and tokens that somebody kept. Each
//! test holds `NUMBERS`, because a test beside it would take the descriptor number away.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use squall_reactor::{
    Error, Handle, Interest, Io, Next, Reactor, Registration, Side, Sleep, Token, Trigger, sleep,
    sleep_until, timeout,
};

const TRIGGERS: [Trigger; 3] = [Trigger::Edge, Trigger::Level, Trigger::Oneshot];

/// Breaks if the job that waits in the ready queue is taken for one of the new owner: it would be
/// called with nothing to read.
#[test]
fn law_02_a_report_of_the_same_batch_does_not_reach_the_next_owner_of_slot_and_number() {
    let _numbers = numbers();
    for trigger in TRIGGERS {
        let mut reactor = Reactor::new().unwrap();
        let batch = Batch::of_two(&reactor, trigger, 1);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(batch.calls_to_old.get(), 1, "{trigger:?}: the other one was closed");
        assert_eq!(batch.calls_to_new.get(), 0, "{trigger:?}: the new one has nothing to read");
        assert_eq!(reactor.stats().stale_events, 1, "{trigger:?}");
        assert_eq!(reactor.stats().events, 2, "{trigger:?}");
        batch.assert_new_one_lives(&mut reactor);
    }
}

/// One bit of identity would take the second successor for the first owner (nginx has one).
#[test]
fn law_02_two_reuses_within_the_batch_reach_nobody_either() {
    let _numbers = numbers();
    for trigger in TRIGGERS {
        for times in [2, 3, 4] {
            let mut reactor = Reactor::new().unwrap();
            let batch = Batch::of_two(&reactor, trigger, times);
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(
                (batch.calls_to_old.get(), batch.calls_to_new.get()),
                (1, 0),
                "{trigger:?}, {times} reuses"
            );
            assert_eq!(reactor.stats().stale_events, 1);
            batch.assert_new_one_lives(&mut reactor);
        }
    }
}

#[test]
fn law_02_the_serials_wrap_within_a_batch_and_still_tell_them_apart() {
    let _numbers = numbers();
    for below in 0..6 {
        for trigger in TRIGGERS {
            let builder = Reactor::builder().first_serial(u32::MAX - below);
            let mut reactor = builder.build().unwrap();
            let batch = Batch::of_two(&reactor, trigger, 2);
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(
                (batch.calls_to_old.get(), batch.calls_to_new.get()),
                (1, 0),
                "{trigger:?}, {below} below the wrap"
            );
            assert_eq!(reactor.stats().stale_events, 1);
            batch.assert_new_one_lives(&mut reactor);
        }
    }
}

/// An answer of `Again` leaves a job in the ready queue over the turn's end.
#[test]
fn law_02_a_job_left_over_for_the_next_turn_goes_stale_too() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    let old = register(&reactor.handle(), source, Trigger::Edge, |_| Next::Again);
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), 64, "the budget of a turn");
    let (slot, number) = (slot(old.token()), old.source().as_raw_fd());
    drop((old, peer));
    let calls: Rc<Cell<u32>> = Rc::default();
    let (new, mut peer) = successor(&reactor.handle(), slot, number, Trigger::Edge, &calls);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!((calls.get(), reactor.stats().stale_events), (0, 1));
    peer.write_all(b"x").unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(calls.get(), 1);
    drop(new);
}

/// Breaks if a slot number alone is believed: the late word would reach the new registration.
#[test]
fn law_02_a_token_that_somebody_kept_means_nobody_once_its_registration_has_ended() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (source, _peer) = pair();
    let old = register(&handle, source, Trigger::Level, |_| Next::Wait);
    let (token, number) = (old.token(), old.source().as_raw_fd());
    assert!(handle.deregister(token).unwrap());
    let still_held = old; // its drop is a late word as well
    let calls: Rc<Cell<u32>> = Rc::default();
    let (source, mut peer) = pair();
    let new = register(&handle, source, Trigger::Level, counts_calls(&calls));
    assert_eq!(slot(new.token()), slot(token), "the slot is reused");
    assert_ne!(new.token(), token);

    assert!(matches!(handle.set_interest(token, Interest::NONE), Err(Error::Ended)));
    assert!(matches!(handle.resume(token), Err(Error::Ended)));
    assert!(!handle.deregister(token).unwrap());
    assert!(matches!(still_held.set_interest(Interest::NONE), Err(Error::Ended)));
    assert!(matches!(still_held.rearm(), Err(Error::Ended)));
    assert_eq!(still_held.source().as_raw_fd(), number);
    drop(still_held);
    peer.write_all(b"x").unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(calls.get(), 1, "the new one is untouched");
    drop(new);
}

/// The callback ends itself, registers its successor in its own slot, and then answers: with `Done`
/// the successor would end, with `Again` it would be called, with `Pause` it would fall silent.
#[test]
fn law_02_the_answer_of_a_callback_that_ended_itself_does_not_reach_its_successor() {
    let _numbers = numbers();
    for next in [Next::Wait, Next::Again, Next::Pause, Next::Done] {
        for trigger in TRIGGERS {
            let mut reactor = Reactor::new().unwrap();
            let handle = reactor.handle();
            let (source, mut peer) = pair();
            peer.write_all(b"x").unwrap();
            let calls: Rc<Cell<u32>> = Rc::default();
            let new: Rc<RefCell<Option<_>>> = Rc::default();
            let (own, counted, kept) = (handle.clone(), Rc::clone(&calls), Rc::clone(&new));
            let old = handle.register(
                source,
                Interest::READABLE,
                trigger,
                move |_: &UnixStream, ready| {
                    assert!(own.deregister(ready.token()).unwrap());
                    let (source, peer) = pair();
                    let new = register(&own, source, trigger, counts_calls(&counted));
                    assert_eq!(slot(new.token()), slot(ready.token()));
                    kept.replace(Some((new, peer)));
                    next
                },
            );
            assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), 1);
            assert_eq!(calls.get(), 0, "{next:?} {trigger:?}");
            drop(old);
            let (new, mut peer) = new.take().unwrap();
            peer.write_all(b"x").unwrap();
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(calls.get(), 1, "{next:?} {trigger:?}");
            drop(new);
        }
    }
}

#[test]
fn law_02_a_panic_of_a_callback_that_ended_itself_does_not_end_its_successor() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (source, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    let calls: Rc<Cell<u32>> = Rc::default();
    let new: Rc<RefCell<Option<_>>> = Rc::default();
    let (own, counted, kept) = (handle.clone(), Rc::clone(&calls), Rc::clone(&new));
    let old = handle.register(
        source,
        Interest::READABLE,
        Trigger::Level,
        move |_: &UnixStream, ready| -> Next {
            assert!(own.deregister(ready.token()).unwrap());
            let (source, peer) = pair();
            kept.replace(Some((
                register(&own, source, Trigger::Level, counts_calls(&counted)),
                peer,
            )));
            panic!("on purpose");
        },
    );
    let turn = std::panic::AssertUnwindSafe(|| reactor.turn(Some(Duration::ZERO)));
    assert_eq!(std::panic::catch_unwind(turn).unwrap_err().downcast_ref(), Some(&"on purpose"));
    drop(old);
    let (new, mut peer) = new.take().unwrap();
    peer.write_all(b"x").unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(calls.get(), 1);
    drop(new);
}

/// The same for what tasks wait on: the reader of the old stream is woken by the batch, and the
/// reader of the new one, which lies in the same slot under the same number, is not.
#[test]
fn law_02_a_stream_that_took_over_slot_and_number_is_not_thought_readable() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let polls: Rc<Cell<u32>> = Rc::default();
    let counted = Rc::clone(&polls);
    let (old, mut peer) = pair();
    let number = old.as_raw_fd();
    let (ended, mut peer_of_new) = reactor
        .block_on(async move {
            let old = Io::new(old, Interest::READABLE);
            let read = old.with(Side::Read, |mut source| source.read(&mut [0]));
            assert!(matches!(timeout(Duration::from_millis(1), read).await, Err(Error::TimedOut)));
            peer.write_all(b"x").unwrap();
            let read = old.with(Side::Read, |mut source| source.read(&mut [0; 8])).await;
            assert_eq!(read.unwrap(), 1);
            drop((old, peer));
            let (new, peer) = pair_with_number(number);
            let new = Io::new(new, Interest::READABLE);
            let task = Handle::current()?.spawn(async move {
                new.with(Side::Read, |mut source| {
                    counted.set(counted.get() + 1);
                    source.read(&mut [0; 8])
                })
                .await
            });
            Ok::<_, Error>((task, peer))
        })
        .unwrap()
        .unwrap();
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(polls.get(), 1, "it tried once, and then waits");
    peer_of_new.write_all(b"x").unwrap();
    assert_eq!(reactor.block_on(ended).unwrap().unwrap().unwrap(), 1);
    assert_eq!(polls.get(), 2);
}

// Tasks and timers have slots too.

#[test]
fn law_02_a_late_wake_does_not_poll_the_next_task_in_the_slot() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let kept = Rc::clone(&waker);
    let old = handle.spawn(poll_fn(move |cx| {
        kept.replace(Some(cx.waker().clone()));
        Poll::<()>::Pending
    }));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(old.abort());
    let polls: Rc<Cell<u32>> = Rc::default();
    let new = handle.spawn(counts_polls(&polls));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!((format!("{old:?}").contains("0#"), polls.get()), (true, 1));
    let waker = waker.take().unwrap();
    waker.wake_by_ref(); // by the mailbox
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let woken = waker.clone();
    handle.after(Duration::ZERO, move || woken.wake()).unwrap(); // by the ready queue
    reactor.block_on(sleep(Duration::from_millis(2))).unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap(); // from elsewhere
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(polls.get(), 1);
    assert!(!old.abort() && !new.is_finished(), "an old handle does not abort the new task");
}

#[test]
fn law_02_a_job_of_an_aborted_task_does_not_poll_its_successor_a_second_time() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let polls: Rc<Cell<u32>> = Rc::default();
    let counted = Rc::clone(&polls);
    let handle = reactor.handle();
    let victim: Rc<RefCell<Option<squall_reactor::JoinHandle<()>>>> = Rc::default();
    let aborted = Rc::clone(&victim);
    let spawner = handle.clone();
    handle.spawn_detached(async move {
        assert!(aborted.take().unwrap().abort());
        spawner.spawn_detached(counts_polls(&counted));
    });
    victim.replace(Some(handle.spawn(async { panic!("aborted before its first poll") })));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(polls.get(), 1);
}

#[test]
fn law_02_the_key_of_a_timer_that_is_over_does_not_cancel_its_successor() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let fired: Rc<RefCell<Vec<&str>>> = Rc::default();
    let tell = |what| {
        let fired = Rc::clone(&fired);
        move || fired.borrow_mut().push(what)
    };
    let first = handle.after(Duration::ZERO, tell("first")).unwrap();
    reactor.block_on(sleep(Duration::from_millis(2))).unwrap();
    let second = handle.after(Duration::from_millis(1), tell("second")).unwrap();
    assert!(!handle.cancel(first), "it has fired");
    let third = handle.after(Duration::from_millis(1), tell("third")).unwrap();
    assert!(handle.cancel(third) && !handle.cancel(third));
    handle.after(Duration::from_millis(1), tell("fourth")).unwrap();
    assert!(!handle.cancel(third));
    reactor.block_on(sleep(Duration::from_millis(3))).unwrap();
    assert_eq!(*fired.borrow(), ["first", "second", "fourth"]);
    assert!(!handle.cancel(second));
}

/// Both are due in the same turn, so the second one's job is in the ready queue already.
#[test]
fn law_02_a_timer_that_is_cancelled_by_its_neighbour_of_the_same_turn_does_not_fire() {
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let second: Rc<Cell<Option<squall_reactor::Timer>>> = Rc::default();
    let (cancelled, fired) = (Rc::clone(&second), Rc::new(Cell::new(false)));
    let (cancels, told) = (handle.clone(), Rc::clone(&fired));
    let deadline = std::time::Instant::now();
    handle
        .at(deadline, move || assert!(cancels.cancel(cancelled.take().unwrap()), "not yet fired"))
        .unwrap();
    second.set(Some(handle.at(deadline, move || told.set(true)).unwrap()));
    reactor.block_on(sleep(Duration::from_millis(2))).unwrap();
    assert!(second.get().is_none() && !fired.get());
}

/// Wakers that are not a task's own lie in a table. Breaks if the job of the first one takes out
/// the second: it would be woken early, and not when its own time has come.
#[test]
fn law_02_a_stale_wake_does_not_take_the_next_waker_in_the_slot() {
    struct Wakes(AtomicU32);
    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn arm(deadline: Instant, waker: &Arc<Wakes>) -> Sleep {
        let mut sleep = sleep_until(deadline);
        let waker = Waker::from(Arc::clone(waker));
        assert!(sleep.poll_elapsed(&mut Context::from_waker(&waker)).is_pending());
        sleep
    }
    let _numbers = numbers();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let [first, second] = [0, 0].map(|none| Arc::new(Wakes(AtomicU32::new(none))));
    let sleeps: Rc<RefCell<Option<Sleep>>> = Rc::default();
    let (kept, next) = (Rc::clone(&sleeps), Arc::clone(&second));
    let replace = move || {
        drop(kept.take()); // due too: its job is in the ready queue
        kept.replace(Some(arm(Instant::now() + Duration::from_secs(3600), &next)));
    };
    let (kept, waker) = (Rc::clone(&sleeps), Arc::clone(&first));
    let both = reactor.block_on(async move {
        let deadline = Instant::now() + Duration::from_millis(1);
        handle.at(deadline, replace).unwrap();
        kept.replace(Some(arm(deadline, &waker)));
        sleep_until(deadline).await;
    });
    both.unwrap();
    assert_eq!([&first, &second].map(|wakes| wakes.0.load(Ordering::Relaxed)), [0, 0]);
    assert_eq!(Arc::strong_count(&second), 2, "the second one waits in the table");
    drop(sleeps.take());
    assert_eq!(Arc::strong_count(&second), 1);
}

// What the tests are made of.

/// Two sources that report in one batch. Whichever is called first closes the other, and registers
/// a successor that gets its slot and its descriptor number.
struct Batch {
    calls_to_old: Rc<Cell<u32>>,
    calls_to_new: Rc<Cell<u32>>,
    new: Rc<RefCell<Option<Watched>>>,
    _peers: Vec<UnixStream>,
    _old: Both,
}

/// A registration and its peer.
type Watched = (Registration<UnixStream>, UnixStream);
type Both = Rc<RefCell<[Option<Registration<UnixStream>>; 2]>>;

impl Batch {
    fn of_two(reactor: &Reactor, trigger: Trigger, times: u32) -> Self {
        let handle = reactor.handle();
        let (calls_to_old, calls_to_new): (Rc<Cell<u32>>, Rc<Cell<u32>>) = Default::default();
        let both = Both::default();
        let new: Rc<RefCell<Option<_>>> = Rc::default();
        let mut peers = Vec::new();
        for own in 0..2 {
            let (source, mut peer) = pair();
            peer.write_all(b"x").unwrap();
            peers.push(peer);
            let (own_handle, olds) = (handle.clone(), Rc::clone(&both));
            let (calls, calls_to_new) = (Rc::clone(&calls_to_old), Rc::clone(&calls_to_new));
            let kept = Rc::clone(&new);
            let registration = register(&handle, source, trigger, move |mut source| {
                calls.set(calls.get() + 1);
                let _ = source.read(&mut [0; 8]);
                let other = olds.borrow_mut()[1 - own].take();
                let Some(other) = other else { return Next::Wait };
                let (slot, number) = (slot(other.token()), other.source().as_raw_fd());
                drop(other);
                for _ in 0..times {
                    kept.take();
                    let new = successor(&own_handle, slot, number, trigger, &calls_to_new);
                    kept.replace(Some(new));
                }
                Next::Wait
            });
            both.borrow_mut()[own] = Some(registration);
        }
        Self { calls_to_old, calls_to_new, new, _peers: peers, _old: both }
    }

    /// The new owner hears of its own data, once.
    fn assert_new_one_lives(&self, reactor: &mut Reactor) {
        let stale = reactor.stats().stale_events;
        let mut new = self.new.borrow_mut();
        let (_, peer) = new.as_mut().expect("a callback made it");
        peer.write_all(b"x").unwrap();
        drop(new);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(self.calls_to_new.get(), 1);
        assert_eq!(reactor.stats().stale_events, stale);
    }
}

/// A registration in the slot `slot` whose descriptor has the number `number`; both were left free.
fn successor(
    handle: &Handle,
    slot_number: usize,
    number: i32,
    trigger: Trigger,
    calls: &Rc<Cell<u32>>,
) -> Watched {
    let (source, peer) = pair_with_number(number);
    let new = register(handle, source, trigger, counts_calls(calls));
    assert_eq!(slot(new.token()), slot_number, "the slot is reused");
    (new, peer)
}

fn register(
    handle: &Handle,
    source: UnixStream,
    trigger: Trigger,
    mut callback: impl FnMut(&UnixStream) -> Next + 'static,
) -> Registration<UnixStream> {
    let callback = move |source: &UnixStream, _| callback(source);
    let registration = handle.register(source, Interest::READABLE, trigger, callback);
    registration.map_err(|(error, _)| error).unwrap()
}

fn counts_calls(calls: &Rc<Cell<u32>>) -> impl FnMut(&UnixStream) -> Next + 'static {
    let calls = Rc::clone(calls);
    move |mut source| {
        calls.set(calls.get() + 1);
        let _ = source.read(&mut [0; 8]);
        Next::Wait
    }
}

fn counts_polls(polls: &Rc<Cell<u32>>) -> impl Future<Output = ()> + 'static {
    let polls = Rc::clone(polls);
    poll_fn(move |_| {
        polls.set(polls.get() + 1);
        Poll::Pending
    })
}

fn slot(token: Token) -> usize {
    (token.to_u64() & u64::from(u32::MAX)) as usize
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// A pair whose first end has this descriptor number. The kernel gives the lowest that is free.
fn pair_with_number(number: i32) -> (UnixStream, UnixStream) {
    let (ours, theirs) = pair();
    match (ours.as_raw_fd() == number, theirs.as_raw_fd() == number) {
        (true, _) => (ours, theirs),
        (_, true) => {
            theirs.set_nonblocking(true).unwrap();
            (theirs, ours)
        }
        _ => panic!("{number} was not the lowest free number"),
    }
}

/// Only one test at a time opens descriptors.
fn numbers() -> MutexGuard<'static, ()> {
    static NUMBERS: Mutex<()> = Mutex::new(());
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}
