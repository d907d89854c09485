//! Other implementations, each behind one function: what it makes of the bytes of a connection.

// Each binary compiles this folder and uses a part of it.
#![allow(dead_code)]

pub mod classes;
pub mod httparse;
pub mod hyper;
pub mod llhttp;
pub mod squall;

use crate::reference::Lines;

/// A request as an implementation has understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub minor: u8,
    /// As [`sorted`] has them.
    pub fields: Lines,
    pub body: Vec<u8>,
}

/// What came behind the last request that was whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing, or the beginning of a request.
    Quiet,
    /// Something that was refused, with the reason in the implementation's own words.
    Refused(String),
}

/// All that an implementation says of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    pub requests: Vec<Seen>,
    pub end: End,
}

/// Names in lower case, sorted; lines of one name stay in their order. hyper keeps no other.
pub fn sorted<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Lines {
    let mut lines: Lines =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    lines
}

impl Seen {
    /// The line of a chunk's size, so that it can be compared like a request.
    pub fn chunk(line_bytes: usize, size: u64) -> Seen {
        let target = format!("size {size} in a line of {line_bytes} bytes").into_bytes();
        Seen { method: b"CHUNK".to_vec(), target, minor: 1, fields: Lines::new(), body: Vec::new() }
    }
}
