//! Trailers of a response: fields whose value is known only when the content has been made.
//!
//! The one idea: what must be known before the content (how the message is framed, who may read it,
//! how long it may be kept, what the content is) cannot come after it, so those names are refused
//! here, as they are dropped from a request's (RFC 9110, 6.5.1). Trailers exist in chunked coding
//! alone and go to a client that asks for them (`TE: trailers`, RFC 9110, 10.1.4). Next:
//! `protocol`.

use crate::chunked::NOT_IN_TRAILERS;
use crate::encode::HeaderLines;
use crate::error::Error;
use crate::grammar::{elements, is_token};
use crate::headers::Fields;

/// The trailer fields of one response.
///
/// # Examples
/// ```
/// use squall_http::{Error, Trailers};
///
/// let mut trailers = Trailers::new();
/// trailers.append("X-Checksum", "5eb63bbb")?;
/// assert_eq!(trailers.append("Content-Length", "11"), Err(Error::TrailerName));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    lines: HeaderLines,
}

impl Trailers {
    /// No field.
    pub const fn new() -> Self {
        Self { lines: HeaderLines::new() }
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`Error::TrailerName`] for a field that must be known before the content; else as
    /// [`HeaderLines::append`]. Nothing is added then.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        check_name(name)?;
        self.lines.append(name, value)
    }

    /// The fields, each a line with its CRLF.
    pub fn lines(&self) -> &HeaderLines {
        &self.lines
    }
}

/// `Trailer: ...` for these names.
pub(crate) fn announcement(names: &[&str]) -> Result<HeaderLines, Error> {
    names.iter().try_for_each(|name| check_name(name))?;
    let mut line = HeaderLines::new();
    line.append("Trailer", names.join(", "))?;
    Ok(line)
}

/// Whether a client takes trailers.
pub(crate) fn are_wanted(fields: Fields<'_>) -> bool {
    fields.all("te").flat_map(elements).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn check_name(name: &str) -> Result<(), Error> {
    if !is_token(name.as_bytes()) {
        return Err(Error::HeaderName);
    }
    let mut forbidden = [NOT_IN_TRAILERS, NOT_IN_RESPONSE_TRAILERS]
        .into_iter()
        .flat_map(str::split_ascii_whitespace);
    match forbidden.any(|other| name.eq_ignore_ascii_case(other)) {
        true => Err(Error::TrailerName),
        false => Ok(()),
    }
}

/// What a response must say beforehand besides: whether and how long it may be kept, where to go,
/// and who must say first who he is.
const NOT_IN_RESPONSE_TRAILERS: &str = "\
    Age Date Expires Location Proxy-Authenticate Retry-After Vary Warning WWW-Authenticate";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::HeadParser;
    use crate::limits::Limits;

    // Framing, routing, caching or a cookie that comes after the content has been read differently
    // by everybody between.
    #[test]
    fn rfc9110_6_5_1_what_must_be_known_before_is_refused_as_a_trailer() {
        let mut trailers = Trailers::new();
        for name in ["content-length", "TRANSFER-ENCODING", "Host", "Set-Cookie", "Trailer", "Date"]
        {
            assert_eq!(trailers.append(name, "x"), Err(Error::TrailerName), "{name}");
            assert_eq!(announcement(&["Digest", name]).unwrap_err(), Error::TrailerName, "{name}");
        }
        assert_eq!(trailers.append("X Y", "x"), Err(Error::HeaderName));
        assert_eq!(trailers.append("X", "a\r\n\r\nHTTP/1.1 200 OK"), Err(Error::HeaderValue));
        assert!(trailers.lines().as_bytes().is_empty());
        trailers.append("ETag", "\"1\"").unwrap();
        assert_eq!(trailers.lines().as_bytes(), b"ETag: \"1\"\r\n");
        assert_eq!(announcement(&["ETag", "B"]).unwrap().as_bytes(), b"Trailer: ETag, B\r\n");
        assert_eq!(announcement(&["a, b"]).unwrap_err(), Error::HeaderName);
    }

    #[test]
    fn rfc9110_10_1_4_a_client_takes_trailers_if_an_element_of_te_says_so() {
        let wanted = |fields: &str| {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut parser = HeadParser::new();
            parser.parse(bytes.as_bytes(), &Limits::default()).unwrap();
            are_wanted(parser.head(bytes.as_bytes()).fields())
        };
        assert!(wanted("TE: trailers\r\n"));
        assert!(wanted("te: gzip;q=0.5\r\nTe: , Trailers\r\n"));
        assert!(!wanted("TE: gzip, trailers2\r\n"));
        assert!(!wanted("") && !wanted("Trailer: trailers\r\n"));
    }
}
