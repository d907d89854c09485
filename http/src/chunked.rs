//! Chunked bodies, decoded where they lie.
//!
//! The one idea: a machine that is fed bytes, remembers what it is in the middle of, and answers
//! with ranges of the caller's buffer; it copies nothing and looks at no byte of data. The size
//! line is taken byte by byte with its whole grammar, for lenience in just this line has made holes
//! in most servers (RFC 9112, 2.2 frees heads from it, not bodies). Absent: what the data are for,
//! and any merging of trailers with the head's fields. Next: `date`.

use std::ops::Range;

use crate::error::Error;
use crate::grammar::{QDTEXT, TCHAR, VALUE, hex_value, is};
use crate::headers::{Fields, HeadSpans};
use crate::limits::Limits;

/// Reads one chunked body, and after [`clear`](ChunkDecoder::clear) another.
///
/// ```text
/// chunked-body   = *chunk last-chunk trailer-section CRLF                (RFC 9112, 7.1)
/// chunk          = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
/// chunk-size     = 1*HEXDIG
/// last-chunk     = 1*("0") [ chunk-ext ] CRLF
/// chunk-ext      = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
/// chunk-ext-val  = token / quoted-string
/// ```
///
/// # Examples
/// ```
/// use squall_http::{Limits, chunked::{ChunkDecoder, Piece}};
///
/// let limits = Limits::default();
/// let mut decoder = ChunkDecoder::new();
/// let mut buf = &b"5\r\nhello\r\n0\r\nDigest: x\r\n\r\n"[..];
/// let mut body = Vec::new();
/// loop {
///     let decoded = decoder.decode(buf, limits.max_body_bytes, &limits)?;
///     match decoded.piece {
///         Piece::Data(range) => body.extend_from_slice(&buf[range]),
///         Piece::End(range) => {
///             let trailers = decoder.trailers(&buf[range]);
///             assert_eq!(trailers.get("digest"), Some(&b"x"[..]));
///             break;
///         }
///         Piece::More => panic!("the body is whole"),
///     }
///     buf = &buf[decoded.consumed..];
/// }
/// assert_eq!(body, b"hello");
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    state: State,
    /// Of the chunk: its size, or what is left of it.
    size: u64,
    /// Digits of the size after leading zeros.
    digits: u8,
    /// Bytes of the size line so far.
    line_bytes: usize,
    /// Bytes of extensions in this body so far.
    extension_bytes: usize,
    /// Bytes of data that the sizes so far have announced.
    body_bytes: u64,
    /// In the trailer section: the line to go on with.
    trailer_line: usize,
    trailers: HeadSpans,
}

/// What a call of [`ChunkDecoder::decode`] has found.
///
/// # Examples
/// ```
/// use squall_http::{Limits, chunked::{ChunkDecoder, Decoded, Piece}};
///
/// let decoded = ChunkDecoder::new().decode(b"2\r\nhi\r\n", 100, &Limits::default())?;
/// assert_eq!(decoded, Decoded { consumed: 5, piece: Piece::Data(3..5) });
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes at the front of the buffer are done with; the next call begins after them.
    /// The piece's own bytes are among them.
    pub consumed: usize,
    /// What was found.
    pub piece: Piece,
}

/// A piece of a chunked body.
///
/// # Examples
/// ```
/// use squall_http::{Limits, chunked::{ChunkDecoder, Piece}};
///
/// let (mut decoder, limits) = (ChunkDecoder::new(), Limits::default());
/// assert_eq!(decoder.decode(b"0\r", 100, &limits)?.piece, Piece::More);
/// assert_eq!(decoder.decode(b"\n\r\n", 100, &limits)?.piece, Piece::End(1..3));
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing: more bytes are needed behind those that are not consumed.
    More,
    /// Data of the body, at this place in the buffer; never empty.
    Data(Range<usize>),
    /// The body has ended. The trailer section, mostly empty, is at this place in the buffer.
    End(Range<usize>),
}

impl ChunkDecoder {
    /// A decoder at the start of a body.
    pub const fn new() -> ChunkDecoder {
        ChunkDecoder {
            state: State::FirstDigit,
            size: 0,
            digits: 0,
            line_bytes: 0,
            extension_bytes: 0,
            body_bytes: 0,
            trailer_line: 0,
            trailers: HeadSpans::new(),
        }
    }

    /// Goes back to the start of a body and keeps the room for trailers.
    pub fn clear(&mut self) {
        let mut trailers = std::mem::take(&mut self.trailers);
        trailers.clear();
        *self = ChunkDecoder { trailers, ..ChunkDecoder::new() };
    }

    /// Reads from the front of `buf` to the next piece. All is consumed but an unfinished trailer
    /// section, which is at most `limits.max_trailer_bytes` long.
    ///
    /// # Errors
    /// What is wrong first, independent of how the bytes are split over the calls;
    /// [`Error::BodyTooLarge`] as soon as a size is read that goes beyond `max_body_bytes`. The
    /// message has no end that can be trusted after it: the connection must be closed.
    pub fn decode(
        &mut self,
        buf: &[u8],
        max_body_bytes: u64,
        limits: &Limits,
    ) -> Result<Decoded, Error> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data if at < buf.len() => return Ok(self.take_data(buf, at)),
                State::Trailers => return self.read_trailers(buf, at, limits),
                State::End => return Ok(Decoded { consumed: at, piece: Piece::End(at..at) }),
                _ => {}
            }
            let Some(&byte) = buf.get(at) else {
                return Ok(Decoded { consumed: at, piece: Piece::More });
            };
            self.state = self.step(byte, max_body_bytes, limits)?;
            at += 1;
        }
    }

    /// The trailers, without those that must not come so late; `bytes` is what [`Piece::End`]
    /// points to. They are never to be merged with the head's fields (RFC 9110, 6.5.1).
    ///
    /// # Panics
    /// If `bytes` is shorter than that.
    pub fn trailers<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        Fields::new(bytes, &self.trailers)
    }

    fn take_data(&mut self, buf: &[u8], at: usize) -> Decoded {
        let here = buf.len() - at;
        let len = usize::try_from(self.size).map_or(here, |left| left.min(here));
        self.size -= len as u64;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        Decoded { consumed: at + len, piece: Piece::Data(at..at + len) }
    }

    /// One byte outside of the data.
    fn step(&mut self, byte: u8, max_body_bytes: u64, limits: &Limits) -> Result<State, Error> {
        use State::*;
        match self.state {
            DataCr if byte == b'\r' => Ok(DataLf),
            DataLf if byte == b'\n' => Ok(FirstDigit),
            DataCr | DataLf => Err(Error::ChunkEnd),
            SizeLf if byte == b'\n' => Ok(self.end_size_line()),
            SizeLf => Err(Error::BareCr),
            FirstDigit | Digit | Extension(_) if byte == b'\n' => Err(Error::BareLf),
            FirstDigit | Digit => {
                self.count_line_byte(byte, limits)?;
                self.read_size(byte, max_body_bytes, limits)
            }
            Extension(extension) => {
                self.count_line_byte(byte, limits)?;
                self.read_extension(extension, byte, limits)
            }
            Data | Trailers | End => Ok(self.state), // `decode` takes no byte in these
        }
    }

    fn read_size(&mut self, byte: u8, max: u64, limits: &Limits) -> Result<State, Error> {
        if let Some(digit) = hex_value(byte) {
            self.digits += u8::from(self.digits > 0 || digit > 0);
            if self.digits > 16 {
                return Err(Error::ChunkSize);
            }
            self.size = self.size << 4 | u64::from(digit);
            return Ok(State::Digit);
        }
        if self.state != State::Digit || !matches!(byte, b'\r' | b';' | b' ' | b'\t') {
            return Err(Error::ChunkSize);
        }
        match self.body_bytes.checked_add(self.size) {
            Some(total) if total <= max => self.body_bytes = total,
            _ => return Err(Error::BodyTooLarge),
        }
        if byte == b'\r' {
            return Ok(State::SizeLf);
        }
        self.read_extension(ChunkExtension::BeforeSemicolon, byte, limits)
    }

    /// One byte of the extensions, or the CR behind them.
    fn read_extension(
        &mut self,
        extension: ChunkExtension,
        byte: u8,
        limits: &Limits,
    ) -> Result<State, Error> {
        use ChunkExtension::*;
        if byte == b'\r' && matches!(extension, Name | Token | AfterQuote) {
            return Ok(State::SizeLf);
        }
        self.extension_bytes += 1;
        if self.extension_bytes > limits.max_chunk_extension_bytes {
            return Err(Error::ChunkExtensionsTooLong);
        }
        extension.next(byte).map(State::Extension).ok_or(Error::ChunkExtension)
    }

    fn count_line_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Error> {
        self.line_bytes += usize::from(byte != b'\r');
        match self.line_bytes > limits.max_chunk_line_bytes {
            true => Err(Error::ChunkLineTooLong),
            false => Ok(()),
        }
    }

    fn end_size_line(&mut self) -> State {
        self.digits = 0;
        self.line_bytes = 0;
        if self.size == 0 { State::Trailers } else { State::Data }
    }

    fn read_trailers(&mut self, buf: &[u8], at: usize, limits: &Limits) -> Result<Decoded, Error> {
        let max = limits.max_trailer_bytes.min(Limits::MAX_HEAD_BYTES);
        let section = &buf[at..buf.len().min(at.saturating_add(max))];
        if section.len() < self.trailer_line {
            return Ok(Decoded { consumed: at, piece: Piece::More });
        }
        let line = &mut self.trailer_line;
        match self.trailers.read(section, line, limits.max_trailers, Error::TrailersTooLarge)? {
            Some(end) => {
                self.trailers.drop_lines(section, NOT_IN_TRAILERS);
                self.state = State::End;
                Ok(Decoded { consumed: at + end, piece: Piece::End(at..at + end) })
            }
            None if section.len() == max => Err(Error::TrailersTooLarge),
            None => Ok(Decoded { consumed: at, piece: Piece::More }),
        }
    }
}

impl Default for ChunkDecoder {
    fn default() -> ChunkDecoder {
        ChunkDecoder::new()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FirstDigit,
    Digit,
    Extension(ChunkExtension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// Where in an extension the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkExtension {
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    AfterQuote,
}

impl ChunkExtension {
    /// `None` where the grammar does not allow the byte. White space must lead on: it may stand
    /// before `;` and around `=`, not before the line's end.
    fn next(self, byte: u8) -> Option<ChunkExtension> {
        use ChunkExtension::*;
        match (self, byte) {
            (BeforeSemicolon | BeforeName | AfterName | BeforeValue, b' ' | b'\t') => Some(self),
            (Name, b' ' | b'\t') => Some(AfterName),
            (Token | AfterQuote, b' ' | b'\t') => Some(BeforeSemicolon),
            (BeforeSemicolon | Name | AfterName | Token | AfterQuote, b';') => Some(BeforeName),
            (Name | AfterName, b'=') => Some(BeforeValue),
            (BeforeValue, b'"') => Some(Quoted),
            (BeforeName | Name, _) if is(byte, TCHAR) => Some(Name),
            (BeforeValue | Token, _) if is(byte, TCHAR) => Some(Token),
            (Quoted, b'"') => Some(AfterQuote),
            (Quoted, b'\\') => Some(Escaped),
            (Quoted, _) if is(byte, QDTEXT) => Some(Quoted),
            (Escaped, _) if is(byte, VALUE) => Some(Quoted),
            _ => None,
        }
    }
}

/// What must be known before the content and is therefore dropped from trailers: framing, routing,
/// modifiers, authentication, and the content's own form (RFC 9110, 6.5.1).
pub(crate) const NOT_IN_TRAILERS: &str = "\
    Authorization Cache-Control Connection Content-Encoding Content-Length Content-Range
    Content-Type Cookie Expect Forwarded Host If-Match If-Modified-Since If-None-Match If-Range
    If-Unmodified-Since Keep-Alive Max-Forwards Pragma Proxy-Authorization Proxy-Connection
    Range Set-Cookie TE Trailer Transfer-Encoding Upgrade X-Forwarded-For X-Forwarded-Host
    X-Forwarded-Proto";

#[cfg(test)]
mod tests;
