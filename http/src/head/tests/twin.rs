//! The head parser's twin, one state a byte, and random input on which the two must agree.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::grammar::split_authority;

/// Where the twin is: one state for each place in the grammar that a byte can be at.
enum At {
    Start,
    StartLf,
    Method,
    Target,
    Version(usize),
    LineStart,
    LastLf,
    Name,
    Value,
    ValueLf,
}

/// The grammar byte by byte, without a thought of speed: the first byte that is wrong decides.
pub(super) fn twin(bytes: &[u8], limits: &Limits) -> Outcome {
    let mut at = At::Start;
    let mut empty_lines = 0;
    let mut head =
        Plain { length: 0, method: vec![], target: vec![], minor: 0, fields: Vec::new() };
    let mut major = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if index == limits.max_head_bytes {
            break;
        }
        at = match (at, byte) {
            (At::Start, b'\r') if empty_lines == limits.max_empty_lines => {
                return Err(Error::EmptyLines);
            }
            (At::Start, b'\r') => At::StartLf,
            (At::StartLf, b'\n') => {
                empty_lines += 1;
                At::Start
            }
            (At::StartLf | At::LastLf | At::ValueLf | At::Version(9), other) if other != b'\n' => {
                return Err(Error::BareCr);
            }
            (At::LastLf, _) => {
                head.length = index + 1;
                return check_host(&head).map(|()| Some(head));
            }
            (At::ValueLf, _) => At::LineStart,
            (At::Version(9), _) if major != b'1' => return Err(Error::VersionUnsupported),
            (At::Version(9), _) => {
                check_target(&head)?;
                At::LineStart
            }
            (At::Start | At::Method | At::Version(_), b'\n') => return Err(Error::BareLf),
            (At::LineStart | At::Name | At::Value, b'\n') => return Err(Error::BareLf),
            (At::Start | At::Method, _) if is(byte, TCHAR) => {
                head.method.push(byte);
                At::Method
            }
            (At::Method, b' ') => At::Target,
            (At::Start | At::Method, _) => return Err(Error::MethodSyntax),
            (At::Target, _) if is(byte, crate::grammar::TARGET) => {
                head.target.push(byte);
                if head.target.len() > limits.max_target_bytes {
                    return Err(Error::TargetTooLong);
                }
                At::Target
            }
            (At::Target, b'\n') => return Err(Error::BareLf),
            (At::Target, b' ') if !head.target.is_empty() => At::Version(0),
            (At::Target, b'\r') if !head.target.is_empty() => return Err(Error::VersionSyntax),
            (At::Target, _) => return Err(Error::TargetByte),
            (At::Version(place @ (5 | 7)), b'0'..=b'9') => {
                if place == 5 {
                    major = byte;
                } else {
                    head.minor = byte - b'0';
                }
                At::Version(place + 1)
            }
            (At::Version(place), _) if place != 5 && place != 7 && byte == b"HTTP/_._\r"[place] => {
                At::Version(place + 1)
            }
            (At::Version(_), _) => return Err(Error::VersionSyntax),
            (At::LineStart, b'\r') => At::LastLf,
            (At::LineStart, b' ' | b'\t') if head.fields.is_empty() => {
                return Err(Error::LeadingSpace);
            }
            (At::LineStart, b' ' | b'\t') => return Err(Error::ObsoleteFold),
            (At::LineStart, _) if head.fields.len() == limits.max_fields => {
                return Err(Error::TooManyFields);
            }
            (At::LineStart, _) if is(byte, TCHAR) => {
                head.fields.push((vec![byte], vec![]));
                At::Name
            }
            (At::Name, _) if is(byte, TCHAR) => {
                head.fields.last_mut().expect("a name has begun").0.push(byte);
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, b' ' | b'\t') => return Err(Error::SpaceBeforeColon),
            (At::LineStart | At::Name, _) => return Err(Error::FieldName),
            (At::Value, b'\r') => {
                let value = &mut head.fields.last_mut().expect("a field has begun").1;
                *value = crate::grammar::trim_ows(value).to_vec();
                At::ValueLf
            }
            (At::Value, _) if is(byte, crate::grammar::VALUE) => {
                head.fields.last_mut().expect("a field has begun").1.push(byte);
                At::Value
            }
            (At::Value, _) => return Err(Error::FieldValue),
            (At::StartLf, _) => unreachable!("both of its bytes are above"),
        };
    }
    if bytes.len() >= limits.max_head_bytes { Err(Error::HeadTooLarge) } else { Ok(None) }
}

fn check_host(head: &Plain) -> Result<(), Error> {
    let hosts: Vec<_> =
        head.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"host")).collect();
    match hosts[..] {
        [] if head.minor == 0 => Ok(()),
        [] => Err(Error::HostMissing),
        [(_, host)] if host.is_empty() || split_authority(host).is_some() => Ok(()),
        [_] => Err(Error::HostSyntax),
        _ => Err(Error::HostRepeated),
    }
}

fn check_target(head: &Plain) -> Result<(), Error> {
    let text = std::str::from_utf8(&head.target).expect("a target is ASCII");
    let lower = text.to_ascii_lowercase();
    if head.method == b"CONNECT" {
        let port = split_authority(&head.target).and_then(|(_, port)| port);
        return match port {
            Some(port) if !port.is_empty() => Ok(()),
            _ => Err(Error::TargetAuthority),
        };
    }
    if text.starts_with('/') || (text == "*" && head.method == b"OPTIONS") {
        return Ok(());
    }
    if lower.starts_with("https://") {
        return Err(Error::Misdirected);
    }
    let rest = lower.strip_prefix("http://").ok_or(Error::TargetForm)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    split_authority(authority.as_bytes()).map(|_| ()).ok_or(Error::TargetAuthority)
}

/// Bits of heads, right ones and wrong ones.
const BITS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"OPTIONS",
    b"CONNECT",
    b"get",
    b" ",
    b" ",
    b"  ",
    b"\t",
    b"/",
    b"/a?b",
    b"*",
    b"http://a/",
    b"https://a/",
    b"a:80",
    b"http://u@a",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b"HTTP/1.1",
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"Host: h\r\n",
    b"Host",
    b":",
    b": ",
    b"Content-Length: 5\r\n",
    b"A: b\r\n",
    b"Connection",
    b"close",
    b"A-Long-Field-Name-Of-Letters",
    b"X_Odd.Name9",
    b"a value of some length, with spaces in it",
    b"\xff",
    b"\0",
    b"\x7f",
    b"#",
    b"(",
    b"%zz",
    b"[::1]",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(select(BITS), 0..20).prop_map(|bits| bits.concat())
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    let target = select(&["/", "/a/b?c=d", "http://example.com/x", "http://a?b"][..]);
    let field = (select(&["A", "Accept", "Connection", "X-Forwarded-For", "x_1", "TE"][..]), {
        vec(
            select(&["a", " ", "\t", "value", "sixteen bytes or", "\u{e9}", ",", ";q=1"][..]),
            0..12,
        )
    });
    let fields =
        vec(field.prop_map(|(name, value)| format!("{name}:{}\r\n", value.concat())), 0..12);
    (select(&["GET", "POST", "PATCH", "FOO"][..]), target, 0..10u8, fields, 0..3usize).prop_map(
        |(method, target, minor, fields, empty_lines)| {
            let fields = fields.concat();
            let start = "\r\n".repeat(empty_lines);
            format!("{start}{method} {target} HTTP/1.{minor}\r\nHost: a:1\r\n{fields}\r\n")
                .into_bytes()
        },
    )
}

/// A valid head with some bytes replaced, inserted or removed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(&b"\r\n\t :/?@%#[]HA1"[..])];
    (valid(), vec((any::<Index>(), byte, 0..3u8), 0..4)).prop_map(|(mut bytes, changes)| {
        for (index, byte, change) in changes {
            let at = index.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

fn small_limits() -> impl Strategy<Value = Limits> {
    (0..200usize, 0..6usize, 0..40usize, 0..4usize).prop_map(|(head, fields, target, empty)| {
        Limits {
            max_head_bytes: head,
            max_fields: fields,
            max_target_bytes: target,
            max_empty_lines: empty,
            ..Limits::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // A difference between two ways to split the same bytes is a difference between two hops.
    #[test]
    fn any_bytes_have_one_outcome_however_they_are_split(
        bytes in prop_oneof![soup(), mutated(), vec(any::<u8>(), 0..60)],
        cuts in vec(any::<Index>(), 0..4),
    ) {
        let whole = parse(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(parse_in_parts(&bytes, cuts.into_iter(), &Limits::default()), whole);
    }

    #[test]
    fn small_limits_hold_at_the_same_byte_however_it_is_split(
        bytes in prop_oneof![soup(), mutated()],
        limits in small_limits(),
    ) {
        let _ = parse_with(&bytes, &limits); // it compares the three
    }

    #[test]
    fn a_valid_head_is_read_whatever_follows_it(bytes in valid(), rest in vec(any::<u8>(), 0..20)) {
        let alone = served(&bytes);
        prop_assert_eq!(alone.length, bytes.len());
        prop_assert_eq!(served([bytes, rest].concat()), alone);
    }
}
