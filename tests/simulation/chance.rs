//! What else may happen: who comes, peers, other processes, the clock, and words of the owners.
//!
//! Peers write, stall, close, half-close, reset and urge; descriptors are duplicated, here and in
//! children; events are made up, and data is gone before its reader comes. Next: `main`.

use std::collections::VecDeque;

use squall_reactor::state::ready::Job;
use squall_reactor::{Interest, Readiness, Side, Token, Trigger};

use crate::model::{Errno, Object};
use crate::owners::Role;
use crate::shell::{Closure, Waited, World};
use crate::stream::{Family, Stream};

/// What a descriptor is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Unix,
    Listener,
    Counter,
}

const DAY_US: u64 = 86_400_000_000;

impl World {
    pub fn run_closure(&mut self, closure: Closure) {
        match closure {
            Closure::Meddle => self.perhaps_meddle(100),
            Closure::Resume(source) if self.sources[source].live => self.resume(source),
            Closure::Resume(_) => {}
        }
    }

    /// Between the kernel's report and the callbacks: others are quicker, and events cross.
    pub fn disturb(&mut self) {
        if self.calm {
            return;
        }
        if self.rng.chance(10) {
            let files = self.kernel.open_files();
            if let Some(file) = self.one_of(&files) {
                let len = self.rng.upto(30);
                let taken = self.kernel.read_file(file, len);
                self.say(|| format!("another process reads {file}: {taken:?}"));
            }
        }
        let readiness = self.rng.pick(&[Readiness::READ, Readiness::WRITE]);
        if self.rng.chance(10)
            && let Some(token) = self.one_of(&self.ended.clone())
        {
            self.check_late_use(token);
            self.event(token, readiness);
        }
        if self.rng.chance(10) {
            // Not of a oneshot: the kernel would have disarmed it.
            let known: Vec<Token> = (self.sources.iter())
                .filter(|source| source.live && !source.interest.is_none() && !source.paused)
                .filter(|source| source.trigger != Trigger::Oneshot)
                .map(|source| source.token)
                .chain(self.ios.iter().filter_map(|io| io.token))
                .collect();
            if let Some(token) = self.one_of(&known) {
                self.event(token, readiness);
            }
        }
    }

    /// With a chance in a hundred, somebody does something.
    pub fn perhaps_meddle(&mut self, percent: usize) {
        if self.calm || !self.rng.chance(percent) {
            return;
        }
        let sources: Vec<usize> =
            (0..self.sources.len()).filter(|id| self.sources[*id].open).collect();
        let source = self.one_of(&sources);
        let task = self.rng.below(self.tasks.len());
        match (self.rng.below(24), source) {
            (0..=3, Some(id)) => {
                let interest = self.some_interest();
                self.set_interest(id, interest);
            }
            (4..=6, Some(id)) => self.resume(id),
            (7, Some(id)) => {
                if !self.sources[id].leaving {
                    self.drop_source(id);
                }
            }
            (8, _) if !self.tasks.is_empty() => self.cancel(task),
            (9 | 10, _) if !self.tasks.is_empty() => self.wake(task),
            (11, _) => self.come(),
            (12, _) => {
                let deadline_us = self.some_time();
                self.add_closure(deadline_us, Closure::Meddle);
            }
            (13, _) => self.change_timer(),
            (14, _) => self.pass_time(),
            (15, _) => self.copy(),
            _ => self.peer_acts(),
        }
    }

    /// Somebody new: a source with a callback, or with tasks, or a task alone.
    pub fn come(&mut self) {
        let kind =
            self.rng.pick(&[Kind::Tcp, Kind::Tcp, Kind::Unix, Kind::Listener, Kind::Counter]);
        let room = self.rng.pick(&[12, 60, 1000]);
        let object = match kind {
            Kind::Tcp => Object::Stream(Stream::new(Family::Tcp, room)),
            Kind::Unix => Object::Stream(Stream::new(Family::Unix, room)),
            Kind::Listener => Object::Listener { queue: VecDeque::new(), backlog: 3 },
            Kind::Counter => Object::Counter(self.rng.pick(&[0, 1, u64::MAX - 1])),
        };
        if self.rng.chance(15) {
            let role = if self.rng.chance(50) {
                Role::Sleeper(self.rng.upto(3))
            } else {
                Role::Yielder(3)
            };
            self.spawn(role, None);
            return;
        }
        match self.kernel.open(object) {
            Ok(fd) => self.serve(fd, kind),
            Err(_) => self.seen.too_many += 1,
        }
    }

    /// Somebody looks after a descriptor.
    pub fn serve(&mut self, fd: i32, kind: Kind) {
        self.seen.reused += usize::from(self.sources.iter().any(|source| source.fd == fd));
        if self.rng.chance(50) {
            let trigger = self.rng.pick(&[Trigger::Edge, Trigger::Level, Trigger::Oneshot]);
            let interest = match kind {
                Kind::Listener => Interest::READABLE,
                _ => self.some_interest(),
            };
            let to_write = self.rng.below(100);
            self.register(fd, interest, trigger, to_write);
            return;
        }
        let interest = match kind {
            Kind::Tcp => Interest::BOTH | Interest::PRIORITY,
            Kind::Unix => self.rng.pick(&[Interest::BOTH, Interest::BOTH, Interest::WRITABLE]),
            Kind::Counter => Interest::BOTH,
            Kind::Listener => Interest::READABLE,
        };
        let io = self.ios.len();
        let tcp = kind == Kind::Tcp;
        self.ios.push(Waited {
            fd,
            tcp,
            interest,
            token: None,
            disproved: Readiness::NONE,
            holders: 0,
            unheard: 0,
            abandoned: [0; 3],
            urgent_taken: false,
        });
        for _ in 0..self.rng.upto(3) {
            let role = match kind {
                Kind::Listener => Role::Acceptor,
                _ => self.some_role(interest),
            };
            self.spawn(role, Some(io));
        }
    }

    pub fn accept(&mut self, fd: i32) -> Result<usize, Errno> {
        let accepted = self.kernel.accept(fd);
        match accepted {
            Ok(fd) => self.serve(fd, Kind::Tcp),
            Err(Errno::TooMany) => self.seen.too_many += 1,
            Err(_) => {}
        }
        accepted.map(|fd| fd as usize)
    }

    fn some_role(&mut self, interest: Interest) -> Role {
        let side = self.rng.pick(&[Side::Closed, Side::HungUp]);
        let left = self.rng.upto(200);
        match self.rng.below(10) {
            0..=3 if interest.contains(Interest::READABLE) => Role::Reader,
            4 if interest.contains(Interest::READABLE) => Role::Poller(Side::Read),
            5 => Role::Poller(Side::Write),
            6 => Role::Watcher(side),
            7 if self.rng.chance(50) => Role::WatchesBoth,
            _ => Role::Writer(left),
        }
    }

    fn some_interest(&mut self) -> Interest {
        self.rng.pick(&[
            Interest::NONE,
            Interest::READABLE,
            Interest::READABLE,
            Interest::WRITABLE,
            Interest::BOTH,
            Interest::READABLE | Interest::PRIORITY,
        ])
    }

    /// A deadline: past, soon, or far away.
    pub fn some_time(&mut self) -> u64 {
        let soon = self.rng.below(70_000) as u64;
        match self.rng.below(20) {
            0 => self.now_us.saturating_sub(soon),
            1..=3 => self.now_us,
            4 => self.now_us + self.rng.below(1000) as u64 * DAY_US,
            5..=7 => self.now_us + soon * 1000,
            _ => self.now_us + soon,
        }
    }

    /// The clock stands still, goes on, or jumps.
    pub fn pass_time(&mut self) {
        self.now_us += match self.rng.below(10) {
            0 | 1 => 0,
            2 => self.rng.below(100_000_000) as u64,
            3 => self.rng.below(5) as u64 * 400 * DAY_US,
            _ => self.rng.below(5_000) as u64,
        };
    }

    fn change_timer(&mut self) {
        // Closures alone: a task's timer is the task's.
        let mine: Vec<_> =
            self.timers.iter().filter(|timer| is_closure(timer.job)).copied().collect();
        let Some(timer) = self.one_of(&mine) else { return };
        if self.rng.chance(50) {
            self.cancel_timer(timer.key);
            self.cancel_timer(timer.key);
        } else {
            let deadline_us = self.some_time();
            self.reset_timer(timer.key, deadline_us);
        }
    }

    /// Duplicates come and go, here and in children.
    fn copy(&mut self) {
        let sources = self.sources.iter().filter(|source| source.open).map(|source| source.fd);
        let ios = self.ios.iter().filter(|io| io.holders > 0).map(|io| io.fd);
        let open: Vec<i32> = sources.chain(ios).collect();
        match self.rng.below(6) {
            0..=2 => {
                let Some(fd) = self.one_of(&open) else { return };
                let Ok(copy) = self.kernel.dup(fd) else { return };
                self.say(|| format!("dup {fd} = {copy}"));
                let file = self.kernel.file(copy).expect("just made");
                let listens = matches!(self.kernel.object(file), Object::Listener { .. });
                match self.rng.chance(40) && !listens {
                    true => self.serve(copy, Kind::Unix),
                    false => self.copies.push(copy),
                }
            }
            3 if self.kernel.children() < 2 => self.kernel.fork(),
            4 => self.kernel.reap(0),
            _ => {
                if let Some(copy) = self.copies.pop() {
                    self.kernel.close(copy).expect("a copy closes once");
                }
            }
        }
    }

    /// The other end of some description does something.
    pub fn peer_acts(&mut self) {
        let files = self.kernel.open_files();
        let Some(file) = self.one_of(&files) else { return };
        let len = self.rng.upto(20);
        let choice = self.rng.below(40);
        self.say(|| format!("the peer of {file} does {choice}, {len}"));
        match (self.kernel.object(file), choice) {
            (Object::Listener { .. }, _) => {
                let room = self.rng.pick(&[12, 60, 1000]);
                self.kernel.connect(file, Family::Tcp, room);
            }
            (Object::Counter(_), 0..=19) => drop(self.kernel.write_file(file, len)),
            (Object::Counter(_), _) => drop(self.kernel.read_file(file, 8)),
            (Object::Stream(_), 0..=17) => self.kernel.change(file, |s| s.peer_writes(len)),
            (Object::Stream(_), 18..=21) => self.kernel.change(file, Stream::peer_urges),
            (Object::Stream(_), 22..=31) => self.kernel.change(file, |s| s.peer_reads(len)),
            (Object::Stream(_), 32..=34) => self.kernel.change(file, Stream::peer_finishes),
            (Object::Stream(_), 35 | 36) => self.kernel.change(file, Stream::peer_closes),
            (Object::Stream(_), 37) => self.kernel.change(file, Stream::peer_resets),
            (Object::Stream(_), _) => self.kernel.change(file, Stream::shutdown),
        }
    }

    /// A peer that floods one description.
    pub fn peer_floods(&mut self) {
        let files = self.kernel.open_files();
        let Some(file) = self.one_of(&files) else { return };
        for _ in 0..40 {
            if !self.kernel.is_open(file) {
                return;
            }
            self.kernel.change(file, |stream| stream.peer_writes(1));
            self.turn();
        }
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(self.rng.pick(from)) }
    }
}

fn is_closure(job: Job) -> bool {
    job.kind() == squall_reactor::state::ready::Kind::Timer
}
