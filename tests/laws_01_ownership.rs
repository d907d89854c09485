//! Law 1, ownership: whatever ends a registration, EPOLL_CTL_DEL comes before close.
//!
//! The witness is a duplicate of the descriptor, kept here or in a forked child. While it lives,
//! close takes nothing out of the epoll (epoll(7), question 6): a registration that ends without
//! DEL stands in the epoll's list for ever and goes on reporting. So each way of ending is tried
//! under each trigger with each kind of duplicate, and then the epoll must be silent for 1,000
//! turns in which the duplicate is readable and its peer keeps writing. The second half is what a
//! callback may do to itself, to its neighbours and to the reactor, and what late use answers.

mod kernel;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use squall_reactor::{
    Error, Handle, Interest, Io, JoinHandle, Next, Reactor, Registration, Side, Source, Trigger,
    net, sleep, timeout, yield_now,
};

const READABLE: Interest = Interest::READABLE;
const TRIGGERS: [Trigger; 3] = [Trigger::Edge, Trigger::Level, Trigger::Oneshot];

// The ways in which the registration of a callback ends.

#[test]
fn law_01_dropping_a_registration_deletes_before_it_closes() {
    silent_after(|reactor, source, trigger| {
        let registration = register(reactor, source, trigger, |_| Next::Wait);
        drop(registration);
    });
}

#[test]
fn law_01_done_deletes_although_the_registration_is_still_held() {
    silent_after(|reactor, source, trigger| {
        let registration = register(reactor, source, trigger, |_| Next::Done);
        assert_eq!(turn(reactor), 1);
        assert!(!watched(reactor.as_raw_fd()).contains(&inode(registration.source())));
        assert!(matches!(registration.set_interest(Interest::BOTH), Err(Error::Ended)));
    });
}

#[test]
fn law_01_done_deletes_and_closes_what_was_left_to_the_reactor() {
    silent_after(|reactor, source, trigger| {
        let drops = Rc::new(Cell::new(0));
        let source = Counted { source, drops: Rc::clone(&drops) };
        let registration = register(reactor, source, trigger, |_| Next::Done);
        let token = registration.detach();
        assert_eq!((turn(reactor), drops.get()), (1, 1));
        assert!(matches!(reactor.handle().resume(token), Err(Error::Ended)));
    });
}

#[test]
fn law_01_a_panic_in_a_callback_deletes_and_the_reactor_stays_usable() {
    silent_after(|reactor, source, trigger| {
        let registration = register(reactor, source, trigger, |_| -> Next { panic!("on purpose") });
        let panic = catch_unwind(AssertUnwindSafe(|| turn(reactor)));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
        assert!(!watched(reactor.as_raw_fd()).contains(&inode(registration.source())));
        assert!(matches!(registration.resume(), Err(Error::Ended)));
        assert_eq!(reactor.block_on(async { 7 }).unwrap(), 7);
    });
}

#[test]
fn law_01_deregister_deletes_at_once_although_the_source_stays_open() {
    silent_after(|reactor, source, trigger| {
        let registration = register(reactor, source, trigger, |_| Next::Wait);
        assert!(reactor.handle().deregister(registration.token()).unwrap());
        assert!(!watched(reactor.as_raw_fd()).contains(&inode(registration.source())));
        assert!(!reactor.handle().deregister(registration.token()).unwrap(), "it has ended");
    });
}

/// The closure holds the only share of the source. Breaks if it is dropped before the DEL.
#[test]
fn law_01_deregister_deletes_before_it_closes_what_was_left_to_the_reactor() {
    silent_after(|reactor, source, trigger| {
        let drops = Rc::new(Cell::new(0));
        let source = Counted { source, drops: Rc::clone(&drops) };
        let token = register(reactor, source, trigger, |_| Next::Wait).detach();
        assert!(reactor.handle().deregister(token).unwrap());
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn law_01_into_inner_deletes_and_gives_the_open_source_back() {
    silent_after(|reactor, source, trigger| {
        let registration = register(reactor, source, trigger, |_| Next::Wait);
        let mut source = registration.into_inner().expect("its callback is not running");
        source.read_exact(&mut [0]).expect("the source is open, and one byte is there");
    });
}

#[test]
fn law_01_a_callback_that_drops_its_own_registration_deletes() {
    silent_after(|reactor, source, trigger| {
        let own = Rc::new(RefCell::new(None));
        let taken = Rc::clone(&own);
        let registration = register(reactor, source, trigger, move |_| {
            drop(taken.take());
            Next::Again
        });
        own.replace(Some(registration));
        assert_eq!(turn(reactor), 1);
    });
}

#[test]
fn law_01_no_interest_deletes_and_so_does_the_end_of_what_was_taken_out() {
    silent_after(|reactor, source, trigger| {
        let registration = register(reactor, source, trigger, |_| Next::Wait);
        registration.set_interest(Interest::NONE).unwrap();
        assert!(!watched(reactor.as_raw_fd()).contains(&inode(registration.source())));
        registration.set_interest(READABLE).unwrap();
        assert!(watched(reactor.as_raw_fd()).contains(&inode(registration.source())));
    });
}

#[test]
fn law_01_a_dropped_reactor_deletes_although_its_epoll_lives_on() {
    for keep in KEEP {
        for trigger in TRIGGERS {
            let mut reactor = Reactor::new().unwrap();
            let (source, peer) = stream_pair();
            let kept = Kept::of(&source, Box::new(peer), keep);
            let registration = register(&mut reactor, source, trigger, |_| Next::Wait);
            // SAFETY: the reactor lives, so its epoll is open.
            let epoll = unsafe { BorrowedFd::borrow_raw(reactor.as_raw_fd()) };
            let epoll = epoll.try_clone_to_owned().unwrap();
            drop(reactor);
            assert!(!watched(epoll.as_raw_fd()).contains(&kept.inode), "{trigger:?} {keep:?}");
            drop(registration);
            assert!(!is_readable(&epoll), "{trigger:?} {keep:?}: the epoll reports");
        }
    }
}

// What is refused.

#[test]
fn law_01_a_refused_second_registration_does_not_delete_the_first() {
    silent_after(|reactor, source, trigger| {
        let source = Arc::new(source);
        let first = register(reactor, Arc::clone(&source), trigger, |_| Next::Again);
        let second = reactor.handle().register(source, READABLE, trigger, |_, _| Next::Wait);
        let (error, source) = second.expect_err("one descriptor, one registration");
        let number = source.as_raw_fd();
        assert!(matches!(error, Error::AlreadyRegistered { fd } if fd == number), "{error}");
        drop(source);
        assert!(turn(reactor) > 0, "the first one is still heard");
        drop(first);
    });
}

#[test]
fn law_01_a_refused_change_of_interest_does_not_delete_somebody_else() {
    silent_after(|reactor, source, trigger| {
        let source = Arc::new(source);
        let first = register(reactor, Arc::clone(&source), trigger, |_| Next::Again);
        let second = reactor.handle().register(source, Interest::NONE, trigger, |_, _| Next::Wait);
        let second = second.map_err(|(error, _)| error).expect("nothing is asked for yet");
        let refused = second.set_interest(READABLE);
        assert!(matches!(refused, Err(Error::AlreadyRegistered { .. })), "{refused:?}");
        drop(second);
        assert!(turn(reactor) > 0, "the first one is still heard");
        drop(first);
    });
}

#[test]
fn law_01_a_resume_that_is_refused_does_not_delete_somebody_else() {
    silent_after(|reactor, source, _| {
        let source = Arc::new(source);
        let first = register(reactor, Arc::clone(&source), Trigger::Level, |_| Next::Pause);
        assert_eq!(turn(reactor), 1); // a paused level is out of the epoll
        let second = register(reactor, source, Trigger::Level, |_| Next::Wait);
        let refused = first.resume();
        assert!(matches!(refused, Err(Error::AlreadyRegistered { .. })), "{refused:?}");
        drop(first);
        assert_eq!(turn(reactor), 1, "the second one is still heard");
        drop(second);
    });
}

#[test]
fn law_01_a_regular_file_is_refused_and_given_back() {
    let reactor = Reactor::new().unwrap();
    let file = OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
    let number = file.as_raw_fd();
    let refused = reactor.handle().register(file, READABLE, Trigger::Level, |_, _| Next::Wait);
    let (error, file) = refused.expect_err("epoll refuses regular files");
    assert!(matches!(error, Error::NotPollable { fd } if fd == number), "{error}");
    assert_eq!(file.as_raw_fd(), number);
    assert_eq!(watched(reactor.as_raw_fd()).len(), 1, "nothing but the eventfd");
}

#[test]
fn law_01_delete_names_the_number_of_the_registration() {
    // It breaks `Source`'s promise; the reactor must not then delete somebody else.
    struct Shifty(UnixStream, UnixStream, Cell<bool>);
    impl AsFd for Shifty {
        fn as_fd(&self) -> BorrowedFd<'_> {
            if self.2.replace(true) { self.1.as_fd() } else { self.0.as_fd() }
        }
    }
    // SAFETY: it is not safe, on purpose; both descriptors stay open for the whole test.
    unsafe impl Source for Shifty {}

    let mut reactor = Reactor::new().unwrap();
    let ((first, _peer), (second, mut victims_peer)) = (stream_pair(), stream_pair());
    let (first_inode, second_inode) = (inode(&first), inode(&second));
    let victim = second.try_clone().unwrap();
    let shifty = Shifty(first, second, Cell::new(false));
    let handle = reactor.handle();
    let registration = handle.register(shifty, READABLE, Trigger::Level, |_, _| Next::Wait);
    let victim = register(&mut reactor, victim, Trigger::Level, |_| Next::Wait);
    drop(registration);
    let left = watched(reactor.as_raw_fd());
    assert!(!left.contains(&first_inode) && left.contains(&second_inode));
    victims_peer.write_all(b"x").unwrap();
    assert_eq!(turn(&mut reactor), 1);
    drop(victim);
}

// The ways in which a task, or who polls a future, lets go of its source.

#[test]
fn law_01_an_aborted_task_deletes_what_it_held() {
    silent_after_task(|reactor, stream| {
        let task = reactor.handle().spawn(waits_for_ever(stream));
        assert_eq!(turn(reactor), 1);
        assert_eq!(watched(reactor.as_raw_fd()).len(), 2, "the stream and the eventfd");
        assert!(task.abort());
        assert!(!task.abort() && task.is_finished());
        assert!(matches!(reactor.block_on(task).unwrap(), Err(Error::Cancelled)));
    });
}

#[test]
fn law_01_a_task_that_aborts_itself_deletes_when_its_poll_returns() {
    silent_after_task(|reactor, stream| {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let aborts = Rc::clone(&own);
        let task = reactor.handle().spawn(async move {
            let _ = timeout(Duration::ZERO, stream.read(&mut [0])).await;
            assert!(aborts.borrow().as_ref().is_some_and(JoinHandle::abort));
            stream.read(&mut [0]).await.map(drop).unwrap();
        });
        own.replace(Some(task));
        reactor.block_on(sleep(Duration::from_millis(1))).unwrap(); // behind the timeout
        assert!(own.borrow().as_ref().is_some_and(JoinHandle::is_finished));
    });
}

#[test]
fn law_01_a_task_that_panics_deletes_what_it_held() {
    silent_after_task(|reactor, stream| {
        reactor.handle().spawn_detached(async move {
            let _ = timeout(Duration::from_millis(1), stream.read(&mut [0])).await;
            panic!("on purpose");
        });
        let panic = catch_unwind(AssertUnwindSafe(|| {
            reactor.block_on(pending::<()>()).map(|()| unreachable!("it is pending for ever"))
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
        turn(reactor);
        assert_eq!(reactor.stats().tasks, 0, "its place is free");
    });
}

#[test]
fn law_01_a_future_that_loses_against_a_timeout_deletes_what_it_held() {
    silent_after_task(|reactor, stream| {
        let lost = reactor.block_on(timeout(Duration::from_millis(1), waits_for_ever(stream)));
        assert!(matches!(lost.unwrap(), Err(Error::TimedOut)));
    });
}

#[test]
fn law_01_a_panic_out_of_block_on_deletes_what_its_future_held() {
    silent_after_task(|reactor, stream| {
        reactor.handle().after(Duration::from_millis(1), || panic!("on purpose")).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| reactor.block_on(waits_for_ever(stream))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
    });
}

#[test]
fn law_01_a_dropped_io_deletes() {
    silent_after_task(|reactor, stream| {
        let io = Io::new(stream.into_std(), READABLE);
        wait_once(reactor, &io);
        drop(io);
    });
}

#[test]
fn law_01_into_inner_of_an_io_deletes_and_the_source_stays_open() {
    silent_after_task(|reactor, stream| {
        let io = Io::new(stream.into_std(), READABLE);
        wait_once(reactor, &io);
        let source = io.into_inner();
        assert!(!watched(reactor.as_raw_fd()).contains(&inode(&source)));
    });
}

#[test]
fn law_01_into_std_deletes_and_the_stream_stays_open() {
    silent_after_task(|reactor, stream| {
        read_in_vain(reactor, &stream);
        assert_eq!(watched(reactor.as_raw_fd()).len(), 2);
        assert!(stream.into_std().peer_addr().is_ok());
    });
}

#[test]
fn law_01_a_reactor_dropped_with_a_waiting_task_deletes_although_its_epoll_lives_on() {
    for keep in KEEP {
        let mut reactor = Reactor::new().unwrap();
        let (stream, peer) = tcp_pair();
        let kept = Kept::of(&stream, Box::new(peer), keep);
        reactor.handle().spawn_detached(waits_for_ever(stream));
        assert_eq!(turn(&mut reactor), 1);
        // SAFETY: the reactor lives, so its epoll is open.
        let epoll = unsafe { BorrowedFd::borrow_raw(reactor.as_raw_fd()) };
        let epoll = epoll.try_clone_to_owned().unwrap();
        assert!(watched(epoll.as_raw_fd()).contains(&kept.inode));
        drop(reactor);
        assert!(!watched(epoll.as_raw_fd()).contains(&kept.inode), "{keep:?}");
    }
}

// What a callback may do.

/// Breaks if a neighbour's job of the same batch still runs, or a table is borrowed meanwhile.
#[test]
fn law_01_a_callback_may_drop_its_neighbour_of_the_same_batch() {
    for trigger in TRIGGERS {
        let mut reactor = Reactor::new().unwrap();
        let registrations: Rc<RefCell<Vec<Option<Registration<Counted>>>>> = Rc::default();
        let drops: Rc<Cell<u32>> = Rc::default();
        let calls: Rc<Cell<u32>> = Rc::default();
        let mut peers = Vec::new();
        for own in 0..4 {
            let (source, mut peer) = stream_pair();
            peer.write_all(b"x").unwrap();
            peers.push(peer);
            let (all, calls) = (Rc::clone(&registrations), Rc::clone(&calls));
            let source = Counted { source, drops: Rc::clone(&drops) };
            let registration = register(&mut reactor, source, trigger, move |_| {
                calls.set(calls.get() + 1);
                for other in (0..4).filter(|other| *other != own) {
                    let taken = all.borrow_mut()[other].take();
                    drop(taken);
                }
                Next::Wait
            });
            registrations.borrow_mut().push(Some(registration));
        }
        turn(&mut reactor);
        assert_eq!((calls.get(), drops.get()), (1, 3), "{trigger:?}");
        assert_eq!(watched(reactor.as_raw_fd()).len(), 2, "{trigger:?}");
        registrations.borrow_mut().clear();
        assert_eq!(drops.get(), 4, "{trigger:?}");
        drop(reactor);
        assert_eq!(drops.get(), 4, "each source is dropped once");
    }
}

#[test]
fn law_01_a_callback_may_drop_the_last_handle() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = stream_pair();
    peer.write_all(b"x").unwrap();
    let mut last = Some(reactor.handle());
    let registration = register(&mut reactor, source, Trigger::Level, move |_| {
        drop(last.take());
        Next::Wait
    });
    assert_eq!((turn(&mut reactor), turn(&mut reactor)), (1, 1));
    drop(reactor);
    drop(registration);
}

/// Breaks if a table is borrowed while a callback runs, or if what it registers is lost.
#[test]
fn law_01_a_callback_may_do_anything_through_a_handle() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = stream_pair();
    peer.write_all(b"x").unwrap();
    let handle = reactor.handle();
    let news: Rc<RefCell<Vec<&str>>> = Rc::default();
    let (told, kept) = (Rc::clone(&news), Rc::new(RefCell::new(None)));
    let keeps = Rc::clone(&kept);
    let registration = reactor.handle().register(
        source,
        READABLE,
        Trigger::Level,
        move |source: &UnixStream, ready| {
            handle.set_interest(ready.token(), Interest::BOTH).unwrap();
            handle.set_interest(ready.token(), READABLE).unwrap();
            handle.resume(ready.token()).unwrap();
            let (other, mut others_peer) = stream_pair();
            others_peer.write_all(b"x").unwrap();
            let told_by_other = Rc::clone(&told);
            let other = handle.register(other, READABLE, Trigger::Level, move |_, _| {
                told_by_other.borrow_mut().push("registered");
                Next::Done
            });
            keeps.replace(Some((other.map_err(|(error, _)| error).unwrap(), others_peer)));
            let told_by_timer = Rc::clone(&told);
            handle.after(Duration::ZERO, move || told_by_timer.borrow_mut().push("timer")).unwrap();
            let cancelled = handle.after(Duration::ZERO, || panic!("it is cancelled")).unwrap();
            assert!(handle.cancel(cancelled) && !handle.cancel(cancelled));
            let told_by_task = Rc::clone(&told);
            handle.spawn_detached(async move { told_by_task.borrow_mut().push("spawned") });
            handle.spawn(async { panic!("it is aborted") }).abort();
            let stop = handle.remote();
            handle.remote().call(move |_| stop.stop().unwrap()).unwrap();
            assert_eq!(handle.stats().dispatches, 0, "counted at the turn's end");
            let _ = (&*source).read(&mut [0; 8]);
            Next::Wait
        },
    );
    let registration = registration.map_err(|(error, _)| error).unwrap();
    reactor.run().unwrap();
    reactor.block_on(sleep(Duration::from_millis(1))).unwrap(); // behind the timer
    news.borrow_mut().sort_unstable();
    assert_eq!(*news.borrow(), ["registered", "spawned", "timer"]);
    drop((registration, kept));
}

#[test]
fn law_01_a_callback_that_stops_the_reactor_ends_run_after_the_turn() {
    let mut reactor = Reactor::new().unwrap();
    let calls: Rc<Cell<u32>> = Rc::default();
    let mut held = Vec::new();
    for _ in 0..2 {
        let (source, mut peer) = stream_pair();
        peer.write_all(b"x").unwrap();
        let (calls, handle) = (Rc::clone(&calls), reactor.handle());
        let registration = register(&mut reactor, source, Trigger::Level, move |_| {
            calls.set(calls.get() + 1);
            handle.stop();
            Next::Wait
        });
        held.push((registration, peer));
    }
    reactor.run().unwrap();
    assert_eq!(calls.get(), 2, "the batch is finished");
}

/// `stop` ends `run`. Breaks if it makes `block_on` poll without sleep until its future is ready.
#[test]
fn law_01_a_stop_inside_block_on_neither_ends_it_nor_makes_it_spin() {
    let mut reactor = Reactor::new().unwrap();
    reactor.handle().stop();
    let before = reactor.stats();
    reactor.block_on(sleep(Duration::from_millis(50))).unwrap();
    let turns = reactor.stats().turns - before.turns;
    assert!(turns < 10, "{turns} turns for one sleep");
    reactor.run().unwrap(); // the stop is kept for it
}

/// Breaks if the source is taken away while the callback that runs holds it.
#[test]
fn law_01_into_inner_refuses_inside_the_own_callback() {
    for end_first in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let (source, mut peer) = stream_pair();
        peer.write_all(b"x").unwrap();
        let drops: Rc<Cell<u32>> = Rc::default();
        let own: Rc<RefCell<Option<Registration<Counted>>>> = Rc::default();
        let (taken, refused) = (Rc::clone(&own), Rc::new(Cell::new(false)));
        let told = Rc::clone(&refused);
        let handle = reactor.handle();
        let source = Counted { source, drops: Rc::clone(&drops) };
        let registration = register(&mut reactor, source, Trigger::Level, move |source| {
            let registration = taken.take().unwrap();
            if end_first {
                assert!(handle.deregister(registration.token()).unwrap());
            }
            match registration.into_inner() {
                Ok(_) => panic!("the loan is live"),
                Err(registration) => taken.replace(Some(registration)),
            };
            (&source.source).read_exact(&mut [0]).expect("the source is open");
            told.set(true);
            Next::Wait
        });
        own.replace(Some(registration));
        assert_eq!(turn(&mut reactor), 1);
        assert!(refused.get());
        assert_eq!(watched(reactor.as_raw_fd()).len(), if end_first { 1 } else { 2 });
        let source = own.take().unwrap().into_inner().expect("the callback has returned");
        assert_eq!(drops.get(), 0);
        drop((source, reactor));
        assert_eq!(drops.get(), 1);
    }
}

#[test]
fn law_01_a_callback_may_take_back_its_neighbours_source() {
    let mut reactor = Reactor::new().unwrap();
    let (drops, calls): (Rc<Cell<u32>>, Rc<Cell<u32>>) = Default::default();
    let all: Rc<RefCell<Vec<Registration<Counted>>>> = Rc::default();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (source, mut peer) = stream_pair();
        peer.write_all(b"x").unwrap();
        peers.push(peer);
        let (all_of_them, calls) = (Rc::clone(&all), Rc::clone(&calls));
        let source = Counted { source, drops: Rc::clone(&drops) };
        all.borrow_mut().push(register(&mut reactor, source, Trigger::Edge, move |_| {
            calls.set(calls.get() + 1);
            let both = std::mem::take(&mut *all_of_them.borrow_mut());
            let given = both.into_iter().map(Registration::into_inner);
            assert_eq!(given.filter(Result::is_ok).count(), 1, "the neighbour's, not its own");
            Next::Wait
        }));
    }
    turn(&mut reactor);
    assert_eq!((calls.get(), drops.get()), (1, 2));
    assert_eq!(watched(reactor.as_raw_fd()).len(), 1);
}

/// The drop of a closure is user code too.
#[test]
fn law_01_a_closures_drop_may_use_the_handle() {
    struct Speaks(Handle, Rc<Cell<u32>>);
    impl Drop for Speaks {
        fn drop(&mut self) {
            let (source, _peer) = stream_pair();
            let registered = self.0.register(source, READABLE, Trigger::Level, |_, _| Next::Wait);
            drop(registered);
            drop(self.0.spawn(async {}));
            let _ = self.0.after(Duration::ZERO, || ());
            let _ = self.0.remote().call(|_| ());
            self.1.set(self.1.get() + 1);
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let drops: Rc<Cell<u32>> = Rc::default();
    let speaks = || Speaks(handle.clone(), Rc::clone(&drops));
    let mut held = Vec::new();
    for next in [Next::Done, Next::Wait] {
        let (source, mut peer) = stream_pair();
        peer.write_all(b"x").unwrap();
        let speaks = speaks();
        let registration = register(&mut reactor, source, Trigger::Level, move |_| {
            let _speaks = &speaks;
            next
        });
        held.push((registration, peer));
    }
    let (timer, task) = (speaks(), speaks());
    let timer = handle.after(Duration::from_secs(3600), move || drop(timer)).unwrap();
    let task = handle.spawn(async move {
        let _task = task;
        pending::<()>().await;
    });
    turn(&mut reactor);
    assert_eq!(drops.get(), 1, "Done");
    assert!(handle.cancel(timer) && task.abort());
    held.clear();
    assert_eq!(drops.get(), 4);
    let (timer, task) = (speaks(), speaks());
    handle.after(Duration::from_secs(3600), move || drop(timer)).unwrap();
    handle.spawn_detached(async move {
        let _task = task;
        pending::<()>().await;
    });
    drop(reactor);
    assert_eq!(drops.get(), 6, "the end of the reactor");
}

// Panics and outputs.

#[test]
fn law_01_the_reactor_stays_usable_after_a_panic_wherever_it_comes_from() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let mut panics = |arm: &dyn Fn(&Handle)| {
        arm(&handle);
        let panic = catch_unwind(AssertUnwindSafe(|| reactor.run()));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
        let echoed = reactor.block_on(async {
            let (ours, theirs) = net::UnixStream::pair()?;
            theirs.write_all(b"x").await?;
            sleep(Duration::from_millis(1)).await;
            Handle::current()?.spawn(async move { ours.read(&mut [0; 4]).await }).await?
        });
        assert_eq!(echoed.unwrap().unwrap(), 1);
    };
    panics(&|handle| handle.spawn_detached(async { panic!("on purpose") }));
    panics(&|handle| drop(handle.spawn(async { panic!("on purpose") })));
    panics(&|handle| {
        handle.after(Duration::ZERO, || panic!("on purpose")).unwrap();
    });
    panics(&|handle| handle.remote().call(|_| panic!("on purpose")).unwrap());
}

#[test]
fn law_01_a_join_handle_gives_the_output_the_panic_or_the_cancellation() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let value = handle.spawn(async {
        yield_now().await;
        7
    });
    assert_eq!(reactor.block_on(value).unwrap().unwrap(), 7);
    let panics = handle.spawn(async { panic!("on purpose") });
    match reactor.block_on(panics).unwrap() {
        Err(Error::Panicked(panic)) => assert_eq!(panic.message(), "on purpose"),
        other => panic!("{other:?}"),
    }
    let aborted = handle.spawn(pending::<()>());
    assert!(aborted.abort());
    assert!(matches!(reactor.block_on(aborted).unwrap(), Err(Error::Cancelled)));
    let waits = handle.spawn(pending::<()>());
    let waits = Rc::new(RefCell::new(waits));
    let aborts = Rc::clone(&waits);
    handle.after(Duration::from_millis(1), move || assert!(aborts.borrow().abort())).unwrap();
    let joined = poll_fn(|cx| Pin::new(&mut *waits.borrow_mut()).poll(cx));
    assert!(matches!(reactor.block_on(joined).unwrap(), Err(Error::Cancelled)));
    let orphan = handle.spawn(pending::<()>());
    drop(reactor);
    assert!(orphan.is_finished() && !orphan.abort());
    let mut other = Reactor::new().unwrap();
    assert!(matches!(other.block_on(orphan).unwrap(), Err(Error::Cancelled)));
}

/// A loop that blocks inside another one's turn stands still for as long; to embed it, `turn` it.
#[test]
fn law_01_blocking_inside_a_turn_is_refused() {
    let mut outer = Reactor::new().unwrap();
    let refused = outer.block_on(async {
        let mut inner = Reactor::new()?;
        assert!(matches!(inner.block_on(async {}), Err(Error::Nested)));
        assert!(matches!(inner.run(), Err(Error::Nested)));
        inner.handle().spawn_detached(async {});
        assert_eq!(inner.turn(Some(Duration::ZERO))?, 1, "embedded, it may turn");
        Handle::current()?.spawn(async { 7 }).await
    });
    assert_eq!(refused.unwrap().unwrap(), 7, "the outer one is current again");
}

// The end of the reactor.

#[test]
fn law_01_late_use_answers_closed() {
    let mut reactor = Reactor::new().unwrap();
    let (handle, remote) = (reactor.handle(), reactor.remote());
    let (source, mut peer) = stream_pair();
    let registration = register(&mut reactor, source, Trigger::Level, |_| Next::Wait);
    let timer = handle.after(Duration::from_secs(3600), || ()).unwrap();
    let (stream, _tcp_peer) = tcp_pair();
    read_in_vain(&mut reactor, &stream);
    drop(reactor);

    let (other, _others_peer) = stream_pair();
    let late = handle.register(other, READABLE, Trigger::Level, |_, _| Next::Wait);
    assert!(matches!(late, Err((Error::Closed, _))));
    assert!(matches!(handle.set_interest(registration.token(), READABLE), Err(Error::Closed)));
    assert!(matches!(handle.resume(registration.token()), Err(Error::Closed)));
    assert!(matches!(handle.deregister(registration.token()), Err(Error::Closed)));
    assert!(matches!(handle.after(Duration::ZERO, || ()), Err(Error::Closed)));
    assert!(!handle.cancel(timer));
    handle.stop();
    assert!(matches!(registration.set_interest(Interest::BOTH), Err(Error::Closed)));
    assert!(matches!(registration.resume(), Err(Error::Closed)));
    assert!(matches!(registration.rearm(), Err(Error::Closed)));
    assert!(matches!(remote.call(|_| ()), Err(Error::Closed)), "although a handle lives");
    assert!(matches!(remote.stop(), Err(Error::Closed)));
    assert!(matches!(handle.remote().stop(), Err(Error::Closed)));
    remote.stats().expect("counters may be read after the end");
    let mut other = Reactor::new().unwrap();
    assert!(matches!(other.block_on(handle.spawn(async {})).unwrap(), Err(Error::Cancelled)));
    let read = other.block_on(stream.read(&mut [0])).unwrap().unwrap_err();
    assert_eq!(read.to_string(), Error::Closed.to_string());
    let mut source = registration.into_inner().expect("the source is given back");
    peer.write_all(b"x").unwrap();
    source.read_exact(&mut [0]).unwrap();
}

/// Breaks if a timer that vanished with its wheel is taken for one that has fired.
#[test]
fn law_01_a_sleep_that_outlives_its_reactor_is_not_early_in_the_next_one() {
    let mut first = Reactor::new().unwrap();
    let armed = poll_fn(|cx| {
        let mut sleep = sleep(Duration::from_millis(50)); // made here, so it cannot be over yet
        assert!(sleep.poll_elapsed(cx).is_pending());
        Poll::Ready(sleep)
    });
    let mut sleep = first.block_on(armed).unwrap();
    drop(first);
    let mut second = Reactor::new().unwrap();
    second.block_on(&mut sleep).unwrap();
    assert!(std::time::Instant::now() >= sleep.deadline());
}

/// Breaks if they stay in the mailbox for as long as somebody holds a handle.
#[test]
fn law_01_remote_calls_that_were_not_run_are_dropped_with_the_reactor() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let kept = Arc::new(());
    let held = Arc::clone(&kept);
    reactor.remote().call(move |_| drop(held)).unwrap();
    assert_eq!(Arc::strong_count(&kept), 2);
    drop(reactor);
    assert_eq!(Arc::strong_count(&kept), 1);
    drop(handle);
}

/// Breaks if what the drop spawns is kept, run, or dropped twice; or if a table is borrowed.
#[test]
fn law_01_a_tasks_drop_may_spawn_while_the_reactor_ends() {
    struct Spawns(Handle, u32, Rc<Cell<u32>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            self.2.set(self.2.get() + 1);
            if self.1 > 0 {
                let next = Self(self.0.clone(), self.1 - 1, Rc::clone(&self.2));
                let task = self.0.spawn(async move {
                    let _next = next;
                    panic!("the reactor is gone");
                });
                assert!(task.is_finished());
            }
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let drops: Rc<Cell<u32>> = Rc::default();
    let first = Spawns(reactor.handle(), 100, Rc::clone(&drops));
    reactor.handle().spawn_detached(async move {
        let _first = first;
        pending::<()>().await;
    });
    turn(&mut reactor);
    drop(reactor);
    assert_eq!(drops.get(), 101);
}

#[test]
fn law_01_a_reactor_dropped_with_everything_alive_drops_each_thing_once() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let drops: Rc<Cell<u32>> = Rc::default();
    let mut held = Vec::new();
    let mut made = 0;
    let mut counted = || {
        let (source, mut peer) = stream_pair();
        peer.write_all(b"x").unwrap();
        held.push(peer);
        made += 1;
        Counted { source, drops: Rc::clone(&drops) }
    };
    let kept = register(&mut reactor, counted(), Trigger::Level, |_| Next::Wait);
    let done = register(&mut reactor, counted(), Trigger::Edge, |_| Next::Done);
    register(&mut reactor, counted(), Trigger::Level, |_| Next::Again).detach();
    register(&mut reactor, counted(), Trigger::Oneshot, |_| Next::Pause).detach();
    let (io, captured) = (counted(), counted());
    handle.spawn_detached(async move {
        let io = Io::new(io, READABLE);
        io.with(Side::Read, |io| (&io.source).read(&mut [0; 4])).await.unwrap();
        io.with(Side::Read, |io| (&io.source).read(&mut [0; 4])).await.unwrap();
    });
    handle.after(Duration::from_secs(3600), move || drop(captured)).unwrap();
    let (joined, never_polled, foreign) = (counted(), counted(), counted());
    let join = handle.spawn(async move {
        let _joined = joined;
        sleep(Duration::from_secs(3600)).await;
    });
    handle.spawn_detached(async move {
        let (_foreign, own) = (foreign, Foreign(Box::pin(sleep(Duration::from_secs(3600)))));
        own.await;
    });
    for _ in 0..3 {
        turn(&mut reactor);
    }
    handle.spawn_detached(async move { drop(never_polled) });
    assert_eq!(drops.get(), 0, "Done does not close while its registration is held");
    drop(reactor);
    assert_eq!(drops.get(), made - 2, "all but the two that are held");
    drop((kept, done, join, handle));
    assert_eq!(drops.get(), made);
}

// What the tests are made of.

/// Runs `end`, which must end the registration of the source that it is given, under each trigger
/// and with each kind of duplicate; then nothing may be heard of it.
fn silent_after(end: impl Fn(&mut Reactor, UnixStream, Trigger)) {
    for keep in KEEP {
        for trigger in TRIGGERS {
            let mut reactor = Reactor::new().unwrap();
            let (source, mut peer) = stream_pair();
            peer.write_all(b"x").unwrap();
            let mut kept = Kept::of(&source, Box::new(peer), keep);
            end(&mut reactor, source, trigger);
            kept.assert_silent(&mut reactor);
        }
    }
}

/// The same for a stream that tasks wait on.
fn silent_after_task(end: impl Fn(&mut Reactor, net::TcpStream)) {
    for keep in KEEP {
        let mut reactor = Reactor::new().unwrap();
        let (stream, peer) = tcp_pair();
        let mut kept = Kept::of(&stream, Box::new(peer), keep);
        end(&mut reactor, stream);
        kept.assert_silent(&mut reactor);
    }
}

/// Registers and makes sure that the kernel knows it, so that its silence means something later.
#[track_caller]
fn register<S: Source + 'static>(
    reactor: &mut Reactor,
    source: S,
    trigger: Trigger,
    mut callback: impl FnMut(&S) -> Next + 'static,
) -> Registration<S> {
    let inode = inode(&source);
    let registration =
        reactor.handle().register(source, READABLE, trigger, move |source, _| callback(source));
    let registration = registration.map_err(|(error, _)| error).expect("a socket is pollable");
    assert!(watched(reactor.as_raw_fd()).contains(&inode));
    registration
}

fn turn(reactor: &mut Reactor) -> usize {
    reactor.turn(Some(Duration::ZERO)).unwrap()
}

async fn waits_for_ever(stream: net::TcpStream) {
    let n = stream.read(&mut [0]).await;
    panic!("nothing was sent, and yet it read {n:?}");
}

/// Lets a read wait and lose, so that the stream is registered.
fn read_in_vain(reactor: &mut Reactor, stream: &net::TcpStream) {
    let mut byte = [0];
    let lost = reactor.block_on(timeout(Duration::from_millis(1), stream.read(&mut byte)));
    assert!(matches!(lost.unwrap(), Err(Error::TimedOut)));
}

/// The same for an `Io`.
fn wait_once(reactor: &mut Reactor, io: &Io<std::net::TcpStream>) {
    let read = io.with(Side::Read, |mut stream| stream.read(&mut [0]));
    let lost = reactor.block_on(timeout(Duration::from_millis(1), read)).unwrap();
    assert!(matches!(lost, Err(Error::TimedOut)));
    assert!(io.is_registered());
    assert!(watched(reactor.as_raw_fd()).contains(&inode(io)));
}

/// The inode of an open socket.
fn inode(socket: &impl AsFd) -> u64 {
    let text = kernel::link(socket.as_fd().as_raw_fd()).expect("an open descriptor has a link");
    let inode = text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
    inode.unwrap_or_else(|| panic!("{text} is not a socket"))
}

/// The inodes of everything that the epoll watches.
fn watched(epoll: RawFd) -> Vec<u64> {
    let inode = |line: &String| {
        let (_, rest) = line.split_once("ino:").expect("Linux 4.13 and later say the inode");
        let hex = rest.split_whitespace().next().unwrap_or_default();
        u64::from_str_radix(hex, 16).expect("the inode is a hexadecimal number")
    };
    kernel::epoll_list(epoll).iter().map(inode).collect()
}

fn stream_pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn tcp_pair() -> (net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    (net::TcpStream::from_std(stream).unwrap(), peer)
}

fn is_readable(file: &impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: file.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` lives until the call returns, and 1 is its length.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

/// A source that counts its drops.
struct Counted {
    source: UnixStream,
    drops: Rc<Cell<u32>>,
}

impl AsFd for Counted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

// SAFETY: the stream inside is private and never replaced.
unsafe impl Source for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
    }
}

/// Polls a future with a waker that is not the task's own.
struct Foreign<F>(Pin<Box<F>>);

impl<F: Future> Future for Foreign<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}

/// Where the duplicate is.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Here,
    InAChild,
}

const KEEP: [Keep; 2] = [Keep::Here, Keep::InAChild];

/// A duplicate of a registered descriptor, and the peer that makes it readable.
struct Kept {
    inode: u64,
    peer: Box<dyn Write>,
    keep: Keep,
    here: Option<OwnedFd>,
    _child: Option<Child>,
}

impl Kept {
    fn of(source: &impl AsFd, peer: Box<dyn Write>, keep: Keep) -> Self {
        let (here, child) = match keep {
            Keep::Here => (Some(source.as_fd().try_clone_to_owned().unwrap()), None),
            Keep::InAChild => (None, Some(Child::holding(source.as_fd().as_raw_fd()))),
        };
        Self { inode: inode(source), peer, keep, here, _child: child }
    }

    /// 1,000 turns without an event, although the duplicate is readable and gets more.
    fn assert_silent(&mut self, reactor: &mut Reactor) {
        let keep = self.keep;
        assert!(!watched(reactor.as_raw_fd()).contains(&self.inode), "{keep:?}: still listed");
        let before = reactor.stats();
        for turns in 0..1000 {
            if turns < 100 {
                self.peer.write_all(b"x").expect("the duplicate keeps the stream open");
            }
            turn(reactor);
        }
        let after = reactor.stats();
        assert_eq!(after.turns - before.turns, 1000);
        assert_eq!(after.events, before.events, "{keep:?}: still reported");
        assert!(self.here.as_ref().is_none_or(is_readable));
    }
}

/// A forked child that holds one descriptor until this is dropped.
struct Child {
    pid: libc::pid_t,
    /// Its end tells the child to go.
    _leash: std::io::PipeWriter,
}

impl Child {
    fn holding(fd: RawFd) -> Self {
        let (leash_end, leash) = std::io::pipe().unwrap();
        // SAFETY: the child makes nothing but async-signal-safe calls, as it must where the
        // process has threads.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            hold(fd, leash_end.as_raw_fd());
        }
        assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
        Self { pid, _leash: leash }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of this process that nobody else waits for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// The child: lets go of all but two descriptors (other tests run beside this one), and waits.
fn hold(fd: RawFd, leash: RawFd) -> ! {
    let (low, high) = (fd.min(leash), fd.max(leash));
    for (first, last) in [(3, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)] {
        if first <= last {
            // SAFETY: closes descriptors of a child that will not use them.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
    let mut byte = 0u8;
    // SAFETY: `byte` lives until the call returns, and 1 is its length.
    unsafe { libc::read(leash, (&raw mut byte).cast(), 1) };
    // SAFETY: ends the child at once.
    unsafe { libc::_exit(0) }
}
