//! Request methods: the eight of RFC 9110, section 9, and PATCH (RFC 5789).
//!
//! The one idea: a method is compared as bytes, with its case, so `get` is not GET (RFC 9110,
//! 9.1). What is not in the list has no value here; the head keeps its bytes, and the answer to it
//! is 501. Absent: extension methods and their registry. Next: `status`.

use std::fmt;

/// A method that Squall knows.
///
/// # Examples
/// ```
/// use squall_http::Method;
///
/// assert_eq!(Method::from_bytes(b"PATCH"), Some(Method::Patch));
/// assert_eq!(Method::Patch.to_string(), "PATCH");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Transfer a representation of the target.
    Get,
    /// As GET, without the content.
    Head,
    /// Process the content in the target's own way.
    Post,
    /// Replace the target by the content.
    Put,
    /// Remove the target.
    Delete,
    /// Make a tunnel; the only method with an authority as its target. Squall answers 501.
    Connect,
    /// Ask what can be done with the target.
    Options,
    /// Loop the request back. Squall never does: it would echo cookies.
    Trace,
    /// Change the target in part.
    Patch,
}

impl Method {
    /// The method of these bytes, `None` if it is not one of the nine.
    ///
    /// # Examples
    /// ```
    /// use squall_http::Method;
    ///
    /// assert_eq!(Method::from_bytes(b"GET"), Some(Method::Get));
    /// assert_eq!(Method::from_bytes(b"get"), None); // case counts
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Option<Method> {
        Some(match bytes {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => return None,
        })
    }

    /// The method as it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A method that is matched without its case is served where RFC 9110, 9.1 wants 501.
    #[test]
    fn rfc9110_9_1_a_method_is_its_bytes_with_their_case() {
        use Method::*;
        for method in [Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch] {
            let name = method.as_str();
            assert_eq!(Method::from_bytes(name.as_bytes()), Some(method));
            assert_eq!(Method::from_bytes(name.to_ascii_lowercase().as_bytes()), None);
            assert_eq!(Method::from_bytes(&name.as_bytes()[1..]), None);
        }
    }
}
