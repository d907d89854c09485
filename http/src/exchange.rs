//! Exchanges: a batch of requests on one connection, from its first byte until nothing is unanswered.
//!
//! One async function: read a head, run the handler and watch the client meanwhile, encode the answer,
//! go on with what has come already, and send once for the whole batch. What it needs it was given
//! and gives back, so it allocates nothing in the steady state. The decisions are `protocol`'s. Next:
//! `connection`.

use std::cell::{Cell, Ref, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use squall_reactor::net::TcpStream;
use squall_reactor::{Handle, Side, sleep_until, yield_now};

use crate::body::{Body, Content, Produce, Progress, owed};
use crate::date::Date;
use crate::encode::{
    Asked, LAST_CHUNK, Length, Transfer, begin_chunk, encode_error, encode_head, end_chunk,
};
use crate::error::Error;
use crate::framing::{Expectation, Framing, expectation, framing};
use crate::limits::Limits;
use crate::method::Method;
use crate::protocol::{After, BodyReader, Unread, unread};
use crate::request::Request;
use crate::response::Response;
use crate::slots::Workspace;
use crate::status::StatusCode;
use crate::target::TargetForm;
use crate::watch::{Fin, Watch};

/// Answers that wait for their batch to end; beyond this they are sent.
const MAX_OUT_BYTES: usize = 64 << 10;
/// Content up to here is copied behind its head and sent with it: cheaper than a second buffer.
const COPY_BYTES: usize = 4 << 10;
/// Requests of one batch before the others get their turn (law 7).
const BATCH: usize = 64;
/// How long a closing connection may go on sending.
const LINGER: Duration = Duration::from_secs(2);
/// Connections that may linger at once; beyond it they are closed.
const MAX_LINGERING: usize = 1024;

/// What all connections of a server share.
pub(crate) struct App<H> {
    pub(crate) handler: H,
    pub(crate) limits: Limits,
    pub(crate) fin: Fin,
    pub(crate) handle: Handle,
    /// Answers end their connections.
    pub(crate) draining: Cell<bool>,
    pub(crate) requests: Cell<u64>,
    pub(crate) cancelled: Cell<u64>,
    pub(crate) lingering: Cell<usize>,
    pub(crate) date: RefCell<(Date, Instant)>,
}

/// An exchange gives everything back.
pub(crate) struct Finished {
    pub(crate) stream: TcpStream,
    pub(crate) space: Box<Workspace>,
    pub(crate) after: After,
    /// Whether there was a request at all.
    pub(crate) asked: bool,
}

/// Serves what comes on `stream` until nothing is unanswered or the connection is to be closed.
pub(crate) async fn exchange<H>(
    app: std::rc::Rc<App<H>>,
    stream: TcpStream,
    mut space: Box<Workspace>,
) -> Finished
where
    H: AsyncFn(&mut Request<'_>) -> Response,
{
    // A failed write or read means that there is nobody to answer.
    let mut answered = 0;
    let after = app.batch(&stream, &mut space, &mut answered).await.unwrap_or(After::Reset);
    match after {
        After::Idle => {}
        After::Close => drop(stream.shutdown(Shutdown::Write)),
        After::Linger => app.linger(&stream, &mut space).await,
        After::Reset => drop(stream.set_reset_on_close()),
    }
    Finished { stream, space, after, asked: answered > 0 }
}

/// What reading a head came to.
enum Heard {
    Head(usize),
    Wrong(Error),
    Nothing(After),
}

impl<H> App<H>
where
    H: AsyncFn(&mut Request<'_>) -> Response,
{
    async fn batch(
        &self,
        stream: &TcpStream,
        space: &mut Workspace,
        answered: &mut usize,
    ) -> io::Result<After> {
        loop {
            let head = match self.hear(stream, space).await? {
                Heard::Head(length) => length,
                Heard::Nothing(after) => return Ok(after),
                Heard::Wrong(error) => {
                    let is_head = space.parser.asks_by_head(space.buffer.filled());
                    let method = is_head.then_some(Method::Head);
                    let asked = Asked { method, ..Asked::UNKNOWN };
                    let _ = encode_error(&mut space.out, error, asked, &self.date());
                    send_rest(stream, &mut space.out, false).await?;
                    return Ok(After::Linger);
                }
            };
            self.requests.set(self.requests.get() + 1);
            match self.answer(stream, space, head).await? {
                After::Idle => {}
                after => return Ok(after),
            }
            *answered += 1;
            if space.out.len() >= MAX_OUT_BYTES {
                send_rest(stream, &mut space.out, false).await?;
            }
            if answered.is_multiple_of(BATCH) {
                send_rest(stream, &mut space.out, false).await?;
                yield_now().await;
            }
        }
    }

    /// Reads until a head is whole. Before it waits it sends what has been answered.
    async fn hear(&self, stream: &TcpStream, space: &mut Workspace) -> io::Result<Heard> {
        let mut begun = None;
        loop {
            if !space.buffer.is_empty() {
                match space.parser.parse(space.buffer.filled(), &self.limits) {
                    Ok(Some(length)) => return Ok(Heard::Head(length)),
                    Ok(None) => {}
                    Err(error) => return Ok(Heard::Wrong(error)),
                }
            }
            send_rest(stream, &mut space.out, false).await?;
            let read = match space.buffer.is_empty() {
                // Nothing has begun: if nothing is there, the idle part waits, without a buffer.
                true => match stream.try_read(space.buffer.space()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Heard::Nothing(After::Idle));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                },
                false => {
                    // A reading of its own: in a long turn the turn's is older than the bytes.
                    let begun = *begun.get_or_insert_with(Instant::now);
                    let read = poll_fn(|cx| stream.poll_read(cx, space.buffer.space()));
                    match until(later(begun, self.limits.head_timeout), read).await {
                        Some(read) => read?,
                        None => return Ok(Heard::Wrong(Error::HeadTimeout)),
                    }
                }
            };
            match read {
                // A head that was cut short cannot be answered: nobody knows what it asked.
                0 => return Ok(Heard::Nothing(After::Close)),
                n => space.buffer.fill(n),
            }
        }
    }

    /// Answers the request whose head fills the first `head` bytes of the buffer.
    async fn answer(
        &self,
        stream: &TcpStream,
        space: &mut Workspace,
        head: usize,
    ) -> io::Result<After> {
        if space.buffer.room_behind(head) < COPY_BYTES {
            // A body will want room behind its head. Offsets count from the head's own start.
            space.buffer.compact();
        }
        let Workspace { buffer, parser, decoder, out, lines } = space;
        let (bytes, window) = buffer.split(head);
        let view = parser.head(bytes);
        let mut asked = Asked::by(&view);
        let minor_version = view.minor_version();
        let framed = framing(&view).and_then(|f| expectation(&view, f).map(|e| (f, e)));
        let (framing, expected) = match framed {
            Ok(framed) => framed,
            Err(error) if error.keeps_connection() => {
                (framing(&view).unwrap_or(Framing::None), Expectation::None)
            }
            Err(error) => {
                let _ = encode_error(out, error, asked, &self.date());
                send_rest(stream, out, false).await?;
                return Ok(After::Linger);
            }
        };
        let progress = Progress {
            ended: Cell::new(framing == Framing::None),
            more: Cell::new(framing == Framing::None && !window.is_empty()),
        };
        let form = view.form();
        // Who sends without waiting for a 100 is sent none (RFC 9110, 10.1.1).
        let waits = expected == Expectation::Continue && window.is_empty();
        let mut request = Request {
            method: view.method().unwrap_or(Method::Get),
            head: view,
            body: Body {
                stream,
                window,
                reader: BodyReader::new(framing, decoder),
                limits: &self.limits,
                max_bytes: self.limits.max_body_bytes,
                continue_owed: owed(waits),
                progress: &progress,
                in_a_row: 0,
            },
            params: Vec::new(),
        };
        let refusal = framed.err().map(Response::from).or_else(|| refuse(&asked, form));
        let response = match refusal {
            Some(response) => response,
            None => {
                let mut watch = Watch::new(stream, &progress, self.fin, minor_version);
                if !request.body.continue_owed.is_empty() {
                    // The 100 must not overtake the answers before it.
                    send_rest(stream, out, false).await?;
                }
                match self.handled(stream, out, &mut request, &mut watch).await? {
                    Some(response) => response.into_final(),
                    None => {
                        self.cancelled.set(self.cancelled.get() + 1);
                        // The answers before it were given, and a reset would discard what the
                        // client has not yet received of them.
                        send_rest(stream, out, true).await?;
                        return Ok(After::Close);
                    }
                }
            }
        };
        let body = &request.body;
        let fate = unread(body.reader.state(), !body.continue_owed.is_empty(), &self.limits);
        if fate == Unread::Close || self.draining.get() || asked.method == Some(Method::Connect) {
            asked = asked.closing();
        }
        let Response { status, content_type, lines: own_lines, content } = response;
        let length = match &content {
            Content::Bytes(bytes) => Length::Known(bytes.len() as u64),
            Content::Produced(Some(length), _) => Length::Known(*length),
            Content::Produced(None, _) => Length::Unknown,
        };
        let lines = match content_type {
            None => &own_lines,
            Some(media_type) => lines.typed(media_type, &own_lines),
        };
        let promise = encode_head(out, status, asked, length, lines, &self.date());
        let whole = send_content(stream, out, content, promise.transfer).await?;
        let mut after = match (fate, promise.keep) {
            _ if !whole => After::Reset,
            (Unread::Close, _) => After::Linger,
            (_, true) => After::Idle,
            (Unread::Drain, false) => After::Linger,
            (Unread::Nothing, false) if request.body.window.is_empty() => After::Close,
            (Unread::Nothing, false) => After::Linger,
        };
        if fate == Unread::Drain && after == After::Idle {
            send_rest(stream, out, false).await?;
            if !self.drain(&mut request.body).await {
                after = After::Linger;
            }
        }
        let left = request.body.window.left();
        drop(request);
        buffer.rejoin(head, left);
        if after != After::Idle {
            // The last answer leaves together with the FIN.
            send_rest(stream, out, after == After::Close).await?;
        }
        Ok(after)
    }

    /// Runs the handler, and watches the client while it is not finished. `None`: the client has
    /// left, and the handler's future has been dropped.
    async fn handled(
        &self,
        stream: &TcpStream,
        out: &mut Vec<u8>,
        request: &mut Request<'_>,
        watch: &mut Watch<'_>,
    ) -> io::Result<Option<Response>> {
        let mut sent = 0;
        let mut handler = pin!((self.handler)(request));
        let handled = poll_fn(|cx| {
            if let Poll::Ready(response) = poll_caught(handler.as_mut(), cx) {
                return Poll::Ready(Ok(Some(response)));
            }
            // It takes its time: the answers before it need not wait for it.
            while sent < out.len() {
                match stream.poll_write(cx, &out[sent..])? {
                    Poll::Ready(n) => sent += n,
                    Poll::Pending => return Poll::Pending,
                }
            }
            watch.poll_left(cx).map(|()| Ok(None))
        })
        .await;
        out.drain(..sent);
        handled
    }

    /// Reads a short body to its end. False if it did not end well or in time.
    async fn drain(&self, body: &mut Body<'_>) -> bool {
        let deadline = later(self.handle.now(), self.limits.head_timeout);
        let drained = until(deadline, async {
            loop {
                match body.chunk().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        });
        drained.await == Some(true)
    }

    /// Ends sending, and reads until the client has ended too, for a short while.
    async fn linger(&self, stream: &TcpStream, space: &mut Workspace) {
        let lingering = Lingering::new(&self.lingering);
        if stream.shutdown(Shutdown::Write).is_err() || self.lingering.get() > MAX_LINGERING {
            return;
        }
        let deadline = self.handle.now() + LINGER;
        // What is unread has no meaning any more.
        let unread = space.buffer.filled().len();
        space.buffer.rejoin(unread, 0..0);
        let read_out = until(deadline, async {
            loop {
                match poll_fn(|cx| stream.poll_read(cx, space.buffer.space())).await {
                    // One that sends without end must not hold the loop (law 7).
                    Ok(1..) => yield_now().await,
                    Ok(0) | Err(_) => return,
                }
            }
        });
        read_out.await;
        drop(lingering);
    }

    /// The value of Date; the clock is read at most once a turn.
    fn date(&self) -> Ref<'_, Date> {
        let now = self.handle.now();
        if self.date.borrow().1 != now {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut date = self.date.borrow_mut();
            date.0.renew(since.as_secs());
            date.1 = now;
        }
        Ref::map(self.date.borrow(), |(date, _)| date)
    }
}

/// Counts one connection that lingers.
struct Lingering<'a>(&'a Cell<usize>);

impl<'a> Lingering<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What no handler is asked.
fn refuse(asked: &Asked, form: TargetForm) -> Option<Response> {
    match asked.method {
        None => Some(Response::error(StatusCode::NOT_IMPLEMENTED, "unknown method")),
        Some(method @ (Method::Connect | Method::Trace)) => Some(Response::error(
            StatusCode::NOT_IMPLEMENTED,
            if method == Method::Trace { "TRACE would echo cookies" } else { "no tunnels here" },
        )),
        Some(Method::Options) if form == TargetForm::Asterisk => {
            let allow = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
            Response::new(StatusCode::NO_CONTENT).header("Allow", allow).ok()
        }
        _ => None,
    }
}

/// Polls a handler; its panic is a 500 for its client, and harms nobody else.
fn poll_caught(
    handler: Pin<&mut impl Future<Output = Response>>,
    cx: &mut Context<'_>,
) -> Poll<Response> {
    catch_unwind(AssertUnwindSafe(|| handler.poll(cx))).unwrap_or_else(|_| {
        let text = "the handler failed";
        Poll::Ready(Response::error(StatusCode::INTERNAL_SERVER_ERROR, text))
    })
}

/// `start + delay`; where `Instant` cannot hold the sum, a year on.
pub(crate) fn later(start: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    start.checked_add(delay).unwrap_or_else(|| start + FAR)
}

/// Asks a producer; its panic cuts its own answer off, and harms nobody else.
fn produce_caught(
    producer: &mut dyn Produce,
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Poll<io::Result<bool>> {
    catch_unwind(AssertUnwindSafe(|| producer.poll_produce(cx, out)))
        .unwrap_or_else(|_| Poll::Ready(Err(io::ErrorKind::Other.into())))
}

/// `future`, or `None` if the deadline passes first.
async fn until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = sleep_until(deadline);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.poll_elapsed(cx).map(|()| None),
    })
    .await
}

/// Sends all of `out`, and empties it.
async fn send_rest(stream: &TcpStream, out: &mut Vec<u8>, more: bool) -> io::Result<()> {
    let mut sent = 0;
    while sent < out.len() {
        sent += poll_fn(|cx| stream.poll_send(cx, &out[sent..], more)).await?;
    }
    out.clear();
    Ok(())
}

/// Puts the content behind its head. False if it is not what the head has promised.
async fn send_content(
    stream: &TcpStream,
    out: &mut Vec<u8>,
    content: Content,
    transfer: Transfer,
) -> io::Result<bool> {
    match (content, transfer) {
        (_, Transfer::Nothing) => Ok(true),
        (Content::Bytes(bytes), _) if bytes.len() <= COPY_BYTES => {
            out.extend_from_slice(&bytes);
            Ok(true)
        }
        (Content::Bytes(bytes), _) => {
            send_both(stream, out, &bytes).await?;
            Ok(true)
        }
        (Content::Produced(_, mut producer), transfer) => {
            let mut left = match transfer {
                Transfer::Length(length) => length,
                _ => u64::MAX,
            };
            let mut unyielded = 0;
            loop {
                let chunked = transfer == Transfer::Chunked;
                let Some((made, go_on)) = next_piece(stream, out, &mut *producer, chunked).await?
                else {
                    return Ok(false);
                };
                let Some(rest) = left.checked_sub(made as u64) else {
                    out.truncate(out.len() - made);
                    return Ok(false);
                };
                left = rest;
                if !go_on {
                    break;
                }
                if out.len() >= COPY_BYTES * 4 {
                    unyielded += out.len();
                    send_rest(stream, out, false).await?;
                }
                if unyielded >= MAX_OUT_BYTES {
                    // A client that reads as fast as this must not hold the loop (law 7).
                    unyielded = 0;
                    yield_now().await;
                }
            }
            match transfer {
                Transfer::Chunked => out.extend_from_slice(LAST_CHUNK),
                Transfer::Length(_) if left > 0 => return Ok(false),
                _ => {}
            }
            Ok(true)
        }
    }
}

/// Appends the producer's next piece to `out`: its bytes, and whether more follow; `None` if it has
/// failed. While it has none, what was made before is sent, and a reset ends the wait: the client
/// has left, and will not be told by a write, since there is none.
async fn next_piece(
    stream: &TcpStream,
    out: &mut Vec<u8>,
    producer: &mut dyn Produce,
    chunked: bool,
) -> io::Result<Option<(usize, bool)>> {
    let begin = |out: &mut Vec<u8>| {
        let before = out.len();
        let chunk = chunked.then(|| begin_chunk(out));
        (before, chunk, out.len())
    };
    let (before, mut chunk, mut start) = begin(out);
    let mut produced = poll_fn(|cx| Poll::Ready(produce_caught(producer, cx, out))).await;
    if produced.is_pending() {
        out.truncate(before);
        send_rest(stream, out, false).await?;
        (_, chunk, start) = begin(out);
        produced = Poll::Ready(
            poll_fn(|cx| match produce_caught(producer, cx, out) {
                Poll::Pending => stream
                    .poll_ready(cx, Side::HungUp)
                    .map(|_| Err(io::ErrorKind::ConnectionReset.into())),
                produced => produced,
            })
            .await,
        );
    }
    let Poll::Ready(Ok(go_on)) = produced else { return Ok(None) };
    let made = out.len() - start;
    if let Some(chunk) = chunk {
        end_chunk(out, chunk);
    }
    Ok(Some((made, go_on)))
}

/// Sends `out` and `bytes` without copying the second behind the first.
async fn send_both(stream: &TcpStream, out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    let total = out.len() + bytes.len();
    while sent < total {
        sent += poll_fn(|cx| {
            let first = out.get(sent..).unwrap_or_default();
            let second = &bytes[sent.saturating_sub(out.len())..];
            let bufs = [io::IoSlice::new(first), io::IoSlice::new(second)];
            stream.poll_write_vectored(cx, &bufs)
        })
        .await?;
    }
    out.clear();
    Ok(())
}
