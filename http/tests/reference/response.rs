//! Responses as a client reads them, that takes nothing but what RFC 9112 says a server must send.

use squall_http::{Error, Limits};

use super::chunked::{ChunkedBody, chunked};
use super::head::fields;
use super::{Input, Lines, Stop, count, is_value, list};

/// A response that is all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Lines,
    pub body: Vec<u8>,
    /// Whether the connection goes on behind it, as its head says.
    pub keep: bool,
    /// Bytes from the status line to the body's last.
    pub length: usize,
}

/// The first response in `bytes`, given to a request of this method and minor version. What the
/// connection ends, ends with `bytes`.
pub fn response(bytes: &[u8], method: &[u8], minor: u8) -> Result<Answer, String> {
    let mut input = Input::new(bytes);
    let status = status_line(&mut input).map_err(|stop| format!("status line: {stop:?}"))?;
    let fields = fields(&mut input, usize::MAX, Error::TooManyFields)
        .map_err(|stop| format!("fields: {stop:?}"))?;
    if let Some((_, value)) = fields.iter().find(|(_, value)| !is_value(value)) {
        return Err(format!("the value {}", value.escape_ascii()));
    }
    let has =
        |name: &str| list(&fields, "connection").iter().any(|o| o.as_slice() == name.as_bytes());
    let (rest, lengths) = (input.rest(), count(&fields, "content-length"));
    let codings = list(&fields, "transfer-encoding");
    if lengths + codings.len() > 1 {
        return Err("its end is told twice".to_owned());
    }
    if (status < 200 || status == 204) && lengths + codings.len() > 0 {
        return Err("a length where none may be told (RFC 9110, 8.6; RFC 9112, 6.1)".to_owned());
    }
    let length = list(&fields, "content-length").first().map(|value| {
        str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok()).ok_or("a length")
    });
    let mut ends_by_close = false;
    let (body, used) = if method == b"HEAD" || status < 200 || matches!(status, 204 | 304) {
        (Vec::new(), 0)
    } else if let [coding] = &codings[..] {
        if minor == 0 || coding != b"chunked" {
            return Err("a coding that the client has not been told to know".to_owned());
        }
        let limits = Limits::default();
        match chunked(rest, u64::MAX, &limits).map_err(|error| error.to_string())? {
            Some(ChunkedBody { data, length, .. }) => (data, length),
            None => return Err("the chunks have no end".to_owned()),
        }
    } else if let Some(length) = length {
        let length = length?;
        (rest.get(..length).ok_or("the body is short")?.to_vec(), length)
    } else {
        ends_by_close = true;
        (rest.to_vec(), rest.len())
    };
    // Without `keep-alive` a client of 1.0 expects the close, and one of 1.1 expects none.
    let keep = !has("close") && (minor > 0 || has("keep-alive"));
    if ends_by_close && keep {
        return Err("neither the head nor the connection ends the body".to_owned());
    }
    Ok(Answer { status, fields, body, keep, length: input.at + used })
}

/// `status-line = HTTP-version SP status-code SP [ reason-phrase ] CRLF` (RFC 9112, 4).
fn status_line(input: &mut Input<'_>) -> Result<u16, Stop> {
    for &byte in b"HTTP/1.1 " {
        input.expect(byte, Error::VersionSyntax)?;
    }
    let mut status = 0;
    for _ in 0..3 {
        match input.take()? {
            digit @ b'0'..=b'9' => status = status * 10 + u16::from(digit - b'0'),
            _ => return Err(Stop::Wrong(Error::VersionSyntax)),
        }
    }
    input.expect(b' ', Error::VersionSyntax)?;
    loop {
        match input.take()? {
            b'\r' => break,
            b'\t' | b' '..=b'~' | 0x80..=0xff => {}
            _ => return Err(Stop::Wrong(Error::FieldValue)),
        }
    }
    input.expect(b'\n', Error::BareCr)?;
    Ok(status)
}
