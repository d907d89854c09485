//! The signal handler, and all that it touches.
//!
//! It interrupts anything and may do next to nothing (signal-safety(7)), so it works on a fixed
//! table of atomics: a slot for each subscription, with descriptor, mask of signals, pending
//! signals, and one word that holds the owner's generation and the number of handlers inside.
//!
//! Rules, which every function here keeps:
//! 1. A slot is live if its generation is this process's. Zero (free) and any other number (left
//!    by a parent) mean that it may be taken; a handler passes it by.
//! 2. A handler enters a live slot by adding one to its word, and leaves by taking one off. The
//!    owner frees the slot only while nobody is inside: no write ever hits a closed descriptor.
//! 3. Slots and dispositions change only under [`Lock`], which a handler never takes. A child that
//!    was forked while another thread held it takes it all the same: the holder does not exist.
//! 4. `PREVIOUS` is written only while our handler is not installed, so a handler may read it.
//! 5. In a forked child nobody listens for what its parent subscribed to. The handler puts back
//!    what was there before and sends the signal again: the child is not deaf to SIGTERM, and the
//!    parent's eventfd stays untouched (law 6).
//!
//! What is absent: queues (two signals of one kind may be reported once, as signal(7) allows), and
//! the owners of the slots. Next: `signal`.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::fork;
use crate::{Error, Result};

/// A set of signals: bit `number - 1`, as the kernel counts them (1 to 64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    /// The set of these signals.
    ///
    /// # Errors
    /// [`Error::Argument`] for numbers that are none, for SIGKILL and SIGSTOP, which nobody can
    /// catch, and for those of a faulting instruction: it would run again after the handler, and
    /// again, for ever.
    pub(crate) fn new(signals: impl IntoIterator<Item = c_int>) -> Result<Self> {
        let mut set = Self::default();
        for signal in signals {
            match signal {
                libc::SIGKILL | libc::SIGSTOP => {
                    return Err(Error::Argument("nobody can catch SIGKILL and SIGSTOP"));
                }
                libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
                    return Err(Error::Argument(
                        "a fault's signal cannot be handled later: the instruction would fault again",
                    ));
                }
                1..=HIGHEST => set.0 |= bit(signal),
                _ => return Err(Error::Argument("a signal's number is between 1 and 64")),
            }
        }
        Ok(set)
    }

    fn has(self, signal: c_int) -> bool {
        self.0 & bit(signal) != 0
    }
}

impl Iterator for Set {
    type Item = c_int;

    /// Takes the lowest signal out of the set.
    fn next(&mut self) -> Option<c_int> {
        if self.0 == 0 {
            return None;
        }
        let signal = self.0.trailing_zeros() as c_int + 1;
        self.0 &= self.0 - 1;
        Some(signal)
    }
}

/// One owner's part of the table.
#[derive(Debug)]
pub(super) struct Slot {
    /// Generation of the owner (32 bits) | handlers inside (32 bits).
    word: AtomicU64,
    fd: AtomicI32,
    mask: AtomicU64,
    pending: AtomicU64,
}

impl Slot {
    /// Takes a slot that is not live, and installs the handler for each signal in `set`.
    pub(super) fn take(generation: u32, set: Set, fd: RawFd) -> Result<&'static Self> {
        let _lock = Lock::take(generation);
        let free = |slot: &&Self| slot.generation() != generation;
        let slot = TABLE.iter().find(free).ok_or(Error::Argument(
            "too many Signals live at once: let one of them wait for several signals",
        ))?;
        slot.open(generation, set, fd);
        for signal in set {
            if let Err(error) = install(signal, generation) {
                slot.close(generation, set);
                return Err(error);
            }
        }
        Ok(slot)
    }

    /// Frees the slot, and puts back the dispositions that nobody else needs ours for.
    pub(super) fn leave(&self, generation: u32, set: Set) {
        let _lock = Lock::take(generation);
        self.close(generation, set);
    }

    pub(super) fn take_pending(&self) -> Set {
        Set(self.pending.swap(0, Ordering::AcqRel))
    }

    const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            fd: AtomicI32::new(-1),
            mask: AtomicU64::new(0),
            pending: AtomicU64::new(0),
        }
    }

    fn generation(&self) -> u32 {
        owner(self.word.load(Ordering::Acquire))
    }

    fn set(&self) -> Set {
        Set(self.mask.load(Ordering::Acquire))
    }

    /// The word is written last, for it makes the rest visible.
    fn open(&self, generation: u32, set: Set, fd: RawFd) {
        debug_assert_ne!(self.generation(), generation, "the slot is live");
        self.fd.store(fd, Ordering::Relaxed);
        self.pending.store(0, Ordering::Relaxed);
        self.mask.store(set.0, Ordering::Relaxed);
        self.word.store(u64::from(generation) << 32, Ordering::Release);
    }

    fn close(&self, generation: u32, set: Set) {
        self.mask.store(0, Ordering::Release);
        for signal in set {
            let needs = |slot: &Self| slot.generation() == generation && slot.set().has(signal);
            if !TABLE.iter().any(needs) {
                put_back(signal);
            }
        }
        self.free(generation);
    }

    /// Waits until no handler is inside (another thread's; this one's own would run on top of us).
    fn free(&self, generation: u32) {
        let idle = u64::from(generation) << 32;
        while self.word.compare_exchange(idle, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            std::thread::yield_now();
        }
    }

    /// Async-signal-safe.
    fn deliver(&self, here: u32, signal: c_int) {
        if !self.enter(here) {
            return;
        }
        if self.set().has(signal) {
            self.pending.fetch_or(bit(signal), Ordering::Release);
            wake(self.fd.load(Ordering::Acquire));
        }
        self.word.fetch_sub(1, Ordering::Release);
    }

    /// Async-signal-safe.
    fn enter(&self, here: u32) -> bool {
        let mut seen = self.word.load(Ordering::Acquire);
        while here != 0 && owner(seen) == here {
            let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
            match self.word.compare_exchange_weak(seen, seen + 1, order, failed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}

/// Rule 3: the word holds the holder's generation, so that one left by a parent counts as free.
struct Lock;

static LOCK: AtomicU32 = AtomicU32::new(0);

impl Lock {
    fn take(generation: u32) -> Self {
        loop {
            let holder = LOCK.load(Ordering::Relaxed);
            let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
            if holder != generation
                && LOCK.compare_exchange(holder, generation, order, failed).is_ok()
            {
                return Self;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        LOCK.store(0, Ordering::Release);
    }
}

/// Makes our handler the signal's disposition and remembers the one before; under the lock.
fn install(signal: c_int, generation: u32) -> Result<()> {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `current` lives until the call returns; a null second argument only asks.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) };
    if asked != 0 {
        return Err(Error::last_os("sigaction"));
    }
    if !is_ours(&current) {
        // Asked for first and stored before ours is there, for the handler may run at once.
        // SAFETY: rules 3 and 4: the lock is held and our handler is not installed.
        unsafe { *PREVIOUS.0[signal as usize].get() = current };
    }
    INSTALLED[signal as usize].store(generation, Ordering::Release);
    let ours = disposition();
    // SAFETY: `ours` is only read and lives until the call returns; the handler is
    // async-signal-safe and has the signature of one without SA_SIGINFO.
    let set = unsafe { libc::sigaction(signal, ours.as_ptr(), ptr::null_mut()) };
    if set == 0 { Ok(()) } else { Err(Error::last_os("sigaction")) }
}

/// Puts back the disposition before ours, unless somebody has replaced ours; under the lock.
fn put_back(signal: c_int) {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `current` lives until the call returns; a null second argument only asks.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) };
    if asked == 0 && is_ours(&current) {
        let previous = PREVIOUS.0[signal as usize].get().cast_const().cast();
        // SAFETY: zeroed or filled by the kernel, it is a valid disposition; the call only reads.
        unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
    }
}

/// Puts back, in a forked child, every disposition that a subscription of its parent changed.
///
/// The handler would do it at the first signal (rule 5); a worker should find it done.
pub(crate) fn put_back_inherited() {
    let here = fork::generation();
    let _lock = Lock::take(here);
    for signal in 1..=HIGHEST {
        let installed = INSTALLED[signal as usize].load(Ordering::Acquire);
        if installed != 0 && installed != here {
            put_back(signal);
        }
    }
}

/// The handler. It interrupts anything, so it only loads, stores and calls what signal-safety(7)
/// lists; and it leaves errno as it was.
extern "C" fn handler(signal: c_int) {
    let errno = errno();
    // SAFETY: errno's address is this thread's and always valid.
    let before = unsafe { errno.read() };
    let here = fork::seen();
    if INSTALLED[signal as usize].load(Ordering::Acquire) == here {
        for slot in &TABLE {
            slot.deliver(here, signal);
        }
    } else {
        leave_to_previous(signal);
    }
    // SAFETY: as above.
    unsafe { errno.write(before) };
}

/// Rule 5. The signal is blocked while its handler runs, so it is taken after our return.
fn leave_to_previous(signal: c_int) {
    let previous = PREVIOUS.0[signal as usize].get().cast_const().cast();
    // SAFETY: rule 4: nobody writes it while our handler is installed; zeroed or filled by the
    // kernel, it is a valid disposition. sigaction(2) is async-signal-safe.
    unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
    // Not raise(3): after a raw clone the C library's idea of this thread's number may be stale.
    // SAFETY: touches no memory and is async-signal-safe.
    let own = unsafe { libc::getpid() };
    // SAFETY: as above.
    unsafe { libc::kill(own, signal) };
}

/// Our disposition: restarts what it can, and runs on an alternate stack where there is one.
fn disposition() -> MaybeUninit<libc::sigaction> {
    let mut ours = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: integers, a set and an optional function pointer: zero is a value for each.
    let fields = unsafe { ours.assume_init_mut() };
    fields.sa_sigaction = handler as extern "C" fn(c_int) as usize;
    fields.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    fields.sa_mask = sigset(Set::default());
    ours
}

fn is_ours(disposition: &MaybeUninit<libc::sigaction>) -> bool {
    // SAFETY: the kernel has filled it.
    let disposition = unsafe { disposition.assume_init_ref() };
    disposition.sa_sigaction == handler as extern "C" fn(c_int) as usize
}

const HIGHEST: c_int = 64;
const SLOTS: usize = 32;

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// By signal: the generation that last installed our handler for it; zero if none ever did.
static INSTALLED: [AtomicU32; HIGHEST as usize + 1] =
    [const { AtomicU32::new(0) }; HIGHEST as usize + 1];

/// By signal: the disposition before ours. All zero is the default one (SIG_DFL, no flags).
static PREVIOUS: Dispositions =
    Dispositions([const { UnsafeCell::new(MaybeUninit::zeroed()) }; HIGHEST as usize + 1]);

struct Dispositions([UnsafeCell<MaybeUninit<libc::sigaction>>; HIGHEST as usize + 1]);

// SAFETY: rules 3 and 4: one writer under the lock, and then no reader.
unsafe impl Sync for Dispositions {}

pub(super) fn sigset(set: Set) -> libc::sigset_t {
    let mut raw = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the whole set, and fails for no valid pointer (sigemptyset(3)).
    unsafe { libc::sigemptyset(raw.as_mut_ptr()) };
    for signal in set {
        // SAFETY: the set has been initialised; a number that is none is refused, not stored.
        unsafe { libc::sigaddset(raw.as_mut_ptr(), signal) };
    }
    // SAFETY: sigemptyset has initialised it.
    unsafe { raw.assume_init() }
}

/// Async-signal-safe. A full eventfd or pipe refuses the write, and is readable already.
fn wake(fd: RawFd) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the buffer lives until the call returns; rule 2 keeps the descriptor open.
    unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}

fn errno() -> *mut c_int {
    #[cfg(target_os = "linux")]
    // SAFETY: returns this thread's address and touches nothing.
    let address = unsafe { libc::__errno_location() };
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    // SAFETY: as above.
    let address = unsafe { libc::__error() };
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: as above.
    let address = unsafe { libc::__errno() };
    address
}

const fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

const fn owner(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_its_signals_in_order_and_each_once() {
        let set = Set::new([libc::SIGTERM, libc::SIGHUP, 64, libc::SIGTERM]).unwrap();
        assert_eq!(set.collect::<Vec<_>>(), [libc::SIGHUP, libc::SIGTERM, 64]);
        assert_eq!(Set::default().count(), 0);
    }

    #[test]
    fn what_cannot_be_handled_later_is_refused() {
        for signal in [0, -1, 65, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGFPE] {
            assert!(matches!(Set::new([signal]), Err(Error::Argument(_))), "{signal}");
        }
    }

    // A slot of a parent must never be entered, or the child would write the parent's descriptor.
    #[test]
    fn law_06_a_handler_enters_only_slots_of_its_own_generation() {
        let slot = Slot::new();
        assert!(!slot.enter(0) && !slot.enter(7));
        slot.open(7, Set::new([libc::SIGHUP]).unwrap(), -1);
        assert!(slot.enter(7));
        assert!(!slot.enter(8) && !slot.enter(0));
        slot.deliver(8, libc::SIGHUP);
        assert_eq!(slot.pending.load(Ordering::Relaxed), 0);
    }

    // If the slot were freed under a handler, its write could hit whoever got the number next.
    #[test]
    fn a_slot_is_not_freed_while_a_handler_is_inside() {
        let slot = Slot::new();
        slot.open(7, Set::default(), -1);
        assert!(slot.enter(7));
        std::thread::scope(|scope| {
            let owner = scope.spawn(|| slot.free(7));
            for _ in 0..1_000 {
                assert_eq!(slot.generation(), 7);
                std::thread::yield_now();
            }
            slot.word.fetch_sub(1, Ordering::Release);
            owner.join().unwrap();
        });
        assert_eq!(slot.generation(), 0);
    }

    // The holder's thread does not exist in the child: waiting for it would be for ever.
    #[test]
    fn law_06_a_lock_that_a_parent_held_is_free_in_the_child() {
        let now = fork::generation();
        {
            let _held = Lock::take(now);
            let _taken = Lock::take(now.wrapping_add(1).max(1));
        }
        drop(Lock::take(now));
    }
}
