//! What can be wrong with a message, and what is answered to it.
//!
//! The one idea: an error is one byte that knows its status, the section that makes it an error,
//! and whether the connection can go on. Nothing is formatted until somebody prints it. Absent: the
//! offending bytes; they belong to the client, and a log line is the last place for them.
//! Next: `limits`.

use std::fmt;

use crate::status::StatusCode;

/// A message that is not taken, or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    // head: request line
    /// More empty lines before the request line than the limit allows.
    EmptyLines,
    /// A line feed without its carriage return.
    BareLf,
    /// A carriage return without its line feed.
    BareCr,
    /// The method is not a token followed by one space.
    MethodSyntax,
    /// The target is empty or has a byte that no target may have.
    TargetByte,
    /// The target is longer than the limit.
    TargetTooLong,
    /// What follows the target is not `HTTP/` digit `.` digit and the line's end.
    VersionSyntax,
    /// A well-formed version with another major number than 1.
    VersionUnsupported,
    /// The target has none of the four forms, or not the one its method needs.
    TargetForm,
    /// The target's authority has no host, userinfo, or a bad host or port.
    TargetAuthority,
    /// An `https` target on a connection without TLS.
    Misdirected,
    // head: fields
    /// HTTP/1.1 without Host.
    HostMissing,
    /// More than one Host line.
    HostRepeated,
    /// The value of Host is not `uri-host [":" port]`.
    HostSyntax,
    /// White space begins the line after the request line.
    LeadingSpace,
    /// A field is continued on a second line.
    ObsoleteFold,
    /// White space in or after a field's name.
    SpaceBeforeColon,
    /// A field's name is empty, is not a token, or has no colon after it.
    FieldName,
    /// A control byte in a field's value.
    FieldValue,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The head has more field lines than the limit.
    TooManyFields,
    /// The head was begun but did not end in time.
    HeadTimeout,
    // framing and expectations
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndCoding,
    /// Transfer-Encoding in an HTTP/1.0 message.
    CodingInHttp10,
    /// The last transfer coding is not `chunked`, or `chunked` stands there twice.
    CodingSyntax,
    /// A transfer coding besides `chunked`.
    CodingUnsupported,
    /// The value of Content-Length is not digits alone.
    LengthSyntax,
    /// Content-Length on more than one line.
    LengthRepeated,
    /// The body is longer than the limit.
    BodyTooLarge,
    /// An expectation other than `100-continue`.
    ExpectationFailed,
    // chunked bodies
    /// A chunk's size is not one to sixteen hexadecimal digits.
    ChunkSize,
    /// A chunk extension outside of the grammar.
    ChunkExtension,
    /// The line of a chunk's size is longer than the limit.
    ChunkLineTooLong,
    /// The chunk extensions of one body are longer than the limit.
    ChunkExtensionsTooLong,
    /// No CRLF where a chunk's data end.
    ChunkEnd,
    /// The trailers are larger, or more, than the limit.
    TrailersTooLarge,
    /// The connection ended before the body did.
    BodyIncomplete,
    // responses
    /// A response header's name is not a token.
    HeaderName,
    /// A response header's value has a control byte, or white space at an end.
    HeaderValue,
    /// Content-Length, Transfer-Encoding or Connection set by hand.
    HeaderReserved,
}

impl Error {
    /// The status that answers it.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Error, StatusCode};
    ///
    /// let error = Error::TargetTooLong;
    /// assert_eq!(error.status(), StatusCode::URI_TOO_LONG);
    /// assert_eq!(error.section(), "RFC 9112, 3");
    /// assert_eq!(error.to_string(), "the request target is too long (RFC 9112, 3)");
    /// ```
    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// The section that is broken, or that allows the refusal.
    pub const fn section(self) -> &'static str {
        self.facts().1
    }

    /// What is wrong, in one line.
    pub const fn message(self) -> &'static str {
        self.facts().2
    }

    /// Whether the end of the message is in no doubt, so that the connection can be kept once the
    /// body is read. It holds for a refused expectation alone (RFC 9112, 6.3 and 9.6).
    pub const fn keeps_connection(self) -> bool {
        matches!(self, Error::ExpectationFailed)
    }

    /// The table: status, section, message.
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use Error::*;
        use StatusCode as S;
        match self {
            EmptyLines => {
                (S::BAD_REQUEST, "RFC 9112, 2.2", "too many empty lines before the request line")
            }
            BareLf => (S::BAD_REQUEST, "RFC 9112, 2.2", "a line ends in LF alone"),
            BareCr => (S::BAD_REQUEST, "RFC 9112, 2.2", "a CR without LF"),
            MethodSyntax => {
                (S::BAD_REQUEST, "RFC 9110, 9.1", "the method is not a token and one space")
            }
            TargetByte => (
                S::BAD_REQUEST,
                "RFC 9112, 3.2",
                "a byte that is not allowed in the request target",
            ),
            TargetTooLong => (S::URI_TOO_LONG, "RFC 9112, 3", "the request target is too long"),
            VersionSyntax => {
                (S::BAD_REQUEST, "RFC 9112, 2.3", "the HTTP version is missing or malformed")
            }
            VersionUnsupported => (
                S::HTTP_VERSION_NOT_SUPPORTED,
                "RFC 9110, 15.6.6",
                "only HTTP/1.0 and HTTP/1.1 are spoken here",
            ),
            TargetForm => (
                S::BAD_REQUEST,
                "RFC 9112, 3.2",
                "the request target has no form that fits the method",
            ),
            TargetAuthority => (
                S::BAD_REQUEST,
                "RFC 9110, 4.2",
                "the authority in the request target is not host and port",
            ),
            Misdirected => {
                (S::MISDIRECTED_REQUEST, "RFC 9110, 7.4", "an https target on a plain connection")
            }
            HostMissing => (S::BAD_REQUEST, "RFC 9112, 3.2", "Host is missing"),
            HostRepeated => (S::BAD_REQUEST, "RFC 9112, 3.2", "Host is given more than once"),
            HostSyntax => {
                (S::BAD_REQUEST, "RFC 9112, 3.2", "the value of Host is not host and port")
            }
            LeadingSpace => (S::BAD_REQUEST, "RFC 9112, 2.2", "white space before the first field"),
            ObsoleteFold => (S::BAD_REQUEST, "RFC 9112, 5.2", "a field is folded over two lines"),
            SpaceBeforeColon => {
                (S::BAD_REQUEST, "RFC 9112, 5.1", "white space between field name and colon")
            }
            FieldName => (
                S::BAD_REQUEST,
                "RFC 9110, 5.1",
                "a field name is empty or not a token, or its colon is missing",
            ),
            FieldValue => (S::BAD_REQUEST, "RFC 9110, 5.5", "a control byte in a field value"),
            HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "RFC 9110, 5.4",
                "the request head is too large",
            ),
            TooManyFields => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "RFC 9110, 5.4",
                "the request head has too many fields",
            ),
            HeadTimeout => {
                (S::REQUEST_TIMEOUT, "RFC 9110, 15.5.9", "the request head took too long")
            }
            LengthAndCoding => {
                (S::BAD_REQUEST, "RFC 9112, 6.1", "both Content-Length and Transfer-Encoding")
            }
            CodingInHttp10 => (S::BAD_REQUEST, "RFC 9112, 6.1", "Transfer-Encoding in HTTP/1.0"),
            CodingSyntax => (
                S::BAD_REQUEST,
                "RFC 9112, 6.3",
                "Transfer-Encoding does not end in a single chunked",
            ),
            CodingUnsupported => {
                (S::NOT_IMPLEMENTED, "RFC 9112, 6.1", "a transfer coding other than chunked")
            }
            LengthSyntax => (
                S::BAD_REQUEST,
                "RFC 9112, 6.3",
                "the value of Content-Length is not a decimal number",
            ),
            LengthRepeated => {
                (S::BAD_REQUEST, "RFC 9112, 6.3", "Content-Length is given more than once")
            }
            BodyTooLarge => {
                (S::CONTENT_TOO_LARGE, "RFC 9110, 15.5.14", "the request body is too large")
            }
            ExpectationFailed => (
                S::EXPECTATION_FAILED,
                "RFC 9110, 10.1.1",
                "an expectation other than 100-continue",
            ),
            ChunkSize => {
                (S::BAD_REQUEST, "RFC 9112, 7.1", "a chunk size is not a hexadecimal number")
            }
            ChunkExtension => (S::BAD_REQUEST, "RFC 9112, 7.1.1", "a malformed chunk extension"),
            ChunkLineTooLong => {
                (S::BAD_REQUEST, "RFC 9112, 7.1.1", "the line of a chunk size is too long")
            }
            ChunkExtensionsTooLong => {
                (S::BAD_REQUEST, "RFC 9112, 7.1.1", "too many bytes of chunk extensions")
            }
            ChunkEnd => (S::BAD_REQUEST, "RFC 9112, 7.1", "no CRLF after the data of a chunk"),
            TrailersTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "RFC 9110, 5.4",
                "the trailer section is too large",
            ),
            BodyIncomplete => {
                (S::BAD_REQUEST, "RFC 9112, 8", "the connection ended before the body")
            }
            HeaderName => {
                (S::INTERNAL_SERVER_ERROR, "RFC 9110, 5.1", "a response header name is not a token")
            }
            HeaderValue => (
                S::INTERNAL_SERVER_ERROR,
                "RFC 9110, 5.5",
                "a control byte in a response header value",
            ),
            HeaderReserved => (
                S::INTERNAL_SERVER_ERROR,
                "RFC 9112, 6",
                "a response header that the server writes itself",
            ),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.section())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    // `Result<Option<usize>, Error>` is what the parser returns for every request.
    #[test]
    fn an_error_takes_one_byte_and_prints_as_one_line() {
        assert_eq!(size_of::<Error>(), 1);
        let line = Error::ObsoleteFold.to_string();
        assert_eq!(line, "a field is folded over two lines (RFC 9112, 5.2)");
        assert!(Error::ExpectationFailed.keeps_connection());
        assert!(!Error::BodyTooLarge.keeps_connection());
    }
}
