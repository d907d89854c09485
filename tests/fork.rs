//! Law 6 where children are made by hand, and signals: each case is a process of its own.

mod alone;

use std::ffi::c_int;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use alone::{Case, Exit, Wire, dispose, disposition, fork, kill, own_pid, readable, wait};
use squall_reactor::{Child, Error, Reactor, Signals};

fn main() -> ExitCode {
    let cases: &[Case] = &[
        ("law_06_a_forked_child_is_told", law_06_a_forked_child_is_told),
        #[cfg(target_os = "linux")]
        ("law_06_a_child_by_raw_clone_is_told", law_06_a_child_by_raw_clone_is_told),
        ("law_06_a_child_by_bare_fork_is_told", law_06_a_child_by_bare_fork_is_told),
        ("law_06_a_daemon_is_told", law_06_a_daemon_is_told),
        ("law_06_a_grandchild_is_told", law_06_a_grandchild_is_told),
        (
            "law_06_a_signal_in_a_child_is_not_the_parents",
            law_06_a_signal_in_a_child_is_not_the_parents,
        ),
        (
            "law_06_a_signal_in_a_child_does_what_it_did_before",
            law_06_a_signal_in_a_child_does_what_it_did_before,
        ),
        (
            "law_06_a_childs_drop_leaves_the_parents_signals_alone",
            law_06_a_childs_drop_leaves_the_parents_signals_alone,
        ),
        ("law_06_a_child_has_all_slots_for_itself", law_06_a_child_has_all_slots_for_itself),
        ("three_kills_of_two_kinds_are_two_signals", three_kills_of_two_kinds_are_two_signals),
        (
            "law_06_a_child_process_is_its_parents_alone",
            law_06_a_child_process_is_its_parents_alone,
        ),
        ("each_of_two_listeners_is_told", each_of_two_listeners_is_told),
        ("the_last_drop_puts_the_disposition_back", the_last_drop_puts_the_disposition_back),
        ("a_foreign_handler_is_not_overwritten", a_foreign_handler_is_not_overwritten),
        ("no_signal_is_lost_between_two_takes", no_signal_is_lost_between_two_takes),
        ("signals_may_be_dropped_under_fire", signals_may_be_dropped_under_fire),
        ("the_thirty_third_listener_is_refused", the_thirty_third_listener_is_refused),
        ("what_cannot_be_caught_is_refused", what_cannot_be_caught_is_refused),
        ("a_refused_signal_undoes_the_others", a_refused_signal_undoes_the_others),
    ];
    alone::run(cases)
}

fn usr1() -> Signals {
    Signals::new([Signals::USR1]).expect("a handler for SIGUSR1")
}

fn taken(signals: &Signals) -> Vec<c_int> {
    signals.take().expect("this process made it").collect()
}

fn is_forked(signals: &Signals) -> i32 {
    i32::from(!matches!(signals.take().map(drop), Err(Error::Forked)))
}

fn law_06_a_forked_child_is_told() {
    let signals = usr1();
    let child = fork(|| is_forked(&signals));
    assert_eq!(wait(child), Exit::Code(0));
    assert_eq!(is_forked(&signals), 1);
}

// Breaks with pthread_atfork: it does not hear of the bare system call.
#[cfg(target_os = "linux")]
fn law_06_a_child_by_raw_clone_is_told() {
    let signals = usr1();
    let child = alone::raw_clone(|| is_forked(&signals));
    assert_eq!(wait(child), Exit::Code(0));
    assert_eq!(is_forked(&signals), 1);
}

fn law_06_a_child_by_bare_fork_is_told() {
    let signals = usr1();
    // Older C libraries have no `_Fork`; then there is nothing to be told of.
    if let Some(child) = alone::bare_fork(|| is_forked(&signals)) {
        assert_eq!(wait(child), Exit::Code(0));
    }
}

fn law_06_a_daemon_is_told() {
    let signals = usr1();
    let mut wire = Wire::new();
    // daemon(3) forks and ends its caller, so it is a child that calls it.
    let caller = fork(|| {
        // SAFETY: this process has one thread; the descriptors are left open.
        let left = unsafe { libc::daemon(1, 1) };
        wire.send(if left == 0 { is_forked(&signals) } else { 2 });
        0
    });
    assert_eq!(wait(caller), Exit::Code(0));
    assert_eq!(wire.rest(), [0]);
}

// The child asks first, so it has a generation of its own; or it never asks. Both ways.
fn law_06_a_grandchild_is_told() {
    let signals = usr1();
    for asks in [true, false] {
        let child = fork(|| {
            if asks && is_forked(&signals) != 0 {
                return 2;
            }
            let own = asks.then(usr1);
            let grandchild = fork(|| is_forked(&signals) + own.as_ref().map_or(0, is_forked));
            i32::from(wait(grandchild) != Exit::Code(0))
        });
        assert_eq!(wait(child), Exit::Code(0), "the child asks: {asks}");
    }
}

// If the handler wrote the inherited descriptor, the parent would wake for its child's signal.
fn law_06_a_signal_in_a_child_is_not_the_parents() {
    let signals = usr1();
    let life = || {
        let own = usr1();
        kill(own_pid(), Signals::USR1);
        i32::from(taken(&own) != [Signals::USR1])
    };
    assert_eq!(wait(fork(life)), Exit::Code(0));
    #[cfg(target_os = "linux")]
    assert_eq!(wait(alone::raw_clone(life)), Exit::Code(0));
    assert!(!readable(&signals, 0));
    assert_eq!(taken(&signals), []);
}

// Nobody takes signals in the child, so without this it would be deaf to SIGTERM.
fn law_06_a_signal_in_a_child_does_what_it_did_before() {
    let signals = Signals::new([Signals::TERM]).expect("a handler for SIGTERM");
    let life = || {
        kill(own_pid(), Signals::TERM);
        3
    };
    assert_eq!(wait(fork(life)), Exit::Signal(Signals::TERM));
    #[cfg(target_os = "linux")]
    assert_eq!(wait(alone::raw_clone(life)), Exit::Signal(Signals::TERM));
    assert!(!readable(&signals, 0));
    drop(signals);
    dispose(Signals::TERM, libc::SIG_IGN);
    let signals = Signals::new([Signals::TERM]).expect("a handler for SIGTERM");
    assert_eq!(wait(fork(life)), Exit::Code(3), "it was ignored before");
    assert!(!readable(&signals, 0));
}

// A forked child is a sibling of the program: it must neither end nor reap it, nor take its end.
fn law_06_a_child_process_is_its_parents_alone() {
    let mut cat = Command::new("cat");
    let child = Child::spawn(cat.stdin(Stdio::piped())).expect("cat is installed");
    let forked = |error: Option<Error>| matches!(error, Some(Error::Forked));
    let life = || {
        let refused = forked(child.kill().err()) && forked(child.try_status().err());
        i32::from(!refused)
    };
    assert_eq!(wait(fork(life)), Exit::Code(0));
    assert!(child.try_status().expect("our child").is_none(), "it runs");
    let status = Reactor::new().expect("a reactor").block_on(child.output());
    assert!(status.expect("a turn").expect("our child").status.success());
}

fn law_06_a_childs_drop_leaves_the_parents_signals_alone() {
    let mut signals = Some(usr1());
    let child = fork(|| {
        drop(signals.take());
        0
    });
    assert_eq!(wait(child), Exit::Code(0));
    let signals = signals.expect("the child had a copy");
    kill(own_pid(), Signals::USR1);
    assert_eq!(taken(&signals), [Signals::USR1]);
}

// Slots that a parent left are free in the child, whether or not what held them is dropped there.
fn law_06_a_child_has_all_slots_for_itself() {
    let parents: Vec<Signals> = (0..32).map(|_| usr1()).collect();
    let child = fork(|| {
        let own: Vec<Signals> = (0..32).map(|_| usr1()).collect();
        drop(parents);
        kill(own_pid(), Signals::USR1);
        i32::from(!own.iter().all(|signals| taken(signals) == [Signals::USR1]))
    });
    assert_eq!(wait(child), Exit::Code(0));
}

fn three_kills_of_two_kinds_are_two_signals() {
    let signals = Signals::new([Signals::USR1, Signals::USR2]).expect("two handlers");
    assert!(!readable(&signals, 0));
    for signal in [Signals::USR2, Signals::USR1, Signals::USR2] {
        kill(own_pid(), signal);
    }
    assert!(readable(&signals, 0));
    assert_eq!(taken(&signals), [Signals::USR1, Signals::USR2]);
    assert!(!readable(&signals, 0));
    assert_eq!(taken(&signals), []);
}

fn each_of_two_listeners_is_told() {
    let (one, two) = (usr1(), usr1());
    kill(own_pid(), Signals::USR1);
    assert_eq!((taken(&one), taken(&two)), (vec![Signals::USR1], vec![Signals::USR1]));
    drop(one);
    kill(own_pid(), Signals::USR1);
    assert_eq!(taken(&two), [Signals::USR1]);
}

fn the_last_drop_puts_the_disposition_back() {
    dispose(Signals::USR1, libc::SIG_IGN);
    let (one, two) = (usr1(), usr1());
    drop(one);
    assert_ne!(disposition(Signals::USR1), libc::SIG_IGN);
    drop(two);
    assert_eq!(disposition(Signals::USR1), libc::SIG_IGN);
    dispose(Signals::USR1, libc::SIG_DFL);
    drop(usr1());
    assert_eq!(disposition(Signals::USR1), libc::SIG_DFL);
}

fn a_foreign_handler_is_not_overwritten() {
    dispose(Signals::USR1, libc::SIG_DFL);
    let signals = usr1();
    dispose(Signals::USR1, libc::SIG_IGN);
    drop(signals);
    assert_eq!(disposition(Signals::USR1), libc::SIG_IGN);
}

// In each round one take meets one signal, at another moment. Breaks if the pending set is emptied
// before the descriptor is: what arrives between the two is then silent, and the wait for it has no
// end. (With one CPU the two do not meet, and this shows nothing.)
fn no_signal_is_lost_between_two_takes() {
    const ROUNDS: usize = 10_000;
    let (signals, round, sent) = (usr1(), AtomicUsize::new(0), AtomicUsize::new(0));
    let reach = |counter: &AtomicUsize, number| {
        while counter.load(Ordering::Acquire) < number {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        // The kernel prefers the main thread for a signal to the process, so it is interrupted.
        scope.spawn(|| {
            for number in 1..=ROUNDS {
                reach(&round, number);
                kill(own_pid(), Signals::USR1);
                sent.store(number, Ordering::Release);
            }
        });
        for number in 1..=ROUNDS {
            round.store(number, Ordering::Release);
            (0..number % 500).for_each(|_| std::hint::spin_loop());
            let mut has_come = !taken(&signals).is_empty();
            reach(&sent, number);
            while !has_come {
                assert!(readable(&signals, -1));
                has_come = !taken(&signals).is_empty();
            }
        }
    });
}

// Handlers run in several threads while subscriptions come and go: a slot must not be freed under
// one, or its write would hit the pipe that took the descriptor's number.
fn signals_may_be_dropped_under_fire() {
    let kept = usr1();
    let parent = own_pid();
    let mut wire = Wire::new();
    let child = fork(|| {
        wire.send(1);
        while kill(parent, Signals::USR1) {
            if alone::parent_pid() != parent {
                break;
            }
        }
        0
    });
    assert_eq!(wire.receive(), Some(1));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    drop(usr1());
                    let wire = Wire::new();
                    wire.send(7);
                    assert_eq!(wire.receive(), Some(7));
                }
            });
        }
    });
    kill(child, libc::SIGKILL);
    assert_eq!(wait(child), Exit::Signal(libc::SIGKILL));
    assert_eq!(taken(&kept), [Signals::USR1]);
    assert_eq!(wire.rest(), []);
}

fn the_thirty_third_listener_is_refused() {
    let mut all: Vec<Signals> = (0..32).map(|_| usr1()).collect();
    let refused = Signals::new([Signals::USR1]);
    assert!(matches!(refused, Err(Error::Argument(_))), "{refused:?}");
    all.pop();
    all.push(usr1());
}

fn what_cannot_be_caught_is_refused() {
    for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, 0, 65, -3] {
        let refused = Signals::new([signal]);
        assert!(matches!(refused, Err(Error::Argument(_))), "{signal}: {refused:?}");
    }
}

// 32 and 33 are the C library's own: sigaction(3) refuses them after USR1 has been installed.
fn a_refused_signal_undoes_the_others() {
    for _ in 0..40 {
        let refused = Signals::new([Signals::USR1, 32]);
        assert!(matches!(refused, Err(Error::Os { call: "sigaction", .. })), "{refused:?}");
        assert_eq!(disposition(Signals::USR1), libc::SIG_DFL);
    }
    drop(usr1());
}
