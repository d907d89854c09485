//! Chunked bodies by the grammar of RFC 9112, 7.1.

use squall_http::{Error, Limits};

use super::head::fields;
use super::{Input, Lines, Read, Stop, is_tchar, is_value_byte, wrong};

/// A body that is all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkedBody {
    pub data: Vec<u8>,
    pub trailers: Lines,
    /// Bytes from the first size to the empty line behind the trailers.
    pub length: usize,
}

/// `chunked-body = *chunk last-chunk trailer-section CRLF`, `None` if it is not all there.
pub fn chunked(bytes: &[u8], max: u64, limits: &Limits) -> Result<Option<ChunkedBody>, Error> {
    let mut data = Vec::new();
    let read = Body { input: Input::new(bytes), limits, line: 0, extensions: 0, announced: 0 }
        .read(max, &mut data);
    match read {
        Ok((trailers, length)) => Ok(Some(ChunkedBody { data, trailers, length })),
        Err(Stop::More) => Ok(None),
        Err(Stop::Wrong(error)) => Err(error),
    }
}

struct Body<'a> {
    input: Input<'a>,
    limits: &'a Limits,
    /// Bytes of the line of this chunk's size.
    line: usize,
    /// Bytes of extensions in all lines.
    extensions: usize,
    /// The sum of the sizes.
    announced: u128,
}

impl Body<'_> {
    fn read(&mut self, max: u64, data: &mut Vec<u8>) -> Read<(Lines, usize)> {
        loop {
            // chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
            self.line = 0;
            let size = self.chunk_size()?;
            self.announced += u128::from(size);
            if self.announced > u128::from(max) {
                return wrong(Error::BodyTooLarge);
            }
            self.chunk_ext()?;
            self.input.expect(b'\r', Error::ChunkExtension)?;
            self.input.expect(b'\n', Error::BareCr)?;
            if size == 0 {
                return self.trailer_section();
            }
            for _ in 0..size {
                data.push(self.input.take()?);
            }
            self.input.expect(b'\r', Error::ChunkEnd)?;
            self.input.expect(b'\n', Error::ChunkEnd)?;
        }
    }

    /// The next byte of the size's line, within the line's limit.
    fn peek(&self) -> Read<u8> {
        match self.input.peek()? {
            b'\n' => wrong(Error::BareLf),
            b'\r' => Ok(b'\r'),
            _ if self.line == self.limits.max_chunk_line_bytes => wrong(Error::ChunkLineTooLong),
            byte => Ok(byte),
        }
    }

    /// Takes what was peeked at.
    fn take(&mut self) -> Read<()> {
        self.line += 1;
        self.input.take().map(|_| ())
    }

    /// `chunk-size = 1*HEXDIG`, of at most 16 digits behind any zeros; what may stand behind it
    /// has come.
    fn chunk_size(&mut self) -> Read<u64> {
        let mut digits = String::new();
        let mut any = false;
        loop {
            match self.peek()? {
                byte if byte.is_ascii_hexdigit() => {
                    any = true;
                    if byte != b'0' || !digits.is_empty() {
                        digits.push(char::from(byte));
                    }
                    if digits.len() > 16 {
                        return wrong(Error::ChunkSize);
                    }
                    self.take()?;
                }
                b'\r' | b';' | b' ' | b'\t' if any => break,
                _ => return wrong(Error::ChunkSize),
            }
        }
        Ok(u64::from_str_radix(&digits, 16).unwrap_or(0))
    }

    /// `chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, up to its CR.
    fn chunk_ext(&mut self) -> Read<()> {
        while self.peek()? != b'\r' {
            self.bws()?;
            self.one(b';')?;
            self.bws()?;
            self.token()?;
            if self.peek()? == b'\r' {
                break;
            }
            let spaces = self.bws()?;
            match self.peek_extension()? {
                b'=' => {
                    self.one(b'=')?;
                    self.bws()?;
                    self.chunk_ext_val()?;
                }
                // White space must lead on to a `=` or `;`.
                b'\r' if spaces > 0 => return wrong(Error::ChunkExtension),
                _ => {}
            }
        }
        Ok(())
    }

    /// `chunk-ext-val = token / quoted-string`, where `quoted-string = DQUOTE *( qdtext /
    /// quoted-pair ) DQUOTE` (RFC 9110, 5.6.4)
    fn chunk_ext_val(&mut self) -> Read<()> {
        if self.peek_extension()? != b'"' {
            return self.token();
        }
        self.one(b'"')?;
        loop {
            match self.peek_extension()? {
                b'"' => return self.one(b'"'),
                b'\\' => {
                    self.one(b'\\')?;
                    let escaped = self.peek_extension()?;
                    if !is_value_byte(escaped) {
                        return wrong(Error::ChunkExtension);
                    }
                    self.one(escaped)?;
                }
                byte if is_value_byte(byte) => self.one(byte)?,
                _ => return wrong(Error::ChunkExtension),
            }
        }
    }

    /// `token = 1*tchar`
    fn token(&mut self) -> Read<()> {
        if !is_tchar(self.peek_extension()?) {
            return wrong(Error::ChunkExtension);
        }
        while self.peek()? != b'\r' && is_tchar(self.peek_extension()?) {
            let byte = self.peek()?;
            self.one(byte)?;
        }
        Ok(())
    }

    /// `BWS = OWS`: how much of it there is.
    fn bws(&mut self) -> Read<usize> {
        let mut count = 0;
        while let byte @ (b' ' | b'\t') = self.peek_extension()? {
            self.one(byte)?;
            count += 1;
        }
        Ok(count)
    }

    /// The next byte of an extension, within the limit of all.
    fn peek_extension(&self) -> Read<u8> {
        let byte = self.peek()?;
        if self.extensions == self.limits.max_chunk_extension_bytes {
            return wrong(Error::ChunkExtensionsTooLong);
        }
        Ok(byte)
    }

    /// Takes this byte of an extension.
    fn one(&mut self, byte: u8) -> Read<()> {
        if self.peek_extension()? != byte {
            return wrong(Error::ChunkExtension);
        }
        self.extensions += 1;
        self.take()
    }

    /// `trailer-section = *( field-line CRLF )` and the last CRLF, without what is not for trailers.
    fn trailer_section(&mut self) -> Read<(Lines, usize)> {
        let rest = self.input.rest();
        let max = self.limits.max_trailer_bytes.min(Limits::MAX_HEAD_BYTES);
        let mut section = Input::new(&rest[..rest.len().min(max)]);
        match fields(&mut section, self.limits.max_trailers, Error::TrailersTooLarge) {
            Ok(mut lines) => {
                lines.retain(|(name, _)| !comes_too_late(name));
                Ok((lines, self.input.at + section.at))
            }
            Err(Stop::More) if rest.len() >= max => wrong(Error::TrailersTooLarge),
            Err(stop) => Err(stop),
        }
    }
}

/// What "is necessary for message framing, routing, modifiers, authentication, request modifiers,
/// response controls, or content format" is not for trailers (RFC 9110, 6.5.1).
fn comes_too_late(name: &[u8]) -> bool {
    let framing = ["content-length", "transfer-encoding", "trailer", "te"];
    let connection = ["connection", "keep-alive", "proxy-connection", "upgrade", "host"];
    let control = ["cache-control", "expect", "max-forwards", "pragma", "range"];
    let conditional = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
    let access = ["authorization", "proxy-authorization", "cookie", "set-cookie", "if-range"];
    let content = ["content-encoding", "content-type", "content-range"];
    let proxies = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    [&framing[..], &connection, &control, &conditional, &access, &content, &proxies]
        .concat()
        .iter()
        .any(|late| name.eq_ignore_ascii_case(late.as_bytes()))
}
