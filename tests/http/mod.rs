//! An HTTP server on a thread of the test, and a client that speaks bytes and believes nothing.
//!
//! The server's thread owns reactor and server; a test asks it questions through `Remote`. Every
//! answer that the client reads is held against what must be true of all of them: how the body
//! ends, that Date is there, that an error says in one line what was wrong. No test sleeps in the
//! hope that something has happened; each waits for the thing itself, for ten seconds at most.

// Each binary compiles this file and uses a part of it.
#![allow(dead_code)]

pub mod running;
pub mod scene;
pub mod service;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use squall_http::{Request, Response, Server, Serving};
use squall_reactor::workers::Bind;
use squall_reactor::{Handle, Reactor, Remote, Stats};

/// What is longer than this has not happened.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request that is answered wherever it stands: what follows another shows whether the
/// connection was kept.
pub const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n";

/// A server that runs until it is dropped.
pub struct TestServer {
    pub addr: SocketAddr,
    remote: Remote,
    thread: Option<thread::JoinHandle<()>>,
}

thread_local! {
    /// The server that this thread runs.
    static SERVING: RefCell<Option<Serving>> = const { RefCell::new(None) };
}

impl TestServer {
    /// Starts what `build` builds, on a port of its own. Its sockets are added here.
    pub fn start<H>(build: impl FnOnce() -> Server<H> + Send + 'static) -> Self
    where
        H: AsyncFn(&mut Request<'_>) -> Response + 'static,
    {
        // Not `std`'s bind: its backlog of 128 drops the SYNs of a burst, and each waits a second.
        let mut sockets = Bind::new("127.0.0.1:0").bind().expect("a free port");
        let addr = sockets.local_addrs()[0];
        let listeners = sockets.take(0);
        let (started, starts) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new().expect("a reactor");
            let server = build().add_sockets(listeners);
            let serving = server.start(&reactor.handle()).expect("a listener can be watched");
            SERVING.set(Some(serving));
            started.send(reactor.remote()).expect("the test waits");
            reactor.run().expect("nothing forks here");
            drop(SERVING.take());
        });
        let remote = starts.recv().expect("the server starts");
        TestServer { addr, remote, thread: Some(thread) }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Asks the server's own thread.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Handle, &Serving) -> T + Send + 'static,
    ) -> T {
        let (answer, answers) = mpsc::channel();
        let call = move |handle: &Handle| {
            SERVING.with_borrow(|serving| {
                let serving = serving.as_ref().expect("it is dropped after the last call");
                // Nobody waits any more only if the test has failed already.
                let _ = answer.send(question(handle, serving));
            });
        };
        self.remote.call(call).expect("the server runs");
        answers.recv_timeout(PATIENCE).expect("the loop turns")
    }

    pub fn stats(&self) -> Stats {
        self.remote.stats().expect("nothing forks here")
    }

    pub fn connections(&self) -> usize {
        self.ask(|_, serving| serving.connections())
    }

    /// What lives in the reactor: sources, tasks, timers, and the connections above them.
    pub fn alive(&self) -> Alive {
        let connections = self.connections();
        let Stats { sources, tasks, timers, .. } = self.stats();
        Alive { sources, tasks, timers, connections }
    }

    /// Waits until only the listener lives.
    pub fn comes_to_rest(&self) {
        let rest = Alive { sources: 1, tasks: 0, timers: 0, connections: 0 };
        wait_until("the server's rest", || match self.alive() {
            alive if alive == rest => Ok(()),
            alive => Err(alive),
        });
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It fails if the loop has ended by a panic, which `join` says.
        let _ = self.remote.stop();
        let ended = self.thread.take().expect("dropped once").join();
        if !thread::panicking() {
            ended.expect("the server's thread does not panic");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    pub sources: u64,
    pub tasks: u64,
    pub timers: u64,
    pub connections: usize,
}

/// A connection, and what has come on it and was not looked at yet.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&addr, PATIENCE).expect("the server listens"))
    }

    /// A client on a connection that is there already.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        Client { stream, unread: Vec::new() }
    }

    /// Sends all of it; the server must take it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends it in pieces of `size`, each in a segment of its own, as long as the server takes them.
    pub fn send_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    /// The next answer to a request of this method. It must come whole.
    #[track_caller]
    pub fn answer(&mut self, method: &str) -> Answer {
        match self.try_answer(method) {
            Ok(answer) => answer,
            Err(why) => panic!("no whole answer: {why}; there was {}", text(&self.unread)),
        }
    }

    /// As [`answer`](Self::answer); why there was none, if the connection ended first.
    pub fn try_answer(&mut self, method: &str) -> Result<Answer, String> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let mut answer = Answer::parse(&head)?;
        if (100..200).contains(&answer.status) {
            answer.check_interim();
            return Ok(answer);
        }
        answer.body = match (method, answer.status) {
            ("HEAD", _) | (_, 204 | 205 | 304) => Vec::new(),
            _ if answer.header("transfer-encoding").is_some() => self.read_chunks()?,
            _ => match answer.header("content-length") {
                Some(length) => self.read_exactly(length.parse().expect("a number"))?,
                None => self.read_to_end()?,
            },
        };
        answer.check(method);
        Ok(answer)
    }

    /// The connection ends here, in order, with no byte more.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.read_to_end() {
            Ok(rest) => assert!(rest.is_empty(), "more came: {}", text(&rest)),
            Err(why) => panic!("not a FIN: {why}"),
        }
    }

    /// The connection ends here, perhaps by a reset, with no byte more.
    #[track_caller]
    pub fn expect_gone(&mut self) {
        match self.read_more() {
            Ok(()) => panic!("more came: {}", text(&self.unread)),
            Err(why) if why.starts_with("the end") || why.contains("reset") => {}
            Err(why) => panic!("it did not end: {why}"),
        }
    }

    /// The connection was kept: the next request on it is answered.
    #[track_caller]
    pub fn expect_kept(&mut self) {
        self.send(PROBE);
        let answer = self.answer("GET");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"probe"[..]));
        assert!(self.unread.is_empty(), "more came: {}", text(&self.unread));
    }

    /// Whether something has come; it does not wait.
    pub fn has_answer(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        !self.unread.is_empty() || peeked.is_ok()
    }

    /// Nothing has come, and nothing comes for a moment.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        assert!(self.unread.is_empty(), "something came: {}", text(&self.unread));
        self.stream.set_read_timeout(Some(time)).expect("a timeout");
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => panic!("no silence: {other:?}"),
        }
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }

    /// Everything up to the end of the connection.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, String> {
        let mut all = mem::take(&mut self.unread);
        self.stream.read_to_end(&mut all).map_err(|e| format!("{e} after {}", text(&all)))?;
        Ok(all)
    }

    /// So many bytes.
    pub fn read_exactly(&mut self, len: usize) -> Result<Vec<u8>, String> {
        while self.unread.len() < len {
            self.read_more()?;
        }
        Ok(self.unread.drain(..len).collect())
    }

    /// Says that no more will be sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Closes, not by FIN but by RST: SO_LINGER on, 0 s (socket(7), tcp(7)).
    pub fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let (value, len) = ((&raw const linger).cast(), mem::size_of_val(&linger) as u32);
        let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
        // SAFETY: the kernel reads `len` bytes of `linger`, which lives until the call returns.
        let returned =
            unsafe { libc::setsockopt(self.stream.as_raw_fd(), level, name, value, len) };
        assert_eq!(returned, 0, "SO_LINGER is a socket's option");
    }

    /// The connection twice, to read from and to write to, each giving up soon.
    pub fn both(self) -> (TcpStream, TcpStream) {
        let soon = Some(Duration::from_millis(50));
        self.stream.set_read_timeout(soon).expect("a timeout");
        self.stream.set_write_timeout(soon).expect("a timeout");
        (self.stream.try_clone().expect("a descriptor"), self.stream)
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let digits = str::from_utf8(&line).map_err(|e| e.to_string())?;
            let size = usize::from_str_radix(digits, 16).map_err(|e| format!("{digits:?}: {e}"))?;
            body.extend(self.read_exactly(size)?);
            let end = self.read_exactly(2)?;
            assert_eq!(end, b"\r\n", "a chunk ends with CRLF");
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.drain(..at + 2).take(at).collect();
                return Ok(line);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), String> {
        let mut buf = [0; 16 << 10];
        match self.stream.read(&mut buf) {
            Ok(0) => Err(format!("the end after {}", text(&self.unread))),
            Ok(n) => {
                self.unread.extend_from_slice(&buf[..n]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// An answer, as it was sent.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of the one field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut same = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = same.next().map(|(_, value)| value.as_str());
        assert!(same.next().is_none(), "{name} stands twice in {self:?}");
        value
    }

    /// Whether it announces that the connection ends.
    pub fn says_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    fn parse(head: &[u8]) -> Result<Self, String> {
        let head = str::from_utf8(head).map_err(|e| e.to_string())?;
        let head = head.strip_suffix("\r\n\r\n").expect("the caller has looked");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        // `status-line = HTTP-version SP status-code SP [ reason-phrase ]`, and here always 1.1.
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' '));
        let (code, _reason) = status.ok_or(format!("{status_line:?} is no status line"))?;
        let status = code.parse().map_err(|e| format!("{code:?}: {e}"))?;
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").ok_or(format!("{line:?} is no field"))?;
            assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
            Ok((name.to_owned(), value.to_owned()))
        });
        let fields = fields.collect::<Result<_, String>>()?;
        Ok(Answer { status, fields, body: Vec::new() })
    }

    /// RFC 9110, 8.6; RFC 9112, 6.1: interim answers are never framed.
    fn check_interim(&self) {
        assert_eq!(self.header("content-length"), None, "{self:?}");
        assert_eq!(self.header("transfer-encoding"), None, "{self:?}");
    }

    fn check(&self, method: &str) {
        let length = self.header("content-length");
        let coding = self.header("transfer-encoding");
        assert!(length.is_none() || coding.is_none(), "two framings in {self:?}");
        if self.status == 204 {
            assert_eq!((length, coding), (None, None), "{self:?}");
        }
        if self.status < 500 {
            let date = self.header("date").unwrap_or_else(|| panic!("no Date in {self:?}"));
            assert!(date.len() == 29 && date.ends_with(" GMT"), "{date:?}");
        }
        if !self.body.is_empty() {
            assert!(self.header("content-type").is_some(), "no Content-Type in {self:?}");
        }
        if self.status >= 400 {
            assert!(self.header("content-type").is_some(), "no Content-Type in {self:?}");
            assert!(length.is_some(), "no Content-Length in {self:?}");
            if method != "HEAD" {
                let lines = self.body.iter().filter(|byte| **byte == b'\n').count();
                assert!(lines == 1 && self.body.ends_with(b"\n"), "not one line in {self:?}");
            }
        }
    }
}

/// What must have become of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next request is answered.
    Kept,
    /// `Connection: close`, and nothing after the answer.
    Closed,
}

/// Sends a request and holds the answer to a status and to what becomes of the connection.
/// A second request comes right behind the first: after an error it must not be answered.
#[track_caller]
pub fn expect(
    server: &TestServer,
    row: &str,
    request: impl AsRef<[u8]>,
    status: u16,
    then: Then,
) -> Answer {
    expect_in_pieces(server, row, request.as_ref(), usize::MAX, status, then)
}

/// As [`expect`], and then the same, one byte in each segment.
#[track_caller]
pub fn expect_however_split(
    server: &TestServer,
    row: &str,
    request: impl AsRef<[u8]>,
    status: u16,
    then: Then,
) -> Answer {
    let whole = expect_in_pieces(server, row, request.as_ref(), usize::MAX, status, then);
    let split = expect_in_pieces(server, row, request.as_ref(), 1, status, then);
    assert_eq!(whole.body, split.body, "{row}: the split changes the answer");
    whole
}

#[track_caller]
fn expect_in_pieces(
    server: &TestServer,
    row: &str,
    request: &[u8],
    size: usize,
    status: u16,
    then: Then,
) -> Answer {
    let mut client = server.connect();
    let method = if request.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    client.send_pieces(&[request, PROBE].concat(), size);
    let answer = client.try_answer(method).unwrap_or_else(|why| panic!("{row}: {why}"));
    assert_eq!(answer.status, status, "{row}: {answer:?}");
    match then {
        Then::Kept => {
            assert!(!answer.says_close(), "{row}: {answer:?}");
            let probe = client.try_answer("GET").unwrap_or_else(|why| panic!("{row}: {why}"));
            assert_eq!((probe.status, &probe.body[..]), (200, &b"probe"[..]), "{row}");
            assert!(client.unread.is_empty(), "{row}: {}", text(&client.unread));
        }
        Then::Closed => {
            assert!(answer.says_close(), "{row}: {answer:?}");
            let rest = client.read_to_end().unwrap_or_else(|why| panic!("{row}: {why}"));
            assert!(rest.is_empty(), "{row}: after the end came {}", text(&rest));
        }
    }
    answer
}

/// Waits until `check` says `Ok`; what it said last is in the failure.
#[track_caller]
pub fn wait_until<E: std::fmt::Debug>(what: &str, mut check: impl FnMut() -> Result<(), E>) {
    let begin = Instant::now();
    loop {
        let Err(still) = check() else { return };
        assert!(begin.elapsed() < PATIENCE, "{what} does not come: {still:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}

/// Bytes as one can read them, not too many.
pub fn text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(300)];
    format!("{} bytes \"{}\"", bytes.len(), shown.escape_ascii())
}
