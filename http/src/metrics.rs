//! The figures of loop, pools and server as text for Prometheus.
//!
//! Everything is a counter that exists already; a scrape reads it, and nothing is counted for its
//! sake but the answers by status. The loop's lag is the one histogram. Absent: a registry; what a
//! service counts of its own it adds with [`counter`](Metrics::counter) and [`gauge`](Metrics::gauge). Next:
//! `conditional`.
//!
//! The format is Prometheus's text exposition format, version 0.0.4.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::rc::Rc;
use std::time::Duration;

use squall_reactor::Stats;
use squall_reactor::pool::PoolStats;

use crate::response::Response;
use crate::stats::ServerStats;
use crate::status::StatusCode;

/// Figures at one moment. Add each kind once; a name that stands twice is not the format.
///
/// # Examples
/// ```
/// use squall_http::metrics::{Answers, Metrics};
/// use squall_http::{Request, Response, Server, ServerStats, access_log::log};
/// use squall_reactor::{Handle, Pool};
///
/// let pool = Pool::builder().build()?;
/// let (stats, answers) = (ServerStats::default(), Answers::default());
/// let (shown, counted, refused) = (stats.clone(), answers.clone(), answers.clone());
/// let metrics = async move |_: &mut Request<'_>| {
///     let Ok(handle) = Handle::current() else { return Response::text("no reactor\n") };
///     Metrics::new()
///         .reactor(&handle.stats())
///         .pools([("files", pool.stats())])
///         .server(&shown)
///         .answers(&answers)
///         .into()
/// };
/// let handler = log(metrics, move |record| counted.count(record.status));
/// let server = Server::new(handler)
///     .on_refusal(move |refusal| refused.count(Some(refusal.status)))
///     .stats(&stats);
/// # drop(server);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    text: String,
}

/// Answers by their status; clones count together.
///
/// # Examples
/// ```
/// use squall_http::StatusCode;
/// use squall_http::metrics::{Answers, Metrics};
///
/// let answers = Answers::default();
/// answers.count(Some(StatusCode::OK));
/// let metrics = Metrics::new().answers(&answers);
/// assert!(metrics.as_str().contains("200"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Answers(Rc<RefCell<BTreeMap<StatusCode, u64>>>);

impl Metrics {
    /// No figures.
    pub fn new() -> Self {
        Self::default()
    }

    /// The loop's counters, `squall_...`; what they mean stands at [`Stats`].
    #[must_use]
    pub fn reactor(mut self, stats: &Stats) -> Self {
        for (name, value) in stats.iter() {
            let help = format!("{name} of the reactor");
            match (name, name.strip_suffix("_ns")) {
                ("sources" | "tasks" | "timers", _) => {
                    self.family(&format!("squall_{name}"), "gauge", &help, [("", value)]);
                }
                (_, Some(name)) => {
                    let name = format!("squall_{name}_seconds_total");
                    self.family(&name, "counter", &help, [("", Seconds(value))]);
                }
                (name, None) => {
                    self.family(&format!("squall_{name}_total"), "counter", &help, [("", value)]);
                }
            }
        }
        self.lag(stats);
        self
    }

    /// A histogram: each bucket counts all times up to its bound.
    fn lag(&mut self, stats: &Stats) {
        let mut count = 0;
        let help = "how long the loop was away from the kernel between two waits";
        self.family("squall_lag_seconds", "histogram", help, [("", ""); 0]);
        for (bound, times) in stats.lag.iter() {
            count += times;
            let bound = match bound {
                Duration::MAX => "+Inf".to_owned(),
                bound => Seconds(bound.as_nanos() as u64).to_string(),
            };
            let _ = writeln!(self.text, "squall_lag_seconds_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = Seconds(stats.busy_ns);
        let _ =
            writeln!(self.text, "squall_lag_seconds_sum {sum}\nsquall_lag_seconds_count {count}");
    }

    /// The figures of pools, `squall_pool_...`, each under a label with its name.
    #[must_use]
    pub fn pools<'n>(mut self, pools: impl IntoIterator<Item = (&'n str, PoolStats)>) -> Self {
        type Figure = fn(&PoolStats) -> u64;
        const FIGURES: [(&str, &str, &str, Figure); 7] = [
            ("threads", "gauge", "threads", |stats| stats.threads as u64),
            ("idle", "gauge", "threads that wait for work", |stats| stats.idle as u64),
            ("queued", "gauge", "jobs in the queue", |stats| stats.queued as u64),
            ("waiting", "gauge", "jobs before the full queue", |stats| stats.waiting as u64),
            ("running", "gauge", "jobs being done", |stats| stats.running as u64),
            ("completed_total", "counter", "jobs that have ended", |stats| stats.completed),
            ("panicked_total", "counter", "panics caught", |stats| stats.panicked),
        ];
        let pools: Vec<(String, PoolStats)> =
            pools.into_iter().map(|(name, stats)| (label("pool", name), stats)).collect();
        for (name, kind, help, figure) in FIGURES {
            let samples = pools.iter().map(|(label, stats)| (label, figure(stats)));
            self.family(&format!("squall_pool_{name}"), kind, help, samples);
        }
        self
    }

    /// The server's figures, `squall_http_...`.
    #[must_use]
    pub fn server(self, stats: &ServerStats) -> Self {
        self.gauge(
            "squall_http_connections",
            "connections that are open",
            stats.connections() as u64,
        )
        .counter("squall_http_requests_total", "requests whose head was read", stats.requests())
        .counter(
            "squall_http_cancelled_total",
            "requests whose client left before an answer",
            stats.cancelled(),
        )
        .counter(
            "squall_http_refused_total",
            "requests that were refused before any handler saw them",
            stats.refused(),
        )
        .counter(
            "squall_http_turned_away_total",
            "connections that were reset because their address had its share",
            stats.turned_away(),
        )
    }

    /// Answers by status, `squall_http_answers_total`.
    #[must_use]
    pub fn answers(mut self, answers: &Answers) -> Self {
        let answers = answers.0.borrow();
        let samples = answers.iter().map(|(status, count)| {
            let label = label("code", &status.as_u16().to_string());
            (label, *count)
        });
        self.family("squall_http_answers_total", "counter", "answers by status", samples);
        self
    }

    /// A figure of the service's own that only grows; by custom its name ends in `_total`.
    #[must_use]
    pub fn counter(mut self, name: &str, help: &str, value: u64) -> Self {
        self.family(name, "counter", help, [("", value)]);
        self
    }

    /// A figure of the service's own that goes up and down.
    #[must_use]
    pub fn gauge(mut self, name: &str, help: &str, value: u64) -> Self {
        self.family(name, "gauge", help, [("", value)]);
        self
    }

    /// The figures as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All samples of one name, with what it means before them.
    fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (label, value) in samples {
            let _ = writeln!(self.text, "{name}{label} {value}");
        }
    }
}

/// 200 with the format's media type.
impl From<Metrics> for Response {
    fn from(metrics: Metrics) -> Response {
        Response::bytes("text/plain; version=0.0.4", metrics.text.into_bytes())
    }
}

impl Answers {
    /// Counts one answer; `None`, a client that left before, is counted by the server.
    pub fn count(&self, status: Option<StatusCode>) {
        if let Some(status) = status {
            *self.0.borrow_mut().entry(status).or_default() += 1;
        }
    }
}

/// Nanoseconds, shown as seconds without rounding.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{{{name}=\"{value}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    // A scrape with one line that is not the format is thrown away whole.
    #[test]
    fn every_line_is_the_exposition_format_and_every_name_stands_once() {
        let answers = Answers::default();
        answers.count(Some(StatusCode::OK));
        answers.count(Some(StatusCode::OK));
        answers.count(Some(StatusCode::NOT_FOUND));
        answers.count(None);
        let mut stats = Stats::default();
        (stats.turns, stats.busy_ns, stats.tasks) = (7, 1_500_000_000, 3);
        let metrics = Metrics::new()
            .reactor(&stats)
            .pools([("a\"b\\", PoolStats::default()), ("c\n", PoolStats::default())])
            .server(&ServerStats::default())
            .answers(&answers)
            .counter("own_total", "two\nlines", 1);
        let mut names = BTreeSet::new();
        let (mut family, mut histogram) = ("", false);
        for line in metrics.as_str().lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
                assert!(names.insert(family), "{family} stands twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let kind = kind.strip_prefix(family).and_then(|kind| kind.strip_prefix(' '));
                assert!(matches!(kind, Some("counter" | "gauge" | "histogram")), "{line}");
                assert_eq!(kind == Some("counter"), family.ends_with("_total"), "{family}");
                histogram = kind == Some("histogram");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let name = name.split('{').next().unwrap();
                let part = name.strip_prefix(family).unwrap();
                assert_eq!(histogram, ["_bucket", "_sum", "_count"].contains(&part), "{line}");
                assert!(histogram || part.is_empty(), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "squall_turns_total 7",
            "squall_busy_seconds_total 1.500000000",
            "squall_tasks 3",
            "squall_lag_seconds_bucket{le=\"0.000001024\"} 0",
            "squall_lag_seconds_bucket{le=\"4.294967296\"} 0",
            "squall_lag_seconds_bucket{le=\"+Inf\"} 0",
            "squall_lag_seconds_sum 1.500000000",
            "squall_lag_seconds_count 0",
            "squall_pool_threads{pool=\"a\\\"b\\\\\"} 0",
            "squall_pool_threads{pool=\"c\\n\"} 0",
            "squall_http_answers_total{code=\"200\"} 2",
            "squall_http_answers_total{code=\"404\"} 1",
            "# HELP own_total two\\nlines",
        ] {
            assert!(metrics.as_str().lines().any(|shown| shown == line), "{line} is missing");
        }
    }
}
