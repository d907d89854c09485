//! What a request head says about its body and about the connection after it.
use crate::error::Error;
use crate::head::RequestHead;

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, never 0.
    Length(u64),
    /// Chunks up to one of size 0.
    Chunked,
}

impl Framing {
    /// Refuses a length above the route's limit with [`Error::BodyTooLarge`].
    pub fn within(self, max_body_bytes: u64) -> Result<Framing, Error> {
        let _ = max_body_bytes;
        Ok(self)
    }
}

/// Decides how the body is framed (RFC 9112, 6.3).
pub fn framing(head: &RequestHead<'_>) -> Result<Framing, Error> {
    let _ = head;
    Ok(Framing::None)
}

/// Whether the client lets the connection go on after this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Close after the response.
    Close,
    /// Keep it; nothing need be said (HTTP/1.1).
    Keep,
    /// Keep it if the response's length is known, and say so (HTTP/1.0 with `keep-alive`).
    KeepAndSay,
}

/// Decides on the connection (RFC 9112, 9.3 and 9.6).
pub fn persistence(head: &RequestHead<'_>) -> Persistence {
    let _ = head;
    Persistence::Keep
}

/// What the client expects before it sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// A `100 Continue` or a final status, unless its body is here already.
    Continue,
}

/// Reads Expect (RFC 9110, 10.1.1).
pub fn expectation(head: &RequestHead<'_>, framing: Framing) -> Result<Expectation, Error> {
    let _ = (head, framing);
    Ok(Expectation::None)
}
