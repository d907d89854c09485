//! What a request head says about its body, and about the connection after it.
//!
//! The one idea: one function decides on framing, in the order of RFC 9112, 6.3, it sees all lines
//! of both fields, and nobody else looks at them. Two readers that disagree about where a body
//! ends are what request smuggling is made of, so every doubt is an error here, never a guess.
//! Absent: limits of a route (see [`Framing::within`]), and responses. Next: `chunked`.

use crate::error::Error;
use crate::grammar::{elements, is_token, trim_ows};
use crate::head::RequestHead;
use crate::headers::Steering;

/// How the end of a request's body is known.
///
/// # Examples
/// ```
/// use squall_http::{Error, framing::Framing};
///
/// assert_eq!(Framing::Length(5).within(4), Err(Error::BodyTooLarge));
/// assert_eq!(Framing::Chunked.within(4), Ok(Framing::Chunked)); // the decoder counts
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks, up to one of size 0.
    Chunked,
}

impl Framing {
    /// Holds the length, if it is known, against a limit. It comes before any `100 Continue`; a
    /// chunked body is held to its limit by the decoder.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`].
    pub fn within(self, max_body_bytes: u64) -> Result<Framing, Error> {
        match self {
            Framing::Length(length) if length > max_body_bytes => Err(Error::BodyTooLarge),
            _ => Ok(self),
        }
    }
}

/// Decides how the body of a request is framed (RFC 9112, 6.3, items 3 to 7). The method has no
/// say: a GET may have a body, and it must be read all the same.
///
/// # Errors
/// 400 for every doubt, 501 for a coding besides `chunked`, 413 for a length over `u64`. After
/// each the connection must be closed.
///
/// # Examples
/// ```
/// use squall_http::{Limits, framing::{Framing, framing}, head::HeadParser};
///
/// let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// assert_eq!(framing(&parser.head(bytes))?, Framing::Length(5));
/// # Ok::<(), squall_http::Error>(())
/// ```
#[inline]
pub fn framing(head: &RequestHead<'_>) -> Result<Framing, Error> {
    let fields = head.fields();
    match (fields.count(Steering::TransferEncoding), fields.count(Steering::ContentLength)) {
        (0, 0) => Ok(Framing::None), // item 7
        _ => framing_of_body(head),
    }
}

fn framing_of_body(head: &RequestHead<'_>) -> Result<Framing, Error> {
    let fields = head.fields();
    let lengths = fields.count(Steering::ContentLength);
    if fields.count(Steering::TransferEncoding) > 0 {
        return match (head.minor_version(), lengths) {
            (0, _) => Err(Error::CodingInHttp10),                   // 6.1
            (_, 1..) => Err(Error::LengthAndCoding),                // item 3
            _ => chunked(fields.every(Steering::TransferEncoding)), // item 4
        };
    }
    match fields.first(Steering::ContentLength) {
        Some(_) if lengths > 1 => Err(Error::LengthRepeated), // item 5
        Some(value) => match decimal(value)? {
            0 => Ok(Framing::None),
            length => Ok(Framing::Length(length)), // item 6
        },
        None => Ok(Framing::None),
    }
}

/// Whether and how the client lets the connection go on after this request.
///
/// # Examples
/// ```
/// use squall_http::{Limits, framing::{Persistence, persistence}, head::HeadParser};
///
/// let bytes = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// assert_eq!(persistence(&parser.head(bytes)), Persistence::KeepAndSay);
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Close after the response, and leave the rest unread.
    Close,
    /// Keep it; nothing need be said, as in HTTP/1.1.
    Keep,
    /// Keep it if the response's end is known without closing, and say so: HTTP/1.0 with
    /// `keep-alive`.
    KeepAndSay,
}

/// Decides whether the connection can go on (RFC 9112, 9.3): `close` in any element of any line
/// ends it, whatever the version; HTTP/1.1 goes on; HTTP/1.0 goes on if it asks for it.
#[inline]
pub fn persistence(head: &RequestHead<'_>) -> Persistence {
    let mut keep_alive = false;
    for option in head.fields().every(Steering::Connection).flat_map(elements) {
        if option.eq_ignore_ascii_case(b"close") {
            return Persistence::Close;
        }
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    match (head.minor_version(), keep_alive) {
        (0, false) => Persistence::Close,
        (0, true) => Persistence::KeepAndSay,
        (_, _) => Persistence::Keep,
    }
}

/// What the client waits for before it sends its body.
///
/// # Examples
/// ```
/// use squall_http::{Limits, framing::{Expectation, expectation, framing}, head::HeadParser};
///
/// let bytes = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// let head = parser.head(bytes);
/// assert_eq!(expectation(&head, framing(&head)?)?, Expectation::Continue);
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100 Continue` or a final status. No 100 is due if some of the body is here already.
    Continue,
}

/// Reads Expect (RFC 9110, 10.1.1). There is nothing to expect without a body, and in HTTP/1.0
/// `100-continue` is ignored.
///
/// # Errors
/// [`Error::ExpectationFailed`] for any other expectation; it leaves the connection usable.
#[inline]
pub fn expectation(head: &RequestHead<'_>, framing: Framing) -> Result<Expectation, Error> {
    let mut waits = false;
    for expected in head.fields().every(Steering::Expect).flat_map(elements) {
        if !expected.eq_ignore_ascii_case(b"100-continue") {
            return Err(Error::ExpectationFailed);
        }
        waits = true;
    }
    match (waits, framing, head.minor_version()) {
        (true, Framing::Length(_) | Framing::Chunked, 1..) => Ok(Expectation::Continue),
        _ => Ok(Expectation::None),
    }
}

/// Whether the client offers to go on with this protocol: it stands in Upgrade, and Connection
/// names `upgrade` (RFC 9110, 7.8). HTTP/1.0 cannot.
///
/// # Examples
/// ```
/// use squall_http::{Limits, framing::offers_upgrade, head::HeadParser};
///
/// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// assert!(offers_upgrade(&parser.head(bytes), "websocket"));
/// # Ok::<(), squall_http::Error>(())
/// ```
pub fn offers_upgrade(head: &RequestHead<'_>, protocol: &str) -> bool {
    let has = |steering, element: &[u8]| {
        let mut every = head.fields().every(steering).flat_map(elements);
        every.any(|other| other.eq_ignore_ascii_case(element))
    };
    head.minor_version() > 0
        && has(Steering::Upgrade, protocol.as_bytes())
        && has(Steering::Connection, b"upgrade")
}

/// `Transfer-Encoding = #transfer-coding` over all lines, which must come to `chunked` alone.
///
/// `transfer-coding = token *( OWS ";" OWS transfer-parameter )` (RFC 9112, 7). A comma in a quoted
/// parameter splits it here, and that is safe: nothing but one plain `chunked` is ever taken.
fn chunked<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Framing, Error> {
    let (mut last_is_chunked, mut others) = (false, false);
    for coding in values.flat_map(elements) {
        let name = trim_ows(coding.split(|&byte| byte == b';').next().unwrap_or_default());
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        let has_parameter = name.len() < coding.len();
        if last_is_chunked || !is_token(name) || (is_chunked && has_parameter) {
            return Err(Error::CodingSyntax);
        }
        others |= !is_chunked;
        last_is_chunked = is_chunked;
    }
    match (last_is_chunked, others) {
        (false, _) => Err(Error::CodingSyntax),
        (true, true) => Err(Error::CodingUnsupported),
        (true, false) => Ok(Framing::Chunked),
    }
}

/// `Content-Length = 1*DIGIT` (RFC 9110, 8.6). By hand, for `str::parse` takes a sign; too large a
/// number is an error, never a smaller number.
fn decimal(value: &[u8]) -> Result<u64, Error> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Error::LengthSyntax);
    }
    let number = value.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    number.ok_or(Error::BodyTooLarge)
}

#[cfg(test)]
mod tests;
