//! A request's body, read as the handler asks for it, and a response's, made as it is sent.
//!
//! Reading is back-pressure: what the handler does not ask for stays in the kernel, one buffer ahead at
//! most. Writing is a [`Produce`]r that is asked when there is room. Next: `request`.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use squall_reactor::net::TcpStream;
use squall_reactor::{Handle, Sleep, sleep_until};

use crate::buffer::Window;
use crate::chunked::{Decoded, Piece};
use crate::deadline::later;
use crate::error::Error;
use crate::limits::Limits;
use crate::protocol::{BodyReader, BodyState};

/// Reads of a body before the others get their turn: a client that sends as fast as it is read must
/// not hold the loop (law 7).
const READS: u8 = 4;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the connection must know of a body while the handler holds it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The body has been read to its end.
    pub(crate) ended: Cell<bool>,
    /// Bytes of a next request have come with it.
    pub(crate) more: Cell<bool>,
}

/// A request's body.
///
/// # Examples
/// ```
/// use squall_http::{Request, Response};
///
/// async fn count(request: &mut Request<'_>) -> Response {
///     let mut total = 0;
///     loop {
///         match request.body().chunk().await {
///             Ok(Some(piece)) => total += piece.len(),
///             Ok(None) => return Response::text(format!("{total} bytes\n")),
///             Err(error) => return error.into(),
///         }
///     }
/// }
/// # let _ = squall_http::Server::new(count);
/// ```
pub struct Body<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) window: Window<'a>,
    pub(crate) reader: BodyReader<'a>,
    pub(crate) limits: &'a Limits,
    pub(crate) max_bytes: u64,
    /// The client waits for a 100 before it sends (RFC 9110, 10.1.1); so much of it is unsent.
    pub(crate) continue_owed: &'static [u8],
    pub(crate) progress: &'a Progress,
    /// Reads in a row that found something.
    pub(crate) in_a_row: u8,
    pub(crate) handle: &'a Handle,
    /// Bytes that were read for it, beyond those that came with the head.
    pub(crate) received: u64,
    /// Of a body that has had to wait.
    pub(crate) pace: Option<Box<Pace>>,
}

/// Why a body could not be read.
///
/// # Examples
/// ```
/// use squall_http::{BodyError, Request, Response};
///
/// async fn length(request: &mut Request<'_>) -> Response {
///     match request.body().bytes().await {
///         Ok(bytes) => Response::text(format!("{}\n", bytes.len())),
///         Err(BodyError::Http(error)) => Response::error(error.status(), error.message()),
///         Err(error) => Response::text(format!("{error:?}\n")), // nobody will read it
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// It is not what RFC 9112 allows, too large, or cut short.
    Http(Error),
    /// The connection failed.
    Io(io::Error),
}

impl Body<'_> {
    /// Allows a body of so many bytes here, instead of the server's limit. Call it before the first
    /// read.
    pub fn set_limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// The length that the client declared: `Some(0)` without a body, `None` for chunked coding.
    /// While the body is being read it is what is left.
    pub fn length(&self) -> Option<u64> {
        match self.reader.state() {
            BodyState::Ended => Some(0),
            BodyState::Length(left) => Some(left),
            BodyState::Chunked | BodyState::Failed(_) => None,
        }
    }

    /// The next bytes of the body, `None` at its end. The first call sends `100 Continue` to a client
    /// that waits for it.
    ///
    /// # Errors
    /// [`BodyError`]; the connection closes after the answer.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn chunk(&mut self) -> Result<Option<&[u8]>, BodyError> {
        let place = poll_fn(|cx| self.poll_place(cx)).await?;
        Ok(place.map(|place| self.window.bytes(place)))
    }

    /// The whole body, from here to its end.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    pub async fn bytes(&mut self) -> Result<Vec<u8>, BodyError> {
        // The declared length is a stranger's word: believe it up to a point.
        let expected = self.length().unwrap_or(0).min(self.max_bytes).min(64 << 10);
        let mut bytes = Vec::with_capacity(expected as usize);
        while let Some(piece) = self.chunk().await? {
            bytes.extend_from_slice(piece);
        }
        Ok(bytes)
    }

    fn poll_place(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Range<usize>>, BodyError>> {
        loop {
            let decoded = self.reader.next(self.window.filled(), self.max_bytes, self.limits);
            let Decoded { consumed, piece } = decoded.map_err(BodyError::Http)?;
            let place = self.window.consume(consumed);
            if self.reader.state() == BodyState::Ended {
                self.progress.ended.set(true);
                self.progress.more.set(!self.window.is_empty());
            }
            match piece {
                Piece::Data(data) => {
                    return Poll::Ready(Ok(Some(place + data.start..place + data.end)));
                }
                Piece::End(_) => return Poll::Ready(Ok(None)),
                Piece::More => {}
            }
            if self.poll_more(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Reads once into the window, after the 100 that is owed.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while !self.continue_owed.is_empty() {
            match self.stream.poll_write(cx, self.continue_owed).map_err(BodyError::Io)? {
                Poll::Ready(n) => self.continue_owed = &self.continue_owed[n..],
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.in_a_row == READS {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.stream.poll_read(cx, self.window.space()).map_err(BodyError::Io)? {
            Poll::Pending => {
                self.in_a_row = 0;
                let pace = self.pace.get_or_insert_with(Box::default);
                pace.poll_late(cx, self.handle, self.limits, self.received).map(|()| {
                    self.reader.fail(Error::BodyTimeout);
                    Err(BodyError::Http(Error::BodyTimeout))
                })
            }
            Poll::Ready(0) => {
                self.reader.end_of_input();
                Poll::Ready(Err(BodyError::Http(Error::BodyIncomplete)))
            }
            Poll::Ready(n) => {
                self.window.fill(n);
                self.received += n as u64;
                if let Some(pace) = &mut self.pace {
                    pace.came(self.handle);
                }
                self.in_a_row += 1;
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// How long a client lets its body be waited for. Time in which the handler does not ask is its own.
#[derive(Default)]
pub(crate) struct Pace {
    waited: Duration,
    since: Option<Instant>,
    deadline: Option<Sleep>,
}

impl Pace {
    /// Nothing has come. Ready when the body is behind its minimum rate.
    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        handle: &Handle,
        limits: &Limits,
        received: u64,
    ) -> Poll<()> {
        if limits.min_body_rate == 0 {
            return Poll::Pending;
        }
        if self.since.is_none() {
            let now = handle.now();
            let earned = Duration::from_secs(received / u64::from(limits.min_body_rate));
            let left = limits.body_grace.saturating_add(earned).saturating_sub(self.waited);
            self.since = Some(now);
            self.deadline.get_or_insert_with(|| sleep_until(now)).reset(later(now, left));
        }
        match &mut self.deadline {
            Some(deadline) => deadline.poll_elapsed(cx),
            None => Poll::Pending,
        }
    }

    /// Bytes have come.
    fn came(&mut self, handle: &Handle) {
        if let (Some(since), Some(deadline)) = (self.since.take(), &mut self.deadline) {
            self.waited += handle.now().saturating_duration_since(since);
            // It must not wake the loop while the handler does something else (law 8).
            deadline.disarm();
        }
    }
}

/// What a client that expects it is owed.
pub(crate) fn owed(expected: bool) -> &'static [u8] {
    if expected { CONTINUE } else { b"" }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("state", &self.reader.state()).finish_non_exhaustive()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Http(error) => Some(error),
            Self::Io(error) => Some(error),
        }
    }
}

/// A response's content.
pub(crate) enum Content {
    /// Known whole.
    Bytes(Cow<'static, [u8]>),
    /// Made as it is sent; the length if it is known.
    Produced(Option<u64>, Box<dyn Produce>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Produced(length, _) => f.debug_tuple("Produced").field(length).finish(),
        }
    }
}

/// Makes a response's content piece by piece, when there is room for it.
///
/// # Examples
/// ```
/// use squall_http::{Produce, Response};
/// use std::io;
/// use std::task::{Context, Poll};
///
/// struct Countdown(u32);
///
/// impl Produce for Countdown {
///     fn poll_produce(&mut self, _: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
///         out.extend_from_slice(format!("{}\n", self.0).as_bytes());
///         self.0 = self.0.saturating_sub(1);
///         Poll::Ready(Ok(self.0 > 0))
///     }
/// }
///
/// let response = Response::produced("text/plain", None, Countdown(10));
/// # drop(response);
/// ```
pub trait Produce {
    /// Appends the next piece to `out`: some kilobytes are a good size. `Ready(Ok(false))` when the
    /// content has ended (what was appended by that call still counts). Who answers `Pending` has
    /// appended nothing and wakes `cx` later; what came before is sent meanwhile, and if the client
    /// resets, the producer is dropped. It is also dropped when the content has been sent, and
    /// unasked if the response has no content (HEAD).
    ///
    /// # Errors
    /// An error cuts the response off, so that the client sees that it is incomplete.
    fn poll_produce(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>>;
}

/// The pieces of an iterator, some kilobytes at a time.
#[derive(Debug)]
pub(crate) struct Pieces<I>(pub(crate) I);

impl<I, P> Produce for Pieces<I>
where
    I: Iterator<Item = P>,
    P: AsRef<[u8]>,
{
    fn poll_produce(&mut self, _: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        const PIECE_BYTES: usize = 8 << 10;
        let start = out.len();
        while out.len() - start < PIECE_BYTES {
            match self.0.next() {
                Some(piece) => out.extend_from_slice(piece.as_ref()),
                None => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }
}
