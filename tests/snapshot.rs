//! Snapshots: what a loop holds is told as it is, to its own thread and to others.

mod turning;

use std::cell::Cell;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use squall_reactor::net::{TcpListener, TcpStream, UnixStream};
use squall_reactor::snapshot::{SourceKind, SourcePhase, TaskPhase};
use squall_reactor::{
    Error, Handle, Interest, Next, Pool, Reactor, Readiness, Snapshot, Trigger, sleep,
};
use turning::{turn_at_once, turn_until};

/// Broken by a field that is taken from elsewhere, or a report that is not written down.
#[test]
fn a_registration_is_told_with_what_it_is_and_what_happened_to_it() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let line = line!() + 2;
    let registration =
        reactor.handle().register(ours, Interest::READABLE, Trigger::Level, |_, _| Next::Wait);
    let registration = registration.unwrap();
    let before = reactor.handle().snapshot();
    let [source] = &before.sources[..] else { panic!("one source: {before}") };
    assert_eq!((source.token, source.fd), (registration.token(), fd));
    assert_eq!((source.kind, source.trigger), (SourceKind::UnixStream, Trigger::Level));
    assert_eq!((source.interest, source.phase), (Interest::READABLE, SourcePhase::Waiting));
    assert_eq!((source.last_readiness, source.reports), (Readiness::NONE, 0));
    assert_eq!((source.registered_at.file(), source.registered_at.line()), (file!(), line));
    theirs.write_all(b"unread").unwrap();
    turn_at_once(&mut reactor, 3);
    let after = reactor.handle().snapshot();
    let source = &after.sources[0];
    assert_eq!((source.reports, source.reports_without_progress), (3, 3));
    assert_eq!(source.last_readiness, Readiness::READ);
    assert_eq!(after.stats.no_progress, 3);
    drop(registration);
    assert!(reactor.handle().snapshot().sources.is_empty());
}

/// Broken by a phase that is read before the machine has moved.
#[test]
fn a_source_is_told_as_running_paused_masked_and_disarmed() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let phases = |handle: &Handle| {
        handle.snapshot().sources.iter().map(|source| source.phase).collect::<Vec<_>>()
    };
    let mut peers = Vec::new();
    let inside = Rc::new(Cell::new(None));
    for (trigger, next) in [
        (Trigger::Edge, Next::Pause),
        (Trigger::Level, Next::Pause),
        (Trigger::Oneshot, Next::Wait),
    ] {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let (handle, seen) = (handle.clone(), Rc::clone(&inside));
        let registration =
            reactor.handle().register(ours, Interest::READABLE, trigger, move |_, _| {
                seen.set(phases(&handle).last().copied());
                next
            });
        registration.unwrap().detach();
        (&theirs).write_all(b"x").unwrap();
        peers.push(theirs);
        turn_at_once(&mut reactor, 1);
        assert_eq!(inside.take(), Some(SourcePhase::Running), "{trigger:?}");
    }
    let told = phases(&handle);
    assert_eq!(told, [SourcePhase::Paused, SourcePhase::Masked, SourcePhase::Disarmed]);
}

/// Broken by a task that is told as what it was before its poll, or by polls that are not counted.
#[test]
fn tasks_are_told_with_where_they_were_spawned_and_how_often_they_were_polled() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    let (ours, read) = (UnixStream::from_std(ours).unwrap(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&read);
    let line = line!() + 1;
    reactor.handle().spawn_detached(async move {
        while let Ok(n @ 1..) = ours.read(&mut [0; 16]).await {
            count.set(count.get() + n);
        }
    });
    let task = &reactor.handle().snapshot().tasks[0];
    assert_eq!((task.phase, task.polls), (TaskPhase::Queued, 0));
    assert_eq!((task.spawned_at.file(), task.spawned_at.line()), (file!(), line));
    turn_at_once(&mut reactor, 1);
    (&theirs).write_all(b"xyz").unwrap();
    turn_until(&mut reactor, "the bytes", || read.get() == 3);
    let snapshot = reactor.handle().snapshot();
    let (task, source) = (&snapshot.tasks[0], &snapshot.sources[0]);
    assert_eq!((task.phase, task.polls), (TaskPhase::Waiting, 2));
    assert_eq!((source.phase, source.trigger), (SourcePhase::Waiting, Trigger::Edge));
    let inside = reactor.block_on(async { Handle::current().unwrap().snapshot() }).unwrap();
    let phases: Vec<_> = inside.tasks.iter().map(|task| task.phase).collect();
    assert_eq!(phases, [TaskPhase::Waiting, TaskPhase::Running]);
}

/// Broken by a clock that only moves with events: who is idle longest would look fresh.
#[test]
fn idleness_grows_while_nothing_happens() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, _theirs) = StdUnixStream::pair().unwrap();
    let _registration =
        reactor.handle().register(ours, Interest::READABLE, Trigger::Edge, |_, _| Next::Wait);
    reactor.handle().spawn_detached(std::future::pending());
    turn_at_once(&mut reactor, 1);
    let handle = reactor.handle();
    let idle = move || {
        let snapshot = handle.snapshot();
        snapshot.sources[0].idle.min(snapshot.tasks[0].since)
    };
    let (began, first) = (Instant::now(), idle());
    turn_until(&mut reactor, "a tenth of a second more", || {
        idle() >= first + Duration::from_millis(100)
    });
    // Two readings, each to a step of 16 ms.
    assert!(began.elapsed() >= Duration::from_millis(100 - 32));
}

/// Broken by timers that fired or were cancelled and are still counted.
#[test]
fn timers_are_told_by_due_time() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    assert_eq!(handle.snapshot().timers.next_in, None);
    let soon = handle.after(Duration::from_secs(50), || {}).unwrap();
    let late = handle.after(Duration::from_secs(7200), || {}).unwrap();
    let timers = handle.snapshot().timers;
    assert_eq!((timers.armed, timers.later), (2, 1));
    assert!(timers.due_within.contains(&(Duration::from_secs(60), 1)), "{timers}");
    let next_in = timers.next_in.unwrap();
    assert!(next_in <= Duration::from_millis(50_001) && next_in > Duration::from_secs(30));
    assert!(handle.cancel(soon) && handle.cancel(late));
    assert_eq!(handle.snapshot().timers.armed, 0);
    reactor.block_on(sleep(Duration::from_millis(1))).unwrap();
    assert_eq!(reactor.handle().snapshot().timers.armed, 0);
}

/// Broken by streams that name a line of this crate: the investigator needs the user's.
#[test]
fn streams_that_were_accepted_or_connected_name_their_users_line() {
    let mut reactor = Reactor::new().unwrap();
    let snapshot = reactor.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b"x").await.unwrap();
        server.read(&mut [0; 1]).await.unwrap();
        let mut reading = Box::pin(async { server.read(&mut [0; 1]).await });
        std::future::poll_fn(|cx| {
            assert!(reading.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        Handle::current().unwrap().snapshot()
    });
    let snapshot: Snapshot = snapshot.unwrap();
    let kinds: Vec<_> = snapshot.sources.iter().map(|source| source.kind).collect();
    assert!(kinds.contains(&SourceKind::TcpStream), "{snapshot}");
    for source in &snapshot.sources {
        assert_eq!(source.registered_at.file(), file!(), "{snapshot}");
    }
}

/// Broken by an answer that needs the asker's thread to be the loop's.
#[test]
fn another_thread_gets_a_snapshot_of_a_loop_that_turns() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    reactor.handle().spawn_detached(std::future::pending());
    let asker = std::thread::spawn(move || {
        let snapshot = remote.snapshot(Duration::from_secs(60));
        remote.stop().unwrap();
        snapshot
    });
    reactor.run().unwrap();
    let snapshot = asker.join().unwrap().unwrap();
    assert_eq!(snapshot.tasks.len(), 1);
}

/// Broken by an asker that waits for ever.
#[test]
fn a_loop_that_is_held_answers_timed_out() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let (held, holds) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    reactor.handle().spawn_detached(async move {
        held.send(()).unwrap();
        released.recv().unwrap();
        Handle::current().unwrap().stop();
    });
    let asker = std::thread::spawn(move || {
        holds.recv().unwrap();
        let answer = remote.snapshot(Duration::from_millis(20));
        release.send(()).unwrap();
        answer
    });
    reactor.run().unwrap();
    assert!(matches!(asker.join().unwrap(), Err(Error::TimedOut)));
}

/// Broken by a call to oneself that nobody can answer, and by an error that says "late" for "never".
#[test]
fn the_loops_own_thread_is_answered_at_once_and_a_dead_loop_is_closed() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let inside = remote.clone();
    let answer = reactor.block_on(async move { inside.snapshot(Duration::ZERO) }).unwrap();
    assert_eq!(answer.unwrap().tasks.len(), 1);
    drop(reactor);
    assert!(matches!(remote.snapshot(Duration::ZERO), Err(Error::Closed)));
}

/// Broken by a column that is left out, or one that runs into the next.
#[test]
fn it_prints_as_tables() {
    let reactor = Reactor::new().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let fd = reader.as_raw_fd();
    let _registration =
        reactor.handle().register(reader, Interest::READABLE, Trigger::Edge, |_, _| Next::Wait);
    let text = reactor.handle().snapshot().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1 sources");
    let (head, row) = (lines[1], lines[2]);
    for (name, cell) in [
        ("fd", fd.to_string().as_str()),
        ("kind", "pipe"),
        ("trigger", "Edge"),
        ("interest", "READABLE"),
        ("phase", "Waiting"),
        ("registered at", file!()),
    ] {
        let column = head.find(&format!("  {name}")).unwrap_or_else(|| panic!("{name} in {text}"));
        assert!(row[column + 2..].starts_with(cell), "{name} in {text}");
    }
    assert!(
        text.contains(
            "0 tasks\n0 timers\n0 jobs ready, 0 messages unheard\nwatchdog Off\nturns 0,"
        ),
        "{text}"
    );
}

/// Broken by a pool that is not noted, is noted twice, or outlives its last handle there.
#[test]
fn a_pool_that_was_given_work_is_told_with_its_threads_and_queue() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    assert!(handle.snapshot().pools.is_empty());
    let pool = Pool::builder().threads(1..=1).queue(8).name("disk").build().unwrap();
    let (release, wait) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let stuck = pool.run(move || {
        begin.send(()).unwrap();
        let _ = wait.recv();
    });
    begun.recv().unwrap();
    let queued = [pool.run(|| ()), pool.run(|| ())];
    let snapshot = handle.snapshot();
    let [(name, stats)] = &snapshot.pools[..] else { panic!("one pool: {snapshot}") };
    assert_eq!((name.as_str(), stats.threads, stats.running, stats.queued), ("disk", 1, 1, 2));
    let line = "pool disk: 1 threads, 0 idle; 1 jobs run, 2 queued, 0 wait for the queue, 0 done";
    assert!(snapshot.to_string().contains(line), "{snapshot}");
    let elsewhere = std::thread::spawn(|| Reactor::new().unwrap().handle().snapshot().pools.len());
    assert_eq!(elsewhere.join().unwrap(), 0, "another thread's loop has given it nothing");
    drop(release);
    reactor
        .block_on(async {
            stuck.await.unwrap();
            for run in queued {
                run.await.unwrap();
            }
        })
        .unwrap();
    pool.shutdown(Duration::from_secs(10));
    drop(pool);
    turn_until_gone(&handle);
}

/// A thread of the pool may hold its last reference for a moment.
fn turn_until_gone(handle: &Handle) {
    let began = Instant::now();
    while !handle.snapshot().pools.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", handle.snapshot());
        std::thread::yield_now();
    }
}
