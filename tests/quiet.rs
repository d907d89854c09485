//! Law 12, the other half: who is healthy is never named, whatever the load.
//!
//! An HTTP server with every observer on (a policy for what spins, a watchdog, timing) under three
//! loads that look like trouble: as many requests as it can answer, thousands of connections that do
//! nothing, and clients that read slowly. Each lasts two seconds here; for a minute each:
//! `SQUALL_QUIET_SECONDS=60 cargo test --release --test quiet -- --nocapture`.

mod http;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use squall_http::{Request, Response, Server};
use squall_reactor::workers::Bind;
use squall_reactor::{Reactor, Remote, SpinPolicy, Stats};
use squall_support::limits::raise_open_files;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What each slow client asks for, again and again.
const SLOW_BYTES: usize = 4 << 20;

/// A poll of a healthy handler takes microseconds; the machine may stop us for longer.
const STUCK: Duration = Duration::from_secs(5);

#[test]
fn law_12_a_server_at_its_limit_raises_nothing() {
    let server = Watched::start(b"hello\n");
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let addr = server.addr;
            thread::spawn(move || {
                let (end, mut answered) = (Instant::now() + length(), 0_u64);
                let (mut stream, mut buf) = (connect(addr), [0; 4096]);
                while Instant::now() < end {
                    stream.write_all(GET).expect("the server reads");
                    assert!(stream.read(&mut buf).expect("it answers") > 0);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let answered: u64 = clients.into_iter().map(|c| c.join().expect("no client failed")).sum();
    let stats = server.end_in_silence();
    println!("{answered} answers, {} turns, {} idle wake-ups", stats.turns, stats.idle_wakeups);
    assert!(answered > 1000);
}

#[test]
fn law_12_ten_thousand_idle_connections_raise_nothing() {
    // Each takes a descriptor at both ends.
    let limit = raise_open_files().expect("a limit can be raised to its hard one");
    let count = 10_000.min(limit.saturating_sub(500) / 2) as usize;
    let server = Watched::start(b"hello\n");
    let mut streams: Vec<TcpStream> = (0..count).map(|_| connect(server.addr)).collect();
    for stream in &mut streams {
        stream.write_all(GET).expect("the server reads");
        assert!(stream.read(&mut [0; 4096]).expect("it answers") > 0);
    }
    let end = Instant::now() + length();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::sleep(left.min(Duration::from_millis(100)));
        streams[0].write_all(GET).expect("one of them is not idle");
        assert!(streams[0].read(&mut [0; 4096]).expect("it answers") > 0);
    }
    let stats = server.end_in_silence();
    println!("{count} connections, {} turns, {} idle wake-ups", stats.turns, stats.idle_wakeups);
}

#[test]
fn law_12_clients_that_read_slowly_raise_nothing() {
    let server = Watched::start(Vec::leak(vec![b'x'; SLOW_BYTES]));
    let end = Instant::now() + length();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = connect(server.addr);
            stream.write_all(&GET.repeat(2)).expect("the server reads");
            thread::spawn(move || {
                let (mut buf, mut read) = (vec![0; 16 << 10], 0);
                while Instant::now() < end {
                    let answers = read / SLOW_BYTES;
                    read += stream.read(&mut buf).expect("the answers go on");
                    thread::sleep(Duration::from_millis(1));
                    if read / SLOW_BYTES > answers {
                        stream.write_all(GET).expect("the server reads");
                    }
                }
                read
            })
        })
        .collect();
    let read: usize = clients.into_iter().map(|c| c.join().expect("no client failed")).sum();
    let stats = server.end_in_silence();
    println!("{read} bytes, {} turns, {} idle wake-ups", stats.turns, stats.idle_wakeups);
    assert!(read > 1 << 20);
}

// A test that nobody can fail would prove nothing: here is what the policy and the watchdog do say.
#[test]
fn law_12_what_is_not_healthy_is_named_here_too() {
    let server = Watched::with_threshold(b"hello\n", Duration::from_millis(50));
    let (end, ends) = channel::<()>();
    server.remote.call(move |_| assert!(ends.recv().is_err())).expect("the loop turns");
    let named = server.named.recv_timeout(http::PATIENCE).expect("it is named");
    drop(end);
    assert!(named.contains("a call sent"), "{named}");
}

/// How long each load lasts.
fn length() -> Duration {
    let seconds = std::env::var("SQUALL_QUIET_SECONDS").ok();
    Duration::from_secs(seconds.map_or(2, |text| text.parse().expect("a number of seconds")))
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(http::PATIENCE)).expect("a timeout");
    stream
}

/// A server with every observer on.
struct Watched {
    addr: SocketAddr,
    remote: Remote,
    named: Receiver<String>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watched {
    fn start(content: &'static [u8]) -> Self {
        Self::with_threshold(content, STUCK)
    }

    fn with_threshold(content: &'static [u8], threshold: Duration) -> Self {
        let mut sockets = Bind::new("127.0.0.1:0").backlog(4096).bind().expect("a free port");
        let (addr, listeners) = (sockets.local_addrs()[0], sockets.take(0));
        let (started, starts) = channel();
        let (name, named) = channel();
        let thread = thread::spawn(move || {
            let (spins, stuck) = (name.clone(), Arc::new(Mutex::new(name)));
            let mut reactor = Reactor::builder()
                .on_spin(SpinPolicy::log(move |report| drop(spins.send(report.to_string()))))
                .watchdog(threshold, move |report| {
                    let stuck = stuck.lock().unwrap_or_else(PoisonError::into_inner);
                    drop(stuck.send(report.to_string()));
                })
                .timing(true)
                .build()
                .expect("a reactor");
            let serving = Server::new(async move |_: &mut Request<'_>| {
                Response::bytes("text/plain", content)
            })
            .add_sockets(listeners)
            .start(&reactor.handle())
            .expect("a listener can be watched");
            started.send(reactor.remote()).expect("the test waits");
            reactor.run().expect("nothing forks here");
            drop(serving);
        });
        let remote = starts.recv().expect("the server starts");
        Watched { addr, remote, named, thread: Some(thread) }
    }

    fn end_in_silence(self) -> Stats {
        let stats = self.remote.stats().expect("nothing forks here");
        let named: Vec<String> = self.named.try_iter().collect();
        assert!(named.is_empty(), "named: {named:?}");
        assert_eq!(stats.spins, 0);
        stats
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        let ended = self.thread.take().expect("dropped once").join();
        if !thread::panicking() {
            ended.expect("the server's thread does not panic");
        }
    }
}
