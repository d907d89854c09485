//! Worker processes: bind, fork, supervise. Each case is a process of its own.

mod alone;

use std::collections::HashSet;
use std::ffi::c_int;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use alone::{
    Case, Exit, Wire, block, blocked, childless, dispose, disposition, fork, kill, own_pid,
    parent_pid, readable, sleep_for_ever, status, wait,
};
use squall_reactor::workers::upgrade::{Progress, Upgrade};
use squall_reactor::workers::{Bind, Workers, bind_sockets, fork_workers};
use squall_reactor::{Error, Signals};

fn main() -> ExitCode {
    let cases: &[Case] = &[
        ("law_06_refused_while_a_thread_lives", law_06_refused_while_a_thread_lives),
        ("law_06_a_joined_thread_does_not_count", law_06_a_joined_thread_does_not_count),
        (
            "law_06_a_worker_never_returns_into_its_callers_frames",
            law_06_a_worker_never_returns_into_its_callers_frames,
        ),
        (
            "law_06_a_killed_workers_queue_is_served_by_its_successor",
            law_06_a_killed_workers_queue_is_served_by_its_successor,
        ),
        (
            "law_06_a_worker_is_told_of_its_parents_signals",
            law_06_a_worker_is_told_of_its_parents_signals,
        ),
        ("a_crashed_worker_is_restarted", a_crashed_worker_is_restarted),
        ("a_killed_worker_is_restarted", a_killed_worker_is_restarted),
        ("each_restart_is_put_off_for_twice_as_long", each_restart_is_put_off_for_twice_as_long),
        (
            "a_worker_that_returns_zero_is_not_restarted",
            a_worker_that_returns_zero_is_not_restarted,
        ),
        ("past_the_limit_all_are_ended", past_the_limit_all_are_ended),
        ("sigterm_is_passed_on", sigterm_is_passed_on),
        ("sigint_is_passed_on", sigint_is_passed_on),
        ("after_the_grace_the_deaf_are_killed", after_the_grace_the_deaf_are_killed),
        ("no_worker_outlives_its_parent", no_worker_outlives_its_parent),
        ("zero_is_one_worker_per_cpu", zero_is_one_worker_per_cpu),
        (
            "mask_and_dispositions_are_put_back_in_child_and_parent",
            mask_and_dispositions_are_put_back_in_child_and_parent,
        ),
        ("a_blocked_signal_is_heard_all_the_same", a_blocked_signal_is_heard_all_the_same),
        ("other_children_are_left_to_the_caller", other_children_are_left_to_the_caller),
        ("what_was_printed_before_is_printed_once", what_was_printed_before_is_printed_once),
        (
            "a_worker_has_no_descriptor_of_the_supervisors",
            a_worker_has_no_descriptor_of_the_supervisors,
        ),
        (
            "a_new_program_that_is_never_ready_is_ended_and_the_old_one_goes_on",
            a_new_program_that_is_never_ready_is_ended_and_the_old_one_goes_on,
        ),
        (
            "a_new_program_that_cannot_be_executed_is_told_and_the_old_one_goes_on",
            a_new_program_that_cannot_be_executed_is_told_and_the_old_one_goes_on,
        ),
        (
            "a_parent_that_ends_during_an_upgrade_takes_the_new_program_with_it",
            a_parent_that_ends_during_an_upgrade_takes_the_new_program_with_it,
        ),
        ("law_08_the_parent_does_not_tick", law_08_the_parent_does_not_tick),
        (
            "port_zero_is_the_same_port_for_both_families",
            port_zero_is_the_same_port_for_both_families,
        ),
        ("port_zero_is_the_same_port_for_all_workers", port_zero_is_the_same_port_for_all_workers),
        ("workers_beyond_the_sets_share_in_turn", workers_beyond_the_sets_share_in_turn),
        ("without_reuse_port_all_share_one_listener", without_reuse_port_all_share_one_listener),
        (
            "an_ipv6_socket_leaves_ipv4_alone_unless_told",
            an_ipv6_socket_leaves_ipv4_alone_unless_told,
        ),
        ("a_name_is_bound_on_each_of_its_addresses", a_name_is_bound_on_each_of_its_addresses),
        ("a_taken_port_is_an_error_with_its_call", a_taken_port_is_an_error_with_its_call),
        ("a_full_backlog_makes_clients_wait", a_full_backlog_makes_clients_wait),
        ("sockets_do_not_pass_exec_and_do_not_block", sockets_do_not_pass_exec_and_do_not_block),
    ];
    alone::run(cases)
}

// A fork copies one thread; what the others had locked stays locked in the child.
fn law_06_refused_while_a_thread_lives() {
    let (release, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || wait.recv());
    let refused = fork_workers(2, |_| 0);
    assert!(matches!(refused, Err(Error::Threads { count: 2 })), "{refused:?}");
    assert!(childless());
    drop(release);
    thread.join().expect("the thread only waits").expect_err("the sender is gone");
    fork_workers(2, |_| 0).expect("the thread is gone");
}

// The kernel counts a thread until it is buried, which is after pthread_join has returned.
fn law_06_a_joined_thread_does_not_count() {
    for _ in 0..50 {
        thread::spawn(|| ()).join().expect("it does nothing");
        fork_workers(1, |_| 0).expect("one thread");
    }
}

fn law_06_a_worker_never_returns_into_its_callers_frames() {
    let mut wire = Wire::new();
    for panics in [false, true] {
        let guard = SendOnDrop(&wire);
        let ended = Workers::new(3).restarts(0).run(|_| {
            std::panic::set_hook(Box::new(|_| ()));
            assert!(!panics, "a worker that panics");
            0
        });
        assert_eq!(ended.is_err(), panics, "{ended:?}");
        drop(guard);
    }
    let pid = own_pid();
    assert_eq!(wire.rest(), [pid, pid]);
}

struct SendOnDrop<'a>(&'a Wire);

impl Drop for SendOnDrop<'_> {
    fn drop(&mut self) {
        self.0.send(own_pid());
    }
}

// Breaks if the parent closes its copy: the kernel then resets what is queued on that socket.
fn law_06_a_killed_workers_queue_is_served_by_its_successor() {
    const CLIENTS: usize = 160;
    let mut sockets = Bind::new("127.0.0.1:0").reuse_port(2).bind().expect("two sockets");
    let address = sockets.local_addrs()[0];
    let (pids, mut go) = (Wire::new(), Wire::new());
    let supervisor = fork(|| {
        go.close_writer();
        let ended = fork_workers(2, |index| {
            pids.send(own_pid() * 2 + index as i32);
            go.hold();
            serve(&sockets.take(index)[0], own_pid())
        });
        i32::from(ended.is_err())
    });
    // Only the workers and their parent hold the sockets now.
    drop(sockets.take(0));

    let first = [pids.receive().expect("a worker"), pids.receive().expect("a worker")];
    let clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(address).expect("the queue has room")).collect();
    let victim = first.iter().find(|&&pid| pid % 2 == 0).expect("worker 0") / 2;
    assert!(kill(victim, libc::SIGKILL));
    let successor = pids.receive().expect("the successor of worker 0");
    assert_eq!(successor % 2, 0);
    go.close_writer();

    let served: Vec<i32> = clients.into_iter().map(answer).collect();
    let by_successor = served.iter().filter(|&&pid| pid == successor / 2).count();
    assert_eq!(served.len(), CLIENTS);
    assert!(!served.contains(&victim));
    // By chance: 80 with a deviation of 6.3.
    assert!(by_successor >= 40, "{by_successor} were queued on the killed worker's socket");

    assert!(kill(supervisor, Signals::TERM));
    assert_eq!(wait(supervisor), Exit::Code(0));
}

fn serve(listener: &TcpListener, number: i32) -> i32 {
    listener.set_nonblocking(false).expect("an open socket");
    loop {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(&number.to_ne_bytes()).expect("a client that reads");
    }
}

fn answer(mut client: TcpStream) -> i32 {
    let mut number = [0; 4];
    client.read_exact(&mut number).expect("an answer, not a reset");
    i32::from_ne_bytes(number)
}

// A `Signals` of the parent's lives on in the worker as memory, but must not act there.
fn law_06_a_worker_is_told_of_its_parents_signals() {
    let signals = Signals::new([Signals::USR1, Signals::TERM]).expect("two handlers");
    fork_workers(1, |_| {
        let told = matches!(signals.take().map(drop), Err(Error::Forked));
        let put_back = disposition(Signals::USR1) == libc::SIG_DFL;
        i32::from(!told || !put_back)
    })
    .expect("told, and put back");
    kill(own_pid(), Signals::USR1);
    assert_eq!(signals.take().expect("made here").collect::<Vec<_>>(), [Signals::USR1]);
}

fn a_crashed_worker_is_restarted() {
    let mut starts = Wire::new();
    let crashes = Tokens::new(3);
    fork_workers(2, |index| {
        starts.send(index as i32);
        if index == 1 && crashes.take() { 7 } else { 0 }
    })
    .expect("three restarts are allowed");
    let starts = starts.rest();
    assert_eq!(starts.iter().filter(|&&index| index == 0).count(), 1);
    assert_eq!(starts.iter().filter(|&&index| index == 1).count(), 4);
    assert!(childless());
}

fn a_killed_worker_is_restarted() {
    let mut starts = Wire::new();
    let crashes = Tokens::new(2);
    fork_workers(1, |_| {
        starts.send(own_pid());
        if crashes.take() {
            kill(own_pid(), libc::SIGKILL);
        }
        0
    })
    .expect("two restarts are allowed");
    let starts = starts.rest();
    assert_eq!(starts.len(), 3);
    assert_eq!(starts.iter().collect::<HashSet<_>>().len(), 3, "each is a new process");
}

// The decisions are tested beside `supervisor`; this is the parent that keeps to them.
fn each_restart_is_put_off_for_twice_as_long() {
    let mut starts = Wire::new();
    let begin = Instant::now();
    let ended = Workers::new(1).restarts(4).run(|_| {
        starts.send(begin.elapsed().as_micros() as i32);
        1
    });
    assert!(matches!(ended, Err(Error::RestartLimit { restarts: 4 })), "{ended:?}");
    let starts = starts.rest();
    let delays: Vec<i32> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(delays.len(), 4);
    for (delay, least) in delays.iter().zip([10_000, 20_000, 40_000, 80_000]) {
        assert!(*delay >= least, "{delays:?} us");
    }
}

/// What outlives a worker: a pipe with so many bytes in it.
struct Tokens(File);

impl Tokens {
    fn new(count: usize) -> Self {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(&vec![0; count]).expect("room in the pipe");
        Self(File::from(OwnedFd::from(reader)))
    }

    fn take(&self) -> bool {
        (&self.0).read_exact(&mut [0]).is_ok()
    }
}

fn a_worker_that_returns_zero_is_not_restarted() {
    let mut starts = Wire::new();
    fork_workers(4, |index| {
        starts.send(index as i32);
        0
    })
    .expect("nothing fails");
    let mut starts = starts.rest();
    starts.sort_unstable();
    assert_eq!(starts, [0, 1, 2, 3]);
}

// Else the socket of the worker that is given up would queue connections for ever.
fn past_the_limit_all_are_ended() {
    let (mut starts, pids) = (Wire::new(), Wire::new());
    let ended = Workers::new(3).restarts(2).run(|index| {
        if index == 0 {
            starts.send(0);
            return 1;
        }
        pids.send(own_pid());
        sleep_for_ever()
    });
    assert!(matches!(ended, Err(Error::RestartLimit { restarts: 2 })), "{ended:?}");
    assert_eq!(starts.rest().len(), 3);
    assert!(childless());
    for _ in 0..2 {
        assert!(!kill(pids.receive().expect("a worker"), 0));
    }
}

fn sigterm_is_passed_on() {
    is_passed_on(Signals::TERM);
}

fn sigint_is_passed_on() {
    is_passed_on(Signals::INT);
}

fn is_passed_on(signal: c_int) {
    const WORKERS: usize = 3;
    let (ready, mut seen) = (Wire::new(), Wire::new());
    fork_workers(WORKERS, |index| {
        let signals = Signals::new([Signals::TERM, Signals::INT]).expect("two handlers");
        ready.send(0);
        if index == 0 {
            (0..WORKERS).for_each(|_| assert_eq!(ready.receive(), Some(0)));
            kill(parent_pid(), signal);
        }
        readable(&signals, -1);
        signals.take().expect("made here").for_each(|signal| seen.send(signal));
        // Not 0: after the signal no code is a crash.
        3
    })
    .expect("all ended after the signal");
    assert_eq!(seen.rest(), [signal; WORKERS]);
    assert!(childless());
}

fn after_the_grace_the_deaf_are_killed() {
    let grace = Duration::from_millis(100);
    let begin = Instant::now();
    Workers::new(2)
        .grace(grace)
        .run(|index| {
            dispose(Signals::TERM, libc::SIG_IGN);
            if index == 0 {
                kill(parent_pid(), Signals::TERM);
            }
            sleep_for_ever()
        })
        .expect("killed after a signal");
    assert!(begin.elapsed() >= grace);
    assert!(childless());
}

fn no_worker_outlives_its_parent() {
    let pids = Wire::new();
    let mut life_line = Wire::new();
    let supervisor = fork(|| {
        let _ = fork_workers(3, |_| {
            dispose(Signals::TERM, libc::SIG_IGN);
            pids.send(own_pid());
            sleep_for_ever()
        });
        0
    });
    let workers: HashSet<_> = (0..3).map(|_| pids.receive().expect("a worker")).collect();
    assert_eq!(workers.len(), 3);
    assert!(kill(supervisor, libc::SIGKILL));
    assert_eq!(wait(supervisor), Exit::Signal(libc::SIGKILL));
    // It ends when the last process that holds the other end has ended.
    assert_eq!(life_line.rest(), []);
}

fn zero_is_one_worker_per_cpu() {
    let mut starts = Wire::new();
    fork_workers(0, |index| {
        starts.send(index as i32);
        0
    })
    .expect("nothing fails");
    let cpus = thread::available_parallelism().expect("a number of CPUs").get();
    assert_eq!(starts.rest().len(), cpus);
}

// A worker that inherits the parent's mask or handlers is deaf, and so is all that it starts.
fn mask_and_dispositions_are_put_back_in_child_and_parent() {
    let heard = [Signals::TERM, Signals::INT, Signals::CHLD];
    block(Signals::TERM);
    block(Signals::CHLD);
    dispose(Signals::INT, libc::SIG_IGN);
    let state = || (blocked(), heard.map(disposition));
    let before = state();
    fork_workers(2, |_| i32::from(state() != before)).expect("as before in the workers");
    assert_eq!(state(), before);
}

// A parent that was started with SIGCHLD blocked would never reap.
fn a_blocked_signal_is_heard_all_the_same() {
    for signal in [Signals::TERM, Signals::INT, Signals::CHLD] {
        block(signal);
    }
    fork_workers(2, |_| 0).expect("it reaps");
    let ended = Workers::new(1).grace(Duration::ZERO).run(|_| {
        kill(parent_pid(), Signals::TERM);
        sleep_for_ever()
    });
    ended.expect("it hears, and kills at once: the worker blocks SIGTERM, as its parent did");
}

fn other_children_are_left_to_the_caller() {
    let mut other = Command::new("true").spawn().expect("true(1)");
    fork_workers(2, |_| 0).expect("nothing fails");
    assert!(other.wait().expect("not reaped by somebody else").success());
}

// Each child has a copy of the buffer, and writes it when it exits.
fn what_was_printed_before_is_printed_once() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: both are open; standard output is replaced as a whole.
    let replaced = unsafe { libc::dup2(writer.as_raw_fd(), 1) };
    assert_eq!(replaced, 1);
    drop(writer);
    print!("once ");
    let crashes = Tokens::new(1);
    fork_workers(2, |index| {
        print!("worker ");
        i32::from(index == 0 && crashes.take())
    })
    .expect("one restart");
    std::io::stdout().flush().expect("an open pipe");
    // SAFETY: standard output is not used any more.
    unsafe { libc::close(1) };
    let mut printed = String::new();
    reader.read_to_string(&mut printed).expect("text");
    assert_eq!(printed, "once worker worker worker ");
}

#[cfg(not(target_os = "linux"))]
fn a_worker_has_no_descriptor_of_the_supervisors() {}

#[cfg(target_os = "linux")]
fn a_worker_has_no_descriptor_of_the_supervisors() {
    let descriptors = || {
        let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
        entries.count()
    };
    let before = descriptors();
    fork_workers(1, |_| i32::from(descriptors() != before)).expect("as many in the worker");
    let sockets = Bind::new("127.0.0.1:0").reuse_port(2).bind().expect("two sockets");
    let upgrade = Upgrade::new(&sockets).expect("two duplicates");
    drop(sockets);
    assert_eq!(descriptors(), before + 2);
    let ended = Workers::new(1).upgrade(upgrade).run(|_| i32::from(descriptors() != before));
    ended.expect("as many in the worker");
    assert_eq!(descriptors(), before);
}

/// Two workers that wait, under a parent that upgrades to `program`; `pids` tells the workers, then
/// the new program, and a failure as its negative code.
fn upgrading_to(program: &str, args: &[&str], patience: Duration, pids: &Rc<Wire>) -> i32 {
    let sockets = Bind::new("127.0.0.1:0").bind().expect("a socket");
    let upgrade = Upgrade::new(&sockets).expect("a duplicate");
    let tell = Rc::clone(pids);
    let upgrade = upgrade.program(program, args).patience(patience).on_progress(move |progress| {
        tell.send(match progress {
            Progress::Started { pid } => pid,
            Progress::Failed { code } => -code.unwrap_or(1000),
            other => panic!("{other}"),
        });
    });
    let ended = Workers::new(2).upgrade(upgrade).run(|_| {
        pids.send(own_pid());
        sleep_for_ever()
    });
    i32::from(ended.is_err())
}

// It says nothing, and SIGTERM ends it; the workers are not even asked.
fn a_new_program_that_is_never_ready_is_ended_and_the_old_one_goes_on() {
    let pids = Rc::new(Wire::new());
    let patience = Duration::from_millis(50);
    let supervisor = fork(|| upgrading_to("sleep", &["1000"], patience, &pids));
    let workers = [pids.receive().expect("a worker"), pids.receive().expect("a worker")];
    for _ in 0..2 {
        assert!(kill(supervisor, Signals::USR2));
        let new = pids.receive().expect("the new program");
        assert!(new > 0 && !workers.contains(&new), "{new}");
        assert_eq!(pids.receive(), Some(-1000), "a signal ended it");
        assert!(!kill(new, 0), "it is reaped");
        assert!(workers.iter().all(|pid| kill(*pid, 0)));
    }
    assert!(kill(supervisor, Signals::TERM));
    assert_eq!(wait(supervisor), Exit::Code(0));
}

fn a_new_program_that_cannot_be_executed_is_told_and_the_old_one_goes_on() {
    let pids = Rc::new(Wire::new());
    let patience = Duration::from_secs(60);
    let supervisor = fork(|| upgrading_to("/nonexistent/program", &[], patience, &pids));
    let workers = [pids.receive().expect("a worker"), pids.receive().expect("a worker")];
    assert!(kill(supervisor, Signals::USR2));
    assert!(pids.receive().expect("a child that is to become the program") > 0);
    assert_eq!(pids.receive(), Some(-127));
    assert!(workers.iter().all(|pid| kill(*pid, 0)));
    assert!(kill(supervisor, Signals::TERM));
    assert_eq!(wait(supervisor), Exit::Code(0));
}

fn a_parent_that_ends_during_an_upgrade_takes_the_new_program_with_it() {
    let pids = Rc::new(Wire::new());
    let patience = Duration::from_secs(60);
    let supervisor = fork(|| upgrading_to("sleep", &["1000"], patience, &pids));
    for _ in 0..2 {
        pids.receive().expect("a worker");
    }
    assert!(kill(supervisor, Signals::USR2));
    let new = pids.receive().expect("the new program");
    assert!(kill(supervisor, Signals::TERM));
    assert_eq!(wait(supervisor), Exit::Code(0));
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{new}/stat")).unwrap_or_default();
        // Whoever adopted it may not have waited for it yet.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while runs() {
        thread::yield_now();
    }
}

// A sleeping parent is switched to only if something wakes it.
fn law_08_the_parent_does_not_tick() {
    let ready = Wire::new();
    let supervisor = fork(|| {
        let ended = fork_workers(2, |_| {
            ready.send(0);
            sleep_for_ever()
        });
        i32::from(ended.is_err())
    });
    assert_eq!((ready.receive(), ready.receive()), (Some(0), Some(0)));
    let pid = supervisor.to_string();
    while !status(&pid, "State:").starts_with('S') {
        thread::yield_now();
    }
    let switches = || status(&pid, "voluntary_ctxt_switches:");
    let before = switches();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(switches(), before);
    assert!(kill(supervisor, Signals::TERM));
    assert_eq!(wait(supervisor), Exit::Code(0));
}

/// Some machines have no IPv6, and then there is nothing to test.
fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

fn port_zero_is_the_same_port_for_both_families() {
    let any: [SocketAddr; 2] =
        [([127, 0, 0, 1], 0).into(), ([0_u16, 0, 0, 0, 0, 0, 0, 1], 0).into()];
    let listeners = bind_sockets(&any[..]).expect("two sockets, or one without IPv6");
    assert_eq!(listeners.len(), if has_ipv6() { 2 } else { 1 });
    let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket");
    let ports: HashSet<u16> = listeners.iter().map(|one| address(one).port()).collect();
    assert_eq!(ports.len(), 1);
    assert!(!ports.contains(&0));
    for listener in &listeners {
        TcpStream::connect(address(listener)).expect("it listens");
    }
}

fn port_zero_is_the_same_port_for_all_workers() {
    let mut sockets = Bind::new("127.0.0.1:0").reuse_port(3).bind().expect("three sockets");
    assert_eq!((sockets.sets(), sockets.local_addrs().len()), (3, 1));
    let address = sockets.local_addrs()[0];
    fork_workers(3, |index| {
        let own = sockets.take(index);
        let right = own.len() == 1 && own[0].local_addr().is_ok_and(|own| own == address);
        i32::from(!right || !sockets.take(index).is_empty())
    })
    .expect("each worker has its own");
    // What the workers closed is open here.
    assert_eq!(sockets.sets(), 3);
    TcpStream::connect(address).expect("the parent's copies listen");
}

fn workers_beyond_the_sets_share_in_turn() {
    let mut sockets = Bind::new("127.0.0.1:0").reuse_port(2).bind().expect("two sockets");
    let mut inodes = Wire::new();
    fork_workers(4, |index| {
        let own = sockets.take(index);
        inodes.send(inode(&own[0]) as i32 * 2 + (index % 2) as i32);
        0
    })
    .expect("nothing fails");
    assert_eq!(inodes.rest().into_iter().collect::<HashSet<_>>().len(), 2);
}

fn inode(listener: &TcpListener) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let fd = listener.as_raw_fd();
    std::fs::metadata(format!("/dev/fd/{fd}")).expect("an open descriptor").ino()
}

fn without_reuse_port_all_share_one_listener() {
    let mut sockets = Bind::new("127.0.0.1:0").bind().expect("one socket");
    let address = sockets.local_addrs()[0];
    assert_eq!(sockets.sets(), 1);
    let mut client = TcpStream::connect(address).expect("it listens before anybody forks");
    fork_workers(2, |index| {
        let listener = sockets.take(index).remove(0);
        listener.set_nonblocking(true).expect("an open socket");
        match listener.accept() {
            Ok((mut accepted, _)) => i32::from(accepted.write_all(&[1; 4]).is_err()),
            Err(error) => i32::from(error.kind() != ErrorKind::WouldBlock),
        }
    })
    .expect("one of the two accepts");
    client.read_exact(&mut [0; 4]).expect("served by one of them");
}

fn an_ipv6_socket_leaves_ipv4_alone_unless_told() {
    if !has_ipv6() {
        return;
    }
    for only_v6 in [true, false] {
        let sockets = Bind::new("[::]:0").only_v6(only_v6).bind().expect("a socket");
        let port = sockets.local_addrs()[0].port();
        TcpStream::connect(("::1", port)).expect("IPv6 always");
        assert_eq!(TcpStream::connect(("127.0.0.1", port)).is_ok(), !only_v6);
    }
    // And so both families can listen side by side, as Tornado's bind_sockets does.
    let everywhere: [SocketAddr; 2] = [([0, 0, 0, 0], 0).into(), ([0_u16; 8], 0).into()];
    assert_eq!(bind_sockets(&everywhere[..]).expect("two sockets").len(), 2);
}

fn a_name_is_bound_on_each_of_its_addresses() {
    let listeners = bind_sockets("localhost:0").expect("localhost has an address");
    let addresses: HashSet<SocketAddr> =
        listeners.iter().map(|one| one.local_addr().expect("a bound socket")).collect();
    assert_eq!(addresses.len(), listeners.len());
    assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    assert!(matches!(bind_sockets(&[][..]), Err(Error::Argument(_))));
    let unknown = bind_sockets("no such name:0");
    assert!(matches!(unknown, Err(Error::Os { call: "getaddrinfo", .. })), "{unknown:?}");
}

fn a_taken_port_is_an_error_with_its_call() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound socket");
    let refused = bind_sockets(address);
    let Err(Error::Os { call: "bind", source }) = refused else { panic!("{refused:?}") };
    assert_eq!(source.kind(), ErrorKind::AddrInUse);
}

// The kernel keeps backlog + 1 connections for accept (tcp(7) speaks of min(backlog, somaxconn));
// further clients are not refused, they wait.
fn a_full_backlog_makes_clients_wait() {
    let sockets = Bind::new("127.0.0.1:0").backlog(2).bind().expect("a socket");
    let address = sockets.local_addrs()[0];
    let wait = Duration::from_millis(200);
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&address, wait) {
        clients.push(client);
        assert!(clients.len() <= 8, "the backlog is not 2");
    }
    assert!(clients.len() >= 2);
}

fn sockets_do_not_pass_exec_and_do_not_block() {
    for listener in bind_sockets("127.0.0.1:0").expect("a socket") {
        let fd = listener.as_raw_fd();
        // SAFETY: the descriptor is open; F_GETFD takes no argument.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        let error = listener.accept().expect_err("nobody has connected");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}
