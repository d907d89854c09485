//! What a handler learns when its client leaves, and that nothing is left of thousands who did.
//!
//! The short form of the last test runs with the others. In the long one the clients are ten thousand,
//! and the figures are printed:
//!
//!     SQUALL_LEAVERS=10000 cargo test --release --test leaving nothing_is_left -- --nocapture

mod http;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write as _;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use http::{Client, PATIENCE, PROBE, TestServer, descriptors, wait_until};
use squall_http::timeout::answer_within;
use squall_http::{Fin, Limits, Request, Response, Server};
use squall_reactor::{Pool, sleep};

/// The descriptors are the process's, and one test counts them.
static ALONE: Mutex<()> = Mutex::new(());

// What a handler may choose

/// Tells its name when it is dropped.
struct Told(Sender<&'static str>, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

fn serve(fin: Fin) -> (TestServer, Receiver<&'static str>) {
    let (tell, told) = mpsc::channel();
    let server = TestServer::start(move || {
        let handler = async move |request: &mut Request<'_>| choose(&tell, request).await;
        Server::new(handler).on_fin(fin)
    });
    (server, told)
}

async fn choose(tell: &Sender<&'static str>, request: &mut Request<'_>) -> Response {
    let say = |what| tell.send(what).expect("the test waits");
    match request.path() {
        b"/dropped" => {
            let _told = Told(tell.clone(), "dropped");
            say("begun");
            std::future::pending().await
        }
        b"/told" => {
            let (left, _told) = (request.left(), Told(tell.clone(), "ended"));
            say("begun");
            left.await;
            say("left");
            // It is not dropped now, and asked late it hears it at once.
            sleep(Duration::from_millis(20)).await;
            request.left().await;
            say("undone");
            Response::text("for nobody")
        }
        b"/told/foreign" => {
            // Behind a waker of its own, as in a select of many futures.
            let mut left = pin!(request.left());
            let woken = Rc::new(Cell::new(false));
            say("begun");
            let foreign = foreign_waker();
            poll_fn(|cx| {
                foreign.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
                left.as_mut().poll(&mut Context::from_waker(&foreign.1))
            })
            .await;
            woken.set(true);
            say("left");
            Response::text("for nobody")
        }
        b"/ignored" => {
            request.ignore_left();
            let _told = Told(tell.clone(), "ended");
            say("begun");
            sleep(Duration::from_millis(100)).await;
            say("finished");
            Response::text("for nobody")
        }
        _ => Response::text("probe"),
    }
}

/// A waker that wakes another, which may change.
fn foreign_waker() -> (Arc<Mutex<Waker>>, Waker) {
    struct Relay(Arc<Mutex<Waker>>);
    impl std::task::Wake for Relay {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
    let target = Arc::new(Mutex::new(Waker::noop().clone()));
    (Arc::clone(&target), Waker::from(Arc::new(Relay(target))))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_handler_is_dropped_or_told_or_goes_on_as_it_has_chosen() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let paths: [(&str, &[&str]); 4] = [
        ("/dropped", &["begun", "dropped"]),
        ("/told", &["begun", "left", "undone", "ended"]),
        ("/told/foreign", &["begun", "left"]),
        ("/ignored", &["begun", "finished", "ended"]),
    ];
    for (path, expected) in paths {
        for resets in [false, true] {
            let (server, told) = serve(Fin::Left);
            let mut client = server.connect();
            // What was answered before is sent, whatever this handler chooses.
            client.send([PROBE, get(path).as_bytes()].concat());
            assert_eq!(client.answer("GET").body, b"probe");
            for (i, what) in expected.iter().enumerate() {
                assert_eq!(told.recv_timeout(PATIENCE).as_ref(), Ok(what), "{path}");
                if i == 0 {
                    match resets {
                        true => std::mem::replace(&mut client, server.connect()).reset(),
                        false => drop(std::mem::replace(&mut client, server.connect())),
                    }
                }
            }
            drop(client);
            server.comes_to_rest();
            let cancelled = server.ask(|_, serving| serving.cancelled());
            assert_eq!(cancelled, u64::from(path == "/dropped"), "{path}");
        }
    }
}

/// What a FIN means holds for being told as it does for being dropped: a half-close is no leaving
/// where the server takes it for none, and who is still there gets the answer.
#[test]
fn a_half_close_is_told_where_it_is_leaving_and_not_where_it_is_none() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (server, told) = serve(Fin::Left);
    let mut client = server.connect();
    client.send(get("/told"));
    assert_eq!(told.recv_timeout(PATIENCE), Ok("begun"));
    client.finish_sending();
    assert_eq!(told.recv_timeout(PATIENCE), Ok("left"));
    assert_eq!(client.answer("GET").body, b"for nobody", "it was there after all");
    drop(client);
    drop(server);
    let (server, told) = serve(Fin::HalfClosed);
    let mut client = server.connect();
    client.send(get("/told"));
    assert_eq!(told.recv_timeout(PATIENCE), Ok("begun"));
    client.finish_sending();
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "a half-close was told");
    client.reset();
    assert_eq!(told.recv_timeout(PATIENCE), Ok("left"));
    server.comes_to_rest();
}

// Thousands leave

/// How a client leaves. Who vanishes sends nothing more, not even a FIN, and reads nothing: so it is with
/// a host that has lost its network or its power, but for the kernel there, which goes on
/// acknowledging until its buffer is full. No server can tell it from a client that thinks; a time
/// limit must end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Closes,
    HalfClosesThenCloses,
    Resets,
    Vanishes,
}

const LEAVES: [Leaves; 4] =
    [Leaves::Closes, Leaves::HalfClosesThenCloses, Leaves::Resets, Leaves::Vanishes];

/// What is going on when it leaves.
const ASKS: [&str; 7] = [
    "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
    "",
    "GET /wai",
    "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /pool HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    "GET /told HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Handlers and jobs that have begun, and those that go on.
#[derive(Debug, Default)]
struct Going {
    handlers: AtomicUsize,
    jobs: AtomicUsize,
    begun_handlers: AtomicUsize,
    begun_jobs: AtomicUsize,
}

static GOING: Going = Going {
    handlers: AtomicUsize::new(0),
    jobs: AtomicUsize::new(0),
    begun_handlers: AtomicUsize::new(0),
    begun_jobs: AtomicUsize::new(0),
};

struct Counted(&'static AtomicUsize);

impl Counted {
    fn new(going: &'static AtomicUsize, begun: &'static AtomicUsize) -> Self {
        going.fetch_add(1, SeqCst);
        begun.fetch_add(1, SeqCst);
        Counted(going)
    }

    fn handler() -> Self {
        Self::new(&GOING.handlers, &GOING.begun_handlers)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl fmt::Display for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicUsize| count.load(SeqCst);
        let (handlers, jobs) = (of(&self.begun_handlers), of(&self.begun_jobs));
        write!(f, "{handlers} handlers and {jobs} jobs had begun, ")?;
        write!(f, "{} and {} are going on", of(&self.handlers), of(&self.jobs))
    }
}

/// The article's case: a client leaves, and what it asked for goes on and on.
#[test]
fn nothing_is_left_of_clients_that_leave_in_the_middle() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let count = std::env::var("SQUALL_LEAVERS").map_or(400, |n| n.parse().expect("a number"));
    let server = TestServer::start(|| {
        let mut limits = Limits::default();
        // They end who vanishes, together with the handlers' own.
        (limits.head_timeout, limits.idle_timeout) = (LIMIT, LIMIT);
        (limits.write_timeout, limits.body_grace) = (LIMIT, LIMIT);
        let pool = Pool::builder().threads(1..=4).queue(64).build().expect("a thread");
        let limited_pool = pool.clone();
        let limited = answer_within(LIMIT, async move |request: &mut Request<'_>| {
            in_the_middle(&limited_pool, request).await
        });
        Server::new(async move |request: &mut Request<'_>| {
            match request.path().starts_with(b"/limited") {
                true => limited(request).await,
                false => in_the_middle(&pool, request).await,
            }
        })
        .limits(limits)
    });
    let before = descriptors();
    let mut vanished: Vec<Client> = Vec::new();
    for i in 0..count {
        let (ask, leaves) = (ASKS[i % ASKS.len()], LEAVES[i / ASKS.len() % LEAVES.len()]);
        let mut client = server.connect();
        let begun = GOING.begun_handlers.load(SeqCst);
        match leaves {
            Leaves::Vanishes => client.send(ask.replacen(" /", " /limited/", 1)),
            _ => client.send(ask),
        }
        // Some leave before the server has looked, some while it works.
        if i % 5 < 3 && ask.contains("\r\n\r\n") {
            wait_until("a handler's begin", || match GOING.begun_handlers.load(SeqCst) - begun {
                0 => Err("none"),
                _ => Ok(()),
            });
        }
        match leaves {
            Leaves::Closes => drop(client),
            Leaves::Resets => client.reset(),
            Leaves::HalfClosesThenCloses => {
                client.finish_sending();
                drop(client);
            }
            Leaves::Vanishes => vanished.push(client),
        }
        if vanished.len() >= MAX_VANISHED {
            server_forgets(&server, &mut vanished);
        }
    }
    server_forgets(&server, &mut vanished);
    server.comes_to_rest();
    wait_until("the end of all that was begun", || {
        match (GOING.handlers.load(SeqCst), GOING.jobs.load(SeqCst), descriptors()) {
            (0, 0, now) if now == before => Ok(()),
            going => Err(going),
        }
    });
    let cancelled = server.ask(|_, serving| serving.cancelled());
    // Past the capture of print macros: the figure is worth seeing.
    let stderr = &mut std::io::stderr();
    let _ = writeln!(
        stderr,
        "{count} clients left within {:?}: {GOING}; {cancelled} handlers were dropped because their client had left",
        begun.elapsed()
    );
}

const LIMIT: Duration = Duration::from_millis(300);
/// They hold a descriptor here and one in the server.
const MAX_VANISHED: usize = 300;

/// Waits until the server has ended the connections of those who vanished, by its limits.
fn server_forgets(server: &TestServer, vanished: &mut Vec<Client>) {
    wait_until("the limits", || match server.connections() {
        0 => Ok(()),
        open => Err(open),
    });
    vanished.clear();
}

/// What is asked for below `/limited` has a time limit; the rest ends with its client or never.
async fn in_the_middle(pool: &Pool, request: &mut Request<'_>) -> Response {
    let counted = Counted::handler();
    let path = request.path();
    match path.strip_prefix(b"/limited").unwrap_or(path) {
        b"/pool" => {
            let work = pool.run_with(|cancelled| {
                let _counted = Counted::new(&GOING.jobs, &GOING.begun_jobs);
                while !cancelled.is_cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            Response::text(format!("{:?}", work.await.is_ok()))
        }
        b"/told" => {
            request.left().await;
            Response::text("for nobody")
        }
        b"/body" => {
            request.body().bytes().await.map_or_else(Response::from, |_| Response::text("read"))
        }
        b"/endless" => {
            let piece = move || {
                let _ = &counted;
                [b'x'; 4096]
            };
            Response::pieces("text/plain", std::iter::repeat_with(piece))
        }
        _ => std::future::pending().await,
    }
}
