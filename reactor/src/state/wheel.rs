//! Timers: a wheel of six levels with 64 slots.
//!
//! The level comes from the highest bit in which deadline and now differ, so insert, reset and
//! cancel touch one slot. Where a timer lies depends on its deadline and on the wheel's time alone:
//! equal deadlines always share a list, each list keeps the order of insertion, and so do the
//! cascades. What lies beyond the six levels (2.2 years of milliseconds) waits in a list of its own.
//!
//! Before the loop sleeps it asks for the exact minimum of the first occupied slot: an idle loop
//! wakes once, not once per level (law 8). There is no clock here; the caller says what time it is,
//! in ticks (`clock` says what one is), and gets back the number it gave. Next: `tasks`.

use std::cell::Cell;
use std::fmt;
use std::iter::successors;
use std::num::NonZeroU32;

/// Timers in order of deadline, then of insertion.
pub struct Wheel {
    now_tick: u64,
    entries: Vec<Entry>,
    first_free: u32,
    len: usize,
    occupied: [u64; LEVELS],
    lists: [List; LISTS],
    /// The earliest deadline of all, where a search has found it; else 0.
    nearest_tick: Cell<u64>,
}

/// Names a timer; once the timer has fired or was cancelled the key means nothing, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    slot: u32,
    serial: NonZeroU32,
}

impl Wheel {
    /// An empty wheel at tick 0.
    pub fn new() -> Self {
        Self {
            now_tick: 0,
            entries: Vec::new(),
            first_free: NIL,
            len: 0,
            occupied: [0; LEVELS],
            lists: [EMPTY; LISTS],
            nearest_tick: Cell::new(0),
        }
    }

    /// Adds a timer behind those with the same deadline. A deadline that has passed counts as the
    /// tick of the last [`advance`](Self::advance), and is due at the next one.
    ///
    /// # Panics
    /// With 2^32 timers, which take 128 GiB.
    pub fn insert(&mut self, deadline_tick: u64, target: u64) -> TimerKey {
        let slot = self.take_entry(target);
        self.len += 1;
        self.place(slot, deadline_tick);
        self.key(slot)
    }

    /// Takes a timer out and gives its target back; `None` if it has fired or was cancelled.
    pub fn cancel(&mut self, key: TimerKey) -> Option<u64> {
        let slot = self.live(key)?;
        self.unlink(slot);
        Some(self.free_entry(slot))
    }

    /// Moves a timer behind those with the deadline `deadline_tick`, also one that is due and not
    /// yet popped; false if it has fired or was cancelled.
    pub fn reset(&mut self, key: TimerKey, deadline_tick: u64) -> bool {
        let Some(slot) = self.live(key) else { return false };
        self.unlink(slot);
        self.place(slot, deadline_tick);
        true
    }

    /// Forgets every timer. Their keys mean nothing afterwards, as if each had been cancelled.
    pub fn clear(&mut self) {
        for list in 0..LISTS {
            let mut slot = self.take_list(list);
            while slot != NIL {
                let next = self.entry(slot).next;
                self.free_entry(slot);
                slot = next;
            }
        }
        self.nearest_tick.set(0);
    }

    /// Sets aside everything that is due at `now_tick`, for [`pop_due`](Self::pop_due). What is
    /// inserted afterwards waits for the next call: a timer that sets itself again at once cannot
    /// hold the turn (law 7). A time before the last one counts as the last one.
    ///
    /// A timer moves at most once per level, and bitmaps skip what is empty: a jump over years
    /// costs no more than the timers on its way.
    pub fn advance(&mut self, now_tick: u64) {
        let now_tick = now_tick.max(self.now_tick);
        while let Some(list) = self.first_slot()
            && self.start_tick(list) <= now_tick
        {
            self.now_tick = self.start_tick(list);
            self.empty_slot(list);
        }
        let from_tick = std::mem::replace(&mut self.now_tick, now_tick);
        if from_tick >> SPAN_BITS != now_tick >> SPAN_BITS {
            self.admit_overflow();
        }
    }

    /// Takes the first of the timers set aside.
    pub fn pop_due(&mut self) -> Option<(TimerKey, u64)> {
        let slot = self.has_due().then_some(self.lists[DUE].head)?;
        let key = self.key(slot);
        self.unlink(slot);
        Some((key, self.free_entry(slot)))
    }

    /// Whether timers are set aside.
    pub fn has_due(&self) -> bool {
        self.lists[DUE].head != NIL
    }

    /// The earliest deadline of all, exactly: one look at a list's head while deadlines arrive in
    /// order, as equal timeouts do; else a search of the slot, once until its earliest timer goes.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.has_due() {
            return self.earliest_of(DUE);
        }
        if self.nearest_tick.get() == 0 {
            self.nearest_tick.set(self.earliest_of(self.first_slot().unwrap_or(OVERFLOW))?);
        }
        Some(self.nearest_tick.get())
    }

    /// When a timer is due; `None` if it has fired or was cancelled.
    pub fn deadline(&self, key: TimerKey) -> Option<u64> {
        self.live(key).map(|slot| self.entry(slot).deadline_tick)
    }

    /// When each timer is due, in no order: one look at every timer, for a snapshot.
    pub fn deadlines(&self) -> impl Iterator<Item = u64> {
        let entry = |slot: u32| self.entries.get(slot as usize);
        let list = move |list: &List| successors(entry(list.head), move |e| entry(e.next));
        self.lists.iter().flat_map(list).map(|entry| entry.deadline_tick)
    }

    /// How many timers there are, those set aside included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no timers.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Empties the first occupied slot, at whose start the wheel stands: into the due list from
    /// level 0, else into lower levels.
    fn empty_slot(&mut self, list: usize) {
        let mut slot = self.take_list(list);
        while slot != NIL {
            let Entry { deadline_tick, next, .. } = *self.entry(slot);
            debug_assert!(list >= SLOTS || deadline_tick == self.now_tick);
            let to = if list < SLOTS { DUE } else { self.list_for(deadline_tick) };
            self.append(to, slot);
            slot = next;
        }
    }

    /// Lets in what the six levels reach now that time has left their span. It happens every 2^36
    /// ticks (2.2 years, or 8 days of fine ones), so it may sort.
    fn admit_overflow(&mut self) {
        let mut due = Vec::new();
        let mut slot = self.take_list(OVERFLOW);
        while slot != NIL {
            let Entry { next, deadline_tick, .. } = *self.entry(slot);
            if deadline_tick <= self.now_tick {
                due.push(slot);
            } else {
                self.append(self.list_for(deadline_tick), slot);
            }
            slot = next;
        }
        due.sort_by_key(|slot| self.entry(*slot).deadline_tick); // stable: insertion order stays
        for slot in due {
            self.append(DUE, slot);
        }
    }

    fn place(&mut self, slot: u32, deadline_tick: u64) {
        let deadline_tick = deadline_tick.max(self.now_tick);
        self.entry_mut(slot).deadline_tick = deadline_tick;
        self.nearest_tick.set(self.nearest_tick.get().min(deadline_tick)); // 0 stays
        self.append(self.list_for(deadline_tick), slot);
    }

    /// Where a deadline belongs. Bits above the first difference are those of now, so a lower
    /// level is wholly earlier than a higher one, and a slot than those to its right.
    fn list_for(&self, deadline_tick: u64) -> usize {
        let differ = (deadline_tick ^ self.now_tick) | (SLOTS as u64 - 1);
        let level = differ.ilog2() as usize / SLOT_BITS;
        let index = (deadline_tick >> (SLOT_BITS * level)) as usize % SLOTS;
        if level < LEVELS { level * SLOTS + index } else { OVERFLOW }
    }

    /// The list of the first occupied slot.
    fn first_slot(&self) -> Option<usize> {
        let level = self.occupied.iter().position(|occupied| *occupied != 0)?;
        Some(level * SLOTS + self.occupied[level].trailing_zeros() as usize)
    }

    /// The first tick of a slot: now's bits above the level, the slot's own, zeros below.
    fn start_tick(&self, list: usize) -> u64 {
        let (shift, index) = (SLOT_BITS * (list / SLOTS), (list % SLOTS) as u64);
        let above = self.now_tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        above | (index << shift)
    }

    fn earliest_of(&self, list: usize) -> Option<u64> {
        let List { head, sorted, .. } = self.lists[list];
        let mut earliest_tick = self.entries.get(head as usize)?.deadline_tick;
        let mut slot = head;
        while !sorted && slot != NIL {
            earliest_tick = earliest_tick.min(self.entry(slot).deadline_tick);
            slot = self.entry(slot).next;
        }
        Some(earliest_tick)
    }

    fn append(&mut self, list: usize, slot: u32) {
        let List { tail, .. } = self.lists[list];
        let deadline_tick = self.entry(slot).deadline_tick;
        if tail == NIL {
            self.lists[list] = List { head: slot, tail: slot, sorted: true };
            self.mark(list, true);
        } else {
            self.entry_mut(tail).next = slot;
            self.lists[list].tail = slot;
            self.lists[list].sorted &= self.entry(tail).deadline_tick <= deadline_tick;
        }
        let entry = self.entry_mut(slot);
        (entry.prev, entry.next, entry.list) = (tail, NIL, list as u16);
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { prev, next, list, deadline_tick, .. } = *self.entry(slot);
        let list = usize::from(list);
        if self.nearest_tick.get() == deadline_tick {
            self.nearest_tick.set(0);
        }
        match prev {
            NIL => self.lists[list].head = next,
            prev => self.entry_mut(prev).next = next,
        }
        match next {
            NIL => self.lists[list].tail = prev,
            next => self.entry_mut(next).prev = prev,
        }
        if prev == NIL && next == NIL {
            self.mark(list, false);
        }
    }

    fn mark(&mut self, list: usize, occupied: bool) {
        if list < OVERFLOW {
            let (level, bit) = (&mut self.occupied[list / SLOTS], 1 << (list % SLOTS));
            *level = if occupied { *level | bit } else { *level & !bit };
        }
    }

    /// Empties a list and gives its head; the entries keep their `next`.
    fn take_list(&mut self, list: usize) -> u32 {
        self.mark(list, false);
        std::mem::replace(&mut self.lists[list], EMPTY).head
    }

    fn take_entry(&mut self, target: u64) -> u32 {
        if self.first_free != NIL {
            let slot = self.first_free;
            let entry = &mut self.entries[slot as usize];
            (self.first_free, entry.target) = (entry.next, target);
            return slot;
        }
        let slot = u32::try_from(self.entries.len()).expect("a slot number has 32 bits");
        let (prev, next, serial) = (NIL, NIL, 1);
        self.entries.push(Entry { deadline_tick: 0, target, prev, next, serial, list: 0 });
        slot
    }

    fn free_entry(&mut self, slot: u32) -> u64 {
        self.len -= 1;
        let entry = &mut self.entries[slot as usize];
        (entry.serial, entry.next) = (entry.serial.wrapping_add(1), self.first_free);
        if entry.serial != 0 {
            self.first_free = slot;
        }
        entry.target
    }

    fn live(&self, key: TimerKey) -> Option<u32> {
        // A free place has the serial of its next timer, which no key carries yet.
        let entry = self.entries.get(key.slot as usize)?;
        (entry.serial == key.serial.get()).then_some(key.slot)
    }

    fn key(&self, slot: u32) -> TimerKey {
        let serial = NonZeroU32::new(self.entry(slot).serial);
        TimerKey { slot, serial: serial.expect("a place with serial 0 holds no timer") }
    }

    fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize]
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.entries[slot as usize]
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now_tick, len, .. } = self;
        write!(f, "Wheel {{ now_tick: {now_tick}, len: {len}, next: {:?} }}", self.next_deadline())
    }
}

const SLOT_BITS: usize = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
const SPAN_BITS: usize = SLOT_BITS * LEVELS;
/// Behind the lists of the slots: what lies beyond them, and what is set aside.
const OVERFLOW: usize = LEVELS * SLOTS;
const DUE: usize = OVERFLOW + 1;
const LISTS: usize = DUE + 1;
/// No entry.
const NIL: u32 = u32::MAX;

const _: () = assert!(size_of::<Entry>() <= 40);
const _: () = assert!(size_of::<Option<TimerKey>>() == 8);

/// A timer, or a free place: then `next` is the next free one.
struct Entry {
    deadline_tick: u64,
    target: u64,
    prev: u32,
    next: u32,
    /// Counts the timers that this place has held. 0: it has held 2^32, and holds no more.
    serial: u32,
    list: u16,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    /// Whether the deadlines stand in order, so that the head is the earliest.
    sorted: bool,
}

const EMPTY: List = List { head: NIL, tail: NIL, sorted: true };

#[cfg(test)]
mod tests;
