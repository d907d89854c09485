//! A request as a handler sees it: the head lent from the read buffer, the body still on its way.
//!
//! Nothing is copied; names and values are bytes, as they were sent. Next: `response`.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

use crate::body::Body;
use crate::departure::Left;
use crate::head::RequestHead;
use crate::headers::Fields;
use crate::method::Method;

/// A request.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response};
///
/// async fn hello(request: &mut Request<'_>) -> Response {
///     let name = request.param("name").unwrap_or("world").to_owned();
///     let length = request.body().bytes().await.map_or(0, |body| body.len());
///     Response::text(format!("hello {name}, {length} bytes for {}\n", request.method()))
/// }
/// ```
pub struct Request<'a> {
    pub(crate) head: RequestHead<'a>,
    pub(crate) method: Method,
    pub(crate) peer: SocketAddr,
    pub(crate) body: Body<'a>,
    /// What the router took out of the path.
    pub(crate) params: Vec<(Rc<str>, Range<usize>)>,
}

impl<'a> Request<'a> {
    /// The method; one that Squall does not know never comes here (501).
    pub fn method(&self) -> Method {
        self.method
    }

    /// The target's path, as it was sent: percent-encoded, never empty (`*` for `OPTIONS *`).
    pub fn path(&self) -> &'a [u8] {
        self.head.path()
    }

    /// What follows the `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.head.query()
    }

    /// The host that is asked for: from the target, if it is in absolute-form, else from Host (RFC
    /// 9112, 3.2.2).
    pub fn host(&self) -> Option<&'a [u8]> {
        self.head.host()
    }

    /// The digit after `HTTP/1.`.
    pub fn minor_version(&self) -> u8 {
        self.head.minor_version()
    }

    /// The value of the first field of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.fields().get(name)
    }

    /// All fields, in the order in which they came.
    pub fn headers(&self) -> Fields<'a> {
        self.head.fields()
    }

    /// The head as it was parsed.
    pub fn head(&self) -> &RequestHead<'a> {
        &self.head
    }

    /// The body.
    pub fn body(&mut self) -> &mut Body<'a> {
        &mut self.body
    }

    /// What the route's `{name}` stands for, as it was sent; `None` if it is not UTF-8.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let (_, place) = self.params.iter().find(|(key, _)| &**key == name)?;
        std::str::from_utf8(self.path().get(place.clone())?).ok()
    }

    /// Ready once the client has left, for a handler that wants to end by itself: to undo what it has
    /// begun, or to keep what it has got. What leaving means is [`Fin`](crate::Fin)'s. From this
    /// call on the handler is not dropped when its client leaves; what it still answers is for
    /// nobody, and should come soon.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Request, Response, StatusCode};
    /// use squall_reactor::Pool;
    /// use std::{future::poll_fn, pin::pin, task::Poll};
    ///
    /// async fn build(request: &mut Request<'_>, pool: &Pool) -> Response {
    ///     let mut left = pin!(request.left());
    ///     let mut work = pin!(pool.run_with(|cancelled| !cancelled.is_cancelled()));
    ///     let done = poll_fn(|cx| match work.as_mut().poll(cx) {
    ///         Poll::Ready(result) => Poll::Ready(result.ok()),
    ///         Poll::Pending => left.as_mut().poll(cx).map(|()| None),
    ///     });
    ///     match done.await {
    ///         Some(true) => Response::text("built\n"),
    ///         _ => Response::new(StatusCode::SERVICE_UNAVAILABLE), // the work is told by its drop
    ///     }
    /// }
    /// # use std::future::Future;
    /// # let pool = Pool::builder().build()?;
    /// # let server = async move |request: &mut Request<'_>| build(request, &pool).await;
    /// # let _ = squall_http::Server::new(server);
    /// # Ok::<(), squall_reactor::Error>(())
    /// ```
    pub fn left(&self) -> Left<'a> {
        self.body.progress.departure.tell_me()
    }

    /// Lets the handler run to its end, whether its client leaves or not: for work that must not be
    /// left half done. A time limit ([`answer_within`](crate::timeout::answer_within)), and the end
    /// of a drain's patience, still drop it.
    pub fn ignore_left(&self) {
        self.body.progress.departure.ignore();
    }

    /// The address of the other end of the connection, as accept(2) gave it: a proxy's, if there is one
    /// between.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &String::from_utf8_lossy(self.path()))
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
