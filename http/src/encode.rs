//! Response heads and chunks.
use crate::date::Date;
use crate::error::Error;
use crate::framing::Persistence;
use crate::method::Method;
use crate::status::StatusCode;

/// Response header lines, checked when they are added.
#[derive(Clone, Debug, Default)]
pub struct HeaderLines {
    bytes: Vec<u8>,
}
impl HeaderLines {
    /// None.
    pub const fn new() -> HeaderLines {
        HeaderLines { bytes: Vec::new() }
    }
    /// Adds a line; on an error nothing is added.
    pub fn append(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        let _ = (name, value);
        Ok(())
    }
    /// Whether a line of this name was added.
    pub fn contains(&self, name: &str) -> bool {
        let _ = name;
        false
    }
    /// Forgets the lines, keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// What the encoder must know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The method, `None` if unknown or if there was no whole head.
    pub method: Option<Method>,
    /// Digit after `HTTP/1.`.
    pub minor_version: u8,
    /// What the client allows for the connection.
    pub persistence: Persistence,
}

/// Length of a response's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Known.
    Known(u64),
    /// Not known before it ends.
    Unknown,
}

/// How the content must be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// No byte after the head.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks, then the last chunk.
    Chunked,
    /// Bytes until the connection is closed.
    UntilClose,
}

/// What the head has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// How the content is sent.
    pub transfer: Transfer,
    /// Whether the connection lives on.
    pub keep: bool,
}

/// Appends a response head.
pub fn encode_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    asked: Asked,
    length: Length,
    lines: &HeaderLines,
    date: &Date,
) -> Promise {
    let _ = (out, status, length, lines, date, asked);
    Promise { transfer: Transfer::Nothing, keep: true }
}
/// Reserves room for a chunk's size.
pub fn begin_chunk(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 10]);
    at
}
/// Ends the chunk begun at `at`.
pub fn end_chunk(out: &mut Vec<u8>, at: usize) {
    let _ = (out, at);
}
/// Ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
