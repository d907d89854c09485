//! The fields of proxies: lists from their right end, elements, nodes (RFC 7239).
//!
//! Everything here reads from the right, where our own proxy has written, and stops where it is
//! told to; a stranger's part on the left is not looked at. Next: `proxy`.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::grammar::{QDTEXT, TCHAR, is, is_token, trim_ows};
use crate::headers::Fields;

/// One element of `Forwarded` (RFC 7239, 4), as far as it is of use here.
#[derive(Default)]
pub(super) struct Element<'a> {
    pub(super) node: Option<Cow<'a, [u8]>>,
    pub(super) proto: Option<Cow<'a, [u8]>>,
    pub(super) host: Option<Cow<'a, [u8]>>,
}

impl<'a> Element<'a> {
    /// `[ forwarded-pair ] *( ";" [ forwarded-pair ] )`, with the white space around the `;` that
    /// many proxies write. `None` if it is not that, or tells a thing twice.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut element = Self::default();
        let mut rest = trim_ows(text);
        while !rest.is_empty() {
            if rest[0] != b';' {
                let equals = rest.iter().position(|&byte| byte == b'=')?;
                let (name, (value, after)) = (&rest[..equals], value(&rest[equals + 1..])?);
                let place = match name {
                    name if name.eq_ignore_ascii_case(b"for") => Some(&mut element.node),
                    name if name.eq_ignore_ascii_case(b"proto") => Some(&mut element.proto),
                    name if name.eq_ignore_ascii_case(b"host") => Some(&mut element.host),
                    name if is_token(name) => None,
                    _ => return None,
                };
                if place.and_then(|place| place.replace(value)).is_some() {
                    return None;
                }
                rest = trim_ows(after);
            }
            rest = match rest {
                [] => rest,
                [b';', after @ ..] => trim_ows(after),
                _ => return None,
            };
        }
        Some(element)
    }
}

/// What stands before the last element, if anything, and the last element.
type Split<'a> = fn(&'a [u8]) -> (Option<&'a [u8]>, &'a [u8]);

/// The elements of a list that may stand on several lines, from its end.
pub(super) fn from_the_right<'a>(
    fields: Fields<'a>,
    name: &str,
    split: Split<'a>,
) -> impl Iterator<Item = &'a [u8]> {
    let lines: Vec<&[u8]> = fields.all(name).collect();
    lines.into_iter().rev().flat_map(move |line| {
        let mut left = Some(line);
        std::iter::from_fn(move || {
            let (before, element) = split(left?);
            left = before;
            Some(trim_ows(element))
        })
    })
}

/// At the last comma.
pub(super) fn split_last(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match line.iter().rposition(|&byte| byte == b',') {
        Some(comma) => (Some(&line[..comma]), &line[comma + 1..]),
        None => (None, line),
    }
}

/// As [`split_last`], for a comma outside of quoted strings. It reads from the right as well, so
/// that a stranger's open quote on the left cannot swallow what a proxy of ours wrote behind it.
pub(super) fn split_last_unquoted(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for at in (0..line.len()).rev() {
        match line[at] {
            b',' if !quoted => return (Some(&line[..at]), &line[at + 1..]),
            b'"' => {
                let escapes = line[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
                quoted ^= escapes % 2 == 0;
            }
            _ => {}
        }
    }
    (None, line)
}

/// `value = token / quoted-string` (RFC 7239, 4), and what follows it.
fn value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let [b'"', inside @ ..] = text else {
        let end = text.iter().position(|&byte| !is(byte, TCHAR)).unwrap_or(text.len());
        return (end > 0).then(|| (Cow::Borrowed(&text[..end]), &text[end..]));
    };
    let mut unescaped = Vec::new();
    let mut rest = inside;
    loop {
        match rest {
            [b'"', after @ ..] => return Some((Cow::Owned(unescaped), after)),
            [b'\\', byte @ (b'\t' | b' '..=b'~' | 0x80..), after @ ..] => {
                unescaped.push(*byte);
                rest = after;
            }
            [byte, after @ ..] if is(*byte, QDTEXT) => {
                unescaped.push(*byte);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// An address as the X- fields have it: alone, or with a port.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let bare = std::str::from_utf8(text).ok()?.parse().ok();
    bare.map(|ip: IpAddr| ip.to_canonical()).or_else(|| node(text))
}

/// The address of a `node = nodename [ ":" node-port ]` (RFC 7239, 6), if it has one.
pub(super) fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (IpAddr::V6(ip.parse().ok()?), port)
        }
        None => {
            let (ip, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::V4(ip.parse().ok()?), port)
        }
    };
    is_port(port.as_bytes()).then(|| ip.to_canonical())
}

/// `[ ":" ( 1*5DIGIT / "_" 1*( ALPHA / DIGIT / "." / "_" / "-" ) ) ]` (RFC 7239, 6).
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', b'_', name @ ..] => {
            let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            !name.is_empty() && name.iter().all(named)
        }
        [b':', digits @ ..] => {
            matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}
