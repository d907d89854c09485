//! Field lines as spans into the bytes that they came in.
//!
//! The one idea: nothing is copied and nothing hashed. A line is four 16-bit numbers; the vector of
//! them is cleared and used again, so a steady server never allocates for it. Six names steer the
//! connection itself; they are recognised while the line is read, by length and first bytes, so
//! that framing needs no look-up. Absent: the order of a map, folding, and any joining of lines: a
//! name may stand on several, and a caller that cares asks for all. Next: `target`.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::grammar::{TCHAR, is, name_stops, skip, skip_words, trim_ows, value_stops, word};

/// The field lines of one head or trailer section, without their bytes. Made once, used again.
///
/// # Examples
/// ```
/// use squall_http::headers::HeadSpans;
///
/// let spans = HeadSpans::new();
/// assert_eq!(spans.capacity_bytes(), 0); // it grows with the first head, and is kept
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeadSpans {
    lines: Vec<Span>,
    steering: [Found; Steering::COUNT],
}

impl HeadSpans {
    /// No line, and no room for one yet.
    pub const fn new() -> HeadSpans {
        HeadSpans { lines: Vec::new(), steering: [Found::NONE; Steering::COUNT] }
    }

    /// Forgets the lines and keeps the room.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.steering = [Found::NONE; Steering::COUNT];
    }

    /// Bytes of memory held for lines: eight for each that ever was there at once.
    pub fn capacity_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Span>()
    }

    /// Reads field lines from `*line`, the start of one, to the empty line, and gives the place
    /// after it; `None` if `buf` ends before, with `*line` at the line to go on with.
    ///
    /// `field-line = field-name ":" OWS field-value OWS` (RFC 9112, 5). `buf` must not be longer
    /// than [`Limits::MAX_HEAD_BYTES`](crate::Limits::MAX_HEAD_BYTES).
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        buf: &[u8],
        line: &mut usize,
        max_lines: usize,
        too_many: Error,
    ) -> Result<Option<usize>, Error> {
        debug_assert!(buf.len() <= usize::from(u16::MAX));
        loop {
            let rest = &buf[*line..];
            if let [b'\r', b'\n', ..] = rest {
                return Ok(Some(*line + 2));
            }
            let mut colon = skip_words(rest, name_stops);
            if colon.first() != Some(&b':')
                || colon.len() == rest.len()
                || self.lines.len() >= max_lines
            {
                match self.read_name(rest, max_lines, too_many)? {
                    Some(at) => colon = &rest[at..],
                    None => return Ok(None),
                }
            }
            let value = skip_ows(&colon[1..]);
            let end = skip_value(value);
            let [b'\r', b'\n', next @ ..] = end else { return read_stop(end) };
            let place = |rest: &[u8]| (buf.len() - rest.len()) as u16;
            self.note_steering(&rest[..rest.len() - colon.len()], word(rest));
            self.lines.push(Span {
                name: place(rest),
                colon: place(colon),
                value: place(value),
                end: place(end) - trailing_ows(value, end),
            });
            *line = buf.len() - next.len();
        }
    }

    /// Forgets the lines whose name is in `names`, a list with spaces between.
    pub(crate) fn drop_lines(&mut self, bytes: &[u8], names: &str) {
        self.lines.retain(|span| {
            let name = &bytes[span.name()];
            !names.split_ascii_whitespace().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        });
        self.steering = [Found::NONE; Steering::COUNT];
    }

    /// Reads a name in which there is more than letters and `-`, or an end, or an error: every
    /// reason to refuse a line before its colon is here. Gives the colon's place in the line.
    #[inline(never)]
    fn read_name(
        &self,
        line: &[u8],
        max_lines: usize,
        too_many: Error,
    ) -> Result<Option<usize>, Error> {
        match line {
            [] | [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(Error::BareCr), // the caller has looked for the LF
            [b'\n', ..] => return Err(Error::BareLf),
            [b' ' | b'\t', ..] if self.lines.is_empty() => return Err(Error::LeadingSpace),
            [b' ' | b'\t', ..] => return Err(Error::ObsoleteFold),
            _ if self.lines.len() >= max_lines => return Err(too_many),
            _ => {}
        }
        match line.iter().position(|&byte| !is(byte, TCHAR)) {
            None => Ok(None),
            Some(end) => match line[end] {
                b':' if end > 0 => Ok(Some(end)),
                b'\n' => Err(Error::BareLf),
                b' ' | b'\t' => Err(Error::SpaceBeforeColon),
                _ => Err(Error::FieldName),
            },
        }
    }

    /// Notes a line about to be pushed if its name is one of the six.
    #[inline(always)]
    fn note_steering(&mut self, name: &[u8], first: u64) {
        if let Some(steering) = Steering::of(name, first) {
            self.steering[steering as usize].note(self.lines.len() as u16);
        }
    }
}

/// The field lines of a head or a trailer section, together with their bytes.
///
/// Names compare without case, values are bytes: 0x80 to 0xff are allowed in them and mean what
/// the two ends have agreed on (RFC 9110, 5.5).
///
/// # Examples
/// ```
/// use squall_http::{Limits, head::HeadParser};
///
/// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: b=1\r\ncookie: c=2\r\n\r\n";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// let fields = parser.head(bytes).fields();
/// assert_eq!(fields.get("COOKIE"), Some(&b"b=1"[..]));
/// assert_eq!(fields.all("cookie").count(), 2);
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    spans: &'a HeadSpans,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a HeadSpans) -> Fields<'a> {
        Fields { bytes, spans }
    }

    /// The value of the first line of this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all lines of this name, in their order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let Fields { bytes, spans } = *self;
        let same = move |span: &&Span| {
            usize::from(span.colon - span.name) == name.len()
                && bytes[span.name()].eq_ignore_ascii_case(name.as_bytes())
        };
        spans.lines.iter().filter(same).map(move |span| &bytes[span.value()])
    }

    /// All lines in their order, names as they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let Fields { bytes, spans } = *self;
        spans.lines.iter().map(move |span| (&bytes[span.name()], &bytes[span.value()]))
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.spans.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.spans.lines.is_empty()
    }

    /// How many lines have one of the six names, without looking at any.
    #[inline]
    pub(crate) fn count(&self, steering: Steering) -> u16 {
        self.spans.steering[steering as usize].count
    }

    /// The value of the first line of one of the six names, without a search.
    #[inline]
    pub(crate) fn first(&self, steering: Steering) -> Option<&'a [u8]> {
        let found = self.spans.steering[steering as usize];
        if found.count == 0 {
            return None;
        }
        Some(&self.bytes[self.spans.lines[usize::from(found.first)].value()])
    }

    /// The values of all lines of one of the six names; no line is looked at if there is none.
    #[inline]
    pub(crate) fn every(&self, steering: Steering) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let found = self.spans.steering[steering as usize];
        let Fields { bytes, spans } = *self;
        let range = match found.count {
            0 => 0..0,
            _ => usize::from(found.first)..usize::from(found.last) + 1,
        };
        let name = steering.name().as_bytes();
        let lines = spans.lines[range].iter();
        lines
            .filter(move |span| bytes[span.name()].eq_ignore_ascii_case(name))
            .map(move |span| &bytes[span.value()])
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

/// The names that decide on framing and connection, lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steering {
    Host,
    Expect,
    Upgrade,
    Connection,
    ContentLength,
    TransferEncoding,
}

impl Steering {
    const COUNT: usize = 6;

    const ALL: [Steering; Steering::COUNT] = [
        Steering::Host,
        Steering::Expect,
        Steering::Upgrade,
        Steering::Connection,
        Steering::ContentLength,
        Steering::TransferEncoding,
    ];

    const fn name(self) -> &'static str {
        match self {
            Steering::Host => "host",
            Steering::Expect => "expect",
            Steering::Upgrade => "upgrade",
            Steering::Connection => "connection",
            Steering::ContentLength => "content-length",
            Steering::TransferEncoding => "transfer-encoding",
        }
    }

    /// The one of the six that a token is; `first` is its first word, whatever follows the name.
    /// No two of them have the same length, and the first eight bytes turn away nearly every other
    /// name.
    #[inline(always)]
    fn of(name: &[u8], first: u64) -> Option<Steering> {
        let (key, steering) = *KEYS.get(name.len())?;
        if key != lower_key(first, name.len()) {
            return None;
        }
        (name.len() <= 8 || steering.ends(name)).then_some(steering)
    }

    /// Whether the name that begins like this one goes on like it.
    #[inline]
    fn ends(self, name: &[u8]) -> bool {
        match self {
            // The last eight bytes overlap the first; this name is on most heads of HTTP/1.0 and
            // on many of 1.1.
            Steering::Connection => lower_key(word(&name[2..]), 8) == CONNECTION_END,
            _ => name.eq_ignore_ascii_case(self.name().as_bytes()),
        }
    }
}

const CONNECTION_END: u64 = lower_key(u64::from_le_bytes(*b"nnection"), 8);

/// By length: the key of the name's first bytes, and the name. Zero is no name's key.
static KEYS: [(u64, Steering); 18] = {
    let mut keys = [(0, Steering::Host); 18];
    let mut index = 0;
    while index < Steering::COUNT {
        let name = Steering::ALL[index].name().as_bytes();
        let mut word = 0;
        let mut at = 0;
        while at < 8 && at < name.len() {
            word |= (name[at] as u64) << (8 * at);
            at += 1;
        }
        keys[name.len()] = (lower_key(word, name.len()), Steering::ALL[index]);
        index += 1;
    }
    keys
};

/// The first `len` bytes of a word, at least one, moved to its top, with the bit set that makes
/// letters lower case. In a token only a letter becomes a letter by it, and only `-` is `-`.
#[inline(always)]
const fn lower_key(word: u64, len: usize) -> u64 {
    let len = if len < 8 { len } else { 8 };
    (word | 0x2020_2020_2020_2020) << (64 - 8 * len)
}

/// The lines of one of the six names.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    first: u16,
    last: u16,
    count: u16,
}

impl Found {
    const NONE: Found = Found { first: 0, last: 0, count: 0 };

    fn note(&mut self, line: u16) {
        if self.count == 0 {
            self.first = line;
        }
        self.last = line;
        self.count = self.count.saturating_add(1);
    }
}

/// Where a line's name and value begin and end.
#[derive(Clone, Copy, Debug)]
struct Span {
    name: u16,
    colon: u16,
    value: u16,
    end: u16,
}

impl Span {
    #[inline]
    fn name(&self) -> Range<usize> {
        usize::from(self.name)..usize::from(self.colon)
    }

    #[inline]
    fn value(&self) -> Range<usize> {
        usize::from(self.value)..usize::from(self.end)
    }
}

/// What follows the white space that may stand before a value: one space as a rule.
#[inline(always)]
fn skip_ows(bytes: &[u8]) -> &[u8] {
    let mut rest = match bytes {
        [b' ', rest @ ..] => rest,
        _ => bytes,
    };
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// What follows a value and the white space behind it.
#[inline(always)]
fn skip_value(bytes: &[u8]) -> &[u8] {
    let mut rest = skip(bytes, value_stops);
    while let [b'\t', after @ ..] = rest {
        rest = skip(after, value_stops);
    }
    rest
}

/// The bytes of white space at the end of a value, which ends where `end` begins.
#[inline(always)]
fn trailing_ows(value: &[u8], end: &[u8]) -> u16 {
    match &value[..value.len() - end.len()] {
        [] => 0,
        [.., last] if *last > b' ' => 0,
        value => (value.len() - trim_ows(value).len()) as u16,
    }
}

/// What it means that a value stops here and not at a CRLF: more is needed, or it is wrong.
#[cold]
fn read_stop(stop: &[u8]) -> Result<Option<usize>, Error> {
    match stop {
        [] | [b'\r'] => Ok(None),
        [b'\r', ..] => Err(Error::BareCr),
        [b'\n', ..] => Err(Error::BareLf),
        _ => Err(Error::FieldValue),
    }
}

#[cfg(test)]
mod tests;
