//! Law 12, nothing spins unseen: reports that lead to nothing are counted, and others are not.
//!
//! What is judged is progress, never a rate: a busy source must not be named.
//!
//! The family's causes (docs/the-bug.md) that the interface still lets one write are written here, and
//! each is named with its descriptor and the line of this file.

mod sockets;
mod turning;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::Location;
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockets::tcp_pair;
use squall_reactor::net::{TcpListener, TcpStream, UnixStream};
use squall_reactor::snapshot::SourcePhase;
use squall_reactor::{
    Config, Fd, Handle, Interest, Io, Next, PipeReader, Reactor, Readiness, Side, SpinPolicy,
    SpinReport, Spinner, Trigger, sleep, sleep_until, yield_now,
};
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
    reactor_with(SpinPolicy::count())
}

fn pair() -> (StdUnixStream, StdUnixStream) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

// The family.

/// Cause d: `read() == 0` is readable for ever. The first is news, the others are not.
#[test]
fn law_12_an_end_that_a_callback_ignores_is_named() {
    let (mut reactor, named) = telling();
    let (ours, theirs) = pair();
    let fd = ours.as_raw_fd();
    drop(theirs);
    let registration = reactor.handle().register(
        UnixStream::from_std(ours).unwrap(),
        Interest::READABLE,
        Trigger::Level,
        |source: &UnixStream, _| {
            let _ = source.try_read(&mut [0; 16]);
            Next::Wait
        },
    );
    let line = line!() - 9;
    let _registration = registration.map_err(|(error, _)| error).unwrap();
    let report = first(&mut reactor, &named);
    assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    assert_eq!(report.trigger, Some(Trigger::Level));
    assert!(report.last_readiness.is_read_closed());
    assert_eq!(reactor.stats().progress, 1, "the first end is news");
}

/// Cause d in a task: no report and no system call that waits comes into it.
#[test]
fn law_12_an_end_that_a_task_ignores_is_named() {
    for known_before in [false, true] {
        let (mut reactor, named) = telling();
        let (ours, theirs) = tcp_pair();
        let fd = ours.as_raw_fd();
        let (stream, line) = (TcpStream::from_std(ours).unwrap(), line!());
        let theirs = (!known_before).then_some(theirs);
        reactor.handle().spawn_detached(async move {
            loop {
                let _ = stream.read(&mut [0; 16]).await;
            }
        });
        turn_at_once(&mut reactor, 1);
        drop(theirs);
        let report = first(&mut reactor, &named);
        assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    }
}

/// The same of a pipe, in a task and in a callback.
#[test]
fn law_12_the_end_of_a_pipe_that_is_ignored_is_named() {
    for in_a_task in [false, true] {
        let (mut reactor, named) = telling();
        let (reader, line) = (squall_reactor::pipe().unwrap().0, line!());
        let fd = std::os::fd::AsFd::as_fd(&reader).as_raw_fd();
        let line = if in_a_task {
            reactor.handle().spawn_detached(async move {
                loop {
                    let _ = reader.read(&mut [0; 16]).await;
                }
            });
            line
        } else {
            let read = |pipe: &PipeReader, _: squall_reactor::Ready| {
                let _ = pipe.try_read(&mut [0; 16]);
                Next::Wait
            };
            let (handle, line) = (reactor.handle(), line!() + 1);
            let registered = handle.register(reader, Interest::READABLE, Trigger::Level, read);
            registered.map_err(|(error, _)| error).unwrap().detach();
            line
        };
        let report = first(&mut reactor, &named);
        assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line), "{in_a_task}");
    }
}

/// A write of nothing is no progress either, on whatever it is written.
#[test]
fn law_12_writes_of_nothing_are_named() {
    async fn for_ever(write: impl AsyncFn() -> io::Result<usize>) {
        while let Ok(0) = write().await {}
    }
    let (ours, _theirs) = pair();
    let (tcp, _peer) = tcp_pair();
    let (_reader, pipe) = squall_reactor::pipe().unwrap();
    let (unix, tcp) = (UnixStream::from_std(ours).unwrap(), TcpStream::from_std(tcp).unwrap());
    let futures: [Pin<Box<dyn Future<Output = ()>>>; 3] = [
        Box::pin(for_ever(async move || unix.write(&[]).await)),
        Box::pin(for_ever(async move || tcp.write(&[]).await)),
        Box::pin(for_ever(async move || pipe.write(&[]).await)),
    ];
    for future in futures {
        let (mut reactor, named) = telling();
        reactor.handle().spawn_detached(future);
        assert!(first(&mut reactor, &named).fd.is_some());
    }
}

/// A hang-up is remembered, and a pipe with a name that finds another writer has nothing to read: its
/// reader is polled in every turn (docs/limits.md).
#[test]
fn law_12_a_hang_up_that_no_longer_holds_is_named_and_masked() {
    let named = Named::default();
    let mut reactor = reactor_with(SpinPolicy::mask(keep(&named)));
    let path = std::env::temp_dir().join(format!("squall-fifo-{}", std::process::id()));
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the name is a string that lives until the call returns.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let open = |write: bool| {
        let nonblocking = libc::O_NONBLOCK;
        let mut options = std::fs::OpenOptions::new();
        options.read(!write).write(write).custom_flags(nonblocking).open(&path).unwrap()
    };
    let (reader, first_writer) = (open(false), open(true));
    let (reader, line) = (Fd::new(reader, Interest::READABLE).unwrap(), line!());
    let (reads, ends) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (count, end) = (Rc::clone(&reads), Rc::clone(&ends));
    reactor.handle().spawn_detached(async move {
        loop {
            let read = |mut file: &std::fs::File| {
                count.set(count.get() + 1);
                file.read(&mut [0; 16])
            };
            if reader.with(Side::Read, read).await.unwrap() == 0 {
                end.set(end.get() + 1);
                // Until the second writer is there.
                while end.get() == 1 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    turn_at_once(&mut reactor, 1);
    drop(first_writer);
    turn_until(&mut reactor, "the end", || ends.get() == 1);
    let _second_writer = open(true);
    std::fs::remove_file(&path).unwrap();
    ends.set(2);
    let report = first(&mut reactor, &named);
    assert_eq!((report.registered_at.line(), report.masked), (line, true), "{report}");
    let before = reads.get();
    turn_at_once(&mut reactor, 100);
    assert_eq!(reads.get(), before, "masked");
}

/// A task that is told that a side is ready, and never tries it.
#[test]
fn law_12_a_task_that_only_asks_for_readiness_is_named() {
    for side in [Side::Read, Side::Write] {
        let (mut reactor, named) = telling();
        let (ours, mut theirs) = pair();
        theirs.write_all(b"unread").unwrap();
        let fd = ours.as_raw_fd();
        let (ours, line) = (Io::new(ours, Interest::BOTH), line!());
        reactor.handle().spawn_detached(async move { while ours.ready(side).await.is_ok() {} });
        let report = first(&mut reactor, &named);
        assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line), "{side:?}");
    }
}

/// Cause c: a hang-up is reported whether it is asked for or not.
#[test]
fn law_12_a_hang_up_that_nobody_reads_is_named() {
    let (mut reactor, named) = telling();
    let (ours, theirs) = pair();
    drop(theirs);
    let (fd, line) = (ours.as_raw_fd(), line!() + 2);
    let registration =
        reactor.handle().register(ours, Interest::PRIORITY, Trigger::Level, |_, _| Next::Wait);
    let report = first(&mut reactor, &named);
    assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    assert!(report.last_readiness.is_hung_up(), "{report}");
    drop(registration);
}

/// The ninth cause: what is readable and read by nobody, such as an eventfd.
#[test]
fn law_12_a_readable_eventfd_that_nobody_reads_is_named() {
    let (mut reactor, named) = telling();
    // SAFETY: no memory is involved.
    let eventfd = unsafe { libc::eventfd(1, libc::EFD_NONBLOCK) };
    assert!(eventfd >= 0);
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
    let (fd, line) = (eventfd.as_raw_fd(), line!() + 2);
    let registration =
        reactor.handle().register(eventfd, Interest::READABLE, Trigger::Level, |_, _| Next::Wait);
    let report = first(&mut reactor, &named);
    assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    assert_eq!((report.last_readiness, report.reports), (Readiness::READ, THRESHOLD));
    drop(registration);
}

/// Cause e: room to write is nearly always there.
#[test]
fn law_12_an_interest_in_writing_that_is_kept_is_named() {
    let (mut reactor, named) = telling();
    let (ours, _theirs) = tcp_pair();
    let (fd, line) = (ours.as_raw_fd(), line!() + 2);
    let registration =
        reactor.handle().register(ours, Interest::WRITABLE, Trigger::Level, |_, _| Next::Wait);
    let report = first(&mut reactor, &named);
    assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    assert_eq!((report.last_readiness, report.interest), (Readiness::WRITE, Interest::WRITABLE));
    drop(registration);
}

/// Cause f: the listener stays readable while no descriptor is free. A process of its own, because
/// the limit is the process's.
#[test]
fn law_12_an_accept_that_fails_for_want_of_descriptors_is_named() {
    let test = "law_12_an_accept_that_fails_for_want_of_descriptors_is_named";
    if std::env::var_os("SQUALL_ALONE").is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", test]).env("SQUALL_ALONE", test).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    for in_a_task in [false, true] {
        let (mut reactor, named) = telling();
        let (listener, line) = (TcpListener::bind("127.0.0.1:0").unwrap(), line!());
        let fd = std::os::fd::AsFd::as_fd(&listener).as_raw_fd();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (tried, handle) = (Rc::new(Cell::new(None)), reactor.handle());
        let (error, other) = (Rc::clone(&tried), Rc::clone(&tried));
        let line = if in_a_task {
            handle.spawn_detached(async move {
                loop {
                    error.set(listener.accept().await.map_err(|e| e.raw_os_error()).err());
                }
            });
            line
        } else {
            let line = line!() + 1;
            let registration = handle.register(
                listener,
                Interest::READABLE,
                Trigger::Level,
                move |listener: &TcpListener, _| {
                    other.set(listener.try_accept().map_err(|e| e.raw_os_error()).err());
                    Next::Wait
                },
            );
            registration.map_err(|(error, _)| error).unwrap().detach();
            line
        };
        let limit = limit_descriptors(0);
        let report = first(&mut reactor, &named);
        assert_eq!(tried.get(), Some(Some(libc::EMFILE)));
        limit_descriptors(limit);
        assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line), "{in_a_task}");
    }
}

/// Cause g: a pending error is reported until somebody fetches it.
#[test]
fn law_12_an_error_that_nobody_fetches_is_named() {
    let (mut reactor, named) = telling();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = mio::net::TcpStream::connect(closed).unwrap();
    let (fd, line) = (refused.as_raw_fd(), line!() + 2);
    let registration =
        reactor.handle().register(refused, Interest::READABLE, Trigger::Level, |_, _| Next::Wait);
    let report = first(&mut reactor, &named);
    assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    assert!(report.last_readiness.is_error(), "{report}");
    drop(registration);
}

/// Cause h: a timer that arms itself again as already due.
#[test]
fn law_12_a_timer_that_arms_itself_again_as_already_due_is_named() {
    fn by_delay(handle: Handle) {
        let again = handle.clone();
        handle.after(Duration::ZERO, move || by_delay(again)).unwrap();
    }
    fn by_deadline(handle: Handle) {
        let (again, now) = (handle.clone(), handle.now());
        handle.at(now, move || by_deadline(again)).unwrap();
    }
    let (by_delay_line, by_deadline_line) = (line!() - 6, line!() - 2);
    for (arm, line) in [(by_delay as fn(Handle), by_delay_line), (by_deadline, by_deadline_line)] {
        let (mut reactor, named) = telling();
        arm(reactor.handle());
        let report = first(&mut reactor, &named);
        assert_eq!((report.fd, report.registered_at.line()), (None, line), "{report}");
        assert_eq!((report.reports, reactor.stats().spins), (THRESHOLD, 1));
    }
}

/// A timer that is armed again after work, or for later, is none of them.
#[test]
fn law_12_a_timer_that_achieves_something_or_waits_is_not_named() {
    fn arm(handle: Handle, left: u32, delay: Duration, pair: Rc<(UnixStream, UnixStream)>) {
        let again = handle.clone();
        let fire = move || {
            if delay.is_zero() {
                pair.0.try_write(b"x").unwrap();
                pair.1.try_read(&mut [0; 16]).unwrap();
            }
            match left {
                0 => again.stop(),
                left => arm(again, left - 1, delay, pair),
            }
        };
        handle.after(delay, fire).unwrap();
    }
    for delay in [Duration::ZERO, Duration::from_millis(1)] {
        let (mut reactor, named) = telling();
        arm(reactor.handle(), 5 * THRESHOLD, delay, Rc::new(UnixStream::pair().unwrap()));
        reactor.run().unwrap();
        assert_eq!((named.borrow().len(), reactor.stats().spins), (0, 0), "{delay:?}");
    }
}

/// Cause h in a task: it sleeps until a moment that has passed. Other work beside it hides nothing.
#[test]
fn law_12_a_task_that_sleeps_until_the_past_is_named() {
    let (mut reactor, named) = telling();
    let handle = reactor.handle();
    let line = line!() + 1;
    handle.spawn_detached(async {
        let past = Instant::now();
        loop {
            sleep_until(past).await;
        }
    });
    let (ours, theirs) = pair();
    let [ours, theirs] = [ours, theirs].map(|stream| UnixStream::from_std(stream).unwrap());
    handle.spawn_detached(async move {
        loop {
            theirs.write_all(b"work").await.unwrap();
            ours.read(&mut [0; 16]).await.unwrap();
        }
    });
    let report = first(&mut reactor, &named);
    assert_eq!((report.spinner, report.fd), (Spinner::Task, None));
    assert_eq!((report.registered_at.line(), report.reports), (line, THRESHOLD));
    let counts: Vec<u32> = named.borrow().iter().map(|report| report.reports).collect();
    let each_threshold: Vec<u32> = (1..=counts.len() as u32).map(|n| n * THRESHOLD).collect();
    assert_eq!(counts, each_threshold);
    assert_eq!(reactor.stats().spins, counts.len() as u64);
}

/// One that is behind, but works between its sleeps, is not.
#[test]
fn law_12_a_task_that_is_behind_and_achieves_something_is_not_named() {
    let (mut reactor, named) = telling();
    let (ours, theirs) = pair();
    let [ours, theirs] = [ours, theirs].map(|stream| UnixStream::from_std(stream).unwrap());
    let work = async move {
        let past = Instant::now();
        for _ in 0..2 * 128 * THRESHOLD {
            // The poll's operations are all spent by sleeping.
            sleep_until(past).await;
            theirs.try_write(b"work").unwrap();
            ours.try_read(&mut [0; 16]).unwrap();
        }
    };
    reactor.block_on(work).unwrap();
    assert_eq!((named.borrow().len(), reactor.stats().spins), (0, 0), "{named:?}");
}

/// A callback that always says that its budget is spent keeps the loop awake without the kernel.
#[test]
fn law_12_a_budget_that_is_always_spent_for_nothing_is_named() {
    let (mut reactor, named) = telling();
    let (ours, mut theirs) = pair();
    theirs.write_all(b"x").unwrap();
    let (fd, line) = (ours.as_raw_fd(), line!() + 2);
    let registration =
        reactor.handle().register(ours, Interest::READABLE, Trigger::Edge, |_, _| Next::Again);
    let report = first(&mut reactor, &named);
    assert_eq!((report.fd, report.registered_at.line()), (Some(fd), line));
    drop(registration);
}

// The policies.

/// Broken by a report for each return of the wait: each source once for each threshold.
#[test]
fn law_12_each_source_is_told_once_a_threshold() {
    let (mut reactor, named) = telling();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"unread").unwrap();
        let registration =
            reactor.handle().register(ours, Interest::READABLE, Trigger::Level, |_, _| Next::Wait);
        kept.push((registration.unwrap(), theirs));
    }
    turn_at_once(&mut reactor, 2 * THRESHOLD as usize);
    let count = |token| named.borrow().iter().filter(|report| report.token == token).count();
    for (registration, _) in &kept {
        assert_eq!(count(registration.token()), 2);
    }
}

/// A policy is user code with nothing borrowed: it may end what spins.
#[test]
fn law_12_a_policy_may_end_what_it_is_told_of() {
    let handle = Rc::new(RefCell::new(None::<Handle>));
    let end = Rc::clone(&handle);
    let policy = SpinPolicy::log(move |report| {
        let handle = end.borrow().clone().unwrap();
        assert!(handle.deregister(report.token).unwrap());
    });
    let mut reactor = reactor_with(policy);
    handle.replace(Some(reactor.handle()));
    let (ours, mut theirs) = pair();
    theirs.write_all(b"unread").unwrap();
    let registration =
        reactor.handle().register(ours, Interest::READABLE, Trigger::Level, |_, _| Next::Wait);
    let _registration = registration.unwrap();
    assert_eq!(turn_at_once(&mut reactor, 10 * THRESHOLD as usize), u64::from(THRESHOLD));
    handle.replace(None);
}

/// Mask: the source leaves the epoll, is named, and comes back by `resume`.
#[test]
fn law_12_a_source_that_is_masked_is_silent_until_it_is_resumed() {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::Oneshot] {
        let named = Named::default();
        let mut reactor = reactor_with(SpinPolicy::mask(keep(&named)));
        let (ours, mut theirs) = pair();
        theirs.write_all(b"unread").unwrap();
        // Under every trigger the same spin: always called again.
        let registration =
            reactor.handle().register(ours, Interest::READABLE, trigger, |_, _| Next::Again);
        let registration = registration.unwrap();
        let report = first(&mut reactor, &named);
        assert!(report.masked && report.to_string().ends_with("; masked until it is resumed"));
        let calls = reactor.stats().dispatches;
        theirs.write_all(b"more").unwrap();
        turn_at_once(&mut reactor, 100);
        let snapshot = reactor.handle().snapshot();
        assert_eq!(snapshot.sources[0].phase, SourcePhase::Masked);
        assert!(reactor.stats().dispatches <= calls + 1, "a job that was queued finds it masked");
        let silent = reactor.stats().no_progress;
        registration.resume().unwrap();
        turn_at_once(&mut reactor, THRESHOLD as usize);
        assert_eq!(reactor.stats().no_progress, silent + u64::from(THRESHOLD), "{trigger:?}");
        assert_eq!(named.borrow().len(), 2, "{trigger:?}");
    }
}

/// Mask and a task: one that reads the end for ever waits, until somebody resumes the source.
#[test]
fn law_12_a_task_whose_source_is_masked_waits_until_it_is_resumed() {
    let named = Named::default();
    let mut reactor = reactor_with(SpinPolicy::mask(keep(&named)));
    let (ours, theirs) = pair();
    let (stream, ends) = (UnixStream::from_std(ours).unwrap(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&ends);
    reactor.handle().spawn_detached(async move {
        while let Ok(0) = stream.read(&mut [0; 16]).await {
            count.set(count.get() + 1);
        }
    });
    turn_at_once(&mut reactor, 1);
    drop(theirs);
    let token = first(&mut reactor, &named).token;
    let before = ends.get();
    turn_at_once(&mut reactor, 100);
    assert_eq!(ends.get(), before, "the task waits");
    assert!(before <= THRESHOLD + 1);
    reactor.handle().resume(token).unwrap();
    turn_until(&mut reactor, "the end again", || ends.get() > before);
    assert_eq!(named.borrow()[0].registered_at.file(), file!());
}

// No false alarm.

/// A busy server: thousands of small exchanges over connections that come and go, by callbacks and
/// by tasks, is never named.
#[test]
fn law_12_a_busy_healthy_echo_server_raises_nothing() {
    const CLIENTS: usize = 8;
    const EXCHANGES: usize = 500;
    for by_tasks in [false, true] {
        let (mut reactor, named) = telling();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        echo(&reactor.handle(), listener, by_tasks);
        let remote = reactor.remote();
        let clients = std::thread::spawn(move || {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    std::thread::spawn(move || {
                        for _ in 0..4 {
                            exchange(std::net::TcpStream::connect(addr).unwrap(), EXCHANGES / 4);
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            remote.stop().unwrap();
        });
        reactor.run().unwrap();
        clients.join().unwrap();
        let stats = reactor.stats();
        // One poll completes at most 128 operations.
        assert!(stats.progress >= (CLIENTS * EXCHANGES / 64) as u64, "{stats:?}");
        assert_eq!((named.borrow().len(), stats.spins), (0, 0), "{by_tasks}: {named:?}");
    }
}

/// A server under back-pressure: its peer takes megabytes in small bites, and is never named.
#[test]
fn law_12_a_server_under_back_pressure_raises_nothing() {
    const BYTES: usize = 8 << 20;
    for by_tasks in [false, true] {
        let (mut reactor, named) = telling();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        echo(&reactor.handle(), listener, by_tasks);
        let remote = reactor.remote();
        let client = std::thread::spawn(move || {
            let stream = std::net::TcpStream::connect(addr).unwrap();
            let mut writer = stream.try_clone().unwrap();
            let writing = std::thread::spawn(move || writer.write_all(&vec![7; BYTES]).unwrap());
            let (mut stream, mut left, mut bite) = (stream, BYTES, [0; 4096]);
            while left > 0 {
                left -= stream.read(&mut bite).unwrap();
                std::thread::yield_now();
            }
            writing.join().unwrap();
            remote.stop().unwrap();
        });
        reactor.run().unwrap();
        client.join().unwrap();
        let stats = reactor.stats();
        assert_eq!((named.borrow().len(), stats.spins), (0, 0), "{by_tasks}: {named:?}");
    }
}

/// Echoes, by callbacks or by tasks.
fn echo(handle: &Handle, listener: TcpListener, by_tasks: bool) {
    let inside = handle.clone();
    if by_tasks {
        handle.spawn_detached(async move {
            while let Ok((stream, _)) = listener.accept().await {
                inside.spawn_detached(async move {
                    let mut buf = [0; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut buf).await {
                        if stream.write_all(&buf[..n]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        return;
    }
    let accept = move |listener: &TcpListener, _: squall_reactor::Ready| {
        let Ok((stream, _)) = listener.try_accept() else { return Next::Wait };
        let mut owed = Vec::new();
        let registered =
            inside.register(stream, Interest::BOTH, Trigger::Edge, move |stream: &TcpStream, _| {
                echo_once(stream, &mut owed).unwrap_or(Next::Wait)
            });
        registered.map_err(|(error, _)| error).unwrap().detach();
        Next::Wait
    };
    let registered = handle.register(listener, Interest::READABLE, Trigger::Level, accept);
    registered.map_err(|(error, _)| error).unwrap().detach();
}

/// Reads while nothing is owed, writes while something is, until one of them would block.
fn echo_once(stream: &TcpStream, owed: &mut Vec<u8>) -> io::Result<Next> {
    let mut buf = [0; 4096];
    for _ in 0..16 {
        if owed.is_empty() {
            match stream.try_read(&mut buf) {
                Ok(0) => return Ok(Next::Done),
                read => owed.extend_from_slice(&buf[..read?]),
            }
        } else {
            let n = stream.try_write(owed)?;
            owed.drain(..n);
        }
    }
    Ok(Next::Again)
}

fn exchange(mut stream: std::net::TcpStream, times: usize) {
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; 5];
    for _ in 0..times {
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut answer).unwrap();
    }
}

type Named = Rc<RefCell<Vec<SpinReport>>>;

/// A policy that keeps what it is told.
fn keep(named: &Named) -> impl Fn(&SpinReport) + 'static {
    let named = Rc::clone(named);
    move |report| named.borrow_mut().push(report.clone())
}

/// A reactor that keeps what it is told of spinning.
fn telling() -> (Reactor, Named) {
    let named = Named::default();
    (reactor_with(SpinPolicy::log(keep(&named))), named)
}

/// The first report, which names a line of this file. What does not come within a minute never
/// comes.
fn first(reactor: &mut Reactor, named: &Named) -> SpinReport {
    let began = Instant::now();
    while named.borrow().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "never named");
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    let report = named.borrow()[0].clone();
    let here: &Location<'_> = Location::caller();
    assert_eq!(report.registered_at.file(), here.file(), "{report}");
    report
}

/// Sets the soft limit of open files and gives the former one.
fn limit_descriptors(soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives until the call returns, which fills it in.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let former = std::mem::replace(&mut limit.rlim_cur, soft);
    // SAFETY: `limit` lives until the call returns, which only reads it.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    former
}

fn reactor_with(policy: SpinPolicy) -> Reactor {
    let mut config = Config::default();
    config.spin_threshold = THRESHOLD;
    Reactor::builder().config(config).on_spin(policy).build().unwrap()
}
