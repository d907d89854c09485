//! A second reading of RFC 9110 and RFC 9112, for the tests: one function a rule of the grammar.
//!
//! The one idea: [`Input`] gives one byte after the other and stops the reader where there is none,
//! so each function is its production written down again, and what is wrong is told at the first
//! byte that does not fit. Clear, not fast: it copies everything and keeps no state between two
//! calls. It shares nothing with the crate but the names of the errors, the limits and
//! [`Framing`](squall_http::framing::Framing). Next: `head`, `framing`, `chunked`; `response` reads
//! answers, `connection` puts all together.

// Each binary compiles this folder and uses a part of it.
#![allow(dead_code)]

pub mod chunked;
pub mod connection;
pub mod framing;
pub mod head;
pub mod response;

use squall_http::Error;

/// Names and values in their order.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a production was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end before it does.
    More,
    /// A byte does not fit.
    Wrong(Error),
}

pub type Read<T> = Result<T, Stop>;

/// Bytes, and how far they have been read.
pub struct Input<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { bytes, at: 0 }
    }

    /// The next byte, which stays the next.
    pub fn peek(&self) -> Read<u8> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    /// The next byte.
    pub fn take(&mut self) -> Read<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte, which must be this one.
    pub fn expect(&mut self, byte: u8, otherwise: Error) -> Read<()> {
        match self.peek()? {
            next if next == byte => self.at += 1,
            _ => return wrong(otherwise),
        }
        Ok(())
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

pub fn wrong<T>(error: Error) -> Read<T> {
    Err(Stop::Wrong(error))
}

/// `tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" /
/// "~" / DIGIT / ALPHA` (RFC 9110, 5.6.2)
pub fn is_tchar(byte: u8) -> bool {
    b"!#$%&'*+-.^_`|~".contains(&byte) || byte.is_ascii_digit() || byte.is_ascii_alphabetic()
}

/// `token = 1*tchar`
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// `field-vchar = VCHAR / obs-text`, and the white space between them (RFC 9110, 5.5).
pub fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ' | 0x21..=0x7e | 0x80..=0xff)
}

/// `field-value = *field-content`: no white space at an end.
pub fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_value_byte(byte)) && trimmed(bytes) == bytes
}

/// Without the `OWS = *( SP / HTAB )` around it.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    match (bytes.iter().position(is_text), bytes.iter().rposition(is_text)) {
        (Some(first), Some(last)) => &bytes[first..=last],
        _ => &[],
    }
}

/// The values of all lines of a name, as one list (RFC 9110, 5.3).
pub fn list(lines: &Lines, name: &str) -> Vec<Vec<u8>> {
    let same = lines.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
    let joined = same.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(&b","[..]);
    let elements = joined.split(|&byte| byte == b',').map(|element| trimmed(element).to_vec());
    elements.filter(|element| !element.is_empty()).collect()
}

/// How many lines have a name.
pub fn count(lines: &Lines, name: &str) -> usize {
    lines.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).count()
}
