//! A response as a handler gives it: status, header lines, content.
//!
//! Framing is not the handler's: Content-Length, Transfer-Encoding and Connection are written by the
//! encoder, from the content and from what the request allows. Next: `router`.

use std::borrow::Cow;

use crate::body::BodyError;
use crate::content::{Content, Pieces, Produce};
use crate::encode::{Asked, HeaderLines};
use crate::error::Error;
use crate::status::StatusCode;
use crate::trailers::announcement;

/// A response.
///
/// # Examples
/// ```
/// use squall_http::{Response, StatusCode};
///
/// let response = Response::text("gone\n").status(StatusCode::NOT_FOUND);
/// let response = response.header("Retry-After", "60")?;
/// assert!(response.lines().contains("retry-after"));
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) lines: HeaderLines,
    pub(crate) content: Content,
    /// `Trailer: ...`; boxed, because few have it and all are moved.
    pub(crate) trailer: Option<Box<HeaderLines>>,
}

impl Response {
    /// A response with this status and no content.
    pub fn new(status: StatusCode) -> Self {
        let content = Content::Bytes(Cow::Borrowed(b""));
        Self { status, content_type: None, lines: HeaderLines::new(), content, trailer: None }
    }

    /// 200 with plain text in UTF-8.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::bytes("text/plain; charset=utf-8", bytes)
    }

    /// 200 with bytes of a media type.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let mut response = Self::new(StatusCode::OK);
        response.content_type = Some(content_type);
        response.content = Content::Bytes(bytes.into());
        response
    }

    /// 200 with content that an iterator makes as it is sent, in chunked coding (to HTTP/1.0: up to
    /// the end of the connection). The iterator must not block.
    pub fn pieces<I, P>(content_type: &'static str, pieces: I) -> Self
    where
        I: IntoIterator<Item = P>,
        I::IntoIter: 'static,
        P: AsRef<[u8]> + 'static,
    {
        Self::produced(content_type, None, Pieces(pieces.into_iter()))
    }

    /// 200 with content that a [`Produce`]r makes as it is sent. With a length it is sent as it is,
    /// and cut off if the producer makes more or less.
    pub fn produced(
        content_type: &'static str,
        length: Option<u64>,
        producer: impl Produce + 'static,
    ) -> Self {
        let mut response = Self::new(StatusCode::OK);
        response.content_type = Some(content_type);
        response.content = Content::Produced(length, Box::new(producer));
        response
    }

    /// An error's status, with one line of text that says what is wrong.
    pub fn error(status: StatusCode, message: &str) -> Self {
        Self::text(format!("{} {}: {message}\n", status.as_u16(), status.reason())).status(status)
    }

    /// Changes the status. An interim one (1xx) is no response: the client is sent 500.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header line.
    ///
    /// # Errors
    /// [`Error::HeaderName`], [`Error::HeaderValue`] (CR, LF, NUL and other control bytes: response
    /// splitting), [`Error::HeaderReserved`] for the fields that frame the message.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.lines.append(name, value)?;
        Ok(self)
    }

    /// Announces trailer fields, whose values the content's producer gives when it has ended
    /// ([`Produce::trailers`], [`Sink::trailer`](crate::stream::Sink::trailer)).
    ///
    /// They are announced and sent in chunked coding alone, that is if the content's length is not
    /// known, and to a client that has said `TE: trailers` (RFC 9110, 6.5.1; RFC 9112, 7.1.2). Others
    /// get the response without them, so nothing that must be known may depend on them.
    ///
    /// # Errors
    /// [`Error::TrailerName`] for a field that must be known before the content.
    ///
    /// # Examples
    /// ```
    /// use squall_http::Response;
    ///
    /// let response = Response::stream("text/plain", async |sink| {
    ///     sink.write(b"hello world").await;
    ///     sink.trailer("X-Checksum", "5eb63bbb").map_err(std::io::Error::other)
    /// });
    /// let response = response.trailers(&["X-Checksum"])?;
    /// # drop(response);
    /// # Ok::<(), squall_http::Error>(())
    /// ```
    pub fn trailers(mut self, names: &[&str]) -> Result<Self, Error> {
        self.trailer = Some(Box::new(announcement(names)?));
        Ok(self)
    }

    /// The same, or 500 in place of an interim status: behind that the client would take the answer
    /// to its next request for the one to this (RFC 9110, 15.2). A 101 that hands the connection over
    /// is final if this is a request that may be answered so: `switches`.
    pub(crate) fn into_final(self, switches: bool) -> Self {
        match self.content {
            Content::Handover(_) if switches => self,
            Content::Handover(_) => {
                let text = "the handler's handover is for another request";
                Self::error(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
            _ if self.status.is_interim() => {
                let text = "the handler gave an interim status";
                Self::error(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
            _ => self,
        }
    }

    /// Whether it has trailers to announce, and is sent in chunks.
    #[inline]
    pub(crate) fn has_trailers(&self, asked: &Asked) -> bool {
        self.trailer.is_some() && asked.minor_version > 0 && self.content.length().is_none()
    }

    /// The header lines so far, without Content-Type.
    pub fn lines(&self) -> &HeaderLines {
        &self.lines
    }
}

/// What a handler answers to a body that it could not read.
impl From<BodyError> for Response {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Http(error) => error.into(),
            // Nobody will read it.
            BodyError::Io(_) => Self::new(StatusCode::BAD_REQUEST),
        }
    }
}

impl From<Error> for Response {
    fn from(error: Error) -> Self {
        Self::text(format!("{}\n", error.message())).status(error.status())
    }
}
