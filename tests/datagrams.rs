//! UDP and Unix datagram sockets: two datagrams in one report, full queues, errors (law 3).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use squall_reactor::net::{UdpSocket, UnixDatagram};
use squall_reactor::{Handle, Interest, Next, Reactor, Side, Trigger, timeout};

/// What does not come within a minute never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Broken by a receive that takes a short read for the end of what is there: the second datagram
/// came in the same report, and no other follows.
#[test]
fn law_03_two_udp_datagrams_in_one_report_are_both_received() {
    run(async {
        let (ours, theirs) = udp_pair();
        let mut buf = [0; 64];
        {
            let mut first = pin!(ours.recv(&mut buf));
            assert!(is_pending(first.as_mut()).await, "nothing has been sent");
            theirs.send(b"one").expect("room");
            theirs.send(b"second").expect("room");
            assert_eq!(soon(first).await.expect("the first"), 3);
        }
        assert_eq!(soon(ours.recv(&mut buf)).await.expect("the second"), 6);
        assert_eq!(&buf[..6], b"second");
    });
}

/// The same for Unix datagrams.
#[test]
fn law_03_two_unix_datagrams_in_one_report_are_both_received() {
    run(async {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
        let ours = UnixDatagram::from_std(ours).expect("nonblocking mode");
        let mut buf = [0; 64];
        {
            let mut first = pin!(ours.recv(&mut buf));
            assert!(is_pending(first.as_mut()).await, "nothing has been sent");
            theirs.send(b"one").expect("room");
            theirs.send(b"second").expect("room");
            assert_eq!(soon(first).await.expect("the first"), 3);
        }
        assert_eq!(soon(ours.recv(&mut buf)).await.expect("the second"), 6);
        assert_eq!(&buf[..6], b"second");
    });
}

/// Broken by a callback that is called once for each datagram, or loses one of two: under edge
/// triggering both are one change.
#[test]
fn law_03_a_callback_drains_two_datagrams_in_one_call() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (ours, theirs) = udp_pair();
    let calls = Rc::new(Cell::new(0));
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (count, keep) = (Rc::clone(&calls), Rc::clone(&heard));
    let receive = move |socket: &UdpSocket, _| {
        count.set(count.get() + 1);
        let mut buf = [0; 64];
        loop {
            match socket.try_recv_from(&mut buf) {
                Ok((n, _)) => keep.borrow_mut().push(buf[..n].to_vec()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return Next::Wait;
                }
            }
        }
    };
    let registered = reactor.handle().register(ours, Interest::READABLE, Trigger::Edge, receive);
    let _registration = registered.expect("a registration");
    theirs.send(b"one").expect("room");
    theirs.send(b"two").expect("room");
    while heard.borrow().is_empty() {
        reactor.turn(Some(PATIENCE)).expect("a turn");
    }
    assert_eq!(*heard.borrow(), [b"one", b"two"]);
    assert_eq!(calls.get(), 1);
}

/// Broken if a datagram that was cut left its rest in the queue, or took the next one with it.
#[test]
fn a_datagram_that_is_too_long_is_cut_and_the_next_one_is_whole() {
    run(async {
        let (ours, theirs) = udp_pair();
        theirs.send(b"too long").expect("room");
        theirs.send(b"fits").expect("room");
        let mut buf = [0; 4];
        assert_eq!(soon(ours.recv(&mut buf)).await.expect("the first"), 4);
        assert_eq!(&buf, b"too ");
        assert_eq!(soon(ours.recv(&mut buf)).await.expect("the second"), 4);
        assert_eq!(&buf, b"fits");
    });
}

/// Broken if an empty datagram is taken for an end, or for nothing.
#[test]
fn an_empty_datagram_is_a_datagram() {
    run(async {
        let (ours, theirs) = udp_pair();
        theirs.send(b"").expect("room");
        theirs.send(b"x").expect("room");
        let mut buf = [7; 4];
        assert_eq!(soon(ours.recv(&mut buf)).await.expect("the empty one"), 0);
        assert_eq!(soon(ours.recv(&mut buf)).await.expect("the next"), 1);
    });
}

/// Broken if the error that an earlier datagram met is waited for as data, or spins.
#[test]
fn a_datagram_that_found_nobody_is_an_error_of_the_next_receive() {
    run(async {
        let gone = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = gone.local_addr().expect("an address");
        drop(gone);
        let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        ours.connect(address).expect("nothing is sent");
        let mut buf = [0; 4];
        let mut receive = pin!(ours.recv(&mut buf));
        assert!(is_pending(receive.as_mut()).await, "nothing has been sent");
        ours.send(b"x").await.expect("the first one is sent");
        let error = soon(receive).await.expect_err("nobody listens there");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// Broken by a send that gives up, or is never woken, when the receiver's queue is full. A pair is
/// bounded by the sender's buffer, a named receiver by its queue's length (unix(7)).
#[test]
fn a_sender_waits_for_room_in_a_full_unix_queue() {
    run(async {
        let pair = std::os::unix::net::UnixDatagram::pair().expect("a pair");
        through_a_full_queue(pair.0, pair.1).await;
        let folder = std::env::temp_dir().join(format!("squall-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("full-queue");
        let receiver = std::os::unix::net::UnixDatagram::bind(&path).expect("a name");
        let sender = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        sender.connect(&path).expect("a receiver");
        std::fs::remove_dir_all(&folder).expect("our folder");
        through_a_full_queue(sender, receiver).await;
    });
}

async fn through_a_full_queue(
    sender: std::os::unix::net::UnixDatagram,
    receiver: std::os::unix::net::UnixDatagram,
) {
    let sender = UnixDatagram::from_std(sender).expect("nonblocking mode");
    let receiver = UnixDatagram::from_std(receiver).expect("nonblocking mode");
    let mut sent = 0_u32;
    while sender.try_send(&sent.to_ne_bytes()).is_ok() {
        sent += 1;
    }
    let total = 3 * sent;
    let handle = Handle::current().expect("a reactor runs");
    let task = handle.spawn(async move {
        for number in sent..total {
            sender.send(&number.to_ne_bytes()).await.expect("the receiver lives");
        }
    });
    for number in 0..total {
        let mut buf = [0; 4];
        soon(receiver.recv(&mut buf)).await.expect("a datagram");
        assert_eq!(u32::from_ne_bytes(buf), number);
    }
    soon(task).await.expect("the sender's task");
}

/// Broken if the socket that is given back is still in the epoll.
#[test]
fn law_01_into_std_leaves_the_epoll() {
    run(async {
        let (ours, theirs) = udp_pair();
        let mut buf = [0; 4];
        assert!(is_pending(pin!(ours.recv(&mut buf))).await, "nothing has been sent");
        let events = Handle::current().expect("a reactor runs").stats().events;
        let ours = ours.into_std();
        theirs.send(b"x").expect("room");
        squall_reactor::sleep(Duration::from_millis(1)).await;
        assert_eq!(Handle::current().expect("a reactor runs").stats().events, events);
        assert_eq!(ours.recv(&mut buf).expect("the datagram"), 1);
    });
}

/// Broken if two tasks that send and receive on one socket disturb each other.
#[test]
fn one_task_receives_while_another_sends() {
    run(async {
        let socket = Rc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let address = socket.local_addr().expect("an address");
        let receiver = Rc::clone(&socket);
        let handle = Handle::current().expect("a reactor runs");
        let task = handle.spawn(async move {
            let mut buf = [0; 8];
            let (n, from) = receiver.recv_from(&mut buf).await.expect("a datagram");
            (buf[..n].to_vec(), from)
        });
        squall_reactor::yield_now().await;
        socket.send_to(b"self", address).await.expect("room");
        let (text, from) = soon(task).await.expect("the receiver's task");
        assert_eq!((&text[..], from), (&b"self"[..], address));
        assert!(socket.ready(Side::Write).await.expect("room").is_writable());
    });
}

fn run(test: impl Future<Output = ()>) {
    Reactor::new().expect("a reactor").block_on(test).expect("nothing runs here yet");
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes within a minute")
}

/// Polls once.
async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// Connected to each other: ours in the reactor's hands, theirs blocking.
fn udp_pair() -> (UdpSocket, std::net::UdpSocket) {
    let pair = || -> io::Result<_> {
        let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let theirs = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        theirs.connect(ours.local_addr()?)?;
        ours.connect(theirs.local_addr()?)?;
        Ok((ours, theirs))
    };
    pair().expect("two free ports")
}
