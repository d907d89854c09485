//! hyper inside Squall, without a process or a tool between: bodies under back-pressure, deadlines,
//! both versions, and handlers that stay on their thread.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, server};
use squall_interop::answer;
use squall_reactor::compat::HyperTimer;
use squall_reactor::net::{TcpListener, TcpStream, UnixStream};
use squall_reactor::{Handle, Reactor, sleep, timeout, yield_now};

fn block_on<F: Future>(test: F) -> F::Output {
    Reactor::new().expect("a reactor").block_on(test).expect("nothing runs here yet")
}

fn spawn(task: impl Future + 'static) {
    Handle::current().expect("inside").spawn_detached(async {
        task.await;
    });
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let client = TcpStream::connect(addr).await.expect("connected");
    (client, listener.accept().await.expect("accepted").0)
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>().into()
}

/// Eight megabytes go to the server and come back, through hyper's buffers and the sockets': the
/// writer waits for room, and the reader for data, at both ends.
#[test]
fn a_body_larger_than_all_buffers_comes_back_whole() {
    block_on(async {
        let (client, server) = tcp_pair().await;
        spawn(server::conn::http1::Builder::new().serve_connection(server, service_fn(answer)));
        let (mut sender, connection) =
            client::conn::http1::handshake(client).await.expect("a connection");
        spawn(connection);
        let sent = pattern(8 << 20);
        let request = Request::post("/").body(Full::new(sent.clone())).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let echoed = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(echoed == sent);
    });
}

/// HTTP/2 spawns a task for each stream by the `Handle`; they may hold what is not `Send`.
#[test]
fn a_hundred_streams_of_one_http_2_connection_share_what_is_not_send() {
    block_on(async {
        let (client, server) = UnixStream::pair().expect("a pair");
        let handle = Handle::current().expect("inside");
        let count = Rc::new(Cell::new(0));
        let counting = Rc::clone(&count);
        let count_up = service_fn(move |_: Request<Incoming>| {
            let count = Rc::clone(&counting);
            async move {
                sleep(Duration::from_millis(1)).await;
                count.set(count.get() + 1);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"counted"))))
            }
        });
        let mut builder = server::conn::http2::Builder::new(handle.clone());
        spawn(builder.timer(HyperTimer).serve_connection(server, count_up));
        let (sender, connection) =
            client::conn::http2::handshake(handle.clone(), client).await.expect("a connection");
        spawn(connection);
        let requests: Vec<_> = (0..100)
            .map(|_| {
                let mut sender = sender.clone();
                handle.spawn(async move {
                    let request = Request::get("http://squall/").body(Empty::<Bytes>::new());
                    let response = sender.send_request(request.expect("a request")).await;
                    response.expect("an answer").into_body().collect().await.expect("a body")
                })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.expect("no panic").to_bytes(), "counted");
        }
        assert_eq!(count.get(), 100);
    });
}

/// hyper's limit on the time of a head is a timer of the reactor: not early, and not missed.
#[test]
fn a_head_that_never_ends_is_given_up_at_hypers_deadline() {
    let limit = Duration::from_millis(50);
    block_on(async {
        let (client, server) = tcp_pair().await;
        let begun = Instant::now();
        let mut builder = server::conn::http1::Builder::new();
        builder.timer(HyperTimer).header_read_timeout(limit);
        let serve = builder.serve_connection(server, service_fn(answer));
        client.write_all(b"GET / HTTP/1.1\r\nHost:").await.expect("sent");
        let ended = timeout(Duration::from_secs(30), serve).await.expect("in time");
        assert!(ended.expect_err("given up").is_timeout());
        assert!(begun.elapsed() >= limit, "early");
    });
}

/// A deadline that is moved for each request, as keep-alive does, leaves one timer behind at most.
#[test]
fn deadlines_of_many_requests_leave_nothing_in_the_wheel() {
    let mut reactor = Reactor::new().expect("a reactor");
    let requests = async {
        let (client, server) = tcp_pair().await;
        let mut builder = server::conn::http1::Builder::new();
        spawn(builder.timer(HyperTimer).serve_connection(server, service_fn(answer)));
        let (mut sender, connection) =
            client::conn::http1::handshake(client).await.expect("a connection");
        spawn(connection);
        for _ in 0..100 {
            let request = Request::get("/").body(Empty::<Bytes>::new()).expect("a request");
            let response = sender.send_request(request).await.expect("an answer");
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.expect("a body");
        }
    };
    reactor.block_on(requests).expect("nothing runs here yet");
    // The client has gone, and the server with it.
    while reactor.stats().tasks > 0 {
        reactor.turn(None).expect("a turn");
    }
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(reactor.stats().timers, 0);
    assert_eq!(reactor.stats().sources, 0);
}

/// hyper's own end of a connection: what is asked for is answered, then both sides close.
#[test]
fn a_graceful_shutdown_finishes_the_answer_that_has_begun() {
    block_on(async {
        let (client, server) = tcp_pair().await;
        let (begun, go) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (begins, goes) = (Rc::clone(&begun), Rc::clone(&go));
        let held = service_fn(move |_: Request<Incoming>| {
            begins.set(true);
            let goes = Rc::clone(&goes);
            async move {
                while !goes.get() {
                    yield_now().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"finished"))))
            }
        });
        let served = Handle::current().expect("inside").spawn(async move {
            let mut serve =
                pin!(server::conn::http1::Builder::new().serve_connection(server, held));
            poll_fn(|cx| {
                assert!(serve.as_mut().poll(cx).is_pending());
                if begun.get() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            serve.as_mut().graceful_shutdown();
            go.set(true);
            serve.await
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let mut text = vec![0; 1024];
        let mut len = 0;
        while let Ok(n @ 1..) = client.read(&mut text[len..]).await {
            len += n;
        }
        let text = String::from_utf8_lossy(&text[..len]).to_lowercase();
        assert!(text.contains("connection: close") && text.ends_with("finished"), "{text}");
        served.await.expect("no panic").expect("no error");
    });
}
