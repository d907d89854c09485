//! Squall's pure functions, told as the other implementations are.

use squall_http::chunked::ChunkDecoder;
use squall_http::{Error, Limits};

use super::{Seen, sorted};
use crate::properties::connection::serve;
use crate::properties::head::in_parts;
use crate::reference::connection::Event;
use crate::reference::head::Head;

/// What came behind the last request that was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing, or the beginning of a request.
    Quiet,
    Refused(Error),
    /// The last request asked for the connection's end.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    pub requests: Vec<Seen>,
    pub ending: Ending,
}

pub fn story(bytes: &[u8]) -> Story {
    let (mut requests, mut ending) = (Vec::new(), Ending::Quiet);
    for event in serve(bytes, &Limits::default()) {
        match event {
            Event::Request { head, body, goes_on, .. } => {
                requests.push(seen(head, body));
                ending = if goes_on { Ending::Quiet } else { Ending::Closed };
            }
            // What follows is not compared.
            Event::Unmet { .. } => {
                return Story { requests, ending: Ending::Refused(Error::ExpectationFailed) };
            }
            Event::Refused(error) => ending = Ending::Refused(error),
            Event::Cut => ending = Ending::Quiet,
        }
    }
    Story { requests, ending }
}

/// The first head of the bytes, as a request without a body.
pub fn head(bytes: &[u8]) -> Story {
    let (requests, ending) = match in_parts(bytes, &[], &Limits::default()) {
        Ok(None) => (Vec::new(), Ending::Quiet),
        Err(error) => (Vec::new(), Ending::Refused(error)),
        Ok(Some(head)) => (vec![seen(head, Vec::new())], Ending::Quiet),
    };
    Story { requests, ending }
}

/// The first line of a chunk's size.
pub fn chunk_size(bytes: &[u8]) -> Story {
    let mut decoder = ChunkDecoder::new();
    let line = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |lf| lf + 1);
    match decoder.decode(&bytes[..line], u64::MAX, &Limits::default()) {
        Err(error) => Story { requests: Vec::new(), ending: Ending::Refused(error) },
        Ok(_) if bytes[..line].ends_with(b"\n") => {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit());
            let digits: String = digits.map(|&byte| char::from(byte)).collect();
            let size = u64::from_str_radix(&digits, 16).expect("the decoder has taken it");
            Story { requests: vec![Seen::chunk(line, size)], ending: Ending::Quiet }
        }
        Ok(_) => Story { requests: Vec::new(), ending: Ending::Quiet },
    }
}

fn seen(head: Head, body: Vec<u8>) -> Seen {
    let fields = sorted(head.fields.iter().map(|(name, value)| (&name[..], &value[..])));
    Seen { method: head.method, target: head.target, minor: head.minor, fields, body }
}
