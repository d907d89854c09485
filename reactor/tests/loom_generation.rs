//! The generation's number under every interleaving that loom finds (law 6).
//!
//! A process has just been forked, so its word is zero, and its threads make and ask objects at
//! once. Then the last thread forks, and the same begins in the child.
//!
//!     RUSTFLAGS='--cfg loom' cargo test -p squall-reactor --test 'loom_*' --release
#![cfg(loom)]

#[path = "../src/sys/generation.rs"]
mod generation;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use loom::thread;

use generation::{Word, number};

/// Loom's word, as `sys::fork` has std's.
struct Modelled(AtomicU32);

impl Word for Modelled {
    fn load(&self) -> u32 {
        self.0.load(Relaxed)
    }

    fn add_one(&self) -> u32 {
        self.0.fetch_add(1, Relaxed)
    }

    fn replace_zero(&self, number: u32) -> Result<u32, u32> {
        self.0.compare_exchange(0, number, Relaxed, Relaxed)
    }
}

fn agree(last: u32) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let process = Arc::new((Modelled(AtomicU32::new(0)), Modelled(AtomicU32::new(last))));
        let mut former = None;
        for _generation in 0..2 {
            let ask = |process: &Arc<(Modelled, Modelled)>| number(&process.0, &process.1);
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let process = Arc::clone(&process);
                    thread::spawn(move || ask(&process))
                })
                .collect();
            let own = ask(&process);
            assert_ne!(own, 0, "zero is nobody's");
            assert_ne!(Some(own), former, "an object of the parent would pass for one's own");
            for thread in threads {
                assert_eq!(thread.join().unwrap(), own, "threads disagree");
            }
            assert_eq!(ask(&process), own, "it changes without a fork");
            former = Some(own);
            process.0.0.store(0, Relaxed); // what MADV_WIPEONFORK does in the child
        }
    });
}

#[test]
fn law_06_threads_that_ask_at_once_agree_and_a_child_differs_from_its_parent() {
    agree(0);
}

#[test]
fn law_06_the_numbers_wrap_past_zero() {
    agree(u32::MAX - 2);
}
