//! The least a mio loop can do: find the empty line that ends a head, answer with fixed bytes.
//!
//! This is the yardstick: what a real server takes more than this is its own doing. Nothing is
//! parsed, a body would be taken for a head, and there is no Date. Two system calls for each
//! request beside the shared wait: a short read proves on TCP that no more is there. What is left
//! in is the honest part of a loop: keep-alive, pipelining, back-pressure, heads cut anywhere.

use std::io::{self, ErrorKind, Read, Write};

use memchr::memmem;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 13\r\n\r\nHello, World!";
const LISTENER: Token = Token(usize::MAX >> 1);

fn main() -> io::Result<()> {
    let mut listener = TcpListener::from_std(squall_bench::listener());
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections = Connections::default();
    let mut input = vec![0; 16 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                connections.accept_all(&listener, poll.registry())?;
            } else {
                connections.serve(event, &mut input, poll.registry())?;
            }
        }
    }
}

/// A token is a slot alone: a connection is closed in its own event only, so no event of the same
/// batch can meet the slot's next owner.
#[derive(Default)]
struct Connections(Slab<Connection>);

impl Connections {
    fn accept_all(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => continue,
                Err(e) => return Err(e), // a benchmark that runs out of descriptors has failed
            };
            stream.set_nodelay(true)?;
            let slot = self.0.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut stream, Token(slot.key()), both)?;
            slot.insert(Connection { stream, head: Vec::new(), unsent: Vec::new() });
        }
    }

    fn serve(&mut self, event: &Event, input: &mut [u8], registry: &Registry) -> io::Result<()> {
        let Token(slot) = event.token();
        let Some(connection) = self.0.get_mut(slot) else { return Ok(()) };
        if !connection.serve(event.is_read_closed(), input).unwrap_or(false) {
            registry.deregister(&mut connection.stream)?;
            self.0.remove(slot);
        }
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,   // the begin of a head whose end has not come
    unsent: Vec<u8>, // while there is any, nothing is read
}

impl Connection {
    /// Answers what has come, and says whether the connection goes on.
    fn serve(&mut self, closing: bool, input: &mut [u8]) -> io::Result<bool> {
        if !self.unsent.is_empty() && !self.send_unsent()? {
            return Ok(true);
        }
        loop {
            let n = match self.stream.read(input) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) => return Err(e),
            };
            let heads = self.count_heads(&input[..n]);
            if !self.answer(heads)? || (n < input.len() && !closing) {
                return Ok(true);
            }
        }
    }

    fn count_heads(&mut self, input: &[u8]) -> usize {
        if self.head.is_empty() && input.ends_with(b"\r\n\r\n") {
            return memmem::find_iter(input, b"\r\n\r\n").count();
        }
        self.head.extend_from_slice(input);
        let ends: Vec<usize> = memmem::find_iter(&self.head, b"\r\n\r\n").collect();
        self.head.drain(..ends.last().map_or(0, |end| end + 4));
        ends.len()
    }

    /// Writes `count` answers at once, and says whether all of them went out.
    fn answer(&mut self, count: usize) -> io::Result<bool> {
        let repeated;
        let answers = match count {
            0 => return Ok(true),
            1 => ANSWER,
            2..=64 => &ANSWERS[..count * ANSWER.len()],
            _ => {
                repeated = ANSWER.repeat(count);
                &repeated
            }
        };
        let sent = write(&mut self.stream, answers)?;
        self.unsent.extend_from_slice(&answers[sent..]);
        Ok(self.unsent.is_empty())
    }

    fn send_unsent(&mut self) -> io::Result<bool> {
        let sent = write(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }
}

/// Writes until the kernel takes no more, and says how much it took.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(sent)
}

/// Sixty-four answers, ready made.
static ANSWERS: [u8; 64 * ANSWER.len()] = {
    let mut all = [0; 64 * ANSWER.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = ANSWER[at % ANSWER.len()];
        at += 1;
    }
    all
};
