//! Response heads and chunk sizes, appended to a buffer.
//!
//! The one idea: how a response ends is decided in one place, from status, request and length, and
//! what the head promises is returned, so that whoever sends the content cannot choose otherwise.
//! Header lines are checked when they are added and copied as a block when they are sent. Absent:
//! Content-Type and the rest of content; a reason phrase of the handler's own. Next: `trailers`.

use crate::date::Date;
use crate::error::Error;
use crate::framing::{Persistence, persistence};
use crate::grammar::{is_field_value, is_token};
use crate::head::RequestHead;
use crate::method::Method;
use crate::status::StatusCode;

/// Header lines of a response, valid because [`append`](HeaderLines::append) refuses others.
///
/// # Examples
/// ```
/// use squall_http::{Error, encode::HeaderLines};
///
/// let mut lines = HeaderLines::new();
/// lines.append("Content-Type", "text/plain")?;
/// let split = lines.append("X-Name", "a\r\nSet-Cookie: admin=1");
/// assert_eq!(split, Err(Error::HeaderValue));
/// assert_eq!(lines.as_bytes(), b"Content-Type: text/plain\r\n");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeaderLines {
    bytes: Vec<u8>,
    has_date: bool,
}

impl HeaderLines {
    /// No line.
    pub const fn new() -> HeaderLines {
        HeaderLines { bytes: Vec::new(), has_date: false }
    }

    /// Adds a line, the name as it is written here.
    ///
    /// # Errors
    /// Nothing is added if the name is not a token, if the value has a control byte (CR and LF
    /// would split the response) or white space at an end, or if the field is one that the encoder
    /// writes: Content-Length, Transfer-Encoding, Connection.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let value = value.as_ref();
        if !is_token(name.as_bytes()) {
            return Err(Error::HeaderName);
        }
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(Error::HeaderReserved);
        }
        if !is_field_value(value) {
            return Err(Error::HeaderValue);
        }
        self.has_date |= name.eq_ignore_ascii_case("date");
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Whether there is a line of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.bytes.split(|&byte| byte == b'\n').any(|line| {
            line.get(name.len()) == Some(&b':')
                && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
        })
    }

    /// Adds all lines of `others`.
    pub fn append_all(&mut self, others: &HeaderLines) {
        self.bytes.extend_from_slice(&others.bytes);
        self.has_date |= others.has_date;
    }

    /// Forgets the lines and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.has_date = false;
    }

    /// The lines, each with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the encoder must know of the request that is answered.
///
/// # Examples
/// ```
/// use squall_http::{encode::Asked, framing::Persistence};
///
/// let asked = Asked { persistence: Persistence::Keep, ..Asked::UNKNOWN };
/// assert_eq!(asked.closing().persistence, Persistence::Close);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method, `None` for one that is not known.
    pub method: Option<Method>,
    /// The digit after `HTTP/1.`.
    pub minor_version: u8,
    /// Whether the connection may go on. A server that wants to close sets it to `Close`.
    pub persistence: Persistence,
}

impl Asked {
    /// What stands for a request whose head was never whole: its answer is the last.
    pub const UNKNOWN: Asked =
        Asked { method: None, minor_version: 1, persistence: Persistence::Close };

    /// What a head asks for.
    pub fn by(head: &RequestHead<'_>) -> Asked {
        Asked {
            method: head.method(),
            minor_version: head.minor_version(),
            persistence: persistence(head),
        }
    }

    /// The same, but the answer is the last on its connection.
    #[must_use]
    pub fn closing(self) -> Asked {
        Asked { persistence: Persistence::Close, ..self }
    }
}

/// The length of a response's content. For HEAD and 304 it is what GET would have sent.
///
/// # Examples
/// ```
/// use squall_http::{StatusCode, date::Date, encode::*};
///
/// let (mut out, lines, date) = (Vec::new(), HeaderLines::new(), Date::new(0));
/// let promise =
///     encode_head(&mut out, StatusCode::OK, Asked::UNKNOWN, Length::Unknown, &lines, &date);
/// assert_eq!(promise.transfer, Transfer::Chunked);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// Not known before the content ends.
    Unknown,
}

/// How the content follows the head.
///
/// # Examples
/// ```
/// use squall_http::{StatusCode, date::Date, encode::*};
///
/// let (mut out, lines, date) = (Vec::new(), HeaderLines::new(), Date::new(0));
/// let old = Asked { minor_version: 0, ..Asked::UNKNOWN }; // HTTP/1.0 knows no chunks
/// let promise = encode_head(&mut out, StatusCode::OK, old, Length::Unknown, &lines, &date);
/// assert_eq!(promise.transfer, Transfer::UntilClose);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Not at all, whatever the handler has.
    Nothing,
    /// So many bytes, no more and no fewer.
    Length(u64),
    /// As chunks, then [`LAST_CHUNK`].
    Chunked,
    /// As bytes up to the end of the connection (HTTP/1.0).
    UntilClose,
}

/// What a head has promised to the client.
///
/// # Examples
/// ```
/// use squall_http::{StatusCode, date::Date, encode::*};
///
/// let (mut out, lines, date) = (Vec::new(), HeaderLines::new(), Date::new(0));
/// let no_content = StatusCode::NO_CONTENT;
/// let promise = encode_head(&mut out, no_content, Asked::UNKNOWN, Length::Known(9), &lines, &date);
/// assert_eq!(promise, Promise { transfer: Transfer::Nothing, keep: false });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Promise {
    /// How the content is sent.
    pub transfer: Transfer,
    /// Whether the connection goes on after it.
    pub keep: bool,
}

/// Appends a response's head.
///
/// A Date is added if the handler has set none, but not to an interim response; Content-Length or
/// Transfer-Encoding as [`Promise::transfer`] says; `Connection: close` for the last response,
/// `keep-alive` for HTTP/1.0, and `upgrade` for 101 and 426, whose Upgrade it stands for (RFC 9110,
/// 7.8). The version is `HTTP/1.1` for every request
/// (RFC 9110, 6.2).
///
/// # Examples
/// ```
/// use squall_http::{StatusCode, date::Date, encode::*};
///
/// let mut out = Vec::new();
/// let (lines, date) = (HeaderLines::new(), Date::new(0));
/// let promise =
///     encode_head(&mut out, StatusCode::OK, Asked::UNKNOWN, Length::Known(2), &lines, &date);
/// assert_eq!(promise, Promise { transfer: Transfer::Length(2), keep: false });
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
///     Content-Length: 2\r\nConnection: close\r\n\r\n");
/// ```
pub fn encode_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    asked: Asked,
    length: Length,
    lines: &HeaderLines,
    date: &Date,
) -> Promise {
    let transfer = transfer(status, asked, length);
    let keep = asked.persistence != Persistence::Close && transfer != Transfer::UntilClose;
    out.reserve(ROOM + lines.bytes.len());
    put_status_line(out, status);
    if !status.is_interim() {
        if !lines.has_date {
            out.extend_from_slice(date.line());
        }
        put_framing(out, status, transfer, length);
    }
    put_connection(out, status, asked.persistence, keep);
    out.extend_from_slice(&lines.bytes);
    out.extend_from_slice(b"\r\n");
    Promise { transfer, keep: keep || status.is_interim() }
}

/// Appends the whole response to a request that is refused: head and one line of text that says
/// why (no text to HEAD). The connection is closed unless [`Error::keeps_connection`].
///
/// # Examples
/// ```
/// use squall_http::{Error, date::Date, encode::{Asked, encode_error}};
///
/// let mut out = Vec::new();
/// let promise = encode_error(&mut out, Error::BareLf, Asked::UNKNOWN, &Date::new(0));
/// assert!(out.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
/// assert!(!promise.keep);
/// ```
pub fn encode_error(out: &mut Vec<u8>, error: Error, asked: Asked, date: &Date) -> Promise {
    let asked = if error.keeps_connection() { asked } else { asked.closing() };
    let text = error.message();
    let lines = HeaderLines { bytes: TEXT_PLAIN.to_vec(), has_date: false };
    let length = Length::Known(text.len() as u64 + 1);
    let promise = encode_head(out, error.status(), asked, length, &lines, date);
    if promise.transfer != Transfer::Nothing {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
    promise
}

/// Leaves room for a chunk's size; the data are appended after it. Gives the place for
/// [`end_chunk`].
///
/// # Examples
/// ```
/// use squall_http::encode::{begin_chunk, end_chunk};
///
/// let mut out = Vec::new();
/// let chunk = begin_chunk(&mut out);
/// out.extend_from_slice(b"hello");
/// end_chunk(&mut out, chunk);
/// assert_eq!(out, b"00000005\r\nhello\r\n");
/// ```
pub fn begin_chunk(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(EMPTY_SIZE);
    out.len() - EMPTY_SIZE.len()
}

/// Writes the size of the chunk begun at `chunk` back to front, with the zeros that are left before
/// it (a size may have leading zeros, RFC 9112, 7.1), and ends the chunk. A chunk without data
/// would end the body, so it is taken back.
///
/// # Panics
/// If a chunk of 4 GiB or more was appended, or `chunk` is not what [`begin_chunk`] gave.
pub fn end_chunk(out: &mut Vec<u8>, chunk: usize) {
    let len = out.len() - EMPTY_SIZE.len() - chunk;
    let mut left = u32::try_from(len).expect("a chunk is shorter than 4 GiB");
    if left == 0 {
        out.truncate(chunk);
        return;
    }
    let mut at = chunk + EMPTY_SIZE.len() - 2;
    while left > 0 {
        at -= 1;
        out[at] = b"0123456789abcdef"[left as usize % 16];
        left /= 16;
    }
    out.extend_from_slice(b"\r\n");
}

/// The last chunk, without trailers. It goes out with the last data.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Ends a chunked body with trailers: the last chunk, the trailer section, and its empty line
/// (RFC 9112, 7.1.2).
///
/// # Examples
/// ```
/// use squall_http::encode::{HeaderLines, end_chunks};
///
/// let (mut out, mut trailers) = (Vec::new(), HeaderLines::new());
/// trailers.append("X-Checksum", "5eb63bbb")?;
/// end_chunks(&mut out, &trailers);
/// assert_eq!(out, b"0\r\nX-Checksum: 5eb63bbb\r\n\r\n");
/// # Ok::<(), squall_http::Error>(())
/// ```
pub fn end_chunks(out: &mut Vec<u8>, trailers: &HeaderLines) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(&trailers.bytes);
    out.extend_from_slice(b"\r\n");
}

/// Room for a chunk's size: eight digits and CRLF.
const EMPTY_SIZE: &[u8; 10] = b"00000000\r\n";

const RESERVED: [&str; 3] = ["Content-Length", "Transfer-Encoding", "Connection"];

const TEXT_PLAIN: &[u8] = b"Content-Type: text/plain; charset=utf-8\r\n";

/// More than all that the encoder itself writes into one head.
const ROOM: usize = 192;

/// How the content is sent (RFC 9112, 6.1 and 6.3; RFC 9110, 9.3.2).
fn transfer(status: StatusCode, asked: Asked, length: Length) -> Transfer {
    if status.is_without_content() || asked.method == Some(Method::Head) {
        return Transfer::Nothing;
    }
    match (length, asked.minor_version) {
        (Length::Known(length), _) => Transfer::Length(length),
        (Length::Unknown, 0) => Transfer::UntilClose,
        (Length::Unknown, _) => Transfer::Chunked,
    }
}

/// Content-Length or Transfer-Encoding, and neither with 204 (RFC 9110, 8.6; RFC 9112, 6.1). Where
/// no content follows, a length tells what GET would have sent; a 304 has no content of its own
/// that could be empty, so there 0 is not said.
fn put_framing(out: &mut Vec<u8>, status: StatusCode, transfer: Transfer, length: Length) {
    match (transfer, length) {
        (Transfer::Length(length), _) => put_length(out, length),
        (Transfer::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Transfer::UntilClose, _) => {}
        (Transfer::Nothing, _) if status == StatusCode::NO_CONTENT => {}
        (Transfer::Nothing, _) if status == StatusCode::RESET_CONTENT => put_length(out, 0),
        (Transfer::Nothing, Length::Known(0)) if status == StatusCode::NOT_MODIFIED => {}
        (Transfer::Nothing, Length::Known(length)) => put_length(out, length),
        (Transfer::Nothing, Length::Unknown) => {}
    }
}

/// Connection: what follows the response, and that Upgrade is meant for this connection alone.
#[inline]
fn put_connection(out: &mut Vec<u8>, status: StatusCode, persistence: Persistence, keep: bool) {
    let upgrades = matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED);
    let line: &[u8] = match (keep, persistence) {
        _ if status == StatusCode::SWITCHING_PROTOCOLS => b"Connection: upgrade\r\n",
        _ if status.is_interim() => b"",
        (false, _) if upgrades => b"Connection: close, upgrade\r\n",
        (false, _) => b"Connection: close\r\n",
        (true, Persistence::KeepAndSay) if upgrades => b"Connection: keep-alive, upgrade\r\n",
        (true, _) if upgrades => b"Connection: upgrade\r\n",
        (true, Persistence::KeepAndSay) => b"Connection: keep-alive\r\n",
        (true, Persistence::Keep | Persistence::Close) => b"",
    };
    out.extend_from_slice(line);
}

#[inline]
fn put_status_line(out: &mut Vec<u8>, status: StatusCode) {
    match status.line() {
        Some(line) => out.extend_from_slice(line),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            put_decimal(out, u64::from(status.as_u16()));
            out.extend_from_slice(b" \r\n");
        }
    }
}

#[inline]
fn put_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    put_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
