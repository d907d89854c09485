//! One record for each request, when its last byte has been made or its client has left.
//!
//! A function from handler to handler (see `timeout`): it looks at the request, calls the handler,
//! and counts the content as it is made. Who writes the records down is the user's choice, and must
//! not block: the sink runs on the loop. Requests that no handler has seen, because their head or
//! framing was wrong, the server tells of ([`Server::on_refusal`](crate::Server::on_refusal)); they
//! become lines here, too. Next: `metrics`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use squall_reactor::net::TcpStream;

use crate::app::Refusal;
use crate::content::{Content, Produce, Transmit};
use crate::date::Date;
use crate::method::Method;
use crate::proxy::TrustedProxies;
use crate::request::Request;
use crate::response::Response;
use crate::status::StatusCode;
use crate::trailers::Trailers;

/// `handler`, with a record of each request for `sink`. A panic of the sink goes no further.
///
/// # System calls
/// One `getpeername` a request, and three readings of the clock.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response, Server, access_log::log};
///
/// async fn hello(_: &mut Request<'_>) -> Response {
///     Response::text("hello\n")
/// }
///
/// let server = Server::new(log(hello, |record| eprintln!("{}", record.common())))
///     .on_refusal(|refusal| eprintln!("{}", refusal.common()));
/// # drop(server);
/// ```
pub fn log<H, S>(handler: H, sink: S) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static
where
    H: AsyncFn(&mut Request<'_>) -> Response + 'static,
    S: Fn(&Record) + 'static,
{
    logged(None, handler, sink)
}

/// As [`log`], behind proxies: a record tells the client that they tell.
///
/// # Examples
/// ```
/// use squall_http::access_log::{Record, log_behind};
/// use squall_http::proxy::{Family, TrustedProxies};
/// use squall_http::{Request, Response, Server};
///
/// let hello = async |_: &mut Request<'_>| Response::text("hello\n");
/// let proxies = TrustedProxies::new(["127.0.0.1"], Family::XForwarded)?;
/// let server = Server::new(log_behind(proxies, hello, |record: &Record| println!("{record:?}")));
/// # drop(server);
/// # Ok::<(), squall_http::proxy::NetworkError>(())
/// ```
pub fn log_behind<H, S>(
    proxies: TrustedProxies,
    handler: H,
    sink: S,
) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static
where
    H: AsyncFn(&mut Request<'_>) -> Response + 'static,
    S: Fn(&Record) + 'static,
{
    logged(Some(proxies), handler, sink)
}

/// What there is to say of one request.
///
/// # Examples
/// ```
/// use squall_http::access_log::{Record, log};
/// use squall_http::{Request, Response, Server};
///
/// let hello = async |_: &mut Request<'_>| Response::text("hello\n");
/// let server = Server::new(log(hello, |record: &Record| println!("{}", record.common())));
/// # drop(server);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Whose request it was: the peer's, or who the trusted proxies say ([`log_behind`]).
    pub client: IpAddr,
    /// When the handler was called.
    pub begun: SystemTime,
    /// From then until the last byte of the answer had been made.
    pub duration: Duration,
    /// The method.
    pub method: Method,
    /// The target as it was sent.
    pub target: Vec<u8>,
    /// The digit after `HTTP/1.`.
    pub minor_version: u8,
    /// The answer's status; `None` if the client left before there was one.
    pub status: Option<StatusCode>,
    /// Bytes of content that were made for it. The kernel may not have sent them all.
    pub bytes: u64,
    /// Whether the answer was made to its end.
    pub whole: bool,
}

impl Record {
    /// The target up to its `?`.
    pub fn path(&self) -> &[u8] {
        self.target.split(|&byte| byte == b'?').next().unwrap_or_default()
    }

    /// The record as a line of the common log format, without its end. A client that left before
    /// there was an answer has the status 499, as in nginx. What a client has chosen is escaped: it
    /// cannot end the line, close the quotes, or talk to a terminal.
    pub fn common(&self) -> impl fmt::Display {
        Common(self)
    }
}

struct Common<'a>(&'a Record);

impl fmt::Display for Common<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { client, begun, method, target, minor_version, status, bytes, .. } = self.0;
        write_begin(f, *client, *begun)?;
        write!(f, "\"{method} ")?;
        for byte in target {
            match byte {
                b'"' | b'\\' | ..b' ' | 0x7f.. => write!(f, "\\x{byte:02x}")?,
                _ => write!(f, "{}", char::from(*byte))?,
            }
        }
        write!(f, " HTTP/1.{minor_version}\" {} ", status.map_or(499, StatusCode::as_u16))?;
        if *bytes == 0 { f.write_str("-") } else { write!(f, "{bytes}") }
    }
}

impl Refusal {
    /// The refusal as a line of the common log format, without its end. In place of the request, of
    /// which nothing is certain, it has `-`, as Apache has; the client is the connection's peer.
    pub fn common(&self) -> impl fmt::Display {
        Refused(*self, SystemTime::now())
    }
}

struct Refused(Refusal, SystemTime);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_begin(f, self.0.peer.ip().to_canonical(), self.1)?;
        write!(f, "\"-\" {} -", self.0.status.as_u16())
    }
}

/// Who and when: `1.2.3.4 - - [06/Nov/1994:08:49:37 +0000] `.
fn write_begin(f: &mut fmt::Formatter<'_>, client: IpAddr, begun: SystemTime) -> fmt::Result {
    let since = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = Date::new(since.as_secs()).to_string(); // Sun, 06 Nov 1994 08:49:37 GMT
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    write!(f, "{client} - - [{day}/{month}/{year}:{time} +0000] ")
}

/// A request that has begun. Dropping it ends it and calls the sink, so no end is forgotten.
struct Entry<S: Fn(&Record)> {
    record: Record,
    begun: Instant,
    sink: Rc<S>,
}

impl<S: Fn(&Record)> Entry<S> {
    fn new(proxies: Option<&TrustedProxies>, request: &Request<'_>, sink: &Rc<S>) -> Self {
        let peer = request.peer_addr();
        let client = match proxies {
            Some(proxies) => proxies.resolve(peer.ip(), None, request.headers()).ip,
            None => peer.ip().to_canonical(),
        };
        let record = Record {
            peer,
            client,
            begun: SystemTime::now(),
            duration: Duration::ZERO,
            method: request.method(),
            target: request.head().target().to_vec(),
            minor_version: request.minor_version(),
            status: None,
            bytes: 0,
            whole: false,
        };
        Entry { record, begun: Instant::now(), sink: Rc::clone(sink) }
    }
}

impl<S: Fn(&Record)> Drop for Entry<S> {
    fn drop(&mut self) {
        self.record.duration = self.begun.elapsed();
        if self.record.status.is_none() && std::thread::panicking() {
            // The handler's panic; the server answers it so.
            self.record.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
        // A second panic while the first unwinds would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.sink)(&self.record)));
    }
}

/// Content that is counted as it is made; dropped with it, the entry ends.
struct Counted<C: ?Sized, S: Fn(&Record)> {
    /// What is to be sent, if that is known.
    length: Option<u64>,
    entry: Entry<S>,
    content: Box<C>,
}

impl<S: Fn(&Record)> Produce for Counted<dyn Produce, S> {
    fn poll_produce(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let start = out.len();
        let produced = self.content.poll_produce(cx, out);
        self.entry.record.bytes += (out.len() - start) as u64;
        self.entry.record.whole |= matches!(produced, Poll::Ready(Ok(false)));
        produced
    }

    fn trailers(&mut self) -> Trailers {
        self.content.trailers()
    }
}

impl<S: Fn(&Record)> Transmit for Counted<dyn Transmit, S> {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Result<u64>> {
        let sent = self.content.poll_transmit(cx, stream);
        if let Poll::Ready(Ok(sent)) = sent {
            let record = &mut self.entry.record;
            record.bytes += sent;
            record.whole = Some(record.bytes) == self.length;
        }
        sent
    }
}

fn logged<H, S>(
    proxies: Option<TrustedProxies>,
    handler: H,
    sink: S,
) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static
where
    H: AsyncFn(&mut Request<'_>) -> Response + 'static,
    S: Fn(&Record) + 'static,
{
    let sink = Rc::new(sink);
    async move |request: &mut Request<'_>| {
        let mut entry = Entry::new(proxies.as_ref(), request, &sink);
        let mut response = handler(request).await;
        let record = &mut entry.record;
        record.status = Some(response.status);
        let is_sent = record.method != Method::Head && !response.status.is_without_content();
        match response.content {
            Content::Produced(length, content) if is_sent => {
                let counted = Counted { length, entry, content };
                response.content = Content::Produced(length, Box::new(counted));
            }
            Content::Transmitted(length, content) if is_sent => {
                let counted = Counted { length: Some(length), entry, content };
                response.content = Content::Transmitted(length, Box::new(counted));
            }
            Content::Bytes(ref bytes) if is_sent => {
                (record.bytes, record.whole) = (bytes.len() as u64, true);
            }
            _ => record.whole = true,
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(target: &[u8]) -> Record {
        Record {
            peer: "1.2.3.4:5678".parse().unwrap(),
            client: "1.2.3.4".parse().unwrap(),
            begun: UNIX_EPOCH + Duration::from_secs(784_111_777),
            duration: Duration::from_millis(5),
            method: Method::Get,
            target: target.to_vec(),
            minor_version: 1,
            status: StatusCode::new(200),
            bytes: 13,
            whole: true,
        }
    }

    #[test]
    fn a_record_is_a_line_of_the_common_log_format() {
        let mut record = record(b"/tea?milk=1");
        let line = record.common().to_string();
        let head = "1.2.3.4 - - [06/Nov/1994:08:49:37 +0000] \"GET /tea?milk=1 HTTP/1.1\"";
        assert_eq!(line, format!("{head} 200 13"));
        assert_eq!(record.path(), b"/tea");
        (record.status, record.bytes) = (None, 0);
        assert_eq!(record.common().to_string(), format!("{head} 499 -"));
    }

    #[test]
    fn a_refusal_is_a_line_of_the_common_log_format() {
        let (status, peer) = (StatusCode::BAD_REQUEST, "[::ffff:1.2.3.4]:5678".parse().unwrap());
        let refusal = Refusal { peer, status, error: None };
        let line = Refused(refusal, UNIX_EPOCH + Duration::from_secs(784_111_777)).to_string();
        assert_eq!(line, "1.2.3.4 - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 -");
    }

    // A line's end in a target would write a second record; an escape would talk to the terminal.
    #[test]
    fn what_a_client_has_chosen_can_not_end_the_line_or_its_quotes() {
        let line = record(b"/\" 200 1\n6.6.6.6\x1b[2J\x7f\xff\\").common().to_string();
        assert!(line.contains("/\\x22 200 1\\x0a6.6.6.6\\x1b[2J\\x7f\\xff\\x5c HTTP"), "{line}");
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
}
