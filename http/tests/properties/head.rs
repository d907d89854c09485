//! Heads: one outcome for all splits, that of the reference.

use squall_http::framing::{self, Framing};
use squall_http::head::{HeadParser, RequestHead};
use squall_http::{Error, Limits};

use super::Conditions;
use crate::reference::head::Head;
use crate::reference::{self, Lines};

/// Reads a head in one piece, in parts, and by the reference.
pub fn head(conditions: Conditions, bytes: &[u8]) {
    let limits = conditions.limits();
    let expected = reference::head::head(bytes, &limits);
    let shown = || format!("{} under {conditions:?}", bytes.escape_ascii());
    assert_eq!(in_parts(bytes, &[], &limits), expected, "in one piece: {}", shown());
    let cuts = conditions.cuts(bytes.len());
    assert_eq!(in_parts(bytes, &cuts, &limits), expected, "cut at {cuts:?}: {}", shown());
    if let Ok(Some(head)) = expected {
        within(&head, &limits);
        // Its last byte ends it, and what follows has no say.
        let short = in_parts(&bytes[..head.length - 1], &[], &limits);
        assert_eq!(short, Ok(None), "one byte less: {}", shown());
        let alone = in_parts(&bytes[..head.length], &[], &limits);
        assert_eq!(alone, Ok(Some(head)), "alone: {}", shown());
    }
}

/// What a head says of its body, by the crate and by the reference.
pub fn framing(conditions: Conditions, bytes: &[u8]) {
    let limits = conditions.limits();
    let mut parser = HeadParser::new();
    let Ok(Some(length)) = parser.parse(bytes, &limits) else { return };
    let view = parser.head(&bytes[..length]);
    let head = copy(&view, length);
    let shown = || bytes[..length].escape_ascii().to_string();
    let fast = framing::framing(&view);
    assert_eq!(fast, reference::framing::framing(&head), "{}", shown());
    assert_eq!(
        framing::persistence(&view),
        reference::framing::persistence(&head),
        "persistence of {}",
        shown()
    );
    let framed = fast.unwrap_or(Framing::None);
    assert_eq!(
        framing::expectation(&view, framed),
        reference::framing::expectation(&head, framed),
        "expectation of {}",
        shown()
    );
}

/// Parses after each cut, as if only the bytes before it had come, and at last the whole.
pub fn in_parts(bytes: &[u8], cuts: &[usize], limits: &Limits) -> Result<Option<Head>, Error> {
    let mut parser = HeadParser::new();
    for &cut in cuts.iter().chain([&bytes.len()]) {
        if let Some(length) = parser.parse(&bytes[..cut], limits)? {
            return Ok(Some(copy(&parser.head(&bytes[..length]), length)));
        }
    }
    Ok(None)
}

/// A head as the reference has it.
pub fn copy(head: &RequestHead<'_>, length: usize) -> Head {
    Head {
        length,
        method: head.method_bytes().to_vec(),
        target: head.target().to_vec(),
        path: head.path().to_vec(),
        query: head.query().map(<[u8]>::to_vec),
        host: head.host().map(<[u8]>::to_vec),
        minor: head.minor_version(),
        fields: lines(head.fields().iter()),
    }
}

pub fn lines<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Lines {
    fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn within(head: &Head, limits: &Limits) {
    assert!(head.length <= limits.max_head_bytes);
    assert!(head.target.len() <= limits.max_target_bytes);
    assert!(head.fields.len() <= limits.max_fields);
}
