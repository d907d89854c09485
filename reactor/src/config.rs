//! Budgets and thresholds, each with its reason.
//!
//! A budget bounds one kind of work in one turn, so that no kind starves another (law 7). What is
//! left over is not lost: the next turn does not sleep. Next: `stats`.

/// The budgets of one turn and the thresholds of the detector.
///
/// # Examples
/// ```
/// use squall_reactor::{Config, Reactor};
///
/// let mut config = Config::default();
/// config.jobs = 256; // fewer waits under load, less fairness
/// let reactor = Reactor::builder().config(config).build()?;
/// # drop(reactor);
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Events taken from the kernel in one wait. Default 1,024, the usual size in servers: larger
    /// costs memory (16 bytes each), smaller costs waits under load. At least 1.
    pub events: usize,
    /// Jobs (callbacks, task polls) of one turn: at most this or what was ready at its start,
    /// whichever is more. Default 64: an exact snapshot would cost a wait for each hop between two
    /// tasks.
    pub jobs: usize,
    /// Remote calls and wake-ups taken in one turn. Default 1,024.
    pub remote: usize,
    /// Timers fired in one turn. Default 1,024.
    pub timers: usize,
    /// Consecutive reports of one source without progress before it counts as spinning (law 12).
    /// Default 1,000: a level-triggered loop passes it within milliseconds, a healthy one never.
    pub spin_threshold: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { events: 1024, jobs: 64, remote: 1024, timers: 1024, spin_threshold: 1000 }
    }
}
