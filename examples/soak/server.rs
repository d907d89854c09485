//! The server under load: workers with HTTP routes, and beside them tasks, timers, sources, pool jobs
//! and remote calls that begin and are given up all the time.
//!
//! Everything that begins is counted, and counted again when it has ended. At rest both are equal, or
//! something was lost.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt::Write as _;
use std::future::pending;
use std::io::Write as _;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use squall_http::{Limits, Method, Request, Response, RouteError, Router, Server, ServerStats};
use squall_reactor::net::UnixStream;
use squall_reactor::workers::{Bind, Workers};
use squall_reactor::{
    Config, Handle, Interest, JoinHandle, Next, Pool, Reactor, Registration, Remote, Signals,
    SpinPolicy, Trigger, pipe, sleep,
};

use crate::plan::{Chance, PATIENCE, Plant, WORKERS};

/// What holds the loop longer is named. Far above what a busy machine does to a thread.
const STUCK: Duration = Duration::from_secs(8);

/// Binds, prints the addresses, forks, and supervises until SIGTERM.
pub fn run(plant: Plant) -> Result<(), Box<dyn Error>> {
    let mut public = Bind::new("127.0.0.1:0").reuse_port(WORKERS).bind()?;
    let mut asked = Vec::new();
    let mut line = public.local_addrs()[0].to_string();
    for _ in 0..WORKERS {
        let sockets = Bind::new("127.0.0.1:0").bind()?;
        let _ = write!(line, " {}", sockets.local_addrs()[0]);
        asked.push(sockets);
    }
    println!("{line}");
    let work = |index: usize| {
        let mut sockets = public.take(index);
        for (other, asked) in asked.iter_mut().enumerate() {
            let taken = asked.take(0);
            if other == index {
                sockets.extend(taken);
            }
        }
        match serve(sockets, plant) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("soak: worker {index}: {error}");
                1
            }
        }
    };
    Ok(Workers::new(WORKERS).restarts(u32::MAX).run(work)?)
}

fn serve(sockets: Vec<TcpListener>, plant: Plant) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([Signals::TERM, Signals::INT])?;
    let mut reactor = Reactor::builder()
        .on_spin(SpinPolicy::log(|report| {
            if report.reports < 2 * Config::default().spin_threshold {
                eprintln!("soak: it spins: {report}"); // once for each source
            }
        }))
        .watchdog(STUCK, |report| eprintln!("soak: it is stuck: {report}"))
        .build()?;
    let handle = reactor.handle();
    let pool = Pool::builder().threads(1..=4).queue(16).build()?;
    let churn = Rc::new(Churn::new(&handle, pool, Caller::start(reactor.remote()), plant));
    let mut limits = Limits::default();
    limits.head_timeout = Duration::from_secs(2);
    limits.idle_timeout = Duration::from_secs(5);
    let stats = ServerStats::default();
    let mut serving = Server::new(routes(&churn, &stats)?.into_handler())
        .limits(limits)
        .stats(&stats)
        .add_sockets(sockets)
        .start(&handle)?;
    reactor.block_on(async {
        let _received = signals.recv().await?;
        serving.shutdown(Duration::from_secs(5)).await;
        std::io::Result::Ok(())
    })??;
    Ok(())
}

fn routes(churn: &Rc<Churn>, stats: &ServerStats) -> Result<Router, RouteError> {
    let (for_pool, for_sleep, for_echo) = (churn.clone(), churn.clone(), churn.clone());
    let (for_churn, for_ask, stats) = (churn.clone(), churn.clone(), stats.clone());
    Router::new()
        .plain(Method::Get, "/", |_| Response::text("soak\n"))?
        .post("/echo", async move |request: &mut Request<'_>| {
            let bytes = request.body().bytes().await;
            for_echo.planted();
            match bytes {
                Ok(bytes) if for_echo.plant == Plant::Memory => {
                    Response::bytes("text/plain", &*bytes.leak())
                }
                Ok(bytes) => Response::bytes("text/plain", bytes),
                Err(error) => error.into(),
            }
        })?
        .get("/sleep/{n}", async move |request: &mut Request<'_>| {
            sleep(Duration::from_millis(number(request))).await;
            if for_sleep.plant == Plant::Answer && for_sleep.nth.get() % 50 == 1 {
                pending::<()>().await;
            }
            for_sleep.planted();
            Response::text("slept\n")
        })?
        .get("/pool/{n}", async move |request: &mut Request<'_>| {
            let time = Duration::from_millis(number(request));
            match for_pool.pool.run(move || std::thread::sleep(time)).await {
                Ok(()) => Response::text("worked\n"),
                Err(error) => Response::text(format!("the pool: {error}\n")),
            }
        })?
        .plain(Method::Get, "/large/{n}", |request| {
            Response::bytes("text/plain", vec![b'x'; number(request) as usize])
        })?
        .plain(Method::Get, "/pieces/{n}", |request| {
            let pieces = number(request);
            Response::pieces("text/plain", (0..pieces).map(|_| vec![b'y'; 1000]))
        })?
        .plain(Method::Get, "/churn/{n}", move |request| {
            for_churn.switch(number(request) == 1);
            Response::text("")
        })?
        .plain(Method::Get, "/ask", move |_| Response::text(for_ask.figures(&stats)))?
        .plain(Method::Get, "/snapshot", |_| match Handle::current() {
            Ok(handle) => Response::text(handle.snapshot().to_string()),
            Err(error) => Response::text(error.to_string()),
        })
}

fn number(request: &Request<'_>) -> u64 {
    request.param("n").and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What goes on beside the requests.
struct Churn {
    handle: Handle,
    pool: Pool,
    caller: Caller,
    plant: Plant,
    on: Cell<bool>,
    /// Requests, for what is planted now and then.
    nth: Cell<u64>,
    begun: Rc<Cell<u64>>,
    ended: Rc<Cell<u64>>,
    spinner: RefCell<Option<Registration<std::io::PipeReader>>>,
}

impl Churn {
    fn new(handle: &Handle, pool: Pool, caller: Caller, plant: Plant) -> Self {
        let handle = handle.clone();
        let (begun, ended) = (Rc::default(), Rc::default());
        let (on, nth, spinner) = (Cell::new(false), Cell::new(0), RefCell::new(None));
        Self { handle, pool, caller, plant, on, nth, begun, ended, spinner }
    }

    fn switch(self: &Rc<Self>, on: bool) {
        self.caller.switch(on);
        if self.on.replace(on) || !on {
            return;
        }
        let churn = Rc::clone(self);
        self.handle.spawn_detached(async move {
            let mut chance = Chance::new(u64::from(std::process::id()), churn.begun.get());
            while churn.on.get() {
                sleep(chance.up_to_ms(10)).await;
                churn.step(&mut chance);
            }
        });
    }

    /// One thing more begins. Where descriptors are short it cannot, which is no fault.
    fn step(self: &Rc<Self>, chance: &mut Chance) {
        match chance.below(5) {
            0 => self.timers(chance),
            1 => self.give_up(chance, sleep(Duration::from_secs(3600))),
            2 => self.pipe(chance),
            3 => self.ping_pong(),
            _ => self.jobs(chance),
        }
    }

    /// Eight timers; every second one is cancelled at once.
    fn timers(&self, chance: &mut Chance) {
        for nth in 0..8 {
            let mark = self.mark();
            let Ok(timer) = self.handle.after(chance.up_to_ms(200), move || drop(mark)) else {
                return;
            };
            if nth % 2 == 0 {
                self.handle.cancel(timer);
            }
        }
    }

    /// A task that would wait for ever, cancelled after a while.
    fn give_up(&self, chance: &mut Chance, work: impl Future + 'static) {
        let mark = self.mark();
        let task = self.handle.spawn(async move {
            work.await;
            drop(mark);
        });
        self.abort_later(chance.up_to_ms(100), task);
    }

    fn abort_later(&self, delay: Duration, task: JoinHandle<()>) {
        let mark = self.mark();
        self.handle.spawn_detached(async move {
            sleep(delay).await;
            task.abort();
            drop(mark);
        });
    }

    /// A reader that is either cancelled while it holds its source, or sees the writer go.
    fn pipe(&self, chance: &mut Chance) {
        let Ok((reader, writer)) = pipe() else { return };
        let read = async move { while matches!(reader.read(&mut [0; 64]).await, Ok(1..)) {} };
        let (close, mark) = (chance.up_to_ms(50), self.mark());
        self.handle.spawn_detached(async move {
            let _ = writer.write_all(b"some bytes").await;
            sleep(close).await;
            drop((writer, mark));
        });
        if chance.below(2) == 0 {
            self.give_up(chance, read);
        } else {
            let mark = self.mark();
            self.handle.spawn_detached(async move {
                read.await;
                drop(mark);
            });
        }
    }

    /// Two tasks that wake each other through the kernel; each must get all of its turns.
    fn ping_pong(&self) {
        let Ok((one, other)) = UnixStream::pair() else { return };
        for (first, stream) in [(true, one), (false, other)] {
            let mark = self.mark();
            self.handle.spawn_detached(async move {
                if first && stream.write_all(b"p").await.is_err() {
                    return;
                }
                for _ in 0..100 {
                    let Ok(1) = stream.read(&mut [0]).await else { break };
                    let Ok(()) = stream.write_all(b"p").await else { break };
                }
                drop(mark);
            });
        }
    }

    /// Jobs that are wanted, cancelled, forgotten, and refused because the queue is full.
    fn jobs(&self, chance: &mut Chance) {
        let time = chance.up_to_ms(3);
        let work = move || std::thread::sleep(time);
        drop(self.pool.run(work));
        self.pool.run(work).cancel();
        for _ in 0..chance.below(24) {
            let _full = self.pool.execute(work);
        }
        let (run, mark) = (self.pool.run(work), self.mark());
        self.handle.spawn_detached(async move {
            let _done = run.await;
            drop(mark);
        });
        let run = self.pool.run(work);
        self.give_up(chance, run);
    }

    /// Counts a beginning, and at its drop the end.
    fn mark(&self) -> Mark {
        self.begun.set(self.begun.get() + 1);
        Mark(Rc::clone(&self.ended))
    }

    /// What was planted into requests.
    fn planted(&self) {
        self.nth.set(self.nth.get() + 1);
        match self.plant {
            Plant::Descriptor if self.nth.get() % 100 == 1 => std::mem::forget(std::io::pipe()),
            Plant::Spin if self.spinner.borrow().is_none() => {
                let Ok((reader, mut writer)) = std::io::pipe() else { return };
                let _written = writer.write_all(b"unread");
                let (level, on) = (Trigger::Level, Interest::READABLE);
                let spinner = self.handle.register(reader, on, level, |_, _| Next::Wait);
                self.spinner.replace(spinner.ok());
            }
            Plant::Wake if self.nth.get() % 100 == 1 => {
                let mark = self.mark();
                self.handle.spawn_detached(async move {
                    pending::<()>().await;
                    drop(mark);
                });
            }
            _ => {}
        }
    }

    /// A line for each figure.
    fn figures(&self, stats: &ServerStats) -> String {
        let mut text = format!("pid {}\n", std::process::id());
        let mut line = |name: &str, value: u64| {
            let _ = writeln!(text, "{name} {value}");
        };
        for (name, value) in self.handle.stats().iter() {
            line(name, value);
        }
        let pool = self.pool.stats();
        line("connections", stats.connections() as u64);
        line("requests", stats.requests());
        line("requests_cancelled", stats.cancelled());
        line("jobs_open", (pool.queued + pool.waiting + pool.running) as u64);
        line("jobs_done", pool.completed);
        line("panics", pool.panicked);
        line("begun", self.begun.get());
        line("open", self.begun.get() - self.ended.get());
        line("calls", self.caller.made());
        line("calls_lost", self.caller.lost());
        text
    }
}

struct Mark(Rc<Cell<u64>>);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A thread that calls into the loop at any moment and waits for each call to be run.
struct Caller {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    on: Mutex<bool>,
    changed: Condvar,
    made: AtomicU64,
    lost: AtomicU64,
}

impl Caller {
    fn start(remote: Remote) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut chance = Chance::new(u64::from(std::process::id()), 1);
            let (answer, answers) = mpsc::channel();
            loop {
                own.wait();
                own.made.fetch_add(1, SeqCst);
                let answer = answer.clone();
                if remote
                    .call(move |_| {
                        let _ = answer.send(());
                    })
                    .is_err()
                {
                    return; // the loop has ended in order
                }
                if answers.recv_timeout(PATIENCE).is_err() {
                    own.lost.fetch_add(1, SeqCst);
                }
                std::thread::sleep(chance.up_to_ms(2));
            }
        });
        Self { shared }
    }

    fn switch(&self, on: bool) {
        *self.shared.on.lock().expect("nobody panics with it") = on;
        self.shared.changed.notify_one();
    }

    fn made(&self) -> u64 {
        self.shared.made.load(SeqCst)
    }

    fn lost(&self) -> u64 {
        self.shared.lost.load(SeqCst)
    }
}

impl Shared {
    fn wait(&self) {
        let mut on = self.on.lock().expect("nobody panics with it");
        while !*on {
            on = self.changed.wait(on).expect("nobody panics with it");
        }
    }
}
