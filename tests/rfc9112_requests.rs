//! RFC 9112 through a socket: request line, target, Host and field lines.
//!
//! Each test is named after the section that decides it. A row is what a client sends and what
//! Squall makes of it: the status, and whether the connection goes on. Behind every request comes a
//! second one, which must be answered on a connection that is kept, and must not be on one that is
//! closed. The same table is in docs/rfc9112.md. Next: `rfc9112_bodies`.

mod http;

use http::Then::{Closed, Kept};
use http::service::service;
use http::{expect, expect_however_split, text};

/// Broken by a loop over empty lines without an end: a slow loris that never sends a head.
#[test]
fn rfc9112_2_2_up_to_eight_empty_lines_before_a_request_are_skipped() {
    let server = service();
    for count in [1, 2, 8] {
        let request = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(count));
        expect_however_split(&server, &format!("{count} empty lines"), request, 200, Kept);
    }
    let request = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(9));
    expect_however_split(&server, "9 empty lines", request, 400, Closed);
}

#[test]
fn rfc9112_2_2_anything_else_before_a_request_is_400() {
    bad_requests(&[
        ("LF", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("SP", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTAB", "\tGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("CR CR LF", "\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("CRLF LF", "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("NUL", "\0GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a byte order mark", "\u{feff}GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]);
}

#[test]
fn rfc9112_2_2_a_bare_lf_in_a_head_is_400() {
    bad_requests(&[
        ("after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("after the method", "GET\n/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("after the target", "GET /\nHost: a\r\n\r\n"),
        ("after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        ("after the last field", "GET / HTTP/1.1\r\nHost: a\n\r\n"),
        ("as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("in a name", "GET / HTTP/1.1\r\nHo\nst: a\r\n\r\n"),
        ("everywhere", "GET / HTTP/1.1\nHost: a\n\n"),
    ]);
}

/// Broken by a parser that waits for CRLFCRLF: it would wait for the timeout.
#[test]
fn rfc9112_2_2_a_bare_lf_is_400_at_once_and_not_when_the_head_is_whole() {
    let server = service();
    for head in ["GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a\n", "\n", "GET / HTTP/1.1\n\n"] {
        let mut client = server.connect();
        client.send(head);
        let answer = client.answer("GET");
        assert_eq!(answer.status, 400, "{head:?}: {answer:?}");
        client.expect_end();
    }
}

/// CVE-2023-30589: a CR that ends a field for one reader and not for the next.
#[test]
fn rfc9112_2_2_a_bare_cr_in_a_head_is_400() {
    bad_requests(&[
        ("in the method", "GE\rT / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("after the method", "GET\r / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("in the version", "GET / HTTP/1.\r1\r\nHost: a\r\n\r\n"),
        ("instead of CRLF", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        ("twice", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("in a name", "GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n"),
        ("before a name", "GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n"),
        ("in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n"),
        (
            "as a field's end",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\rTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("before CRLF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    ]);
}

#[test]
fn rfc9112_3_other_white_space_than_one_sp_is_400() {
    bad_requests(&[
        ("two SP after the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two SP after the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTAB after the method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTAB after the target", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        ("VT", "GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("FF", "GET /\x0cHTTP/1.1\r\nHost: a\r\n\r\n"),
        ("SP at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        ("HTAB at the end", "GET / HTTP/1.1\t\r\nHost: a\r\n\r\n"),
        ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]);
}

#[test]
fn rfc9110_9_1_a_method_that_is_no_token_is_400() {
    bad_requests(&[
        ("empty", " / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a colon", "G:T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a quote", "\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a slash", "GET/ / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a high byte", "G\u{c9}T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("NUL", "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01"),
    ]);
}

/// Case counts: `get` is another method than GET.
#[test]
fn rfc9110_9_1_a_method_nobody_knows_is_501_and_the_connection_goes_on() {
    let server = service();
    let long = "A".repeat(1000);
    for method in ["get", "FOO", "Get", "M-SEARCH", "!#$%&'*+-.^_`|~", "PRI", &long] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        expect_however_split(&server, &method[..method.len().min(20)], request, 501, Kept);
    }
    let request = "FOO / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    expect(&server, "with a body, which is drained", request, 501, Kept);
}

#[test]
fn rfc9110_15_5_6_a_method_that_the_path_does_not_have_is_405_with_allow() {
    let server = service();
    for (method, path, allow) in [
        ("POST", "/probe", "GET, HEAD"),
        ("PATCH", "/echo", "POST, GET, DELETE, HEAD"),
        ("OPTIONS", "/probe", "GET, HEAD"),
    ] {
        let row = format!("{method} {path}");
        let request = format!("{row} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        let answer = expect(&server, &row, request, 405, Kept);
        assert_eq!(answer.header("allow"), Some(allow), "{row}");
    }
}

#[test]
fn rfc9110_6_2_a_higher_minor_version_is_1_1() {
    let server = service();
    for minor in 2..=9 {
        let request = format!("GET / HTTP/1.{minor}\r\nHost: a\r\n\r\n");
        expect_however_split(&server, &format!("HTTP/1.{minor}"), request, 200, Kept);
    }
}

#[test]
fn rfc9110_15_6_6_another_major_version_is_505() {
    let server = service();
    for request in [
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/3.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        expect_however_split(&server, request, request, 505, Closed);
    }
}

#[test]
fn rfc9112_2_3_a_malformed_version_is_400() {
    bad_requests(&[
        ("lower case", "GET / http/1.1\r\nHost: a\r\n\r\n"),
        ("no minor digit", "GET / HTTP/1\r\nHost: a\r\n\r\n"),
        ("a dot and no digit", "GET / HTTP/1.\r\nHost: a\r\n\r\n"),
        ("two minor digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        ("two major digits", "GET / HTTP/11.1\r\nHost: a\r\n\r\n"),
        ("a leading zero", "GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
        ("a sign", "GET / HTTP/+1.1\r\nHost: a\r\n\r\n"),
        ("a comma", "GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
        ("another protocol", "GET / ICY/1.1\r\nHost: a\r\n\r\n"),
        ("none", "GET /\r\nHost: a\r\n\r\n"),
        ("none, and a SP", "GET / \r\nHost: a\r\n\r\n"),
    ]);
}

/// The target's limit comes before the head's, also while the target goes on.
#[test]
fn rfc9112_3_a_target_over_8_kib_is_414() {
    let server = service();
    for length in [8193, 12_000, 17_000, 40_000] {
        let target = target_of(length);
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        expect(&server, &format!("{length} bytes"), request, 414, Closed);
        let mut client = server.connect();
        client.send(format!("GET {target}"));
        assert_eq!(client.answer("GET").status, 414, "{length} bytes, unfinished");
        client.expect_end();
    }
}

#[test]
fn rfc9112_3_a_request_line_of_8000_bytes_is_served() {
    let server = service();
    for length in [8000 - "GET  HTTP/1.1".len(), 8192] {
        let target = target_of(length);
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect_however_split(&server, &format!("{length}"), request, 200, Kept);
        assert_eq!(answer.body, format!("path={target} query=- host=a\n").into_bytes());
    }
}

#[test]
fn rfc9112_3_2_a_byte_that_no_target_may_have_is_400() {
    let server = service();
    let controls = (0..=0x20).chain(0x7f..=0xff);
    for byte in controls.chain(*b"#\"<>") {
        let request = [b"GET /a", &[byte][..], b"b HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        expect(&server, &format!("{byte:#04x}"), request, 400, Closed);
    }
}

#[test]
fn rfc9110_4_1_what_browsers_send_raw_is_opaque() {
    let server = service();
    for target in ["/t/|^{}[]\\`", "/t/%zz", "/t/%", "/t/%00", "/t/a//b/../c", "/t/a;b=c,d"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect_however_split(&server, target, request, 200, Kept);
        let seen = target.as_bytes().escape_ascii();
        assert_eq!(answer.body, format!("path={seen} query=- host=a\n").into_bytes(), "{target}");
    }
    let request = "GET /t/x?a?b=/[c]|d HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = expect(&server, "a query", request, 200, Kept);
    assert_eq!(answer.body, b"path=/t/x query=a?b=/[c]|d host=a\n");
}

/// Broken by routing on Host alone where the target outranks it (3.2.2).
#[test]
fn rfc9112_3_2_2_an_absolute_target_is_served_and_its_host_wins() {
    let server = service();
    for (target, seen) in [
        ("http://h/t/p", "path=/t/p query=- host=h\n"),
        ("http://h:8080/t/p?q", "path=/t/p query=q host=h:8080\n"),
        ("http://h", "path=/ query=- host=h\n"),
        ("http://h?q", "path=/ query=q host=h\n"),
        ("http://h:", "path=/ query=- host=h:\n"),
        ("HTTP://H/t/p", "path=/t/p query=- host=H\n"),
        ("hTTp://[::1]:80/t/p", "path=/t/p query=- host=[::1]:80\n"),
    ] {
        for host in ["other", "h", ""] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = expect_however_split(&server, target, request, 200, Kept);
            assert_eq!(answer.body, seen.as_bytes(), "{target}: {}", text(&answer.body));
        }
    }
}

#[test]
fn rfc9110_4_2_3_an_empty_path_is_a_slash_and_a_scheme_has_no_case() {
    let server = service();
    for (target, query) in [("http://h", "-"), ("hTTp://h", "-"), ("HTTP://h?q", "q")] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = expect_however_split(&server, target, request, 200, Kept);
        assert_eq!(answer.body, format!("path=/ query={query} host=h\n").as_bytes(), "{target}");
    }
}

#[test]
fn rfc9110_4_2_1_an_absolute_target_without_a_host_is_400() {
    bad_requests(&[
        ("nothing", "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a path", "GET http:///t/p HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a port", "GET http://:80/t/p HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a query", "GET http://?q HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]);
}

#[test]
fn rfc9110_4_2_4_userinfo_or_a_bad_port_in_a_target_is_400() {
    bad_requests(&[
        ("a user", "GET http://u@h/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a password", "GET http://u:p@h/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("an empty user", "GET http://@h/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a port of letters", "GET http://h:http/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a port with a sign", "GET http://h:+80/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a port over 65535", "GET http://h:65536/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("two ports", "GET http://h:80:80/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a backslash", "GET http://h\\@x/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("an open bracket", "GET http://[::1/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]);
}

#[test]
fn rfc9110_7_4_an_https_target_on_a_plain_connection_is_421() {
    let server = service();
    for target in ["https://a/", "HTTPS://a/", "https://a:443/t/p", "https://"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        expect_however_split(&server, target, request, 421, Closed);
    }
}

/// Never 2xx: what follows would be the tunnel's.
#[test]
fn rfc9110_9_3_6_connect_is_501_and_a_bad_port_400() {
    let server = service();
    for target in ["h:443", "[::1]:1", "h:65535"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        expect_however_split(&server, target, request, 501, Closed);
    }
    for target in ["h", "h:", "h:0x50", "h:65536", ":443", "/", "*", "http://h:443/", "u@h:1"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        expect_however_split(&server, target, request, 400, Closed);
    }
}

#[test]
fn rfc9112_3_2_a_form_that_does_not_fit_the_method_is_400() {
    bad_requests(&[
        ("authority-form with GET", "GET h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a host alone", "GET h HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("no leading slash", "GET t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a query alone", "GET ?q HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("* with GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("* and more", "OPTIONS *x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("another scheme", "GET ftp://h/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a scheme and no slashes", "GET http:h/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("no scheme", "GET ://h/t/p HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]);
}

#[test]
fn rfc9110_9_3_7_options_asterisk_is_204_with_allow() {
    let server = service();
    let request = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = expect_however_split(&server, "*", request, 204, Kept);
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
    let request = "OPTIONS /t/p HTTP/1.1\r\nHost: a\r\n\r\n";
    expect(&server, "of a path", request, 200, Kept);
}

/// It would show a script the cookies that it may not see.
#[test]
fn rfc9110_9_3_8_trace_is_501_and_echoes_nothing() {
    let server = service();
    let request = "TRACE /t/p HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n";
    let answer = expect_however_split(&server, "TRACE", request, 501, Kept);
    assert!(!answer.body.windows(6).any(|six| six == b"secret"), "{}", text(&answer.body));
}

#[test]
fn rfc9112_3_2_host_missing_or_twice_is_400() {
    bad_requests(&[
        ("missing in 1.1", "GET / HTTP/1.1\r\n\r\n"),
        ("missing in 1.9", "GET / HTTP/1.9\r\nX-Host: a\r\n\r\n"),
        ("missing beside an absolute target", "GET http://a/ HTTP/1.1\r\n\r\n"),
        ("twice, different", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("twice, the same", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nhOST: a\r\n\r\n"),
        ("twice in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("twice, and an absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("empty and another", "GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n"),
    ]);
}

#[test]
fn rfc9112_3_2_a_host_that_is_not_host_and_port_is_400() {
    let server = service();
    // Not `a,b`: a comma is a sub-delim, and so a part of a name (RFC 3986, 3.2.2).
    let bad = [
        ":80", "a:b", "a:65536", "a:80:80", "u@a", "a/b", "a?b", "a#b", "a b", "a\tb", "a\\b",
        "\"a\"", "<a>", "[::1", "::1", "[::g]", "%4", "%zz", "http://a", "\u{e9}",
    ];
    for host in bad {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        expect_however_split(&server, host, request, 400, Closed);
        let request = format!("GET http://good/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        expect(&server, &format!("{host} beside an absolute target"), request, 400, Closed);
    }
}

#[test]
fn rfc9112_3_3_an_empty_host_or_none_in_1_0_is_served_without_one() {
    let server = service();
    let request = "GET / HTTP/1.1\r\nHost:\r\n\r\n";
    let answer = expect_however_split(&server, "empty", request, 200, Kept);
    assert_eq!(answer.body, b"path=/ query=- host=-\n");
    let request = "GET / HTTP/1.1\r\nHost: \t \r\n\r\n";
    let answer = expect_however_split(&server, "white space", request, 200, Kept);
    assert_eq!(answer.body, b"path=/ query=- host=-\n");
    let answer = expect(&server, "1.0", "GET / HTTP/1.0\r\n\r\n", 200, Closed);
    assert_eq!(answer.body, b"path=/ query=- host=-\n");
}

/// CVE-2021-22959: the name with the space is another field for the next reader.
#[test]
fn rfc9112_5_1_white_space_before_the_colon_is_400() {
    bad_requests(&[
        ("SP", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
        ("HTAB", "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n"),
        ("in Host", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("in Content-Length", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
        (
            "in Transfer-Encoding",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        ),
    ]);
}

/// CVE-2022-32215, CVE-2024-27982.
#[test]
fn rfc9112_5_2_a_folded_field_is_400() {
    bad_requests(&[
        ("SP", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        ("HTAB", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n"),
        ("to nothing", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n"),
        ("Host", "GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
        ("a coding", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"),
        ("a length", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n Content-Length: 5\r\n\r\nhello"),
    ]);
}

#[test]
fn rfc9112_2_2_white_space_before_the_first_field_is_400() {
    bad_requests(&[
        ("SP", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("HTAB", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        ("an empty line of SP", "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
    ]);
}

#[test]
fn rfc9110_5_1_a_name_that_is_no_token_is_400() {
    bad_requests(&[
        ("empty", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("no colon, a value", "GET / HTTP/1.1\r\nHost: a\r\nX b\r\n\r\n"),
        ("a slash", "GET / HTTP/1.1\r\nHost: a\r\nX/Y: b\r\n\r\n"),
        ("a bracket", "GET / HTTP/1.1\r\nHost: a\r\n[X]: b\r\n\r\n"),
        ("a high byte", "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
        ("DEL", "GET / HTTP/1.1\r\nHost: a\r\nX\x7f: b\r\n\r\n"),
        ("a second request line", "GET / HTTP/1.1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]);
}

#[test]
fn rfc9110_5_5_a_control_byte_in_a_value_is_400() {
    let server = service();
    for byte in (0..0x20u8).filter(|byte| *byte != b'\t').chain([0x7f]) {
        let around = (&b"GET / HTTP/1.1\r\nHost: a\r\nX: b"[..], &b"c\r\n\r\n"[..]);
        let request = [around.0, &[byte], around.1].concat();
        expect_however_split(&server, &format!("{byte:#04x}"), request, 400, Closed);
    }
}

#[test]
fn rfc9110_5_5_high_bytes_in_a_value_are_opaque() {
    let server = service();
    let high: Vec<u8> = (0x80..=0xff).collect();
    let request = [b"GET /fields HTTP/1.1\r\nHost: a\r\nX: ", &high[..], b"\r\n\r\n"].concat();
    let answer = expect_however_split(&server, "0x80 to 0xff", request, 200, Kept);
    assert_eq!(answer.body, [b"Host=[a]\nX=[", &high[..], b"]\n"].concat());
}

#[test]
fn rfc9110_5_5_white_space_around_a_value_is_trimmed() {
    let server = service();
    for (row, field) in [
        ("none", "X:b\tc d"),
        ("SP", "X:   b\tc d   "),
        ("HTAB", "X:\tb\tc d\t"),
        ("both", "X: \t \tb\tc d\t \t"),
    ] {
        let request = format!("GET /fields HTTP/1.1\r\nHost:\ta\t\r\n{field}\r\nY: \t \r\n\r\n");
        let answer = expect_however_split(&server, row, request, 200, Kept);
        assert_eq!(answer.body, b"Host=[a]\nX=[b\tc d]\nY=[]\n", "{row}");
    }
}

/// Limits hold while a line is unfinished: a line without an end has a length too.
#[test]
fn rfc9110_5_4_a_head_over_16_kib_is_431() {
    let server = service();
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let request = |len| head_with(&format!("X: {}", "b".repeat(len - frame)));
    assert_eq!(request(16_384).len(), 16_384);
    expect(&server, "16,384 bytes", request(16_384), 200, Kept);
    expect(&server, "16,385 bytes", request(16_385), 431, Closed);
    expect(&server, "100,000 bytes", request(100_000), 431, Closed);
    for unfinished in [
        "GET / HTTP/1.1\r\nHost: a\r\nX: ".to_owned() + &"b".repeat(16_384),
        "GET / HTTP/1.1\r\nHost: a\r\n".to_owned() + &"X".repeat(16_384),
        "G".repeat(16_384),
    ] {
        let mut client = server.connect();
        client.send(&unfinished);
        let answer = client.answer("GET");
        assert_eq!(answer.status, 431, "{answer:?}");
        client.expect_end();
    }
}

#[test]
fn rfc9110_5_4_over_100_fields_is_431() {
    let server = service();
    let fields = |count: usize| vec!["X: b"; count - 1].join("\r\n");
    expect(&server, "100 fields", head_with(&fields(100)), 200, Kept);
    expect(&server, "101 fields", head_with(&fields(101)), 431, Closed);
    let split = head_with(&fields(101));
    expect_however_split(&server, "101 fields, split", split, 431, Closed);
}

/// Each row is 400, and nothing after it is answered, however the bytes are split.
#[track_caller]
fn bad_requests(rows: &[(&str, &str)]) {
    let server = service();
    for (row, request) in rows {
        expect_however_split(&server, row, request, 400, Closed);
    }
}

/// A request with these field lines beside Host.
fn head_with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

/// A target of so many bytes, for the handler that says what it was asked.
fn target_of(length: usize) -> String {
    "/t/".to_owned() + &"a".repeat(length - "/t/".len())
}
