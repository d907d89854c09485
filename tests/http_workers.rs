//! The example `http_server` in worker processes: killed with a full queue, crashing, drained.
//!
//! Who answers is not left to chance: workers are stopped (SIGSTOP) while connections queue, and the
//! length of each queue is read from /proc/net/tcp.

#![cfg(target_os = "linux")]

mod http;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use http::running::{Running, example};
use http::{Client, wait_until};
use squall_support::child::Child;

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Breaks if the parent closes its copies of the sockets: the kernel then resets what is queued.
#[test]
fn forty_connections_queued_at_a_killed_worker_are_all_answered_by_its_successor() {
    const QUEUED: usize = 40;
    let server = Running::start(&["--workers", "2"]);
    let [victim, other] = server.workers(2)[..] else { panic!("two workers") };
    serves(&server, victim);
    serves(&server, other);
    let queue = listener(victim);
    for pid in [victim, other] {
        signal(pid, libc::SIGSTOP);
        wait_until("the stop", || if state(pid) == 'T' { Ok(()) } else { Err(state(pid)) });
    }
    let mut clients = Vec::new();
    while queued(queue) < QUEUED {
        let mut client = server.connect();
        client.send(HELLO);
        clients.push(client);
        assert!(clients.len() < 1000, "all connections went to the other worker");
    }

    // The other one does not run before the successor has answered all that it can have found.
    signal(victim, libc::SIGKILL);
    let successor = server.successor(&[victim, other]);
    assert_eq!(listener(successor), queue, "it has its predecessor's socket");
    let mut answered = 0;
    wait_until("the queue's end", || match queued(queue) {
        0 => Ok(()),
        left => Err(left),
    });
    let mut waiting = Vec::new();
    wait_until("forty answers", || {
        for mut client in clients.drain(..) {
            if client.has_answer() {
                assert_eq!(client.answer("GET").body, b"Hello, World!");
                answered += 1;
            } else {
                waiting.push(client);
            }
        }
        std::mem::swap(&mut clients, &mut waiting);
        if answered >= QUEUED { Ok(()) } else { Err(answered) }
    });
    assert_eq!(answered, QUEUED);

    signal(other, libc::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.answer("GET").body, b"Hello, World!");
    }
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn workers_that_are_killed_again_and_again_are_replaced_each_time_and_nobody_is_refused() {
    let server = Running::start(&["--workers", "2"]);
    let mut killed = Vec::new();
    for round in 0..6 {
        let pids = server.workers(2);
        let victim = pids[round % 2];
        killed.push(victim);
        serves(&server, victim);
        signal(victim, libc::SIGKILL);
        // Without a pause: some of these are queued at the socket that has no worker now.
        let mut clients: Vec<Client> = (0..10).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(HELLO));
        for client in &mut clients {
            assert_eq!(client.answer("GET").body, b"Hello, World!");
        }
        server.successor(&[&killed[..], &pids[..]].concat());
    }
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn on_sigterm_each_worker_answers_what_it_has_begun() {
    let server = Running::start(&["--workers", "2"]);
    let pids = server.workers(2);
    // Until each of the two has at least one: a connection more than its listener and its own.
    let mut clients = Vec::new();
    let before: Vec<usize> = pids.iter().map(|pid| sockets(*pid)).collect();
    serves(&server, pids[0]);
    serves(&server, pids[1]);
    while clients.len() < 2 || pids.iter().zip(&before).any(|(pid, n)| sockets(*pid) <= *n) {
        let mut client = server.connect();
        // The answer to the first says that the second has been read.
        client.send([HELLO, b"GET /async/1500 HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        client.answer("GET");
        clients.push(client);
        assert!(clients.len() < 100, "all connections went to one worker");
    }
    server.child.signal(libc::SIGTERM).expect("it lives");
    for client in &mut clients {
        let answer = client.answer("GET");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"waited 1500 ms\n"[..]));
        assert!(answer.says_close(), "{answer:?}");
        client.expect_end();
    }
    assert_eq!(server.exit().code(), Some(0));
}

/// The sockets are systemd's: both workers share its one listener.
#[test]
fn systemd_s_socket_is_served_by_the_workers() {
    // It takes no port 0.
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let addr = addr.expect("a free port");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--fdname=web", "-l", &addr.to_string()]);
    command.arg(example("http_server")).args(["--workers", "2"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = match Child::spawn(&mut command) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _ = writeln!(io::stderr(), "skipped: systemd-socket-activate is not installed");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    wait_until("systemd's listener", || match listeners(addr.port(), child.pid()).len() {
        1 => Ok(()),
        count => Err(count),
    });
    // It starts the program when there is a connection, and becomes it.
    let mut client = Client::connect(addr);
    client.send(HELLO);
    assert_eq!(client.answer("GET").body, b"Hello, World!");
    let server = Running { child, addr };
    server.workers(2);
    server.child.signal(libc::SIGTERM).expect("it lives");
    assert_eq!(server.exit().code(), Some(0));
}

impl Running {
    /// The worker that is none of these, once it serves.
    fn successor(&self, others: &[u32]) -> u32 {
        let mut found = None;
        wait_until("the successor", || {
            let pids = self.workers(2);
            found = pids.iter().copied().find(|pid| !others.contains(pid));
            if found.is_some() { Ok(()) } else { Err(pids) }
        });
        let found = found.expect("it was found");
        serves(self, found);
        found
    }
}

/// Waits until a worker has closed its siblings' sockets: then one listener is left, its own.
fn serves(server: &Running, worker: u32) {
    wait_until("a worker that serves", || match listeners(server.addr.port(), worker).len() {
        1 => Ok(()),
        count => Err(count),
    });
}

/// The inode of a worker's one listener.
fn listener(worker: u32) -> u64 {
    let listening: Vec<u64> = table().iter().map(|row| row.inode).collect();
    let own: Vec<u64> = inodes(worker).into_iter().filter(|i| listening.contains(i)).collect();
    assert_eq!(own.len(), 1, "worker {worker} has one listener");
    own[0]
}

fn listeners(port: u16, worker: u32) -> Vec<u64> {
    let own = inodes(worker);
    let of = |row: &Row| row.port == port && own.contains(&row.inode);
    table().into_iter().filter(of).map(|row| row.inode).collect()
}

/// How many connections wait for accept.
fn queued(listener: u64) -> usize {
    let row = table().into_iter().find(|row| row.inode == listener).expect("it is open");
    row.queued
}

/// A listener's row of /proc/net/tcp (proc_net_tcp in the kernel's documentation); its `rx_queue`
/// is the number of connections that wait for accept.
struct Row {
    port: u16,
    queued: usize,
    inode: u64,
}

/// The listeners stand first; behind them are all connections of the machine, which may be many.
fn table() -> Vec<Row> {
    let file = BufReader::new(File::open("/proc/net/tcp").expect("/proc is mounted"));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let hex = |text: &str| u64::from_str_radix(text, 16).expect("a hexadecimal number");
        let (_, port) = fields[1].split_once(':').expect("an address and a port");
        let (_, queued) = fields[4].split_once(':').expect("two queues");
        Row {
            port: hex(port) as u16,
            queued: hex(queued) as usize,
            inode: fields[9].parse().expect("an inode"),
        }
    };
    let lines = file.lines().skip(1).map(|line| line.expect("text"));
    let listens = |line: &String| line.split_whitespace().nth(3) == Some("0A");
    lines.take_while(listens).map(|line| row(&line)).collect()
}

fn sockets(pid: u32) -> usize {
    inodes(pid).len()
}

/// The sockets that a process has open; none once it is gone.
fn inodes(pid: u32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let inode = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is not reaped");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
    rest.chars().next().expect("a state")
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: no memory is involved. A worker is waited for by its supervisor alone, which we ask
    // to replace it only by this.
    let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(sent, 0, "the worker lives");
}
