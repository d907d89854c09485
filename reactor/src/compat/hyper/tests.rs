use std::future::poll_fn;
use std::sync::Mutex;
use std::task::Waker;
use std::thread;

use ::hyper::rt::{Read, ReadBuf, Timer, Write};

use super::*;
use crate::{Reactor, yield_now};

const FAR: Duration = Duration::from_secs(3600);

/// Polls a sleep once, where it is expected to wait.
async fn wait_for(sleep: &mut Pin<Box<dyn rt::Sleep>>) {
    let once = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx)));
    assert!(once.await.is_pending());
}

fn arm(reactor: &mut Reactor, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
    let mut sleep = HyperTimer.sleep(duration);
    reactor.block_on(wait_for(&mut sleep)).expect("nothing runs here yet");
    sleep
}

fn timers(reactor: &mut Reactor) -> u64 {
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    reactor.stats().timers
}

/// A sleep that ended with its task, outside of the loop, or on another thread must not stay in the
/// wheel, where it would wake the loop for nothing (law 8).
#[test]
fn a_dropped_sleep_is_disarmed_wherever_it_is_dropped() {
    let mut reactor = Reactor::new().expect("a reactor");
    reactor
        .block_on(async {
            let mut sleep = HyperTimer.sleep(FAR);
            wait_for(&mut sleep).await;
        })
        .expect("nothing runs here yet");
    assert_eq!(timers(&mut reactor), 0, "dropped in the loop");

    let sleep = arm(&mut reactor, FAR);
    assert_eq!(timers(&mut reactor), 1);
    drop(sleep);
    assert_eq!(timers(&mut reactor), 0, "dropped between two turns");

    let sleep = arm(&mut reactor, FAR);
    thread::spawn(move || drop(sleep)).join().expect("it only drops");
    assert_eq!(timers(&mut reactor), 0, "dropped on another thread");
}

/// A sleep that is moved earlier while its task waits wakes it at the new deadline, whoever moves it.
#[test]
fn a_reset_moves_a_sleep_that_somebody_waits_for() {
    let mut reactor = Reactor::new().expect("a reactor");
    for elsewhere in [false, true] {
        let shared: Arc<Mutex<_>> = Arc::new(Mutex::new(HyperTimer.sleep(FAR)));
        let (waited, moved) = (Arc::clone(&shared), Arc::clone(&shared));
        let begun = Instant::now();
        let move_it = move || {
            let deadline = Instant::now() + Duration::from_millis(2);
            HyperTimer.reset(&mut moved.lock().expect("no panic"), deadline);
        };
        reactor
            .block_on(async move {
                let wait = poll_fn(move |cx| waited.lock().expect("no panic").as_mut().poll(cx));
                let task = Handle::current().expect("inside").spawn(wait);
                yield_now().await; // it waits
                match elsewhere {
                    true => thread::spawn(move_it).join().expect("no panic"),
                    false => move_it(),
                }
                task.await.expect("no panic");
            })
            .expect("nothing runs here yet");
        assert!(begun.elapsed() >= Duration::from_millis(2), "early");
    }
}

/// Polled in another reactor a sleep wakes there, and the first reactor forgets it.
#[test]
fn a_sleep_moves_to_the_reactor_that_polls_it() {
    let (mut first, mut second) = (Reactor::new().expect("one"), Reactor::new().expect("two"));
    let sleep = arm(&mut first, Duration::from_millis(5));
    let deadline = Instant::now();
    second.block_on(sleep).expect("nothing runs here yet");
    assert!(deadline.elapsed() < FAR);
    assert_eq!(timers(&mut first), 0);
}

/// A sleep outlives its reactor, and is never early for it (law 10).
#[test]
fn a_sleep_whose_reactor_has_ended_waits_in_the_next_one() {
    let mut reactor = Reactor::new().expect("a reactor");
    let begun = Instant::now();
    let sleep = arm(&mut reactor, Duration::from_millis(20));
    drop(reactor);
    Reactor::new().expect("another").block_on(sleep).expect("nothing runs here yet");
    assert!(begun.elapsed() >= Duration::from_millis(20), "early");
}

/// The bytes go into memory that nobody has written, behind those that are there already.
#[test]
fn a_read_appends_to_what_the_buffer_has() {
    let mut reactor = Reactor::new().expect("a reactor");
    reactor
        .block_on(async {
            let (mut ours, mut theirs) = UnixStream::pair()?;
            let mut memory = [std::mem::MaybeUninit::uninit(); 8];
            let mut buf = ReadBuf::uninit(&mut memory);
            for part in [&b"abc"[..], b"defgh"] {
                let bufs = [IoSlice::new(part)];
                poll_fn(|cx| Pin::new(&mut theirs).poll_write_vectored(cx, &bufs)).await?;
                poll_fn(|cx| Read::poll_read(Pin::new(&mut ours), cx, buf.unfilled())).await?;
            }
            assert_eq!(buf.filled(), b"abcdefgh");
            poll_fn(|cx| Pin::new(&mut theirs).poll_shutdown(cx)).await?;
            let mut end = ReadBuf::new(&mut []);
            poll_fn(|cx| Read::poll_read(Pin::new(&mut ours), cx, end.unfilled())).await
        })
        .expect("nothing runs here yet")
        .expect("no error");
}

/// What hyper spawns may hold what is not `Send`.
#[test]
fn a_handle_executes_futures_that_stay_on_its_thread() {
    let mut reactor = Reactor::new().expect("a reactor");
    let done = std::rc::Rc::new(std::cell::Cell::new(false));
    let ours = std::rc::Rc::clone(&done);
    rt::Executor::execute(&reactor.handle(), async move { ours.replace(true) });
    reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(done.get());
}

/// hyper keeps sleeps in connections that must be `Send` for it.
#[test]
fn a_sleep_may_go_to_any_thread() {
    fn is_send_and_sync(_: &(impl Send + Sync + ?Sized)) {}
    let sleep = HyperTimer.sleep(FAR);
    is_send_and_sync(&*sleep);
    let mut sleep = sleep;
    let polled = thread::spawn(move || {
        let waker = Waker::noop();
        let _ = sleep.as_mut().poll(&mut Context::from_waker(waker));
    });
    assert!(polled.join().is_err(), "no reactor turns there");
}
