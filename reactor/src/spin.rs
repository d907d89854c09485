//! What is told of a source that spins, and what is done about it (law 12).
//!
//! The detector counts reports in a row that achieved nothing; at each threshold's worth the source
//! is named once. What then happens is a choice: it is counted, told, or also taken out of the
//! epoll. Next: `state`.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::interest::{Interest, Readiness, Trigger};
use crate::token::Token;

/// What keeps the loop awake and achieves nothing: a source, a timer or a task.
///
/// # Examples
/// ```
/// use squall_reactor::{SpinPolicy, SpinReport};
///
/// let policy = SpinPolicy::mask(|report: &SpinReport| {
///     eprintln!("descriptor {:?}, registered at {}", report.fd, report.registered_at);
/// });
/// # drop(policy);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpinReport {
    /// What it is.
    pub spinner: Spinner,
    /// Names it: `Handle::{resume, set_interest, deregister}` take a source's.
    pub token: Token,
    /// The descriptor's number, of a source.
    pub fd: Option<i32>,
    /// What is asked for, of a source.
    pub interest: Interest,
    /// How it is reported, of a source.
    pub trigger: Option<Trigger>,
    /// What the kernel reported last.
    pub last_readiness: Readiness,
    /// Reports in a row without progress.
    pub reports: u32,
    /// Whether the policy took it out of the epoll.
    pub masked: bool,
    /// Where it was registered, armed or spawned.
    pub registered_at: &'static Location<'static>,
}

/// What spins.
///
/// # Examples
/// ```
/// use squall_reactor::{Handle, SpinReport, Spinner};
///
/// fn end_it(handle: &Handle, report: &SpinReport) {
///     if report.spinner == Spinner::Source {
///         let _ = handle.deregister(report.token);
///     }
/// }
/// # let _ = end_it;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spinner {
    /// A source: it is reported, or tried, and nothing comes of it.
    Source,
    /// A timer whose callback arms the next one as already due.
    Timer,
    /// A task that sleeps, again and again, until a moment that has passed.
    Task,
}

/// What happens when a source spins: once for each threshold's worth of reports
/// ([`Config::spin_threshold`](crate::Config)).
///
/// # Examples
/// ```
/// use squall_reactor::{Config, Interest, Next, Reactor, SpinPolicy, Trigger};
/// use std::{cell::Cell, io::Write, rc::Rc, time::Duration};
///
/// let named = Rc::new(Cell::new(None));
/// let name = Rc::clone(&named);
/// let policy = SpinPolicy::log(move |report| {
///     eprintln!("{report}");
///     name.set(Some(report.registered_at.line()));
/// });
/// let mut config = Config::default();
/// config.spin_threshold = 10;
/// let mut reactor = Reactor::builder().config(config).on_spin(policy).build()?;
/// let (reader, mut writer) = std::io::pipe()?;
/// let registration = reactor
///     .handle()
///     .register(reader, Interest::READABLE, Trigger::Level, |_, _| Next::Wait) // it never reads
///     .map_err(|(error, _)| error)?;
/// writer.write_all(b"unread")?;
/// while named.get().is_none() {
///     reactor.turn(Some(Duration::from_secs(1)))?;
/// }
/// # drop(registration);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct SpinPolicy {
    tell: Option<Rc<Tell>>,
    masks: bool,
}

type Tell = dyn Fn(&SpinReport);

impl SpinPolicy {
    /// It is counted (`Stats::spins`) and shows in the snapshot. The default.
    pub fn count() -> Self {
        Self::default()
    }

    /// It is told to `tell`, on the loop's thread, where a handle may be used as in a callback.
    pub fn log(tell: impl Fn(&SpinReport) + 'static) -> Self {
        Self { tell: Some(Rc::new(tell)), masks: false }
    }

    /// It leaves the epoll, and is told to `tell`. Its callback is not called, nor are its tasks
    /// woken by it, until `Handle::resume`. (A timer or a task is only told.)
    pub fn mask(tell: impl Fn(&SpinReport) + 'static) -> Self {
        Self { tell: Some(Rc::new(tell)), masks: true }
    }

    pub(crate) fn masks(&self) -> bool {
        self.masks
    }

    /// Tells; user code runs.
    pub(crate) fn tell(&self, report: &SpinReport) {
        if let Some(tell) = &self.tell {
            tell(report);
        }
    }
}

impl fmt::Display for SpinReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interest, last_readiness, reports, registered_at, .. } = self;
        let (Some(fd), Some(trigger)) = (self.fd, self.trigger) else {
            let (what, verb) = match self.spinner {
                Spinner::Task => ("a task slept until moments that had passed", "spawned"),
                _ => ("a timer armed itself again as already due", "armed"),
            };
            return write!(f, "{what}, {reports} times in a row; {verb} at {registered_at}");
        };
        write!(
            f,
            "descriptor {fd} ({trigger:?}, {interest:?}) was reported {last_readiness:?}, \
             {reports} times in a row without progress; registered at {registered_at}"
        )?;
        if self.masked { f.write_str("; masked until it is resumed") } else { Ok(()) }
    }
}

impl fmt::Debug for SpinPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.tell, self.masks) {
            (None, _) => "SpinPolicy::count()",
            (Some(_), false) => "SpinPolicy::log(..)",
            (Some(_), true) => "SpinPolicy::mask(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_descriptor_its_mode_and_its_line() {
        let registered_at = Location::caller();
        let mut report = SpinReport {
            spinner: Spinner::Source,
            token: Token { slot: 1, serial: 2 },
            fd: Some(7),
            interest: Interest::READABLE,
            trigger: Some(Trigger::Level),
            last_readiness: Readiness::READ,
            reports: 1000,
            masked: true,
            registered_at,
        };
        assert_eq!(
            report.to_string(),
            format!(
                "descriptor 7 (Level, READABLE) was reported READ, 1000 times in a row without \
                 progress; registered at {registered_at}; masked until it is resumed"
            )
        );
        (report.fd, report.trigger) = (None, None);
        for (spinner, text) in [
            (
                Spinner::Timer,
                "a timer armed itself again as already due, 1000 times in a row; armed",
            ),
            (
                Spinner::Task,
                "a task slept until moments that had passed, 1000 times in a row; spawned",
            ),
        ] {
            report.spinner = spinner;
            assert_eq!(report.to_string(), format!("{text} at {registered_at}"));
        }
    }
}
