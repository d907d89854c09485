//! Upgrade: after the 101 the stream is the handler's, with every byte that came behind the request.

mod http;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use http::{PROBE, TestServer};
use squall_http::{Request, Response, Server, StatusCode};
use squall_reactor::net::TcpStream;
use squall_reactor::{Reactor, sleep};

const ASK: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket, ECHO\r\n\r\n";

thread_local! {
    /// A handover that another request's handler has left.
    static KEPT: RefCell<Option<Response>> = const { RefCell::new(None) };
}

async fn answer(request: &mut Request<'_>) -> Response {
    match request.path() {
        b"/probe" => Response::text("probe"),
        b"/keep" => {
            KEPT.set(Some(upgraded(request)));
            Response::text("kept")
        }
        b"/kept" => KEPT.take().expect("it was kept"),
        b"/interim" => Response::new(StatusCode::EARLY_HINTS),
        b"/panic" => {
            let upgraded = request.upgrade("echo", async |_, _| panic!("the protocol fails"));
            upgraded.unwrap_or_else(Response::from)
        }
        b"/read" => {
            request.body().bytes().await.expect("a body");
            upgraded(request)
        }
        _ => upgraded(request),
    }
}

fn upgraded(request: &mut Request<'_>) -> Response {
    request.upgrade("echo", echo).unwrap_or_else(Response::from)
}

/// Sends back what comes, in capitals.
async fn echo(stream: TcpStream, read: Vec<u8>) {
    let (mut piece, mut buf) = (read, [0; 4096]);
    while stream.write_all(&piece.to_ascii_uppercase()).await.is_ok() {
        match stream.read(&mut buf).await {
            Ok(n @ 1..) => piece = buf[..n].to_vec(),
            _ => return,
        }
    }
}

fn serve() -> TestServer {
    TestServer::start(|| Server::new(answer))
}

/// Broken by a buffer that is thrown away with the exchange, or given over and read again.
#[test]
fn rfc9110_7_8_nothing_that_came_behind_the_request_is_lost_or_read_twice() {
    let server = serve();
    for behind in [0, 1, 3, 20_000, 100_000] {
        for size in [1, 100, usize::MAX] {
            let sent: Vec<u8> = (0..behind).map(|i| b'a' + (i % 26) as u8).collect();
            let mut client = server.connect();
            let all = [PROBE, ASK.as_bytes(), &sent].concat();
            if size == 1 {
                client.send_pieces(&all[..all.len().min(1000)], 1);
                client.send(&all[all.len().min(1000)..]);
            } else {
                client.send_pieces(&all, size.min(all.len()));
            }
            assert_eq!(client.answer("GET").body, b"probe");
            let answer = client.answer("GET");
            assert_eq!(answer.status, 101);
            assert_eq!(answer.header("upgrade"), Some("echo"));
            assert_eq!(answer.header("connection"), Some("upgrade"));
            let back = client.read_exactly(behind).expect("all of it");
            assert!(back == sent.to_ascii_uppercase(), "{behind}, {size}");
            // What looks like a request is none any more.
            client.send(PROBE);
            let back = client.read_exactly(PROBE.len()).expect("an echo");
            assert_eq!(back, PROBE.to_ascii_uppercase());
            client.finish_sending();
            client.expect_end();
        }
    }
    server.comes_to_rest();
}

/// RFC 9110, 7.8 and 15.5.22: nobody is switched who did not ask, and a 426 names the protocol.
#[test]
fn rfc9110_7_8_who_does_not_ask_for_the_protocol_is_told_of_it_and_kept() {
    let server = serve();
    for fields in [
        "",
        "Upgrade: echo\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: echo/2\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\n",
        "Connection: upgraded\r\nUpgrade: echo\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let answer = client.answer("GET");
        assert_eq!((answer.status, answer.header("upgrade")), (426, Some("echo")), "{fields:?}");
        assert_eq!(answer.header("connection"), Some("upgrade"), "{fields:?}");
        client.expect_kept();
    }
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer("GET").header("connection"), Some("close, upgrade"));
    client.expect_end();
}

/// RFC 9110, 7.8: in HTTP/1.0 the field must be ignored.
#[test]
fn rfc9110_7_8_http_1_0_is_never_switched() {
    let server = serve();
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: echo\r\n\r\n");
    let answer = client.answer("GET");
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("connection"), Some("keep-alive, upgrade"));
    let mut client = server.connect();
    client.send(ASK.replace("/echo", "/keep"));
    client.answer("GET");
    client.send("GET /kept HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.answer("GET").status, 500, "one that was made for another request");
    client.expect_end();
}

/// The bytes of a body that nobody has read would be taken for the protocol's first.
#[test]
fn a_body_is_read_before_the_protocol_begins_or_it_does_not_begin() {
    let server = serve();
    let ask = |path: &str, framing: &str| {
        ASK.replace("GET /echo", &format!("POST {path}")).replace("\r\n\r\n", framing)
    };
    for framing in ["\r\nContent-Length: 5\r\n\r\nhello", "\r\nTransfer-Encoding: chunked\r\n\r\n"]
    {
        let mut client = server.connect();
        client.send(ask("/", framing));
        assert_eq!(client.answer("POST").status, 400);
    }
    let mut client = server.connect();
    client.send(ask("/read", "\r\nContent-Length: 5\r\n\r\nhelloraw"));
    assert_eq!(client.answer("POST").status, 101);
    assert_eq!(client.read_exactly(3).expect("an echo"), b"RAW");
}

/// After a 1xx the client would wait for the answer for ever.
#[test]
fn rfc9110_15_2_an_interim_response_is_no_answer() {
    let server = serve();
    let mut client = server.connect();
    client.send("GET /interim HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").status, 500);
    client.expect_kept();
}

#[test]
fn a_protocol_that_panics_or_whose_client_resets_ends_its_own_connection_alone() {
    let server = serve();
    let mut client = server.connect();
    client.send(ASK.replace("/echo", "/panic"));
    assert_eq!(client.answer("GET").status, 101);
    client.expect_gone();
    let mut client = server.connect();
    client.send(ASK);
    assert_eq!(client.answer("GET").status, 101);
    assert_eq!(server.connections(), 1, "it is one of the server's");
    client.reset();
    server.comes_to_rest();
    server.connect().expect_kept();
}

/// A drain waits for what was handed over, too, and drops it when its patience ends.
#[test]
fn a_drain_waits_for_the_protocol_and_at_last_drops_it() {
    for ends in [true, false] {
        let mut reactor = Reactor::new().expect("a reactor");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (dropped, drops) = mpsc::channel::<()>();
        let dropped = Rc::new(dropped);
        let server = Server::new(async move |request: &mut Request<'_>| {
            let held = Rc::clone(&dropped);
            let upgraded = request.upgrade("echo", async move |stream, _| {
                let (_held, mut byte) = (held, [0]);
                while let Ok(1..) = stream.read(&mut byte).await {}
            });
            upgraded.unwrap_or_else(Response::from)
        });
        let mut serving =
            server.add_sockets([listener]).start(&reactor.handle()).expect("it listens");
        let in_time = reactor.block_on(async {
            let client = TcpStream::connect(addr).await.expect("it listens");
            client.write_all(ASK.as_bytes()).await.expect("it reads");
            let mut buf = [0; 512];
            assert!(client.read(&mut buf).await.expect("a 101") > 0);
            if ends {
                // After the drain has begun.
                squall_reactor::Handle::current().expect("a reactor").spawn_detached(async move {
                    sleep(Duration::from_millis(20)).await;
                    drop(client);
                });
                serving.shutdown(Duration::from_secs(10)).await
            } else {
                let in_time = serving.shutdown(Duration::from_millis(20)).await;
                drop(client);
                in_time
            }
        });
        assert_eq!(in_time.expect("nothing forks here"), ends);
        assert_eq!(serving.connections(), 0);
        drop(reactor);
        drop(serving);
        assert!(drops.recv().is_err(), "what the protocol held is dropped");
    }
}
