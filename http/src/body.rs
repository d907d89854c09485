//! A request's body, read as the handler asks for it.
//!
//! Reading is back-pressure: what the handler does not ask for stays in the kernel, one buffer ahead at
//! most. Next: `request`.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use squall_reactor::net::TcpStream;
use squall_reactor::{Handle, Sleep, sleep_until};

use crate::buffer::Window;
use crate::chunked::{Decoded, Piece};
use crate::deadline::later;
use crate::departure::Departure;
use crate::error::Error;
use crate::headers::Fields;
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
    /// What the handler wants when its client leaves.
    pub(crate) departure: Departure,
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
    /// The trailer section's place in the window, once the body has ended.
    pub(crate) trailers: Option<Range<usize>>,
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

    /// Whether it has been read to its end, or there is none.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.state() == BodyState::Ended
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

    /// The trailer fields that came behind a chunked body, once that has been read to its end: `None`
    /// before. They say what the client learnt while it sent, such as a digest, and are never to
    /// be taken for header fields (RFC 9110, 6.5.1); those that frame, route or authenticate a
    /// message are left out.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Request, Response};
    ///
    /// async fn upload(request: &mut Request<'_>) -> Response {
    ///     while let Ok(Some(_piece)) = request.body().chunk().await {}
    ///     let digest = request.body().trailers().and_then(|fields| fields.get("digest"));
    ///     Response::text(format!("{}\n", String::from_utf8_lossy(digest.unwrap_or(b"none"))))
    /// }
    /// # let _ = squall_http::Server::new(upload);
    /// ```
    pub fn trailers(&self) -> Option<Fields<'_>> {
        let place = self.trailers.clone()?;
        Some(self.reader.trailers(self.window.bytes(place)))
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
                Piece::End(section) => {
                    // Nothing is read into the window from here on, so they stay where they are.
                    let place = place + section.start..place + section.end;
                    self.trailers.get_or_insert(place);
                    return Poll::Ready(Ok(None));
                }
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
                // A client that takes nothing holds its handler by this, too.
                Poll::Pending => return self.poll_late(cx),
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
                self.poll_late(cx)
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

    /// Pending until the client has let itself be waited for too long; then the body has failed.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let pace = self.pace.get_or_insert_with(Box::default);
        ready!(pace.poll_late(cx, self.handle, self.limits, self.received));
        self.reader.fail(Error::BodyTimeout);
        Poll::Ready(Err(BodyError::Http(Error::BodyTimeout)))
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
    /// Nothing has come. Ready when the body is behind its minimum rate, or its pause too long.
    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        handle: &Handle,
        limits: &Limits,
        received: u64,
    ) -> Poll<()> {
        if self.since.is_none() {
            let now = handle.now();
            let earned = match u64::from(limits.min_body_rate) {
                0 => Duration::MAX,
                rate => Duration::from_secs(received / rate),
            };
            let left = limits.body_grace.saturating_add(earned).saturating_sub(self.waited);
            let left = left.min(limits.idle_timeout);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::ReadBuffer;
    use crate::chunked::ChunkDecoder;
    use crate::framing::Framing;
    use squall_reactor::Reactor;
    use squall_reactor::net::TcpListener;

    // Broken by a 100 that is waited for without a bound. It takes a socket without room for a single
    // byte, which a client arranges by answers that it does not read.
    #[test]
    fn a_client_that_does_not_take_even_the_100_is_late() {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let error = reactor.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            for size in [64 << 10, 1] {
                while stream.try_write(&vec![0; size]).is_ok() {}
            }
            let limits = Limits { body_grace: Duration::from_millis(50), ..Limits::default() };
            let (mut buffer, mut decoder) = (ReadBuffer::new(1024), ChunkDecoder::new());
            let progress = Progress {
                ended: Cell::new(false),
                more: Cell::new(false),
                departure: Departure::default(),
            };
            let mut body = Body {
                stream: &stream,
                window: buffer.split(0).1,
                reader: BodyReader::new(Framing::Length(5), &mut decoder),
                limits: &limits,
                max_bytes: 5,
                continue_owed: owed(true),
                progress: &progress,
                in_a_row: 0,
                trailers: None,
                handle: &handle,
                received: 0,
                pace: None,
            };
            body.chunk().await.map(|_| ()).unwrap_err()
        });
        let error = error.unwrap();
        assert!(matches!(error, BodyError::Http(Error::BodyTimeout)), "{error:?}");
    }
}
