//! Lines, look-ups and the six names, by way of a whole head.

use super::*;
use crate::head::HeadParser;
use crate::limits::Limits;

/// Looks at the fields of a head with these lines.
fn with<T>(lines: &str, look: impl FnOnce(Fields<'_>) -> T) -> T {
    let bytes = format!("GET / HTTP/1.0\r\n{lines}\r\n");
    let mut parser = HeadParser::new();
    let length = parser.parse(bytes.as_bytes(), &Limits::default());
    assert_eq!(length, Ok(Some(bytes.len())));
    look(parser.head(bytes.as_bytes()).fields())
}

// A server that compares with case serves `HOST` as no host at all.
#[test]
fn rfc9110_5_1_names_compare_without_case() {
    with("CoNtEnT-tYpE: a\r\nx: y\r\n", |fields| {
        for name in ["Content-Type", "content-type", "CONTENT-TYPE"] {
            assert_eq!(fields.get(name), Some(&b"a"[..]));
        }
        assert_eq!(fields.get("Content-Typ"), None);
        assert_eq!(fields.get("Content-Type2"), None);
        assert_eq!(fields.get(""), None);
        assert_eq!((fields.len(), fields.is_empty()), (2, false));
    });
}

// RUSTSEC-2021-0020 read only one of several lines.
#[test]
fn rfc9110_5_2_all_lines_of_a_name_are_given_in_their_order() {
    with("A: 1\r\nB: 2\r\na: 3\r\nAA: 4\r\nA:\r\n", |fields| {
        let all: Vec<&[u8]> = fields.all("a").collect();
        assert_eq!(all, [&b"1"[..], b"3", b""]);
        let names: Vec<&[u8]> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"A"[..], b"B", b"a", b"AA", b"A"]);
    });
}

#[test]
fn each_of_the_six_names_is_noticed_in_any_case_on_every_line() {
    for steering in Steering::ALL {
        let name = steering.name();
        let mixed: String = name
            .char_indices()
            .map(|(index, c)| if index % 2 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        let lines = format!("A: x\r\n{name}: 1\r\nB: y\r\n{mixed}: 2\r\nC: z\r\n{name}: 3\r\n");
        let lines =
            if steering == Steering::Host { format!("A: x\r\n{mixed}: 1\r\n") } else { lines };
        with(&lines, |fields| {
            for other in Steering::ALL {
                let every: Vec<&[u8]> = fields.every(other).collect();
                let all: Vec<&[u8]> = fields.all(other.name()).collect();
                assert_eq!(every, all);
                assert_eq!(usize::from(fields.count(other)), all.len());
                assert_eq!(fields.first(other), all.first().copied());
                assert_eq!(all.is_empty(), other != steering);
            }
        });
    }
}

// One byte beside a name, or another of its length, must not steer anything: a key that took `*`
// for a letter would.
#[test]
fn a_name_beside_the_six_is_not_taken_for_one() {
    for steering in Steering::ALL {
        let name = steering.name();
        for place in 0..name.len() {
            for byte in (0x21..0x7f).filter(|&byte| is(byte, TCHAR)) {
                let mut other = name.as_bytes().to_vec();
                other[place] = byte;
                let other = String::from_utf8(other).expect("tokens are ASCII");
                let same = other.eq_ignore_ascii_case(name);
                with(&format!("{other}: 1\r\n"), |fields| {
                    assert_eq!(fields.count(steering) == 1, same, "{other}");
                });
            }
        }
        with(&format!("{name}x: 1\r\nx{name}: 2\r\n{}: 3\r\n", &name[1..]), |fields| {
            assert_eq!(fields.count(steering), 0);
        });
    }
}

#[test]
fn a_line_takes_eight_bytes() {
    assert_eq!(size_of::<Span>(), 8);
    with("A: b\r\n", |fields| assert_eq!(format!("{fields:?}"), "{\"A\": \"b\"}"));
}
