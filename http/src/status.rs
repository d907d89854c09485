//! Status codes with their reason phrases and, ready to copy, their status lines.
//!
//! The one idea: a status is a number that a client must only understand by its first digit
//! (RFC 9110, 15), so any number from 100 to 599 may be sent, and the common ones cost one copy.
//! Absent: reason phrases of the handler's own; nobody reads them, and they can split a response.
//! Next: `error`.

use std::fmt;

/// A status code from 100 to 599.
///
/// # Examples
/// ```
/// use squall_http::StatusCode;
///
/// assert_eq!(StatusCode::NOT_FOUND.to_string(), "404 Not Found");
/// assert!(StatusCode::new(599).is_some_and(StatusCode::is_error));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// A status code, `None` outside of 100 to 599 (RFC 9110, 15: the rest is invalid).
    ///
    /// # Examples
    /// ```
    /// use squall_http::StatusCode;
    ///
    /// assert_eq!(StatusCode::new(404), Some(StatusCode::NOT_FOUND));
    /// assert_eq!(StatusCode::new(600), None);
    /// assert_eq!(StatusCode::NOT_FOUND.reason(), "Not Found");
    /// ```
    pub const fn new(code: u16) -> Option<StatusCode> {
        if code >= 100 && code <= 599 { Some(StatusCode(code)) } else { None }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the response is interim (1xx): more responses to the same request follow.
    pub const fn is_interim(self) -> bool {
        self.0 < 200
    }

    /// Whether it tells of an error (4xx, 5xx).
    pub const fn is_error(self) -> bool {
        self.0 >= 400
    }

    /// Whether a response with it never has content, whatever the method: 1xx, 204, 304
    /// (RFC 9112, 6.3) and 205, which must not be given any (RFC 9110, 15.3.6).
    pub const fn is_without_content(self) -> bool {
        self.0 < 200 || matches!(self.0, 204 | 205 | 304)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

/// One row a status: the constant, the phrase and the status line come from the same place.
macro_rules! statuses {
    ($($code:literal $name:ident $reason:literal,)*) => {
        impl StatusCode {
            $(
                #[doc = concat!("`", $code, " ", $reason, "`")]
                pub const $name: StatusCode = StatusCode($code);
            )*

            /// The reason phrase of RFC 9110, empty for a number that has none.
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }

            /// The whole status line with its CRLF, `None` for a number that has no phrase.
            pub(crate) const fn line(self) -> Option<&'static [u8]> {
                match self.0 {
                    $($code => Some(concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n").as_bytes()),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    100 CONTINUE "Continue",
    101 SWITCHING_PROTOCOLS "Switching Protocols",
    103 EARLY_HINTS "Early Hints",
    200 OK "OK",
    201 CREATED "Created",
    202 ACCEPTED "Accepted",
    203 NON_AUTHORITATIVE_INFORMATION "Non-Authoritative Information",
    204 NO_CONTENT "No Content",
    205 RESET_CONTENT "Reset Content",
    206 PARTIAL_CONTENT "Partial Content",
    300 MULTIPLE_CHOICES "Multiple Choices",
    301 MOVED_PERMANENTLY "Moved Permanently",
    302 FOUND "Found",
    303 SEE_OTHER "See Other",
    304 NOT_MODIFIED "Not Modified",
    307 TEMPORARY_REDIRECT "Temporary Redirect",
    308 PERMANENT_REDIRECT "Permanent Redirect",
    400 BAD_REQUEST "Bad Request",
    401 UNAUTHORIZED "Unauthorized",
    402 PAYMENT_REQUIRED "Payment Required",
    403 FORBIDDEN "Forbidden",
    404 NOT_FOUND "Not Found",
    405 METHOD_NOT_ALLOWED "Method Not Allowed",
    406 NOT_ACCEPTABLE "Not Acceptable",
    407 PROXY_AUTHENTICATION_REQUIRED "Proxy Authentication Required",
    408 REQUEST_TIMEOUT "Request Timeout",
    409 CONFLICT "Conflict",
    410 GONE "Gone",
    411 LENGTH_REQUIRED "Length Required",
    412 PRECONDITION_FAILED "Precondition Failed",
    413 CONTENT_TOO_LARGE "Content Too Large",
    414 URI_TOO_LONG "URI Too Long",
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type",
    416 RANGE_NOT_SATISFIABLE "Range Not Satisfiable",
    417 EXPECTATION_FAILED "Expectation Failed",
    421 MISDIRECTED_REQUEST "Misdirected Request",
    422 UNPROCESSABLE_CONTENT "Unprocessable Content",
    426 UPGRADE_REQUIRED "Upgrade Required",
    428 PRECONDITION_REQUIRED "Precondition Required",
    429 TOO_MANY_REQUESTS "Too Many Requests",
    431 REQUEST_HEADER_FIELDS_TOO_LARGE "Request Header Fields Too Large",
    500 INTERNAL_SERVER_ERROR "Internal Server Error",
    501 NOT_IMPLEMENTED "Not Implemented",
    502 BAD_GATEWAY "Bad Gateway",
    503 SERVICE_UNAVAILABLE "Service Unavailable",
    504 GATEWAY_TIMEOUT "Gateway Timeout",
    505 HTTP_VERSION_NOT_SUPPORTED "HTTP Version Not Supported",
}

#[cfg(test)]
mod tests {
    use super::*;

    // A phrase or line of another number would tell the client something else than the code does.
    #[test]
    fn rfc9110_15_the_line_of_a_status_has_its_number_and_phrase() {
        for code in 100..600 {
            let status = StatusCode::new(code).expect("100 to 599 are codes");
            if let Some(line) = status.line() {
                let expected = format!("HTTP/1.1 {code} {}\r\n", status.reason());
                assert_eq!(line, expected.as_bytes());
            } else {
                assert_eq!(status.reason(), "");
            }
        }
        assert_eq!(StatusCode::new(99), None);
        assert_eq!(StatusCode::new(600), None);
    }

    // Content after one of these is read as the next response.
    #[test]
    fn rfc9112_6_3_1xx_204_205_and_304_have_no_content() {
        let without: Vec<u16> = (100..600)
            .filter(|&code| StatusCode(code).is_without_content() && code >= 200)
            .collect();
        assert_eq!(without, [204, 205, 304]);
        assert!(StatusCode::CONTINUE.is_without_content());
    }
}
