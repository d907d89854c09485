//! The rows of docs/rfc9112.md for chunked bodies, and the decoder against a slow twin of it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::encode::{LAST_CHUNK, begin_chunk, end_chunk};
use crate::status::StatusCode;

/// A whole body, its trailers, and the bytes that they took.
type Body = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, usize);

const MAX_BODY: u64 = 1000;

/// Decodes as if only the bytes before each cut had come, and at last all. `Ok(None)`: not whole.
fn decode_in_parts(
    bytes: &[u8],
    cuts: impl Iterator<Item = usize>,
    limits: &Limits,
) -> Result<Option<Body>, Error> {
    let mut decoder = ChunkDecoder::new();
    let (mut body, mut done) = (Vec::new(), 0);
    for cut in cuts.chain([bytes.len()]) {
        loop {
            let here = &bytes[done..cut.max(done)];
            let decoded = decoder.decode(here, MAX_BODY, limits)?;
            done += decoded.consumed;
            match decoded.piece {
                Piece::More => break,
                Piece::Data(range) => {
                    assert!(!range.is_empty() && range.end <= decoded.consumed);
                    body.extend_from_slice(&here[range]);
                }
                Piece::End(range) => {
                    let trailers = decoder.trailers(&here[range]);
                    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
                    return Ok(Some((body, trailers.iter().map(owned).collect(), done)));
                }
            }
        }
    }
    Ok(None)
}

fn decode_with(bytes: &[u8], limits: &Limits) -> Result<Option<Body>, Error> {
    let whole = decode_in_parts(bytes, std::iter::empty(), limits);
    let step = 1 + bytes.len() / 2000; // byte by byte, unless that takes too long
    let byte_by_byte = decode_in_parts(bytes, (0..bytes.len()).step_by(step), limits);
    assert_eq!(whole, byte_by_byte, "{}", bytes.escape_ascii());
    whole
}

fn decode(bytes: impl AsRef<[u8]>) -> Result<Option<Body>, Error> {
    decode_with(bytes.as_ref(), &Limits::default())
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, error: Error) {
    let bytes = bytes.as_ref();
    assert_eq!(decode(bytes), Err(error), "{}", bytes.escape_ascii());
}

#[track_caller]
fn whole(bytes: impl AsRef<[u8]>) -> Body {
    let bytes = bytes.as_ref();
    match decode(bytes) {
        Ok(Some(body)) => body,
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

fn data(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    whole(bytes).0
}

// RUSTSEC-2021-0079 is the overflow.
#[test]
fn rfc9112_7_1_a_size_is_hexadecimal_with_any_leading_zeros() {
    assert_eq!(data("5\r\nhello\r\n0\r\n\r\n"), b"hello");
    assert_eq!(data("a\r\n0123456789\r\nB\r\nabcdefghijk\r\n0\r\n\r\n"), b"0123456789abcdefghijk");
    assert_eq!(
        data(format!("{}5\r\nhello\r\n{}\r\n\r\n", "0".repeat(200), "0".repeat(200))),
        b"hello"
    );
    assert_eq!(whole("0\r\n\r\nGET /").2, 5);
    refused("ffffffffffffffff\r\n", Error::BodyTooLarge);
    refused("00ffffffffffffffff\r\n", Error::BodyTooLarge);
    refused("10000000000000000\r\n", Error::ChunkSize);
    refused("123456789abcdef01", Error::ChunkSize); // at once
}

// httparse takes an empty line and `;a` as a size of 0.
#[test]
fn rfc9112_7_1_a_size_that_is_not_hexadecimal_is_400() {
    for size in ["", "0x5", "x", "+5", "-5", "5_0", " 5", "5g", ";a", "5.", "\t5", "\0"] {
        refused(format!("{size}\r\nhello\r\n0\r\n\r\n"), Error::ChunkSize);
    }
    for size in ["5 ", "5\t", "5 5"] {
        refused(format!("{size}\r\nhello\r\n0\r\n\r\n"), Error::ChunkExtension);
    }
}

// Tornado answers 400 to them.
#[test]
fn rfc9112_7_1_1_extensions_are_checked_and_ignored() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a;b=c",
        " ; a = b ;c",
        "\t;\ta\t=\t\"x\" ; y",
        ";a=\"\"",
        ";a=\"q\\\"\\\\; \u{e9}\t\\\u{e9}\"",
        ";!#$%&'*+-.^_`|~9=1",
    ] {
        let body = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        assert_eq!(data(&body), b"hello", "{extension}");
    }
    for extension in [
        ";",
        ";=b",
        ";a=",
        ";a=b c",
        ";a b",
        " a",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=\"b\\",
        ";;a",
        ";a;",
        ";a ",
        ";a=b ",
        ";a=\"b\" ",
        ";a=\0",
        ";\u{e9}",
        ";a=\"\x7f\"",
        ";a=\"\\\0\"",
        ";(",
        ";a=b=c",
    ] {
        refused(format!("5{extension}\r\nhello\r\n0\r\n\r\n"), Error::ChunkExtension);
    }
}

// CVE-2023-39326, CVE-2024-22019: a gigabyte of extensions around one byte of data.
#[test]
fn rfc9112_7_1_1_a_long_line_or_many_extensions_are_400() {
    let line = |len: usize| format!("1;{}\r\na\r\n", "x".repeat(len - 2));
    assert_eq!(data(line(256) + "0\r\n\r\n"), b"a");
    refused(line(257), Error::ChunkLineTooLong);
    refused("0".repeat(257), Error::ChunkLineTooLong);
    refused(format!("1;{}", "x".repeat(255)), Error::ChunkLineTooLong); // at once
    let budget = (16 << 10) / 255;
    assert_eq!(data(line(256).repeat(budget) + "0\r\n\r\n").len(), budget);
    refused(line(256).repeat(budget + 1), Error::ChunkExtensionsTooLong);
}

// CVE-2025-22871: a bare LF that another hop does not take for an end.
#[test]
fn rfc9112_7_1_a_bare_lf_or_cr_in_the_size_line_is_400() {
    refused("5\nhello\r\n0\r\n\r\n", Error::BareLf);
    refused("5;a\nhello\r\n0\r\n\r\n", Error::BareLf);
    refused("5;a=\"\n\"\r\nhello", Error::BareLf);
    refused("\n", Error::BareLf);
    refused("5\rhello\r\n0\r\n\r\n", Error::BareCr);
    refused("5\r\r\nhello", Error::BareCr);
    refused("5;a=\"\r\n\"", Error::ChunkExtension);
}

// CVE-2025-43859: h11 took any two bytes.
#[test]
fn rfc9112_7_1_data_must_be_followed_by_crlf() {
    for end in ["xx", "\n", "\rx", "\n\r", " \r\n", "0\r\n\r\n"] {
        refused(format!("5\r\nhello{end}0\r\n\r\n"), Error::ChunkEnd);
    }
    refused("5\r\nhello, world\r\n0\r\n\r\n", Error::ChunkEnd);
}

#[test]
fn rfc9112_7_1_2_trailers_are_read_by_the_grammar_of_fields() {
    let (body, trailers, length) = whole("1\r\na\r\n0\r\nA: b\r\nC:\t d \r\n\r\n");
    assert_eq!((body.as_slice(), length), (&b"a"[..], 25));
    assert_eq!(trailers, [(b"A".to_vec(), b"b".to_vec()), (b"C".to_vec(), b"d".to_vec())]);
    for (lines, error) in [
        ("A : b\r\n", Error::SpaceBeforeColon),
        ("A: b\n", Error::BareLf),
        (" A: b\r\n", Error::LeadingSpace),
        ("A: b\r\n c\r\n", Error::ObsoleteFold),
        ("A\r\n", Error::FieldName),
        ("A: \0", Error::FieldValue),
        ("A: b\rc", Error::BareCr),
        ("\rx", Error::BareCr),
        ("\n", Error::BareLf),
    ] {
        refused(format!("0\r\n{lines}\r\n"), error);
    }
}

#[test]
fn rfc9110_5_4_trailers_over_4_kib_or_32_are_431() {
    let section = |len: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(len - 7));
    assert_eq!(whole(section(4096)).1.len(), 1);
    refused(section(4097), Error::TrailersTooLarge);
    refused(format!("0\r\n{}", "A".repeat(4096)), Error::TrailersTooLarge); // at once
    assert_eq!(whole(format!("0\r\n{}\r\n", "A: b\r\n".repeat(32))).1.len(), 32);
    refused(format!("0\r\n{}\r\n", "A: b\r\n".repeat(33)), Error::TrailersTooLarge);
    assert_eq!(Error::TrailersTooLarge.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

// Node obeys Connection there.
#[test]
fn rfc9110_6_5_1_a_trailer_that_frames_or_routes_is_dropped() {
    let dropped: String =
        NOT_IN_TRAILERS.split_whitespace().map(|name| format!("{name}: 1\r\n")).collect();
    for lines in [dropped.to_ascii_lowercase(), dropped] {
        let body = format!("0\r\nDigest: x\r\n{lines}Status: ok\r\n\r\n");
        let (_, trailers, length) = whole(&body);
        let names: Vec<&[u8]> = trailers.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [&b"Digest"[..], b"Status"]);
        assert_eq!(length, body.len());
    }
}

// 1,000 chunks of one byte are legal; the limit counts what they carry.
#[test]
fn rfc9112_7_1_the_limit_of_a_body_counts_decoded_bytes() {
    let bytes = "1\r\na\r\n".repeat(MAX_BODY as usize);
    assert_eq!(data(bytes.clone() + "0\r\n\r\n").len() as u64, MAX_BODY);
    refused(bytes + "1\r\n", Error::BodyTooLarge);
    refused(format!("{:x}\r\n", MAX_BODY + 1), Error::BodyTooLarge);
    refused(format!("1\r\na\r\n{:x};", MAX_BODY), Error::BodyTooLarge); // before the line ends
    refused("1\r\na\r\nffffffffffffffff\r", Error::BodyTooLarge); // it must not wrap
}

#[test]
fn rfc9112_8_a_body_cut_short_never_ends() {
    let bytes = b"5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Ok(None), "{end}");
    }
    assert_eq!(Error::BodyIncomplete.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn a_decoder_is_used_again_after_clear_and_stays_at_the_end_without() {
    let limits = Limits::default();
    let mut decoder = ChunkDecoder::new();
    let end = |decoder: &mut ChunkDecoder, bytes: &[u8]| {
        decoder.decode(bytes, MAX_BODY, &limits).expect("it is valid")
    };
    let body = b"0;x\r\nA: b\r\n\r\n1\r\n";
    assert_eq!(end(&mut decoder, body), Decoded { consumed: 13, piece: Piece::End(5..13) });
    assert_eq!(decoder.trailers(&body[5..13]).get("a"), Some(&b"b"[..]));
    assert_eq!(end(&mut decoder, b"1\r\n"), Decoded { consumed: 0, piece: Piece::End(0..0) });
    decoder.clear();
    assert_eq!(end(&mut decoder, b"2\r\nab"), Decoded { consumed: 5, piece: Piece::Data(3..5) });
    decoder.clear();
    assert_eq!(end(&mut decoder, b"0\r\n\r\n"), Decoded { consumed: 5, piece: Piece::End(3..5) });
    assert!(decoder.trailers(b"\r\n").is_empty());
}

// ---- the twin ----

/// The whole body line by line; `None` if a line or data are not there in full. It says that
/// something is wrong, not what.
fn twin(mut bytes: &[u8]) -> Option<Result<(Vec<u8>, usize), ()>> {
    let (start, mut body) = (bytes.len(), Vec::new());
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let Some(size) = size_of_line(&bytes[..end]) else { return Some(Err(())) };
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        let data = bytes.get(..size)?;
        body.extend_from_slice(data);
        if bytes.get(size..size + 2)? != b"\r\n" {
            return Some(Err(()));
        }
        bytes = &bytes[size + 2..];
    }
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = &bytes[..end];
        bytes = &bytes[end + 2..];
        if line.is_empty() {
            return Some(Ok((body, start - bytes.len())));
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Some(Err(())) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !crate::grammar::is_token(name) || !value.iter().all(|&byte| is(byte, VALUE)) {
            return Some(Err(()));
        }
    }
}

fn size_of_line(line: &[u8]) -> Option<usize> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let text = std::str::from_utf8(&line[..digits]).ok()?;
    let size = u64::from_str_radix(text, 16).ok().filter(|&size| size <= MAX_BODY)?;
    is_extensions(&line[digits..]).then_some(size as usize)
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`, by descent.
fn is_extensions(mut rest: &[u8]) -> bool {
    let token = |bytes: &[u8]| bytes.iter().take_while(|&&byte| is(byte, TCHAR)).count();
    let bws = |bytes: &[u8]| bytes.iter().take_while(|byte| b" \t".contains(byte)).count();
    while !rest.is_empty() {
        rest = &rest[bws(rest)..];
        let Some(after) = rest.strip_prefix(b";") else { return false };
        rest = &after[bws(after)..];
        if token(rest) == 0 {
            return false;
        }
        rest = &rest[token(rest)..];
        let Some(value) = rest[bws(rest)..].strip_prefix(b"=") else { continue };
        rest = &value[bws(value)..];
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let mut at = 0;
            loop {
                match &quoted[at..] {
                    [b'"', ..] => break,
                    [b'\\', next, ..] if is(*next, VALUE) => at += 2,
                    [byte, ..] if is(*byte, QDTEXT) => at += 1,
                    _ => return false,
                }
            }
            rest = &quoted[at + 1..];
        } else if token(rest) == 0 {
            return false;
        } else {
            rest = &rest[token(rest)..];
        }
    }
    true
}

const BITS: &[&[u8]] = &[
    b"0",
    b"1",
    b"5",
    b"a",
    b"F",
    b"00",
    b"3e8",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b";",
    b"=",
    b"\"",
    b"\\",
    b" ",
    b"\t",
    b"ext",
    b";a=b",
    b";a=\"b\"",
    b"5\r\nhello\r\n",
    b"1\r\n0\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"A: b\r\n",
    b"Host: h\r\n",
    b"\xff",
    b"\0",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(select(BITS), 0..16).prop_map(|bits| bits.concat())
}

/// A body as the encoder makes it, with some bytes replaced.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(&b"\r\n\t ;=\"01f"[..])];
    let chunks = vec(vec(any::<u8>(), 0..20), 0..5);
    (chunks, vec((any::<Index>(), byte), 0..3)).prop_map(|(chunks, changes)| {
        let mut bytes = encode(&chunks);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for data in chunks {
        let chunk = begin_chunk(&mut out);
        out.extend_from_slice(data);
        end_chunk(&mut out, chunk);
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_alike_however_they_are_split(
        bytes in prop_oneof![soup(), mutated()],
        cuts in vec(any::<Index>(), 0..4),
    ) {
        let all = decode(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode_in_parts(&bytes, cuts.into_iter(), &Limits::default()), all);
    }

    // The twin waits for whole lines where the decoder already knows that they are wrong.
    #[test]
    fn the_decoder_and_its_twin_agree(bytes in prop_oneof![soup(), mutated()]) {
        match (decode(&bytes), twin(&bytes)) {
            (Ok(Some((body, _, length))), Some(Ok(expected))) => {
                prop_assert_eq!((body, length), expected);
            }
            (Ok(None) | Err(_), None) | (Err(_), Some(Err(()))) => {}
            (fast, slow) => prop_assert!(false, "{:?} {:?}", fast, slow),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(chunks in vec(vec(any::<u8>(), 0..300), 0..4)) {
        let bytes = encode(&chunks);
        prop_assert_eq!(decode(&bytes), match chunks.concat() {
            body if body.len() as u64 > MAX_BODY => Err(Error::BodyTooLarge),
            body => Ok(Some((body, vec![], bytes.len()))),
        });
    }
}
