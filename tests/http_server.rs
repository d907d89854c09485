//! The example `http_server` as a process, driven from outside by whoever speaks HTTP.
//!
//! Every route; clients that are slow, many, or gone; a drain; workers that are killed. What the
//! server kept is read from its own `/stats` and from /proc. Tools that are not installed are
//! skipped, and say so.

mod http;
mod json;

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use http::running::Running;
use http::{Answer, Client, text, wait_until};
use squall_support::limits::raise_open_files;
use squall_support::proc::Status;

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn every_route_gives_what_it_says() {
    let server = Running::start(&[]);
    for size in [usize::MAX, 1] {
        let mut client = server.connect();
        let mut ask = |method: &str, path: &str, body: &str| {
            let length = body.len();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nX-Tea:  green \r\n");
            let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
            client.send_pieces(request.as_bytes(), size);
            let answer = client.answer(method);
            (answer.status, String::from_utf8(answer.body).expect("text"))
        };
        let ok = |text: &str| (200, text.to_owned());
        assert_eq!(ask("GET", "/", ""), ok("Hello, World!"));
        assert_eq!(ask("HEAD", "/", ""), ok(""));
        assert_eq!(ask("POST", "/", "tea"), ok("tea"));
        assert_eq!(ask("POST", "/echo", "more tea"), ok("more tea"));
        assert_eq!(ask("POST", "/echo", ""), ok(""));
        let fields = "Host: a\nX-Tea: green\nContent-Length: 0\n";
        assert_eq!(ask("GET", "/headers", ""), ok(fields));
        assert_eq!(ask("GET", "/async/20", ""), ok("waited 20 ms\n"));
        assert_eq!(ask("GET", "/async/0", ""), ok("waited 0 ms\n"));
        assert_eq!(ask("GET", "/pool/20", ""), ok("blocked 20 ms\n"));
        assert_eq!(ask("GET", "/block/20", ""), ok("blocked 20 ms\n"));
        assert_eq!(ask("GET", "/stream/3", ""), ok("line 0\nline 1\nline 2\n"));
        assert_eq!(ask("GET", "/stream/0", ""), ok(""));
        let (status, stats) = ask("GET", "/stats", "");
        assert!(status == 200 && stats.starts_with("{\"turns\":"), "{stats}");
        for path in ["/async/soon", "/async/-1", "/pool/x", "/block/", "/stream/all"] {
            let status = ask("GET", path, "").0;
            assert!(status == 400 || path == "/block/" && status == 404, "{path}: {status}");
        }
        for path in ["/nowhere", "/async", "/stream/3/4", "//", "/%20", "/Echo"] {
            assert_eq!(ask("GET", path, "").0, 404, "{path}");
        }
        assert_eq!(ask("POST", "/headers", "").0, 405);
        assert_eq!(ask("GET", "/echo", "").0, 405);
    }
}

/// The loop goes on for all who wait and for all who work in the pool; the mistake holds it.
#[test]
fn waiting_and_the_pool_hold_nobody_and_blocking_holds_everybody() {
    let server = Running::start(&[]);
    let mut waits = server.get("/async/60000");
    let mut works = server.get("/pool/60000");
    let mut other = server.connect();
    other.send(HELLO);
    assert_eq!(other.answer("GET").body, b"Hello, World!");
    assert!(!waits.has_answer() && !works.has_answer());
    let mut blocks = server.get("/block/1500");
    thread::sleep(Duration::from_millis(300)); // it is read by now
    other.send(HELLO);
    assert_eq!(other.answer("GET").body, b"Hello, World!");
    assert!(blocks.has_answer(), "another was answered while the loop was blocked");
}

#[test]
fn a_thousand_pipelined_requests_in_one_write_are_answered_in_order() {
    let server = Running::start(&[]);
    let mut client = server.connect();
    let requests: String = (0..1000)
        .map(|i| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{i:03}"))
        .collect();
    client.send(&requests);
    for i in 0..1000 {
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.body), (200, format!("{i:03}").into_bytes()));
    }
    client.send(HELLO.repeat(1000));
    for _ in 0..1000 {
        assert_eq!(client.answer("GET").body, b"Hello, World!");
    }
}

#[test]
fn two_thousand_connections_are_served_and_leave_nothing() {
    let limit = raise_open_files().expect("a higher soft limit");
    assert!(limit >= 2100, "a hard limit of {limit} open files is too low for this");
    let server = Running::start(&[]);
    let mut watcher = server.connect();
    let before = (stats_at_rest(&mut watcher), server.descriptors());
    let mut clients: Vec<Client> = (0..2000).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(HELLO));
    for client in &mut clients {
        assert_eq!(client.answer("GET").body, b"Hello, World!");
    }
    assert!(server.descriptors() >= before.1 + 2000);
    assert!(stats(&mut watcher).sources >= before.0.sources + 2000);
    for (i, client) in clients.into_iter().enumerate() {
        if i % 2 == 0 { drop(client) } else { client.reset() }
    }
    wait_until("what was before", || match (stats(&mut watcher), server.descriptors()) {
        now if now == before => Ok(()),
        now => Err((now, before.clone())),
    });
}

/// A proxy is one address with all of its clients.
#[test]
fn sixteen_thousand_connections_from_one_address_are_served() {
    const CONNECTIONS: usize = 16_384;
    let limit = raise_open_files().expect("a higher soft limit");
    if limit < CONNECTIONS as u64 + 200 {
        println!("skipped: a hard limit of {limit} open files");
        return;
    }
    let server = Running::start(&[]);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(HELLO);
    }
    for client in &mut clients {
        assert_eq!(client.answer("GET").body, b"Hello, World!");
    }
    // No TIME_WAIT: others need the ports.
    clients.into_iter().for_each(Client::reset);
}

#[test]
fn sixteen_mebibytes_come_back_from_echo() {
    let server = Running::start(&[]);
    let body: Vec<u8> = (0..16u32 << 20).map(|i| (i % 251) as u8).collect();
    let mut chunked = Vec::new();
    for chunk in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let length = format!("Content-Length: {}", body.len());
    for (framing, sent) in [(&*length, &body), ("Transfer-Encoding: chunked", &chunked)] {
        let mut client = server.connect();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        client.send(sent);
        let answer = client.answer("POST");
        assert!(answer.status == 200 && answer.body == body, "{framing}: {}", text(&answer.body));
        client.send(HELLO);
        assert_eq!(client.answer("GET").body, b"Hello, World!");
        let over = body.len() + 1;
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {over}\r\n\r\n"));
        assert_eq!(client.answer("POST").status, 413);
    }
}

#[test]
fn a_body_may_pause_for_two_seconds() {
    let server = Running::start(&[]);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    let mut lengths = server.connect();
    let mut chunks = server.connect();
    lengths.send(format!("{head}Content-Length: 5\r\n\r\nhel"));
    chunks.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2"));
    thread::sleep(Duration::from_secs(2));
    lengths.send("l");
    chunks.send("\r\nl");
    thread::sleep(Duration::from_secs(2));
    lengths.send("o");
    chunks.send("o\r\n0\r\n\r\n");
    assert_eq!(lengths.answer("POST").body, b"hello");
    assert_eq!(chunks.answer("POST").body, b"hello");
}

/// Made as it is sent: a reader that stops stops the maker, and costs no memory.
#[test]
fn two_million_lines_are_streamed_also_to_a_slow_reader_and_not_to_one_that_leaves() {
    const LINES: u32 = 2_000_000;
    let server = Running::start(&[]);
    let mut watcher = server.connect();
    let before = (stats_at_rest(&mut watcher), server.descriptors());

    let mut leaves = server.get(&format!("/stream/{LINES}"));
    leaves.read_exactly(1 << 20).expect("a part of it");
    let mut slow = server.get(&format!("/stream/{LINES}"));
    slow.read_exactly(1 << 20).expect("a part of it");
    thread::sleep(Duration::from_millis(500)); // while it is written to nobody who reads
    let kib = server.memory_kib();
    assert!(kib < 16 << 10, "{kib} KiB for two readers that have stopped");
    drop(leaves);
    drop(slow);

    let mut client = server.get(&format!("/stream/{LINES}"));
    let begin = Instant::now();
    let answer = client.answer("GET");
    assert!(begin.elapsed() < Duration::from_secs(60));
    let mut count = 0;
    for (i, line) in answer.body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        assert_eq!(line, format!("line {i}\n").as_bytes());
        count += 1;
    }
    assert_eq!(count, LINES);
    client.send(HELLO);
    assert_eq!(client.answer("GET").body, b"Hello, World!");
    drop(client);
    wait_until("what was before", || match (stats(&mut watcher), server.descriptors()) {
        now if now == before => Ok(()),
        now => Err((now, before.clone())),
    });
}

#[test]
fn on_sigterm_what_has_begun_is_answered_with_close_and_the_exit_is_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let server = Running::start(&[]);
        let mut idle = server.connect();
        idle.send(HELLO);
        idle.answer("GET");
        let mut fresh = server.connect();
        let mut waits = server.connect();
        // The answer to the first says that the second has been read.
        waits.send([HELLO, b"GET /async/2000 HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        waits.answer("GET");
        server.child.signal(signal).expect("it lives");
        idle.expect_end();
        fresh.expect_end();
        wait_until("the listener's end", || match TcpStream::connect(server.addr) {
            Ok(_) => Err("it still takes connections"),
            Err(_) => Ok(()),
        });
        assert!(!waits.has_answer(), "2 s have passed, or it was cut short");
        let answer = waits.answer("GET");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"waited 2000 ms\n"[..]));
        assert!(answer.says_close(), "{answer:?}");
        waits.expect_end();
        assert_eq!(server.exit().code(), Some(0));
    }
}

// A balancer that asks for health must have the time to hear the answer, and what it sends meanwhile
// is served.
#[test]
fn with_notice_sigterm_makes_health_503_and_serves_on_until_the_second() {
    for workers in [&["--notice", "60000"][..], &["--notice", "60000", "--workers", "1"]] {
        let server = Running::start(workers);
        let mut idle = server.connect();
        for _ in 0..2 {
            idle.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(idle.answer("GET").status, 200);
        }
        server.child.signal(libc::SIGTERM).expect("it lives");
        wait_until("the end of health", || match server.get("/health").answer("GET") {
            answer if answer.status == 503 && answer.says_close() => Ok(()),
            answer => Err(answer),
        });
        // The connection of before is there, and ends with its next answer.
        assert!(!idle.has_answer());
        idle.send(HELLO);
        assert!(idle.answer("GET").says_close());
        idle.expect_end();
        let mut waits = server.get("/async/1000");
        server.child.signal(libc::SIGTERM).expect("it lives");
        let answer = waits.answer("GET");
        assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
        assert_eq!(server.exit().code(), Some(0));
    }
}

// close(2) resets what waits in a listener's queue; the drain must take it out before.
#[test]
fn on_sigterm_the_connections_in_the_queue_are_answered_too() {
    let server = Running::start(&[]);
    server.get("/").answer("GET"); // it listens to signals by now
    let mut blocks = server.get("/block/700");
    // The loop is held, so these wait in the queue, and the signal comes behind them.
    let mut queued: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    queued.iter_mut().step_by(2).for_each(|client| client.send(HELLO));
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(blocks.answer("GET").status, 200);
    // The others ask a moment later: they had connected, so their request was on its way.
    queued.iter_mut().skip(1).step_by(2).for_each(|client| client.send(HELLO));
    for client in &mut queued {
        assert_eq!(client.answer("GET").status, 200);
        client.expect_end();
    }
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_worker_that_is_killed_is_replaced_and_sigterm_ends_all() {
    let server = Running::start(&["--workers", "2"]);
    let pids = server.workers(2);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(HELLO);
        assert_eq!(client.answer("GET").body, b"Hello, World!");
    }
    signal(pids[0], libc::SIGKILL);
    wait_until("another worker", || match server.workers(2) {
        now if now.contains(&pids[1]) && !now.contains(&pids[0]) => Ok(()),
        now => Err(now),
    });
    // Those that the killed one had in its queue are served by its successor.
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(HELLO));
    for client in &mut clients {
        assert_eq!(client.answer("GET").body, b"Hello, World!");
    }
    let pids = server.workers(2);
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(server.exit().code(), Some(0));
    for pid in pids {
        assert!(!is_alive(pid), "worker {pid} outlives its supervisor");
    }
}

#[test]
fn no_workers_means_one_for_each_cpu() {
    let cpus = thread::available_parallelism().expect("a CPU").get();
    let server = Running::start(&["--workers", "0"]);
    server.workers(cpus);
    let mut client = server.connect();
    client.send(HELLO);
    assert_eq!(client.answer("GET").body, b"Hello, World!");
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn curl_is_served() {
    let server = Running::start(&[]);
    let base = format!("http://{}", server.addr);
    let curl = |args: &[&str]| tool("curl", &[&["-sS", "--max-time", "20"], args].concat());
    let Some(hello) = curl(&[&base]) else { return };
    assert_eq!(hello, b"Hello, World!");
    let echo = format!("{base}/echo");
    assert_eq!(curl(&["-d", "tea", &echo]).as_deref(), Some(&b"tea"[..]));
    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "tea", &*echo];
    assert_eq!(curl(&chunked).as_deref(), Some(&b"tea"[..]));
    let old = curl(&["--http1.0", &format!("{base}/stream/3")]);
    assert_eq!(old.as_deref(), Some(&b"line 0\nline 1\nline 2\n"[..]));
    let head = curl(&["-I", &base]).expect("curl is there");
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", text(&head));
    // It expects a 100 before it sends so much.
    let large = env::temp_dir().join(format!("squall-curl-{}", std::process::id()));
    fs::write(&large, vec![b'x'; 3 << 20]).expect("a file");
    let upload = format!("@{}", large.display());
    let back = curl(&["--data-binary", &upload, "-H", "Expect: 100-continue", &echo]);
    fs::remove_file(&large).expect("the file");
    assert!(back.is_some_and(|back| back == vec![b'x'; 3 << 20]));
}

#[test]
fn python_s_http_client_is_served_on_one_connection() {
    let server = Running::start(&[]);
    let script = "
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], timeout=20)
def ask(method, path, body=None, **more):
    c.request(method, path, body, **more)
    r = c.getresponse()
    return r.status, r.read()
for i in range(100):
    assert ask('GET', '/') == (200, b'Hello, World!')
assert ask('HEAD', '/') == (200, b'')
assert ask('POST', '/echo', b'x' * 1000000) == (200, b'x' * 1000000)
assert ask('POST', '/echo', iter([b'tea', b'', b'pot']), encode_chunked=True) == (200, b'teapot')
assert ask('GET', '/stream/1000')[1].count(b'\\n') == 1000
assert ask('GET', '/nowhere')[0] == 404
assert ask('DELETE', '/')[0] == 405
assert c.sock is not None
print('served')
";
    let address = server.addr.to_string();
    if let Some(said) = tool("python3", &["-c", script, &address]) {
        assert_eq!(said, b"served\n");
    }
}

#[test]
fn wrk_is_served_without_an_error() {
    let server = Running::start(&[]);
    let base = format!("http://{}", server.addr);
    for path in ["/", "/headers", "/stream/100", "/nothing"] {
        let Some(said) = tool("wrk", &["-t1", "-c64", "-d1s", &format!("{base}{path}")]) else {
            return;
        };
        let said = String::from_utf8(said).expect("text");
        assert!(said.contains("Requests/sec"), "{said}");
        assert!(!said.contains("Socket errors"), "{path}: {said}");
        assert_eq!(said.contains("Non-2xx"), path == "/nothing", "{path}: {said}");
    }
}

/// What Firefox sends for a page.
#[test]
fn a_browser_s_request_is_served() {
    let server = Running::start(&[]);
    let request = format!(
        "GET /headers?q=%C3%A9|x HTTP/1.1\r\n\
         Host: {}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-US,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Connection: keep-alive\r\n\
         Cookie: a=b; c=\"d e\"; f={}\r\n\
         Upgrade-Insecure-Requests: 1\r\n\
         Sec-Fetch-Dest: document\r\n\
         Sec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Site: none\r\n\
         Priority: u=0, i\r\n\r\n",
        server.addr,
        "x".repeat(3000),
    );
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(&request);
        let answer = client.answer("GET");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.iter().filter(|byte| **byte == b'\n').count(), 12);
    }
}

#[test]
fn a_trace_of_the_server_is_written_at_its_end() {
    let file = env::temp_dir().join(format!("squall-trace-{}.json", std::process::id()));
    let server = Running::start(&["--trace", file.to_str().expect("UTF-8")]);
    for path in ["/async/5", "/pool/5", "/"] {
        assert_eq!(server.get(path).answer("GET").status, 200);
    }
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert!(server.exit().success());
    let text = fs::read_to_string(&file).expect("it is written");
    fs::remove_file(file).expect("it is there");
    let trace = json::Json::read(&text);
    let names: Vec<&str> =
        trace.list("traceEvents").iter().map(|event| event.text("name")).collect();
    for name in ["wait", "turn", "poll ", "work "] {
        assert!(names.iter().any(|found| found.starts_with(name)), "no {name} in {names:?}");
    }
}

/// What lives in the server's reactor, from its own `/stats`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Living {
    sources: u64,
    tasks: u64,
    timers: u64,
}

/// When only this client is there. The counters are those of the last turn, so the first answers may
/// not yet know of their own connection.
fn stats_at_rest(client: &mut Client) -> Living {
    // Listener, signals and client; the drain's task and the client's; the client's idle timer.
    let rest = Living { sources: 3, tasks: 2, timers: 1 };
    wait_until("a server at rest", || match stats(client) {
        now if now == rest => Ok(()),
        now => Err(now),
    });
    rest
}

fn stats(client: &mut Client) -> Living {
    client.send("GET /stats HTTP/1.1\r\nHost: a\r\n\r\n");
    let Answer { body, .. } = client.answer("GET");
    let json = String::from_utf8(body).expect("text");
    let number = |name: &str| {
        let (_, rest) = json.split_once(&format!("\"{name}\":")).expect("a counter");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    Living { sources: number("sources"), tasks: number("tasks"), timers: number("timers") }
}

/// What a tool prints, or `None` if it is not installed.
fn tool(name: &str, args: &[&str]) -> Option<Vec<u8>> {
    match Command::new(name).args(args).stdin(Stdio::null()).output() {
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {args:?}: {}: {why}", output.status);
            Some(output.stdout)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Past the capture of print macros.
            let _ = writeln!(io::stderr(), "skipped: {name} is not installed");
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: no memory is involved. A worker is waited for by its supervisor alone, which we ask
    // to replace it only by this.
    let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(sent, 0, "the worker lives");
}

fn is_alive(pid: u32) -> bool {
    Status::read(pid).is_ok()
}
