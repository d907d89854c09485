//! A bound on a handler's time, as a function from handler to handler.
//!
//! Middleware is nothing else than this: an async closure that calls another. At the deadline the
//! handler's future is dropped, as when its client leaves, and what it has in the pool and has not
//! begun is cancelled with it. Absent: a bound on the time in which the content is sent. Next: `sse`.

use std::time::Duration;

use crate::request::Request;
use crate::response::Response;
use crate::status::StatusCode;

/// `handler`, but answered by 503 (RFC 9110, 15.6.4) if it takes longer than `time`.
///
/// A handler that holds the loop cannot be interrupted: blocking work belongs into a
/// [`Pool`](squall_reactor::Pool).
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, RouteError, Router, timeout::answer_within};
/// use std::time::Duration;
///
/// async fn report(_: &mut Request<'_>) -> Response {
///     squall_reactor::sleep(Duration::from_secs(3600)).await;
///     Response::text("all is well\n")
/// }
///
/// let router = Router::new().get("/report", answer_within(Duration::from_secs(2), report))?;
/// # drop(router);
/// # Ok::<(), RouteError>(())
/// ```
pub fn answer_within<H>(
    time: Duration,
    handler: H,
) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static
where
    H: AsyncFn(&mut Request<'_>) -> Response + 'static,
{
    async move |request: &mut Request<'_>| {
        let answer = squall_reactor::timeout(time, handler(request)).await;
        answer.unwrap_or_else(|_| {
            Response::error(StatusCode::SERVICE_UNAVAILABLE, "this took too long; try later")
        })
    }
}
