//! The four forms of a request target, and which method may have which.
//!
//! The one idea: the form is decided once, while the request line is read, so that nobody asks
//! later what a target without a leading `/` might mean. Absent: decoding of `%41`, and removal of
//! `..`; both belong to whoever maps a path to something. Next: `head`.

use crate::error::Error;
use crate::grammar::split_authority;
use crate::method::Method;

/// How a target is written (RFC 9112, 3.2).
///
/// # Examples
/// ```
/// use squall_http::{Limits, TargetForm, head::HeadParser};
///
/// let bytes = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
/// let mut parser = HeadParser::new();
/// parser.parse(bytes, &Limits::default())?;
/// assert_eq!(parser.head(bytes).form(), TargetForm::Asterisk);
/// # Ok::<(), squall_http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/where?q=now`
    Origin,
    /// `http://www.example.org/pub/WWW/`; Host is then ignored.
    Absolute,
    /// `www.example.com:80`, with CONNECT alone. The answer is 501.
    Authority,
    /// `*`, with OPTIONS alone.
    Asterisk,
}

/// What a target says, as offsets into it. The authority ends where the path begins.
pub(crate) struct Form {
    pub(crate) form: TargetForm,
    pub(crate) authority: usize,
    pub(crate) path: usize,
}

/// `request-target = origin-form / absolute-form / authority-form / asterisk-form` (RFC 9112, 3.2),
/// each only with the methods that may have it.
#[inline(always)]
pub(crate) fn read_form(method: Option<Method>, target: &[u8]) -> Result<Form, Error> {
    if target[0] == b'/' && method != Some(Method::Connect) {
        return Ok(Form { form: TargetForm::Origin, authority: 0, path: 0 });
    }
    read_rare_form(method, target)
}

#[cold]
fn read_rare_form(method: Option<Method>, target: &[u8]) -> Result<Form, Error> {
    match (method, target) {
        (Some(Method::Connect), _) => read_authority_form(target),
        (Some(Method::Options), b"*") => {
            Ok(Form { form: TargetForm::Asterisk, authority: 0, path: 0 })
        }
        _ => read_absolute_form(target),
    }
}

/// `authority-form = uri-host ":" port`, the port neither empty nor bad (RFC 9110, 9.3.6).
fn read_authority_form(target: &[u8]) -> Result<Form, Error> {
    match split_authority(target) {
        Some((_, Some(port))) if !port.is_empty() => {
            Ok(Form { form: TargetForm::Authority, authority: 0, path: target.len() })
        }
        _ => Err(Error::TargetAuthority),
    }
}

/// `http-URI = "http" "://" authority path-abempty [ "?" query ]` (RFC 9110, 4.2.1), the scheme in
/// any case.
fn read_absolute_form(target: &[u8]) -> Result<Form, Error> {
    let has_scheme = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if has_scheme(b"https://") {
        return Err(Error::Misdirected);
    }
    if !has_scheme(b"http://") {
        return Err(Error::TargetForm);
    }
    let authority = b"http://".len();
    let rest = &target[authority..];
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    match split_authority(&rest[..len]) {
        Some(_) => Ok(Form { form: TargetForm::Absolute, authority, path: authority + len }),
        None => Err(Error::TargetAuthority),
    }
}
