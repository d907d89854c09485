//! The head of a request: request line, fields, empty line, as views into the bytes they came in.
//!
//! The one idea: an error is decided by the first byte that makes the head wrong, so it is the same
//! however the bytes arrive. The parser goes through a line from left to right; what it has read
//! of whole lines it keeps, and when it is called again with more it goes on at the line that was
//! unfinished. It never looks ahead for the head's end: a bad byte or a passed limit is reported
//! while the rest is still on its way. Absent: what the fields mean for the body (`framing`), and
//! every leniency that RFC 9112 allows. Next: `framing`.

use std::fmt;

use crate::error::Error;
use crate::grammar::{TCHAR, is, is_authority, question_stops, skip, target_stops, word};
use crate::headers::{Fields, HeadSpans, Steering};
use crate::limits::Limits;
use crate::method::Method;
use crate::target::{TargetForm, read_form};

/// Reads request heads, one after the other. Reused, it does not allocate.
///
/// # Examples
/// ```
/// use squall_http::{Limits, Method, head::HeadParser};
///
/// let limits = Limits::default();
/// let mut parser = HeadParser::new();
/// let bytes = b"GET /a?b HTTP/1.1\r\nHost: example.com\r\n\r\nnext";
/// assert_eq!(parser.parse(&bytes[..20], &limits)?, None); // more is needed
/// let length = parser.parse(bytes, &limits)?.expect("the head is whole");
/// let head = parser.head(&bytes[..length]);
/// assert_eq!(head.method(), Some(Method::Get));
/// assert_eq!((head.path(), head.query()), (&b"/a"[..], Some(&b"b"[..])));
/// assert_eq!(head.host(), Some(&b"example.com"[..]));
/// assert_eq!(&bytes[length..], b"next");
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeadParser {
    stage: Stage,
    /// The first byte of the line to go on with.
    line: usize,
    request: RequestLine,
    fields: HeadSpans,
}

impl HeadParser {
    /// A parser at the start of a head.
    pub const fn new() -> HeadParser {
        HeadParser {
            stage: Stage::RequestLine { empty_lines: 0 },
            line: 0,
            request: RequestLine::NONE,
            fields: HeadSpans::new(),
        }
    }

    /// Goes back to the start of a head and keeps the room for fields.
    pub fn clear(&mut self) {
        self.stage = Stage::RequestLine { empty_lines: 0 };
        self.line = 0;
        self.fields.clear();
    }

    /// Bytes of memory held beside the parser itself.
    pub fn capacity_bytes(&self) -> usize {
        self.fields.capacity_bytes()
    }

    /// Reads the head at the start of `buf`. Gives its length, with the empty lines before it and
    /// the one that ends it, or `None` if more bytes are needed. The next call then passes the same
    /// bytes with more behind them; the lines that were whole are not read again. After a head has
    /// ended, the next call begins another.
    ///
    /// # Errors
    /// The first thing that is wrong, independent of how the bytes are split over the calls.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Error> {
        let max = limits.max_head_bytes.min(Limits::MAX_HEAD_BYTES);
        let window = &buf[..buf.len().min(max)];
        if self.stage == Stage::Done {
            self.clear();
        }
        if window.len() < self.line {
            return Ok(None); // not the same bytes with more: what was read is not there
        }
        let end = self.read(window, limits)?;
        match end {
            Some(_) => self.stage = Stage::Done,
            // An unfinished line has a length too: a full window will not become a head.
            None if window.len() == max => return Err(Error::HeadTooLarge),
            None => {}
        }
        Ok(end)
    }

    /// The head that the last call of [`parse`](HeadParser::parse) has found the end of.
    ///
    /// # Panics
    /// If `bytes` is shorter than what `parse` read.
    pub fn head<'a>(&'a self, bytes: &'a [u8]) -> RequestHead<'a> {
        RequestHead { bytes, request: &self.request, fields: &self.fields }
    }

    /// Whether the head, as far as [`parse`](HeadParser::parse) has read it, asks by HEAD: then the
    /// answer has no content, also if the rest is wrong (RFC 9110, 9.3.2).
    pub(crate) fn asks_by_head(&self, buf: &[u8]) -> bool {
        match self.stage {
            Stage::RequestLine { .. } => {
                buf.get(self.line..).is_some_and(|line| line.starts_with(b"HEAD "))
            }
            Stage::Fields | Stage::Done => self.request.method == Some(Method::Head),
        }
    }

    /// One function for the compiler, so that it does not mix the cut at the limit into each loop.
    #[inline(never)]
    fn read(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Error> {
        if !self.read_request_line(buf, limits)? {
            return Ok(None);
        }
        let too_many = Error::TooManyFields;
        let end = self.fields.read(buf, &mut self.line, limits.max_fields, too_many)?;
        if end.is_some() {
            self.check_host(buf)?;
        }
        Ok(end)
    }

    /// `request-line = method SP request-target SP HTTP-version` (RFC 9112, 3), and its CRLF.
    /// Whether it is whole.
    #[inline(always)]
    fn read_request_line(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, Error> {
        let Stage::RequestLine { mut empty_lines } = self.stage else { return Ok(true) };
        while let Some(b'\r') = buf.get(self.line) {
            if empty_lines >= limits.max_empty_lines {
                return Err(Error::EmptyLines);
            }
            match buf.get(self.line + 1) {
                Some(b'\n') => self.line += 2,
                Some(_) => return Err(Error::BareCr),
                None => return Ok(false),
            }
            empty_lines += 1;
            self.stage = Stage::RequestLine { empty_lines };
        }
        let start = self.line;
        let Some((method, space)) = read_method(buf, start)? else { return Ok(false) };
        let target = space + 1;
        let Some(end) = read_target(buf, target, limits.max_target_bytes)? else {
            return Ok(false);
        };
        let Some(minor) = read_version(buf, end + 1)? else { return Ok(false) };
        let form = read_form(method, &buf[target..end])?;
        self.request = RequestLine {
            method,
            minor,
            form: form.form,
            start: start as u16,
            space: space as u16,
            end: end as u16,
            authority: (target + form.authority) as u16,
            path: (target + form.path) as u16,
        };
        self.line = end + VERSION_LINE;
        self.stage = Stage::Fields;
        Ok(true)
    }

    /// Exactly one Host in HTTP/1.1, at most one in 1.0, empty or `uri-host [ ":" port ]`
    /// (RFC 9112, 3.2), also where the target outranks it.
    #[inline]
    fn check_host(&self, buf: &[u8]) -> Result<(), Error> {
        let fields = Fields::new(buf, &self.fields);
        match (fields.count(Steering::Host), fields.first(Steering::Host)) {
            (0, _) | (_, None) if self.request.minor == 0 => Ok(()),
            (0, _) | (_, None) => Err(Error::HostMissing),
            (1, Some(host)) if host.is_empty() || is_authority(host) => Ok(()),
            (1, Some(_)) => Err(Error::HostSyntax),
            (_, Some(_)) => Err(Error::HostRepeated),
        }
    }
}

impl Default for HeadParser {
    fn default() -> HeadParser {
        HeadParser::new()
    }
}

/// A request head: the parser's spans together with the bytes.
///
/// # Examples
/// ```
/// use squall_http::{Limits, Method, head::HeadParser};
///
/// let bytes = b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// let head = parser.head(bytes);
/// assert_eq!((head.method(), head.path()), (Some(Method::Get), &b"/a"[..]));
/// assert_eq!((head.query(), head.host()), (Some(&b"b"[..]), Some(&b"c"[..])));
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    bytes: &'a [u8],
    request: &'a RequestLine,
    fields: &'a HeadSpans,
}

impl<'a> RequestHead<'a> {
    /// The method, `None` for one that Squall does not know; the answer is then 501.
    pub fn method(&self) -> Option<Method> {
        self.request.method
    }

    /// The method's bytes, known or not.
    pub fn method_bytes(&self) -> &'a [u8] {
        self.bytes(self.request.start, self.request.space)
    }

    /// The target as it was sent.
    pub fn target(&self) -> &'a [u8] {
        self.bytes(self.request.space + 1, self.request.end)
    }

    /// How the target is written.
    pub fn form(&self) -> TargetForm {
        self.request.form
    }

    /// The target's path, not decoded: from its first `/` to the `?`; `/` for an absolute target
    /// without one (RFC 9110, 4.2.3); `*` where the whole server is meant (RFC 9112, 3.2.4); empty
    /// for an authority.
    pub fn path(&self) -> &'a [u8] {
        let rest = self.bytes(self.request.path, self.request.end);
        let path = &rest[..rest.len() - skip(rest, question_stops).len()];
        match (path, self.request.form) {
            (b"", TargetForm::Absolute) if rest.is_empty() && self.asks_for_options() => b"*",
            (b"", TargetForm::Absolute) => b"/",
            _ => path,
        }
    }

    /// What follows the target's first `?`, not decoded.
    pub fn query(&self) -> Option<&'a [u8]> {
        let rest = self.bytes(self.request.path, self.request.end);
        skip(rest, question_stops).get(1..)
    }

    /// The digit after `HTTP/1.`: 0, or 1 and more, which all mean 1.1 (RFC 9110, 6.2).
    pub fn minor_version(&self) -> u8 {
        self.request.minor
    }

    /// Host and port that the request is for: the target's if it names one, else the value of Host
    /// (RFC 9112, 3.2.2 and 3.3). `None` if there is none or it is empty.
    pub fn host(&self) -> Option<&'a [u8]> {
        match self.request.form {
            TargetForm::Absolute | TargetForm::Authority => {
                Some(self.bytes(self.request.authority, self.request.path))
            }
            TargetForm::Origin | TargetForm::Asterisk => {
                self.fields().first(Steering::Host).filter(|host| !host.is_empty())
            }
        }
    }

    /// The field lines.
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.bytes, self.fields)
    }

    fn asks_for_options(&self) -> bool {
        self.request.method == Some(Method::Options)
    }

    fn bytes(&self, start: u16, end: u16) -> &'a [u8] {
        &self.bytes[usize::from(start)..usize::from(end)]
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method_bytes().escape_ascii().to_string())
            .field("target", &self.target().escape_ascii().to_string())
            .field("minor_version", &self.minor_version())
            .field("fields", &self.fields())
            .finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    RequestLine { empty_lines: usize },
    Fields,
    Done,
}

/// The request line as offsets. The authority ends where the path begins.
#[derive(Clone, Copy, Debug)]
struct RequestLine {
    method: Option<Method>,
    form: TargetForm,
    minor: u8,
    start: u16,
    space: u16,
    end: u16,
    authority: u16,
    path: u16,
}

impl RequestLine {
    const NONE: RequestLine = RequestLine {
        method: None,
        form: TargetForm::Origin,
        minor: 1,
        start: 0,
        space: 0,
        end: 0,
        authority: 0,
        path: 0,
    };
}

/// From the end of the target to the next line: `SP HTTP-version CRLF`.
const VERSION_LINE: usize = b" HTTP/1.1\r\n".len();

/// `method = token` (RFC 9110, 9.1), and the place of the space behind it.
#[inline(always)]
fn read_method(buf: &[u8], start: usize) -> Result<Option<(Option<Method>, usize)>, Error> {
    if word(&buf[start..]) as u32 == u32::from_le_bytes(*b"GET ") {
        return Ok(Some((Some(Method::Get), start + 3)));
    }
    let mut at = start;
    loop {
        match buf.get(at) {
            None => return Ok(None),
            Some(&byte) if is(byte, TCHAR) => at += 1,
            Some(b' ') if at > start => break,
            Some(b'\n') => return Err(Error::BareLf),
            Some(_) => return Err(Error::MethodSyntax),
        }
    }
    Ok(Some((Method::from_bytes(&buf[start..at]), at)))
}

/// The bytes of a target, up to the space behind it. The limit comes before the byte that follows:
/// a target that is too long is 414, whatever else may be wrong behind the limit.
#[inline(always)]
fn read_target(buf: &[u8], start: usize, max: usize) -> Result<Option<usize>, Error> {
    let end = buf.len() - skip(&buf[start..], target_stops).len();
    match buf.get(end) {
        _ if end - start > max => Err(Error::TargetTooLong),
        None => Ok(None),
        Some(b' ') if end > start => Ok(Some(end)),
        Some(b'\n') => Err(Error::BareLf),
        Some(b'\r') if end > start => Err(Error::VersionSyntax), // HTTP/0.9 had none
        Some(_) => Err(Error::TargetByte),
    }
}

/// `HTTP-version = "HTTP/" DIGIT "." DIGIT` (RFC 9112, 2.3) and CRLF. Gives the minor digit.
#[inline(always)]
fn read_version(buf: &[u8], start: usize) -> Result<Option<u8>, Error> {
    let rest = &buf[start..];
    if let Some((version, [b'\r', b'\n', ..])) = rest.split_first_chunk() {
        match u64::from_le_bytes(*version) {
            HTTP_1_1 => return Ok(Some(1)),
            HTTP_1_0 => return Ok(Some(0)),
            _ => {}
        }
    }
    read_rare_version(buf, start)
}

const HTTP_1_1: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_1_0: u64 = u64::from_le_bytes(*b"HTTP/1.0");

/// Another version, an unfinished one, or none: byte by byte, so that the first wrong one tells.
#[cold]
fn read_rare_version(buf: &[u8], start: usize) -> Result<Option<u8>, Error> {
    for (index, &expected) in b"HTTP/1.1\r\n".iter().enumerate() {
        match buf.get(start + index) {
            None => return Ok(None),
            Some(&byte) if byte == expected => {}
            Some(b'0'..=b'9') if index == 5 || index == 7 => {}
            Some(b'\n') => return Err(Error::BareLf),
            Some(_) if index == 9 => return Err(Error::BareCr),
            Some(_) => return Err(Error::VersionSyntax),
        }
    }
    match (buf[start + 5], buf[start + 7]) {
        (b'1', minor) => Ok(Some(minor - b'0')),
        _ => Err(Error::VersionUnsupported),
    }
}

#[cfg(test)]
mod tests;
