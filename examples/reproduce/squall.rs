//! The same server on Squall, started in the same three ways.
//!
//! The wrong way reads as naturally as elsewhere: listen, then fork. But `fork_workers` finds the
//! reactor alive and refuses; and a child that somebody forks past it finds every handle dead
//! (law 6). Take both guards out of Squall, and this row shows what they are for. Next: `tornado`.

use std::cell::Cell;
use std::net::TcpListener;
use std::time::Duration;

use squall_http::{Request, Response, Server, StatusCode};
use squall_reactor::workers::{Bind, fork_workers};
use squall_reactor::{Error, Pool, Reactor, sleep};

use crate::counters::{Counters, Worker};
use crate::rows::{Handler, Start};
use crate::server::{End, Job, QUICK, SLOW};

/// Serves until it is killed.
pub fn serve(job: &Job, counters: &Counters) -> Result<(), End> {
    let mut sockets = Bind::new("127.0.0.1:0").bind()?;
    let port = sockets.local_addrs()[0].port();
    match job.start {
        Start::ListenThenFork => {
            let mut loops = Loop::new(job, sockets.take(0))?;
            counters.set_port(port);
            fork_workers(2, |index| loops.run(&counters.worker(index)))?;
        }
        Start::ForkThenAdd => {
            counters.set_port(port);
            fork_workers(2, |index| match Loop::new(job, sockets.take(index)) {
                Ok(mut own) => own.run(&counters.worker(index)),
                Err(_) => 1,
            })?;
        }
        Start::OneProcess => {
            let mut own = Loop::new(job, sockets.take(0))?;
            counters.set_port(port);
            own.run(&counters.worker(0));
        }
    }
    Ok(())
}

/// A reactor with a server on it.
struct Loop {
    reactor: Reactor,
    /// Whose page the handler counts on; known once the process is the worker.
    worker: std::rc::Rc<Cell<Option<Worker>>>,
    _serving: squall_http::Serving,
}

impl Loop {
    fn new(job: &Job, sockets: Vec<TcpListener>) -> Result<Self, Error> {
        let reactor = Reactor::new()?;
        let worker = std::rc::Rc::new(Cell::new(None));
        let (handler, hold, page) = (job.handler, job.hold, std::rc::Rc::clone(&worker));
        // The pool starts its threads when there is work, so it can be made before a fork.
        let pool = Pool::builder().threads(1..=32).build()?; // as many as there are slow clients
        let answer = async move |request: &mut Request<'_>| match request.path() {
            b"/quick" => Response::text(QUICK),
            b"/slow" => {
                let counted = page.take();
                let running = counted.as_ref().map(Worker::begin);
                page.set(counted);
                wait(handler, hold, &pool).await;
                drop(running);
                Response::text(SLOW)
            }
            _ => Response::new(StatusCode::NOT_FOUND),
        };
        let server = Server::new(answer).add_sockets(sockets);
        let serving = server.start(&reactor.handle())?;
        Ok(Self { reactor, worker, _serving: serving })
    }

    /// Turns until it is killed, and says on the page what its counters say.
    fn run(&mut self, page: &Worker) -> i32 {
        self.worker.set(Some(page.clone()));
        page.set_ready();
        loop {
            if let Err(error) = self.reactor.turn(None) {
                eprintln!("{error}");
                return 1;
            }
            let stats = self.reactor.stats();
            page.set_wakeups(stats.wakeups, stats.idle_wakeups);
        }
    }
}

/// The slow handler's three ways to take its time.
async fn wait(handler: Handler, hold: Duration, pool: &Pool) {
    match handler {
        Handler::Blocks => std::thread::sleep(hold), // the mistake
        Handler::Awaits => sleep(hold).await,
        Handler::Pool => drop(pool.run(move || std::thread::sleep(hold)).await),
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Alive { .. } | Error::Threads { .. } | Error::Forked => {
                End::Refused(error.to_string())
            }
            other => End::Failed(other.to_string()),
        }
    }
}
