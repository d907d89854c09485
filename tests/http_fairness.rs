//! Law 7 over HTTP: no client holds the loop, however fast it sends, reads or asks.
//!
//! Each test has a greedy client on a thread of its own that never lets its socket run dry (or
//! full), and a modest one that must be answered meanwhile. The greedy part is made slow on the
//! server's side, so that the server and not the client is what everything waits for.

mod http;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::{PROBE, TestServer};
use squall_http::{Method, Request, Response, Router, Server};

/// Broken by a loop of make and send that ends only when the socket is full.
#[test]
fn law_07_a_fast_reader_of_a_long_answer_starves_nobody() {
    others_are_answered(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n", b"");
}

/// Broken by a loop of reads that ends only when the socket is empty.
#[test]
fn law_07_a_fast_sender_of_a_long_body_starves_nobody() {
    let head = b"POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n";
    others_are_answered(head, b"a long body, and no end of it");
}

#[test]
fn law_07_a_fast_sender_of_small_chunks_starves_nobody() {
    let head = b"POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    others_are_answered(head, b"1\r\nx\r\n");
}

#[test]
fn law_07_a_client_that_pipelines_without_end_starves_nobody() {
    others_are_answered(b"", b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
}

/// After an error what still comes is read and thrown away, for two seconds.
#[test]
fn law_07_a_client_that_sends_on_after_an_error_starves_nobody() {
    others_are_answered(b"", b"this is no HTTP\r\n");
}

/// A client sends `once` and then `again` without end, and reads what comes; others are answered.
#[track_caller]
fn others_are_answered(once: &[u8], again: &[u8]) {
    // Two greedy clients at a time would be greedy for the machine.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = TestServer::start(|| Server::new(routes().into_handler()));
    let mut modest = server.connect();
    modest.expect_kept();
    let greedy = server.connect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (reader, writer) = greedy.both();
        let stop = &stop;
        scope.spawn(move || keep_reading(reader, stop));
        scope.spawn(move || keep_writing(writer, once, &again.repeat(10_000), stop));
        let answered = (0..5).all(|_| {
            modest.send(PROBE);
            let answer = modest.try_answer("GET");
            thread::sleep(Duration::from_millis(2));
            answer.is_ok()
        });
        stop.store(true, SeqCst);
        assert!(answered, "nobody else was answered for ten seconds");
    });
}

fn routes() -> Router {
    let router = Router::new()
        .plain(Method::Get, "/probe", |_| Response::text("probe"))
        .and_then(|router| {
            router.plain(Method::Get, "/slow", |_| {
                work();
                Response::text("slow")
            })
        })
        .and_then(|router| {
            router.plain(Method::Get, "/endless", |_| {
                let piece = || {
                    work();
                    [b'x'; 8 << 10]
                };
                Response::pieces("text/plain", std::iter::repeat_with(piece))
            })
        })
        .and_then(|router| router.post("/long", swallow));
    router.expect("the patterns are right")
}

/// Works on what comes, a little for each 8 KiB.
async fn swallow(request: &mut Request<'_>) -> Response {
    let (mut total, mut worked_for) = (0, 0);
    request.body().set_limit(u64::MAX);
    while let Ok(Some(piece)) = request.body().chunk().await {
        total += piece.len();
        if total - worked_for >= 8 << 10 {
            worked_for = total;
            work();
        }
    }
    Response::text(total.to_string())
}

/// More than a client needs to refill or drain its socket.
fn work() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(200) {}
}

fn keep_reading(mut stream: std::net::TcpStream, stop: &AtomicBool) {
    let mut buf = vec![0; 256 << 10];
    while !stop.load(SeqCst) {
        match stream.read(&mut buf) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn keep_writing(mut stream: std::net::TcpStream, once: &[u8], again: &[u8], stop: &AtomicBool) {
    if stream.write_all(once).is_err() || again.is_empty() {
        return;
    }
    let mut left = again;
    while !stop.load(SeqCst) {
        match stream.write(left) {
            Ok(n) if n < left.len() => left = &left[n..],
            Ok(_) => left = again,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
