//! Child processes: their ends, their streams, and what they inherit.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use squall_reactor::{
    Child, Error, Handle, Interest, Next, PipeReader, Reactor, Signals, Trigger, pipe, timeout,
    yield_now,
};

/// What does not come within a minute never comes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_child_that_ended_before_anybody_asked_is_told() {
    run(async {
        let child = Child::spawn(&mut sh("exit 3")).expect("sh is installed");
        while is_running(child.id()) {
            yield_now().await;
        }
        assert_eq!(ended(&child).await.code(), Some(3));
    });
}

/// Broken by a registration that is not there when the child ends, and by waiters of whom only one
/// is woken.
#[test]
fn all_who_wait_for_a_child_are_told_and_it_is_reaped_once() {
    run(async {
        let (child, input) = cat();
        let child = Rc::new(child);
        let handle = Handle::current().expect("a reactor runs");
        let wait = |_| {
            let child = Rc::clone(&child);
            handle.spawn(async move { ended(&child).await })
        };
        let tasks: Vec<_> = (0..3).map(wait).collect();
        yield_now().await;
        assert!(child.try_status().expect("our child").is_none(), "cat waits for its input");
        drop(input);
        for task in tasks {
            assert!(soon(task).await.expect("it did not panic").success());
        }
        assert_eq!(ended(&child).await, child.try_status().expect("our child").expect("ended"));
        assert_eq!(reap(child.id()), Some(libc::ECHILD), "nothing is left to reap");
    });
}

/// Broken by a look from outside that takes the report away from those who wait.
#[test]
fn who_waits_is_told_although_another_one_looked_first() {
    run(async {
        let (child, input) = cat();
        let child = Rc::new(child);
        let waiting = Rc::clone(&child);
        let handle = Handle::current().expect("a reactor runs");
        let task = handle.spawn(async move { ended(&waiting).await });
        yield_now().await;
        drop(input);
        // No turn happens here: the report is still in the kernel when the child is reaped.
        while child.try_status().expect("our child").is_none() {
            std::thread::yield_now();
        }
        assert!(soon(task).await.expect("it did not panic").success());
    });
}

#[test]
fn waiting_for_a_child_may_be_given_up_and_taken_up_again() {
    run(async {
        let (child, input) = cat();
        for _ in 0..3 {
            let mut status = pin!(child.status());
            assert!(poll_fn(|cx| Poll::Ready(status.as_mut().poll(cx).is_pending())).await);
            yield_now().await;
        }
        drop(input);
        assert!(ended(&child).await.success());
    });
}

#[test]
fn a_child_is_ended_by_a_signal_and_a_reaped_one_is_left_alone() {
    run(async {
        let (child, _input) = cat();
        child.send(Signals::TERM).expect("it runs");
        assert_eq!(ended(&child).await.signal(), Some(Signals::TERM));
        child.kill().expect("nothing is done");
        let (child, _input) = cat();
        child.kill().expect("it runs");
        assert_eq!(ended(&child).await.signal(), Some(libc::SIGKILL));
    });
}

/// Broken by reading one stream to its end before the other: the child blocks on the full pipe.
#[test]
fn the_output_of_both_streams_is_read_at_once() {
    run(async {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero";
        let mut command = sh(script);
        let child = Child::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let output = soon(child.expect("sh is installed").output()).await.expect("our child");
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
    });
}

/// Broken by a pipe that blocks the loop: what cat has read must be read before it takes more.
#[test]
fn a_mebibyte_goes_through_a_child() {
    run(async {
        let mut command = Command::new("cat");
        let child = Child::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut child = child.expect("cat is installed");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = (stdin.expect("piped"), stdout.expect("piped"));
        let text: Vec<u8> = (0..1_u32 << 20).map(|n| (n % 251) as u8).collect();
        let sent = text.clone();
        let handle = Handle::current().expect("a reactor runs");
        let writer = handle.spawn(async move { stdin.write_all(&sent).await });
        let mut back = Vec::new();
        assert_eq!(soon(stdout.read_to_end(&mut back)).await.expect("cat writes"), text.len());
        soon(writer).await.expect("it did not panic").expect("cat reads");
        assert!(back == text, "something else came back");
        assert!(ended(&child).await.success());
    });
}

#[test]
fn a_pipe_without_a_reader_is_broken_and_one_without_a_writer_is_at_its_end() {
    run(async {
        let (reader, writer) = pipe().expect("a pipe");
        while writer.try_write(&[0; 4096]).is_ok() {}
        let handle = Handle::current().expect("a reactor runs");
        let task = handle.spawn(async move { writer.write(b"x").await });
        yield_now().await;
        drop(reader);
        let error = soon(task).await.expect("it did not panic").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let (reader, writer) = pipe().expect("a pipe");
        let reads = async |reader: PipeReader| reader.read(&mut [0; 4]).await;
        let task = handle.spawn(async move { reads(reader).await });
        yield_now().await;
        drop(writer);
        assert_eq!(soon(task).await.expect("it did not panic").expect("the end"), 0);
    });
}

/// Both triggers; a pidfd stays readable, so `Done` ends it.
#[test]
fn a_callback_hears_of_a_childs_end() {
    for trigger in [Trigger::Edge, Trigger::Level, Trigger::Oneshot] {
        let mut reactor = Reactor::new().expect("a reactor");
        let (child, input) = cat();
        let status = Rc::new(RefCell::new(None));
        let (keep, stop) = (Rc::clone(&status), reactor.handle());
        let heard = move |child: &Child, _| {
            let Some(status) = child.try_status().expect("our child") else { return Next::Again };
            keep.replace(Some(status));
            stop.stop();
            Next::Done
        };
        let registered = reactor.handle().register(child, Interest::READABLE, trigger, heard);
        let _registration = registered.expect("a pidfd is pollable");
        for _ in 0..3 {
            assert_eq!(reactor.turn(Some(Duration::ZERO)).expect("a turn"), 0, "cat waits");
        }
        drop(input);
        reactor.run().expect("nothing runs here yet");
        assert!(status.take().expect("it was called").success(), "{trigger:?}");
    }
}

#[test]
fn a_hundred_children_are_all_told() {
    run(async {
        let handle = Handle::current().expect("a reactor runs");
        let tasks: Vec<_> = (0..100)
            .map(|code| {
                let child = Child::spawn(&mut sh(&format!("exit {code}")));
                let child = child.expect("sh is installed");
                handle.spawn(async move { ended(&child).await.code() })
            })
            .collect();
        for (code, task) in (0..).zip(tasks) {
            assert_eq!(task.await.expect("it did not panic"), Some(code));
        }
    });
}

/// Broken by signalfd, or any other way that blocks SIGCHLD or SIGTERM in the parent: `Command`
/// passes the mask on (rust-lang/rust#101077).
#[test]
fn a_child_inherits_no_blocked_and_no_ignored_signal_of_ours() {
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let plain = sh(script).output().expect("sh is installed").stdout;
    run(async {
        let _signals = Signals::new([Signals::TERM, Signals::CHLD]).expect("two handlers");
        let mut command = sh(script);
        let child = Child::spawn(command.stdout(Stdio::piped())).expect("sh is installed");
        let ours = soon(child.output()).await.expect("our child").stdout;
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&plain));
        assert!(ours.starts_with(b"SigBlk:\t0000000000000000\n"));
    });
}

/// Broken if our end's mode reaches the child's: programs do not expect EAGAIN.
#[test]
fn a_childs_own_ends_of_its_pipes_stay_blocking() {
    run(async {
        let script = "grep -h ^flags /proc/self/fdinfo/0 /proc/self/fdinfo/1";
        let mut command = sh(script);
        let child = Child::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let output = soon(child.expect("sh is installed").output()).await.expect("our child");
        let text = String::from_utf8(output.stdout).expect("octal numbers");
        let flags: Vec<_> =
            text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(flags.len(), 2, "{text}");
        for flags in flags {
            let flags = i32::from_str_radix(flags, 8).expect("an octal number");
            assert_eq!(flags & libc::O_NONBLOCK, 0);
        }
    });
}

#[test]
fn a_program_that_is_not_there_is_an_error_that_says_so() {
    let error = Child::spawn(&mut Command::new("/nonexistent/program")).expect_err("not there");
    let Error::Os { call: "spawn", source } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::NotFound);
}

/// A kernel before 5.3, or a container whose filter does not know the call: each answers with its
/// error, and the choice falls at run time.
#[cfg(target_os = "linux")]
#[test]
fn where_pidfd_open_is_unknown_sigchld_tells_of_the_end() {
    for error in [libc::ENOSYS, libc::EPERM] {
        // The filter is the thread's, for life; its children inherit it.
        let thread = std::thread::spawn(move || {
            run(async {
                let (child, _input) = cat();
                assert_eq!(kind(&child), "anon_inode:[pidfd]");
                child.kill().expect("it runs");
                ended(&child).await;
            });
            refuse(libc::SYS_pidfd_open, error);
            run(async {
                let (child, input) = cat();
                assert_eq!(kind(&child), "anon_inode:[eventfd]");
                yield_now().await;
                assert!(child.try_status().expect("our child").is_none(), "cat waits");
                drop(input);
                assert!(ended(&child).await.success());
                let (child, _input) = cat();
                child.send(Signals::TERM).expect("it runs");
                assert_eq!(ended(&child).await.signal(), Some(Signals::TERM));
            });
        });
        thread.join().expect("what was asserted");
    }
}

/// What a child's descriptor is.
#[cfg(target_os = "linux")]
fn kind(child: &Child) -> String {
    use std::os::fd::{AsFd, AsRawFd};
    let number = child.as_fd().as_raw_fd();
    let link = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("an open descriptor");
    link.into_os_string().into_string().expect("text")
}

/// Lets a system call fail in this thread and in what it starts (seccomp(2)).
#[cfg(target_os = "linux")]
fn refuse(call: libc::c_long, error: i32) {
    const NO: libc::c_ulong = 0;
    let step = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    // The call's number is the first word of `seccomp_data`.
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: touches no memory.
    let promised =
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, NO, NO, NO) };
    assert_eq!(promised, 0, "{}", std::io::Error::last_os_error());
    let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
    // SAFETY: the filter and its steps live until the call returns, which copies them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// It ends when its input, which is given too, is dropped.
fn cat() -> (Child, impl Sized) {
    let child = Child::spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()));
    let mut child = child.expect("cat is installed");
    let input = child.stdin.take();
    (child, input)
}

fn run(test: impl Future<Output = ()>) {
    Reactor::new().expect("a reactor").block_on(test).expect("nothing runs here yet");
}

async fn ended(child: &Child) -> ExitStatus {
    soon(child.status()).await.expect("our child")
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes within a minute")
}

/// False for a zombie, too.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is not reaped");
    let state = stat.rsplit_once(") ").expect("a name in parentheses").1;
    !state.starts_with('Z')
}

/// The error of waitpid(2); none if there was something to reap.
fn reap(pid: u32) -> Option<i32> {
    // SAFETY: a null status is allowed, and nothing else is touched.
    let found = unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), libc::WNOHANG) };
    (found < 0).then(|| std::io::Error::last_os_error().raw_os_error()).flatten()
}
