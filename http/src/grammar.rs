//! Byte classes and the small productions that every parser here shares, each with its ABNF.
//!
//! The one idea: a byte's classes are bits in one table of 256 bytes, made at compile time from
//! the ABNF, and where most bytes of a head are read (names, values, targets) eight are judged at
//! once in a `u64`, in safe code; each of these has the table as its twin in the tests. Absent: any
//! leniency. Next: `method`.

use std::net::Ipv6Addr;

/// Whether the bytes are a token: a method, a field name, a transfer coding.
///
/// `token = 1*tchar` (RFC 9110, 5.6.2)
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TCHAR)
}

/// Whether the bytes may be sent as a field's value: no control byte but HTAB, and no white space
/// at an end.
///
/// `field-value = *( field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ] )` with
/// `field-vchar = VCHAR / obs-text` (RFC 9110, 5.5)
pub fn is_field_value(bytes: &[u8]) -> bool {
    all(bytes, VALUE) && trim_ows(bytes).len() == bytes.len()
}

/// The bytes without the white space around them.
///
/// `OWS = *( SP / HTAB )` (RFC 9110, 5.6.3)
pub fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list, trimmed; empty ones are skipped.
///
/// `#element = [ element ] *( OWS "," OWS [ element ] )` (RFC 9110, 5.6.1). A quoted string is not
/// respected: none of the fields read by it allows one where it would be accepted.
///
/// # Examples
/// ```
/// use squall_http::grammar::elements;
///
/// let close = elements(b"keep-alive, ,\tClose").any(|e| e.eq_ignore_ascii_case(b"close"));
/// assert!(close);
/// ```
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// The value of a hexadecimal digit (RFC 5234, B.1, in either case).
pub const fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Whether the bytes are `uri-host [ ":" port ]`, as [`split_authority`] has it. Nearly every Host
/// is a name alone, and to see that takes no call.
#[inline]
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    (!bytes.is_empty() && all(bytes, REG_NAME)) || split_authority(bytes).is_some()
}

/// Splits `uri-host [ ":" port ]` (RFC 9110, 4.2.1 and 7.2), `None` if it is not that, if the host
/// is empty, or if the port is over 65535. Userinfo does not fit the grammar and is refused.
///
/// # Examples
/// ```
/// use squall_http::grammar::split_authority;
///
/// assert_eq!(split_authority(b"[::1]:80"), Some((&b"[::1]"[..], Some(&b"80"[..]))));
/// assert_eq!(split_authority(b"user@host"), None);
/// ```
pub fn split_authority(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    // Nearly every host is a plain name or an IPv4 address: one pass.
    let plain = bytes.iter().take_while(|&&byte| is(byte, REG_NAME)).count();
    if plain > 0 && matches!(bytes.get(plain), None | Some(b':')) {
        let (host, port) = bytes.split_at(plain);
        return Some((host, split_port(port)?));
    }
    let end = match bytes.first()? {
        b'[' => bytes.iter().position(|&byte| byte == b']')? + 1,
        _ => bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len()),
    };
    let (host, port) = bytes.split_at(end);
    let valid = match host {
        [b'[', address @ .., b']'] => is_ip_literal(address),
        name => is_reg_name(name),
    };
    if valid { Some((host, split_port(port)?)) } else { None }
}

/// `[ ":" port ]` with `port = *DIGIT` (RFC 3986, 3.2.3). An empty port is a port.
fn split_port(rest: &[u8]) -> Option<Option<&[u8]>> {
    match rest {
        [] => Some(None),
        [b':', port @ ..] if port.iter().all(u8::is_ascii_digit) => {
            let number = port.iter().fold(0, |n: u32, digit| {
                n.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
            });
            (number <= u32::from(u16::MAX)).then_some(Some(port))
        }
        _ => None,
    }
}

/// `reg-name = *( unreserved / pct-encoded / sub-delims )` (RFC 3986, 3.2.2), but not empty: an
/// http URI has a host. Every IPv4 address is a reg-name by its bytes.
fn is_reg_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
            (&byte, after) if is(byte, REG_NAME) => after,
            _ => return false,
        }
    }
    !host.is_empty()
}

/// `IP-literal = "[" ( IPv6address / IPvFuture ) "]"`, between the brackets, with
/// `IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )` (RFC 3986, 3.2.2).
fn is_ip_literal(address: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = address {
        let mut halves = future.splitn(2, |&byte| byte == b'.');
        let (version, rest) = (halves.next().unwrap_or(b""), halves.next().unwrap_or(b""));
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !rest.is_empty()
            && rest.iter().all(|&byte| byte == b':' || is(byte, REG_NAME));
    }
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// `tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" /
/// "~" / DIGIT / ALPHA` (RFC 9110, 5.6.2)
pub(crate) const TCHAR: u8 = 1;

/// What a request target may hold here: `%x21-7E` without `"`, `#`, `<` and `>` (RFC 9112, 3.2;
/// RFC 3986, 2). The other bytes outside of the URI grammar, `| ^ { } [ ] \ ` and the grave, are
/// sent raw by browsers, mean nothing to framing and pass as they are.
pub(crate) const TARGET: u8 = 2;

/// `field-vchar / SP / HTAB`, where `field-vchar = VCHAR / obs-text` (RFC 9110, 5.5)
pub(crate) const VALUE: u8 = 4;

/// `unreserved / sub-delims` (RFC 3986, 2.2 and 2.3)
pub(crate) const REG_NAME: u8 = 8;

/// `qdtext = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text` (RFC 9110, 5.6.4)
pub(crate) const QDTEXT: u8 = 16;

/// Whether the byte is in the class.
#[inline]
pub(crate) const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Whether all bytes are in the class.
#[inline]
fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, class))
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes_of(byte as u8);
        byte += 1;
    }
    table
}

const fn classes_of(byte: u8) -> u8 {
    let alphanumeric = byte.is_ascii_alphanumeric();
    let vchar = matches!(byte, 0x21..=0x7e);
    let text = vchar || matches!(byte, b' ' | b'\t' | 0x80..);
    let mut classes = 0;
    if alphanumeric
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^'..=b'`' | b'|' | b'~')
    {
        classes |= TCHAR;
    }
    if vchar && !matches!(byte, b'"' | b'#' | b'<' | b'>') {
        classes |= TARGET;
    }
    if text {
        classes |= VALUE;
    }
    if alphanumeric
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=')
    {
        classes |= REG_NAME;
    }
    if text && !matches!(byte, b'"' | b'\\') {
        classes |= QDTEXT;
    }
    classes
}

// Eight bytes at once. The lowest byte of a word is the first in memory. Each `*_stops` sets the
// top bit of bytes that are not of its kind, exactly at and below the lowest one set; above it a
// borrow may have set others, so only the lowest may be used.

const ONES: u64 = u64::MAX / 255;
const TOPS: u64 = ONES << 7;

/// The first eight bytes, zero behind the end. Zero stops every scan, so the end of the bytes needs
/// no test of its own.
#[inline(always)]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// How many bytes stand before the first stop; 8 if there is none.
#[inline(always)]
pub(crate) const fn before(stops: u64) -> usize {
    stops.trailing_zeros() as usize / 8
}

/// The bytes from the first stop on; none if there is no stop.
///
/// First one word, for many values are short, then two at a time, which the compiler makes one
/// vector of (70 bytes: 6 ns, word by word 11).
#[inline(always)]
pub(crate) fn skip(bytes: &[u8], stops: impl Fn(u64) -> u64) -> &[u8] {
    let mut rest = bytes;
    if let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let found = stops(u64::from_le_bytes(*chunk));
        if found != 0 {
            return &rest[before(found)..];
        }
        rest = after;
    }
    while let Some((chunk, after)) = rest.split_first_chunk::<16>() {
        let (first, second) = (stops(word(&chunk[..8])), stops(word(&chunk[8..])));
        if first | second != 0 {
            return &rest[if first != 0 { before(first) } else { 8 + before(second) }..];
        }
        rest = after;
    }
    if let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let found = stops(u64::from_le_bytes(*chunk));
        if found != 0 {
            return &rest[before(found)..];
        }
        rest = after;
    }
    &rest[before(stops(last_word(bytes, rest))).min(rest.len())..]
}

/// As [`skip`], word by word: for names, which are so short that a vector costs more than it saves
/// (a head of 15 short lines: 213 ns against 228).
#[inline(always)]
pub(crate) fn skip_words(bytes: &[u8], stops: impl Fn(u64) -> u64) -> &[u8] {
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let found = stops(u64::from_le_bytes(*chunk));
        if found != 0 {
            return &rest[before(found)..];
        }
        rest = after;
    }
    &rest[before(stops(last_word(bytes, rest))).min(rest.len())..]
}

/// As [`word`], of `rest`, which is less than eight bytes and the end of `bytes`: the last whole
/// word, shifted.
#[inline(always)]
fn last_word(bytes: &[u8], rest: &[u8]) -> u64 {
    match bytes.last_chunk() {
        Some(chunk) if !rest.is_empty() => u64::from_le_bytes(*chunk) >> (64 - 8 * rest.len()),
        _ => word(rest),
    }
}

/// Stops at HTAB and at what is not [`VALUE`].
#[inline(always)]
pub(crate) const fn value_stops(word: u64) -> u64 {
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    (control | zeros(word ^ (0x7f * ONES))) & TOPS
}

/// Stops at what is not [`TARGET`].
#[inline(always)]
pub(crate) const fn target_stops(word: u64) -> u64 {
    let control_or_space = word.wrapping_sub(0x21 * ONES) & !word;
    let delete_or_high = word.wrapping_add(ONES) | word;
    let quote_or_hash = zeros((word | ONES) ^ (0x23 * ONES)); // 0x22 and 0x23 differ in bit 0
    let angles = zeros((word | (0x02 * ONES)) ^ (0x3e * ONES)); // 0x3c and 0x3e in bit 1
    (control_or_space | delete_or_high | quote_or_hash | angles) & TOPS
}

/// Stops at what is neither a letter nor `-`, which few field names leave. Exact for every byte.
#[inline(always)]
pub(crate) const fn name_stops(word: u64) -> u64 {
    let low = (word | (0x20 * ONES)) & !TOPS;
    let letter = (low + 0x1f * ONES) & !(low + 0x05 * ONES);
    let minus = word ^ (0x2d * ONES);
    let not_minus = ((minus & !TOPS) + 0x7f * ONES) | minus;
    (!letter & not_minus | word) & TOPS
}

/// Stops at `?`, where a target's query begins.
#[inline(always)]
pub(crate) const fn question_stops(word: u64) -> u64 {
    zeros(word ^ (0x3f * ONES)) & TOPS
}

/// Sets the top bit of zero bytes, exactly up to the lowest.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

#[cfg(test)]
mod tests {
    use super::*;

    // A byte too many in a class is a hole for smuggling; one too few refuses honest clients.
    #[test]
    fn rfc9110_5_6_2_a_tchar_is_what_the_abnf_lists() {
        for byte in 0..=255u8 {
            let listed = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is(byte, TCHAR), listed, "{byte:#x}");
        }
    }

    #[test]
    fn rfc9112_3_2_a_target_byte_is_visible_and_none_of_four() {
        for byte in 0..=255u8 {
            let allowed = (0x21..=0x7e).contains(&byte) && !b"\"#<>".contains(&byte);
            assert_eq!(is(byte, TARGET), allowed, "{byte:#x}");
        }
    }

    #[test]
    fn rfc9110_5_5_a_value_byte_is_visible_high_space_or_tab() {
        for byte in 0..=255u8 {
            let allowed = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            assert_eq!(is(byte, VALUE), allowed, "{byte:#x}");
            let quoted = allowed && byte != b'"' && byte != b'\\';
            assert_eq!(is(byte, QDTEXT), quoted, "{byte:#x}");
        }
    }

    #[test]
    fn rfc3986_3_2_2_a_reg_name_byte_is_unreserved_or_a_sub_delim() {
        for byte in 0..=255u8 {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
            assert_eq!(is(byte, REG_NAME), allowed, "{byte:#x}");
        }
    }

    // A carry from one byte into the next would pass a bad byte or stop at a good one.
    #[test]
    fn eight_at_once_stop_where_the_table_does() {
        let value = |byte| byte == b'\t' || !is(byte, VALUE);
        let target = |byte| !is(byte, TARGET);
        let name = |byte: u8| !byte.is_ascii_alphabetic() && byte != b'-';
        for place in 0..8 {
            for byte in 0..=255u8 {
                for around in 0..=255u8 {
                    let mut bytes = [around; 8];
                    bytes[place] = byte;
                    let word = u64::from_le_bytes(bytes);
                    let first = |stop: &dyn Fn(u8) -> bool| {
                        bytes.iter().position(|&byte| stop(byte)).unwrap_or(8)
                    };
                    assert_eq!(before(value_stops(word)), first(&value), "{bytes:x?}");
                    assert_eq!(before(target_stops(word)), first(&target), "{bytes:x?}");
                    let question = |byte| byte == b'?';
                    assert_eq!(before(question_stops(word)), first(&question), "{bytes:x?}");
                    assert_eq!(before(name_stops(word)), first(&name), "{bytes:x?}");
                }
            }
        }
    }

    // One that reads past the end or skips a byte would do so at one of these lengths.
    #[test]
    fn a_skip_ends_at_the_first_stop_or_at_the_end() {
        for len in 0..100 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(skip(&bytes, value_stops).len(), 0);
            assert_eq!(skip_words(&bytes, name_stops).len(), 0);
            assert_eq!(word(&bytes).to_le_bytes()[..len.min(8)], bytes[..len.min(8)]);
            assert_eq!(word(&bytes).checked_shr(8 * len as u32).unwrap_or(0), 0);
            for stop in (0..len).rev() {
                bytes[stop] = b'\r'; // those behind stay
                assert_eq!(skip(&bytes, value_stops).len(), len - stop);
                assert_eq!(skip(&bytes, target_stops).len(), len - stop);
                assert_eq!(skip_words(&bytes, name_stops).len(), len - stop);
            }
        }
    }

    // Every peer lets some of these pass, and a cache in front may then keep them under another
    // host's name.
    #[test]
    fn rfc9112_3_2_an_authority_is_a_host_and_perhaps_a_port() {
        let host = |text: &'static str| split_authority(text.as_bytes()).map(|(host, _)| host);
        for good in ["a", "example.com", "10.0.0.1", "a_b~c!$&'()*+,;=", "%41.com", "999.1.1.1"] {
            assert_eq!(host(good), Some(good.as_bytes()), "{good}");
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for (good, name) in [("a:80", "a"), ("a:", "a"), ("a:00080", "a"), ("a:65535", "a")] {
            assert_eq!(host(good), Some(name.as_bytes()), "{good}");
        }
        for good in ["[::1]", "[2001:db8::1]:443", "[::ffff:1.2.3.4]:", "[v1.a:b]", "[vF.x]:1"] {
            assert!(host(good).is_some() && is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:99999999999999999999",
            "a:+1",
            "u@a",
            "u:p@a",
            "a/b",
            "a?b",
            "a b",
            "a\\b",
            "a\"",
            "%4",
            "%zz",
            "a%",
            "\u{e9}",
            "[]",
            "[::1",
            "[::1]x",
            "[::g]",
            "[::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "::1",
            "a]",
            "<a>",
            "a\0",
            "a[::1]",
            "[[::1]]",
        ] {
            assert_eq!(host(bad), None, "{bad:?}");
            assert!(!is_authority(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn rfc9110_5_6_1_empty_elements_are_skipped() {
        let list: Vec<&[u8]> = elements(b",a , ,\tb c\t,,").collect();
        assert_eq!(list, [&b"a"[..], b"b c"]);
        assert_eq!(elements(b" , ").count(), 0);
    }

    #[test]
    fn rfc9110_5_5_white_space_at_an_end_is_no_part_of_a_value() {
        assert_eq!(trim_ows(b" \t a\tb \t"), b"a\tb");
        assert_eq!(trim_ows(b" \t "), b"");
        assert!(is_field_value(b"") && is_field_value(b"a\tb") && is_field_value(b"\xff"));
        assert!(!is_field_value(b" a") && !is_field_value(b"a\t") && !is_field_value(b"a\0b"));
    }

    #[test]
    fn hexadecimal_digits_have_their_values() {
        for byte in 0..=255u8 {
            let expected = char::from(byte).to_digit(16).map(|digit| digit as u8);
            assert_eq!(hex_value(byte), expected);
        }
    }
}
