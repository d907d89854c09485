//! Messages to systemd: ready, stopping, status, watchdog (sd_notify(3)).
//!
//! A message is one datagram of `NAME=value` lines to the Unix socket that NOTIFY_SOCKET names; that
//! is all, so no library is needed. Without the variable nobody wants to hear, and nothing is sent.
//! What is absent: passing descriptors to be kept, and VSOCK addresses. Next: `supervisor`.

use std::env;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::sys::{process, socket};
use crate::{Error, Result};

/// The service has started: with Type=notify systemd waits for it.
///
/// By default systemd hears the main process only (NotifyAccess=main): it must be the parent of
/// [`fork_workers`](super::fork_workers) who calls this, before the fork, once it has bound; or the
/// unit has NotifyAccess=all. False if nobody wants to hear (no NOTIFY_SOCKET).
///
/// # System calls
/// `socket`, `setsockopt`, `sendto`, `close`; none without NOTIFY_SOCKET. It waits for a second at
/// most while systemd's queue is full.
///
/// # Errors
/// [`Error::Os`]: nobody listens there, or its queue stays full; [`Error::Argument`] for an address
/// that is neither a path nor an abstract name.
///
/// # Examples
/// ```
/// use squall_reactor::workers::notify;
///
/// notify::status("serving 3 sites")?;
/// let heard = notify::ready()?;
/// println!("under systemd: {heard}");
/// # Ok::<(), squall_reactor::Error>(())
/// ```
pub fn ready() -> Result<bool> {
    send("READY=1")
}

/// The service is about to end; systemd then waits for it, and does not start it again.
///
/// # Errors
/// As [`ready`].
pub fn stopping() -> Result<bool> {
    send("STOPPING=1")
}

/// The service reads its configuration again; [`ready`] says that it has.
///
/// # Errors
/// As [`ready`].
pub fn reloading() -> Result<bool> {
    let now = process::monotonic();
    send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()))
}

/// A line for people, which `systemctl status` shows.
///
/// # Errors
/// As [`ready`], and [`Error::Argument`] for more than one line: the second would be a message.
pub fn status(text: &str) -> Result<bool> {
    if text.contains('\n') {
        return Err(Error::Argument("a status is one line: a second would be read as a message"));
    }
    send(&format!("STATUS={text}"))
}

/// The service is alive. To be sent at least every [`watchdog_interval`], better twice as often,
/// from the loop itself: then a loop that hangs is noticed.
///
/// # Errors
/// As [`ready`].
pub fn watchdog() -> Result<bool> {
    send("WATCHDOG=1")
}

/// How long systemd waits for [`watchdog`] before it ends this process (WatchdogSec=); `None` if it
/// does not watch it.
///
/// # Errors
/// [`Error::Argument`] if WATCHDOG_USEC or WATCHDOG_PID is no number.
pub fn watchdog_interval() -> Result<Option<Duration>> {
    let variable = |name| env::var(name).ok();
    let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
    interval(usec.as_deref(), pid.as_deref(), process::id())
}

/// Asks for more time to start, reload or stop: so long from now.
///
/// # Errors
/// As [`ready`].
pub fn extend_timeout(time: Duration) -> Result<bool> {
    send(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()))
}

/// Sends any message of sd_notify(3): lines of `NAME=value`.
///
/// # Errors
/// As [`ready`].
pub fn send(message: &str) -> Result<bool> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(false) };
    let address = socket::unix_address(&name)?;
    let socket = UnixDatagram::unbound().map_err(Error::os("socket"))?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(Error::os("setsockopt"))?;
    socket.send_to_addr(message.as_bytes(), &address).map_err(Error::os("sendto"))?;
    Ok(true)
}

/// A full queue is systemd's, whose loop may be busy; a message that is lost ends a service.
const PATIENCE: Duration = Duration::from_secs(1);

fn interval(usec: Option<&str>, pid: Option<&str>, own: i32) -> Result<Option<Duration>> {
    let Some(usec) = usec else { return Ok(None) };
    let no_number = |_| Error::Argument("WATCHDOG_PID is not the number of a process");
    let pid = pid.map(str::parse::<i32>).transpose().map_err(no_number)?;
    if pid.is_some_and(|pid| pid != own) {
        return Ok(None);
    }
    let no_number = |_| Error::Argument("WATCHDOG_USEC is not a number of microseconds");
    usec.parse().map(|usec| Some(Duration::from_micros(usec))).map_err(no_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdogs_interval_is_for_the_process_that_it_names() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(interval(Some("1000000"), Some("7"), 7).ok(), Some(second));
        assert_eq!(interval(Some("1000000"), None, 7).ok(), Some(second));
        assert_eq!(interval(Some("1000000"), Some("8"), 7).ok(), Some(None));
        assert_eq!(interval(None, Some("7"), 7).ok(), Some(None));
        assert!(interval(Some("soon"), None, 7).is_err());
        assert!(interval(Some("1"), Some("me"), 7).is_err());
    }

    #[test]
    fn a_status_of_two_lines_is_refused() {
        assert!(matches!(status("fine\nREADY=1"), Err(Error::Argument(_))));
    }
}
