//! Hot upgrade: `http_server` replaced while clients ask without a pause. None may fail.
//!
//! The program is a copy of its own, which the tests replace by rename as a deployment does. They
//! play systemd, who hears by a datagram socket which process is the main one.

#![cfg(target_os = "linux")]

mod http;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::running::{Running, example};
use http::{PATIENCE, wait_until};

#[test]
fn over_two_upgrades_no_request_fails_and_what_had_begun_is_answered_by_the_old_program() {
    let deployed = Deployed::new("twice");
    let server = deployed.start();
    let clients = Clients::start(server.addr);
    let mut long = server.get("/async/1500");
    clients.go_on();

    deployed.replace_by_itself();
    server.child.signal(libc::SIGUSR2).expect("it lives");
    let first = deployed.main_pid();
    assert_ne!(first, server.child.pid());
    assert!(!long.has_answer(), "1.5 s have passed, or it was cut short");
    let answer = long.answer("GET");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"waited 1500 ms\n"[..]));
    assert!(answer.says_close(), "{answer:?}");
    assert_eq!(server.exit().code(), Some(0), "the old program has drained");
    clients.go_on();

    signal(first, libc::SIGUSR2);
    let second = deployed.main_pid();
    assert_ne!(second, first);
    wait_until(
        "the end of the first successor",
        || if runs(first) { Err("it runs") } else { Ok(()) },
    );
    clients.go_on();
    clients.end();

    signal(second, libc::SIGTERM);
    wait_until("the end", || if runs(second) { Err("it runs") } else { Ok(()) });
    assert!(TcpStream::connect(server.addr).is_err(), "somebody still listens");
}

#[test]
fn a_new_program_that_fails_changes_nothing_and_the_next_one_takes_over() {
    let deployed = Deployed::new("fails");
    let server = deployed.start();
    let clients = Clients::start(server.addr);
    let workers = server.workers(2);
    let tried = deployed.folder.join("tried");

    deployed.replace(format!("#!/bin/sh\necho $LISTEN_FDNAMES >>{}\nexit 1\n", tried.display()));
    for attempt in 1..=3 {
        server.child.signal(libc::SIGUSR2).expect("it lives");
        // A wish that comes while an attempt still goes on is none.
        let lines = || fs::read_to_string(&tried).unwrap_or_default();
        wait_until("the attempt", || match lines().lines().count() {
            count if count >= attempt => Ok(()),
            _ => Err(lines()),
        });
        assert_eq!(lines().lines().last(), Some("worker-0:worker-1"));
        wait_until("its end", || match server.workers_now() {
            now if now == workers => Ok(()),
            now => Err(now),
        });
        clients.go_on();
    }

    deployed.replace_by_itself();
    server.child.signal(libc::SIGUSR2).expect("it lives");
    let successor = deployed.main_pid();
    assert_eq!(server.exit().code(), Some(0));
    clients.go_on();
    clients.end();
    signal(successor, libc::SIGTERM);
    wait_until("the end", || if runs(successor) { Err("it runs") } else { Ok(()) });
}

/// A program in a folder of its own, with systemd's ear.
///
/// One at a time: a process that another thread starts while a program is written would inherit the
/// descriptor, and what somebody writes cannot be executed (execve(2), ETXTBSY).
struct Deployed {
    _alone: MutexGuard<'static, ()>,
    folder: PathBuf,
    program: PathBuf,
    systemd: UnixDatagram,
}

impl Deployed {
    fn new(name: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = format!("squall-upgrade-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let systemd = UnixDatagram::bind(folder.join("notify")).expect("a name");
        systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let program = folder.join("server");
        let deployed = Self { _alone: alone, program, folder, systemd };
        deployed.replace_by_itself();
        deployed
    }

    fn start(&self) -> Running {
        let mut command = Command::new(&self.program);
        command.env("NOTIFY_SOCKET", self.folder.join("notify"));
        Running::start_as(command, &["--workers", "2"])
    }

    fn replace_by_itself(&self) {
        let new = self.folder.join("new");
        fs::copy(example("http_server"), &new).expect("room on the disk");
        fs::rename(&new, &self.program).expect("the same folder");
    }

    fn replace(&self, script: String) {
        let new = self.folder.join("new");
        fs::write(&new, script).expect("room on the disk");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("our file");
        fs::rename(&new, &self.program).expect("the same folder");
    }

    /// Waits until systemd is told of another main process.
    fn main_pid(&self) -> u32 {
        loop {
            let mut buf = [0; 256];
            let n = self.systemd.recv(&mut buf).expect("a message");
            let text = std::str::from_utf8(&buf[..n]).expect("text");
            if let Some(pid) = text.strip_prefix("MAINPID=") {
                return pid.parse().expect("a number");
            }
            assert_eq!(text, "READY=1");
        }
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    fn workers_now(&self) -> Vec<u32> {
        let file = format!("/proc/{0}/task/{0}/children", self.child.pid());
        let text = fs::read_to_string(file).expect("it lives");
        text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }
}

/// A client: asks until it is told, after an answer, that it is over.
type Ask = fn(SocketAddr, &dyn Fn() -> bool);

/// Clients that ask until they are told to end: one with a connection for each request, and one
/// that keeps its connection.
struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<[AtomicUsize; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(addr: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let start = |(index, client): (usize, Ask)| {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            thread::spawn(move || {
                client(addr, &|| {
                    answered[index].fetch_add(1, Ordering::SeqCst);
                    !over.load(Ordering::SeqCst)
                });
            })
        };
        let clients: [(usize, Ask); 2] =
            [(0, ask_on_fresh_connections), (1, ask_on_a_kept_connection)];
        let threads = clients.into_iter().map(start).collect();
        Self { over, answered, threads }
    }

    /// Waits until each has had fifty more answers, or one has failed.
    fn go_on(&self) {
        let count = || [0, 1].map(|index| self.answered[index].load(Ordering::SeqCst));
        let before = count();
        wait_until("fifty more answers", || match count() {
            now if self.threads.iter().any(JoinHandle::is_finished) => {
                panic!("one failed at {now:?}")
            }
            now if now.iter().zip(&before).all(|(now, before)| *now >= before + 50) => Ok(()),
            now => Err(now),
        });
    }

    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no request failed");
        }
    }
}

fn ask_on_fresh_connections(addr: SocketAddr, answered: &dyn Fn() -> bool) {
    let mut index = 0_u64;
    loop {
        let mut stream = connect(addr);
        // Now and then the request comes a little after its connection.
        if index.is_multiple_of(7) {
            thread::sleep(Duration::from_millis(2));
        }
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a server that reads");
        let answer = answer(&mut stream).expect("an answer");
        assert!(answer, "the connection ended without an answer to request {index}");
        index += 1;
        if !answered() {
            return;
        }
    }
}

/// A server may close a kept connection at any time; a client then asks again on a new one, if no
/// byte of an answer has come (RFC 9112, 9.3.1 and 9.5). On a new connection nothing may fail.
fn ask_on_a_kept_connection(addr: SocketAddr, answered: &dyn Fn() -> bool) {
    let mut kept: Option<TcpStream> = None;
    loop {
        let is_new = kept.is_none();
        let mut stream = kept.take().unwrap_or_else(|| connect(addr));
        let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        match sent.and_then(|()| answer(&mut stream)) {
            Ok(true) => kept = Some(stream),
            Ok(false) | Err(_) if !is_new => continue,
            other => panic!("on a new connection: {other:?}"),
        }
        if !answered() {
            return;
        }
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("nobody is refused");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Reads one whole answer; false if the connection has ended before its first byte.
fn answer(stream: &mut TcpStream) -> io::Result<bool> {
    let mut text = Vec::new();
    let mut buf = [0; 1024];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 && text.is_empty() {
            return Ok(false);
        }
        assert_ne!(n, 0, "an answer was cut off: {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buf[..n]);
        if text.ends_with(b"Hello, World!") {
            assert!(text.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&text));
            return Ok(true);
        }
    }
}

/// False once it has ended, although nobody may have waited for it yet.
fn runs(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(") ").expect("a name in parentheses").1.starts_with('Z')
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: no memory is involved. The process is a descendant, which nobody waits for before
    // its group ends: its number is its own.
    let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(sent, 0, "it lives");
}
