//! The echo servers of the ladder, each driven through the same situations.
//!
//! A server is an example and its arguments, one line in `SERVERS`; it runs as a process of its
//! own, on a port of its own, for one test. Nothing here knows how a server works: what it did is
//! read from its sockets and from /proc. No test sleeps in the hope that something has happened;
//! each waits for the thing itself, and gives up after ten seconds.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, mem, thread};

const SERVERS: &[(&str, &[&str])] = &[
    ("echo_raw", &[]), // one line a server
    ("echo_mio", &[]),
    ("echo_squall", &["--style", "callbacks"]),
    ("echo_squall", &["--style", "futures"]),
];

const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that takes no byte for so long has stopped reading.
const STALLED: Duration = Duration::from_millis(300);

/// Broken by a server that waits for a full buffer, or that loses a report between two bytes.
#[test]
fn one_byte_at_a_time_comes_back_one_byte_at_a_time() {
    for server in servers() {
        let mut client = server.connect();
        for byte in pattern(500) {
            client.write_all(&[byte]).expect("the server reads");
            let mut back = [0];
            client.read_exact(&mut back).expect("the server echoes");
            assert_eq!(back, [byte]);
        }
    }
}

/// Broken by a server that writes until all is written, and hangs with its client, each waiting
/// for the other to read; and by one that drops what a short write left over.
#[test]
fn ten_mebibytes_written_before_anything_is_read_come_back() {
    for server in servers() {
        let mut reader = server.connect();
        let mut writer = reader.try_clone().expect("a duplicate");
        let sent = pattern(10 << 20);
        let back = thread::scope(|scope| {
            let (stalled, may_read) = std::sync::mpsc::channel();
            let sent = &sent;
            scope.spawn(move || {
                let written = write_until_stalled(&mut writer, sent);
                stalled.send(()).expect("the reader waits");
                writer.set_write_timeout(Some(PATIENCE)).expect("a timeout");
                writer.write_all(&sent[written..]).expect("the server reads on");
                writer.shutdown(Shutdown::Write).expect("a half-close");
            });
            may_read.recv().expect("the writer lives");
            read_to_end(&mut reader)
        });
        assert!(back == sent, "{} bytes came back, or others", back.len());
    }
}

/// Broken by a server that reads on while its output waits.
#[test]
fn a_client_that_never_reads_is_not_read_from_and_costs_no_memory() {
    for server in servers() {
        let mut client = server.connect();
        echo_once(&mut client);
        let before_kib = server.memory_kib();
        let mebibyte = pattern(1 << 20);
        let stalls = (0..256).any(|_| write_until_stalled(&mut client, &mebibyte) < mebibyte.len());
        assert!(stalls, "256 MiB were read from a client that reads nothing");
        let grown_kib = server.memory_kib().saturating_sub(before_kib);
        assert!(grown_kib < 2048, "the server grew by {grown_kib} KiB");
    }
}

/// Broken by a backlog too small, and by a batch of reports that is not served to its end.
#[test]
fn two_hundred_clients_are_served_at_once() {
    for server in servers() {
        let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
        for round in 0..5 {
            for (i, client) in clients.iter_mut().enumerate() {
                write!(client, "client {i:03} round {round}").expect("the server reads");
            }
            for (i, client) in clients.iter_mut().enumerate() {
                let mut back = [0; "client 000 round 0".len()];
                client.read_exact(&mut back).expect("the server echoes");
                assert_eq!(back, format!("client {i:03} round {round}").as_bytes());
            }
        }
    }
}

/// Broken by a server that closes at the end of input with output still waiting, or never.
#[test]
fn a_half_closed_client_gets_the_rest_and_then_the_end() {
    for server in servers() {
        for len in [0, 1, 100_000, 32 << 20] {
            let mut client = server.connect();
            let sent = pattern(len);
            let written = write_until_stalled(&mut client, &sent);
            client.shutdown(Shutdown::Write).expect("a half-close");
            let back = read_to_end(&mut client);
            assert!(back == sent[..written], "{} of {written} bytes, or others", back.len());
        }
    }
}

/// Broken by a server that ends on ECONNRESET or EPIPE, that SIGPIPE kills, or that keeps the
/// descriptor of the client that has gone.
#[test]
fn a_client_that_resets_harms_nobody() {
    for server in servers() {
        let mut bystander = server.connect();
        echo_once(&mut bystander);
        let before = server.descriptors();
        for round in 0..50 {
            let mut idle = server.connect();
            echo_once(&mut idle);
            let mut unread = server.connect();
            unread.write_all(&pattern(1000)).expect("the server reads");
            reset(idle);
            reset(server.connect());
            reset(unread);
            if round % 10 == 0 {
                let mut stuck = server.connect();
                write_until_stalled(&mut stuck, &pattern(32 << 20));
                reset(stuck);
            }
            echo_once(&mut bystander);
        }
        server.returns_to(before);
        server.stands_still();
    }
}

/// Broken by a descriptor that is kept, or closed by one of the ways a client leaves alone.
#[test]
fn a_thousand_connections_come_and_go_and_leave_no_descriptor() {
    for server in servers() {
        let mut bystander = server.connect();
        echo_once(&mut bystander);
        let before = server.descriptors();
        for i in 0..1000 {
            let mut client = server.connect();
            if i % 2 == 0 {
                echo_once(&mut client);
            }
            if i % 3 == 0 {
                client.shutdown(Shutdown::Write).expect("a half-close");
                assert_eq!(read_to_end(&mut client), b"");
            }
        }
        server.returns_to(before);
        echo_once(&mut bystander);
    }
}

/// Broken by interest in writing that is kept (reported for ever), by an end of input or an error
/// that is ignored, by a hang-up nobody asked for, and by a timer that ticks. Shows as time on a
/// CPU between two looks; a server that rests has none.
#[test]
fn a_server_with_nothing_to_do_stands_still() {
    for server in servers() {
        server.stands_still();
        let mut idle = server.connect();
        echo_once(&mut idle);
        server.stands_still();

        let mut stuck = server.connect();
        let written = write_until_stalled(&mut stuck, &pattern(32 << 20));
        server.stands_still();
        stuck.read_exact(&mut vec![0; written]).expect("the server echoes the rest");
        server.stands_still();

        let mut stuck_half_closed = server.connect();
        write_until_stalled(&mut stuck_half_closed, &pattern(32 << 20));
        stuck_half_closed.shutdown(Shutdown::Write).expect("a half-close");
        server.stands_still();
        echo_once(&mut idle);
    }
}

/// Broken by a listener that stays readable while accept fails with EMFILE (a spin), and by an
/// edge that is not remembered (the clients in the queue are never served).
#[test]
fn out_of_descriptors_it_neither_spins_nor_forgets_who_waits() {
    for server in servers_with_at_most(32) {
        let mut clients: Vec<_> = (0..48).map(|_| server.connect()).collect();
        echo_once(&mut clients[0]);
        for client in &mut clients[1..] {
            client.write_all(b"me too").expect("the kernel takes it");
        }
        server.is_mostly_asleep();
        for (i, mut client) in clients.into_iter().enumerate() {
            // Each that leaves frees a descriptor for one that waits.
            if i > 0 {
                let mut back = [0; 6];
                client.read_exact(&mut back).expect("the server accepts in the end");
                assert_eq!(&back, b"me too");
            }
        }
        server.is_mostly_asleep();
    }
}

/// A server that runs, and is killed when it is dropped.
struct Server {
    name: &'static str,
    child: Child,
    addr: SocketAddr,
}

/// Starts each server when its turn comes, so that no two tests or servers meet.
fn servers() -> impl Iterator<Item = Server> {
    servers_with_at_most(1024)
}

fn servers_with_at_most(descriptors: usize) -> impl Iterator<Item = Server> {
    SERVERS.iter().map(move |(name, args)| Server::start(name, args, descriptors))
}

impl Server {
    fn start(name: &'static str, args: &[&str], descriptors: usize) -> Server {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $0 && exec \"$@\"", &descriptors.to_string()])
            .arg(examples_dir().join(name))
            .args(["--addr", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let mut first_line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        stdout.read_line(&mut first_line).expect("stdout is text");
        let addr = first_line.trim_end().parse();
        let addr = addr.unwrap_or_else(|e| panic!("{name} printed {first_line:?} first: {e}"));
        Server { name, child, addr }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect_timeout(&self.addr, PATIENCE).expect("the server listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.set_nodelay(true).expect("a TCP socket");
        client
    }

    /// Waits until as few descriptors are open as `before`.
    fn returns_to(&self, before: usize) {
        let begin = Instant::now();
        while self.descriptors() != before {
            let now = self.descriptors();
            assert!(begin.elapsed() < PATIENCE, "{before} descriptors became {now}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for 200 ms in which no thread of the server ran, not once.
    fn stands_still(&self) {
        let begin = Instant::now();
        loop {
            let before = self.schedule();
            thread::sleep(Duration::from_millis(200));
            let after = self.schedule();
            if after == before {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "never idle: {before:?}, 200 ms later {after:?}");
        }
    }

    /// Waits for half a second of which the server took, or wanted, less than a half. One that
    /// spins wants all of it, however busy the machine is.
    fn is_mostly_asleep(&self) {
        let begin = Instant::now();
        loop {
            let (window, before) = (Instant::now(), self.schedule());
            thread::sleep(Duration::from_millis(500));
            let wanted = self.schedule().wanted_ns - before.wanted_ns;
            let percent = u128::from(wanted) * 100 / window.elapsed().as_nanos();
            if percent < 50 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "it spins: {percent} % of a CPU");
        }
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("the server lives").count()
    }

    /// Anonymous memory, by proc_pid_status(5).
    fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|value| value.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("RssAnon is in KiB")
    }

    /// Sums schedstat of all threads: time on a CPU, time waiting for one, and how often it ran.
    fn schedule(&self) -> Schedule {
        let mut sum = Schedule::default();
        for thread in fs::read_dir(self.proc("task")).expect("the server lives") {
            let file = thread.expect("an entry").path().join("schedstat");
            let Ok(text) = fs::read_to_string(file) else { continue }; // that thread has ended
            let mut numbers = text.split_whitespace().map(|n| n.parse::<u64>().expect("a number"));
            let mut next = || numbers.next().expect("three numbers");
            sum.wanted_ns += next() + next();
            sum.times += next();
        }
        sum
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server was {}", self.name);
        }
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Default, PartialEq)]
struct Schedule {
    wanted_ns: u64,
    times: u64,
}

fn echo_once(client: &mut TcpStream) {
    client.write_all(b"still here?").expect("the server reads");
    let mut back = [0; 11];
    client.read_exact(&mut back).expect("the server echoes");
    assert_eq!(&back, b"still here?");
}

/// Writes until all is written or nothing more is taken, and says how much was.
fn write_until_stalled(client: &mut TcpStream, bytes: &[u8]) -> usize {
    client.set_write_timeout(Some(STALLED)).expect("a timeout");
    let mut written = 0;
    while written < bytes.len() {
        match client.write(&bytes[written..]) {
            Ok(n) => written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => panic!("write: {e}"),
        }
    }
    written
}

fn read_to_end(client: &mut TcpStream) -> Vec<u8> {
    let mut back = Vec::new();
    client.read_to_end(&mut back).expect("the server echoes, and closes in the end");
    back
}

/// Closes with SO_LINGER on and 0 s: not by FIN but by RST (socket(7), tcp(7)).
fn reset(client: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (value, len) = ((&raw const linger).cast(), mem::size_of_val(&linger) as u32);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: the kernel reads `len` bytes of `linger`, which lives until the call returns.
    let returned = unsafe { libc::setsockopt(client.as_raw_fd(), level, name, value, len) };
    assert_eq!(returned, 0, "SO_LINGER is a socket's option");
}

/// Bytes whose period no buffer size divides, so that a lost or doubled part shows.
fn pattern(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=250).collect::<Vec<_>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

/// Builds the servers, once, for the profile and the target directory of this test, which
/// stands in TARGET/PROFILE/deps. `cargo test` builds them anyway, `cargo test --test echo` not.
fn examples_dir() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let test = env::current_exe().expect("this test is a file");
        let profile_dir = test.ancestors().nth(2).expect("it is in TARGET/PROFILE/deps");
        let target_dir = profile_dir.parent().expect("it is in TARGET/PROFILE/deps");
        let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--profile", profile, "--target-dir"]).arg(target_dir);
        build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
        for (name, _) in SERVERS {
            build.args(["--example", name]);
        }
        let built = build.output().expect("cargo runs");
        let why = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "this failed: {build:?}\n{why}");
        profile_dir.join("examples")
    })
}
