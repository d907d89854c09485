//! Conditional and range requests: what of a file is to be sent, from the fields that ask for it.
//!
//! The one idea: the conditions stand in one function in the order of RFC 9110, 13.2.2, with the file's
//! date and length as numbers, so that no file is needed to test them. Dates are compared as year,
//! month, day and second; no calendar is needed for that. Absent: entity tags, of which this server
//! gives none out; several ranges in one request, which a server may ignore (14.2). Next: `files`.

use std::ops::Range;

use crate::date::Date;
use crate::grammar::trim_ows;
use crate::headers::Fields;
use crate::method::Method;

/// What is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: 200.
    Whole,
    /// These bytes: 206.
    Part(Range<u64>),
    /// The client has it: 304.
    NotModified,
    /// A precondition does not hold: 412.
    Failed,
    /// It has no byte of the range: 416.
    Unsatisfiable,
}

/// Evaluates the fields of a GET or HEAD for something of this length, last modified then.
pub(crate) fn wanted(
    method: Method,
    fields: Fields<'_>,
    modified: Option<&Date>,
    length: u64,
    now: &Date,
) -> Wanted {
    let modified = modified.and_then(|date| Moment::read(date.as_bytes(), now));
    // Whether it was modified after the date in this field; `None` if nobody knows.
    let modified_since = |name| Some(modified? > Moment::read(fields.get(name)?, now)?);
    // With no tags given out, `*` alone matches.
    let any = |value: &[u8]| value == b"*";
    if let Some(tags) = fields.get("If-Match") {
        if !any(tags) {
            return Wanted::Failed;
        }
    } else if modified_since("If-Unmodified-Since") == Some(true) {
        return Wanted::Failed;
    }
    if let Some(tags) = fields.get("If-None-Match") {
        if any(tags) {
            return Wanted::NotModified;
        }
    } else if modified_since("If-Modified-Since") == Some(false) {
        return Wanted::NotModified;
    }
    // A date that was given out is a strong validator (8.8.2.2), because `files` gives none out for
    // what was modified in the same second.
    let unchanged = |value| modified.is_some() && modified == Moment::read(value, now);
    match fields.get("Range") {
        Some(range) if method == Method::Get && fields.get("If-Range").is_none_or(unchanged) => {
            part(range, length)
        }
        _ => Wanted::Whole,
    }
}

/// The one range of a `Range` field (RFC 9110, 14.1.2). What is not understood is ignored (14.2).
fn part(value: &[u8], length: u64) -> Wanted {
    let understood = value.split_at_checked(b"bytes=".len());
    let Some((_, range)) = understood.filter(|(unit, _)| unit.eq_ignore_ascii_case(b"bytes="))
    else {
        return Wanted::Whole;
    };
    let range = trim_ows(range);
    let Some(dash) = range.iter().position(|&byte| byte == b'-') else { return Wanted::Whole };
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length - suffix.min(length)..length,
        _ => return Wanted::Whole,
    };
    if part.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(part) }
}

/// `1*DIGIT`, as much of it as a `u64` holds.
fn number(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| {
        let add = |n: u64, digit: &u8| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        digits.iter().fold(0, add)
    })
}

/// A second in the calendar, for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    year: u64,
    month: usize,
    day: u64,
    second: u64,
}

impl Moment {
    /// Reads a date in any of the three formats of RFC 9110, 5.6.7, by their own examples:
    /// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
    fn read(text: &[u8], now: &Date) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let Some((_, date)) = text.split_once(", ") else {
            let parts: Vec<&str> = text.split_ascii_whitespace().collect();
            let [_, month, day, time, year] = parts[..] else { return None };
            return Self::new(year, month, day, time);
        };
        let (date, time) = date.strip_suffix(" GMT")?.rsplit_once(' ')?;
        let parts: Vec<&str> = date.split(if date.contains('-') { '-' } else { ' ' }).collect();
        let [day, month, year] = parts[..] else { return None };
        let moment = Self::new(year, month, day, time)?;
        if year.len() > 2 { Some(moment) } else { moment.in_this_century(now) }
    }

    fn new(year: &str, month: &str, day: &str, time: &str) -> Option<Self> {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = MONTHS.iter().position(|name| *name == month)?;
        let parts: Vec<&str> = time.split(':').collect();
        let [hour, minute, second] = parts[..] else { return None };
        let below = |text: &str, end| number(text.as_bytes()).filter(|&number| number < end);
        let (hour, minute, second) = (below(hour, 24)?, below(minute, 60)?, below(second, 61)?);
        let (year, day) = (below(year, 10_000)?, below(day, 32)?);
        Some(Self { year, month, day, second: (hour * 60 + minute) * 60 + second })
    }

    /// Two digits that seem to be more than fifty years ahead are of the past.
    fn in_this_century(self, now: &Date) -> Option<Self> {
        let this_year = number(now.as_bytes().get(12..16)?)?;
        let year = this_year - this_year % 100 + self.year;
        Some(Self { year: if year > this_year + 50 { year - 100 } else { year }, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::HeadParser;
    use crate::limits::Limits;

    /// 1994-11-06 08:49:37.
    const MODIFIED: u64 = 784_111_777;
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    /// What these fields ask of 1,000 bytes.
    fn wanted(method: Method, lines: &[&str]) -> Wanted {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", lines.join("\r\n"));
        let mut parser = HeadParser::new();
        parser.parse(head.as_bytes(), &Limits::default()).unwrap().expect("a whole head");
        let (modified, now) = (Date::new(MODIFIED), Date::new(MODIFIED + 100_000_000));
        let fields = parser.head(head.as_bytes()).fields();
        super::wanted(method, fields, Some(&modified), 1_000, &now)
    }

    fn range(value: &str) -> Wanted {
        wanted(Method::Get, &[&format!("Range: {value}")])
    }

    #[test]
    fn rfc9110_13_1_3_what_was_not_modified_since_is_304() {
        for method in [Method::Get, Method::Head] {
            for (date, expected) in [
                (EARLIER, Wanted::Whole),
                (THEN, Wanted::NotModified),
                (LATER, Wanted::NotModified),
                ("yesterday", Wanted::Whole),
                ("Sun, 06 Nov 1994 25:00:00 GMT", Wanted::Whole),
                ("Sun, 06 Nov 1994 08:49:38 CET", Wanted::Whole),
                ("Sun, 06 Now 1994 08:49:38 GMT", Wanted::Whole),
            ] {
                let field = format!("If-Modified-Since: {date}");
                assert_eq!(wanted(method, &[&field]), expected, "{date}");
            }
        }
    }

    #[test]
    fn rfc9110_13_2_2_the_conditions_are_taken_in_their_order() {
        let get = |lines: &[&str]| wanted(Method::Get, lines);
        let since = format!("If-Modified-Since: {THEN}");
        assert_eq!(get(&["If-None-Match: \"a\"", &since]), Wanted::Whole, "a tag outranks a date");
        assert_eq!(get(&["If-None-Match: *"]), Wanted::NotModified);
        assert_eq!(get(&["If-Match: \"a\"", &since]), Wanted::Failed);
        assert_eq!(get(&["If-Match: *", &since]), Wanted::NotModified);
        assert_eq!(get(&[&format!("If-Unmodified-Since: {EARLIER}")]), Wanted::Failed);
        assert_eq!(get(&[&format!("If-Unmodified-Since: {THEN}")]), Wanted::Whole);
        assert_eq!(get(&[&since, "Range: bytes=0-1"]), Wanted::NotModified);
    }

    #[test]
    fn rfc9110_5_6_7_all_three_formats_are_read() {
        let now = Date::new(1_700_000_000); // 2023
        let expected = Moment::read(THEN.as_bytes(), &now);
        assert!(expected.is_some());
        for same in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(Moment::read(same.as_bytes(), &now), expected, "{same}");
        }
        let year = |text: &str| Moment::read(text.as_bytes(), &now).map(|moment| moment.year);
        assert_eq!(year("Sunday, 06-Nov-73 08:49:37 GMT"), Some(2073));
        assert_eq!(year("Sunday, 06-Nov-74 08:49:37 GMT"), Some(1974));
    }

    #[test]
    fn rfc9110_14_1_2_one_range_is_first_last_open_or_a_suffix() {
        for (value, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("BYTES=10-19", Wanted::Part(10..20)),
            ("bytes=990-2000", Wanted::Part(990..1_000)),
            ("bytes=999-", Wanted::Part(999..1_000)),
            ("bytes=-1", Wanted::Part(999..1_000)),
            ("bytes=-5000", Wanted::Part(0..1_000)),
            ("bytes=0-99999999999999999999999999", Wanted::Part(0..1_000)),
            ("bytes=1000-", Wanted::Unsatisfiable),
            ("bytes=1000-1001", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
        ] {
            assert_eq!(range(value), expected, "{value}");
        }
    }

    #[test]
    fn rfc9110_14_2_a_range_that_is_not_understood_is_ignored() {
        for value in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0-1,5-6",
            "lines=0-1",
            "bytes 0-1",
            "bytes=0x1-2",
            "b",
        ] {
            assert_eq!(range(value), Wanted::Whole, "{value}");
        }
        assert_eq!(
            wanted(Method::Head, &["Range: bytes=0-1"]),
            Wanted::Whole,
            "only GET has ranges"
        );
    }

    // Bytes of the new file behind those of the old one are a file that never was.
    #[test]
    fn rfc9110_13_1_5_a_range_of_another_version_is_not_sent() {
        for (validator, expected) in [
            (THEN, Wanted::Part(0..2)),
            (EARLIER, Wanted::Whole),
            (LATER, Wanted::Whole),
            ("\"tag\"", Wanted::Whole),
        ] {
            let lines = ["Range: bytes=0-1", &format!("If-Range: {validator}")];
            assert_eq!(wanted(Method::Get, &lines), expected, "{validator}");
        }
    }
}
