//! Responses: whatever a handler gives, what is sent is one response and says what was given.

use squall_http::StatusCode;
use squall_http::date::Date;
use squall_http::encode::*;
use squall_http::framing::Persistence;
use squall_http::{Error, Method};

use super::{Conditions, Random};
use crate::reference::response::{Answer, response};
use crate::reference::{Lines, is_token, is_value};

const METHODS: [Option<Method>; 4] =
    [None, Some(Method::Get), Some(Method::Head), Some(Method::Post)];

/// Makes a response of what the bytes say, and reads it as a client does. `\n` parts the bytes of a
/// name, `\x1f` those of a value, and the last part is the content.
pub fn encode(conditions: Conditions, bytes: &[u8]) {
    let mut random = Random(u64::from(conditions.seed));
    let (lines, given) = header_lines(bytes);
    let content = bytes.rsplit(|&byte| byte == 0x1f).next().unwrap_or_default();
    let status = StatusCode::new(100 + random.below(500) as u16).expect("100 to 599");
    let status =
        [status, StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED][random.below(4)];
    let (minor_version, persistence) = [
        (0, Persistence::Close),
        (0, Persistence::KeepAndSay),
        (1, Persistence::Close),
        (1, Persistence::Keep),
    ][random.below(4)];
    let asked = Asked { method: METHODS[random.below(4)], minor_version, persistence };
    let known = random.below(2) == 0;
    let length = if known { Length::Known(content.len() as u64) } else { Length::Unknown };

    let mut out = Vec::new();
    let date = Date::new(random.number() % 4_102_444_800);
    let promise = encode_head(&mut out, status, asked, length, &lines, &date);
    put_content(&mut out, promise.transfer, content, &mut random);

    let method = asked.method.map_or("FOO", Method::as_str).as_bytes();
    let shown = || format!("{} for {asked:?}, {length:?}", out.escape_ascii());
    let answer = match response(&out, method, asked.minor_version) {
        Ok(answer) => answer,
        Err(why) => panic!("{why}: {}", shown()),
    };
    assert_eq!(answer.length, out.len(), "bytes behind its end: {}", shown());
    assert_eq!(answer.status, status.as_u16());
    let none = promise.transfer == Transfer::Nothing;
    assert_eq!(answer.body, if none { b"" } else { content }, "{}", shown());
    // What is interim says nothing of the connection, for the answer is still to come.
    assert!(answer.keep == promise.keep || status.is_interim(), "{}", shown());
    only_what_was_given(&answer, &given);
}

/// The lines that were taken, as the encoder and as the reference has them.
fn header_lines(bytes: &[u8]) -> (HeaderLines, Lines) {
    let (mut lines, mut given) = (HeaderLines::new(), Lines::new());
    let mut parts: Vec<&[u8]> = bytes.split(|&byte| byte == 0x1f).collect();
    parts.pop();
    for part in parts {
        let end = part.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        let (name, value) = (&part[..end], part.get(end + 1..).unwrap_or_default());
        let Ok(name) = str::from_utf8(name) else { continue };
        let reserved = ["content-length", "transfer-encoding", "connection"];
        let expected = if !is_token(name.as_bytes()) {
            Err(Error::HeaderName)
        } else if reserved.contains(&&*name.to_ascii_lowercase()) {
            Err(Error::HeaderReserved)
        } else if !is_value(value) {
            Err(Error::HeaderValue)
        } else {
            given.push((name.as_bytes().to_vec(), value.to_vec()));
            Ok(())
        };
        let taken = lines.append(name, value);
        assert_eq!(taken, expected, "{name:?}: {}", value.escape_ascii());
    }
    (lines, given)
}

fn put_content(out: &mut Vec<u8>, transfer: Transfer, content: &[u8], random: &mut Random) {
    match transfer {
        Transfer::Nothing => {}
        Transfer::Length(_) | Transfer::UntilClose => out.extend_from_slice(content),
        Transfer::Chunked => {
            let mut left = content;
            loop {
                let (now, later) = left.split_at(random.below(left.len() + 1));
                let chunk = begin_chunk(out);
                out.extend_from_slice(now);
                end_chunk(out, chunk);
                left = later;
                if left.is_empty() {
                    break;
                }
            }
            out.extend_from_slice(LAST_CHUNK);
        }
    }
}

/// The handler's lines are there in their order, and beside them only what the encoder may add.
fn only_what_was_given(answer: &Answer, given: &Lines) {
    let own = ["date", "content-length", "transfer-encoding", "connection"];
    let has_date = given.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"date"));
    let mut fields = answer.fields.clone();
    let behind = fields.split_off(fields.len() - given.len());
    assert_eq!(&behind, given);
    for (name, _) in fields {
        let name = String::from_utf8(name).expect("the encoder's own").to_ascii_lowercase();
        assert!(own.contains(&&*name) && !(name == "date" && has_date), "{name}");
    }
}
