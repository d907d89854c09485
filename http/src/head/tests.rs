//! The rows of docs/rfc9112.md for a head, each in one piece, in parts and by the twin.

use self::twin::twin;
use super::*;
use crate::status::StatusCode;

mod twin;

/// A head as owned values, or what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    length: usize,
    method: Vec<u8>,
    target: Vec<u8>,
    minor: u8,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

type Outcome = Result<Option<Plain>, Error>;

fn plain(head: &RequestHead<'_>, length: usize) -> Plain {
    Plain {
        length,
        method: head.method_bytes().to_vec(),
        target: head.target().to_vec(),
        minor: head.minor_version(),
        fields: head.fields().iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
    }
}

/// Parses after each cut, as if only the bytes before it had come, and at last the whole.
fn parse_in_parts(bytes: &[u8], cuts: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut parser = HeadParser::new();
    for cut in cuts.chain([bytes.len()]) {
        if let Some(length) = parser.parse(&bytes[..cut], limits)? {
            return Ok(Some(plain(&parser.head(&bytes[..length]), length)));
        }
    }
    Ok(None)
}

/// The outcome, which must be the same in one piece and byte by byte.
fn parse_with(bytes: &[u8], limits: &Limits) -> Outcome {
    let whole = parse_in_parts(bytes, std::iter::empty(), limits);
    let step = 1 + bytes.len() / 2000; // byte by byte, unless that takes too long
    let byte_by_byte = parse_in_parts(bytes, (0..bytes.len()).step_by(step), limits);
    assert_eq!(whole, byte_by_byte, "{}", bytes.escape_ascii());
    assert_eq!(whole, twin(bytes, limits), "{}", bytes.escape_ascii());
    whole
}

fn parse(bytes: impl AsRef<[u8]>) -> Outcome {
    parse_with(bytes.as_ref(), &Limits::default())
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, error: Error) {
    let bytes = bytes.as_ref();
    assert_eq!(parse(bytes), Err(error), "{}", bytes.escape_ascii());
}

#[track_caller]
fn served(bytes: impl AsRef<[u8]>) -> Plain {
    let bytes = bytes.as_ref();
    match parse(bytes) {
        Ok(Some(head)) => head,
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

/// A head around a target.
fn to(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A head around field lines.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

/// Path, query and host of a head that is served.
#[track_caller]
fn resource(bytes: &str) -> (String, Option<String>, Option<String>) {
    served(bytes);
    let mut parser = HeadParser::new();
    let length = parser.parse(bytes.as_bytes(), &Limits::default());
    let length = length.expect("it is valid").expect("it is whole");
    let head = parser.head(&bytes.as_bytes()[..length]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(head.path()), head.query().map(text), head.host().map(text))
}

fn parts(
    path: &str,
    query: Option<&str>,
    host: Option<&str>,
) -> (String, Option<String>, Option<String>) {
    (path.to_owned(), query.map(str::to_owned), host.map(str::to_owned))
}

// ---- request line ----

// Without a bound a connection lives on empty lines for ever; without any leave, old clients break.
#[test]
fn rfc9112_2_2_eight_empty_lines_are_skipped_and_nine_are_400() {
    let head = to("/");
    for lines in 0..=8 {
        assert_eq!(served("\r\n".repeat(lines) + &head).length, 2 * lines + head.len());
    }
    refused("\r\n".repeat(9) + &head, Error::EmptyLines);
    refused("\r\n".repeat(8) + "\r", Error::EmptyLines); // at once
}

#[test]
fn rfc9112_2_2_nothing_else_may_stand_before_the_request_line() {
    refused("\n".to_owned() + &to("/"), Error::BareLf);
    refused(" ".to_owned() + &to("/"), Error::MethodSyntax);
    refused("\t".to_owned() + &to("/"), Error::MethodSyntax);
    refused("\r\r\n".to_owned() + &to("/"), Error::BareCr);
    refused("\r\n\n".to_owned() + &to("/"), Error::BareLf);
}

// hyper, nginx and Go take it. A parser that seeks CRLFCRLF first waits here until its timeout.
#[test]
fn rfc9112_2_2_a_bare_lf_is_400_at_once() {
    refused("GET / HTTP/1.1\n", Error::BareLf);
    refused("GET /\n", Error::BareLf);
    refused("GET\n", Error::BareLf);
    refused("GET \n", Error::BareLf);
    refused("GET / HTTP/1.1\r\n\n", Error::BareLf);
    refused("GET / HTTP/1.1\r\nHost: h\n", Error::BareLf);
    refused("GET / HTTP/1.1\r\nHost: \n", Error::BareLf);
    refused("GET / HTTP/1.1\r\nHost\n", Error::BareLf);
    refused("GET / HTTP/1.1\r\nHost: h\r\n\n", Error::BareLf);
    refused("GET / HTTP/1.1\r\nHost: a long value in front of it\nX: y", Error::BareLf);
}

// CVE-2023-30589: a CR that ended a field.
#[test]
fn rfc9112_2_2_a_bare_cr_is_400() {
    refused("GET / HTTP/1.1\rH", Error::BareCr);
    refused("GET / HTTP/1.1\r\r\n", Error::BareCr);
    refused("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", Error::BareCr);
    refused("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", Error::BareCr);
    refused("GET / HTTP/1.1\r\nHost: h\r\n\rX", Error::BareCr);
    refused("GET /\r/ HTTP/1.1\r\n", Error::VersionSyntax);
    refused("GET \r", Error::TargetByte);
    refused("G\rET / HTTP/1.1\r\n", Error::MethodSyntax);
    refused("GET / HTTP/1.1\r\nHo\rst: h", Error::FieldName);
}

#[test]
fn rfc9112_3_only_single_spaces_divide_the_request_line() {
    refused("GET  / HTTP/1.1\r\n", Error::TargetByte);
    refused("GET /  HTTP/1.1\r\n", Error::VersionSyntax);
    refused("GET / HTTP/1.1 \r\n", Error::VersionSyntax);
    refused("GET / HTTP/1.1\t\r\n", Error::VersionSyntax);
    for space in ["\t", "\x0b", "\x0c"] {
        refused(format!("GET{space}/ HTTP/1.1\r\n"), Error::MethodSyntax);
        refused(format!("GET /{space}HTTP/1.1\r\n"), Error::TargetByte);
        refused(format!("GET {space}/ HTTP/1.1\r\n"), Error::TargetByte);
        refused(format!("GET / {space}HTTP/1.1\r\n"), Error::VersionSyntax);
    }
}

#[test]
fn rfc9110_9_1_a_method_that_is_no_token_is_400() {
    for method in ["", "G(T", "G/T", "\u{e9}", "GET,", "\"GET\"", "G\0T", "GET:"] {
        refused(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n"), Error::MethodSyntax);
    }
}

// Case counts: `get` is another method, which nobody knows.
#[test]
fn rfc9110_9_1_an_unknown_method_is_kept_to_be_answered_501() {
    for name in ["get", "FOO", "GETT", "GE", "!#$%&'*+-.^_`|~9", &"A".repeat(1000)] {
        let bytes = format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(served(&bytes).method, name.as_bytes());
        let mut parser = HeadParser::new();
        parser.parse(bytes.as_bytes(), &Limits::default()).expect("it is valid");
        assert_eq!(parser.head(bytes.as_bytes()).method(), None);
    }
    for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        let bytes = format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n");
        served(&bytes);
        let mut parser = HeadParser::new();
        parser.parse(bytes.as_bytes(), &Limits::default()).expect("it is valid");
        assert_eq!(parser.head(bytes.as_bytes()).method().map(Method::as_str), Some(name));
    }
}

// hyper and Node answer 400.
#[test]
fn rfc9110_6_2_a_higher_minor_version_is_served() {
    for minor in 0..=9 {
        let head = served(format!("GET / HTTP/1.{minor}\r\nHost: h\r\n\r\n"));
        assert_eq!(head.minor, minor);
    }
}

// Node serves `HTTP/2.0`.
#[test]
fn rfc9110_15_6_6_another_major_version_is_505() {
    refused("GET / HTTP/2.0\r\n", Error::VersionUnsupported);
    refused("GET / HTTP/0.9\r\n", Error::VersionUnsupported);
    refused("GET / HTTP/3.7\r\n", Error::VersionUnsupported);
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::VersionUnsupported);
    assert_eq!(Error::VersionUnsupported.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}

// nginx gives an HTTP/0.9 answer to the last.
#[test]
fn rfc9112_2_3_a_malformed_or_missing_version_is_400() {
    for version in ["http/1.1", "HTTP/1", "HTTP/1.10", "HTTP/11.1", "HTTP/1.x", "HTTP/x.1", "HTTP"]
    {
        refused(format!("GET / {version}\r\n"), Error::VersionSyntax);
    }
    for version in ["HTTP/1,1", "HTTP 1.1", "HTTPS/1.1", "HTTP/+1.1", "", "X"] {
        refused(format!("GET / {version}\r\n"), Error::VersionSyntax);
    }
    refused("GET /\r\n", Error::VersionSyntax);
    refused("GET\r\n", Error::MethodSyntax);
}

// ---- target ----

// Node says 431, aiohttp 400. It is 414 even if the rest is wrong, and before all of it is here.
#[test]
fn rfc9112_3_a_target_over_8_kib_is_414() {
    let most = "/".to_owned() + &"a".repeat((8 << 10) - 1);
    served(to(&most));
    refused(to(&(most.clone() + "a")), Error::TargetTooLong);
    refused("GET ".to_owned() + &most + "a", Error::TargetTooLong);
    refused("GET ".to_owned() + &most + "a\n", Error::TargetTooLong);
    refused("GET ".to_owned() + &most + "\n", Error::BareLf);
    refused("GET ".to_owned() + &"a".repeat(20 << 10), Error::TargetTooLong);
    assert_eq!(Error::TargetTooLong.status(), StatusCode::URI_TOO_LONG);
}

#[test]
fn rfc9112_3_a_request_line_of_8000_bytes_is_served() {
    let target = "/".to_owned() + &"a".repeat(8000 - "GET / HTTP/1.1".len());
    assert_eq!(to(&target).find("\r\n"), Some(8000));
    assert_eq!(served(to(&target)).target, target.as_bytes());
}

// To repair such a target and serve it is how caches are poisoned.
#[test]
fn rfc9112_3_2_a_byte_outside_of_a_uri_is_400() {
    for byte in (0..=0x20).chain(0x7f..=0xff).chain(*b"#\"<>") {
        let mut bytes = b"GET /a".to_vec();
        bytes.push(byte);
        bytes.extend_from_slice(b"b HTTP/1.1\r\nHost: h\r\n\r\n");
        let error = match byte {
            b' ' | b'\r' => Error::VersionSyntax,
            b'\n' => Error::BareLf,
            _ => Error::TargetByte,
        };
        refused(bytes, error);
    }
}

// Browsers send some of them raw; they mean nothing to framing.
#[test]
fn rfc9110_4_1_other_bytes_of_a_target_are_opaque() {
    let target = "/|^{}[]\\`%zz%?a?b=%";
    assert_eq!(served(to(target)).target, target.as_bytes());
    assert_eq!(resource(&to(target)), parts("/|^{}[]\\`%zz%", Some("a?b=%"), Some("h")));
    assert_eq!(resource(&to("/")), parts("/", None, Some("h")));
    assert_eq!(resource(&to("//x/..?")), parts("//x/..", Some(""), Some("h")));
}

// Tornado: 404. Who routes by Host alone can be led past its own access rules.
#[test]
fn rfc9112_3_2_2_an_absolute_target_is_served_and_outranks_host() {
    assert_eq!(resource(&to("http://a:80/p?q")), parts("/p", Some("q"), Some("a:80")));
    assert_eq!(resource(&to("HtTp://a/")), parts("/", None, Some("a")));
    assert_eq!(resource(&to("http://[::1]:1/x")), parts("/x", None, Some("[::1]:1")));
    assert_eq!(resource(&to("http://a/b:c@d")), parts("/b:c@d", None, Some("a")));
    let without_host = "GET http://a/ HTTP/1.0\r\n\r\n";
    assert_eq!(resource(without_host), parts("/", None, Some("a")));
}

#[test]
fn rfc9110_4_2_3_an_empty_path_is_a_slash_or_for_options_a_star() {
    assert_eq!(resource(&to("http://a")), parts("/", None, Some("a")));
    assert_eq!(resource(&to("http://a?q")), parts("/", Some("q"), Some("a")));
    let options = |target| format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(resource(&options("http://a")), parts("*", None, Some("a")));
    assert_eq!(resource(&options("http://a/")), parts("/", None, Some("a")));
    assert_eq!(resource(&options("http://a?q")), parts("/", Some("q"), Some("a")));
}

// Go serves the first.
#[test]
fn rfc9110_4_2_an_authority_without_host_or_with_userinfo_or_a_bad_port_is_400() {
    for authority in ["", ":80", "u@a", "u:p@a", "a:x", "a:65536", "a:1:2", "[::1", "a%"] {
        refused(to(&format!("http://{authority}/")), Error::TargetAuthority);
        refused(to(&format!("http://{authority}")), Error::TargetAuthority);
    }
}

// All peers but Tornado serve it as if it had come over TLS.
#[test]
fn rfc9110_7_4_an_https_target_on_a_plain_connection_is_421() {
    refused(to("https://h/"), Error::Misdirected);
    refused(to("HTTPS://h"), Error::Misdirected);
    assert_eq!(Error::Misdirected.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[test]
fn rfc9110_9_3_6_connect_needs_host_and_port() {
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(resource(&connect("a:443")), parts("", None, Some("a:443")));
    for target in
        ["a", "a:", "a:65536", "a:x", ":443", "u@a:443", "http://a/", "http://a:80", "/", "*"]
    {
        refused(connect(target), Error::TargetAuthority);
    }
}

#[test]
fn rfc9112_3_2_other_forms_are_400() {
    for target in
        ["a", "a:80", "h/p", "*", "*/", "?q", "http:/a", "http:a", "ftp://a/", "://a", "."]
    {
        refused(to(target), Error::TargetForm);
    }
    refused("OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", Error::TargetForm);
    refused("FOO * HTTP/1.1\r\nHost: h\r\n\r\n", Error::TargetForm);
}

#[test]
fn rfc9112_3_2_4_a_star_is_for_options() {
    let bytes = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(resource(bytes), parts("*", None, Some("h")));
}

// ---- Host ----

// hyper and Node serve two.
#[test]
fn rfc9112_3_2_a_missing_or_repeated_host_is_400() {
    refused("GET / HTTP/1.1\r\n\r\n", Error::HostMissing);
    refused("GET http://a/ HTTP/1.1\r\n\r\n", Error::HostMissing);
    refused("GET / HTTP/1.5\r\nX-Host: h\r\nHosts: h\r\n\r\n", Error::HostMissing);
    refused(with("Host: h\r\n"), Error::HostRepeated);
    refused(with("X: y\r\nhOST: other\r\n"), Error::HostRepeated);
    refused("GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", Error::HostRepeated);
    refused("GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", Error::HostRepeated);
}

// Every peer lets some of these pass.
#[test]
fn rfc9112_3_2_a_host_that_is_not_host_and_port_is_400() {
    for host in [":80", "a:b", "a:80:80", "u@a", "a/b", "a b", "a\tb", "http://a", "[::1", "a,b c"]
    {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Error::HostSyntax);
        refused(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"), Error::HostSyntax);
        refused(format!("GET http://a/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), Error::HostSyntax);
    }
    refused(b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", Error::HostSyntax);
}

#[test]
fn rfc9112_3_3_an_empty_host_or_none_in_http_1_0_is_served() {
    let empty = "GET / HTTP/1.1\r\nHost: \t\r\n\r\n";
    assert_eq!(resource(empty), parts("/", None, None));
    assert_eq!(resource("GET / HTTP/1.0\r\n\r\n"), parts("/", None, None));
}

// ---- fields ----

// CVE-2021-22959.
#[test]
fn rfc9112_5_1_white_space_before_the_colon_is_400() {
    for name in ["A ", "A\t", "Content-Length ", "A B", "Transfer-Encoding\t"] {
        refused(with(&format!("{name}: 1\r\n")), Error::SpaceBeforeColon);
    }
}

// CVE-2022-32215, CVE-2024-27982.
#[test]
fn rfc9112_5_2_a_folded_field_is_400() {
    refused(with(" folded\r\n"), Error::ObsoleteFold);
    refused(with("\tfolded\r\n"), Error::ObsoleteFold);
    refused(with("A: b\r\n \r\n"), Error::ObsoleteFold);
    refused("GET / HTTP/1.1\r\nHost: h\r\n ", Error::ObsoleteFold); // at once
}

#[test]
fn rfc9112_2_2_white_space_after_the_request_line_is_400() {
    refused("GET / HTTP/1.1\r\n Host: h\r\n\r\n", Error::LeadingSpace);
    refused("GET / HTTP/1.1\r\n\tHost: h\r\n\r\n", Error::LeadingSpace);
    refused("GET / HTTP/1.1\r\n \r\n", Error::LeadingSpace);
}

#[test]
fn rfc9110_5_1_a_name_that_is_empty_no_token_or_without_colon_is_400() {
    for line in [": b", ":", "a\r\n", "A(: b", "A\u{e9}: b", "A\0: b", "\"A\": b", "A;B: c", "{: }"]
    {
        refused(with(line), Error::FieldName);
    }
    refused(with("A-long-name-without-a-colon\r\n"), Error::FieldName);
    let name = "!#$%&'*+-.^_`|~0123456789";
    let head = served(with(&format!("{name}: b\r\nX_1:c\r\n")));
    assert_eq!(head.fields[1], (name.into(), b"b".into()));
    assert_eq!(head.fields[2], (b"X_1".into(), b"c".into()));
}

#[test]
fn rfc9110_5_5_a_control_byte_in_a_value_is_400() {
    for byte in (0..0x20).chain([0x7f]) {
        let error = match byte {
            b'\t' => continue,
            b'\n' => Error::BareLf,
            b'\r' => Error::BareCr,
            _ => Error::FieldValue,
        };
        for before in ["", "a", "a value of more than sixteen bytes"] {
            let line = format!("A: {before}{}b\r\n", char::from(byte));
            refused(with(&line), error);
        }
    }
}

#[test]
fn rfc9110_5_5_high_bytes_in_a_value_are_opaque() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: h\r\nA: ".to_vec();
    bytes.extend(0x80..=0xff);
    bytes.extend_from_slice(b"\r\n\r\n");
    assert_eq!(served(&bytes).fields[1].1, (0x80..=0xff).collect::<Vec<u8>>());
}

// nginx and Node stumble on HTAB.
#[test]
fn rfc9110_5_5_white_space_around_a_value_is_trimmed() {
    for (line, value) in [
        ("A:b", "b"),
        ("A: b", "b"),
        ("A:\tb\t", "b"),
        ("A: \t  b c\td \t ", "b c\td"),
        ("A:", ""),
        ("A: ", ""),
        ("A: \t \t", ""),
        ("A:\t", ""),
        ("A: a tab\tfar\tbehind the first word ", "a tab\tfar\tbehind the first word"),
    ] {
        let head = served(with(&format!("{line}\r\n")));
        assert_eq!(head.fields[1], (b"A".into(), value.into()), "{line:?}");
    }
}

// Tornado just closes. The unfinished line counts: a limit on whole lines would let it grow.
#[test]
fn rfc9110_5_4_a_head_over_16_kib_is_431() {
    let frame = with("A: \r\n").len();
    let most = with(&format!("A: {}\r\n", "b".repeat((16 << 10) - frame)));
    assert_eq!(served(&most).length, 16 << 10);
    refused(with(&format!("A: {}\r\n", "b".repeat((16 << 10) - frame + 1))), Error::HeadTooLarge);
    refused(
        with(&"A: b\r\n".repeat(90)).replacen("A: b", &"c".repeat(20 << 10), 1),
        Error::HeadTooLarge,
    );
    refused("A".repeat(16 << 10), Error::HeadTooLarge);
    assert_eq!(parse("A".repeat((16 << 10) - 1)), Ok(None));
    assert_eq!(Error::HeadTooLarge.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn rfc9110_5_4_more_than_100_fields_are_431() {
    assert_eq!(served(with(&"A: b\r\n".repeat(99))).fields.len(), 100);
    refused(with(&"A: b\r\n".repeat(100)), Error::TooManyFields);
    assert_eq!(Error::TooManyFields.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn a_limit_above_65535_bytes_is_cut_to_it() {
    let limits = Limits { max_head_bytes: usize::MAX, ..Limits::default() };
    let frame = with("A: \r\n").len();
    let bytes = |len: usize| with(&format!("A: {}\r\n", "b".repeat(len - frame))).into_bytes();
    let mut parser = HeadParser::new();
    assert_eq!(parser.parse(&bytes(65_535), &limits), Ok(Some(65_535)));
    assert_eq!(
        parser.head(&bytes(65_535)).fields().get("a").map(<[u8]>::len),
        Some(65_535 - frame)
    );
    assert_eq!(parser.parse(&bytes(65_536), &limits), Err(Error::HeadTooLarge));
}

// ---- the parser itself ----

#[test]
fn a_line_that_was_whole_is_not_read_again() {
    let bytes = with("A: b\r\nC: d\r\n").into_bytes();
    let mut parser = HeadParser::new();
    for end in 0..bytes.len() {
        assert_eq!(parser.parse(&bytes[..end], &Limits::default()), Ok(None));
        let whole = bytes[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |lf| lf + 1);
        assert_eq!(parser.line, whole, "{end}");
    }
}

// Misuse, but bytes from a stranger decide how long the first buffer was: it must not panic.
#[test]
fn a_buffer_that_has_shrunk_gives_no_head() {
    let bytes = with("A: b\r\n").into_bytes();
    for end in 0..bytes.len() {
        let mut parser = HeadParser::new();
        assert_eq!(parser.parse(&bytes[..end], &Limits::default()), Ok(None));
        assert_eq!(parser.parse(&bytes[..end / 2], &Limits::default()), Ok(None));
        assert_eq!(parser.parse(&bytes, &Limits::default()), Ok(Some(bytes.len())));
    }
}

// The second head takes the first one's room, and nothing of its content.
#[test]
fn a_parser_is_used_again_without_growing() {
    let mut parser = HeadParser::new();
    let long = with(&"Connection: close\r\nContent-Length: 1\r\n".repeat(20)).into_bytes();
    assert_eq!(parser.parse(&long, &Limits::default()), Ok(Some(long.len())));
    let room = parser.capacity_bytes();
    for _ in 0..3 {
        let short = b"POST /p HTTP/1.0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n";
        assert_eq!(parser.parse(short, &Limits::default()), Ok(Some(27 - 1)));
        let head = parser.head(short);
        assert_eq!(
            (head.method(), head.path(), head.host()),
            (Some(Method::Post), &b"/p"[..], None)
        );
        assert_eq!(head.fields().len(), 1);
        assert_eq!(head.fields().count(Steering::Connection), 0);
        assert_eq!(parser.capacity_bytes(), room);
    }
    parser.clear();
    assert_eq!(parser.parse(&long, &Limits::default()), Ok(Some(long.len())));
}

#[test]
fn a_head_prints_with_its_bytes_escaped() {
    let bytes = b"GET /a HTTP/1.1\r\nHost: h\r\nA: \xff\"\r\n\r\n";
    let mut parser = HeadParser::new();
    parser.parse(bytes, &Limits::default()).expect("it is valid");
    let text = format!("{:?}", parser.head(bytes));
    assert!(text.contains("\"/a\"") && text.contains("\\\\xff\\\\\\\""), "{text}");
}
