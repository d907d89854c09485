//! Squall behind a real nginx, with the configuration of examples/nginx/nginx.conf.
//!
//! The test starts that very file; only addresses, the number of nginx's processes and, where a
//! test is about them, timeouts are others. What nginx does to a request is told by the handlers
//! through a channel. Where nginx is not installed each test says that it skips.

mod http;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use http::running::Running;
use http::{Client, PATIENCE, TestServer, text, wait_until};
use squall_http::proxy::{Family, TrustedProxies};
use squall_http::sse::{Event, Events};
use squall_http::{Limits, Method, Produce, Request, Response, Router, Server};
use squall_reactor::{Sleep, sleep};
use squall_support::child::Child;

const CONFIGURATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/nginx/nginx.conf"));
const GET: &str = "GET /hello HTTP/1.1\r\nHost: a.example\r\n\r\n";
const POST: &str = "POST /echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\ntea";
/// How often a stream says that it is there: too seldom to fill a buffer of nginx while a test waits.
const PULSE: Duration = Duration::from_millis(200);
/// Of an answer whose pieces do not end while a test waits.
const PIECES_BYTES: u64 = 12 << 20;

// Without `Connection ""`, HTTP/1.1 or the `keepalive` line each request costs a connection.
#[test]
fn nginx_keeps_one_connection_for_the_requests_of_many_clients() {
    let (server, events) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    for _ in 0..20 {
        let mut client = nginx.connect();
        for request in [GET, POST].repeat(5) {
            client.send(request);
            assert_eq!(client.answer("GET").status, 200);
        }
    }
    let ports: BTreeSet<String> = events.try_iter().collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    assert_eq!(server.ask(|_, serving| serving.requests()), 200);
}

// Whoever believes another family than the one that nginx sets believes the client itself.
#[test]
fn the_client_s_address_is_nginx_s_word_whatever_the_client_forges() {
    let (server, _events) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    // Not from the trusted address, at which only nginx is.
    let mut client = nginx.connect_from(Ipv4Addr::new(127, 0, 0, 2));
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil.example\r\nX-Real-Ip: 6.6.6.6\r\nX-Scheme: https\r\n\
        Forwarded: for=6.6.6.6;proto=https;host=evil.example\r\n";
    for fields in ["", forged, "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-For: \"\r\n"] {
        client.send(format!("GET /client HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
        let body = String::from_utf8(client.answer("GET").body).expect("text");
        let (client, passed_on) = body.split_once('\n').expect("a line");
        assert_eq!(client, "http 127.0.0.2 a.example", "{fields}");
        assert!(passed_on.contains("\nhost: a.example\n") || passed_on.starts_with("host: a.exa"));
        // It is the trap: what nginx does not set arrives.
        for name in ["x-real-ip: 6.6.6.6\n", "forwarded: for=6.6.6.6;"] {
            assert_eq!(passed_on.contains(name), fields == forged, "{name} in {passed_on}");
        }
    }
}

// By default nginx takes the whole body first: the handler would not begin before its end.
#[test]
fn a_request_s_body_reaches_the_handler_as_it_is_sent() {
    let (server, events) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    let mut client = nginx.connect();
    let upload = "POST /upload HTTP/1.1\r\nHost: a\r\n";
    for (field, first, second) in [
        ("Content-Length: 11", "green", " tea o"),
        ("Transfer-Encoding: chunked", "5\r\ngreen\r\n", "6\r\n tea o\r\n0\r\n\r\n"),
    ] {
        client.send(format!("{upload}{field}\r\n\r\n{first}"));
        assert_eq!(next(&events), "read green");
        assert!(!client.has_answer());
        client.send(second);
        assert_eq!(next(&events), "read  tea o");
        assert_eq!(client.answer("POST").body, b"11 bytes");
    }
}

// The article's client: it leaves, and nobody may go on working for it.
#[test]
fn a_client_that_leaves_nginx_takes_its_handler_with_it() {
    let (server, events) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    for request in [
        "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntea",
    ] {
        let mut client = nginx.connect();
        client.send(request);
        assert_eq!(next(&events), "waits");
        drop(client);
        assert_eq!(next(&events), "dropped", "{request}");
    }
    // In the middle of its own body: the handler is told, and nothing is taken for the whole.
    let mut client = nginx.connect();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\ngreen");
    assert_eq!(next(&events), "read green");
    drop(client);
    assert_eq!(next(&events), "cut short");
    assert_eq!(server.ask(|_, serving| serving.cancelled()), 2);
}

// An event that waits in a buffer of nginx for the next ones is no event.
#[test]
fn events_and_streams_pass_through_one_by_one() {
    let (server, events) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    for target in ["/events", "/stream/1"] {
        let mut client = nginx.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        // The handler has sent this one and nothing else, and does not end.
        read_until(&mut client, "data: first\n");
        drop(client);
        assert_eq!(next(&events), "gone", "{target}");
    }
}

#[test]
fn eight_mebibytes_pass_in_both_directions_also_to_a_slow_reader() {
    let mut limits = Limits::default();
    limits.max_body_bytes = 16 << 20;
    let (server, _events) = serve(limits);
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    let (mut client, size) = (nginx.connect(), 8 << 20);
    let body: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
    let mut stream = client.stream().try_clone().expect("a descriptor");
    thread::scope(|scope| {
        scope.spawn(|| {
            let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("nginx reads");
            stream.write_all(&body).expect("nginx reads");
        });
        thread::sleep(Duration::from_millis(100)); // an answer that nobody reads has to wait
        assert!(client.answer("POST").body == body, "another body came back");
    });
}

// nginx still sends when the answer comes; without the lingering close it is a reset, and a 502.
#[test]
fn the_answer_to_a_body_that_is_too_large_is_squall_s_413() {
    let (server, _events) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    for _ in 0..20 {
        let (mut client, mut writes) = (nginx.connect(), 0);
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n";
        client.send(head);
        // nginx may stop reading once it has the answer.
        while writes < 64 && client.stream().write_all(&[b'x'; 64 << 10]).is_ok() {
            writes += 1;
        }
        assert_eq!(client.answer("POST").status, 413);
    }
}

// Who closes an idle connection must be the one who also sends on it. Here nginx does so at any
// moment: its timeout is as long as the pauses between the requests.
#[test]
fn no_request_is_lost_where_nginx_is_the_one_who_closes() {
    let (server, events) = serve(Limits::default());
    let edits = [("keepalive_timeout 30s;", "keepalive_timeout 2ms;")];
    let Some(nginx) = Nginx::start(&[server.addr], &edits) else { return };
    requests_with_pauses(&nginx, &[GET, POST], 400);
    let ports: BTreeSet<String> = events.try_iter().collect();
    assert!(ports.len() > 1, "nothing was ever closed");
}

// The wrong order of the two timeouts, made certain: the server closes an idle connection while a
// request for it is on its way. nginx sends again what may be sent twice; the rest is lost, and
// that is what the configuration says of it.
#[test]
fn of_requests_that_meet_the_server_s_close_nginx_sends_a_get_again_and_a_post_not() {
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_millis(300);
    let (server, events) = serve(limits);
    let Some(nginx) = Nginx::before(&[server.addr]) else { return };
    for (request, outcome) in [(GET, "200"), (POST, "502")] {
        let mut client = nginx.connect();
        client.send(GET);
        assert_eq!(client.answer("GET").status, 200);
        nginx.signal(libc::SIGSTOP);
        // What nginx finds when it goes on: first this, and behind it the close.
        client.send(request);
        wait_until("the server's close", || match server.connections() {
            0 => Ok(()),
            open => Err(open),
        });
        nginx.signal(libc::SIGCONT);
        read_until(&mut client, &format!("HTTP/1.1 {outcome} "));
    }
    // Two to open the connections, and the GET that was sent again; nothing read of the POST.
    assert_eq!(events.try_iter().count(), 3);
}

// Several machines: both work, and one that ends costs nobody an answer.
#[test]
fn a_machine_that_ends_is_not_missed() {
    let (one, one_s) = serve(Limits::default());
    let (other, other_s) = serve(Limits::default());
    let Some(nginx) = Nginx::before(&[one.addr, other.addr]) else { return };
    requests_with_pauses(&nginx, &[GET, POST], 40);
    for events in [&one_s, &other_s] {
        assert!(events.try_iter().count() > 0, "one machine has all the work");
    }
    drop(one);
    requests_with_pauses(&nginx, &[GET, POST], 40);
    drop(one_s);
    assert_eq!(other_s.try_iter().count(), 40);
}

// The operator's restart: with notice nginx's connections end with an answer and not under a POST. The
// load pauses only while the listener closes: who connects in those microseconds is reset.
#[test]
fn a_machine_that_is_told_to_end_under_load_loses_no_post() {
    let (one, other) = (Running::start(&["--notice", "60000"]), Running::start(&[]));
    let Some(nginx) = Nginx::before(&[one.addr, other.addr]) else { return };
    post_from_many(&nginx, || ());
    post_from_many(&nginx, || {
        one.child.signal(libc::SIGTERM).expect("it lives");
        wait_until("the end of health", || match one.get("/health").answer("GET").status {
            503 => Ok(()),
            other => Err(other),
        });
    });
    one.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(one.exit().code(), Some(0));
    post_from_many(&nginx, || ());
}

/// Eight clients post without a pause; `act` is done meanwhile, and a hundred answers come after it.
fn post_from_many(nginx: &Nginx, act: impl FnOnce()) {
    let (ended, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = nginx.connect();
                while !ended.load(Ordering::Relaxed) {
                    client.send(POST);
                    let answer = client.answer("POST");
                    assert_eq!((answer.status, &answer.body[..]), (200, &b"tea"[..]));
                    answered.fetch_add(1, Ordering::Relaxed);
                    // nginx ends a client's connection after 1,000 requests.
                    if answer.says_close() {
                        client = nginx.connect();
                    }
                }
            });
        }
        act();
        let before = answered.load(Ordering::Relaxed);
        wait_until("a hundred answers", || match answered.load(Ordering::Relaxed) {
            now if now >= before + 100 => Ok(()),
            now => Err(now),
        });
        ended.store(true, Ordering::Relaxed);
    });
}

/// Each request on the client's one connection, with pauses of 0 to 4 ms; each is answered by Squall.
fn requests_with_pauses(nginx: &Nginx, requests: &[&str], count: u32) {
    let mut client = nginx.connect();
    for i in 0..count {
        client.send(requests[i as usize % requests.len()]);
        let answer = client.answer("GET");
        assert_eq!(answer.status, 200, "request {i}: {}", text(&answer.body));
        // Steps of 97 us that are in no rhythm with anything.
        thread::sleep(Duration::from_micros(u64::from(i * 97 % 4001)));
    }
}

/// A server for the tests, and what its handlers tell.
fn serve(limits: Limits) -> (TestServer, Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let server =
        TestServer::start(move || Server::new(routes(&tell).into_handler()).limits(limits));
    (server, told)
}

fn routes(tell: &Sender<String>) -> Router {
    let proxies = TrustedProxies::new(["127.0.0.1"], Family::XForwarded).expect("an address");
    let told = |tell: &Sender<String>| {
        let tell = tell.clone();
        // Nobody listens any more only if the test is over.
        move |what: &str| drop(tell.send(what.to_owned()))
    };
    let (hello, echoed, waits) = (told(tell), told(tell), told(tell));
    let (reads, streams, feeds) = (told(tell), told(tell), told(tell));
    let wait = async move |request: &mut Request<'_>| {
        // What stands before a FIN has to be read before the FIN means that the client has left.
        let _whole = request.body().bytes().await;
        waits("waits");
        let _told = Told(&waits);
        std::future::pending::<Response>().await
    };
    let wait = std::rc::Rc::new(wait);
    let wait_posted = std::rc::Rc::clone(&wait);
    let router = Router::new()
        .plain(Method::Get, "/hello", move |request| {
            hello(&peer_port(request));
            Response::text("hello")
        })
        .and_then(|router| {
            router.post("/echo", async move |request: &mut Request<'_>| {
                echoed(&peer_port(request));
                match request.body().bytes().await {
                    Ok(bytes) => Response::bytes("application/octet-stream", bytes),
                    Err(error) => error.into(),
                }
            })
        })
        .and_then(|router| {
            router.plain(Method::Get, "/client", move |request| {
                let client = proxies.client(request);
                let host = String::from_utf8_lossy(client.host.as_deref().unwrap_or_default());
                let mut all = format!("{} {} {host}\n", client.scheme, client.ip);
                for (name, value) in request.headers().iter() {
                    let (name, value) = (text_of(name), text_of(value));
                    all.push_str(&format!("{}: {value}\n", name.to_lowercase()));
                }
                Response::text(all)
            })
        })
        .and_then(|router| {
            router.get("/wait", async move |request: &mut Request<'_>| wait(request).await)
        })
        .and_then(|router| {
            let wait = wait_posted;
            router.post("/wait", async move |request: &mut Request<'_>| wait(request).await)
        })
        .and_then(|router| {
            router.post("/upload", async move |request: &mut Request<'_>| {
                let mut bytes = 0;
                loop {
                    match request.body().chunk().await {
                        Ok(Some(piece)) => {
                            bytes += piece.len();
                            reads(&format!("read {}", text_of(piece)));
                        }
                        Ok(None) => return Response::text(format!("{bytes} bytes")),
                        Err(error) => {
                            reads("cut short");
                            return error.into();
                        }
                    }
                }
            })
        })
        .and_then(|router| {
            router.plain(Method::Get, "/stream/{count}", move |_| {
                let pieces =
                    Pieces { left: PIECES_BYTES, pause: sleep(PULSE), told: streams.clone() };
                Response::produced("text/plain", Some(PIECES_BYTES), pieces)
            })
        })
        .and_then(|router| {
            router.get("/events", async move |_: &mut Request<'_>| {
                let (sender, events) = Events::new(4);
                sender.try_send(Event::new("first")).expect("there is room");
                let told = feeds.clone();
                let handle = squall_reactor::Handle::current().expect("a handler runs on a loop");
                handle.spawn_detached(async move {
                    sender.gone().await;
                    told("gone");
                });
                events.keep_alive(PULSE).into()
            })
        });
    router.expect("the patterns are right")
}

/// Tells when a handler's future is dropped.
struct Told<'a, F: Fn(&str)>(&'a F);

impl<F: Fn(&str)> Drop for Told<'_, F> {
    fn drop(&mut self) {
        (self.0)("dropped");
    }
}

/// A content of known length that comes in small pieces with pauses; it tells when it is dropped.
struct Pieces<F: Fn(&str)> {
    left: u64,
    pause: Sleep,
    told: F,
}

impl<F: Fn(&str)> Produce for Pieces<F> {
    fn poll_produce(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        if self.left < PIECES_BYTES {
            // A client that closes is found out by what is written to it.
            ready!(self.pause.poll_elapsed(cx));
            self.pause = sleep(PULSE);
        }
        out.extend_from_slice(b"data: first\n");
        self.left -= 12;
        Poll::Ready(Ok(self.left > 0))
    }
}

impl<F: Fn(&str)> Drop for Pieces<F> {
    fn drop(&mut self) {
        (self.told)("gone");
    }
}

/// Which connection a request came on.
fn peer_port(request: &Request<'_>) -> String {
    request.peer_addr().port().to_string()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn next(told: &Receiver<String>) -> String {
    told.recv_timeout(PATIENCE).unwrap_or_else(|_| "nothing".to_owned())
}

fn read_until(client: &mut Client, text: &str) {
    let mut all = Vec::new();
    while !text_of(&all).contains(text) {
        match client.read_exactly(1) {
            Ok(byte) => all.extend(byte),
            Err(why) => panic!("{text:?} does not come: {why}, after {:?}", text_of(&all)),
        }
    }
}

/// A running nginx. It is killed and its directory removed when this is dropped.
struct Nginx {
    addr: SocketAddr,
    dir: PathBuf,
    child: Child,
}

impl Nginx {
    /// nginx with the example's configuration before these servers, or `None` where it is missing.
    fn before(servers: &[SocketAddr]) -> Option<Self> {
        Self::start(servers, &[])
    }

    /// The same, with edits to the configuration: what must stand there, and what shall.
    fn start(servers: &[SocketAddr], edits: &[(&str, &str)]) -> Option<Self> {
        // Debian has it where an ordinary user's PATH does not look.
        let program = ["nginx", "/usr/sbin/nginx"]
            .into_iter()
            .find(|program| Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok());
        let Some(program) = program else {
            // Past the capture of print macros.
            let _ = writeln!(io::stderr(), "skipped: nginx is not installed");
            return None;
        };
        // nginx cannot be given port 0: one that was free a moment ago, and another if it is not now.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let addr = free.local_addr().expect("an address");
            drop(free);
            let nginx = Self::launch(program, addr, &configuration(addr, servers, edits));
            if let Some(nginx) = nginx {
                return Some(nginx);
            }
        }
        panic!("nginx finds no free port");
    }

    fn launch(program: &str, addr: SocketAddr, configuration: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("squall-nginx-{process}-{count}"));
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("nginx.conf"), configuration).expect("a file");
        let log = fs::File::create(dir.join("stderr")).expect("a file");
        let mut command = Command::new(program);
        command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf"));
        command.args(["-e", "stderr", "-g", "daemon off;"]).stdin(Stdio::null()).stderr(log);
        let child = Child::spawn(&mut command).expect("nginx starts");
        let nginx = Nginx { addr, dir, child };
        let begin = Instant::now();
        loop {
            if let Some(status) = nginx.child.exit_status().expect("a child of ours") {
                let why = fs::read_to_string(nginx.dir.join("stderr")).unwrap_or_default();
                assert!(why.contains("Address already in use"), "{status}: {why}");
                return None;
            }
            // It is written once the port is bound: a connection might meet somebody else there.
            if fs::read(nginx.dir.join("nginx.pid")).is_ok_and(|pid| pid.ends_with(b"\n")) {
                return Some(nginx);
            }
            assert!(begin.elapsed() < PATIENCE, "nginx does not listen");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// To all of its processes.
    fn signal(&self, signal: i32) {
        // SAFETY: no memory is involved. The group is the child's own, which is not yet waited for.
        let sent = unsafe { libc::kill(-(self.child.pid() as libc::pid_t), signal) };
        assert_eq!(sent, 0, "nginx lives");
    }

    /// A client at another address of this machine.
    fn connect_from(&self, ip: Ipv4Addr) -> Client {
        Client::over(connect_from(ip, self.addr))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.end();
        if thread::panicking() {
            let log = fs::read_to_string(self.dir.join("stderr")).unwrap_or_default();
            eprintln!("nginx said: {log}");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The example's configuration with these addresses, one process, and nothing outside its directory.
fn configuration(addr: SocketAddr, servers: &[SocketAddr], edits: &[(&str, &str)]) -> String {
    let own = "http {\n    client_body_temp_path body; proxy_temp_path proxy; \
        fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n";
    let mut text = CONFIGURATION.to_owned();
    let mut edit = |from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "{from} in examples/nginx/nginx.conf");
        text = text.replace(from, to);
    };
    edit("\nhttp {\n", &format!("\n{own}"));
    edit("worker_processes auto;", "worker_processes 1;");
    edit("listen 8080;", &format!("listen {addr};"));
    let mut servers = servers.iter();
    for port in [8081, 8082] {
        let line = format!("server 127.0.0.1:{port} max_fails=3 fail_timeout=5s;");
        let server = servers.next();
        let other =
            server.map(|addr| line.replace(&format!("127.0.0.1:{port}"), &addr.to_string()));
        edit(&line, &other.unwrap_or_default());
    }
    edits.iter().for_each(|(from, to)| edit(from, to));
    text
}

/// A connection whose own address is `ip`, which std cannot say.
fn connect_from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("nginx listens on IPv4") };
    let address = |ip: Ipv4Addr, port: u16| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
        sin_zero: [0; 8],
    };
    let (own, peer) = (address(ip, 0), address(*to.ip(), to.port()));
    let len = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "a socket");
    // SAFETY: it was just opened and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the kernel reads `len` bytes of `own`, which lives until the call returns.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const own).cast(), len) };
    // SAFETY: as above, of `peer`.
    let connected = unsafe { libc::connect(fd.as_raw_fd(), (&raw const peer).cast(), len) };
    assert_eq!((bound, connected), (0, 0), "{}", io::Error::last_os_error());
    TcpStream::from(fd)
}
