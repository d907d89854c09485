//! The load: clients that must be answered, and clients that vanish.
//!
//! A client that stays must get each answer, whole and right, within `PATIENCE`. The only excuse is
//! that its connection ended because a worker was killed meanwhile; silence has none.

use std::fmt;
use std::io::{self, ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use squall_support::client::{Client, reset_on_close};

use crate::plan::{Address, Chance, PATIENCE, Plan, Wrong};

/// Clients on threads, until they are told to finish.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the clients did.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    answered: u64,
    vanished: u64,
    excused: u64,
}

struct Shared {
    address: SocketAddr,
    kills: Arc<AtomicU64>,
    stop: AtomicBool,
    answered: AtomicU64,
    vanished: AtomicU64,
    excused: AtomicU64,
    wrong: Mutex<Option<Wrong>>,
}

impl Load {
    pub fn start(address: &Address, plan: &Plan, round: u64, kills: Arc<AtomicU64>) -> Self {
        let shared = Arc::new(Shared {
            address: address.public,
            kills,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            vanished: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            wrong: Mutex::new(None),
        });
        let client = |nth: u64| {
            let shared = Arc::clone(&shared);
            let mut chance = Chance::new(plan.seed ^ round, nth);
            thread::spawn(move || shared.client(&mut chance))
        };
        let threads = (0..plan.clients).map(client).collect();
        Self { shared, threads }
    }

    /// Lets them work for a time, or until something is wrong.
    pub fn run_for(&self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time && !self.shared.stop.load(SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn finish(self) -> Result<Answered, Wrong> {
        self.shared.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().map_err(|_| Wrong("a client's thread panicked".to_owned()))?;
        }
        let wrong = self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).take();
        match wrong {
            Some(wrong) => Err(wrong),
            None => Ok(Answered {
                answered: self.shared.answered.load(SeqCst),
                vanished: self.shared.vanished.load(SeqCst),
                excused: self.shared.excused.load(SeqCst),
            }),
        }
    }
}

impl Shared {
    fn client(&self, chance: &mut Chance) {
        while !self.stop.load(SeqCst) {
            let kills = self.kills.load(SeqCst);
            let stays = chance.below(10) < 6;
            let (what, result) = if stays { self.stay(chance) } else { self.vanish(chance) };
            match result {
                Ok(()) => {}
                Err(error) if is_cut(&error) && (!stays || self.kills.load(SeqCst) != kills) => {
                    self.excused.fetch_add(u64::from(stays), SeqCst);
                }
                Err(error) => {
                    self.fail(format!("a client that {what} was not answered: {error}"));
                    return;
                }
            }
            if !stays {
                self.vanished.fetch_add(1, SeqCst);
            }
            thread::sleep(chance.up_to_ms(4));
        }
    }

    /// One connection whose every request must be answered.
    fn stay(&self, chance: &mut Chance) -> (&'static str, io::Result<()>) {
        match chance.below(4) {
            0 => ("keeps its connection", self.keep_alive(chance)),
            1 => ("pipelines", self.pipeline(chance)),
            2 => ("sends its body in pieces", self.body_in_pieces(chance)),
            _ => ("finishes sending early", self.half_close()),
        }
    }

    fn keep_alive(&self, chance: &mut Chance) -> io::Result<()> {
        let mut client = Client::connect(self.address, PATIENCE)?;
        for _ in 0..=chance.below(12) {
            match chance.below(6) {
                0 => self.ask(&mut client, "/", b"soak\n")?,
                1 => self.ask(&mut client, &format!("/sleep/{}", chance.below(40)), b"slept\n")?,
                2 => self.ask(&mut client, &format!("/pool/{}", chance.below(8)), b"worked\n")?,
                3 => {
                    let len = chance.below(300_000) as usize;
                    self.ask(&mut client, &format!("/large/{len}"), &vec![b'x'; len])?;
                }
                4 => {
                    let pieces = chance.below(100) as usize;
                    self.ask(
                        &mut client,
                        &format!("/pieces/{pieces}"),
                        &vec![b'y'; pieces * 1000],
                    )?;
                }
                _ => {
                    let body = vec![b'z'; chance.below(20_000) as usize];
                    client.send(&post(body.len()))?;
                    client.send(&body)?;
                    self.expect(&mut client, &body)?;
                }
            }
        }
        Ok(())
    }

    fn pipeline(&self, chance: &mut Chance) -> io::Result<()> {
        let mut client = Client::connect(self.address, PATIENCE)?;
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..=chance.below(20) {
            let (target, answer) = match chance.below(4) {
                0 => ("/sleep/1", &b"slept\n"[..]),
                1 => ("/pool/0", &b"worked\n"[..]),
                _ => ("/", &b"soak\n"[..]),
            };
            requests.extend(format!("GET {target} HTTP/1.1\r\nHost: soak\r\n\r\n").into_bytes());
            answers.push(answer);
        }
        client.send(&requests)?;
        answers.iter().try_for_each(|answer| self.expect(&mut client, answer))
    }

    fn body_in_pieces(&self, chance: &mut Chance) -> io::Result<()> {
        let mut client = Client::connect(self.address, PATIENCE)?;
        let body = vec![b'w'; 1 + chance.below(3000) as usize];
        client.send(b"POST /echo HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for piece in body.chunks(1 + chance.below(1000) as usize) {
            client.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
            thread::sleep(chance.up_to_ms(2));
            client.send(piece)?;
            client.send(b"\r\n")?;
        }
        client.send(b"0\r\n\r\n")?;
        self.expect(&mut client, &body)
    }

    /// An answer that is ready is finished, although the client has said FIN.
    fn half_close(&self) -> io::Result<()> {
        let mut client = Client::connect(self.address, PATIENCE)?;
        client.get("/large/200000")?;
        client.half_close()?;
        self.expect(&mut client, &vec![b'x'; 200_000])
    }

    /// One connection that ends as it should not.
    fn vanish(&self, chance: &mut Chance) -> (&'static str, io::Result<()>) {
        ("vanishes", self.leave(chance))
    }

    fn leave(&self, chance: &mut Chance) -> io::Result<()> {
        let mut client = Client::connect(self.address, PATIENCE)?;
        match chance.below(8) {
            // Without a word.
            0 => {}
            // Amid the head.
            1 => client.send(b"GET / HTTP/1.1\r\nHo")?,
            // Amid the body.
            2 => {
                client.send(&post(5000))?;
                client.send(b"not all of it")?;
            }
            // While the handler waits for a timer, or for the pool.
            3 => client.get("/sleep/60000")?,
            4 => client.get("/pool/30")?,
            // With requests behind the one that is handled.
            5 => {
                client.get("/sleep/20")?;
                client.get("/large/100000")?;
            }
            // Without reading: the server's send buffer is full.
            6 => client.get("/pieces/20000")?,
            // A FIN while the handler waits: the server may end it, or answer.
            _ => {
                client.get("/sleep/2000")?;
                client.half_close()?;
                let _ended = end_of(client.stream());
            }
        }
        // Stalls for a moment, as long as the limits let it or longer.
        let stall = if chance.below(20) == 0 { 3000 } else { 30 };
        thread::sleep(chance.up_to_ms(stall));
        if chance.below(2) == 0 {
            reset_on_close(client.stream())?;
        }
        Ok(())
    }

    fn ask(&self, client: &mut Client, target: &str, body: &[u8]) -> io::Result<()> {
        client.get(target)?;
        self.expect(client, body)
    }

    fn expect(&self, client: &mut Client, body: &[u8]) -> io::Result<()> {
        let answer = client.answer(PATIENCE)?;
        if answer.status != 200 || answer.body != body {
            let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)]);
            let (head, len) = (&answer.head, answer.body.len());
            return Err(io::Error::other(format!("{head:?}, {len} bytes, {start:?}")));
        }
        self.answered.fetch_add(1, SeqCst);
        Ok(())
    }

    fn fail(&self, what: String) {
        self.stop.store(true, SeqCst);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get_or_insert(Wrong(what));
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, vanished, excused } = self;
        write!(f, "{answered} answered, {vanished} vanished, {excused} lost their worker")
    }
}

fn post(len: usize) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: {len}\r\n\r\n").into_bytes()
}

/// What a connection says whose server has died, or has given it up.
fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
    )
}

/// Reads until the server has ended the connection.
fn end_of(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    while stream.read(&mut [0; 4096])? > 0 {}
    Ok(())
}
