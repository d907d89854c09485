//! The ways that the public interface cannot ask for: SIGCHLD where there is a pidfd.

use std::cell::Cell;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::{Handle, Interest, Next, Reactor, Trigger, timeout, yield_now};

/// What does not come within a minute never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// `cat` ends when its input does.
fn cat() -> Child {
    let mut command = Command::new("cat");
    let process = command.stdin(Stdio::piped()).spawn().expect("cat is installed");
    make_nonblocking(&process).expect("our end of its input");
    Child::watched(process, Watch::signal().expect("a handler for SIGCHLD"))
}

async fn ended(child: &Child) -> ExitStatus {
    timeout(PATIENCE, child.status()).await.expect("it ends within a minute").expect("our child")
}

#[test]
fn without_a_pidfd_sigchld_tells_of_the_end() {
    let mut reactor = Reactor::new().expect("a reactor");
    let test = async {
        let mut child = cat();
        let waits = poll_fn(|cx| Poll::Ready(child.poll_status(cx).is_pending())).await;
        assert!(waits, "cat waits for its input");
        drop(child.stdin.take());
        assert!(ended(&child).await.success());
    };
    reactor.block_on(test).expect("nothing runs here yet");
}

/// Broken by a look that takes the signal away from those who wait: the child of one would end,
/// and the other would never hear of its own.
#[test]
fn without_a_pidfd_each_of_many_who_wait_is_told() {
    let mut reactor = Reactor::new().expect("a reactor");
    let test = async {
        let handle = Handle::current().expect("a reactor runs");
        let mut children: Vec<Rc<Child>> = Vec::new();
        let mut inputs = Vec::new();
        for _ in 0..8 {
            let mut child = cat();
            inputs.push(child.stdin.take());
            children.push(Rc::new(child));
        }
        let tasks: Vec<_> = (0..16)
            .map(|index| {
                let child = Rc::clone(&children[index % 8]);
                handle.spawn(async move { ended(&child).await })
            })
            .collect();
        yield_now().await;
        drop(inputs);
        // Another way to reap, under the eyes of those who wait.
        while children.iter().any(|child| child.try_status().expect("our child").is_none()) {
            yield_now().await;
        }
        for task in tasks {
            assert!(task.await.expect("it did not panic").success());
        }
    };
    reactor.block_on(test).expect("nothing runs here yet");
}

/// Broken by a callback that leaves the eventfd readable: level would spin.
#[test]
fn law_04_without_a_pidfd_a_callback_hears_of_the_end_and_nothing_spins() {
    let mut reactor = Reactor::new().expect("a reactor");
    let calls = Rc::new(Cell::new(0));
    let mut child = cat();
    let stdin = child.stdin.take();
    let (count, stop) = (Rc::clone(&calls), reactor.handle());
    let heard = move |child: &Child, _| {
        count.set(count.get() + 1);
        if child.try_status().expect("our child").is_none() {
            return Next::Wait;
        }
        stop.stop();
        Next::Done
    };
    let handle = reactor.handle();
    let registered = handle.register(child, Interest::READABLE, Trigger::Level, heard);
    let _registration = registered.map_err(|(error, _)| error).expect("an eventfd is pollable");
    // Somebody else's child: SIGCHLD tells of it too.
    let other = Command::new("true").spawn().expect("true is installed").wait();
    assert!(other.expect("our child").success());
    for _ in 0..100 {
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    let strangers = calls.get();
    drop(stdin);
    reactor.run().expect("nothing runs here yet");
    // Other tests of this binary have children as well: at most a few were heard of.
    assert!(strangers < 50, "{strangers} calls in 100 turns while cat waits");
    assert!(calls.get() > strangers);
}

#[test]
fn without_a_pidfd_signals_go_by_number() {
    let mut reactor = Reactor::new().expect("a reactor");
    let test = async {
        let child = cat();
        child.send(libc::SIGTERM).expect("it is our child");
        let status = ended(&child).await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));
        child.kill().expect("one that has ended is left alone");
    };
    reactor.block_on(test).expect("nothing runs here yet");
}
