//! What goes wrong in a handler, or on a listener, harms its own client and nobody else.

mod http;

use std::time::Duration;

use http::TestServer;
use squall_http::{Limits, Request, Response, Server};
use squall_reactor::{Reactor, sleep};

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a handler's value panics in its drop");
    }
}

async fn answer(request: &mut Request<'_>) -> Response {
    match request.path() {
        b"/panic" => panic!("a handler panics"),
        b"/bomb" => {
            let bomb = Bomb;
            sleep(Duration::from_secs(60)).await;
            drop(bomb);
            Response::text("never")
        }
        b"/long" => Response::bytes("text/plain", vec![b'x'; 1_000_000]),
        b"/wait" => {
            sleep(Duration::from_secs(60)).await;
            Response::text("never")
        }
        _ => Response::text("probe"),
    }
}

/// Broken by a reset after a cancelled request: it discards what the client has not yet received of the
/// answer before.
#[test]
fn an_answer_is_not_lost_to_the_cancellation_of_the_request_behind_it() {
    let server = TestServer::start(|| Server::new(answer));
    let mut client = server.connect();
    client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\nGET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    // The first answer is far larger than a socket takes, and nothing has been read yet.
    let got = client.read_to_end().expect("an end, and no reset");
    let start = got.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(got.len() - start, 1_000_000);
    server.comes_to_rest();
}

/// Broken by a panic that unwinds out of the loop.
#[test]
fn a_value_that_panics_in_its_drop_ends_its_own_connection_alone() {
    let server = TestServer::start(|| Server::new(answer));
    for _ in 0..3 {
        let mut victim = server.connect();
        victim.send("GET /bomb HTTP/1.1\r\nHost: a\r\n\r\n");
        // It has begun once a second request of somebody else is answered.
        server.connect().expect_kept();
        victim.finish_sending();
        victim.expect_gone();
    }
    server.connect().expect_kept();
    server.comes_to_rest();
}

#[test]
fn a_handler_that_panics_is_a_500_for_its_client() {
    let server = TestServer::start(|| Server::new(answer));
    let mut client = server.connect();
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").status, 500);
    server.connect().expect_kept();
}

/// A function that checks something before it makes its future.
fn checks_first<'r>(request: &'r mut Request<'_>) -> impl Future<Output = Response> + 'r {
    assert_ne!(request.path(), b"/panic", "a handler panics before its future exists");
    async { Response::text("probe") }
}

/// Broken by a guard around the future's poll alone: the connection closed without an answer.
#[test]
fn a_handler_that_panics_before_its_future_exists_is_a_500_too() {
    let server = TestServer::start(|| Server::new(checks_first));
    let mut client = server.connect();
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").status, 500);
    client.expect_kept();
}

/// Broken by a deadline that is added without a look at what an `Instant` can hold.
#[test]
fn timeouts_without_end_are_served() {
    let mut limits = Limits::default();
    (limits.idle_timeout, limits.head_timeout) = (Duration::MAX, Duration::MAX);
    let server = TestServer::start(|| Server::new(answer).limits(limits));
    let mut client = server.connect();
    client.send_pieces(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    assert_eq!(client.answer("GET").status, 200);
}

/// Broken by a listener that goes on accepting: accept(2) says EINVAL for ever, and epoll reports it.
#[test]
fn a_listener_that_somebody_shuts_down_does_not_spin() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shared = listener.try_clone().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let _serving = Server::new(answer).add_sockets([listener]).start(&handle).unwrap();
    reactor
        .block_on(async {
            sleep(Duration::from_millis(20)).await;
            let socket = std::os::fd::AsRawFd::as_raw_fd(&shared);
            // SAFETY: one call on a descriptor that is open.
            assert_eq!(unsafe { libc::shutdown(socket, libc::SHUT_RD) }, 0);
            let before = handle.stats().turns;
            sleep(Duration::from_millis(200)).await;
            let turns = handle.stats().turns - before;
            assert!(turns < 20, "{turns} turns in which nothing happened");
        })
        .unwrap();
}
