//! A Squall reactor inside tokio, and tokio's sockets and timers inside Squall.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use squall_embedding::in_tokio::Guest;
use squall_reactor::net::{TcpListener, TcpStream, UnixStream};
use squall_reactor::{Config, Handle, Interest, Next, Reactor, Trigger, sleep, yield_now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// A host of one thread, and a guest in it.
fn hosted<T>(test: impl AsyncFnOnce(Guest, Handle) -> T) -> T {
    hosted_with(Config::default(), test)
}

fn hosted_with<T>(config: Config, test: impl AsyncFnOnce(Guest, Handle) -> T) -> T {
    let host = tokio::runtime::Builder::new_current_thread().enable_all().build();
    host.expect("a runtime").block_on(LocalSet::new().run_until(async {
        let guest = Reactor::builder().config(config).build().expect("a reactor");
        let handle = guest.handle();
        test(Guest::new(guest).expect("an epoll is pollable"), handle).await
    }))
}

/// What does not come within half a minute never comes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("the host sleeps on")
}

/// Sources, timers and calls of other threads reach the guest while its host sleeps.
#[test]
fn a_guests_server_serves_a_client_of_its_host() {
    hosted(async |mut guest, handle| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("an address");
        handle.spawn_detached(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                Handle::current().expect("inside").spawn_detached(async move {
                    let mut buf = [0; 16 << 10];
                    while let Ok(n @ 1..) = stream.read(&mut buf).await {
                        sleep(Duration::from_millis(1)).await;
                        stream.write_all(&buf[..n]).await.expect("a reader");
                    }
                });
            }
        });
        let client = async {
            let mut stream = tokio::net::TcpStream::connect(addr).await.expect("connected");
            let mut text = [0; 5];
            for _ in 0..50 {
                stream.write_all(b"hello").await.expect("sent");
                stream.read_exact(&mut text).await.expect("echoed");
                assert_eq!(&text, b"hello");
            }
        };
        soon(guest.turn_beside(client)).await.expect("turns");
        let turns = guest.reactor().stats().turns;
        assert!(turns < 2000, "the host spins: {turns} turns");
    });
}

/// The host's own code gives its guest work between two turns: a task, a timer, a call.
#[test]
fn law_09_each_addition_between_turns_calls_the_host_by_one_write() {
    hosted(async |mut guest, handle| {
        let ways: [fn(&Handle, oneshot::Sender<()>); 3] = [
            |handle, done| {
                handle.spawn_detached(async { done.send(()).expect("the host waits") });
            },
            |handle, done| {
                let done = || done.send(()).expect("the host waits");
                handle.after(Duration::from_millis(3), done).expect("a timer");
            },
            |handle, done| {
                let remote = handle.remote();
                let call = move || remote.call(|_| done.send(()).expect("the host waits"));
                std::thread::spawn(call).join().expect("no panic").expect("the guest lives");
            },
        ];
        for add in ways {
            // The guest is at rest, and its host asleep, when the host's task runs.
            let (handle, before) = (handle.clone(), guest.reactor().stats().eventfd_writes);
            let host = tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let (done, heard) = oneshot::channel();
                add(&handle, done);
                heard.await.expect("it is done");
            });
            let ended = soon(guest.turn_beside(host)).await.expect("turns");
            ended.expect("no panic");
            assert_eq!(guest.reactor().stats().eventfd_writes - before, 1);
        }
    });
}

/// What a turn leaves over comes up although the host hears of changes only: tasks beyond the
/// budget, and events beyond the batch, which the kernel reports no second time.
#[test]
fn law_07_what_a_turn_leaves_over_is_served() {
    let mut config = Config::default();
    config.events = 2;
    hosted_with(config, async |mut guest, handle| {
        let (ended, all) = oneshot::channel();
        let (mut ended, mut left) = (Some(ended), 33);
        let done = Rc::new(RefCell::new(move || {
            left -= 1;
            if left == 0 {
                ended.take().expect("one last").send(()).expect("the host waits");
            }
        }));
        let mut peers = Vec::new();
        for _ in 0..32 {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            let done = Rc::clone(&done);
            handle.spawn_detached(async move {
                assert_eq!(ours.read(&mut [0; 8]).await.expect("a byte"), 1);
                (done.borrow_mut())();
            });
            peers.push(theirs.into_std());
        }
        handle.spawn_detached(async move {
            for _ in 0..1000 {
                yield_now().await;
            }
            (done.borrow_mut())();
        });
        // They wait, and the guest is at rest.
        let rest = guest.turn_beside(tokio::time::sleep(Duration::from_millis(10)));
        rest.await.expect("turns");
        let write = std::thread::spawn(move || {
            for mut peer in peers {
                std::io::Write::write_all(&mut peer, b"!").expect("room");
            }
        });
        soon(guest.turn_beside(all)).await.expect("turns").expect("all were served");
        write.join().expect("no panic");
    });
}

/// A level-triggered source that is still ready is no change for the host: it is served all the
/// same, because a host by edge turns until nothing runs.
#[test]
fn law_04_a_level_triggered_source_that_reads_a_byte_a_turn_is_read_to_its_end() {
    hosted(async |mut guest, handle| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (ended, heard) = oneshot::channel();
        let (mut ended, mut count) = (Some(ended), 0);
        let read = move |source: &std::os::unix::net::UnixStream, _| {
            let mut source = source;
            let n = std::io::Read::read(&mut source, &mut [0; 1]).expect("it is ready");
            count += n;
            if n == 0 {
                ended.take().expect("one end").send(count).expect("the test waits");
                return Next::Done;
            }
            Next::Wait
        };
        let registered = handle.register(ours, Interest::READABLE, Trigger::Level, read);
        registered.map_err(|(error, _)| error).expect("registered").detach();
        let write = std::thread::spawn(move || {
            std::io::Write::write_all(&mut &theirs, &[7; 1000]).expect("room");
        });
        let count = soon(guest.turn_beside(heard)).await.expect("turns");
        write.join().expect("no panic");
        assert_eq!(count, Ok(1000));
    });
}

/// An idle guest costs its host nothing.
#[test]
fn law_08_an_idle_guest_does_not_turn() {
    hosted(async |mut guest, handle| {
        handle.spawn_detached(std::future::pending());
        let first = guest.turn_beside(tokio::time::sleep(Duration::from_millis(10)));
        first.await.expect("turns");
        let before = guest.reactor().stats().turns;
        let idle = guest.turn_beside(tokio::time::sleep(Duration::from_millis(100)));
        idle.await.expect("turns");
        assert_eq!(guest.reactor().stats().turns, before);
    });
}

/// The reverse. tokio lends no descriptor, so a runtime of its own turns in a thread, and a task of
/// Squall awaits its sockets and sleeps: wakers are what the two share.
#[test]
fn a_task_of_squall_awaits_a_socket_and_a_sleep_of_tokio() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let tokio = tokio.expect("a runtime");
    let mut reactor = Reactor::new().expect("a reactor");
    let begun = Instant::now();
    let (ended, order) = mpsc::channel();
    let _entered = tokio.enter();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = listener.local_addr().expect("an address");
    reactor
        .block_on(async {
            let handle = Handle::current().expect("inside");
            let client = handle.spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(addr).await.expect("connected");
                tokio::time::sleep(Duration::from_millis(5)).await;
                stream.write_all(b"from tokio").await.expect("sent");
                let mut text = String::new();
                stream.read_to_string(&mut text).await.expect("an answer");
                text
            });
            let (stream, _): (TcpStream, _) = listener.accept().await.expect("accepted");
            let mut text = [0; 16];
            let n = stream.read(&mut text).await.expect("a message");
            assert_eq!(&text[..n], b"from tokio");
            stream.write_all(b"from squall").await.expect("sent");
            drop(stream);
            assert_eq!(client.await.expect("no panic"), "from squall");
            ended.send(()).expect("the test listens");
        })
        .expect("nothing runs here yet");
    assert!(begun.elapsed() >= Duration::from_millis(5), "the sleep was early");
    order.recv().expect("it ended");
}

/// A future of tokio that nobody wakes anew: the budget of Squall's poll and tokio's own do not
/// hold each other up.
#[test]
fn a_thousand_messages_through_a_channel_of_tokio_reach_a_task_of_squall() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    let sent = std::thread::spawn(move || {
        for i in 0..1000 {
            sender.blocking_send(i).expect("a receiver");
        }
    });
    let received = Reactor::new()
        .expect("a reactor")
        .block_on(async move {
            let mut next = 0;
            while let Some(i) = receiver.recv().await {
                assert_eq!(i, next);
                next += 1;
            }
            poll_fn(|_| Poll::Ready(next)).await
        })
        .expect("nothing runs here yet");
    sent.join().expect("no panic");
    assert_eq!(received, 1000);
}
