//! Conversions from and to the types of the `http` crate, for code that is written against those.
//!
//! The one idea: nothing changes its meaning on the way. What the other side has no value for is a
//! typed error, and the three fields that frame a message stay the server's: a Content-Length that
//! is right is left out, anything else that would frame the message is refused. Absent: a
//! [`Request`] from an `http::Request`, since a request is lent from its connection's buffer. With
//! the feature `http`, which is off by default.

use std::borrow::Cow;
use std::fmt;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, request, response};

use crate::content::Content;
use crate::encode::HeaderLines;
use crate::error::Error;
use crate::headers::Fields;
use crate::method::Method;
use crate::request::Request;
use crate::response::Response;
use crate::status::StatusCode;

/// Why a value has no counterpart on the other side.
///
/// # Examples
/// ```
/// use squall_http::{Method, convert::ConvertError};
///
/// let purge = http::Method::from_bytes(b"PURGE")?;
/// assert_eq!(Method::try_from(&purge), Err(ConvertError::Method));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertError {
    /// An extension method: Squall knows nine.
    Method,
    /// A status from 600 to 999: RFC 9110, 15 calls it invalid.
    Status,
    /// A target that `http::Uri` does not take; Squall takes some bytes that browsers send raw.
    Target,
    /// A header line that `http` does not take: too many lines, or a very long name.
    Header,
    /// A header line that Squall does not take, and why.
    Line(Error),
    /// A Content-Length that is not the content's.
    Length,
    /// The content is made as it is sent, so there is no value of it.
    Streamed,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "an extension method has no counterpart",
            Self::Status => "a status over 599 has no counterpart",
            Self::Target => "the request target is no http::Uri",
            Self::Header => "a header line fits no http::HeaderMap",
            Self::Line(error) => return error.fmt(f),
            Self::Length => "Content-Length is not the content's length",
            Self::Streamed => "the content is made as it is sent",
        })
    }
}

impl std::error::Error for ConvertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Line(error) => Some(error),
            _ => None,
        }
    }
}

/// What a handler answers where a conversion fails.
impl From<ConvertError> for Response {
    fn from(error: ConvertError) -> Self {
        let status = match error {
            ConvertError::Target => StatusCode::BAD_REQUEST,
            ConvertError::Header => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Response::error(status, &error.to_string())
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Head => Self::HEAD,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Delete => Self::DELETE,
            Method::Connect => Self::CONNECT,
            Method::Options => Self::OPTIONS,
            Method::Trace => Self::TRACE,
            Method::Patch => Self::PATCH,
        }
    }
}

impl TryFrom<&http::Method> for Method {
    type Error = ConvertError;

    fn try_from(method: &http::Method) -> Result<Self, ConvertError> {
        Method::from_bytes(method.as_str().as_bytes()).ok_or(ConvertError::Method)
    }
}

impl From<StatusCode> for http::StatusCode {
    fn from(status: StatusCode) -> Self {
        Self::from_u16(status.as_u16()).expect("100 to 599 are within http's 100 to 999")
    }
}

impl TryFrom<http::StatusCode> for StatusCode {
    type Error = ConvertError;

    fn try_from(status: http::StatusCode) -> Result<Self, ConvertError> {
        StatusCode::new(status.as_u16()).ok_or(ConvertError::Status)
    }
}

/// All lines in their order; names lose their case.
impl TryFrom<Fields<'_>> for HeaderMap {
    type Error = ConvertError;

    fn try_from(fields: Fields<'_>) -> Result<Self, ConvertError> {
        let mut map = HeaderMap::with_capacity(fields.len());
        for (name, value) in fields.iter() {
            append(&mut map, name, value)?;
        }
        Ok(map)
    }
}

/// All lines, as [`Response::lines`] has them.
impl TryFrom<&HeaderLines> for HeaderMap {
    type Error = ConvertError;

    fn try_from(lines: &HeaderLines) -> Result<Self, ConvertError> {
        let mut map = HeaderMap::new();
        for line in lines.as_bytes().split_inclusive(|&byte| byte == b'\n') {
            let colon = line.iter().position(|&byte| byte == b':').ok_or(ConvertError::Header)?;
            append(&mut map, &line[..colon], line[colon + 1..].trim_ascii())?;
        }
        Ok(map)
    }
}

/// All lines, names in lower case. Content-Length, Transfer-Encoding and Connection are refused, as
/// [`HeaderLines::append`] has it.
impl TryFrom<&HeaderMap> for HeaderLines {
    type Error = ConvertError;

    fn try_from(map: &HeaderMap) -> Result<Self, ConvertError> {
        let mut lines = HeaderLines::new();
        for (name, value) in map {
            // The other side allows white space at a value's ends, where it means nothing.
            let value = value.as_bytes().trim_ascii();
            lines.append(name.as_str(), value).map_err(ConvertError::Line)?;
        }
        Ok(lines)
    }
}

/// The head, copied. The body stays where it is: see [`Request::body`].
///
/// # Examples
/// ```
/// use squall_http::{Request, Response};
///
/// async fn handler(request: &mut Request<'_>) -> Response {
///     let parts = match http::request::Parts::try_from(&*request) {
///         Ok(parts) => parts,
///         Err(error) => return error.into(),
///     };
///     Response::text(format!("{} {}\n", parts.method, parts.uri))
/// }
/// # let _ = squall_http::Server::new(handler);
/// ```
impl TryFrom<&Request<'_>> for request::Parts {
    type Error = ConvertError;

    fn try_from(request: &Request<'_>) -> Result<Self, ConvertError> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = request.method().into();
        parts.uri = Uri::try_from(request.head().target()).map_err(|_| ConvertError::Target)?;
        parts.version = match request.minor_version() {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        parts.headers = request.headers().try_into()?;
        Ok(parts)
    }
}

impl Response {
    /// The same content with status and header lines of an `http` response's head, in place of those
    /// it has; a Content-Type stands for that of the content. So streamed content gets a head.
    ///
    /// # Errors
    /// [`ConvertError::Status`]; [`ConvertError::Length`] for a Content-Length that is not the
    /// content's; [`ConvertError::Line`] for Transfer-Encoding and Connection.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Response, convert::ConvertError};
    ///
    /// let (mut parts, ()) = http::Response::new(()).into_parts();
    /// parts.headers.insert("content-type", "text/csv".parse().unwrap());
    /// let lines = (0..1000).map(|n| format!("{n},{}\n", n * n));
    /// let response = Response::pieces("text/plain", lines).with_parts(parts)?;
    /// assert!(response.lines().contains("content-type"));
    /// # Ok::<(), ConvertError>(())
    /// ```
    pub fn with_parts(mut self, mut parts: response::Parts) -> Result<Self, ConvertError> {
        let length = self.content.length();
        // Compared as text: `parse` would take `+4`.
        let right = length.map(|length| length.to_string()).unwrap_or_default();
        if parts.headers.get_all(CONTENT_LENGTH).iter().any(|said| said != right.as_str()) {
            return Err(ConvertError::Length);
        }
        parts.headers.remove(CONTENT_LENGTH);
        if parts.headers.contains_key(CONTENT_TYPE) {
            self.content_type = None;
        }
        self.lines = (&parts.headers).try_into()?;
        self.status = parts.status.try_into()?;
        Ok(self)
    }
}

/// Content that is there whole: `Vec<u8>`, `&'static [u8]`, `Cow`. For content that is made as it is
/// sent see [`Response::with_parts`].
///
/// # Examples
/// ```
/// use squall_http::{Request, Response};
///
/// async fn handler(_: &mut Request<'_>) -> Response {
///     let teapot = http::Response::builder().status(418).header("x-tea", "green");
///     let answer = teapot.body(b"short and stout\n".to_vec()).expect("it is well-formed");
///     Response::try_from(answer).unwrap_or_else(Response::from)
/// }
/// # let _ = squall_http::Server::new(handler);
/// ```
impl<B: Into<Cow<'static, [u8]>>> TryFrom<http::Response<B>> for Response {
    type Error = ConvertError;

    fn try_from(response: http::Response<B>) -> Result<Self, ConvertError> {
        let (parts, body) = response.into_parts();
        let mut response = Response::new(StatusCode::OK);
        response.content = Content::Bytes(body.into());
        response.with_parts(parts)
    }
}

/// Content that is there whole; [`ConvertError::Streamed`] for what is made as it is sent.
impl TryFrom<Response> for http::Response<Cow<'static, [u8]>> {
    type Error = ConvertError;

    fn try_from(response: Response) -> Result<Self, ConvertError> {
        let Response { status, content_type, lines, content, .. } = response;
        let Content::Bytes(bytes) = content else { return Err(ConvertError::Streamed) };
        let mut response = http::Response::new(bytes);
        *response.status_mut() = status.into();
        let map = response.headers_mut();
        *map = (&lines).try_into()?;
        if let Some(media_type) = content_type.and_then(|text| HeaderValue::try_from(text).ok()) {
            map.insert(CONTENT_TYPE, media_type);
        }
        debug_assert!([CONNECTION, TRANSFER_ENCODING].iter().all(|name| !map.contains_key(name)));
        Ok(response)
    }
}

fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), ConvertError> {
    let name = HeaderName::from_bytes(name).map_err(|_| ConvertError::Header)?;
    let value = HeaderValue::from_bytes(value).map_err(|_| ConvertError::Header)?;
    map.try_append(name, value).map_err(|_| ConvertError::Header)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::HeadParser;
    use crate::limits::Limits;

    #[test]
    fn a_method_and_a_status_come_back_as_they_were() {
        use Method::*;
        for method in [Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch] {
            let other = http::Method::from(method);
            assert_eq!((other.as_str(), Method::try_from(&other)), (method.as_str(), Ok(method)));
        }
        let lower = http::Method::from_bytes(b"get").unwrap();
        assert_eq!(Method::try_from(&lower), Err(ConvertError::Method), "case counts");
        for code in 100..600 {
            let status = StatusCode::new(code).unwrap();
            assert_eq!(StatusCode::try_from(http::StatusCode::from(status)), Ok(status));
        }
        let odd = http::StatusCode::from_u16(600).unwrap();
        assert_eq!(StatusCode::try_from(odd), Err(ConvertError::Status));
    }

    // A map that joins or drops one of two lines tells another story than the client.
    #[test]
    fn every_line_of_a_head_is_in_the_map_in_its_order_with_its_bytes() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nB: \xff\r\nx-a:\t2 \r\nE:\r\n\r\n";
        let mut parser = HeadParser::new();
        parser.parse(bytes, &Limits::default()).unwrap();
        let map = HeaderMap::try_from(parser.head(bytes).fields()).unwrap();
        assert_eq!(map.len(), 5);
        let all: Vec<&[u8]> = map.get_all("X-A").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(all, [b"1", b"2"]);
        assert_eq!((map["b"].as_bytes(), map["e"].as_bytes()), (&b"\xff"[..], &b""[..]));
    }

    #[test]
    fn lines_come_back_as_they_were() {
        let mut lines = HeaderLines::new();
        lines.append("set-cookie", "a=1").unwrap();
        lines.append("set-cookie", "b: 2").unwrap();
        lines.append("x-empty", "").unwrap();
        let map = HeaderMap::try_from(&lines).unwrap();
        assert_eq!(HeaderLines::try_from(&map).unwrap().as_bytes(), lines.as_bytes());
    }

    // Who may frame a message twice can smuggle: the framing fields never come through.
    #[test]
    fn rfc9112_6_3_no_framing_field_comes_through() {
        let response = |name: &str, value: &str| {
            let built = http::Response::builder().header(name, value).body(b"four".to_vec());
            Response::try_from(built.unwrap())
        };
        let right = response("content-length", "4").unwrap();
        assert!(right.lines().as_bytes().is_empty());
        for wrong in ["5", "+4", "04", "4, 4", ""] {
            assert_eq!(response("Content-Length", wrong).unwrap_err(), ConvertError::Length);
        }
        let reserved = ConvertError::Line(Error::HeaderReserved);
        assert_eq!(response("transfer-encoding", "chunked").unwrap_err(), reserved);
        assert_eq!(response("connection", "close").unwrap_err(), reserved);
    }

    #[test]
    fn a_response_there_and_back_keeps_status_type_lines_and_content() {
        let response = Response::text("tea\n").status(StatusCode::new(418).unwrap());
        let response = response.header("x-tea", "green").unwrap();
        let other = http::Response::<Cow<'static, [u8]>>::try_from(response).unwrap();
        assert_eq!((other.status().as_u16(), &other.body()[..]), (418, &b"tea\n"[..]));
        assert_eq!(other.headers()["content-type"], "text/plain; charset=utf-8");
        let back = Response::try_from(other).unwrap();
        assert_eq!(back.status.as_u16(), 418);
        assert!(back.lines().contains("Content-Type") && back.lines().contains("X-Tea"));
        assert!(back.content_type.is_none(), "the type would stand twice");
        let streamed = Response::pieces("text/plain", ["a"]);
        let refused = http::Response::<Cow<'static, [u8]>>::try_from(streamed);
        assert_eq!(refused.unwrap_err(), ConvertError::Streamed);
    }

    #[test]
    fn each_error_says_in_one_line_what_is_wrong() {
        use ConvertError::*;
        for error in [Method, Status, Target, Header, Line(Error::HeaderName), Length, Streamed] {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{error:?}");
        }
    }
}
