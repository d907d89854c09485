//! One row, measured: start the server, get a handler running, let its client do what the row says,
//! watch, and end everything.
//!
//!     0 ........ 200 ............ 350 ===== figures ===== 1350 .. 1500 ........... 4500 ms
//!     handler    the client       |  a quick request each |       handler         an answer that
//!     begins     leaves or        |  100 ms, to 1000      |       returns         is missing now
//!                sends more                                                       hangs
//!
//! One thread drives all clients by poll(2), so that arrival is noted when it happens. The same
//! requests go to the control, an idle server that lives as long as the table takes.
//! Next: `report`.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use squall_support::client::{self, Client};

use crate::exchange::{Exchange, Kind};
use crate::process::{Server, Snapshot, Started};
use crate::rows::{self, Handler, Row, Start, System, Trigger};
use crate::verdict::{Observed, Pace, Ping, Verdict, judge};

/// How long the slow handler takes.
const HOLD: Duration = ms(1500);
/// When its client acts, after it began.
const ACT: Duration = ms(200);
/// When the figures begin and end.
const FROM: Duration = ms(350);
const TO: Duration = ms(1350);
/// When quick requests are sent.
const PING_FROM: Duration = ms(300);
const PING_TO: Duration = ms(1000);
const PING_EACH: Duration = ms(100);
const PINGS: u32 = 8;
/// Where the outcome is by chance: how many connections each worker shall own, and how many there
/// may be.
const OWNED: u64 = 16;
const CROWD: usize = 640;
/// An answer that comes later than this after the handler returned is missing.
const MISSING: Duration = ms(3000);

/// Who is later than this at one of these times has measured something else, and measures again.
const LATE: Duration = ms(150);
const ATTEMPTS: u32 = 3;

/// A row, measured.
#[derive(Debug)]
pub struct Measured {
    pub row: Row,
    pub verdict: Verdict,
    /// What the server said when it refused.
    pub refusal: Option<String>,
    pub observed: Observed,
}

/// What measures the rows: it keeps the control, and what a row does not say.
#[derive(Debug)]
pub struct Bench {
    control: Server,
    python: Option<String>,
}

impl Bench {
    /// Starts the control. `python` runs Tornado.
    pub fn new(python: Option<String>) -> Result<Self, String> {
        let row = Row {
            system: System::Naive,
            start: Start::OneProcess,
            trigger: Trigger::Level,
            handler: Handler::Awaits,
            client: rows::Client::Waits,
        };
        match Server::start(&row, HOLD, None)? {
            Started::Serving(control) => Ok(Self { control, python }),
            Started::Refused(message) => Err(message),
        }
    }

    /// Measures one row; once more if the machine kept this thread from keeping its times.
    pub fn measure(&self, row: Row) -> Result<Measured, String> {
        let mut attempt = 1;
        loop {
            let server = match Server::start(&row, HOLD, self.python.as_deref())? {
                Started::Serving(server) => server,
                Started::Refused(message) => return Ok(refused(row, message)),
            };
            let mut load = Load::new(&row, &server, &self.control);
            let observed = load.run().map_err(|e| format!("{e}{}", server.log()))?;
            if load.late > LATE && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            let verdict = judge(&observed);
            if server.handlers().0 == 0 && verdict != Verdict::Hangs {
                return Err(format!("no handler began{}", server.log()));
            }
            return Ok(Measured { row, verdict, refusal: None, observed });
        }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn refused(row: Row, message: String) -> Measured {
    let nothing = Pace { cpu: 0.0, hot: 0.0, wakeups: 0.0, idle_wakeups: 0.0 };
    let observed =
        Observed { workers: Vec::new(), control: nothing, pings: Vec::new(), missing: 0 };
    Measured { row, verdict: Verdict::Refused, refusal: Some(message), observed }
}

/// The clients of one row.
struct Load<'a> {
    row: &'a Row,
    server: &'a Server,
    control: &'a Server,
    exchanges: Vec<Exchange>,
    /// The worst delay between a time that was meant and the clock.
    late: Duration,
}

impl<'a> Load<'a> {
    fn new(row: &'a Row, server: &'a Server, control: &'a Server) -> Self {
        Self { row, server, control, exchanges: Vec::new(), late: Duration::ZERO }
    }

    fn run(&mut self) -> io::Result<Observed> {
        let began = self.begin_slow()?;
        self.drive(began + ACT)?;
        self.act()?;
        let (mut from, mut to) = (None, None);
        let mut ping = PING_FROM;
        while to.is_none() {
            let next_ping = if ping <= PING_TO { began + ping } else { began + TO };
            let next_figures = began + if from.is_none() { FROM } else { TO };
            self.drive(next_ping.min(next_figures))?;
            if next_figures <= next_ping {
                let figures = (self.server.snapshot()?, self.control.snapshot()?);
                if from.is_none() { from = Some(figures) } else { to = Some(figures) }
            } else {
                self.ping((ping.as_millis() / PING_EACH.as_millis()) as u32)?;
                ping += PING_EACH;
            }
        }
        let returned = self.wait_for_return(began)?;
        self.wait_for_answers(returned + MISSING)?;
        let (from, to) = from.zip(to).expect("the loop ends once both are taken");
        Ok(self.observed(returned, from, to))
    }

    /// Connects the slow clients, lets them ask, and returns when the first handler began.
    ///
    /// Between the connect and the request the worker that accepted goes back to its wait, where
    /// the kernel wakes the one that came last first; so the request finds its owner. Under edge
    /// triggering a stranger may get it for all that, and it is lost before the row begins: then,
    /// if it is one request that the row is about, another client tries.
    fn begin_slow(&mut self) -> io::Result<Instant> {
        let (attempts, patience) = match (self.row.start, self.row.trigger) {
            (Start::ListenThenFork, Trigger::Edge) if !self.row.by_chance() => (5, ms(1000)),
            (Start::ListenThenFork, _) => (1, ms(3000)),
            _ => (1, ms(10_000)),
        };
        for _ in 0..attempts {
            self.exchanges.clear();
            self.connect_slow()?;
            thread::sleep(ms(50));
            for index in 0..self.exchanges.len() {
                if self.exchanges[index].kind == Kind::Slow {
                    self.exchanges[index].ask("/slow");
                    self.pause_between_requests()?;
                }
            }
            let mut now = Instant::now();
            let deadline = now + patience;
            while now < deadline {
                if self.server.handlers().0 > 0 {
                    return Ok(now);
                }
                let next = now + ms(2);
                thread::sleep(ms(2));
                now = self.keep_time(next);
            }
        }
        Ok(Instant::now())
    }

    /// Connects the slow clients; and where the outcome is by chance, as many more as it takes
    /// until both workers own some: a burst is accepted by both, if it is long enough.
    fn connect_slow(&mut self) -> io::Result<()> {
        let slow = self.row.slow_clients();
        if !self.row.by_chance() {
            return (0..slow).try_for_each(|_| self.open(Kind::Slow).map(drop));
        }
        let mut burst = slow;
        while self.server.least_accepted() < OWNED && self.exchanges.len() + burst <= CROWD {
            for _ in 0..burst {
                self.open(Kind::Spare)?;
            }
            thread::sleep(ms(20));
            burst += slow;
        }
        // Evenly among them, as neighbours often have one owner.
        let step = self.exchanges.len() / slow;
        for spare in self.exchanges.iter_mut().step_by(step).take(slow) {
            spare.kind = Kind::Slow;
        }
        Ok(())
    }

    /// Where the outcome is by chance, a worker shall be back at its wait before the next report,
    /// so that all go to the same one, whoever owns the connection.
    fn pause_between_requests(&mut self) -> io::Result<()> {
        if self.row.by_chance() { self.drive(Instant::now() + ms(1)) } else { Ok(()) }
    }

    /// Notes how late it is, and returns what time it is.
    fn keep_time(&mut self, meant: Instant) -> Instant {
        let now = Instant::now();
        self.late = self.late.max(now.saturating_duration_since(meant));
        now
    }

    fn act(&mut self) -> io::Result<()> {
        match self.row.client {
            rows::Client::Waits => {}
            rows::Client::Leaves => self.exchanges.retain(|exchange| exchange.kind != Kind::Slow),
            rows::Client::SendsMore => {
                for index in 0..self.exchanges.len() {
                    if self.exchanges[index].kind == Kind::Slow {
                        self.exchanges[index].ask("/quick");
                        self.pause_between_requests()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A quick request to the control and one to the server; where the outcome is by chance, an
    /// equal share of the connections that were opened ahead is used for it.
    fn ping(&mut self, moment: u32) -> io::Result<()> {
        self.open(Kind::Control(moment))?.ask("/quick");
        if !self.row.by_chance() {
            self.open(Kind::Ping(moment))?.ask("/quick");
            return Ok(());
        }
        for index in 0..self.exchanges.len() {
            let exchange = &mut self.exchanges[index];
            if exchange.kind == Kind::Spare && index as u32 % PINGS == moment % PINGS {
                exchange.kind = Kind::Ping(moment);
                exchange.sent = Instant::now();
                exchange.ask("/quick");
                self.pause_between_requests()?;
            }
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind) -> io::Result<&mut Exchange> {
        let address = match kind {
            Kind::Control(_) => self.control.address,
            Kind::Slow | Kind::Spare | Kind::Ping(_) => self.server.address,
        };
        self.exchanges.push(Exchange::open(address, kind, MISSING)?);
        Ok(self.exchanges.last_mut().expect("just pushed"))
    }

    /// Takes answers until the moment has come.
    fn drive(&mut self, until: Instant) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.keep_time(until);
                return Ok(());
            }
            self.receive(left)?;
        }
    }

    fn receive(&mut self, timeout: Duration) -> io::Result<()> {
        let waiting: Vec<&mut Exchange> =
            self.exchanges.iter_mut().filter(|exchange| exchange.waits()).collect();
        let clients: Vec<&Client> =
            waiting.iter().filter_map(|exchange| exchange.client.as_ref()).collect();
        let ready = client::poll(&clients, timeout)?;
        for (exchange, _) in waiting.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            exchange.receive();
        }
        Ok(())
    }

    /// Waits until every handler that began has returned, and says when that was noticed; not for
    /// ever, as a server may lose one.
    fn wait_for_return(&mut self, began: Instant) -> io::Result<Instant> {
        let at_most = began + 4 * HOLD;
        loop {
            let (begun, returned) = self.server.handlers();
            let now = Instant::now();
            if (now >= began + HOLD && returned >= begun) || now >= at_most {
                return Ok(now);
            }
            self.receive(ms(5))?;
        }
    }

    fn wait_for_answers(&mut self, until: Instant) -> io::Result<()> {
        while self.exchanges.iter().any(Exchange::waits) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.receive(left)?;
        }
        Ok(())
    }

    fn observed(
        &self,
        returned: Instant,
        from: (Vec<Snapshot>, Vec<Snapshot>),
        to: (Vec<Snapshot>, Vec<Snapshot>),
    ) -> Observed {
        let paces = |to: &[Snapshot], from: &[Snapshot]| -> Vec<Pace> {
            to.iter().zip(from).map(|(to, from)| to.since(from)).collect()
        };
        let pings = self.exchanges.iter().filter_map(|exchange| {
            let Kind::Ping(moment) = exchange.kind else {
                return None;
            };
            let control = self.exchanges.iter().find(|other| other.kind == Kind::Control(moment));
            Some(Ping {
                wait: exchange.wait(),
                remaining: returned.saturating_duration_since(exchange.sent),
                control: control.map_or(Duration::ZERO, Exchange::wait),
            })
        });
        let missing = |exchange: &&Exchange| {
            exchange.answered.is_none() && matches!(exchange.kind, Kind::Slow | Kind::Ping(_))
        };
        Observed {
            workers: paces(&to.0, &from.0),
            control: paces(&to.1, &from.1)[0],
            pings: pings.collect(),
            missing: self.exchanges.iter().filter(missing).count(),
        }
    }
}
