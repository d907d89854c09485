//! Law 6, fork: what a child does never reaches its parent's objects, and it says so.
//!
//! libtest has threads, even with one test at a time, and a fork copies only the calling one. So
//! this program runs each case in a process of its own with a single thread: it starts itself again
//! with the case's name in an environment variable. A case forks (fork(2), raw clone(2), `_Fork`,
//! twice, daemon(3)); the child asserts its part and its status says whether it could. What the
//! parent must have kept is asked of the kernel: every line of its epoll's list (descriptor, mask
//! and token) and the count of its eventfd, both from /proc/self/fdinfo.
//!
//! `cargo test --test laws_06_fork [PART OF A NAME]`

mod kernel;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use squall_reactor::{
    Error, Handle, Interest, Io, JoinHandle, Next, Reactor, Registration, Remote, Side, Sleep,
    Timer, Trigger, net, sleep, sleep_until, timeout,
};

const CASE: &str = "SQUALL_LAWS_06_CASE";
const READABLE: Interest = Interest::READABLE;
const ZERO: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    match std::env::var(CASE) {
        Ok(name) => run_one(&name),
        Err(_) => run_all(),
    }
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

const CASES: &[(&str, fn())] = cases![
    law_06_every_use_in_a_forked_child_answers_forked,
    law_06_every_use_in_a_raw_clone_answers_forked,
    law_06_every_use_after_underscore_fork_answers_forked,
    law_06_every_use_in_a_grandchild_answers_forked,
    law_06_every_use_in_a_daemon_answers_forked,
    law_06_every_use_before_an_exec_answers_forked,
    law_06_no_drop_in_a_child_reaches_the_parent,
    law_06_a_registration_dropped_in_a_child_drops_closure_and_descriptor,
    law_06_a_waker_that_is_woken_in_a_child_does_not_wake_the_parent,
    law_06_a_remote_in_a_child_does_not_wake_a_parent_that_sleeps,
    law_06_a_fork_inside_a_callback_ends_the_childs_turn,
    law_06_done_in_a_child_that_was_forked_inside_the_callback_does_not_delete,
    law_06_a_panic_in_a_child_that_was_forked_inside_the_callback_does_not_delete,
    law_06_a_fork_inside_a_task_ends_the_childs_turn,
    law_06_a_fork_inside_the_future_of_block_on_ends_the_childs_turn,
    law_06_a_fork_inside_a_timer_ends_the_childs_turn,
    law_06_a_fork_inside_a_remote_call_leaves_the_other_calls_to_the_parent,
    law_06_after_fork_serves_the_listener_and_drops_the_rest,
    law_06_after_fork_keeps_the_registration_of_a_listener,
    law_06_after_fork_keeps_a_pause_until_resume,
    law_06_after_fork_inside_a_batch_keeps_the_listener_whose_callback_forked,
    law_06_after_fork_gives_a_mailbox_and_timers_of_its_own,
    law_06_fine_timers_of_a_child_leave_its_parents_alarm_alone,
    law_06_after_fork_does_nothing_in_a_process_that_has_not_forked,
    law_06_after_fork_works_again_in_a_grandchild,
    law_06_keys_from_before_the_fork_do_not_fit_what_is_made_after_it,
    law_06_a_second_reactor_in_the_child_works,
    law_06_a_second_reactor_works_inside_a_callback_of_the_inherited_one,
    law_06_futures_of_the_parent_end_in_the_childs_reactor,
    law_06_calls_that_wait_in_the_mailbox_are_leaked_in_a_child,
    law_06_threads_that_vanish_leave_no_lock_behind,
];

// Every use.

fn law_06_every_use_in_a_forked_child_answers_forked() {
    every_use_answers_forked(How::Fork);
}

fn law_06_every_use_in_a_raw_clone_answers_forked() {
    every_use_answers_forked(How::RawClone);
}

fn law_06_every_use_after_underscore_fork_answers_forked() {
    if underscore_fork().is_none() {
        return println!("skipped: this libc has no _Fork (glibc has it since 2.34)");
    }
    every_use_answers_forked(How::UnderscoreFork);
}

fn law_06_every_use_in_a_grandchild_answers_forked() {
    every_use_answers_forked(How::Grandchild);
}

fn every_use_answers_forked(how: How) {
    let mut all = Everything::new();
    let before = all.kernel_view();
    in_child(how, || all.assert_forked());
    assert_eq!(all.kernel_view(), before);
    all.assert_alive();
}

fn law_06_every_use_in_a_daemon_answers_forked() {
    let (mut news, mut tell) = std::io::pipe().unwrap();
    in_child(How::Fork, || {
        let mut all = Everything::new();
        // SAFETY: one thread; the daemon keeps directory and descriptors.
        assert_eq!(unsafe { libc::daemon(1, 1) }, 0);
        all.assert_forked();
        tell.write_all(b"forked").unwrap();
    });
    drop(tell);
    let mut said = String::new();
    news.read_to_string(&mut said).unwrap();
    assert_eq!(said, "forked");
}

fn law_06_every_use_before_an_exec_answers_forked() {
    let mut all = Everything::new();
    let before = all.kernel_view();
    let remote = all.remote.clone();
    let mut command = Command::new("true");
    // SAFETY: one thread, so the child may do anything.
    unsafe {
        command.pre_exec(move || match remote.call(|_| ()) {
            Err(Error::Forked) => Ok(()),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        });
    }
    assert!(command.status().expect("the call before exec was refused").success());
    assert_eq!(all.kernel_view(), before);
    all.assert_alive();
}

// Every drop.

fn law_06_no_drop_in_a_child_reaches_the_parent() {
    type Drops = (&'static str, fn(&mut Everything));
    let drops: [Drops; 9] = [
        ("reactor", |all| drop(all.reactor.take())),
        ("handle", |all| drop(all.handle.take())),
        ("registration", |all| drop(all.registration.take())),
        ("into_inner", |all| {
            let source = all.registration.take().unwrap().into_inner();
            drop(source.expect("its callback is not running"));
        }),
        ("task", |all| assert!(all.task.take().unwrap().abort())),
        ("io", |all| drop(all.io.take())),
        ("sleep", |all| drop(all.sleep.take())),
        ("everything, the reactor first", |all| {
            drop(all.reactor.take());
            all.drop_the_rest();
        }),
        ("everything, the reactor last", |all| {
            all.drop_the_rest();
            drop(all.reactor.take());
        }),
    ];
    for how in HOW {
        let mut all = Everything::new();
        for (what, drop_it) in drops {
            let before = all.kernel_view();
            in_child(how, || drop_it(&mut all));
            assert_eq!(all.kernel_view(), before, "{what} {how:?}");
        }
        all.assert_alive();
    }
}

fn law_06_a_registration_dropped_in_a_child_drops_closure_and_descriptor() {
    let reactor = Reactor::new().unwrap();
    let (source, _peer) = pair();
    let number = source.as_raw_fd();
    let held = Rc::new(());
    let captured = Rc::clone(&held);
    let registration = register(&reactor, source, move |_| {
        let _captured = &captured;
        Next::Wait
    });
    let mut registration = Some(registration);
    let before = kernel_view(&reactor);
    in_child(How::Fork, || {
        assert_eq!((is_open(number), Rc::strong_count(&held)), (true, 2));
        drop(registration.take());
        assert_eq!((is_open(number), Rc::strong_count(&held)), (false, 1));
    });
    assert_eq!(kernel_view(&reactor), before);
}

// Every wake.

fn law_06_a_waker_that_is_woken_in_a_child_does_not_wake_the_parent() {
    for how in HOW {
        let mut all = Everything::new();
        let before = (all.kernel_view(), all.polls.get());
        in_child(how, || {
            all.waker.wake_by_ref();
            let (here, elsewhere) = (all.waker.clone(), all.waker.clone());
            std::thread::spawn(move || elsewhere.wake()).join().unwrap();
            here.wake();
        });
        all.reactor.as_mut().unwrap().turn(Some(ZERO)).unwrap();
        assert_eq!((all.kernel_view(), all.polls.get()), before, "{how:?}");
        all.waker.wake_by_ref();
        all.reactor.as_mut().unwrap().turn(Some(ZERO)).unwrap();
        assert_eq!(all.polls.get(), before.1 + 1, "the parent's own wake does");
        all.assert_alive();
    }
}

/// The parent sleeps in its wait, so that a wake would have to write its eventfd.
fn law_06_a_remote_in_a_child_does_not_wake_a_parent_that_sleeps() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let (mut ready, tell) = std::io::pipe().unwrap();
    // The child is forked before the parent sleeps; it waits until the parent does.
    let parent = std::process::id();
    let child = split(How::Fork);
    if child == 0 {
        end_child(|| {
            drop(tell);
            ready.read_exact(&mut [0]).unwrap();
            wait_until_asleep(parent);
            assert!(matches!(remote.call(|_| panic!("in the parent")), Err(Error::Forked)));
            assert!(matches!(remote.stop(), Err(Error::Forked)));
        });
    }
    drop(ready);
    let before = reactor.stats();
    (&tell).write_all(b"x").unwrap();
    reactor.turn(Some(Duration::from_millis(300))).unwrap();
    join(child);
    let after = reactor.stats();
    assert_eq!(after.remote_calls, before.remote_calls);
    assert_eq!(eventfd_count(), 0, "nobody wrote it");
}

// A fork in the middle of a turn.

fn law_06_a_fork_inside_a_callback_ends_the_childs_turn() {
    for how in HOW {
        let mut reactor = Reactor::new().unwrap();
        let calls: Rc<Cell<u32>> = Rc::default();
        let child: Rc<Cell<Option<libc::pid_t>>> = Rc::default();
        let mut held = Vec::new();
        for _ in 0..3 {
            let (source, mut peer) = pair();
            peer.write_all(b"x").unwrap();
            let (calls, child) = (Rc::clone(&calls), Rc::clone(&child));
            let registration = register(&reactor, source, move |mut source| {
                calls.set(calls.get() + 1);
                let _ = source.read(&mut [0; 8]);
                if child.get().is_none() {
                    child.set(Some(split(how)));
                }
                Next::Wait
            });
            held.push((registration, peer));
        }
        let before = kernel_view(&reactor);
        let turned = reactor.turn(Some(ZERO));
        let child = child.get().expect("a callback has forked");
        if child == 0 {
            end_child(|| {
                assert!(matches!(turned, Err(Error::Forked)), "{turned:?}");
                assert_eq!(calls.get(), 1, "the other two are the parent's");
                assert!(matches!(reactor.turn(Some(ZERO)), Err(Error::Forked)));
                assert!(matches!(held[0].0.set_interest(Interest::NONE), Err(Error::Forked)));
                held.clear();
                drop(reactor);
            });
        }
        join(child);
        assert_eq!((turned.unwrap(), calls.get()), (3, 3), "{how:?}");
        assert_eq!(kernel_view(&reactor), before, "{how:?}");
        held[0].1.write_all(b"x").unwrap();
        reactor.turn(Some(ZERO)).unwrap();
        assert_eq!(calls.get(), 4);
    }
}

fn law_06_done_in_a_child_that_was_forked_inside_the_callback_does_not_delete() {
    ends_in_the_child_alone(|| Next::Done);
}

fn law_06_a_panic_in_a_child_that_was_forked_inside_the_callback_does_not_delete() {
    ends_in_the_child_alone(|| std::panic::resume_unwind(Box::new("on purpose")));
}

fn ends_in_the_child_alone(end: fn() -> Next) {
    for trigger in [Trigger::Edge, Trigger::Level, Trigger::Oneshot] {
        let mut reactor = Reactor::new().unwrap();
        let (source, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        let calls: Rc<Cell<u32>> = Rc::default();
        let child: Rc<Cell<Option<libc::pid_t>>> = Rc::default();
        let (counted, forked) = (Rc::clone(&calls), Rc::clone(&child));
        let registration = reactor.handle().register(source, READABLE, trigger, move |_, _| {
            counted.set(counted.get() + 1);
            if forked.get().is_none() {
                forked.set(Some(split(How::Fork)));
            }
            if forked.get() == Some(0) { end() } else { Next::Again }
        });
        let registration = registration.map_err(|(error, _)| error).unwrap();
        let before = kernel_view(&reactor);
        let turned = catch_unwind(AssertUnwindSafe(|| reactor.turn(Some(ZERO))));
        let child = child.get().expect("the callback has forked");
        if child == 0 {
            end_child(|| {
                assert!(!matches!(turned, Ok(Ok(_))));
                drop(registration);
                drop(reactor);
            });
        }
        join(child);
        assert!(turned.unwrap().unwrap() > 0);
        let after = kernel_view(&reactor);
        assert_eq!(after, before, "{trigger:?}");
        let calls_before = calls.get();
        reactor.turn(Some(ZERO)).unwrap();
        assert!(calls.get() > calls_before, "{trigger:?}: the parent is deaf");
    }
}

fn law_06_a_fork_inside_a_task_ends_the_childs_turn() {
    for how in HOW {
        for spawned_by_handle in [false, true] {
            let mut all = Everything::new();
            let child: Rc<Cell<Option<libc::pid_t>>> = Rc::default();
            let forked = Rc::clone(&child);
            let others: Rc<Cell<u32>> = Rc::default();
            let other = Rc::clone(&others);
            let forks = async move {
                forked.set(Some(split(how)));
                sleep(Duration::from_millis(1)).await;
            };
            let handle = all.handle.clone().unwrap();
            let task = if spawned_by_handle {
                Some(handle.spawn(forks))
            } else {
                handle.spawn_detached(forks);
                None
            };
            handle.spawn_detached(async move { other.set(other.get() + 1) });
            let reactor = all.reactor.as_mut().unwrap();
            let before = kernel_view(reactor);
            let turned = reactor.turn(Some(ZERO));
            let child = child.get().expect("the task has forked");
            if child == 0 {
                end_child(|| {
                    assert!(matches!(turned, Err(Error::Forked)), "{turned:?}");
                    assert_eq!(others.get(), 0, "the other task is the parent's");
                    drop(task);
                    drop(all.reactor.take());
                    all.drop_the_rest();
                });
            }
            join(child);
            turned.unwrap();
            assert_eq!(others.get(), 1);
            assert_eq!(all.kernel_view(), before);
            if let Some(task) = task {
                all.reactor.as_mut().unwrap().block_on(task).unwrap().unwrap();
            }
            all.assert_alive();
        }
    }
}

fn law_06_a_fork_inside_the_future_of_block_on_ends_the_childs_turn() {
    let mut reactor = Reactor::new().unwrap();
    let child: Rc<Cell<Option<libc::pid_t>>> = Rc::default();
    let forked = Rc::clone(&child);
    let slept = reactor.block_on(async move {
        forked.set(Some(split(How::Fork)));
        sleep(Duration::from_millis(1)).await;
        Handle::current()?.spawn(async { 7 }).await
    });
    let child = child.get().expect("the future has forked");
    if child == 0 {
        end_child(|| {
            assert!(matches!(slept, Err(Error::Forked)), "{slept:?}");
            assert!(matches!(reactor.block_on(async {}), Err(Error::Forked)));
        });
    }
    join(child);
    assert_eq!(slept.unwrap().unwrap(), 7);
}

fn law_06_a_fork_inside_a_timer_ends_the_childs_turn() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let child: Rc<Cell<Option<libc::pid_t>>> = Rc::default();
    let (forked, neighbours) = (Rc::clone(&child), Rc::new(Cell::new(0)));
    let neighbour = Rc::clone(&neighbours);
    let deadline = Instant::now();
    handle.at(deadline, move || forked.set(Some(split(How::Fork)))).unwrap();
    handle.at(deadline, move || neighbour.set(neighbour.get() + 1)).unwrap();
    let slept = reactor.block_on(sleep(Duration::from_millis(2)));
    let child = child.get().expect("the timer has forked");
    if child == 0 {
        end_child(|| {
            assert!(matches!(slept, Err(Error::Forked)), "{slept:?}");
            assert_eq!(neighbours.get(), 0, "the other timer is the parent's");
        });
    }
    join(child);
    slept.unwrap();
    assert_eq!(neighbours.get(), 1);
}

/// Breaks if the child goes on emptying its copy of the mailbox: each call would run twice.
fn law_06_a_fork_inside_a_remote_call_leaves_the_other_calls_to_the_parent() {
    let mut reactor = Reactor::new().unwrap();
    let (mut news, tell) = std::io::pipe().unwrap();
    let child = Arc::new(std::sync::OnceLock::new());
    let forked = Arc::clone(&child);
    reactor.remote().call(move |_| forked.set(split(How::Fork)).unwrap()).unwrap();
    let mut tells = tell.try_clone().unwrap();
    reactor.remote().call(move |_| tells.write_all(b"c").unwrap()).unwrap();
    let mut tells = tell.try_clone().unwrap();
    reactor.handle().spawn_detached(async move { tells.write_all(b"t").unwrap() });
    let turned = reactor.turn(Some(ZERO));
    let child = *child.get().expect("the call has forked");
    if child == 0 {
        end_child(|| assert!(matches!(turned, Err(Error::Forked)), "{turned:?}"));
    }
    join(child);
    turned.unwrap();
    drop((reactor, tell));
    let mut said = String::new();
    news.read_to_string(&mut said).unwrap();
    assert_eq!(said, "ct", "once each, by the parent");
}

// after_fork.

fn law_06_after_fork_serves_the_listener_and_drops_the_rest() {
    for how in HOW {
        let mut all = Everything::new();
        let listener = Listener::on(all.reactor.as_ref().unwrap());
        let listener_registration = listener.registration.replace(None).unwrap();
        listener_registration.detach();
        let number = all.registration.as_ref().unwrap().source().as_raw_fd();
        let before = all.kernel_view();
        in_child(how, || {
            let reactor = all.reactor.as_mut().unwrap();
            reactor.after_fork().unwrap();
            let list = kernel_view(reactor).list;
            assert_eq!(list.len(), 2, "the listener and the new eventfd: {list:?}");
            assert!(all.task.as_ref().unwrap().is_finished(), "the task is gone");
            assert_eq!(Rc::strong_count(&all.bytes), 1, "and so is what it held");
            assert_eq!(Rc::strong_count(&all.fired), 1, "and the timer's closure");
            assert_eq!(Rc::strong_count(&all.calls), 1, "and the callback");
            let registration = all.registration.take().unwrap();
            assert!(registration.set_interest(READABLE).is_err());
            assert!(registration.resume().is_err());
            assert!(is_open(number), "it is still held");
            drop(registration);
            assert!(!is_open(number));
            assert_eq!(listener.serve(reactor), "served 1");
            assert_eq!(listener.serve(reactor), "served 2");
            let echoed = reactor.block_on(async {
                let (ours, theirs) = net::UnixStream::pair()?;
                Handle::current()?.spawn_detached(async move {
                    theirs.write_all(b"xyz").await.unwrap();
                });
                ours.read(&mut [0; 8]).await
            });
            assert_eq!(echoed.unwrap().unwrap(), 3);
            assert!(matches!(all.remote.call(|_| ()), Err(Error::Forked)), "the parent's");
        });
        assert_eq!(all.kernel_view(), before, "{how:?}");
        assert_eq!(listener.serve(all.reactor.as_mut().unwrap()), "served 1", "the parent's first");
        all.assert_alive();
    }
}

/// What was registered by its owner stays its owner's: it can be paused, asked for nothing, ended.
fn law_06_after_fork_keeps_the_registration_of_a_listener() {
    let mut reactor = Reactor::new().unwrap();
    let listener = Listener::on(&reactor);
    let number = listener.registration.borrow().as_ref().unwrap().source().as_fd().as_raw_fd();
    let before = kernel_view(&reactor);
    in_child(How::Fork, || {
        reactor.after_fork().unwrap();
        assert_eq!(listener.serve(&mut reactor), "served 1");
        let registration = listener.registration.take().unwrap();
        registration.set_interest(Interest::NONE).unwrap();
        assert_eq!(kernel_view(&reactor).list.len(), 1);
        registration.set_interest(READABLE).unwrap();
        listener.registration.replace(Some(registration));
        assert_eq!(listener.serve(&mut reactor), "served 2");
        drop(listener.registration.take());
        assert_eq!((kernel_view(&reactor).list.len(), is_open(number)), (1, false));
    });
    assert_eq!(kernel_view(&reactor), before);
    assert_eq!(listener.serve(&mut reactor), "served 1");
}

fn law_06_after_fork_keeps_a_pause_until_resume() {
    for trigger in [Trigger::Edge, Trigger::Level, Trigger::Oneshot] {
        let mut reactor = Reactor::new().unwrap();
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let calls: Rc<Cell<u32>> = Rc::default();
        let counted = Rc::clone(&calls);
        let paused = reactor.handle().register(listener, READABLE, trigger, move |listener, _| {
            while listener.try_accept().is_ok() {}
            counted.set(counted.get() + 1);
            Next::Pause
        });
        let paused = paused.map_err(|(error, _)| error).unwrap();
        let _first = std::net::TcpStream::connect(addr).unwrap();
        reactor.turn(Some(ZERO)).unwrap();
        let _second = std::net::TcpStream::connect(addr).unwrap();
        in_child(How::Fork, || {
            reactor.after_fork().unwrap();
            reactor.turn(Some(ZERO)).unwrap();
            assert_eq!(calls.get(), 1, "{trigger:?}: still paused");
            paused.resume().unwrap();
            reactor.turn(Some(ZERO)).unwrap();
            assert_eq!(calls.get(), 2, "{trigger:?}: the second one is served");
        });
    }
}

fn law_06_after_fork_inside_a_batch_keeps_the_listener_whose_callback_forked() {
    let mut reactor = Reactor::new().unwrap();
    let listener = Listener::on(&reactor);
    // mio's own type, which in a debug build remembers the poll that it was registered with.
    let other = mio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = other.local_addr().unwrap();
    let child: Rc<Cell<Option<libc::pid_t>>> = Rc::default();
    let (forked, told) = (Rc::clone(&child), Rc::new(Cell::new(0)));
    let tells = Rc::clone(&told);
    let callback = move |listener: &mio::net::TcpListener, _| {
        while listener.accept().is_ok() {
            tells.set(tells.get() + 1);
        }
        if forked.get().is_none() {
            forked.set(Some(split(How::Fork)));
        }
        Next::Wait
    };
    let other = reactor.handle().register(other, READABLE, Trigger::Edge, callback);
    let other = other.map_err(|(error, _)| error).unwrap();
    let _first = std::net::TcpStream::connect(addr).unwrap();
    let turned = reactor.turn(Some(ZERO));
    let child = child.get().expect("the callback has forked");
    if child == 0 {
        end_child(|| {
            assert!(matches!(turned, Err(Error::Forked)), "{turned:?}");
            reactor.after_fork().unwrap();
            assert_eq!(kernel_view(&reactor).list.len(), 3);
            let _second = std::net::TcpStream::connect(addr).unwrap();
            reactor.turn(Some(ZERO)).unwrap();
            assert_eq!(told.get(), 2, "registered again, edge-triggered");
            assert_eq!(listener.serve(&mut reactor), "served 1");
        });
    }
    join(child);
    assert_eq!((turned.unwrap(), told.get()), (1, 1));
    assert_eq!(listener.serve(&mut reactor), "served 1");
    drop(other);
}

fn law_06_after_fork_gives_a_mailbox_and_timers_of_its_own() {
    let mut all = Everything::new();
    let calls = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counts = Arc::clone(&calls);
    let counted = move |_: &Handle| {
        counts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    all.remote.call(counted.clone()).unwrap();
    let before = all.kernel_view();
    in_child(How::Fork, || {
        let reactor = all.reactor.as_mut().unwrap();
        reactor.after_fork().unwrap();
        let remote = reactor.remote();
        let started = Instant::now();
        std::thread::spawn(move || {
            remote.call(counted).unwrap();
            remote.call(|handle| handle.stop()).unwrap();
        });
        reactor.run().unwrap();
        let ran = calls.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(ran, 1, "its own call; the one before the fork is the parent's");
        reactor.block_on(sleep(Duration::from_millis(5))).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(5));
        assert!(matches!(all.remote.stop(), Err(Error::Forked)));
        assert!(matches!(all.remote.stats(), Err(Error::Forked)));
        assert!(reactor.remote().stats().is_ok());
        all.waker.wake_by_ref(); // the parent's task
        reactor.turn(Some(ZERO)).unwrap();
    });
    assert_eq!(all.kernel_view(), before);
    all.assert_alive();
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// A timerfd is shared as every open file is: to set the child's copy would set the parent's.
fn law_06_fine_timers_of_a_child_leave_its_parents_alarm_alone() {
    for how in HOW {
        let mut reactor = Reactor::builder().fine_timers(true).build().unwrap();
        reactor.handle().after(Duration::from_secs(1000), || panic!("in a quarter")).unwrap();
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        let alarm = || {
            let [alarm] = &alarms()[..] else { panic!("{:?}", alarms()) };
            // Seconds and nanoseconds until it goes off.
            let (_, left) = alarm.split_once("it_value: (").unwrap();
            left.split(',').next().unwrap().parse::<u64>().unwrap()
        };
        assert!(alarm() > 900);
        let (parent, before) = (RefCell::new(Some(reactor)), alarms().len());
        in_child(how, || {
            let mut reactor = parent.take().unwrap();
            assert!(matches!(reactor.turn(Some(ZERO)), Err(Error::Forked)));
            reactor.after_fork().unwrap();
            assert_eq!(alarms().len(), before, "the parent's is closed, and there is a new one");
            let begun = Instant::now();
            reactor.block_on(sleep(Duration::from_micros(2300))).unwrap();
            assert!(begun.elapsed() >= Duration::from_micros(2300));
            drop(reactor);
            assert_eq!(alarms().len(), 0);
        });
        in_child(how, || drop(parent.take()));
        assert!(alarm() > 900, "{:?}", alarms());
        drop(parent);
        assert_eq!(alarms().len(), 0);
    }
}

/// What the kernel tells of each timerfd of this process.
fn alarms() -> Vec<String> {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let is_alarm = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|link| link.as_os_str() == "anon_inode:[timerfd]")
    };
    let info = |entry: std::fs::DirEntry| {
        let number = entry.file_name().into_string().unwrap();
        std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap()
    };
    numbers.filter(is_alarm).map(info).collect()
}

fn law_06_after_fork_does_nothing_in_a_process_that_has_not_forked() {
    let mut all = Everything::new();
    let before = all.kernel_view();
    all.reactor.as_mut().unwrap().after_fork().unwrap();
    assert_eq!(all.kernel_view(), before);
    all.registration.as_ref().unwrap().set_interest(Interest::NONE).unwrap();
    all.registration.as_ref().unwrap().set_interest(READABLE).unwrap();
    all.assert_alive();
}

fn law_06_after_fork_works_again_in_a_grandchild() {
    let mut reactor = Reactor::new().unwrap();
    let listener = Listener::on(&reactor);
    let (grand, parents) = (RefCell::new(&mut reactor), &listener);
    let before = kernel_view(&grand.borrow());
    in_child(How::Fork, || {
        let reactor = &mut *grand.borrow_mut();
        reactor.after_fork().unwrap();
        assert_eq!(parents.serve(reactor), "served 1");
        let childs = kernel_view(reactor);
        in_child(How::RawClone, || {
            assert!(matches!(reactor.turn(Some(ZERO)), Err(Error::Forked)));
            reactor.after_fork().unwrap();
            assert_eq!(parents.serve(reactor), "served 2");
        });
        assert_eq!(kernel_view(reactor), childs);
        assert_eq!(parents.serve(reactor), "served 2");
    });
    assert_eq!(kernel_view(&grand.borrow()), before);
    assert_eq!(listener.serve(&mut reactor), "served 1");
}

/// Breaks if the child's fresh wheel or tables start their serials again.
fn law_06_keys_from_before_the_fork_do_not_fit_what_is_made_after_it() {
    let mut all = Everything::new();
    in_child(How::Fork, || {
        let reactor = all.reactor.as_mut().unwrap();
        reactor.after_fork().unwrap();
        let handle = reactor.handle();
        let fired: Rc<Cell<u32>> = Rc::default();
        for _ in 0..10 {
            let fired = Rc::clone(&fired);
            handle.after(Duration::from_millis(1), move || fired.set(fired.get() + 1)).unwrap();
        }
        let sleeps: Vec<_> =
            (0..10).map(|_| handle.spawn(sleep(Duration::from_millis(1)))).collect();
        let (source, mut peer) = pair();
        let calls: Rc<Cell<u32>> = Rc::default();
        let new = register(reactor, source, counts_calls(&calls));
        reactor.turn(Some(ZERO)).unwrap();

        assert!(!handle.cancel(all.timer), "it is the parent's");
        let old = all.registration.take().unwrap();
        assert!(handle.set_interest(old.token(), Interest::NONE).is_err());
        assert!(!handle.deregister(old.token()).unwrap());
        drop((old, all.io.take(), all.sleep.take()));
        assert!(!all.task.take().unwrap().abort());
        all.waker.wake_by_ref();

        reactor.block_on(sleep(Duration::from_millis(2))).unwrap();
        assert_eq!(fired.get(), 10);
        assert!(sleeps.iter().all(JoinHandle::is_finished));
        peer.write_all(b"x").unwrap();
        reactor.turn(Some(ZERO)).unwrap();
        assert_eq!(calls.get(), 1);
        drop(new);
    });
    all.assert_alive();
}

// A second reactor in the child.

fn law_06_a_second_reactor_in_the_child_works() {
    for how in HOW {
        let mut all = Everything::new();
        let before = all.kernel_view();
        in_child(how, || {
            Everything::new().assert_alive();
            all.assert_forked();
            drop(all.reactor.take());
            all.drop_the_rest();
            let mut second = Everything::new();
            let listener = Listener::on(second.reactor.as_ref().unwrap());
            assert_eq!(listener.serve(second.reactor.as_mut().unwrap()), "served 1");
            second.assert_alive();
        });
        assert_eq!(all.kernel_view(), before, "{how:?}");
        all.assert_alive();
    }
}

fn law_06_a_second_reactor_works_inside_a_callback_of_the_inherited_one() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    let registration = register(&reactor, source, |mut source| {
        let _ = source.read(&mut [0; 8]);
        in_child(How::Fork, || Everything::new().assert_alive());
        Next::Wait
    });
    assert_eq!(reactor.turn(Some(ZERO)).unwrap(), 1);
    drop(registration);
}

/// Breaks if the child waits for ever for what only the parent's reactor can end.
fn law_06_futures_of_the_parent_end_in_the_childs_reactor() {
    let mut all = Everything::new();
    let mut short = armed(all.reactor.as_mut().unwrap(), Duration::from_millis(20));
    let foreign = poll_fn(|_| {
        let mut foreign = sleep(Duration::from_millis(20));
        assert!(foreign.poll_elapsed(&mut Context::from_waker(Waker::noop())).is_pending());
        Poll::Ready(foreign)
    });
    let mut foreign = all.reactor.as_mut().unwrap().block_on(foreign).unwrap();
    in_child(How::Fork, || {
        let mut second = Reactor::new().unwrap();
        let joined = second.block_on(all.task.take().unwrap()).unwrap();
        assert!(matches!(joined, Err(Error::Forked)), "{joined:?}");
        let refused = second.block_on(all.handle.as_ref().unwrap().spawn(async {})).unwrap();
        assert!(matches!(refused, Err(Error::Cancelled)), "{refused:?}");
        let io = all.io.take().unwrap();
        let ready = second.block_on(io.ready(Side::Read)).unwrap();
        assert!(matches!(ready, Err(Error::Forked)), "{ready:?}");
        let read = io.with(Side::Read, |mut source| source.read(&mut [0]));
        let error = second.block_on(read).unwrap().unwrap_err();
        assert_eq!(error.to_string(), Error::Forked.to_string());
        let deadline = short.deadline();
        second.block_on(&mut short).unwrap();
        assert!(Instant::now() >= deadline, "a sleep goes on in the child, and is not early");
        let polled = second.block_on(async {
            let deadline = foreign.deadline();
            let mut poll = || foreign.poll_elapsed(&mut Context::from_waker(Waker::noop()));
            let _ = poll();
            sleep_until(deadline + Duration::from_millis(1)).await;
            poll()
        });
        assert!(polled.unwrap().is_ready(), "also where the same waker polls it");
    });
    all.assert_alive();
}

// Threads.

/// To drop them is to empty the channel, and that waits for whoever was just sending: for ever, if
/// the fork did not copy it.
fn law_06_calls_that_wait_in_the_mailbox_are_leaked_in_a_child() {
    let mut all = Everything::new();
    let kept = Arc::new(());
    let sent = Arc::clone(&kept);
    all.remote.call(move |_| drop(sent)).unwrap();
    for after_fork in [false, true] {
        in_child(How::Fork, || {
            if after_fork {
                all.reactor.as_mut().unwrap().after_fork().unwrap();
            }
            drop(all.reactor.take());
            all.drop_the_rest();
            assert_eq!(Arc::strong_count(&kept), 2, "after_fork: {after_fork}");
        });
    }
    all.assert_alive();
    assert_eq!(Arc::strong_count(&kept), 1, "the parent has run it");
}

/// A fork copies the calling thread alone: whatever lock another one holds stays held for ever.
fn law_06_threads_that_vanish_leave_no_lock_behind() {
    let mut reactor = Reactor::new().unwrap();
    let listener = Listener::on(&reactor);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (remote, stop) = (reactor.remote(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    remote.call(|_| ()).unwrap();
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    for round in 0..100 {
        let child = split(How::Fork);
        if child == 0 {
            // No catch and no message here: printing takes a lock that a thread may hold.
            if round % 2 == 0 {
                drop(listener);
                drop(reactor);
            } else {
                let ok = reactor.after_fork().is_ok() && listener.serve(&mut reactor) == "served 1";
                drop(reactor);
                if !ok {
                    exit(101);
                }
            }
            exit(0);
        }
        // Not before: the listener is shared, and the parent would take what the child asks itself.
        join(child);
        reactor.turn(Some(ZERO)).unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
}

// What the cases are made of.

/// A reactor with one of each: a callback, a task that reads, a timer, an `Io`, an armed sleep.
struct Everything {
    reactor: Option<Reactor>,
    handle: Option<Handle>,
    remote: Remote,
    registration: Option<Registration<UnixStream>>,
    peer: UnixStream,
    calls: Rc<Cell<u32>>,
    task: Option<JoinHandle<()>>,
    task_peer: std::net::TcpStream,
    bytes: Rc<Cell<usize>>,
    timer: Timer,
    fired: Rc<Cell<u32>>,
    io: Option<Io<UnixStream>>,
    io_peer: UnixStream,
    sleep: Option<Sleep>,
    waker: Waker,
    polls: Rc<Cell<u32>>,
}

impl Everything {
    fn new() -> Self {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let (source, peer) = pair();
        let calls: Rc<Cell<u32>> = Rc::default();
        let registration = register(&reactor, source, counts_calls(&calls));
        let (stream, task_peer) = tcp_pair();
        let bytes: Rc<Cell<usize>> = Rc::default();
        let task = handle.spawn(counts_bytes(stream, Rc::clone(&bytes)));
        let fired: Rc<Cell<u32>> = Rc::default();
        let timer = arm_timer(&handle, Duration::from_millis(1), &fired);
        let (source, io_peer) = pair();
        let io = Io::new(source, READABLE);
        let armed = armed(&mut reactor, HOUR);
        let polls: Rc<Cell<u32>> = Rc::default();
        let waker = spawn_for_its_waker(&mut reactor, &polls);
        let read = io.with(Side::Read, |mut source| source.read(&mut [0]));
        let lost = reactor.block_on(timeout(ZERO, read)).unwrap();
        assert!(matches!(lost, Err(Error::TimedOut)));
        Self {
            remote: reactor.remote(),
            reactor: Some(reactor),
            handle: Some(handle),
            registration: Some(registration),
            peer,
            calls,
            task: Some(task),
            task_peer,
            bytes,
            timer,
            fired,
            io: Some(io),
            io_peer,
            sleep: Some(armed),
            waker,
            polls,
        }
        .with_a_timer_that_is_not_due()
    }

    /// The first one served the turns above; this one is to survive the child.
    fn with_a_timer_that_is_not_due(mut self) -> Self {
        let handle = self.handle.as_ref().expect("just made");
        handle.cancel(self.timer);
        self.fired.set(0);
        self.timer = arm_timer(handle, Duration::from_millis(300), &self.fired);
        self
    }

    fn kernel_view(&self) -> KernelView {
        kernel_view(self.reactor.as_ref().expect("the parent keeps it"))
    }

    /// In the child: each operation answers with the typed error.
    fn assert_forked(&mut self) {
        let reactor = self.reactor.as_mut().unwrap();
        let handle = self.handle.as_ref().unwrap();
        let registration = self.registration.as_ref().unwrap();
        let token = registration.token();
        let (source, _peer) = pair();
        let refused = handle.register(source, READABLE, Trigger::Level, |_, _| Next::Wait);
        let refused = refused.map(drop).map_err(|(error, _source)| error);
        let io = self.io.as_ref().unwrap();
        let dropped = Rc::new(());
        let captured = Rc::clone(&dropped);
        drop(handle.spawn(async move {
            let _captured = captured;
            pending::<()>().await;
        }));
        assert_eq!(Rc::strong_count(&dropped), 1, "a refused task is dropped");
        for (what, result) in [
            ("run", reactor.run()),
            ("turn", reactor.turn(Some(ZERO)).map(drop)),
            ("block_on", reactor.block_on(async {})),
            ("Handle::register", refused),
            ("Handle::set_interest", handle.set_interest(token, Interest::BOTH)),
            ("Handle::resume", handle.resume(token)),
            ("Handle::deregister", handle.deregister(token).map(drop)),
            ("Handle::after", handle.after(ZERO, || ()).map(drop)),
            ("Handle::at", handle.at(Instant::now(), || ()).map(drop)),
            ("Registration::set_interest", registration.set_interest(Interest::NONE)),
            ("Registration::resume", registration.resume()),
            ("Registration::rearm", registration.rearm()),
            ("Remote::call", self.remote.call(|_| ())),
            ("Remote::stop", self.remote.stop()),
            ("Remote::stats", self.remote.stats().map(drop)),
            ("Remote::call of a later one", handle.remote().call(|_| ())),
        ] {
            assert!(matches!(result, Err(Error::Forked)), "{what}: {result:?}");
        }
        assert!(
            poll_once(io.ready(Side::Read))
                .is_some_and(|ready| { matches!(ready, Err(Error::Forked)) })
        );
        handle.stop();
    }

    /// In the parent: callback, task, `Io` and timer hear of what comes next.
    fn assert_alive(&mut self) {
        let reactor = self.reactor.as_mut().expect("the parent keeps it");
        let before = (self.calls.get(), self.bytes.get());
        self.peer.write_all(b"x").unwrap();
        self.task_peer.write_all(b"x").unwrap();
        self.io_peer.write_all(b"x").unwrap();
        while self.calls.get() == before.0 || self.bytes.get() == before.1 || self.fired.get() == 0
        {
            reactor.turn(None).unwrap(); // the alarm ends a parent that has gone deaf
        }
        let io = self.io.as_ref().expect("the parent keeps it");
        let read = io.with(Side::Read, |mut source| source.read(&mut [0; 8]));
        assert_eq!(reactor.block_on(read).unwrap().unwrap(), 1);
        assert_eq!((self.calls.get(), self.bytes.get()), (before.0 + 1, before.1 + 1));
        assert_eq!(self.fired.get(), 1);
        assert!(self.sleep.is_some() && !self.task.as_ref().unwrap().is_finished());
    }

    fn drop_the_rest(&mut self) {
        drop((self.registration.take(), self.task.take(), self.io.take(), self.sleep.take()));
        drop(self.handle.take());
    }
}

/// A listener whose callback tells each client how many it has served.
struct Listener {
    addr: SocketAddr,
    registration: RefCell<Option<Registration<net::TcpListener>>>,
}

impl Listener {
    fn on(reactor: &Reactor) -> Self {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut served = 0;
        let callback = move |listener: &net::TcpListener, _| {
            while let Ok((stream, _)) = listener.try_accept() {
                served += 1;
                stream.try_write(format!("served {served}").as_bytes()).unwrap();
            }
            Next::Wait
        };
        let registration = reactor.handle().register(listener, READABLE, Trigger::Level, callback);
        let registration = registration.map_err(|(error, _)| error).unwrap();
        Self { addr, registration: RefCell::new(Some(registration)) }
    }

    fn serve(&self, reactor: &mut Reactor) -> String {
        let mut client = std::net::TcpStream::connect(self.addr).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut said = String::new();
        while client.read_to_string(&mut said).is_err() {
            reactor.turn(None).unwrap();
        }
        said
    }
}

fn register(
    reactor: &Reactor,
    source: UnixStream,
    mut callback: impl FnMut(&UnixStream) -> Next + 'static,
) -> Registration<UnixStream> {
    let callback = move |source: &UnixStream, _| callback(source);
    let registration = reactor.handle().register(source, READABLE, Trigger::Level, callback);
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

async fn counts_bytes(stream: net::TcpStream, bytes: Rc<Cell<usize>>) {
    while let Ok(n @ 1..) = stream.read(&mut [0; 8]).await {
        bytes.set(bytes.get() + n);
    }
}

fn arm_timer(handle: &Handle, delay: Duration, fired: &Rc<Cell<u32>>) -> Timer {
    let fired = Rc::clone(fired);
    handle.after(delay, move || fired.set(fired.get() + 1)).unwrap()
}

fn armed(reactor: &mut Reactor, delay: Duration) -> Sleep {
    let armed = poll_fn(|cx| {
        let mut sleep = sleep(delay); // made here, so that it cannot be over yet
        assert!(sleep.poll_elapsed(cx).is_pending());
        Poll::Ready(sleep)
    });
    reactor.block_on(armed).unwrap()
}

fn spawn_for_its_waker(reactor: &mut Reactor, polls: &Rc<Cell<u32>>) -> Waker {
    let (polls, waker) = (Rc::clone(polls), Rc::new(RefCell::new(None)));
    let given = Rc::clone(&waker);
    reactor.handle().spawn_detached(poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        given.replace(Some(cx.waker().clone()));
        Poll::Pending
    }));
    reactor.turn(Some(ZERO)).unwrap();
    waker.take().expect("a spawned task is polled in the next turn")
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let future: Pin<&mut F> = future.as_mut();
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn tcp_pair() -> (net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    (net::TcpStream::from_std(stream).unwrap(), peer)
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: reads a flag; a number that is not open is answered with EBADF.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

// What the kernel says of the parent's objects.

#[derive(Debug, PartialEq, Eq)]
struct KernelView {
    /// The epoll's list: descriptor, mask, token and inode of each entry.
    list: Vec<String>,
    /// Writes to this process's eventfds that nobody has read (mio never reads its own), but for
    /// those that the reactor counts itself: a turn that leaves something over calls its host,
    /// because `as_raw_fd` lends the descriptor.
    foreign_writes: u64,
}

fn kernel_view(reactor: &Reactor) -> KernelView {
    let mut list = kernel::epoll_list(reactor.as_raw_fd());
    list.sort_unstable();
    let own = reactor.stats().eventfd_writes;
    KernelView { list, foreign_writes: eventfd_count().wrapping_sub(own) }
}

/// What was written to the eventfds of this process and not read: the sum of all counts.
fn eventfd_count() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| kernel::link(*fd).is_some_and(|link| link.contains("[eventfd]")))
        .map(|fd| {
            let info = kernel::info(fd);
            let count = info.lines().find_map(|line| line.strip_prefix("eventfd-count:"));
            u64::from_str_radix(count.unwrap_or_default().trim(), 16).expect("a hexadecimal count")
        })
        .sum()
}

/// Waits until the process sleeps in the kernel (state S in /proc/PID/stat).
fn wait_until_asleep(pid: u32) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')) {
            return;
        }
        std::thread::yield_now();
    }
}

// Ways to fork.

#[derive(Clone, Copy, Debug)]
enum How {
    Fork,
    /// Not even pthread_atfork handlers hear of it.
    RawClone,
    /// fork without the handlers.
    UnderscoreFork,
    /// The child forks again; the middle one passes the status on.
    Grandchild,
}

const HOW: [How; 4] = [How::Fork, How::RawClone, How::UnderscoreFork, How::Grandchild];

/// Forks. 0 in the child, which must end by `end_child` or `exit`.
fn split(how: How) -> libc::pid_t {
    let fork = || {
        // SAFETY: the child may use what one thread may; the case with threads says how it copes.
        unsafe { libc::fork() }
    };
    let pid = match how {
        How::Fork => fork(),
        How::RawClone => {
            // SAFETY: without CLONE_VM it is a fork; a null stack means the parent's copy.
            let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
            pid as libc::pid_t
        }
        How::UnderscoreFork => match underscore_fork() {
            // SAFETY: as fork.
            Some(underscore_fork) => unsafe { underscore_fork() },
            None => fork(),
        },
        How::Grandchild => match fork() {
            0 => match fork() {
                0 => 0,
                pid => exit(wait(pid)),
            },
            pid => pid,
        },
    };
    assert!(pid >= 0, "{how:?}: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: ends a child that hangs.
        unsafe { libc::alarm(30) };
    }
    pid
}

/// Runs `f` in a child and requires that it succeeds.
fn in_child(how: How, f: impl FnOnce()) {
    match split(how) {
        0 => end_child(f),
        pid => join(pid),
    }
}

/// Runs the child's part, and ends the child.
fn end_child(f: impl FnOnce()) -> ! {
    exit(if catch_unwind(AssertUnwindSafe(f)).is_ok() { 0 } else { 101 })
}

fn exit(status: i32) -> ! {
    // SAFETY: ends the process at once, without the parent's exit handlers.
    unsafe { libc::_exit(status) }
}

fn join(pid: libc::pid_t) {
    assert_eq!(wait(pid), 0, "the child failed: see above");
}

/// The exit status of a child; a signal counts as 128 and its number, as in a shell.
fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid, "{}", std::io::Error::last_os_error());
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

fn underscore_fork() -> Option<unsafe extern "C" fn() -> libc::pid_t> {
    // SAFETY: the name ends in a zero byte.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Fork".as_ptr()) };
    if symbol.is_null() {
        return None;
    }
    // SAFETY: POSIX gives `_Fork` this type.
    Some(unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> i32>(symbol) })
}

// The runner.

fn run_one(name: &str) -> ExitCode {
    let Some((_, case)) = CASES.iter().find(|(known, _)| *known == name) else {
        eprintln!("no case is called {name}");
        return ExitCode::FAILURE;
    };
    // SAFETY: ends a case that hangs.
    unsafe { libc::alarm(60) };
    case();
    ExitCode::SUCCESS
}

fn run_all() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = CASES
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|part| name.contains(*part)));
    let (mut passed, mut failed) = (0, 0);
    for (name, _) in chosen {
        if arguments.iter().any(|word| word == "--list") {
            println!("{name}: test");
            continue;
        }
        let output = Command::new("/proc/self/exe").env(CASE, name).output();
        let output = output.expect("this program can start itself");
        let said = String::from_utf8_lossy(&output.stdout);
        match (output.status.success(), said.trim()) {
            (true, "") => println!("test {name} ... ok"),
            (true, skipped) => println!("test {name} ... ok ({skipped})"),
            (false, _) => {
                println!("test {name} ... FAILED ({})", output.status);
                println!("{}{}", said, String::from_utf8_lossy(&output.stderr));
            }
        }
        if output.status.success() { passed += 1 } else { failed += 1 }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
