//! The head of a request: request line, fields, empty line, as views into the bytes they came in.
//!
//! The one idea: an error is decided by the first byte that makes the head wrong, so it is the same
//! however the bytes arrive. The parser goes through a line from left to right; what it has read
//! of whole lines it keeps, and when it is called again with more it goes on at the line that was
//! unfinished. It never looks ahead for the head's end: a bad byte or a passed limit is reported
//! while the rest is still on its way. Absent: what the fields mean for the body (`framing`), and
//! every leniency that RFC 9112 allows. Next: `framing`.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::grammar::{TCHAR, before, is, split_authority, target_stops, word};
use crate::headers::{Fields, HeadSpans, Steering};
use crate::limits::Limits;
use crate::method::Method;

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
        let _ = (buf, max);
        Err(Error::HeadTooLarge)
    }

    /// The head that the last call of [`parse`](HeadParser::parse) has found the end of.
    ///
    /// # Panics
    /// If `bytes` is shorter than what `parse` read.
    pub fn head<'a>(&'a self, bytes: &'a [u8]) -> RequestHead<'a> {
        RequestHead { bytes, request: &self.request, fields: &self.fields }
    }
}

impl Default for HeadParser {
    fn default() -> HeadParser {
        HeadParser::new()
    }
}

/// A request head: the parser's spans together with the bytes.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    bytes: &'a [u8],
    request: &'a RequestLine,
    fields: &'a HeadSpans,
}

/// How a target is written (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/where?q=now`
    Origin,
    /// `http://www.example.org/pub/WWW/`; Host is then ignored.
    Absolute,
    /// `www.example.com:80`, with CONNECT alone. The answer is 501.
    Authority,
    /// `*`, with OPTIONS alone.
    Asterisk,
}

impl<'a> RequestHead<'a> {
    /// The method, `None` for one that Squall does not know; the answer is then 501.
    pub fn method(&self) -> Option<Method> {
        self.request.method
    }

    /// The method's bytes, known or not.
    pub fn method_bytes(&self) -> &'a [u8] {
        b""
    }

    /// The target as it was sent.
    pub fn target(&self) -> &'a [u8] {
        b""
    }

    /// How the target is written.
    pub fn form(&self) -> TargetForm {
        self.request.form
    }

    /// The target's path, not decoded: from its first `/` to the `?`, `/` for an absolute target
    /// without one (RFC 9110, 4.2.3), `*` where all of the server is meant, empty for an authority.
    pub fn path(&self) -> &'a [u8] {
        b""
    }

    /// What follows the target's first `?`, not decoded.
    pub fn query(&self) -> Option<&'a [u8]> {
        None
    }

    /// The digit after `HTTP/1.`: 0, or 1 and more, which all mean 1.1 (RFC 9110, 6.2).
    pub fn minor_version(&self) -> u8 {
        self.request.minor
    }

    /// Host and port that the request is for: the target's if it names one, else the value of Host
    /// (RFC 9112, 3.2.2 and 3.3). `None` if it names none.
    pub fn host(&self) -> Option<&'a [u8]> {
        None
    }

    /// The field lines.
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.bytes, self.fields)
    }
}
#[derive(Clone, Copy, Debug)]
enum Stage {
    RequestLine { empty_lines: u16 },
    Fields,
    Done,
}
#[derive(Clone, Copy, Debug)]
struct RequestLine {
    method: Option<Method>,
    form: TargetForm,
    minor: u8,
}
impl RequestLine {
    const NONE: RequestLine = RequestLine { method: None, form: TargetForm::Origin, minor: 1 };
}
