//! An HTTP server on bare epoll, as naive as its start and its blocking make it, and no more.
//!
//! `listen-then-fork` makes the epoll instance before the fork, so that both workers wait on ONE:
//! what a worker accepts is registered there under a number that means nothing to the other. Like
//! CPython's selector, a worker that is told of a number it does not know says nothing and waits
//! again. Everything else is done right: while a handler awaits or is in the pool, what comes is
//! read into a buffer and an end is acted on; edge-triggered it reads until WouldBlock and only
//! then handles what it has read; a registration is deleted before its descriptor is closed.
//!
//! Absent: bodies, timeouts, limits. Next: `naive/epoll`, then `squall`.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::counters::{Counters, Running, Worker};
use crate::rows::{Handler, Start, Trigger};
use crate::server::{Job, QUICK, SLOW};

mod epoll;

use epoll::{Epoll, EventFd, fork_two};

/// Serves until it is killed.
pub fn serve(job: &Job, counters: &Counters) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    match job.start {
        Start::ListenThenFork => {
            let epoll = Epoll::new()?;
            epoll.add(listener.as_raw_fd(), job.trigger)?;
            counters.set_port(port);
            let index = fork_two()?; // both workers have the one epoll instance
            Server::new(job, counters.worker(index), epoll, listener)?.run()
        }
        Start::ForkThenAdd => {
            counters.set_port(port);
            let index = fork_two()?;
            let epoll = Epoll::new()?; // each worker has its own
            epoll.add(listener.as_raw_fd(), job.trigger)?;
            Server::new(job, counters.worker(index), epoll, listener)?.run()
        }
        Start::OneProcess => {
            let epoll = Epoll::new()?;
            epoll.add(listener.as_raw_fd(), job.trigger)?;
            counters.set_port(port);
            Server::new(job, counters.worker(0), epoll, listener)?.run()
        }
    }
}

/// One worker: an event loop with its connections, by descriptor as it is usual.
struct Server {
    job: Job,
    counters: Worker,
    epoll: Epoll,
    listener: TcpListener,
    connections: HashMap<RawFd, Connection>,
    next_serial: u64,
    timers: Vec<Timer>,
    pool: Pool,
}

impl Server {
    fn new(job: &Job, counters: Worker, epoll: Epoll, listener: TcpListener) -> io::Result<Self> {
        let pool = Pool::new()?;
        epoll.add(pool.wakeup.as_raw_fd(), job.trigger)?;
        Ok(Self {
            job: *job,
            counters,
            epoll,
            listener,
            connections: HashMap::new(),
            next_serial: 0,
            timers: Vec::new(),
            pool,
        })
    }

    fn run(mut self) -> io::Result<()> {
        self.counters.set_ready();
        let mut ready = Vec::new();
        loop {
            self.epoll.wait(&mut ready, self.next_deadline())?;
            let mut progress = false;
            for &fd in &ready {
                progress |= if fd == self.listener.as_raw_fd() {
                    self.accept()?
                } else if fd == self.pool.wakeup.as_raw_fd() {
                    self.collect_from_pool()
                } else if self.connections.contains_key(&fd) {
                    self.receive(fd)
                } else {
                    false // the other worker's: ignored without a word
                };
            }
            progress |= self.fire_timers();
            self.counters.count_wakeup(progress);
        }
    }

    /// One connection per report under level triggering, under edge all there are.
    fn accept(&mut self) -> io::Result<bool> {
        let mut progress = false;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    progress = true;
                    stream.set_nonblocking(true)?;
                    let _ = stream.set_nodelay(true);
                    let fd = stream.as_raw_fd();
                    self.epoll.add(fd, self.job.trigger)?;
                    self.next_serial += 1;
                    let connection = Connection {
                        stream,
                        serial: self.next_serial,
                        input: Vec::new(),
                        busy: false,
                    };
                    self.connections.insert(fd, connection);
                    self.counters.count_accept();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(progress),
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => return Err(e),
            }
            if self.job.trigger == Trigger::Level {
                return Ok(progress);
            }
        }
    }

    /// Reads once under level triggering, until WouldBlock under edge, then handles what came.
    fn receive(&mut self, fd: RawFd) -> bool {
        let Some(connection) = self.connections.get_mut(&fd) else {
            return false;
        };
        let mut progress = false;
        let mut chunk = [0; 4096];
        loop {
            match connection.stream.read(&mut chunk) {
                Ok(0) => {
                    self.close(fd);
                    return true;
                }
                Ok(n) => {
                    progress = true;
                    connection.input.extend_from_slice(&chunk[..n]);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.close(fd);
                    return true;
                }
            }
            if self.job.trigger == Trigger::Level {
                break;
            }
        }
        self.handle_input(fd);
        progress
    }

    /// Handles the requests in the buffer, one after the other, until one is not done at once.
    fn handle_input(&mut self, fd: RawFd) {
        while let Some(connection) = self.connections.get_mut(&fd)
            && !connection.busy
            && let Some(target) = connection.next_request()
        {
            if target == "/slow" {
                self.begin_slow(fd);
            } else {
                self.answer(fd, QUICK);
            }
        }
    }

    fn begin_slow(&mut self, fd: RawFd) {
        let running = self.counters.begin();
        let hold = self.job.hold;
        if self.job.handler == Handler::Blocks {
            thread::sleep(hold); // the second mistake: nobody is at the loop
            drop(running);
            self.answer(fd, SLOW);
            return;
        }
        let Some(connection) = self.connections.get_mut(&fd) else {
            return;
        };
        connection.busy = true;
        let waiter = (fd, connection.serial);
        if self.job.handler == Handler::Pool {
            self.pool.run(hold, running, waiter);
        } else {
            self.timers.push(Timer { deadline: Instant::now() + hold, running, waiter });
        }
    }

    fn end_slow(&mut self, (fd, serial): Waiter) {
        if let Some(connection) = self.connections.get_mut(&fd)
            && connection.serial == serial
        {
            connection.busy = false;
            self.answer(fd, SLOW);
            self.handle_input(fd);
        }
    }

    fn answer(&mut self, fd: RawFd, body: &str) {
        let Some(connection) = self.connections.get_mut(&fd) else {
            return;
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        // A socket's buffer holds these few bytes; if not, its client does not read.
        if connection.stream.write_all(answer.as_bytes()).is_err() {
            self.close(fd);
        }
    }

    fn close(&mut self, fd: RawFd) {
        self.epoll.delete(fd);
        self.connections.remove(&fd);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.timers.iter().map(|timer| timer.deadline).min()
    }

    fn fire_timers(&mut self) -> bool {
        let now = Instant::now();
        let (due, rest): (Vec<_>, Vec<_>) =
            self.timers.drain(..).partition(|timer| timer.deadline <= now);
        self.timers = rest;
        let progress = !due.is_empty();
        for timer in due {
            drop(timer.running);
            self.end_slow(timer.waiter);
        }
        progress
    }

    fn collect_from_pool(&mut self) -> bool {
        // Another worker's wake-up under the same number finds this one's counter at 0.
        let woken = self.pool.wakeup.take();
        while let Ok(waiter) = self.pool.done.try_recv() {
            self.end_slow(waiter);
        }
        woken
    }
}

struct Connection {
    stream: TcpStream,
    serial: u64,
    input: Vec<u8>,
    /// A slow handler has its request; what comes meanwhile waits in `input`.
    busy: bool,
}

impl Connection {
    /// Takes the next whole request out of the buffer and returns its target.
    fn next_request(&mut self) -> Option<String> {
        let end = self.input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input.drain(..end);
        Some(head.split(' ').nth(1).unwrap_or("/").to_owned())
    }
}

/// A descriptor, and the serial of the connection that it was when it was noted down.
type Waiter = (RawFd, u64);

struct Timer {
    deadline: Instant,
    running: Running,
    waiter: Waiter,
}

/// A thread per job, and an eventfd that says that one is done.
struct Pool {
    wakeup: EventFd,
    report: mpsc::Sender<Waiter>,
    done: mpsc::Receiver<Waiter>,
}

impl Pool {
    fn new() -> io::Result<Self> {
        let (report, done) = mpsc::channel();
        Ok(Self { wakeup: EventFd::new()?, report, done })
    }

    fn run(&self, hold: Duration, running: Running, waiter: Waiter) {
        let report = self.report.clone();
        let wakeup = self.wakeup.clone();
        thread::spawn(move || {
            thread::sleep(hold);
            drop(running);
            let _ = report.send(waiter); // fails only if the server is gone
            wakeup.set();
        });
    }
}
