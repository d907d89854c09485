//! From figures to one word.
//!
//! Every figure is judged against a control: an idle server beside the row's, measured over the
//! same time and asked at the same moments. A busy machine slows both, so it flips nothing. Pure:
//! figures in, a word out. Next: `counters`.

use std::fmt;
use std::time::Duration;

/// What a row came to: the first that fits, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The server would not start this way.
    Refused,
    /// A worker burns a core without achieving anything.
    Spins,
    /// An answer never came.
    Hangs,
    /// A quick request of another client waited for the slow handler.
    Blocked,
    /// None of these.
    Ok,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Refused => "REFUSED",
            Verdict::Spins => "SPINS",
            Verdict::Hangs => "HANGS",
            Verdict::Blocked => "BLOCKED",
            Verdict::Ok => "ok",
        })
    }
}

/// What was measured while the handler ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// One per worker.
    pub workers: Vec<Pace>,
    /// The idle server beside them, over the same time.
    pub control: Pace,
    /// The quick requests of other clients.
    pub pings: Vec<Ping>,
    /// Answers that had not come 3 s after the handler returned, of slow and quick requests.
    pub missing: usize,
}

/// What one process did, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// CPU time of all its threads; 1.0 is one CPU.
    pub cpu: f64,
    /// (run + waited) / wall of the thread that wanted most to run.
    pub hot: f64,
    /// Returns from the wait.
    pub wakeups: f64,
    /// Returns from the wait after which there was nothing to do.
    pub idle_wakeups: f64,
}

/// A quick request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ping {
    /// From before the connect to the answer, or until we gave up.
    pub wait: Duration,
    /// How long the handler still ran when it was sent.
    pub remaining: Duration,
    /// What the same request to the control waited, sent at the same moment.
    pub control: Duration,
}

/// The verdict on a server that did start.
pub fn judge(observed: &Observed) -> Verdict {
    if observed.workers.iter().any(|worker| spins(worker, &observed.control)) {
        Verdict::Spins
    } else if observed.missing > 0 {
        Verdict::Hangs
    } else if observed.pings.iter().any(blocked) {
        Verdict::Blocked
    } else {
        Verdict::Ok
    }
}

/// Hot alone may be work, and wake-ups without progress alone may be a crowd at one listener;
/// both together are a spin. A loop that spins returns 100,000 times and more in a second of CPU,
/// a healthy one some ten times per client, so any bound in between will do.
fn spins(worker: &Pace, control: &Pace) -> bool {
    const HOT: f64 = 0.6;
    const IDLE_WAKEUPS: f64 = 1_000.0;
    let hot = worker.hot > HOT.max(2.0 * control.hot).min(0.95);
    hot && worker.idle_wakeups > IDLE_WAKEUPS + 20.0 * control.idle_wakeups
}

fn blocked(ping: &Ping) -> bool {
    ping.wait > ping.remaining / 2 && ping.wait > 4 * ping.control
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPS: Pace = Pace { cpu: 0.0, hot: 0.001, wakeups: 10.0, idle_wakeups: 0.0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn observed() -> Observed {
        let ping = Ping { wait: ms(1), remaining: ms(1000), control: ms(1) };
        Observed { workers: vec![SLEEPS, SLEEPS], control: SLEEPS, pings: vec![ping], missing: 0 }
    }

    #[test]
    fn a_server_that_sleeps_and_answers_is_ok() {
        assert_eq!(judge(&observed()), Verdict::Ok);
    }

    #[test]
    fn one_hot_worker_without_progress_spins_whatever_else_is_wrong() {
        let mut o = observed();
        o.workers[1] = Pace { cpu: 1.0, hot: 1.0, wakeups: 5e5, idle_wakeups: 5e5 };
        o.missing = 1;
        assert_eq!(judge(&o), Verdict::Spins);
    }

    // A compiler takes half of the spinning worker's CPU, and makes the control wait as well.
    #[test]
    fn a_spin_is_seen_beside_a_compiler() {
        let mut o = observed();
        o.control = Pace { cpu: 0.01, hot: 0.3, wakeups: 12.0, idle_wakeups: 1.0 };
        o.workers[0] = Pace { cpu: 0.35, hot: 0.97, wakeups: 1e5, idle_wakeups: 1e5 };
        assert_eq!(judge(&o), Verdict::Spins);
    }

    #[test]
    fn work_is_no_spin_and_a_crowd_at_the_listener_is_none_either() {
        let mut o = observed();
        o.workers[0] = Pace { cpu: 1.0, hot: 1.0, wakeups: 2e4, idle_wakeups: 30.0 };
        o.workers[1] = Pace { cpu: 0.02, hot: 0.05, wakeups: 3e3, idle_wakeups: 2e3 };
        assert_eq!(judge(&o), Verdict::Ok);
    }

    #[test]
    fn a_missing_answer_hangs_before_anything_is_blocked() {
        let mut o = observed();
        o.missing = 1;
        o.pings[0].wait = ms(4000);
        assert_eq!(judge(&o), Verdict::Hangs);
    }

    #[test]
    fn one_ping_that_waits_for_the_handler_is_blocked() {
        let mut o = observed();
        o.pings.push(Ping { wait: ms(990), remaining: ms(1000), control: ms(2) });
        assert_eq!(judge(&o), Verdict::Blocked);
    }

    #[test]
    fn a_ping_that_waits_no_longer_than_the_controls_is_the_machines_fault() {
        let mut o = observed();
        o.pings.push(Ping { wait: ms(600), remaining: ms(1000), control: ms(400) });
        assert_eq!(judge(&o), Verdict::Ok);
    }

    #[test]
    fn no_pings_and_no_workers_are_ok() {
        let mut o = observed();
        o.pings.clear();
        o.workers.clear();
        assert_eq!(judge(&o), Verdict::Ok);
    }
}
