//! What can be wrong with a message, and what is answered to it.
//!
//! The one idea: an error is one byte that knows its status, the section that makes it an error,
//! and whether the connection can go on. Nothing is formatted until somebody prints it. Absent: the
//! offending bytes; they belong to the client, and a log line is the last place for them.
//! Next: `limits`.

use std::fmt;

use crate::status::StatusCode;

/// One row an error: its name, the status that answers it, the section, and what is wrong in words.
macro_rules! errors {
    ($($name:ident $status:ident $section:literal $message:literal,)*) => {
        /// A message that is not taken, or not sent.
        ///
        /// # Examples
        /// ```
        /// use squall_http::{Error, Limits, StatusCode, head::HeadParser};
        ///
        /// let bare = HeadParser::new().parse(b"GET / HTTP/1.1\n\n", &Limits::default());
        /// assert_eq!(bare, Err(Error::BareLf));
        /// assert_eq!(Error::BareLf.status(), StatusCode::BAD_REQUEST);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Error {
            $(
                #[doc = concat!("`", stringify!($status), "`: ", $message, " (", $section, ").")]
                $name,
            )*
        }

        impl Error {
            const fn facts(self) -> (StatusCode, &'static str, &'static str) {
                match self {
                    $(Error::$name => (StatusCode::$status, $section, $message),)*
                }
            }
        }
    };
}

errors! {
    // head: request line
    EmptyLines BAD_REQUEST "RFC 9112, 2.2" "too many empty lines before the request line",
    BareLf BAD_REQUEST "RFC 9112, 2.2" "a line ends in LF alone",
    BareCr BAD_REQUEST "RFC 9112, 2.2" "a CR without LF",
    MethodSyntax BAD_REQUEST "RFC 9110, 9.1" "the method is not a token and one space",
    TargetByte BAD_REQUEST "RFC 9112, 3.2" "a byte that is not allowed in the request target",
    TargetTooLong URI_TOO_LONG "RFC 9112, 3" "the request target is too long",
    VersionSyntax BAD_REQUEST "RFC 9112, 2.3" "the HTTP version is missing or malformed",
    VersionUnsupported HTTP_VERSION_NOT_SUPPORTED "RFC 9110, 15.6.6"
        "only HTTP/1.0 and HTTP/1.1 are spoken here",
    TargetForm BAD_REQUEST "RFC 9112, 3.2" "the request target has no form that fits the method",
    TargetAuthority BAD_REQUEST "RFC 9110, 4.2"
        "the authority in the request target is not host and port",
    Misdirected MISDIRECTED_REQUEST "RFC 9110, 7.4" "an https target on a plain connection",
    // head: fields
    HostMissing BAD_REQUEST "RFC 9112, 3.2" "Host is missing",
    HostRepeated BAD_REQUEST "RFC 9112, 3.2" "Host is given more than once",
    HostSyntax BAD_REQUEST "RFC 9112, 3.2" "the value of Host is not host and port",
    LeadingSpace BAD_REQUEST "RFC 9112, 2.2" "white space before the first field",
    ObsoleteFold BAD_REQUEST "RFC 9112, 5.2" "a field is folded over two lines",
    SpaceBeforeColon BAD_REQUEST "RFC 9112, 5.1" "white space between field name and colon",
    FieldName BAD_REQUEST "RFC 9110, 5.1"
        "a field name is empty or not a token, or its colon is missing",
    FieldValue BAD_REQUEST "RFC 9110, 5.5" "a control byte in a field value",
    HeadTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "RFC 9110, 5.4" "the request head is too large",
    TooManyFields REQUEST_HEADER_FIELDS_TOO_LARGE "RFC 9110, 5.4"
        "the request head has too many fields",
    HeadTimeout REQUEST_TIMEOUT "RFC 9110, 15.5.9" "the request head took too long",
    // framing and expectations
    LengthAndCoding BAD_REQUEST "RFC 9112, 6.1" "both Content-Length and Transfer-Encoding",
    CodingInHttp10 BAD_REQUEST "RFC 9112, 6.1" "Transfer-Encoding in HTTP/1.0",
    CodingSyntax BAD_REQUEST "RFC 9112, 6.3" "Transfer-Encoding does not end in a single chunked",
    CodingUnsupported NOT_IMPLEMENTED "RFC 9112, 6.1" "a transfer coding other than chunked",
    LengthSyntax BAD_REQUEST "RFC 9112, 6.3" "the value of Content-Length is not a decimal number",
    LengthRepeated BAD_REQUEST "RFC 9112, 6.3" "Content-Length is given more than once",
    BodyTooLarge CONTENT_TOO_LARGE "RFC 9110, 15.5.14" "the request body is too large",
    ExpectationFailed EXPECTATION_FAILED "RFC 9110, 10.1.1"
        "an expectation other than 100-continue",
    // chunked bodies
    ChunkSize BAD_REQUEST "RFC 9112, 7.1" "a chunk size is not a hexadecimal number",
    ChunkExtension BAD_REQUEST "RFC 9112, 7.1.1" "a malformed chunk extension",
    ChunkLineTooLong BAD_REQUEST "RFC 9112, 7.1.1" "the line of a chunk size is too long",
    ChunkExtensionsTooLong BAD_REQUEST "RFC 9112, 7.1.1" "too many bytes of chunk extensions",
    ChunkEnd BAD_REQUEST "RFC 9112, 7.1" "no CRLF after the data of a chunk",
    TrailersTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "RFC 9110, 5.4"
        "the trailer section is too large",
    BodyTimeout REQUEST_TIMEOUT "RFC 9110, 15.5.9" "the request body came too slowly",
    BodyIncomplete BAD_REQUEST "RFC 9112, 8" "the connection ended before the body",
    // responses
    HeaderName INTERNAL_SERVER_ERROR "RFC 9110, 5.1" "a response header name is not a token",
    HeaderValue INTERNAL_SERVER_ERROR "RFC 9110, 5.5" "a control byte in a response header value",
    HeaderReserved INTERNAL_SERVER_ERROR "RFC 9112, 6"
        "a response header that the server writes itself",
    TrailerName INTERNAL_SERVER_ERROR "RFC 9110, 6.5.1"
        "a field that must be known before the content, as a trailer",
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
