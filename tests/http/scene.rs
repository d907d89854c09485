//! A server whose handlers wait at a gate, and count what becomes of them.
//!
//! The guard in a handler's future knows whether it was dropped before its end. The gate is on the
//! server's thread and is opened by the test, so that no handler needs a timer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use squall_http::{Fin, Method, Request, Response, Router, Server};
use squall_reactor::Pool;

use super::{Client, TestServer, descriptors, wait_until};

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Closes: a FIN, and a reset once something is written to it.
    Closes,
    /// Ends sending, reads what comes, and then closes.
    HalfCloses,
    /// Closes with a reset.
    Resets,
}

/// A server with a gate, what its handlers have come to, and the process's descriptors before.
pub struct Scene {
    pub server: TestServer,
    counts: Arc<Counters>,
    descriptors: usize,
    _alone: MutexGuard<'static, ()>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub begun: usize,
    pub ended: usize,
    pub dropped: usize,
}

#[derive(Debug, Default)]
struct Counters {
    begun: AtomicUsize,
    ended: AtomicUsize,
    dropped: AtomicUsize,
}

pub const LEAVES: [Leave; 3] = [Leave::Closes, Leave::HalfCloses, Leave::Resets];

static ALONE: Mutex<()> = Mutex::new(());
/// Pieces of work that a thread of the pool is at, and all that ever began.
pub static WORKING: AtomicUsize = AtomicUsize::new(0);
pub static WORKED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// On the server's thread: whether the gate is open, and who waits at it.
    static OPEN: Cell<bool> = const { Cell::new(false) };
    static AT_THE_GATE: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// The same for each way to leave, each on a server of its own, where a FIN means `Left`.
pub fn for_each_leave(act: impl Fn(&Scene, Leave)) {
    for leave in LEAVES {
        let scene = Scene::new(Fin::Left);
        act(&scene, leave);
        scene.comes_to_rest();
    }
}

impl Scene {
    pub fn new(fin: Fin) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = Arc::new(Counters::default());
        let shared = Arc::clone(&counts);
        let server =
            TestServer::start(move || Server::new(routes(shared).into_handler()).on_fin(fin));
        Scene { server, counts, descriptors: descriptors(), _alone: alone }
    }

    pub fn leave(&self, mut client: Client, leave: Leave) {
        match leave {
            Leave::Closes => drop(client),
            Leave::Resets => client.reset(),
            Leave::HalfCloses => {
                client.finish_sending();
                // Until the server gives up, or has nothing more to say in a moment.
                let _ = client.stream().set_read_timeout(Some(Duration::from_millis(20)));
                let _ = client.read_exactly(1 << 20);
            }
        }
    }

    /// Waits until so many handlers have begun, and wait.
    pub fn begun(&self, count: usize) {
        wait_until("the handler's begin", || match self.counts() {
            Counts { begun, .. } if begun == count => Ok(()),
            other => Err(other),
        });
    }

    pub fn counts(&self) -> Counts {
        let Counters { begun, ended, dropped } = &*self.counts;
        Counts {
            begun: begun.load(SeqCst),
            ended: ended.load(SeqCst),
            dropped: dropped.load(SeqCst),
        }
    }

    /// The counts, which begin again at 0.
    pub fn take_counts(&self) -> Counts {
        let Counters { begun, ended, dropped } = &*self.counts;
        let take = |count: &AtomicUsize| count.swap(0, SeqCst);
        Counts { begun: take(begun), ended: take(ended), dropped: take(dropped) }
    }

    /// Lets go on who waits, and who comes later.
    pub fn open_gate(&self) {
        self.server.ask(|_, _| {
            OPEN.set(true);
            AT_THE_GATE.take().into_iter().for_each(Waker::wake);
        });
    }

    /// Waits for 100 ms in which the loop does not turn once.
    pub fn stays_silent(&self) {
        wait_until("a silent loop", || {
            let before = self.server.stats().turns;
            thread::sleep(Duration::from_millis(100));
            match self.server.stats().turns - before {
                0 => Ok(()),
                turns => Err(turns),
            }
        });
    }

    /// Waits until only the listener lives and no descriptor is left over.
    pub fn comes_to_rest(&self) {
        self.server.comes_to_rest();
        wait_until("the descriptors before", || match descriptors() {
            now if now == self.descriptors => Ok(()),
            now => Err((self.descriptors, now)),
        });
    }
}

/// Counts what becomes of one handler.
struct Guard {
    counts: Arc<Counters>,
    ended: bool,
}

impl Guard {
    fn begin(counts: &Arc<Counters>) -> Self {
        counts.begun.fetch_add(1, SeqCst);
        Guard { counts: Arc::clone(counts), ended: false }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let count = if self.ended { &self.counts.ended } else { &self.counts.dropped };
        count.fetch_add(1, SeqCst);
    }
}

fn routes(counts: Arc<Counters>) -> Router {
    let pool = Pool::builder().threads(1..=1).build().expect("a thread");
    let guard = move || Guard::begin(&counts);
    let (wait, post_wait, body) = (guard.clone(), guard.clone(), guard.clone());
    let (both, work, endless) = (guard.clone(), guard.clone(), guard);
    let router = Router::new()
        .plain(Method::Get, "/probe", |_| Response::text("probe"))
        .and_then(|router| {
            router.get("/wait", async move |_: &mut Request<'_>| waited(wait()).await)
        })
        .and_then(|router| {
            router.post("/wait", async move |_: &mut Request<'_>| waited(post_wait()).await)
        })
        .and_then(|router| {
            router.post("/body", async move |request: &mut Request<'_>| read(body(), request).await)
        })
        .and_then(|router| {
            router.post("/wait_then_body_then_wait", async move |request: &mut Request<'_>| {
                let guard = both();
                gate().await;
                let body = request.body().bytes().await;
                assert_eq!(body.expect("a body"), b"hello");
                std::future::pending::<()>().await;
                guard.end();
                Response::text("never")
            })
        })
        .and_then(|router| {
            router.get("/pool", async move |_: &mut Request<'_>| {
                let guard = work();
                let result = pool.run_with(|cancelled| {
                    WORKING.fetch_add(1, SeqCst);
                    WORKED.fetch_add(1, SeqCst);
                    while !cancelled.is_cancelled() {
                        thread::sleep(Duration::from_millis(1));
                    }
                    WORKING.fetch_sub(1, SeqCst);
                });
                result.await.expect("it is not asked for after its end");
                guard.end();
                Response::text("worked")
            })
        })
        .and_then(|router| {
            router.plain(Method::Get, "/endless", move |_| {
                let guard = endless();
                Response::pieces(
                    "text/plain",
                    std::iter::repeat_with(move || {
                        let _ = &guard;
                        "x".repeat(4096)
                    }),
                )
            })
        });
    router.expect("the patterns are right")
}

async fn waited(guard: Guard) -> Response {
    gate().await;
    guard.end();
    Response::text("waited")
}

async fn read(guard: Guard, request: &mut Request<'_>) -> Response {
    let result = request.body().bytes().await;
    guard.end();
    match result {
        Ok(bytes) => Response::bytes("application/octet-stream", bytes),
        Err(error) => error.into(),
    }
}

/// Waits until the gate is open, without a timer.
async fn gate() {
    poll_fn(|cx| {
        if OPEN.get() {
            return Poll::Ready(());
        }
        AT_THE_GATE.with_borrow_mut(|waiting| waiting.push(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}
