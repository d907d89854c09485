//! One request and its answer.
//!
//! The handler runs between two decisions of `protocol` and `encode`: what the head says of the body,
//! before it; what becomes of an unread body and of the connection, after it and before the
//! response's head goes out. Next: `exchange`.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use crate::app::App;
use crate::body::{Body, Progress, owed};
use crate::content::Content;
use crate::deadline::{later, until};
use crate::departure::Departure;
use crate::encode::{Asked, Length, Promise, encode_error, encode_head};
use crate::error::Error;
use crate::framing::{Expectation, Framing, expectation, framing};
use crate::head::RequestHead;
use crate::method::Method;
use crate::protocol::{After, BodyReader, Unread, unread};
use crate::request::Request;
use crate::response::Response;
use crate::send::{COPY_BYTES, Wire, send_content};
use crate::slots::{TypedLines, Workspace};
use crate::status::StatusCode;
use crate::target::TargetForm;
use crate::trailers;
use crate::watch::Watch;

impl<H> App<H>
where
    H: AsyncFn(&mut Request<'_>) -> Response,
{
    /// Answers the request whose head fills the first `head` bytes of the buffer.
    pub(crate) async fn answer(
        &self,
        wire: &Wire<'_>,
        space: &mut Workspace,
        head: usize,
    ) -> io::Result<After> {
        if space.buffer.room_behind(head) < COPY_BYTES {
            // A body will want room behind its head. Offsets count from the head's own start.
            space.buffer.compact();
        }
        let Workspace { buffer, parser, decoder, out, lines, handover } = space;
        let (bytes, window) = buffer.split(head);
        let view = parser.head(bytes);
        let (asked, form) = (Asked::by(&view), view.form());
        let (framing, waits, refusal) = match framed(&view) {
            Ok(framed) => framed,
            Err(error) => {
                self.refuse(wire.peer, error.status(), Some(error));
                let _ = encode_error(out, error, asked, &self.date());
                wire.send_rest(out, false).await?;
                return Ok(After::Linger);
            }
        };
        let progress = Progress {
            ended: Cell::new(framing == Framing::None),
            more: Cell::new(framing == Framing::None && !window.is_empty()),
            departure: Departure::default(),
        };
        // Who sends without waiting for a 100 is sent none (RFC 9110, 10.1.1).
        let waits = waits && window.is_empty();
        let mut request = Request {
            method: view.method().unwrap_or(Method::Get),
            head: view,
            peer: wire.peer,
            body: Body {
                stream: wire.stream,
                window,
                reader: BodyReader::new(framing, decoder),
                limits: &self.limits,
                max_bytes: self.limits.max_body_bytes,
                continue_owed: owed(waits),
                progress: &progress,
                in_a_row: 0,
                trailers: None,
                handle: &self.handle,
                received: 0,
                pace: None,
            },
            params: Vec::new(),
        };
        let response = match refusal.map(Response::from).or_else(|| refuse(&asked, form)) {
            Some(response) => {
                if response.status.is_error() {
                    self.refuse(wire.peer, response.status, refusal);
                }
                response
            }
            None => {
                let mut watch = Watch::new(wire.stream, &progress, self.fin, asked.minor_version);
                if !request.body.continue_owed.is_empty() {
                    // The 100 must not overtake the answers before it.
                    wire.send_rest(out, false).await?;
                }
                match self.handled(wire, out, &mut request, &mut watch).await? {
                    Some(response) => {
                        let switches = asked.minor_version > 0 && request.body.has_ended();
                        response.into_final(switches)
                    }
                    None => {
                        self.cancelled.set(self.cancelled.get() + 1);
                        // The answers before it were given, and a reset would discard what the
                        // client has not yet received of them.
                        wire.send_rest(out, true).await?;
                        return Ok(After::Close);
                    }
                }
            }
        };
        let body = &request.body;
        let fate = unread(body.reader.state(), !body.continue_owed.is_empty(), &self.limits);
        let close =
            fate == Unread::Close || self.draining.get() || asked.method == Some(Method::Connect);
        let asked = if close { asked.closing() } else { asked };
        let has_trailers = response.has_trailers(&asked) && trailers::are_wanted(request.headers());
        let (content, promise) = self.encode(out, lines, response, asked, has_trailers);
        let clean = request.body.window.is_empty();
        let mut after = match content {
            Content::Handover(speak) => {
                *handover = Some(speak);
                After::Handover
            }
            content => {
                match send_content(wire, out, content, promise.transfer, has_trailers).await? {
                    true => after(fate, promise.keep, clean),
                    false => After::Reset,
                }
            }
        };
        if fate == Unread::Drain && after == After::Idle {
            wire.send_rest(out, false).await?;
            if !self.drain(&mut request.body).await {
                after = After::Linger;
            }
        }
        let left = request.body.window.left();
        drop(request);
        buffer.rejoin(head, left);
        if after != After::Idle {
            // The last answer leaves together with the FIN.
            wire.send_rest(out, after == After::Close).await?;
        }
        Ok(after)
    }

    /// Appends the response's head, and gives its content with what the head has promised.
    #[inline]
    fn encode(
        &self,
        out: &mut Vec<u8>,
        lines: &mut TypedLines,
        response: Response,
        asked: Asked,
        has_trailers: bool,
    ) -> (Content, Promise) {
        let Response { status, content_type, lines: mut own_lines, content, trailer } = response;
        let length = content.length().map_or(Length::Unknown, Length::Known);
        if let Some(line) = trailer.filter(|_| has_trailers) {
            own_lines.append_all(&line);
        }
        let lines = match content_type {
            None => &own_lines,
            Some(media_type) => lines.typed(media_type, &own_lines),
        };
        (content, encode_head(out, status, asked, length, lines, &self.date()))
    }

    /// Runs the handler, and watches the client while it is not finished. `None`: the client has
    /// left, and the handler's future has been dropped, because it wanted nothing else.
    async fn handled(
        &self,
        wire: &Wire<'_>,
        out: &mut Vec<u8>,
        request: &mut Request<'_>,
        watch: &mut Watch<'_>,
    ) -> io::Result<Option<Response>> {
        let mut sent = 0;
        let (mut is_broken, progress) = (false, request.body.progress);
        // A function may work before it makes its future, and panic there. The future is pinned where
        // it is made: each move is room for another one in the slot.
        let mut made = pin!(caught(move || {
            let request = request; // given, not lent: the future keeps it
            (self.handler)(request)
        }));
        let Some(mut handler) = made.as_mut().as_pin_mut() else {
            return Ok(Some(panicked()));
        };
        let handled = poll_fn(|cx| {
            loop {
                if let Poll::Ready(response) = poll_caught(handler.as_mut(), cx) {
                    return Poll::Ready(Ok(Some(response)));
                }
                if is_broken {
                    return Poll::Pending;
                }
                // It takes its time: the answers before it need not wait for it.
                let gone = match ready!(poll_flush(wire, cx, out, &mut sent)) {
                    Err(error) => {
                        is_broken = true;
                        Err(error)
                    }
                    Ok(()) if !progress.departure.matters() => return Poll::Pending,
                    Ok(()) => {
                        ready!(watch.poll_left(cx));
                        Ok(None)
                    }
                };
                if !progress.departure.tell() {
                    return Poll::Ready(gone);
                }
                // Whoever wanted to know has been told, and is polled once more.
            }
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
}

/// What the head says of the body: its framing, and whether the client waits for a 100. A refusal
/// that leaves the connection usable stands beside it.
///
/// # Errors
/// The end of the message is in doubt.
#[inline]
fn framed(head: &RequestHead<'_>) -> Result<(Framing, bool, Option<Error>), Error> {
    let framing = framing(head)?;
    match expectation(head, framing) {
        Ok(expected) => Ok((framing, expected == Expectation::Continue, None)),
        Err(error) if error.keeps_connection() => Ok((framing, false, Some(error))),
        Err(error) => Err(error),
    }
}

/// What follows a whole answer; `clean` if nothing else was read.
#[inline]
fn after(unread: Unread, keep: bool, clean: bool) -> After {
    match (unread, keep) {
        (Unread::Close, _) => After::Linger,
        (_, true) => After::Idle,
        (Unread::Drain, false) => After::Linger,
        (Unread::Nothing, false) if clean => After::Close,
        (Unread::Nothing, false) => After::Linger,
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
    caught(|| handler.poll(cx)).unwrap_or_else(|| Poll::Ready(panicked()))
}

/// What `make` makes, `None` if it panics.
fn caught<T>(make: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(make)).ok()
}

fn panicked() -> Response {
    Response::error(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
}

/// Sends what of `out` is not `sent`.
fn poll_flush(
    wire: &Wire<'_>,
    cx: &mut Context<'_>,
    out: &[u8],
    sent: &mut usize,
) -> Poll<io::Result<()>> {
    while *sent < out.len() {
        *sent += ready!(wire.stream.poll_write(cx, &out[*sent..]))?;
    }
    Poll::Ready(Ok(()))
}
