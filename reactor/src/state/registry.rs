//! The sources: slot, serial, descriptor number, interest, and who is meant (laws 1 and 2).
//!
//! An answer to every question is either about the registration that the token names or nothing: a
//! serial that is not the slot's is stale. What the kernel must be told comes out as an [`Order`];
//! the number in it was read once, when the source was registered. Next: `wheel`.

use std::panic::Location;

use slab::Slab;

use crate::interest::{Interest, Next, Readiness, Trigger};
use crate::state::detector::Detector;
use crate::state::moment::Moment;
use crate::state::readiness::{Do, Machine};
use crate::state::ready::Job;
use crate::state::waiters::{Report, Side, Waiters};
use crate::token::Token;

/// One `epoll_ctl`, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which one.
    pub call: Call,
    /// The descriptor's number.
    pub fd: i32,
    /// What to ask for (not for `Delete`).
    pub interest: Interest,
    /// How to report it (not for `Delete`).
    pub trigger: Trigger,
    /// What the kernel gives back with each event.
    pub token: Token,
}

/// The three calls of epoll_ctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// EPOLL_CTL_ADD.
    Add,
    /// EPOLL_CTL_MOD.
    Modify,
    /// EPOLL_CTL_DEL.
    Delete,
}

/// Who hears of a source.
#[derive(Clone, Copy, Debug)]
pub enum Consumer {
    /// A callback.
    Callback(Machine),
    /// Tasks that wait.
    Tasks(Waiters),
}

/// One registration.
#[derive(Debug)]
pub struct Slot {
    serial: u32,
    /// The descriptor's number, read once.
    pub fd: i32,
    /// What its owner asked for.
    pub interest: Interest,
    /// Whether the kernel knows it; each order says so.
    in_epoll: bool,
    /// Who hears of it.
    pub consumer: Consumer,
    /// Reports, and those without progress.
    pub detector: Detector,
    /// What the kernel said last.
    pub reported: Readiness,
    /// When it said so; before that, when the source was registered.
    pub reported_at: Moment,
    /// Where it was registered.
    pub place: &'static Location<'static>,
}

const _: () = assert!(size_of::<Slot>() <= 64);

/// What is left of a registration that has ended.
#[derive(Debug)]
#[must_use]
pub struct Removed {
    /// EPOLL_CTL_DEL, if the kernel still knows it. It comes before close (law 1).
    pub order: Option<Order>,
    /// Who waited: their wakers are no longer needed.
    pub waiters: Vec<Job>,
}

/// The sources of a reactor.
#[derive(Debug, Default)]
pub struct Registry {
    slots: Slab<Slot>,
    /// Second and further waiters of one side; nearly always empty.
    crowd: Vec<(Token, Side, Job)>,
}

impl Registry {
    /// A new registration; [`Slot::enter`] makes it known to the kernel.
    pub fn insert(
        &mut self,
        serial: u32,
        fd: i32,
        interest: Interest,
        consumer: Consumer,
        place: &'static Location<'static>,
        now: Moment,
    ) -> Token {
        let slot = Slot {
            serial,
            fd,
            interest,
            in_epoll: false,
            consumer,
            detector: Detector::default(),
            reported: Readiness::NONE,
            reported_at: now,
            place,
        };
        Token { slot: self.slots.insert(slot) as u32, serial }
    }

    /// Ends a registration; `None` if it has ended already.
    pub fn remove(&mut self, token: Token) -> Option<Removed> {
        let slot = self.get_mut(token)?;
        let order = slot.leave(token);
        let mut waiters = Vec::new();
        if let Consumer::Tasks(tasks) = &slot.consumer {
            let first = crate::state::waiters::SIDES.map(|side| tasks.first(side));
            waiters.extend(first.into_iter().filter(|job| *job != Job::NOBODY));
            if tasks.crowded {
                self.crowd.retain(|(owner, _, job)| {
                    if *owner == token {
                        waiters.push(*job);
                    }
                    *owner != token
                });
            }
        }
        self.slots.remove(token.index());
        Some(Removed { order, waiters })
    }

    /// The registration that `token` names.
    pub fn get(&self, token: Token) -> Option<&Slot> {
        self.slots.get(token.index()).filter(|slot| slot.serial == token.serial)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Slot> {
        self.slots.get_mut(token.index()).filter(|slot| slot.serial == token.serial)
    }

    /// Every registration.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &Slot)> {
        self.slots
            .iter()
            .map(|(index, slot)| (Token { slot: index as u32, serial: slot.serial }, slot))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot number that the next registration will get.
    pub fn vacant(&self) -> usize {
        self.slots.vacant_key()
    }

    /// A report for tasks; the second waiters of a side go into `wake`.
    pub fn report_to_tasks(
        &mut self,
        token: Token,
        report: Readiness,
        mut wake: impl FnMut(Job),
    ) -> Option<Report> {
        let Consumer::Tasks(waiters) = &mut self.get_mut(token)?.consumer else { return None };
        let answer = waiters.report(report);
        if waiters.crowded {
            self.crowd.retain(|(owner, side, job)| {
                let woken = *owner == token && side.is_ready(report);
                if woken {
                    wake(*job);
                }
                !woken
            });
            let crowded = self.crowd.iter().any(|(owner, ..)| *owner == token);
            if let Some(Slot { consumer: Consumer::Tasks(waiters), .. }) = self.get_mut(token) {
                waiters.crowded = crowded;
            }
        }
        Some(answer)
    }

    /// `job` waits for `side`: both stand there if somebody does already (law 3). Who is the first
    /// to wait for room to write brings OUT into the interest, by a MOD that reports afresh.
    pub fn wait(&mut self, token: Token, side: Side, job: Job) -> Option<Order> {
        let slot = self.get_mut(token)?;
        let Consumer::Tasks(waiters) = &mut slot.consumer else { return None };
        let (first, crowded) = (waiters.wait(side, job), waiters.crowded);
        waiters.crowded |= !first;
        let held = waiters.is_held();
        let widen = side == Side::Write && !slot.interest.contains(Interest::WRITABLE);
        if widen {
            slot.interest = slot.interest | Interest::WRITABLE;
        }
        let outside = !slot.in_epoll;
        let order = if (widen || outside) && !held { slot.enter(token) } else { None };
        if crowded {
            self.crowd.retain(|entry| *entry != (token, side, job));
        }
        if !first {
            self.crowd.push((token, side, job));
        }
        order
    }

    /// Who waits for `side`, the first one first.
    pub fn standing(&self, token: Token, side: Side) -> impl Iterator<Item = Job> {
        let waiters = match self.get(token).map(|slot| &slot.consumer) {
            Some(Consumer::Tasks(waiters)) => Some(waiters),
            _ => None,
        };
        let crowded = waiters.is_some_and(|waiters| waiters.crowded);
        let crowd = self.crowd.iter().filter(move |(owner, at, _)| (*owner, *at) == (token, side));
        let crowd = crowd.take(if crowded { usize::MAX } else { 0 }).map(|(.., job)| *job);
        waiters.map(|waiters| waiters.first(side)).into_iter().chain(crowd)
    }

    /// Forgets everything but the registrations in `kept`.
    pub fn clear_but(&mut self, kept: &[Token]) {
        self.slots.retain(|index, slot| {
            kept.contains(&Token { slot: index as u32, serial: slot.serial })
        });
        self.crowd.clear();
    }
}

impl Slot {
    /// The call about this registration, complete.
    pub fn order(&self, call: Call, token: Token) -> Order {
        Order { call, fd: self.fd, interest: self.interest, trigger: self.trigger(), token }
    }

    /// Tells the kernel what is asked for now: ADD or MOD, either of which reports afresh and arms
    /// a oneshot. Nothing if nothing is asked for.
    pub fn enter(&mut self, token: Token) -> Option<Order> {
        if self.interest.is_none() {
            return None;
        }
        let known = std::mem::replace(&mut self.in_epoll, true);
        Some(self.order(if known { Call::Modify } else { Call::Add }, token))
    }

    /// Tells the kernel to forget it: DEL, if the kernel knows it.
    pub fn leave(&mut self, token: Token) -> Option<Order> {
        let known = std::mem::replace(&mut self.in_epoll, false);
        known.then(|| self.order(Call::Delete, token))
    }

    /// The kernel does not know it: it refused to take it in, or the epoll is a fresh one.
    pub fn stands_outside(&mut self) {
        self.in_epoll = false;
    }

    /// How it is reported.
    pub fn trigger(&self) -> Trigger {
        match &self.consumer {
            Consumer::Callback(machine) => machine.trigger(),
            Consumer::Tasks(_) => Trigger::Edge,
        }
    }

    /// True if the kernel knows the registration.
    pub fn is_in_epoll(&self) -> bool {
        self.in_epoll
    }

    /// True if the kernel will report `side`: to who tries without waiting, what was seen to block
    /// would else seem to block for ever (law 3).
    pub fn hears(&self, side: Side) -> bool {
        let asked = match side {
            Side::Read => Interest::READABLE,
            Side::Write => Interest::WRITABLE,
            Side::Closed | Side::HungUp => Interest::NONE,
        };
        self.is_in_epoll() && self.interest.contains(asked)
    }

    /// The callback's machine.
    pub fn machine(&mut self) -> Option<&mut Machine> {
        match &mut self.consumer {
            Consumer::Callback(machine) => Some(machine),
            Consumer::Tasks(_) => None,
        }
    }

    /// Changes the interest. No interest means out of the epoll, because a mask of 0 still reports
    /// a hang-up for ever (law 4).
    pub fn set_interest(&mut self, interest: Interest, token: Token) -> Option<Order> {
        let old = std::mem::replace(&mut self.interest, interest);
        if old == interest {
            return None;
        }
        let silent = match &mut self.consumer {
            Consumer::Callback(machine) => {
                machine.forget(interest);
                machine.is_silent()
            }
            Consumer::Tasks(waiters) => waiters.is_held(),
        };
        match interest.is_none() {
            true => self.leave(token),
            // An order would report it, or arm it: the one that ends the silence carries this.
            false if silent => None,
            false => self.enter(token),
        }
    }

    /// What a machine's word means to the kernel; `Queue` and `Nothing` mean nothing to it.
    pub fn order_for(&mut self, todo: Do, token: Token) -> Option<Order> {
        match todo {
            Do::Mask => self.leave(token),
            Do::Unmask | Do::Rearm => self.enter(token),
            Do::Nothing | Do::Queue | Do::Remove => None,
        }
    }

    /// The callback's answer goes into its machine.
    pub fn answer(&mut self, next: Next) -> Do {
        self.machine().map_or(Do::Nothing, |machine| machine.answer(next))
    }
}
