//! A whole connection: what one that has all bytes from the first to the FIN makes of them.

use squall_http::framing::{Framing, Persistence};
use squall_http::{Error, Limits};

use super::Lines;
use super::chunked::{ChunkedBody, chunked};
use super::framing::{expectation, framing, persistence};
use super::head::{Head, head};

/// What a connection has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request whose body is all there.
    Request { head: Head, body: Vec<u8>, trailers: Lines, goes_on: bool },
    /// A request with an expectation that nobody meets: 417, and the body is passed over.
    Unmet { head: Head, goes_on: bool },
    /// Something wrong; nothing more is read (RFC 9112, 9.6).
    Refused(Error),
    /// A body that ends too early.
    Cut,
}

/// The events in their order. Nothing follows one after which the connection does not go on.
pub fn connection(bytes: &[u8], limits: &Limits) -> Vec<Event> {
    let mut events = Vec::new();
    let mut at = 0;
    loop {
        let (event, length) = match exchange(&bytes[at..], limits) {
            Ok(None) => return events,
            Ok(Some(both)) => both,
            Err(error) => (Event::Refused(error), 0),
        };
        let goes_on = match &event {
            Event::Request { goes_on, .. } | Event::Unmet { goes_on, .. } => *goes_on,
            Event::Refused(_) | Event::Cut => false,
        };
        events.push(event);
        if !goes_on {
            return events;
        }
        at += length;
    }
}

/// The first exchange and the bytes that it takes; `None` if its head is not all there.
fn exchange(bytes: &[u8], limits: &Limits) -> Result<Option<(Event, usize)>, Error> {
    let Some(head) = head(bytes, limits)? else { return Ok(None) };
    let framing = framing(&head)?;
    let unmet = match expectation(&head, framing) {
        Err(error) if error != Error::ExpectationFailed => return Err(error),
        other => other.is_err(),
    };
    let rest = &bytes[head.length..];
    let whole = |data: Vec<u8>, length| ChunkedBody { data, trailers: Lines::new(), length };
    let body = match framing {
        Framing::None => Some(whole(Vec::new(), 0)),
        Framing::Length(length) if length > limits.max_body_bytes => {
            return Err(Error::BodyTooLarge);
        }
        Framing::Length(length) => {
            rest.get(..length as usize).map(|data| whole(data.to_vec(), data.len()))
        }
        Framing::Chunked => chunked(rest, limits.max_body_bytes, limits)?,
    };
    let Some(ChunkedBody { data, trailers, length }) = body else {
        return Ok(Some((Event::Cut, bytes.len())));
    };
    let goes_on = persistence(&head) != Persistence::Close;
    let taken = head.length + length;
    Ok(Some(match unmet {
        true => (Event::Unmet { head, goes_on }, taken),
        false => (Event::Request { head, body: data, trailers, goes_on }, taken),
    }))
}
