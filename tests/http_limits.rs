//! What a client can hold, and for how long: each bound of `Limits` and of the server, from outside.
//!
//! A slow client is ended by the bound that is meant for it while others are served; what a bound ends
//! leaves nothing behind.

mod http;

use std::io::{Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::FromRawFd;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::{Client, TestServer, wait_until};
use squall_http::{Error, Limits, Refusal, Request, Response, Server, ServerStats};
use squall_reactor::Pool;
use squall_support::limits::raise_open_files;

const BIG: usize = 32 << 20;

/// Broken by a write that waits without a deadline: a client that never reads keeps its answer's
/// memory for ever.
#[test]
fn a_client_that_takes_nothing_of_its_answer_is_reset() {
    for path in ["/big", "/made", "/many"] {
        let mut limits = Limits::default();
        limits.write_timeout = Duration::from_millis(100);
        let server = TestServer::start(|| Server::new(answers).limits(limits));
        let mut client = server.connect();
        let requests = if path == "/many" { 2000 } else { 1 };
        // Refused in the middle, when the server has given the client up.
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(requests);
        client.send_pieces(request.as_bytes(), 4 << 10);
        server.comes_to_rest();
        drop(client);
    }
}

/// Broken by a deadline for the whole answer: who reads slowly, but reads, is served.
#[test]
fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let mut limits = Limits::default();
    limits.write_timeout = Duration::from_millis(300);
    let server = TestServer::start(|| Server::new(answers).limits(limits));
    let mut client = server.connect();
    client.send("GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (begin, mut read, mut buf) = (Instant::now(), 0, vec![0; 1 << 20]);
    while let Ok(n @ 1..) = client.stream().read(&mut buf) {
        read += n;
        thread::sleep(Duration::from_millis(20));
    }
    assert!(read > BIG, "{read} bytes");
    assert!(begin.elapsed() > Duration::from_millis(300), "it was not slow: {read} bytes");
}

/// Broken by asking for room alone: the kernel tells of it only when 128 KiB are free, and a client on a
/// thin line is reset although it takes all that it can.
#[test]
fn a_client_too_slow_to_make_room_in_time_is_served_as_long_as_it_takes_something() {
    let mut limits = Limits::default();
    limits.write_timeout = Duration::from_millis(1500);
    let server = TestServer::start(|| Server::new(answers).limits(limits));
    let mut client = over_a_thin_line(&server);
    client.send("GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    // 60 KB a second: there is room after two.
    let (begin, mut read, mut buf) = (Instant::now(), 0, vec![0; 1 << 20]);
    while begin.elapsed() < Duration::from_secs(4) {
        read += client.stream().read(&mut buf[..1 << 10]).expect("it goes on");
        thread::sleep(Duration::from_millis(16));
    }
    assert!(read < 256 << 10, "it was not slow: {read} bytes");
    while let Ok(n @ 1..) = client.stream().read(&mut buf) {
        read += n;
    }
    assert!(read > BIG, "{read} bytes");
    server.comes_to_rest();
}

/// Broken by a wait that any byte prolongs: a slow read would hold an answer's memory for ever.
#[test]
fn a_client_that_takes_an_answer_below_the_minimum_rate_is_reset() {
    let mut limits = Limits::default();
    (limits.write_timeout, limits.min_answer_rate) = (Duration::from_secs(1), 10_000_000);
    let server = TestServer::start(|| Server::new(answers).limits(limits));
    let mut client = over_a_thin_line(&server);
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    let (begin, mut buf) = (Instant::now(), [0; 1 << 10]);
    while client.stream().read(&mut buf).is_ok_and(|n| n > 0) {
        thread::sleep(Duration::from_millis(10));
        assert!(begin.elapsed() < http::PATIENCE, "it goes on for ever");
    }
    server.comes_to_rest();
}

/// Broken by bytes that buy time without end: what came fast at first would pay for hours of silence,
/// and a client that has died in the middle would never be missed.
#[test]
fn a_body_that_came_fast_may_not_pause_for_longer_than_an_idle_connection() {
    for min_body_rate in [0, 1] {
        let mut limits = Limits::default();
        (limits.body_grace, limits.min_body_rate) = (Duration::from_secs(1000), min_body_rate);
        limits.idle_timeout = Duration::from_secs(1);
        let server = TestServer::start(|| Server::new(answers).limits(limits));
        let mut client = server.connect();
        client.send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        for _ in 0..3 {
            client.send([b'a'; 5000]);
            thread::sleep(Duration::from_millis(20)); // shorter than a pause may be
        }
        let last = Instant::now();
        client.send([b'a'; 5000]);
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.says_close()), (408, true), "{answer:?}");
        assert!(last.elapsed() >= Duration::from_secs(1), "too early");
    }
}

/// Broken by a limit between two reads: a byte now and then would keep a body for ever.
#[test]
fn rfc9110_15_5_9_a_body_below_the_minimum_rate_is_408() {
    let mut limits = Limits::default();
    (limits.body_grace, limits.min_body_rate) = (Duration::from_millis(150), 1000);
    let server = TestServer::start(|| Server::new(answers).limits(limits));
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        client.send(format!("POST /count HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        let begin = Instant::now();
        let chunked = framing.starts_with('T');
        while !client.has_answer() {
            client.send(if chunked { "1\r\na\r\n" } else { "a" });
            thread::sleep(Duration::from_millis(5));
            assert!(begin.elapsed() < http::PATIENCE, "it goes on for ever");
        }
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.says_close()), (408, true), "{answer:?}");
        assert!(begin.elapsed() >= Duration::from_millis(150), "too early");
    }
    server.comes_to_rest();
}

/// Broken by a grace that counts from the head's end: a body that comes in time would be refused for
/// having taken longer than the grace alone.
#[test]
fn a_body_that_is_slow_and_above_the_minimum_rate_is_read_to_its_end() {
    let mut limits = Limits::default();
    (limits.body_grace, limits.min_body_rate) = (Duration::from_millis(100), 1);
    let server = TestServer::start(|| Server::new(answers).limits(limits));
    let mut client = server.connect();
    client.send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    let begin = Instant::now();
    for _ in 0..40 {
        client.send("a");
        thread::sleep(Duration::from_millis(5));
    }
    let answer = client.answer("POST");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"40"[..]));
    assert!(begin.elapsed() > Duration::from_millis(100), "it was not slow");
}

/// Broken by a clock that runs while the handler does something else.
#[test]
fn a_handler_that_keeps_its_client_waiting_does_not_use_up_the_grace() {
    let mut limits = Limits::default();
    (limits.body_grace, limits.min_body_rate) = (Duration::from_millis(200), 1_000_000);
    let server = TestServer::start(|| {
        let pool = Rc::new(Pool::builder().build().expect("a pool"));
        let handler = async move |request: &mut Request<'_>| {
            let first = request.body().chunk().await.map(|piece| piece.map_or(0, <[u8]>::len));
            let pause = || thread::sleep(Duration::from_millis(400));
            pool.run(pause).await.expect("the pool works");
            match (first, request.body().bytes().await) {
                (Ok(first), Ok(rest)) => Response::text(format!("{}", first + rest.len())),
                (_, Err(error)) | (Err(error), _) => error.into(),
            }
        };
        Server::new(handler).limits(limits)
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    client.send("def");
    let answer = client.answer("POST");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"6"[..]), "{answer:?}");
}

/// Broken by a count that is not given back, or that counts the refused.
#[test]
fn an_address_has_its_share_of_connections_and_no_more() {
    let server = TestServer::start(|| {
        let stats = ServerStats::default();
        let shown = stats.clone();
        let handler =
            async move |_: &mut Request<'_>| Response::text(shown.turned_away().to_string());
        Server::new(handler).stats(&stats).max_connections_per_address(3)
    });
    for round in 0..3 {
        let mut served: Vec<Client> = (0..3).map(|_| server.connect()).collect();
        for client in &mut served {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.answer("GET").body, (round * 5).to_string().into_bytes());
        }
        for _ in 0..5 {
            // The reset may come before connect(2) has returned.
            if let Ok(mut refused) = TcpStream::connect(server.addr) {
                assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
            }
        }
        assert_eq!(server.connections(), 3);
        let last = served.pop().expect("three");
        drop(last);
        wait_until("a place", || match server.connections() {
            2 => Ok(()),
            open => Err(open),
        });
        let mut next = server.connect();
        next.send("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(next.answer("GET").status, 200);
        drop((served, next));
        server.comes_to_rest();
    }
}

/// Broken by a server that reads on while its answers are not taken. Nothing is refused: every
/// request is answered once the client reads.
#[test]
fn ten_thousand_pipelined_requests_wait_in_the_kernel_and_are_all_answered() {
    const REQUESTS: usize = 10_000;
    let server = TestServer::start(|| Server::new(answers));
    let mut client = server.connect();
    let mut sender = client.stream().try_clone().expect("a descriptor");
    let sending = thread::spawn(move || {
        let request = b"GET /5k HTTP/1.1\r\nHost: a\r\n\r\n";
        sender.write_all(&request.repeat(REQUESTS)).expect("the server reads in the end");
    });
    // The answers come to 50 MB; the kernel's buffers take a few.
    let first = client.answer("GET");
    assert_eq!(first.body.len(), 5 << 10);
    thread::sleep(Duration::from_millis(300)); // time for a server that goes on without us
    let answered = server.ask(|_, serving| serving.requests());
    assert!(answered < REQUESTS as u64 / 2, "{answered} answers made, and one read");
    for _ in 1..REQUESTS {
        assert_eq!(client.answer("GET").body.len(), 5 << 10);
    }
    sending.join().expect("it has sent all");
    client.expect_kept();
}

/// Broken by a refusal that only the client hears of: an access log wraps the handler, which never
/// sees these.
#[test]
fn each_request_that_no_handler_sees_is_told() {
    let (tell, told) = mpsc::channel();
    let server = TestServer::start(|| {
        Server::new(answers).on_refusal(move |refusal: &Refusal| {
            tell.send(*refusal).expect("the test listens");
        })
    });
    for (request, status, error) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, Some(Error::HostMissing)),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, Some(Error::BareLf)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, Some(Error::LengthSyntax)),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417, Some(Error::ExpectationFailed)),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501, None),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, None),
    ] {
        let mut client = server.connect();
        client.send(request);
        assert_eq!(client.answer("GET").status, status, "{request:?}");
        let refusal = told.recv_timeout(http::PATIENCE).expect("it is told");
        assert_eq!((refusal.status.as_u16(), refusal.error), (status, error), "{request:?}");
        assert!(refusal.peer.ip().is_loopback() && refusal.peer != server.addr);
        assert!(refusal.to_string().contains(&format!(": {status}, ")), "{refusal}");
        let line = refusal.common().to_string();
        assert!(line.ends_with(&format!("] \"-\" {status} -")), "{line}");
    }
    let mut served = server.connect();
    served.send("GET /nowhere HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n");
    served.answer("GET");
    assert!(told.try_recv().is_err(), "a handler saw that one");
}

/// Slow in the head, slow in the body, slow in reading: each ended by its own bound, all at once, while
/// others are served.
#[test]
fn two_thousand_slow_clients_are_ended_while_others_are_served() {
    let open_files = raise_open_files().expect("a limit can be raised to its hard one");
    let count = 2000.min(open_files.saturating_sub(400) / 2) as usize;
    let mut limits = Limits::default();
    limits.head_timeout = Duration::from_millis(1500);
    (limits.body_grace, limits.min_body_rate) = (Duration::from_millis(1500), 100);
    limits.write_timeout = Duration::from_millis(1500);
    let server = TestServer::start(|| Server::new(answers).limits(limits));
    // Each of these has the kernel keep megabytes, so they are fewer.
    let reads = |i: usize| i.is_multiple_of(10);
    let mut slow: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    for (i, client) in slow.iter_mut().enumerate() {
        client.send(match (reads(i), i % 2) {
            (true, _) => "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
            (_, 0) => "GET / HTTP/1.1\r\nHos",
            (_, _) => "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        });
    }
    let mut normal = server.connect();
    let mut served = 0;
    wait_until("the end of the slow ones", || {
        normal.send("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(normal.answer("GET").status, 200);
        served += 1;
        match server.connections() {
            1 => Ok(()),
            open => Err(open),
        }
    });
    assert!(served > 10, "others were served {served} times meanwhile");
    for (i, client) in slow.iter_mut().enumerate().filter(|(i, _)| !reads(*i)) {
        assert_eq!(client.answer("GET").status, 408, "client {i}");
        client.expect_end();
    }
}

/// A client whose segments are those of a network (TCP_MAXSEG, tcp(7)). On the loopback they are of
/// 64 KiB, and a slow reader's kernel says for seconds that it has taken nothing.
fn over_a_thin_line(server: &TestServer) -> Client {
    let SocketAddr::V4(addr) = server.addr else { panic!("it is 127.0.0.1") };
    let bytes: libc::c_int = 1400;
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "a socket");
    // SAFETY: the descriptor is new and belongs to nobody else.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    let (value, len) = ((&raw const bytes).cast(), mem::size_of_val(&bytes) as u32);
    // SAFETY: the kernel reads `len` bytes of `bytes`, which lives until the call returns.
    let set = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, value, len) };
    let (place, len) = ((&raw const name).cast(), mem::size_of_val(&name) as u32);
    // SAFETY: the kernel reads `len` bytes of `name`, which lives until the call returns.
    let connected = unsafe { libc::connect(fd, place, len) };
    assert_eq!((set, connected), (0, 0), "the server listens");
    Client::over(stream)
}

async fn answers(request: &mut Request<'_>) -> Response {
    static ZEROES: [u8; BIG] = [0; BIG];
    match request.path() {
        b"/big" => Response::bytes("application/octet-stream", &ZEROES[..]),
        b"/5k" => Response::bytes("application/octet-stream", &ZEROES[..5 << 10]),
        b"/many" => Response::bytes("application/octet-stream", &ZEROES[..16 << 10]),
        b"/made" => {
            Response::pieces("application/octet-stream", std::iter::repeat_n([0; 1024], BIG >> 10))
        }
        b"/count" => match request.body().bytes().await {
            Ok(bytes) => Response::text(bytes.len().to_string()),
            Err(error) => error.into(),
        },
        _ => Response::text("probe"),
    }
}
