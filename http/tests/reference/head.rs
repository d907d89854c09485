//! Request heads by the grammar of RFC 9112, sections 2 to 5.

use squall_http::{Error, Limits};

use super::{Input, Lines, Read, Stop, count, is_tchar, is_value_byte, trimmed, wrong};

/// A request head, every part a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes from the first empty line before it to the one that ends it.
    pub length: usize,
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    /// Whom it is for: the target's authority, else Host, if it is not empty.
    pub host: Option<Vec<u8>>,
    pub minor: u8,
    pub fields: Lines,
}

/// `*CRLF start-line CRLF *( field-line CRLF ) CRLF` (RFC 9112, 2.1 and 2.2), `None` if it is not
/// all there.
pub fn head(bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Error> {
    let max = limits.max_head_bytes.min(Limits::MAX_HEAD_BYTES);
    let mut input = Input::new(&bytes[..bytes.len().min(max)]);
    match read(&mut input, limits) {
        Ok(head) => Ok(Some(head)),
        Err(Stop::Wrong(error)) => Err(error),
        // What fills the room and is no head yet will not become one.
        Err(Stop::More) if bytes.len() >= max => Err(Error::HeadTooLarge),
        Err(Stop::More) => Ok(None),
    }
}

fn read(input: &mut Input<'_>, limits: &Limits) -> Read<Head> {
    empty_lines(input, limits.max_empty_lines)?;
    let method = method(input)?;
    let target = request_target(input, limits.max_target_bytes)?;
    let minor = version_and_line_end(input)?;
    let resource = resource(&method, &target).map_err(Stop::Wrong)?;
    let fields = fields(input, limits.max_fields, Error::TooManyFields)?;
    let named = host(&fields, minor).map_err(Stop::Wrong)?;
    let Resource { authority, path, query } = resource;
    let host = authority.or(named);
    Ok(Head { length: input.at, method, target, path, query, host, minor, fields })
}

fn empty_lines(input: &mut Input<'_>, max: usize) -> Read<()> {
    for line in 0.. {
        if input.peek()? != b'\r' {
            break;
        }
        if line == max {
            return wrong(Error::EmptyLines);
        }
        input.take()?;
        input.expect(b'\n', Error::BareCr)?;
    }
    Ok(())
}

/// `method = token`, and the SP behind it.
fn method(input: &mut Input<'_>) -> Read<Vec<u8>> {
    let mut method = Vec::new();
    loop {
        match input.take()? {
            byte if is_tchar(byte) => method.push(byte),
            b' ' if !method.is_empty() => return Ok(method),
            b'\n' => return wrong(Error::BareLf),
            _ => return wrong(Error::MethodSyntax),
        }
    }
}

/// What may stand in a target: the URI characters, and those that browsers send raw (RFC 3986, 2;
/// docs/rfc9112.md), and the SP behind it.
fn request_target(input: &mut Input<'_>, max: usize) -> Read<Vec<u8>> {
    let mut target = Vec::new();
    loop {
        match input.take()? {
            b' ' if !target.is_empty() => return Ok(target),
            b'\r' if !target.is_empty() => return wrong(Error::VersionSyntax),
            b'\n' => return wrong(Error::BareLf),
            b'"' | b'#' | b'<' | b'>' => return wrong(Error::TargetByte),
            byte @ 0x21..=0x7e => target.push(byte),
            _ => return wrong(Error::TargetByte),
        }
        if target.len() > max {
            return wrong(Error::TargetTooLong);
        }
    }
}

/// `HTTP-version = "HTTP" "/" DIGIT "." DIGIT` (RFC 9112, 2.3), and CRLF.
fn version_and_line_end(input: &mut Input<'_>) -> Read<u8> {
    let literal = |input: &mut Input<'_>, expected: u8| match input.take()? {
        byte if byte == expected => Ok(()),
        b'\n' => wrong(Error::BareLf),
        _ => wrong(Error::VersionSyntax),
    };
    let digit = |input: &mut Input<'_>| match input.take()? {
        byte if byte.is_ascii_digit() => Ok(byte - b'0'),
        b'\n' => wrong(Error::BareLf),
        _ => wrong(Error::VersionSyntax),
    };
    for &byte in b"HTTP/" {
        literal(input, byte)?;
    }
    let major = digit(input)?;
    literal(input, b'.')?;
    let minor = digit(input)?;
    literal(input, b'\r')?;
    input.expect(b'\n', Error::BareCr)?;
    if major == 1 { Ok(minor) } else { wrong(Error::VersionUnsupported) }
}

/// `*( field-line CRLF ) CRLF`, where `field-line = field-name ":" OWS field-value OWS`.
pub fn fields(input: &mut Input<'_>, max: usize, too_many: Error) -> Read<Lines> {
    let mut lines = Lines::new();
    loop {
        match input.peek()? {
            b'\r' => {
                input.take()?;
                input.expect(b'\n', Error::BareCr)?;
                return Ok(lines);
            }
            b'\n' => return wrong(Error::BareLf),
            b' ' | b'\t' if lines.is_empty() => return wrong(Error::LeadingSpace),
            b' ' | b'\t' => return wrong(Error::ObsoleteFold),
            _ if lines.len() == max => return wrong(too_many),
            _ => {}
        }
        let name = field_name(input)?;
        lines.push((name, field_value(input)?));
    }
}

/// `field-name = token`, and its colon.
fn field_name(input: &mut Input<'_>) -> Read<Vec<u8>> {
    let mut name = Vec::new();
    loop {
        match input.take()? {
            byte if is_tchar(byte) => name.push(byte),
            b':' if !name.is_empty() => return Ok(name),
            b'\n' => return wrong(Error::BareLf),
            b' ' | b'\t' => return wrong(Error::SpaceBeforeColon),
            _ => return wrong(Error::FieldName),
        }
    }
}

/// `OWS field-value OWS`, and CRLF.
fn field_value(input: &mut Input<'_>) -> Read<Vec<u8>> {
    let mut value = Vec::new();
    loop {
        match input.take()? {
            b'\r' => break,
            b'\n' => return wrong(Error::BareLf),
            byte if is_value_byte(byte) => value.push(byte),
            _ => return wrong(Error::FieldValue),
        }
    }
    input.expect(b'\n', Error::BareCr)?;
    Ok(trimmed(&value).to_vec())
}

/// The value of Host: one in HTTP/1.1, at most one in 1.0, empty or an authority (RFC 9112, 3.2).
fn host(fields: &Lines, minor: u8) -> Result<Option<Vec<u8>>, Error> {
    let value = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    match (count(fields, "host"), value) {
        (2.., _) => Err(Error::HostRepeated),
        (1, Some((_, value))) if value.is_empty() => Ok(None),
        (1, Some((_, value))) if authority(value).is_some() => Ok(Some(value.clone())),
        (1, _) => Err(Error::HostSyntax),
        (0, _) if minor == 0 => Ok(None),
        (0, _) => Err(Error::HostMissing),
    }
}

struct Resource {
    authority: Option<Vec<u8>>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
}

/// `request-target = origin-form / absolute-form / authority-form / asterisk-form`, each with its
/// methods (RFC 9112, 3.2.1 to 3.2.4).
fn resource(method: &[u8], target: &[u8]) -> Result<Resource, Error> {
    let none = Resource { authority: None, path: Vec::new(), query: None };
    if method == b"CONNECT" {
        return match authority(target) {
            Some((_, Some(port))) if !port.is_empty() => {
                Ok(Resource { authority: Some(target.to_vec()), ..none })
            }
            _ => Err(Error::TargetAuthority),
        };
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(Resource { path: b"*".to_vec(), ..none });
    }
    if target.starts_with(b"/") {
        let (path, query) = path_and_query(target);
        return Ok(Resource { path, query, ..none });
    }
    let lower = target.to_ascii_lowercase();
    if lower.starts_with(b"https://") {
        return Err(Error::Misdirected);
    }
    if !lower.starts_with(b"http://") {
        return Err(Error::TargetForm);
    }
    let rest = &target["http://".len()..];
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    let (named, rest) = rest.split_at(end);
    if authority(named).is_none() {
        return Err(Error::TargetAuthority);
    }
    let (path, query) = path_and_query(rest);
    // An empty path is `/` (RFC 9110, 4.2.3), and for OPTIONS without a query `*` (9112, 3.2.4).
    let path = match (&path[..], &query) {
        (b"", None) if method == b"OPTIONS" => b"*".to_vec(),
        (b"", _) => b"/".to_vec(),
        _ => path,
    };
    Ok(Resource { authority: Some(named.to_vec()), path, query })
}

fn path_and_query(target: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?').map(<[u8]>::to_vec);
    (parts.next().unwrap_or_default(), parts.next())
}

/// `uri-host [ ":" port ]`, the host not empty (RFC 9110, 4.2.1): host, and port if there is one.
pub fn authority(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = match bytes.first()? {
        b'[' => bytes.iter().position(|&byte| byte == b']')? + 1,
        _ => bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len()),
    };
    let (host, rest) = bytes.split_at(end);
    let is_host = match host {
        [b'[', literal @ .., b']'] => {
            str::from_utf8(literal).is_ok_and(|text| is_ipv6(text) || is_ip_future(text))
        }
        name => is_reg_name(name),
    };
    let port = match rest {
        [] => None,
        [b':', port @ ..] if is_port(port) => Some(port),
        _ => return None,
    };
    is_host.then_some((host, port))
}

/// `port = *DIGIT` (RFC 3986, 3.2.3), of at most 16 bits (RFC 9293, 3.1).
fn is_port(port: &[u8]) -> bool {
    let digits = str::from_utf8(port).unwrap_or("x").trim_start_matches('0');
    port.iter().all(u8::is_ascii_digit) && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// `reg-name = 1*( unreserved / pct-encoded / sub-delims )` (RFC 3986, 3.2.2)
fn is_reg_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        let hex = |place: usize| name.get(place).is_some_and(u8::is_ascii_hexdigit);
        at += match name[at] {
            b'%' if hex(at + 1) && hex(at + 2) => 3,
            byte if is_unreserved_or_sub_delim(byte) => 1,
            _ => return false,
        };
    }
    !name.is_empty()
}

fn is_unreserved_or_sub_delim(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// `IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )`
fn is_ip_future(text: &str) -> bool {
    let Some((version, rest)) = text.split_once('.') else { return false };
    let version = version.strip_prefix(['v', 'V']).unwrap_or_default();
    !version.is_empty()
        && version.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte == b':' || is_unreserved_or_sub_delim(byte))
}

/// `IPv6address`: eight groups, of which one `::` stands for one or more.
fn is_ipv6(text: &str) -> bool {
    match text.split_once("::") {
        None => groups(text, true) == Some(8),
        Some((left, right)) => match (groups(left, false), groups(right, true)) {
            (Some(left), Some(right)) => left + right <= 7,
            _ => false,
        },
    }
}

/// How many groups of 16 bits; an IPv4 address in the last place is two.
fn groups(text: &str, may_end_in_ipv4: bool) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    let parts: Vec<&str> = text.split(':').collect();
    let mut count = 0;
    for (place, part) in parts.iter().enumerate() {
        count += match part {
            _ if is_h16(part) => 1,
            _ if may_end_in_ipv4 && place + 1 == parts.len() && is_ipv4(part) => 2,
            _ => return None,
        };
    }
    Some(count)
}

/// `h16 = 1*4HEXDIG`
fn is_h16(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `IPv4address = dec-octet "." dec-octet "." dec-octet "." dec-octet`
fn is_ipv4(text: &str) -> bool {
    let is_octet = |octet: &str| {
        octet.bytes().all(|byte| byte.is_ascii_digit())
            && (octet == "0" || !octet.starts_with('0'))
            && octet.len() <= 3
            && octet.parse::<u8>().is_ok()
    };
    text.split('.').count() == 4 && text.split('.').all(is_octet)
}
