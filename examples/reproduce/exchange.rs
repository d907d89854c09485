//! One client: a connection, what it is for, and what it still waits for.
//!
//! Next: `measure`.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_support::client::Client;

/// A connection with the answers that it still waits for.
#[derive(Debug)]
pub struct Exchange {
    pub kind: Kind,
    /// `None` once it has all its answers or will get no more.
    pub client: Option<Client>,
    wanted: usize,
    /// When the request was sent; of a new connection, before the connect.
    pub sent: Instant,
    /// When the last answer that was wanted came.
    pub answered: Option<Instant>,
}

impl Exchange {
    /// Connects.
    pub fn open(address: SocketAddr, kind: Kind, timeout: Duration) -> io::Result<Self> {
        let sent = Instant::now();
        let client = Some(Client::connect(address, timeout)?);
        Ok(Self { kind, client, wanted: 0, sent, answered: None })
    }

    /// Sends a request. Where the connection is broken no answer will come.
    pub fn ask(&mut self, target: &str) {
        self.wanted += 1;
        if self.client.as_mut().is_some_and(|client| client.get(target).is_err()) {
            self.client = None;
        }
    }

    /// Takes what came, and closes after the last answer: a client stays no longer than it must.
    /// Where a connection breaks no answer will come.
    pub fn receive(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let mut answer = client.receive_answer();
        while let Ok(Some(_)) = answer {
            self.wanted -= 1;
            if self.wanted == 0 {
                self.answered = Some(Instant::now());
                self.client = None;
                return;
            }
            answer = client.buffered_answer();
        }
        if answer.is_err() {
            self.client = None;
        }
    }

    /// An answer may still come.
    pub fn waits(&self) -> bool {
        self.client.is_some() && self.wanted > 0
    }

    /// How long the answer took; one that did not come, until now.
    pub fn wait(&self) -> Duration {
        self.answered.unwrap_or_else(Instant::now) - self.sent
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It asks for the slow handler.
    Slow,
    /// Opened ahead for a quick request.
    Spare,
    /// A quick request, and the number of its moment.
    Ping(u32),
    /// The same to the control.
    Control(u32),
}
