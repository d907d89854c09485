//! Every kind of descriptor that epoll takes, as a source: what has happened before the first wait
//! and what happens after it are both reported (laws 1 and 3).

mod descriptors;
mod kernel;

use std::fs::{self, File};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use descriptors::{eventfd, inotify, memory, pidfd, signalfd, terminal, timerfd, tun};
use squall_reactor::{Error, Fd, Interest, Next, Reactor, Side, Trigger, timeout};

/// What does not come within a minute never comes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn law_03_an_eventfd_is_reported() {
    let ours = eventfd();
    let theirs = ours.try_clone().expect("a duplicate");
    run(reported(ours, 8, || (&theirs).write_all(&1_u64.to_ne_bytes()).expect("a counter")));
}

#[test]
fn law_03_a_timerfd_is_reported() {
    let (ours, arm) = timerfd();
    run(reported(ours, 8, arm));
}

#[test]
fn law_03_a_signalfd_is_reported() {
    // SIGUSR2 is blocked in this thread alone, and sent to this thread alone.
    let (ours, raise) = signalfd(libc::SIGUSR2);
    run(reported(ours, 128, raise));
}

#[test]
fn law_03_inotify_is_reported() {
    let folder = std::env::temp_dir().join(format!("squall-inotify-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let ours = inotify(&folder);
    run(reported(ours, 32, || {
        File::create(folder.join("x")).expect("a file");
    }));
    fs::remove_dir_all(&folder).expect("our folder");
}

#[test]
fn law_03_a_pipe_is_reported() {
    let (ours, mut theirs) = io::pipe().expect("a pipe");
    run(reported(File::from(OwnedFd::from(ours)), 1, || {
        theirs.write_all(b"x").expect("a reader");
    }));
}

/// A terminal gives a line for each read, so a short read proves nothing.
#[test]
fn law_03_two_lines_of_a_terminal_are_both_read() {
    let (keyboard, ours) = terminal();
    run(async {
        let ours = fd(ours, Interest::READABLE);
        assert!(is_pending(ours.ready(Side::Read)).await, "nobody has typed");
        (&keyboard).write_all(b"one\nsecond\n").expect("a terminal");
        let mut line = [0; 64];
        let mut read = async || soon(ours.with(Side::Read, |mut tty| tty.read(&mut line))).await;
        assert_eq!(read().await.expect("a line"), 4);
        assert_eq!(read().await.expect("the other line"), 7);
    });
}

/// A tun device gives a packet for each read. Skipped where this process may not make one.
#[test]
fn law_03_a_tun_device_is_reported() {
    let Ok(device) = tun() else {
        println!("skipped: no right to make a tun device");
        return;
    };
    run(async {
        let ours = fd(device, Interest::READABLE);
        // An interface that is down takes and gives nothing: reported as an error, or not at all.
        let ready = poll_fn(|cx| Poll::Ready(ours.poll_ready(cx, Side::Read))).await;
        assert!(!matches!(ready, Poll::Ready(Err(_))), "epoll takes it: {ready:?}");
    });
}

/// A pidfd is never read; the report itself is the news, so it must not be believed beforehand.
#[test]
fn law_03_a_pidfd_is_silent_while_its_process_runs_and_reported_at_its_end() {
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("cat is installed");
    run(async {
        let ours = fd(pidfd(child.id()), Interest::READABLE);
        assert!(is_pending(ours.ready(Side::Read)).await, "cat waits for its input");
        drop(child.stdin.take());
        assert!(soon(ours.ready(Side::Read)).await.expect("its end").is_readable());
    });
    assert!(child.wait().expect("our child").success());
}

/// Broken by an edge-triggered registration that takes readiness for granted: the inner epoll's
/// list is not empty before anything was registered there.
#[test]
fn law_03_a_nested_epoll_is_reported() {
    let mut inner = mio::Poll::new().expect("an epoll");
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let mut reader = mio::unix::pipe::Receiver::from(OwnedFd::from(reader));
    let token = mio::Token(7);
    inner.registry().register(&mut reader, token, mio::Interest::READABLE).expect("a place");
    let outer = inner.as_raw_fd();
    // SAFETY: `inner` outlives the borrow, which ends with this statement.
    let nested = unsafe { BorrowedFd::borrow_raw(outer) }.try_clone_to_owned();
    run(async {
        let ours = fd(nested.expect("a duplicate"), Interest::READABLE);
        assert!(is_pending(ours.ready(Side::Read)).await, "the pipe is empty");
        writer.write_all(b"x").expect("a reader");
        soon(ours.ready(Side::Read)).await.expect("a report");
    });
    let mut events = mio::Events::with_capacity(8);
    inner.poll(&mut events, Some(Duration::ZERO)).expect("a poll");
    assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [token]);
}

/// Broken if a regular file is taken: its reads never say WouldBlock, so they would block the loop
/// and nobody would be told.
#[test]
fn a_regular_file_and_a_folder_are_refused_with_a_word_about_the_pool() {
    for file in [memory(), File::open("/").expect("the root")] {
        let number = file.as_raw_fd();
        let (error, file) = Fd::new(file, Interest::READABLE).expect_err("epoll refuses it");
        assert!(matches!(error, Error::NotPollable { fd } if fd == number), "{error:?}");
        assert!(error.to_string().contains("Pool::run"), "{error}");
        assert_eq!(file.as_raw_fd(), number, "it is given back");
    }
}

/// /dev/null is no regular file, and epoll refuses it all the same (EPERM).
#[test]
fn what_only_the_kernel_knows_to_be_refused_is_refused_at_the_first_wait() {
    let null = || File::open("/dev/null").expect("/dev/null");
    run(async {
        let ours = fd(null(), Interest::READABLE);
        let error = soon(ours.ready(Side::Read)).await.expect_err("epoll refuses it");
        assert!(matches!(error, Error::NotPollable { .. }), "{error:?}");
    });
    let reactor = Reactor::new().expect("a reactor");
    let registered = reactor.handle().register(
        fd(null(), Interest::READABLE),
        Interest::READABLE,
        Trigger::Level,
        |_, _| Next::Wait,
    );
    assert!(matches!(registered, Err((Error::NotPollable { .. }, _))));
}

/// The other interface: level, and one record for each call.
#[test]
fn law_04_a_callback_has_any_descriptor() {
    let mut reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let ours = eventfd();
    let theirs = ours.try_clone().expect("a duplicate");
    let stop = handle.clone();
    let read = move |ours: &Fd<File>, _| {
        let mut count = [0; 8];
        ours.try_with(Side::Read, |mut counter| counter.read_exact(&mut count)).expect("a count");
        assert_eq!(u64::from_ne_bytes(count), 3);
        stop.stop();
        Next::Wait.progress(true)
    };
    let ours = fd(ours, Interest::READABLE);
    let registered = handle.register(ours, Interest::READABLE, Trigger::Level, read);
    let registration = registered.expect("a registration");
    (&theirs).write_all(&3_u64.to_ne_bytes()).expect("a counter");
    reactor.run().expect("it runs");
    let value = registration.into_inner().expect("no callback runs").into_inner();
    assert_eq!((&value).read(&mut [0; 8]).expect_err("drained").kind(), ErrorKind::WouldBlock);
}

/// A value whose reads need `&mut`, as those of std's `ChildStdout` do.
#[test]
fn a_value_is_lent_to_be_changed() {
    let mut echo = std::process::Command::new("echo");
    let child = echo.arg("changed").stdout(std::process::Stdio::piped()).spawn();
    let mut child = child.expect("echo is installed");
    run(async {
        let mut ours = fd(child.stdout.take().expect("it is piped"), Interest::READABLE);
        let mut text = [0; 16];
        let read = soon(ours.with_mut(Side::Read, |stdout| stdout.read(&mut text))).await;
        assert_eq!((read.expect("a line"), &text[..8]), (8, &b"changed\n"[..]));
    });
    assert!(child.wait().expect("our child").success());
}

/// Broken if the value's own descriptor were the registered one: swapped, closed and reused, its
/// number would be another file's, and the DEL would hit that one.
#[test]
fn law_01_a_value_that_swaps_its_descriptor_does_no_harm() {
    let mut reactor = Reactor::new().expect("a reactor");
    let epoll = reactor.as_raw_fd();
    let before = kernel::epoll_list(epoll).len();
    let done = reactor.block_on(async {
        let (first, mut to_first) = io::pipe().expect("a pipe");
        let (second, _to_second) = io::pipe().expect("a pipe");
        let pipe = kernel::link(first.as_raw_fd());
        let mut ours = fd(first, Interest::READABLE);
        assert!(is_pending(ours.ready(Side::Read)).await, "nothing is written");
        // The first reader's own descriptor closes here, and its number is free.
        drop(std::mem::replace(ours.value_mut(), second));
        to_first.write_all(b"x").expect("the duplicate reads");
        soon(ours.ready(Side::Read)).await.expect("the duplicate is registered");
        assert_eq!(kernel::link(ours.as_fd().as_raw_fd()), pipe);
        assert_eq!(kernel::epoll_list(epoll).len(), before + 1);
        drop(ours);
        assert_eq!(kernel::epoll_list(epoll).len(), before);
        to_first.write_all(b"x").expect_err("nobody reads any more").kind()
    });
    assert_eq!(done.expect("nothing runs here yet"), ErrorKind::BrokenPipe);
}

/// The descriptor is silent, then the event happens, then a read of `len` bytes succeeds; then the
/// same once more where it has happened already.
async fn reported(ours: File, len: usize, mut happen: impl FnMut()) {
    let ours = fd(ours, Interest::READABLE);
    let mut record = [0; 256];
    for _ in 0..2 {
        assert!(is_pending(ours.ready(Side::Read)).await, "nothing has happened");
        happen();
        assert!(soon(ours.ready(Side::Read)).await.expect("a report").is_readable());
        let read = soon(ours.with(Side::Read, |mut file| file.read(&mut record))).await;
        assert_eq!(read.expect("a record"), len);
        let again = ours.try_with(Side::Read, |mut file| file.read(&mut record));
        assert_eq!(again.expect_err("one record").kind(), ErrorKind::WouldBlock);
    }
}

fn fd<T: AsFd>(value: T, interest: Interest) -> Fd<T> {
    Fd::new(value, interest).map_err(|(error, _)| error).expect("a pollable descriptor")
}

fn run(test: impl Future<Output = ()>) {
    Reactor::new().expect("a reactor").block_on(test).expect("nothing runs here yet");
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes within a minute")
}

/// Polls once, after a turn that would have brought what is there.
async fn is_pending<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    let mut pending = true;
    for _ in 0..3 {
        pending &= poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
        squall_reactor::yield_now().await;
    }
    pending
}
