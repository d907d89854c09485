//! The model's sockets: what read, write and poll say about one end, and what its peer can do.
//!
//! Each change answers with the key that it wakes poll's waiters with, as the kernel's sockets do:
//! `Some(0)` means all of them, `None` nobody. From net/ipv4/tcp.c and net/unix/af_unix.c of Linux;
//! `real` holds it against them. Absent: the bytes themselves (their number is enough). Next:
//! `model`.

use std::collections::VecDeque;

use crate::model::{ERR, Errno, HUP, IN, OUT, PRI, RDHUP};

/// Which rules a stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Tcp,
    Unix,
}

/// One end of a stream, seen from us.
#[derive(Clone, Debug)]
pub struct Stream {
    pub family: Family,
    /// Bytes that have arrived and were not read, and all that ever arrived.
    unread: usize,
    arrived: usize,
    /// Where among them the urgent byte stands, and whether it can still be received.
    urgent: Option<(usize, bool)>,
    /// Writes that the peer has not read, and their sum's limit.
    sent: VecDeque<usize>,
    room: usize,
    /// SOCK_NOSPACE: somebody saw that there is no room.
    no_space: bool,
    read_shut: bool,
    write_shut: bool,
    /// The peer's FIN has come (SOCK_DONE).
    fin: bool,
    error: Option<Errno>,
    closed: bool,
    peer_gone: bool,
}

/// Whom a change wakes.
pub type Wake = Option<u32>;
/// What sock_def_readable passes.
const DATA: Wake = Some(IN | PRI);
const ALL: Wake = Some(0);

impl Stream {
    pub fn new(family: Family, room: usize) -> Self {
        Self {
            family,
            unread: 0,
            arrived: 0,
            urgent: None,
            sent: VecDeque::new(),
            room,
            no_space: false,
            read_shut: false,
            write_shut: false,
            fin: false,
            error: None,
            closed: false,
            peer_gone: false,
        }
    }

    /// What poll(2) says.
    pub fn mask(&self) -> u32 {
        let mut mask = 0;
        for (set, bits) in [
            (self.readable(), IN),
            (self.read_shut, IN | RDHUP),
            (self.writable(), OUT),
            (self.urgent.is_some_and(|(_, valid)| valid), PRI),
            (self.error.is_some(), ERR),
            (self.closed || self.read_shut && self.write_shut, HUP),
        ] {
            if set {
                mask |= bits;
            }
        }
        mask
    }

    /// The same as the kernel does it: tcp_poll remembers that somebody saw no room.
    pub fn poll(&mut self) -> u32 {
        let mask = self.mask();
        self.no_space |= mask & OUT == 0;
        mask
    }

    // What we do.

    pub fn read(&mut self, len: usize) -> Result<usize, Errno> {
        let n = self.take(len);
        if n > 0 {
            return Ok(n);
        }
        match self.error {
            Some(_) if self.family == Family::Tcp && self.fin => Ok(0),
            Some(error) => {
                self.error = None;
                Err(error)
            }
            None if self.read_shut => Ok(0),
            None => Err(Errno::Again),
        }
    }

    /// A read stops at the urgent byte; one that begins at it skips it (tcp_recvmsg_locked).
    fn take(&mut self, len: usize) -> usize {
        if let Some((0, _)) = self.urgent {
            self.urgent = None;
            self.unread -= 1;
        }
        let end = self.urgent.map_or(self.unread, |(at, _)| at);
        let n = len.min(end);
        self.unread -= n;
        if let Some((at, _)) = &mut self.urgent {
            *at -= n;
        }
        n
    }

    /// recv(2) with MSG_OOB.
    pub fn read_urgent(&mut self) -> Result<usize, Errno> {
        match &mut self.urgent {
            Some((_, valid @ true)) if !self.closed || self.fin => {
                *valid = false;
                Ok(1)
            }
            Some((_, true)) => Err(Errno::NotConnected),
            _ => Err(Errno::Invalid),
        }
    }

    pub fn write(&mut self, len: usize) -> (Result<usize, Errno>, Wake) {
        if self.write_shut {
            let tcp = self.family == Family::Tcp;
            let error = self.error.take_if(|_| tcp).unwrap_or(Errno::Pipe);
            return (Err(error), None);
        }
        if let Some(error) = self.error.take_if(|_| self.family == Family::Tcp) {
            return (Err(error), None);
        }
        let n = len.min(self.room - self.used());
        self.no_space |= n < len;
        if n == 0 {
            return (Err(Errno::Again), None);
        }
        self.sent.push_back(n);
        // A TCP peer that has closed answers bytes with a reset.
        let wake = if self.peer_gone { self.reset(Errno::Pipe) } else { None };
        (Ok(n), wake)
    }

    /// shutdown(SHUT_WR).
    pub fn shutdown(&mut self) -> Wake {
        self.write_shut = true;
        ALL
    }

    /// SO_ERROR.
    pub fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    // What the peer does.

    pub fn peer_writes(&mut self, len: usize) -> Wake {
        if self.fin || self.read_shut || self.closed || self.peer_gone {
            return None;
        }
        self.unread += len;
        self.arrived += len;
        DATA
    }

    /// MSG_OOB; one at a time, because a second would turn the first into plain data.
    pub fn peer_urges(&mut self) -> Wake {
        if self.family == Family::Unix || self.urgent.is_some() {
            return None;
        }
        let wake = self.peer_writes(1)?;
        self.urgent = Some((self.unread - 1, true));
        Some(wake)
    }

    /// Reads up to `count` of our writes whole. A Unix socket has room again with each of them; TCP
    /// says so only to who saw that there was none.
    pub fn peer_reads(&mut self, count: usize) -> Wake {
        let count = count.min(self.sent.len());
        if count == 0 || self.closed || self.peer_gone {
            return None;
        }
        self.sent.drain(..count);
        if !self.writable() {
            return None;
        }
        match self.family {
            Family::Unix => Some(OUT),
            Family::Tcp => std::mem::take(&mut self.no_space).then_some(OUT),
        }
    }

    /// shutdown(SHUT_WR) over there.
    pub fn peer_finishes(&mut self) -> Wake {
        if self.fin || self.closed || self.peer_gone {
            return None;
        }
        (self.fin, self.read_shut) = (true, true);
        ALL
    }

    /// close(2) over there: with our bytes unread it is a reset.
    pub fn peer_closes(&mut self) -> Wake {
        if self.peer_gone || self.closed {
            return None;
        }
        let lost = !self.sent.is_empty();
        match self.family {
            Family::Unix => {
                (self.peer_gone, self.read_shut, self.write_shut) = (true, true, true);
                self.error = lost.then_some(Errno::Reset).or(self.error);
                self.sent.clear();
                ALL
            }
            Family::Tcp if lost => self.peer_resets(),
            Family::Tcp => {
                let wake = self.peer_finishes();
                self.peer_gone = true;
                wake
            }
        }
    }

    /// RST over there (SO_LINGER 0); on a Unix socket it is a close.
    pub fn peer_resets(&mut self) -> Wake {
        if self.family == Family::Unix {
            return self.peer_closes();
        }
        if self.peer_gone || self.closed {
            return None;
        }
        // Both ends finished: nobody is there to take the reset.
        if self.fin && self.write_shut {
            self.peer_gone = true;
            return None;
        }
        let error = if self.fin { Errno::Pipe } else { Errno::Reset };
        self.reset(error)
    }

    pub fn peer_is_gone(&self) -> bool {
        self.peer_gone || self.closed
    }

    pub fn peer_has_finished(&self) -> bool {
        self.fin || self.peer_is_gone()
    }

    /// Bytes that have come and were not read.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Bytes that have ever come.
    pub fn arrived(&self) -> usize {
        self.arrived
    }

    /// Our first `count` writes that the peer has not read, in bytes.
    pub fn sent(&self, count: usize) -> usize {
        self.sent.iter().take(count).sum()
    }

    fn reset(&mut self, error: Errno) -> Wake {
        self.error = Some(error);
        (self.closed, self.peer_gone, self.read_shut, self.write_shut) = (true, true, true, true);
        self.sent.clear();
        ALL
    }

    /// An urgent byte at the head does not count (tcp_poll: `target++`).
    fn readable(&self) -> bool {
        self.unread > usize::from(matches!(self.urgent, Some((0, _))))
    }

    fn writable(&self) -> bool {
        let used = self.used();
        match self.family {
            // unix_writable
            Family::Unix => used * 4 <= self.room,
            // sk_stream_is_writable
            Family::Tcp => self.write_shut || self.room - used >= used / 2,
        }
    }

    fn used(&self) -> usize {
        self.sent.iter().sum()
    }
}
