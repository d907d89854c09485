//! What a head says of its body and of the connection, by the words of RFC 9112, 6.3 and 9.3.

use squall_http::Error;
use squall_http::framing::{Expectation, Framing, Persistence};

use super::head::Head;
use super::{count, is_token, list, trimmed};

/// How the body ends, by the numbered items of RFC 9112, 6.3.
pub fn framing(head: &Head) -> Result<Framing, Error> {
    let codings = count(&head.fields, "transfer-encoding");
    let lengths: Vec<&[u8]> = head
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))
        .map(|(_, value)| &value[..])
        .collect();
    match (codings, &lengths[..]) {
        // 6.1: a server that is asked so MUST close; HTTP/1.0 did not know the field.
        (1.., _) if head.minor == 0 => Err(Error::CodingInHttp10),
        // Item 3: an attempt at smuggling "ought to be handled as an error".
        (1.., [_, ..]) => Err(Error::LengthAndCoding),
        (1.., []) => transfer_codings(&list(&head.fields, "transfer-encoding")), // item 4
        (0, []) => Ok(Framing::None),                                            // item 7
        (0, [length]) => content_length(length),                                 // item 6
        (0, _) => Err(Error::LengthRepeated),                                    // item 5
    }
}

/// `Transfer-Encoding = #transfer-coding`, `transfer-coding = token *( OWS ";" OWS parameter )`.
/// A comma ends a coding also between quotes: what has parameters is refused either way.
fn transfer_codings(codings: &[Vec<u8>]) -> Result<Framing, Error> {
    let name = |coding: &[u8]| {
        let end = coding.iter().position(|&byte| byte == b';').unwrap_or(coding.len());
        trimmed(&coding[..end]).to_ascii_lowercase()
    };
    let names: Vec<Vec<u8>> = codings.iter().map(|coding| name(coding)).collect();
    let chunked = names.iter().filter(|name| *name == b"chunked").count();
    let ends_in_chunked = codings.last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    if !names.iter().all(|name| is_token(name)) || chunked != 1 || !ends_in_chunked {
        return Err(Error::CodingSyntax);
    }
    if names.len() > 1 { Err(Error::CodingUnsupported) } else { Ok(Framing::Chunked) }
}

/// `Content-Length = 1*DIGIT` (RFC 9110, 8.6)
fn content_length(value: &[u8]) -> Result<Framing, Error> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Error::LengthSyntax);
    }
    let text = str::from_utf8(value).expect("digits are ASCII").trim_start_matches('0');
    match text.parse::<u128>() {
        Err(_) if text.is_empty() => Ok(Framing::None),
        Ok(length) if length <= u128::from(u64::MAX) => Ok(Framing::Length(length as u64)),
        _ => Err(Error::BodyTooLarge),
    }
}

/// Whether the connection goes on (RFC 9112, 9.3).
pub fn persistence(head: &Head) -> Persistence {
    let options = list(&head.fields, "connection");
    let has = |name: &str| options.iter().any(|o| o.eq_ignore_ascii_case(name.as_bytes()));
    match head.minor {
        _ if has("close") => Persistence::Close,
        1.. => Persistence::Keep,
        0 if has("keep-alive") => Persistence::KeepAndSay,
        0 => Persistence::Close,
    }
}

/// What the client waits for (RFC 9110, 10.1.1).
pub fn expectation(head: &Head, framing: Framing) -> Result<Expectation, Error> {
    let expected = list(&head.fields, "expect");
    if expected.iter().any(|one| !one.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Error::ExpectationFailed);
    }
    let waits = !expected.is_empty() && framing != Framing::None && head.minor > 0;
    Ok(if waits { Expectation::Continue } else { Expectation::None })
}
