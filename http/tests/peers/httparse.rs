//! httparse: the peer for heads and for the line of a chunk's size.

use httparse::{EMPTY_HEADER, Request, Status, parse_chunk_size};

use super::{End, Seen, Story, sorted};

/// The first head of the bytes, as a request without a body.
pub fn head(bytes: &[u8]) -> Story {
    let mut fields = [EMPTY_HEADER; 100];
    let mut request = Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(Status::Partial) => Story { requests: Vec::new(), end: End::Quiet },
        Err(error) => Story { requests: Vec::new(), end: End::Refused(error.to_string()) },
        Ok(Status::Complete(_)) => {
            let seen = Seen {
                method: request.method.unwrap_or_default().as_bytes().to_vec(),
                target: request.path.unwrap_or_default().as_bytes().to_vec(),
                minor: request.version.unwrap_or_default(),
                fields: sorted(request.headers.iter().map(|f| (f.name.as_bytes(), f.value))),
                body: Vec::new(),
            };
            Story { requests: vec![seen], end: End::Quiet }
        }
    }
}

/// The first line of a chunk's size.
pub fn chunk_size(bytes: &[u8]) -> Story {
    match parse_chunk_size(bytes) {
        Ok(Status::Complete((length, size))) => {
            Story { requests: vec![Seen::chunk(length, size)], end: End::Quiet }
        }
        Ok(Status::Partial) => Story { requests: Vec::new(), end: End::Quiet },
        Err(error) => Story { requests: Vec::new(), end: End::Refused(error.to_string()) },
    }
}
