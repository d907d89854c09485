//! Whoever uses the loop: callbacks and tasks.
//!
//! In chaos everybody stops half-way, changes their mind, ends themselves and their neighbours.
//! When the schedule turns calm each does what it came for: reads to the end, writes what it has,
//! and leaves. Next: `chance`.

use squall_reactor::{Interest, Next, Readiness, Side, Trigger};

use crate::chance::Kind;
use crate::model::{Errno, HUP, IN, OUT, Object, PRI, RDHUP};
use crate::shell::{Closure, Parked, Task, Waited, World};
use crate::stream::Stream;

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads to the end.
    Reader,
    /// Writes so many bytes.
    Writer(usize),
    /// Waits until the peer has closed, or has left.
    Watcher(Side),
    /// Waits for both at once.
    WatchesBoth,
    Acceptor,
    /// Never waits for the source: tries, and sleeps.
    Poller(Side),
    /// Sleeps so often.
    Sleeper(usize),
    /// Wakes itself so often.
    Yielder(usize),
}

/// Operations in one call or poll.
const ROUNDS: usize = 3;

impl World {
    // Callbacks.

    /// A callback: its answer (`None`: it panics), what it has seen to block, and whether it
    /// achieved anything.
    pub fn behave(&mut self, id: usize, _told: Readiness) -> (Option<Next>, u32, bool) {
        self.perhaps_meddle(15);
        let asked = self.sources[id].interest;
        let mut done = Done::default();
        if asked.contains(Interest::PRIORITY) {
            let file = self.sources[id].file;
            let urgent = self.kernel.on_stream(file, Stream::read_urgent);
            let taken = urgent.is_some_and(|urgent| urgent.is_ok());
            done.progress |= taken;
            if taken {
                for io in &mut self.ios {
                    io.urgent_taken |= self.kernel.file(io.fd) == Ok(file);
                }
            }
        }
        if asked.contains(Interest::READABLE) {
            self.call_reads(id, &mut done);
        }
        if asked.contains(Interest::WRITABLE) {
            self.call_writes(id, &mut done);
        }
        self.perhaps_meddle(15);
        let next = if done.full {
            let deadline_us = self.now_us + 10_000;
            self.add_closure(deadline_us, Closure::Resume(id));
            Some(Next::Pause)
        } else {
            self.next(id, &done)
        };
        (next, done.blocked, done.progress)
    }

    fn next(&mut self, id: usize, done: &Done) -> Option<Next> {
        let oneshot = self.sources[id].trigger == Trigger::Oneshot;
        match (self.calm, done.end) {
            (true, true) => Some(Next::Done),
            (true, false) if oneshot => Some(Next::Again),
            (true, false) => Some(Next::Wait),
            (false, true) if self.rng.chance(50) => Some(Next::Done),
            (false, _) => match self.rng.below(20) {
                0..=8 => Some(Next::Wait),
                9..=13 => Some(Next::Again),
                14..=17 => Some(Next::Pause),
                18 => Some(Next::Done),
                _ => None,
            },
        }
    }

    fn call_reads(&mut self, id: usize, done: &mut Done) {
        let fd = self.sources[id].fd;
        for _ in 0..self.rounds() {
            let len = self.rng.upto(8);
            let listens =
                matches!(self.kernel.object(self.sources[id].file), Object::Listener { .. });
            let result = if listens { self.accept(fd) } else { self.kernel.read(fd, len) };
            self.say(|| format!("callback {id} reads: {result:?}"));
            match result {
                Ok(n) if n > 0 || listens => done.progress = true,
                Err(Errno::Again) => {
                    done.blocked |= IN | RDHUP | PRI | HUP;
                    return;
                }
                Err(Errno::TooMany) => {
                    done.full = true;
                    return;
                }
                Ok(_) | Err(_) => {
                    done.end = true;
                    return;
                }
            }
        }
    }

    fn call_writes(&mut self, id: usize, done: &mut Done) {
        for _ in 0..self.rounds() {
            let left = self.sources[id].to_write;
            if left == 0 {
                let wanted = self.sources[id].interest.without(Interest::WRITABLE);
                if self.sources[id].live && (self.calm || self.rng.chance(50)) {
                    self.set_interest(id, wanted);
                }
                return;
            }
            let len = self.rng.upto(left.min(40));
            let result = self.kernel.write(self.sources[id].fd, len);
            self.say(|| format!("callback {id} writes: {result:?}"));
            match result {
                Ok(n) => {
                    self.sources[id].to_write -= n.min(left);
                    done.progress = true;
                }
                Err(Errno::Again) => {
                    done.blocked |= OUT;
                    return;
                }
                Err(_) => {
                    done.end = true;
                    return;
                }
            }
        }
    }

    // Tasks.

    /// Polls a task; true if it has ended.
    pub fn poll(&mut self, id: usize) -> bool {
        self.perhaps_meddle(10);
        if let Some((key, stall)) = self.tasks[id].sleep {
            if !self.timers.contains(key) {
                self.tasks[id].sleep = None;
            } else if stall {
                return false;
            } else {
                self.tasks[id].sleep = None;
                self.cancel_timer(key);
            }
        }
        let Task { role, io, .. } = self.tasks[id];
        match (role, io) {
            (Role::Yielder(0) | Role::Sleeper(0), _) => true,
            (Role::Yielder(left), _) => {
                self.tasks[id].role = Role::Yielder(left - 1);
                self.wake(id);
                false
            }
            (Role::Sleeper(left), _) => {
                self.tasks[id].role = Role::Sleeper(left - 1);
                let deadline_us = self.some_time();
                self.sleep(id, deadline_us, true);
                false
            }
            (Role::Watcher(side), Some(io)) => self.io_park(id, io, side) != Parked::Waits,
            (Role::WatchesBoth, Some(io)) => {
                self.io_park(id, io, Side::HungUp) != Parked::Waits
                    || self.io_park(id, io, Side::Closed) != Parked::Waits
            }
            (Role::Poller(side), Some(io)) => self.poll_tries(id, io, side),
            (Role::Reader | Role::Writer(_) | Role::Acceptor, Some(io)) => self.poll_works(id, io),
            (_, None) => panic!("{role:?} has no source"),
        }
    }

    /// Reads, writes or accepts until there is nothing left to do or to try.
    fn poll_works(&mut self, id: usize, io: usize) -> bool {
        let side = match self.tasks[id].role {
            Role::Writer(_) => Side::Write,
            _ => Side::Read,
        };
        for round in 0.. {
            if let Some(done) = self.poll_stops(id, round) {
                return done;
            }
            match self.poll_once(id, io) {
                Some(Err(Errno::Again)) => return self.poll_waits(id, io, side),
                Some(Err(Errno::TooMany)) => {
                    self.seen.too_many += 1;
                    let deadline_us = self.now_us + 10_000;
                    self.sleep(id, deadline_us, true);
                    return false;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return true,
            }
        }
        unreachable!("the rounds have no end")
    }

    /// The operation has blocked. True if there is no place to wait in.
    fn poll_waits(&mut self, id: usize, io: usize, side: Side) -> bool {
        match self.io_park(id, io, side) {
            Parked::Waits => {
                if !self.calm && self.rng.chance(10) {
                    let deadline_us = self.some_time();
                    self.sleep(id, deadline_us, false);
                }
                false
            }
            // A hang-up is remembered, and the operation blocks all the same: others first.
            Parked::Ready => {
                self.wake(id);
                false
            }
            Parked::Refused => true,
        }
    }

    /// In chaos a task yields, stalls or ends between two operations.
    fn poll_stops(&mut self, id: usize, round: usize) -> Option<bool> {
        if self.calm {
            return None;
        }
        match self.rng.below(30) {
            0 => {
                let deadline_us = self.some_time();
                self.sleep(id, deadline_us, true);
                Some(false)
            }
            1 => Some(true),
            2 | 3 => {
                self.wake(id);
                Some(false)
            }
            _ if round > ROUNDS => {
                self.wake(id);
                Some(false)
            }
            _ => None,
        }
    }

    /// One operation; `None` if there is no further one.
    fn poll_once(&mut self, id: usize, io: usize) -> Option<Result<usize, Errno>> {
        match self.tasks[id].role {
            Role::Acceptor => {
                let accepted = self
                    .io_try(io, Side::Read, |kernel, fd| kernel.accept(fd).map(|fd| fd as usize));
                if let Ok(fd) = accepted {
                    self.serve(fd as i32, Kind::Tcp);
                }
                Some(accepted)
            }
            Role::Writer(0) => None,
            Role::Writer(left) => {
                let len = self.rng.upto(left.min(40));
                let n = self.io_try(io, Side::Write, |kernel, fd| kernel.write(fd, len));
                if let Ok(n) = n {
                    self.tasks[id].role = Role::Writer(left - n.min(left));
                    if n < len {
                        self.io_short(io, Side::Write);
                    }
                }
                Some(n)
            }
            _ => {
                let len = self.rng.upto(20);
                let n = self.io_try(io, Side::Read, |kernel, fd| kernel.read(fd, len));
                match n {
                    Ok(0) => return None,
                    Ok(n) if n < len => self.io_short(io, Side::Read),
                    Ok(_) | Err(_) => {}
                }
                Some(n)
            }
        }
    }

    /// Tries without ever waiting: what is there must come, or be on its way.
    fn poll_tries(&mut self, id: usize, io: usize, side: Side) -> bool {
        let Waited { fd, tcp, .. } = self.ios[io];
        let len = self.rng.upto(20);
        let result = match side {
            Side::Write => self.io_try(io, side, |kernel, fd| kernel.write(fd, len)),
            _ => self.io_try(io, side, |kernel, fd| kernel.read(fd, len)),
        };
        match result {
            Ok(0) => return true,
            Ok(n) if n < len && tcp => self.io_short(io, side),
            Ok(_) => {}
            Err(Errno::Again) => {
                let bits = if side == Side::Write { OUT } else { IN };
                let there = self.kernel.mask(fd) & bits != 0 && !self.kernel.is_pending(fd);
                assert!(!there, "law 3: {side:?} of io {io} is there, and is refused for ever");
            }
            Err(_) => return true,
        }
        if self.calm {
            return true;
        }
        let deadline_us = self.some_time();
        self.sleep(id, deadline_us, true);
        false
    }

    fn rounds(&mut self) -> usize {
        if self.calm { usize::MAX } else { self.rng.upto(ROUNDS) }
    }
}

/// What a callback came to.
#[derive(Debug, Default)]
struct Done {
    blocked: u32,
    progress: bool,
    end: bool,
    /// EMFILE.
    full: bool,
}
