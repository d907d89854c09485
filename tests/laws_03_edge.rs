//! Law 3, edge: readiness is remembered until it is proved gone, and not a moment longer.
//!
//! Either mistake shows: what is forgotten too early is a hang (bytes are there and no event will
//! come), what is kept too long is a spin. Next: `laws_04_level`.

mod sockets;
mod turning;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use sockets::tcp_pair;
use squall_reactor::net::{TcpStream, UnixStream};
use squall_reactor::{
    Interest, Io, Next, Reactor, Readiness, Ready, Registration, Side, Source, Trigger, yield_now,
};
use turning::{turn_at_once, turn_until};

type Bytes = Rc<RefCell<Vec<u8>>>;

// What a short read does not prove.

/// A read on a Unix stream ends at a message with descriptors, however much lies behind it. To take
/// it for "drained" leaves the reader waiting for an event that does not come.
#[test]
fn law_03_bytes_behind_a_message_with_descriptors_are_read_without_a_new_arrival() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    let ours = UnixStream::from_std(ours).unwrap();
    let got = read_to_end(&reactor, async move |buf: &mut [u8]| ours.read(buf).await);
    turn_at_once(&mut reactor, 3);
    send_descriptor(&theirs, b"a");
    send_descriptor(&theirs, b"b");
    theirs.write_all(b"cd").unwrap();
    turn_until(&mut reactor, "the bytes behind the message", || *got.borrow() == b"abcd");
}

/// The same by a callback that reads once and says `Again`: it must be called without an event.
#[test]
fn law_03_a_callback_gets_the_bytes_behind_a_message_with_descriptors_by_again() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let got = Bytes::default();
    let bytes = Rc::clone(&got);
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Edge,
        move |mut source: &StdUnixStream, _| read_once(&mut source, &bytes),
    );
    let _registration = registration.unwrap();
    send_descriptor(&theirs, b"a");
    theirs.write_all(b"b").unwrap();
    turn_until(&mut reactor, "the bytes behind the message", || *got.borrow() == b"ab");
}

/// A TCP read stops short at the mark of an urgent byte. Where the mark lies, and whether the event
/// came before it, must not matter.
#[test]
fn law_03_bytes_around_an_urgent_byte_are_read_without_a_new_arrival() {
    for (before, after, turn_between) in
        [("ab", "cd", false), ("ab", "cd", true), ("", "abcd", false), ("abcd", "", true)]
    {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        let ours = TcpStream::from_std(ours).unwrap();
        let got = read_to_end(&reactor, async move |buf: &mut [u8]| ours.read(buf).await);
        turn_at_once(&mut reactor, 3);
        theirs.write_all(before.as_bytes()).unwrap();
        if turn_between {
            turn_until(&mut reactor, "the first bytes", || *got.borrow() == before.as_bytes());
        }
        send_urgent(&theirs, b'!');
        theirs.write_all(after.as_bytes()).unwrap();
        turn_until(&mut reactor, "the bytes behind the urgent one", || *got.borrow() == b"abcd");
        turn_at_once(&mut reactor, 3);
        let before = reactor.stats().dispatches;
        turn_at_once(&mut reactor, 100);
        assert_eq!(reactor.stats().dispatches, before, "WouldBlock takes PRI back too");
    }
}

/// A datagram is shorter than the buffer, and the next one is there already.
#[test]
fn law_03_the_second_of_two_datagrams_is_read_without_a_new_arrival() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, theirs) = udp_pair();
    let waiting = Io::new(ours, Interest::READABLE);
    let got = read_to_end(&reactor, async move |buf: &mut [u8]| {
        waiting.with(Side::Read, |socket| socket.recv(buf)).await
    });
    turn_at_once(&mut reactor, 3);
    theirs.send(b"a").unwrap();
    theirs.send(b"b").unwrap();
    turn_until(&mut reactor, "both datagrams", || *got.borrow() == b"ab");

    let (ours, theirs) = udp_pair();
    let got = Bytes::default();
    let bytes = Rc::clone(&got);
    let registration = reactor.handle().register(
        ours,
        Interest::READABLE,
        Trigger::Edge,
        move |source: &UdpSocket, _| read_once(&mut Datagrams(source), &bytes),
    );
    let _registration = registration.unwrap();
    theirs.send(b"c").unwrap();
    theirs.send(b"d").unwrap();
    turn_until(&mut reactor, "both datagrams", || *got.borrow() == b"cd");
}

/// Data and FIN are one event, and the read that takes the data is short. The end must be read
/// without another event: two reads in one poll.
#[test]
fn law_03_an_end_that_came_with_the_data_is_seen_by_the_second_read_of_the_same_poll() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = TcpStream::from_std(ours).unwrap();
    let reads: Rc<RefCell<Vec<(usize, usize)>>> = Rc::default();
    let seen = Rc::clone(&reads);
    reactor.handle().spawn_detached(async move {
        let (mut buf, mut polls) = ([0; 64], 0);
        std::future::poll_fn(|cx| {
            polls += 1;
            loop {
                match ours.poll_read(cx, &mut buf) {
                    Poll::Ready(n) => {
                        let n = n.unwrap();
                        seen.borrow_mut().push((polls, n));
                        if n == 0 {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    });
    turn_at_once(&mut reactor, 3);
    let polls_before = 1;
    theirs.write_all(b"hello").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    // Both are there before the reactor looks.
    wait_for(&theirs, libc::POLLOUT);
    turn_until(&mut reactor, "the end", || reads.borrow().last().is_some_and(|read| read.1 == 0));
    let reads = reads.borrow();
    assert_eq!(reads.iter().map(|read| read.1).collect::<Vec<_>>(), [5, 0]);
    assert!(reads[0].0 > polls_before, "it had to wait for the data");
}

/// A FIN that comes after the data was taken is an event of its own.
#[test]
fn law_03_an_end_that_comes_after_the_data_is_seen_too() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = TcpStream::from_std(ours).unwrap();
    let (got, ended) = (Bytes::default(), Rc::new(Cell::new(false)));
    let (bytes, end) = (Rc::clone(&got), Rc::clone(&ended));
    reactor.handle().spawn_detached(async move {
        let mut buf = [0; 64];
        while let n @ 1.. = ours.read(&mut buf).await.unwrap() {
            bytes.borrow_mut().extend_from_slice(&buf[..n]);
        }
        end.set(true);
    });
    theirs.write_all(b"hello").unwrap();
    turn_until(&mut reactor, "the data", || *got.borrow() == b"hello");
    turn_at_once(&mut reactor, 10);
    theirs.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, "the end", || ended.get());
}

// Why a handler stopped.

/// A callback takes one byte of two. `Again` is called without an event, `Wait` is not called until
/// the next arrival, `Pause` not until `resume`, and then without an event.
#[test]
fn law_03_again_is_called_at_once_wait_at_the_next_arrival_pause_after_resume() {
    for next in [Next::Again, Next::Wait, Next::Pause] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        let registration = reactor.handle().register(
            ours,
            Interest::READABLE,
            Trigger::Edge,
            move |mut source: &StdUnixStream, ready| {
                count.set(count.get() + 1);
                assert!(ready.is_readable());
                assert_eq!(source.read(&mut [0]).unwrap(), 1);
                if count.get() == 1 { next } else { Next::Wait }
            },
        );
        let registration = registration.unwrap();
        theirs.write_all(b"ab").unwrap();
        turn_until(&mut reactor, "the first call", || calls.get() >= 1);
        let events = turn_at_once(&mut reactor, 100);
        assert_eq!(events, 0, "an edge is reported once");
        let expected = if next == Next::Again { 2 } else { 1 };
        assert_eq!(calls.get(), expected, "{next:?}");
        match next {
            Next::Wait => theirs.write_all(b"c").unwrap(),
            Next::Pause => registration.resume().unwrap(),
            _ => {}
        }
        turn_until(&mut reactor, "the second call", || calls.get() == 2);
    }
}

/// A task that stopped before the end finds the rest without an event.
#[test]
fn law_03_a_task_that_stopped_half_way_reads_the_rest_without_a_new_arrival() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = TcpStream::from_std(ours).unwrap();
    let got = Bytes::default();
    let bytes = Rc::clone(&got);
    reactor.handle().spawn_detached(async move {
        for _ in 0..4 {
            let mut byte = [0];
            assert_eq!(ours.read(&mut byte).await.unwrap(), 1);
            bytes.borrow_mut().push(byte[0]);
            yield_now().await;
        }
    });
    turn_at_once(&mut reactor, 3);
    theirs.write_all(b"abcd").unwrap();
    turn_until(&mut reactor, "all four", || *got.borrow() == b"abcd");
}

/// A peer that sends a megabyte byte by byte must not wake the loop for each while the source is
/// paused, and nothing may be lost. The reactor looks after every single byte.
#[test]
fn law_03_a_peer_that_floods_a_paused_source_wakes_the_loop_once_and_nothing_is_lost() {
    for (trigger, total) in
        [(Trigger::Edge, 1 << 20), (Trigger::Level, 1 << 16), (Trigger::Oneshot, 1 << 16)]
    {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        theirs.set_nonblocking(true).unwrap();
        let (got, paused) = (Bytes::default(), Rc::new(Cell::new(false)));
        let (bytes, pause) = (Rc::clone(&got), Rc::clone(&paused));
        let registration = reactor.handle().register(
            ours,
            Interest::READABLE,
            trigger,
            move |mut source: &std::net::TcpStream, _| {
                if bytes.borrow().is_empty() {
                    pause.set(true);
                }
                match read_once(&mut source, &bytes) {
                    Next::Again if bytes.borrow().len() == 1 => Next::Pause,
                    // A oneshot that waits must be armed again; `Again` is that.
                    Next::Wait if trigger == Trigger::Oneshot => Next::Again,
                    next => next,
                }
            },
        );
        let registration = registration.unwrap();
        assert_eq!(theirs.write(&[0]).unwrap(), 1);
        turn_until(&mut reactor, "the first byte", || paused.get());
        let mut sent = 1;
        let before = reactor.stats();
        while sent < 10_000 && write_byte(&mut theirs, sent) {
            sent += 1;
            turn_at_once(&mut reactor, 1);
        }
        let events = reactor.stats().events - before.events;
        assert!(sent > 100, "the flood was one: {sent}");
        assert!(events <= 1, "{events} events for {sent} bytes, {trigger:?}");
        assert_eq!(got.borrow().len(), 1);
        registration.resume().unwrap();
        while sent < total {
            while sent < total && write_byte(&mut theirs, sent) {
                sent += 1;
            }
            turn_at_once(&mut reactor, 1);
        }
        turn_until(&mut reactor, "the rest", || got.borrow().len() == total);
        let ordered = got.borrow().iter().enumerate().all(|(i, byte)| *byte == pattern(i));
        assert!(ordered, "{trigger:?}");
    }
}

/// The same for a task that does something else: the reports that nobody hears are bounded.
#[test]
fn law_03_a_peer_that_floods_a_task_which_does_not_read_wakes_the_loop_a_few_times() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    theirs.set_nonblocking(true).unwrap();
    let ours = Rc::new(TcpStream::from_std(ours).unwrap());
    let (got, first) = (Bytes::default(), Rc::new(Cell::new(false)));
    let (came, stream) = (Rc::clone(&first), Rc::clone(&ours));
    reactor.handle().spawn_detached(async move {
        stream.read(&mut [0]).await.unwrap();
        came.set(true);
    });
    turn_at_once(&mut reactor, 3);
    assert!(write_byte(&mut theirs, 0));
    turn_until(&mut reactor, "the first byte", || first.get());
    let mut sent = 1;
    let before = reactor.stats();
    while sent < 10_000 && write_byte(&mut theirs, sent) {
        sent += 1;
        turn_at_once(&mut reactor, 1);
    }
    let events = reactor.stats().events - before.events;
    assert!(sent > 100, "the flood was one: {sent}");
    assert!(events <= 32, "{events} events for {sent} bytes");
    let bytes = Rc::clone(&got);
    reactor.handle().spawn_detached(async move {
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = ours.read(&mut buf).await {
            bytes.borrow_mut().extend_from_slice(&buf[..n]);
        }
    });
    turn_until(&mut reactor, "the rest", || got.borrow().len() == sent - 1);
    let ordered = got.borrow().iter().enumerate().all(|(i, byte)| *byte == pattern(i + 1));
    assert!(ordered);
    // Its place in the epoll is back: an arrival is still heard.
    assert!(write_byte(&mut theirs, sent));
    turn_until(&mut reactor, "one more", || got.borrow().len() == sent);
}

/// Back-pressure: a task waits for room to write while its peer sends without reading. Reports of
/// arrivals that nobody reads must not take the writer's registration away.
#[test]
fn law_03_a_writer_is_woken_although_its_peer_floods_what_nobody_reads() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    theirs.set_nonblocking(true).unwrap();
    let ours = Rc::new(TcpStream::from_std(ours).unwrap());
    let (written, done) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(false)));
    let (count, end, stream) = (Rc::clone(&written), Rc::clone(&done), Rc::clone(&ours));
    reactor.handle().spawn_detached(async move {
        let block = vec![7; 1 << 16];
        for _ in 0..256 {
            stream.write_all(&block).await.unwrap();
            count.set(count.get() + block.len());
        }
        end.set(true);
    });
    let mut last = usize::MAX;
    while last != written.get() {
        last = written.get();
        turn_at_once(&mut reactor, 10);
    }
    assert!(!done.get(), "16 MiB do not fit into the socket");
    let mut sent = 0;
    while sent < 1000 && write_byte(&mut theirs, sent) {
        sent += 1;
        turn_at_once(&mut reactor, 1);
    }
    assert!(sent > 100, "the flood was one: {sent}");
    let reader = std::thread::spawn(move || {
        theirs.set_nonblocking(false).unwrap();
        let mut buf = vec![0; 1 << 16];
        let mut taken = 0;
        while taken < 256 << 16 {
            taken += theirs.read(&mut buf).unwrap();
        }
    });
    turn_until(&mut reactor, "the last block", || done.get());
    reader.join().unwrap();
}

/// A stream that was registered for reading alone, because nobody had yet waited for room: its first
/// wait for room must reach the kernel.
#[test]
fn law_03_a_stream_registered_by_its_reader_wakes_its_writer() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = Rc::new(TcpStream::from_std(ours).unwrap());
    let (written, full) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(false)));
    let stream = Rc::clone(&ours);
    reactor.handle().spawn_detached(async move {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
        stream.read(&mut [0]).await.unwrap();
    });
    assert!(write_byte(&mut theirs, 0));
    turn_at_once(&mut reactor, 10);
    let (count, filled) = (Rc::clone(&written), Rc::clone(&full));
    reactor.handle().spawn_detached(async move {
        let block = vec![7; 1 << 16];
        while let Ok(n) = ours.try_write(&block) {
            count.set(count.get() + n);
        }
        filled.set(true);
        count.set(count.get() + ours.write(&block).await.unwrap());
    });
    turn_until(&mut reactor, "a full socket", || full.get());
    let before = written.get();
    turn_at_once(&mut reactor, 10);
    theirs.read_exact(&mut vec![0; before]).unwrap();
    turn_until(&mut reactor, "room", || written.get() > before);
}

// Several who wait.

/// Two tasks on one side of a stream: a report that wakes only the first leaves the second for
/// ever, since the first may not be interested in what there is.
#[test]
fn law_03_two_tasks_that_wait_on_one_side_are_both_woken() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    let ours = Rc::new(UnixStream::from_std(ours).unwrap());
    let got = Bytes::default();
    for _ in 0..2 {
        let (ours, got) = (Rc::clone(&ours), Rc::clone(&got));
        reactor.handle().spawn_detached(async move {
            let mut byte = [0];
            assert_eq!(ours.read(&mut byte).await.unwrap(), 1);
            got.borrow_mut().push(byte[0]);
        });
    }
    turn_at_once(&mut reactor, 3);
    theirs.write_all(b"ab").unwrap();
    turn_until(&mut reactor, "both", || got.borrow().len() == 2);
}

/// The same where only one byte comes, and then another: the loser waits again and is woken again.
#[test]
fn law_03_the_task_that_got_nothing_waits_again_and_is_woken_again() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = Rc::new(TcpStream::from_std(ours).unwrap());
    let got = Bytes::default();
    for _ in 0..3 {
        let (ours, got) = (Rc::clone(&ours), Rc::clone(&got));
        reactor.handle().spawn_detached(async move {
            let mut byte = [0];
            assert_eq!(ours.read(&mut byte).await.unwrap(), 1);
            got.borrow_mut().push(byte[0]);
        });
    }
    turn_at_once(&mut reactor, 3);
    for count in 1..=3 {
        theirs.write_all(b"a").unwrap();
        turn_until(&mut reactor, "one more", || got.borrow().len() == count);
        turn_at_once(&mut reactor, 3);
    }
}

/// A join in one task, whose children have wakers of their own and are polled only when woken.
#[test]
fn law_03_two_foreign_wakers_on_one_side_are_both_woken() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    let ours = Rc::new(UnixStream::from_std(ours).unwrap());
    let (got, done) = (Bytes::default(), Rc::new(Cell::new(false)));
    let end = Rc::clone(&done);
    let bytes = Rc::clone(&got);
    reactor.handle().spawn_detached(async move {
        let children = (0..3).map(|_| {
            let (ours, bytes) = (Rc::clone(&ours), Rc::clone(&bytes));
            Box::pin(async move {
                let mut byte = [0];
                assert_eq!(ours.read(&mut byte).await.unwrap(), 1);
                bytes.borrow_mut().push(byte[0]);
            }) as Pin<Box<dyn Future<Output = ()>>>
        });
        Group::new(children).all().await;
        end.set(true);
    });
    turn_at_once(&mut reactor, 3);
    theirs.write_all(b"ab").unwrap();
    turn_until(&mut reactor, "two", || got.borrow().len() == 2);
    turn_at_once(&mut reactor, 3);
    assert!(!done.get());
    theirs.write_all(b"c").unwrap();
    turn_until(&mut reactor, "the join", || done.get());
}

/// Read and write of one stream, raced in one task by foreign wakers: the loser is dropped, and what
/// wakes it later reaches nobody and keeps nothing alive.
#[test]
fn law_03_a_select_by_foreign_wakers_leaves_none_of_them_behind() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = StdUnixStream::pair().unwrap();
    let ours = Rc::new(UnixStream::from_std(ours).unwrap());
    let (left, left_with) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
    let (count, wakers) = (Rc::clone(&left), Rc::clone(&left_with));
    let stream = Rc::clone(&ours);
    reactor.handle().spawn_detached(async move {
        for _ in 0..10 {
            let children = [Side::Read, Side::Read, Side::Closed].map(|side| {
                let stream = Rc::clone(&stream);
                Box::pin(async move {
                    stream.ready(side).await.unwrap();
                    let _ = stream.try_read(&mut [0; 8]);
                    let _ = stream.try_read(&mut [0; 8]);
                }) as Pin<Box<dyn Future<Output = ()>>>
            });
            let group = Group::new(children);
            wakers.borrow_mut().extend(group.wakers.iter().map(Arc::downgrade));
            group.any().await;
            count.set(count.get() + 1);
        }
    });
    for round in 0..10 {
        theirs.write_all(b"a").unwrap();
        turn_until(&mut reactor, "the next race", || left.get() > round);
        turn_at_once(&mut reactor, 3);
    }
    drop(theirs);
    turn_at_once(&mut reactor, 3);
    drop(ours);
    turn_at_once(&mut reactor, 3);
    assert!(left_with.borrow().iter().all(|waker| waker.upgrade().is_none()));
}

/// Two foreign wakers stand on one side, and are polled again and again before anything comes: each
/// is kept once.
#[test]
fn law_03_a_foreign_waker_that_polls_again_is_kept_once() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, _theirs) = StdUnixStream::pair().unwrap();
    let ours = UnixStream::from_std(ours).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| Arc::new(Child { woken: AtomicBool::new(false), parent: Mutex::new(None) }))
        .collect();
    let wakers: Vec<_> = children.iter().map(|child| Waker::from(Arc::clone(child))).collect();
    reactor.handle().spawn_detached(async move {
        for _ in 0..100 {
            for waker in &wakers {
                let mut buf = [0; 8];
                let mut read = pin!(ours.read(&mut buf));
                assert!(read.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            }
            yield_now().await;
        }
        drop(wakers);
        std::future::pending().await
    });
    turn_at_once(&mut reactor, 200);
    let kept: Vec<_> = children.iter().map(|child| Arc::strong_count(child) - 1).collect();
    assert_eq!(kept, [1, 1, 1]);
    drop(reactor);
    assert!(children.iter().all(|child| Arc::strong_count(child) == 1));
}

// Errors and ends.

/// An error that is remembered must go with WouldBlock, or whoever waits spins; and what mio calls
/// the end of writing, when it is only an error, must go too.
#[test]
fn law_03_would_block_takes_an_error_back_on_a_datagram_socket() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, theirs) = udp_pair();
    let peer = theirs.local_addr().unwrap();
    drop(theirs);
    let ours = Rc::new(Io::new(ours, Interest::BOTH));
    let (tries, errors) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let got = Bytes::default();
    let (tried, failed, bytes, socket) =
        (Rc::clone(&tries), Rc::clone(&errors), Rc::clone(&got), Rc::clone(&ours));
    reactor.handle().spawn_detached(async move {
        loop {
            let mut buf = [0; 8];
            let result = socket.with(Side::Read, |socket| {
                tried.set(tried.get() + 1);
                socket.recv(&mut buf)
            });
            match result.await {
                Ok(n) => bytes.borrow_mut().extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    failed.set(failed.get() + 1);
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    turn_at_once(&mut reactor, 3);
    ours.source().send(b"nobody hears this").unwrap();
    turn_until(&mut reactor, "the refusal", || errors.get() == 1);
    turn_at_once(&mut reactor, 100);
    assert!(tries.get() < 10, "{} tries for one error", tries.get());
    let known = Rc::new(Cell::new(None));
    let (closed, socket) = (Rc::clone(&known), Rc::clone(&ours));
    reactor.handle().spawn_detached(async move {
        closed.set(Some(socket.ready(Side::Closed).await.unwrap()));
    });
    turn_at_once(&mut reactor, 10);
    assert_eq!(known.get(), None, "an error that is over is not an end");
    let theirs = UdpSocket::bind(peer).unwrap();
    theirs.connect(ours.source().local_addr().unwrap()).unwrap();
    theirs.send(b"hello").unwrap();
    turn_until(&mut reactor, "a datagram after the error", || *got.borrow() == b"hello");
}

/// A socket with messages in its error queue says ERR, and to a full one write says WouldBlock. If
/// the one is taken for the end of writing, the two turn into a loop inside a single poll.
#[test]
fn law_03_an_error_queue_and_a_full_buffer_do_not_spin() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    ask_for_timestamps(&ours);
    let ours = Rc::new(Io::new(ours, Interest::BOTH));
    let (tries, written) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0)));
    let (tried, count) = (Rc::clone(&tries), Rc::clone(&written));
    let stream = Rc::clone(&ours);
    reactor.handle().spawn_detached(async move {
        let block = vec![7; 1 << 16];
        loop {
            let n = stream.with(Side::Write, |mut stream| {
                tried.set(tried.get() + 1);
                assert!(tried.get() < 100_000, "it spins inside one poll");
                stream.write(&block)
            });
            count.set(count.get() + n.await.unwrap());
        }
    });
    turn_at_once(&mut reactor, 100);
    assert_ne!(poll(&*ours, libc::POLLOUT) & libc::POLLERR, 0, "the error queue holds something");
    let (before, full) = (tries.get(), written.get());
    turn_at_once(&mut reactor, 100);
    let tries_while_full = tries.get() - before;
    assert!(tries_while_full <= 16, "{tries_while_full} tries while the socket was full");
    let mut buf = vec![0; 1 << 16];
    let mut taken = 0;
    while taken < full {
        taken += theirs.read(&mut buf).unwrap();
    }
    turn_until(&mut reactor, "room", || written.get() > full);
}

/// An operation that says WouldBlock although the stream has hung up (a layer in between holds
/// bytes back) may not hold the loop: others run.
#[test]
fn law_03_would_block_on_a_stream_that_has_hung_up_lets_others_run() {
    let mut reactor = Reactor::new().unwrap();
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = Io::new(ours, Interest::BOTH);
    let (tries, others) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
    let (tried, done) = (Rc::clone(&tries), Rc::new(Cell::new(false)));
    let end = Rc::clone(&done);
    reactor.handle().spawn_detached(async move {
        let held_back = ours.with(Side::Read, |_| {
            tried.set(tried.get() + 1);
            assert!(tried.get() < 100_000, "it spins inside one poll");
            if tried.get() < 5 { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        held_back.await.unwrap();
        end.set(true);
    });
    turn_at_once(&mut reactor, 3);
    drop(theirs);
    let other = Rc::clone(&others);
    reactor.handle().spawn_detached(async move {
        loop {
            other.set(other.get() + 1);
            yield_now().await;
        }
    });
    turn_at_once(&mut reactor, 10);
    assert!(others.get() > 10);
    turn_until(&mut reactor, "the layer's bytes: a hang-up is never taken back", || done.get());
}

/// What a callback is told after it said `Wait`: a hang-up for ever, since the kernel may not say it
/// again; urgent data and an error no longer, since both were fetched.
#[test]
fn law_03_wait_takes_back_what_was_fetched_and_never_a_hang_up() {
    let mut reactor = Reactor::new().unwrap();
    let told = Rc::new(Cell::new(Readiness::NONE));
    let (ours, theirs) = tcp_pair();
    let registration = tell(&reactor, ours, Interest::READABLE, &told);
    theirs.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, "the end", || told.get().is_read_closed());
    registration.set_interest(Interest::WRITABLE).unwrap();
    turn_until(&mut reactor, "room to write", || told.get().is_writable());
    assert_eq!(told.get(), Readiness::WRITE | Readiness::READ_CLOSED);

    let (ours, mut theirs) = tcp_pair();
    let interest = Interest::READABLE | Interest::PRIORITY;
    let registration = tell(&reactor, ours, interest, &told);
    send_urgent(&theirs, b'!');
    turn_until(&mut reactor, "the urgent byte", || told.get().is_priority());
    assert_eq!(receive_urgent(registration.source()), b'!');
    theirs.write_all(b"a").unwrap();
    turn_until(&mut reactor, "the byte", || told.get() == Readiness::READ);

    let (ours, theirs) = udp_pair();
    let (peer, us) = (theirs.local_addr().unwrap(), ours.local_addr().unwrap());
    drop(theirs);
    let registration = tell(&reactor, ours, Interest::READABLE, &told);
    registration.source().send(b"nobody hears this").unwrap();
    turn_until(&mut reactor, "the refusal", || told.get().is_error());
    let error = registration.source().take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    UdpSocket::bind(peer).unwrap().send_to(b"a", us).unwrap();
    turn_until(&mut reactor, "the datagram", || told.get() == Readiness::READ);
}

/// `resume` ends a pause and nothing else: a source that waits is not reported again by it.
#[test]
fn law_03_resume_without_a_pause_does_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let told = Rc::new(Cell::new(Readiness::NONE));
    let (ours, mut theirs) = tcp_pair();
    let registration = tell(&reactor, ours, Interest::READABLE, &told);
    theirs.write_all(b"unread").unwrap();
    turn_until(&mut reactor, "the report", || told.get() == Readiness::READ);
    registration.resume().unwrap();
    assert_eq!(turn_at_once(&mut reactor, 100), 0);
}

/// `Side::Closed` hears a FIN behind bytes that nobody has read, does not hear more bytes, and hears
/// a reset.
#[test]
fn law_03_who_waits_for_the_peers_end_hears_fin_and_reset_and_not_more_bytes() {
    for end in [Shutdown::Write, Shutdown::Both] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        let ours = Rc::new(TcpStream::from_std(ours).unwrap());
        let (seen, polls) = (Rc::new(Cell::new(Readiness::NONE)), Rc::new(Cell::new(0)));
        let (closed, polled, stream) = (Rc::clone(&seen), Rc::clone(&polls), Rc::clone(&ours));
        reactor.handle().spawn_detached(async move {
            let mut ready = pin!(stream.ready(Side::Closed));
            let readiness = std::future::poll_fn(|cx| {
                polled.set(polled.get() + 1);
                ready.as_mut().poll(cx)
            });
            closed.set(readiness.await.unwrap());
        });
        turn_at_once(&mut reactor, 3);
        for sent in 0..100 {
            assert!(write_byte(&mut theirs, sent));
            turn_at_once(&mut reactor, 1);
        }
        wait_for(&*ours, libc::POLLIN);
        turn_at_once(&mut reactor, 10);
        assert_eq!((seen.get(), polls.get()), (Readiness::NONE, 1), "bytes are not an end");
        if end == Shutdown::Both {
            // Unread bytes at the close make it a reset.
            ours.try_write(b"unread").unwrap();
            wait_for(&theirs, libc::POLLIN);
            drop(theirs);
            turn_until(&mut reactor, "the reset", || seen.get().is_hung_up());
        } else {
            theirs.shutdown(end).unwrap();
            turn_until(&mut reactor, "the FIN", || seen.get().is_read_closed());
            assert!(!seen.get().is_hung_up(), "{:?}", seen.get());
            let mut buf = [0; 256];
            assert_eq!(ours.try_read(&mut buf).unwrap(), 100, "nothing was lost");
            assert_eq!(ours.try_read(&mut buf).unwrap(), 0);
        }
    }
}

/// A source that only writes waits for the end of its reader before it ever had to wait for room, and
/// then for room.
#[test]
fn law_03_a_source_that_only_writes_hears_the_end_of_its_reader() {
    let mut reactor = Reactor::new().unwrap();
    let (mut receiver, sender) = {
        let (sender, receiver) = mio::unix::pipe::new().unwrap();
        (receiver, Rc::new(Io::new(sender, Interest::WRITABLE)))
    };
    let (closed, full, room) = (Rc::new(Cell::new(false)), Rc::default(), Rc::default());
    let (end, pipe) = (Rc::clone(&closed), Rc::clone(&sender));
    reactor.handle().spawn_detached(async move {
        pipe.ready(Side::Closed).await.unwrap();
        end.set(true);
    });
    turn_at_once(&mut reactor, 3);
    let (filled, again, pipe): (Rc<Cell<bool>>, Rc<Cell<bool>>, _) =
        (Rc::clone(&full), Rc::clone(&room), Rc::clone(&sender));
    reactor.handle().spawn_detached(async move {
        let write = |mut pipe: &mio::unix::pipe::Sender| pipe.write(&[0; 4096]);
        while pipe.try_with(Side::Write, write).is_ok() {}
        filled.set(true);
        pipe.with(Side::Write, write).await.unwrap();
        again.set(true);
    });
    turn_until(&mut reactor, "a full pipe", || full.get());
    turn_at_once(&mut reactor, 3);
    assert!(!room.get());
    while receiver.read(&mut [0; 4096]).is_ok() {}
    turn_until(&mut reactor, "room", || room.get());
    assert!(!closed.get());
    drop(receiver);
    turn_until(&mut reactor, "the end", || closed.get());
}

/// One task waits for both: a half-close must wake the one, whichever asked last.
#[test]
fn law_03_a_task_that_waits_for_the_end_and_for_a_hang_up_hears_the_end() {
    for order in [[Side::Closed, Side::HungUp], [Side::HungUp, Side::Closed]] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, theirs) = tcp_pair();
        let ours = TcpStream::from_std(ours).unwrap();
        let seen = Rc::new(Cell::new(None));
        let first = Rc::clone(&seen);
        reactor.handle().spawn_detached(async move {
            let mut one = pin!(ours.ready(order[0]));
            let mut two = pin!(ours.ready(order[1]));
            let side = std::future::poll_fn(|cx| {
                if one.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(order[0]);
                }
                two.as_mut().poll(cx).map(|_| order[1])
            });
            first.set(Some(side.await));
        });
        turn_at_once(&mut reactor, 3);
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_until(&mut reactor, "the end", || seen.get() == Some(Side::Closed));
    }
}

/// In a callback the crate's own sockets answer WouldBlock, and leave the registration alone.
#[test]
fn law_03_in_a_callback_an_own_socket_says_would_block() {
    for trigger in [Trigger::Edge, Trigger::Level] {
        let mut reactor = Reactor::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        let got = Bytes::default();
        let bytes = Rc::clone(&got);
        let registration = reactor.handle().register(
            TcpStream::from_std(ours).unwrap(),
            Interest::READABLE,
            trigger,
            move |stream: &TcpStream, _| {
                let mut buf = [0; 8];
                loop {
                    match stream.try_read(&mut buf) {
                        Ok(n) => bytes.borrow_mut().extend_from_slice(&buf[..n]),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                            return Next::Wait;
                        }
                    }
                }
            },
        );
        let _registration = registration.map_err(|(error, _)| error).unwrap();
        for expected in [b"a".as_slice(), b"ab"] {
            theirs.write_all(&expected[expected.len() - 1..]).unwrap();
            turn_until(&mut reactor, "the bytes", || *got.borrow() == expected);
            turn_at_once(&mut reactor, 3);
        }
    }
}

// A combinator as others write them.

/// Futures of one task, each with a waker of its own, each polled only after that was woken.
struct Group {
    futures: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    wakers: Vec<Arc<Child>>,
}

struct Child {
    woken: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl Wake for Child {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if let Some(parent) = &*self.parent.lock().unwrap() {
            parent.wake_by_ref();
        }
    }
}

impl Group {
    fn new(futures: impl IntoIterator<Item = Pin<Box<dyn Future<Output = ()>>>>) -> Self {
        let futures: Vec<_> = futures.into_iter().map(Some).collect();
        let waker = || Child { woken: AtomicBool::new(true), parent: Mutex::new(None) };
        let wakers = futures.iter().map(|_| Arc::new(waker())).collect();
        Self { futures, wakers }
    }

    async fn all(mut self) {
        std::future::poll_fn(|cx| self.poll(cx, 0)).await;
    }

    async fn any(mut self) {
        let left = self.futures.len() - 1;
        std::future::poll_fn(|cx| self.poll(cx, left)).await;
    }

    /// Ready once at most `left` are pending.
    fn poll(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<()> {
        for (future, child) in self.futures.iter_mut().zip(&self.wakers) {
            *child.parent.lock().unwrap() = Some(cx.waker().clone());
            if child.woken.swap(false, Ordering::AcqRel)
                && let Some(pending) = future
            {
                let waker = Waker::from(Arc::clone(child));
                if pending.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    *future = None;
                }
            }
        }
        if self.futures.iter().flatten().count() <= left { Poll::Ready(()) } else { Poll::Pending }
    }
}

// Readers.

/// A task that reads with a large buffer until the end, and where its bytes go.
fn read_to_end(
    reactor: &Reactor,
    mut read: impl AsyncFnMut(&mut [u8]) -> std::io::Result<usize> + 'static,
) -> Bytes {
    let got = Bytes::default();
    let bytes = Rc::clone(&got);
    reactor.handle().spawn_detached(async move {
        let mut buf = [0; 4096];
        while let n @ 1.. = read(&mut buf).await.unwrap() {
            bytes.borrow_mut().extend_from_slice(&buf[..n]);
        }
    });
    got
}

/// One read with a large buffer, and what a callback says then.
fn read_once(source: &mut impl Read, bytes: &Bytes) -> Next {
    let mut buf = [0; 4096];
    match source.read(&mut buf) {
        Ok(0) => Next::Done,
        Ok(n) => {
            bytes.borrow_mut().extend_from_slice(&buf[..n]);
            Next::Again
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            Next::Wait
        }
    }
}

struct Datagrams<'a>(&'a UdpSocket);

impl Read for Datagrams<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.recv(buf)
    }
}

/// An edge-triggered source whose callback keeps what it was told last, and says `Wait`.
fn tell<S: Source + 'static>(
    reactor: &Reactor,
    source: S,
    interest: Interest,
    told: &Rc<Cell<Readiness>>,
) -> Registration<S> {
    told.set(Readiness::NONE);
    let told = Rc::clone(told);
    let callback = move |_: &S, ready: Ready| {
        told.set(ready.readiness());
        Next::Wait
    };
    let registration = reactor.handle().register(source, interest, Trigger::Edge, callback);
    registration.map_err(|(error, _)| error).unwrap()
}

// Peers.

fn pattern(index: usize) -> u8 {
    (index % 251) as u8
}

/// Writes the byte with this number; false if there is no room.
fn write_byte(peer: &mut impl Write, index: usize) -> bool {
    match peer.write(&[pattern(index)]) {
        Ok(n) => n == 1,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

fn udp_pair() -> (UdpSocket, UdpSocket) {
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn send_urgent(stream: &std::net::TcpStream, byte: u8) {
    // SAFETY: one byte that lives until the call returns.
    let n = unsafe { libc::send(stream.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_OOB) };
    assert_eq!(n, 1);
}

fn receive_urgent(stream: &std::net::TcpStream) -> u8 {
    let mut byte = 0_u8;
    // SAFETY: one byte that lives until the call returns, and nobody else uses.
    let n = unsafe { libc::recv(stream.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_OOB) };
    assert_eq!(n, 1);
    byte
}

/// Sends bytes with a descriptor attached (SCM_RIGHTS, unix(7)).
fn send_descriptor(stream: &StdUnixStream, bytes: &[u8]) {
    let fd = stream.as_raw_fd();
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: arithmetic only.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as _;
    // SAFETY: the message has a control buffer that is aligned and large enough.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: the header lies in `control`, which nobody else uses.
    let header = unsafe { &mut *header };
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    // SAFETY: arithmetic only.
    header.cmsg_len = unsafe { libc::CMSG_LEN(4) } as _;
    // SAFETY: arithmetic on a pointer into `control`.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: CMSG_SPACE(4) left room for one number behind the header.
    unsafe { data.cast::<libc::c_int>().write_unaligned(fd) };
    // SAFETY: `message` names only `bytes` and `control`, which outlive the call.
    let n = unsafe { libc::sendmsg(fd, &raw const message, 0) };
    assert_eq!(n, bytes.len() as isize);
}

/// Each segment sent leaves a message in the error queue (SO_TIMESTAMPING, the kernel's
/// timestamping.rst).
fn ask_for_timestamps(stream: &std::net::TcpStream) {
    let flags: libc::c_uint = libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    // SAFETY: the value lives until the call returns and has the length that is given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            (&raw const flags).cast(),
            4,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// poll(2) without waiting.
fn poll(source: &impl std::os::fd::AsFd, events: i16) -> i16 {
    let mut one = libc::pollfd { fd: source.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, which lives until the call returns.
    let n = unsafe { libc::poll(&raw mut one, 1, 0) };
    assert!(n >= 0);
    one.revents
}

/// Until poll(2) reports one of `events`.
fn wait_for(source: &impl std::os::fd::AsFd, events: i16) {
    while poll(source, events) & events == 0 {
        std::thread::yield_now();
    }
}
