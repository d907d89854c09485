//! Chunked bodies: one outcome for all splits, that of the reference.

use squall_http::chunked::{ChunkDecoder, Piece};
use squall_http::{Error, Limits};

use super::Conditions;
use super::head::lines;
use crate::reference;
use crate::reference::chunked::ChunkedBody;

/// Decodes a body in one piece, in parts, and by the reference.
pub fn chunked(conditions: Conditions, bytes: &[u8]) {
    let limits = conditions.limits();
    let max = limits.max_body_bytes;
    let shown = || format!("{} under {conditions:?}", bytes.escape_ascii());
    let expected = reference::chunked::chunked(bytes, max, &limits);
    let mut decoder = ChunkDecoder::new();
    let whole = in_parts(&mut decoder, bytes, &[], &limits);
    assert_eq!(whole, expected, "in one piece: {}", shown());
    decoder.clear(); // used again, it must not remember
    let cuts = conditions.cuts(bytes.len());
    let parts = in_parts(&mut decoder, bytes, &cuts, &limits);
    assert_eq!(parts, expected, "cut at {cuts:?}: {}", shown());
    if let Ok(Some(body)) = expected {
        assert!(body.data.len() as u64 <= max && body.trailers.len() <= limits.max_trailers);
        decoder.clear();
        let short = in_parts(&mut decoder, &bytes[..body.length - 1], &[], &limits);
        assert_eq!(short, Ok(None), "one byte less: {}", shown());
    }
}

/// Decodes as if only the bytes before each cut had come, and at last all.
fn in_parts(
    decoder: &mut ChunkDecoder,
    bytes: &[u8],
    cuts: &[usize],
    limits: &Limits,
) -> Result<Option<ChunkedBody>, Error> {
    let (mut data, mut done) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let here = &bytes[done..cut.max(done)];
            let decoded = decoder.decode(here, limits.max_body_bytes, limits)?;
            done += decoded.consumed;
            match decoded.piece {
                Piece::More => {
                    let left = here.len() - decoded.consumed;
                    assert!(left <= limits.max_trailer_bytes, "{left} bytes are left unread");
                    break;
                }
                Piece::Data(range) => {
                    assert!(!range.is_empty() && range.end <= decoded.consumed);
                    data.extend_from_slice(&here[range]);
                    assert!(data.len() as u64 <= limits.max_body_bytes);
                }
                Piece::End(range) => {
                    let trailers = lines(decoder.trailers(&here[range]).iter());
                    return Ok(Some(ChunkedBody { data, trailers, length: done }));
                }
            }
        }
    }
    Ok(None)
}
