//! Chunked bodies, decoded in place.
use crate::error::Error;
use crate::headers::{Fields, HeadSpans};
use crate::limits::Limits;
use std::ops::Range;

/// Reads one chunked body. Reused after `clear`.
#[derive(Clone, Debug, Default)]
pub struct ChunkDecoder {
    trailers: HeadSpans,
}

/// What one call has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes at the front of the buffer are done with (after the data are used).
    pub consumed: usize,
    /// What they held.
    pub piece: Piece,
}

/// A piece of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing yet: more bytes are needed, behind those that were not consumed.
    More,
    /// Data of the body, at this place in the buffer.
    Data(Range<usize>),
    /// The body has ended; the trailer section is at this place in the buffer.
    End(Range<usize>),
}

impl ChunkDecoder {
    /// A decoder at the start of a body.
    pub const fn new() -> ChunkDecoder {
        ChunkDecoder { trailers: HeadSpans::new() }
    }
    /// Goes back to the start of a body.
    pub fn clear(&mut self) {}
    /// Reads from the front of `buf` to the next piece.
    pub fn decode(
        &mut self,
        buf: &[u8],
        max_body_bytes: u64,
        limits: &Limits,
    ) -> Result<Decoded, Error> {
        let _ = (buf, max_body_bytes, limits);
        Err(Error::ChunkSize)
    }
    /// The trailers, `bytes` being what [`Piece::End`] pointed to.
    pub fn trailers<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        Fields::new(bytes, &self.trailers)
    }
}
