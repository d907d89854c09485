//! One exchange's decisions, without a socket: what of the body is left, and what follows the answer.
//!
//! The one idea: bytes and words come in, and what must be done comes out, so that each rule can be
//! tested without a connection. Absent: reading, writing and time; they are `connection`'s. Next:
//! `buffer`.

use crate::chunked::{ChunkDecoder, Decoded, Piece};
use crate::error::Error;
use crate::framing::Framing;
use crate::headers::Fields;
use crate::limits::Limits;

/// Where a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// Read to its end, or there is none.
    Ended,
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks are still to come.
    Chunked,
    /// Wrong; its end is in doubt.
    Failed(Error),
}

/// Reads a body of any framing out of the bytes that have come.
#[derive(Debug)]
pub struct BodyReader<'a> {
    state: BodyState,
    decoder: &'a mut ChunkDecoder,
}

impl<'a> BodyReader<'a> {
    /// A reader at the start of a body that is framed so.
    pub fn new(framing: Framing, decoder: &'a mut ChunkDecoder) -> Self {
        decoder.clear();
        let state = match framing {
            Framing::None => BodyState::Ended,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::Chunked,
        };
        Self { state, decoder }
    }

    /// Where the body is.
    pub fn state(&self) -> BodyState {
        self.state
    }

    /// The next piece at the front of `bytes`.
    ///
    /// # Errors
    /// What is wrong with the body, now and at each later call.
    pub fn next(&mut self, bytes: &[u8], max: u64, limits: &Limits) -> Result<Decoded, Error> {
        let result = match self.state {
            BodyState::Ended => return Ok(Decoded { consumed: 0, piece: Piece::End(0..0) }),
            BodyState::Failed(error) => return Err(error),
            BodyState::Length(left) if left > max => Err(Error::BodyTooLarge),
            BodyState::Length(left) => Ok(take(left, bytes)),
            BodyState::Chunked => self.decoder.decode(bytes, max, limits),
        };
        self.state = match (&result, self.state) {
            (Err(error), _) => BodyState::Failed(*error),
            (Ok(Decoded { piece: Piece::End(_), .. }), _) => BodyState::Ended,
            (Ok(decoded), BodyState::Length(left)) if left == decoded.consumed as u64 => {
                BodyState::Ended
            }
            (Ok(decoded), BodyState::Length(left)) => {
                BodyState::Length(left - decoded.consumed as u64)
            }
            (Ok(_), state) => state,
        };
        result
    }

    /// The trailers of a body that has ended; `bytes` is where [`Piece::End`] pointed to.
    pub fn trailers<'b>(&'b self, bytes: &'b [u8]) -> Fields<'b> {
        self.decoder.trailers(bytes)
    }

    /// The body is given up.
    pub fn fail(&mut self, error: Error) {
        self.state = BodyState::Failed(error);
    }

    /// The connection ended. True if that cuts the body short.
    pub fn end_of_input(&mut self) -> bool {
        let cut = matches!(self.state, BodyState::Length(_) | BodyState::Chunked);
        if cut {
            self.state = BodyState::Failed(Error::BodyIncomplete);
        }
        cut
    }
}

fn take(left: u64, bytes: &[u8]) -> Decoded {
    let n = left.min(bytes.len() as u64) as usize;
    let piece = if n == 0 { Piece::More } else { Piece::Data(0..n) };
    Decoded { consumed: n, piece }
}

/// What becomes of a body that the handler did not read. It is decided before the response's head
/// goes out, because the head says whether the connection goes on (RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is nothing unread.
    Nothing,
    /// Little: read it after the answer and go on.
    Drain,
    /// Much, or nobody knows how much, or the client was not told to send it: close.
    Close,
}

/// Decides on an unread body; `continue_owed` if the client still waits for a 100.
pub fn unread(state: BodyState, continue_owed: bool, limits: &Limits) -> Unread {
    match state {
        BodyState::Ended => Unread::Nothing,
        // It may send the body or not: what follows could be either.
        _ if continue_owed => Unread::Close,
        BodyState::Length(left) if left <= limits.max_drain_bytes => Unread::Drain,
        BodyState::Length(_) | BodyState::Chunked | BodyState::Failed(_) => Unread::Close,
    }
}

/// What follows the last byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request; nothing of it is there.
    Idle,
    /// Close: everything was read.
    Close,
    /// Close so that the answer survives: the client may still be sending, and a plain close would
    /// answer that with RST, which discards what is not yet delivered (RFC 9112, 9.6).
    Linger,
    /// Another protocol, which the connection is handed over to.
    Handover,
    /// Close; the client has left, or the answer cannot be completed and must not look complete.
    Reset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_6_3_a_body_of_a_length_ends_with_its_last_byte() {
        let (mut decoder, limits) = (ChunkDecoder::new(), Limits::default());
        let mut reader = BodyReader::new(Framing::Length(5), &mut decoder);
        let first = reader.next(b"abc", 100, &limits);
        assert_eq!(first, Ok(Decoded { consumed: 3, piece: Piece::Data(0..3) }));
        assert_eq!(reader.next(b"", 100, &limits).unwrap().piece, Piece::More);
        let last = reader.next(b"deGET", 100, &limits);
        assert_eq!(last, Ok(Decoded { consumed: 2, piece: Piece::Data(0..2) }));
        assert_eq!(reader.state(), BodyState::Ended);
        assert_eq!(reader.next(b"GET", 100, &limits).unwrap().consumed, 0);
    }

    #[test]
    fn rfc9112_8_a_body_that_is_cut_short_stays_an_error() {
        let (mut decoder, limits) = (ChunkDecoder::new(), Limits::default());
        let mut reader = BodyReader::new(Framing::Length(5), &mut decoder);
        assert!(reader.end_of_input());
        assert_eq!(reader.next(b"hello", 100, &limits), Err(Error::BodyIncomplete));
        let mut reader = BodyReader::new(Framing::None, &mut decoder);
        assert!(!reader.end_of_input());
    }

    #[test]
    fn rfc9110_15_5_14_a_length_over_the_limit_is_refused_before_a_byte_is_read() {
        let (mut decoder, limits) = (ChunkDecoder::new(), Limits::default());
        let mut reader = BodyReader::new(Framing::Length(5), &mut decoder);
        assert_eq!(reader.next(b"", 4, &limits), Err(Error::BodyTooLarge));
    }

    #[test]
    fn rfc9112_9_3_only_a_short_unread_body_keeps_the_connection() {
        let limits = Limits::default();
        assert_eq!(unread(BodyState::Ended, false, &limits), Unread::Nothing);
        assert_eq!(unread(BodyState::Length(65_536), false, &limits), Unread::Drain);
        assert_eq!(unread(BodyState::Length(65_537), false, &limits), Unread::Close);
        assert_eq!(unread(BodyState::Length(1), true, &limits), Unread::Close);
        assert_eq!(unread(BodyState::Chunked, false, &limits), Unread::Close);
        assert_eq!(unread(BodyState::Failed(Error::ChunkSize), false, &limits), Unread::Close);
    }
}
