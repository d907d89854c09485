//! Deadlines: a sum that cannot overflow, and a future that ends at one. Next: `body`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use squall_reactor::sleep_until;

/// `start + delay`; where `Instant` cannot hold the sum, a year on.
pub(crate) fn later(start: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    start.checked_add(delay).unwrap_or_else(|| start + FAR)
}

/// `future`, or `None` if the deadline passes first.
pub(crate) async fn until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = sleep_until(deadline);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.poll_elapsed(cx).map(|()| None),
    })
    .await
}
