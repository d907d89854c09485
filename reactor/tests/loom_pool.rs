//! The pool's hand-over under every interleaving that loom finds (law 11).
//!
//! Threads that were announced are started and take until they are let go, as the pool's do. Work
//! that nobody comes for leaves a thread asleep for ever, which loom reports as a deadlock. Timed
//! waits are left out: loom has no clock, so every thread here belongs to the minimum.
//!
//!     RUSTFLAGS='--cfg loom' cargo test -p squall-reactor --test 'loom_*' --release
#![cfg(loom)]

#[path = "../src/pool"]
mod pool {
    #[allow(dead_code)]
    mod queue;

    use std::time::Duration;

    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use loom::thread::{self, JoinHandle};

    use queue::{Comes, Limits, Placed, Queue};

    struct Model {
        queue: Queue<usize>,
        /// How often each piece of work was done.
        done: Vec<AtomicUsize>,
    }

    impl Model {
        fn new(threads: usize, work: usize) -> Arc<Self> {
            let limits = Limits {
                min_threads: threads,
                max_threads: threads,
                capacity: 1,
                keep_alive: Duration::ZERO,
            };
            let done = (0..work).map(|_| AtomicUsize::new(0)).collect();
            Arc::new(Model { queue: Queue::new(limits), done })
        }

        /// Starts the thread that was announced.
        fn staff(model: &Arc<Self>, placed: &Placed) -> Option<JoinHandle<()>> {
            let (number, model) = (placed.start?, Arc::clone(model));
            Some(thread::spawn(move || {
                let mut comes = Comes::New;
                while let Some(work) = model.queue.take(number, comes) {
                    model.done[work].fetch_add(1, Relaxed);
                    comes = Comes::Back;
                }
            }))
        }

        /// Lets nothing in any more, and waits for the threads.
        fn shut_down(&self, threads: impl IntoIterator<Item = Option<JoinHandle<()>>>) {
            self.queue.close();
            self.queue.wait_until_ended(None);
            threads.into_iter().flatten().for_each(|thread| thread.join().unwrap());
            assert_eq!(self.queue.counts().threads, 0);
        }

        fn done(&self) -> Vec<usize> {
            self.done.iter().map(|done| done.load(Relaxed)).collect()
        }
    }

    fn explore(check: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 100_000;
        builder.preemption_bound = Some(3);
        builder.check(check);
    }

    #[test]
    fn law_11_what_two_callers_bring_is_done_once_each() {
        for threads in [1, 2] {
            explore(move || {
                let model = Model::new(threads, 3);
                let other = Arc::clone(&model);
                let caller = thread::spawn(move || {
                    let placed = other.queue.push(0).map_err(drop).expect("open");
                    Model::staff(&other, &placed)
                });
                let first = model.queue.push(1).map_err(drop).expect("open");
                let first = Model::staff(&model, &first);
                let second = model.queue.push(2).map_err(drop).expect("open");
                let second = Model::staff(&model, &second);
                let started = [caller.join().unwrap(), first, second];
                model.shut_down(started);
                assert_eq!(model.done(), [1, 1, 1]);
            });
        }
    }

    #[test]
    fn law_11_a_thread_that_waits_is_called_by_what_comes_later() {
        explore(|| {
            let model = Model::new(1, 2);
            let placed = model.queue.push(0).map_err(drop).expect("open");
            let started = Model::staff(&model, &placed);
            while model.done()[0] == 0 {
                thread::yield_now();
            }
            let placed = model.queue.push(1).map_err(drop).expect("open");
            assert!(placed.start.is_none(), "the one thread is there");
            while model.done()[1] == 0 {
                thread::yield_now(); // nobody closes: only the call can wake it
            }
            model.shut_down([started]);
        });
    }

    #[test]
    fn law_11_a_second_piece_does_not_count_on_the_thread_that_the_first_has_called() {
        explore(|| {
            let model = Model::new(2, 3);
            let placed = model.queue.push(0).map_err(drop).expect("open");
            let first = Model::staff(&model, &placed);
            while model.queue.counts().idle == 0 {
                thread::yield_now();
            }
            let called = model.queue.push(1).map_err(drop).expect("open");
            assert!(called.start.is_none(), "a thread waits");
            // Unless that one is back already, another must come for this.
            let placed = model.queue.push(2).map_err(drop).expect("open");
            assert!(placed.start.is_some() || model.done()[1] == 1);
            let second = Model::staff(&model, &placed);
            model.shut_down([first, second]);
            assert_eq!(model.done(), [1, 1, 1]);
        });
    }

    #[test]
    fn law_11_what_is_taken_back_is_not_done_and_what_is_done_cannot_be_taken_back() {
        explore(|| {
            let model = Model::new(1, 2);
            let placed = model.queue.push(0).map_err(drop).expect("open");
            let started = Model::staff(&model, &placed);
            let placed = model.queue.push(1).map_err(drop).expect("open");
            let back = model.queue.remove(placed.serial);
            model.shut_down([started]);
            assert_eq!(model.done()[0], 1);
            assert_eq!(model.done()[1], usize::from(back.is_none()));
        });
    }

    #[test]
    fn law_11_what_comes_while_the_pool_closes_is_refused_or_done() {
        explore(|| {
            let model = Model::new(1, 2);
            let placed = model.queue.push(0).map_err(drop).expect("open");
            let started = Model::staff(&model, &placed);
            let other = Arc::clone(&model);
            let caller = thread::spawn(move || other.queue.push(1).is_ok());
            model.queue.close();
            let taken_in = caller.join().unwrap();
            model.shut_down([started]);
            assert_eq!(model.done(), [1, usize::from(taken_in)]);
        });
    }
}
