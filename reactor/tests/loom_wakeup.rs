//! The wake-up protocol under every interleaving that loom finds (law 9).
//!
//! The mailbox of the model is weaker than the crate's channel: one flag for each producer, set and
//! taken by relaxed read-modify-writes, so only the protocol itself orders anything. The eventfd is a counter with a condition variable: a
//! wake-up that is lost leaves the loop asleep for ever, which loom reports as a deadlock.
//!
//!     RUSTFLAGS='--cfg loom' cargo test -p squall-reactor --test 'loom_*' --release
#![cfg(loom)]

#[path = "../src/wakeup.rs"]
#[allow(dead_code)]
mod wakeup;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use wakeup::Wakeup;

struct Model {
    wakeup: Wakeup,
    mailbox: Vec<AtomicBool>,
    eventfd: Mutex<bool>,
    written: Condvar,
    writes: AtomicUsize,
}

impl Model {
    fn new(producers: usize) -> Self {
        Self {
            wakeup: Wakeup::new(),
            mailbox: (0..producers).map(|_| AtomicBool::new(false)).collect(),
            eventfd: Mutex::new(false),
            written: Condvar::new(),
            writes: AtomicUsize::new(0),
        }
    }

    /// What `Shared::send` does.
    fn send(&self, producer: usize) {
        self.mailbox[producer].swap(true, Relaxed);
        if self.wakeup.notify() {
            self.writes.fetch_add(1, Relaxed);
            let mut ready = self.eventfd.lock().unwrap();
            *ready = true;
            self.written.notify_one();
        }
    }

    /// What the driver does, with a bound of one message for each drain (law 7).
    fn run(&self) -> usize {
        let (mut taken, mut sleeps, mut left) = (0, 0, false);
        while taken < self.mailbox.len() {
            if !left && self.wakeup.try_sleep() {
                sleeps += 1;
                let mut ready = self.eventfd.lock().unwrap();
                while !*ready {
                    ready = self.written.wait(ready).unwrap();
                }
                *ready = false;
            } else {
                thread::yield_now();
            }
            self.wakeup.awake();
            taken += usize::from(self.mailbox.iter().any(|flag| flag.swap(false, Relaxed)));
            left = self.mailbox.iter().any(|flag| flag.load(Relaxed));
        }
        sleeps
    }
}

fn explore(producers: usize) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Arc::new(Model::new(producers));
        let senders: Vec<_> = (0..producers)
            .map(|producer| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.send(producer))
            })
            .collect();
        let sleeps = model.run();
        for sender in senders {
            sender.join().unwrap();
        }
        let writes = model.writes.load(Relaxed);
        assert!(writes <= sleeps, "{writes} writes for {sleeps} sleeps");
    });
}

#[test]
fn law_09_one_producer_loses_no_wake_up_and_writes_once_a_sleep() {
    explore(1);
}

#[test]
fn law_09_two_producers_lose_no_wake_up_and_write_once_a_sleep() {
    explore(2);
}
