//! RFC 9112 through a socket: where a request's body ends, and what is answered if that is in doubt.
//!
//! Smuggling is two readers that disagree about it. So each row that is refused has a second
//! request behind it which must never be answered, and each that is taken has one that must be.
//! Rows and names as in `rfc9112_requests`. Next: `rfc9112_connection`.

mod http;

use std::time::Duration;

use http::Then::{Closed, Kept};
use http::service::service;
use http::{PROBE, expect, expect_however_split};

/// RUSTSEC-2021-0078: `str::parse` takes `+5`.
#[test]
fn rfc9110_8_6_a_length_is_decimal_digits_with_leading_zeros() {
    let server = service();
    for length in ["5", "05", "0000000000000000000000000000000000000005", "\t5 "] {
        let request = post(&format!("Content-Length:{length}"), "hello");
        let answer = expect_however_split(&server, length, request, 200, Kept);
        assert_eq!(answer.body, b"hello", "{length}");
    }
    for length in ["0", "00"] {
        let request = post(&format!("Content-Length: {length}"), "");
        let answer = expect_however_split(&server, length, request, 200, Kept);
        assert_eq!(answer.body, b"", "{length}");
    }
}

#[test]
fn rfc9112_6_3_a_length_that_is_no_number_is_400() {
    let server = service();
    for length in [
        "+5", "-5", "5 5", "0x5", "5_0", "", "5.0", "5e0", "five", "\u{0665}", "5;", "\"5\"",
        "5\u{a0}",
    ] {
        let request = post(&format!("Content-Length: {length}"), "hello");
        expect_however_split(&server, &format!("{length:?}"), request, 400, Closed);
    }
}

#[test]
fn rfc9112_6_3_more_than_one_length_is_400() {
    let server = service();
    for (row, fields) in [
        ("two lines, different", "Content-Length: 5\r\nContent-Length: 6"),
        ("two lines, the same", "Content-Length: 5\r\ncontent-length: 5"),
        ("apart", "Content-Length: 5\r\nX: a\r\nContent-Length: 0"),
        ("one empty", "Content-Length:\r\nContent-Length: 5"),
        ("a list, different", "Content-Length: 5, 6"),
        ("a list, the same", "Content-Length: 5, 5"),
        ("a list with an empty element", "Content-Length: 5,"),
    ] {
        expect_however_split(&server, row, post(fields, "hello"), 400, Closed);
    }
}

/// Broken by arithmetic that wraps: 2^64 + 5 would be 5.
#[test]
fn rfc9110_15_5_14_a_length_over_u64_or_over_the_limit_is_413() {
    let server = service();
    for length in [
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999",
        "1048577",
        "18446744073709551615",
        "9223372036854775808",
    ] {
        let request = post(&format!("Content-Length: {length}"), "hello");
        expect_however_split(&server, length, request, 413, Closed);
        // No 100 invites what will be refused.
        let request = post(&format!("Expect: 100-continue\r\nContent-Length: {length}"), "");
        expect(&server, &format!("{length}, expecting"), request, 413, Closed);
    }
    let body = "b".repeat(1 << 20);
    let request = post(&format!("Content-Length: {}", body.len()), &body);
    let answer = expect(&server, "exactly the limit", request, 200, Kept);
    assert!(answer.body == body.as_bytes(), "{} bytes came back", answer.body.len());
}

#[test]
fn rfc9110_15_5_14_a_route_may_have_a_limit_of_its_own() {
    let server = service();
    let request = |len: usize| {
        let head = format!("POST /echo/large HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        head + &"b".repeat(len)
    };
    let answer = expect(&server, "exactly the route's", request(4 << 20), 200, Kept);
    assert_eq!(answer.body.len(), 4 << 20);
    let mut client = server.connect();
    client.send("POST /echo/large HTTP/1.1\r\nHost: a\r\nContent-Length: 4194305\r\n\r\n");
    assert_eq!(client.answer("POST").status, 413);
    client.expect_end();
}

/// Broken by a server that thinks GET has no body, and takes it for the next request.
#[test]
fn rfc9112_6_3_a_body_is_framed_whatever_the_method() {
    let server = service();
    for method in ["GET", "DELETE", "POST"] {
        for (path, body) in [("/echo", &b"hello"[..]), ("/unread", b"unread")] {
            let row = format!("{method} {path}");
            let request = format!("{row} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
            let answer = expect_however_split(&server, &row, request, 200, Kept);
            assert_eq!(answer.body, body, "{row}");
        }
        let row = format!("{method}, chunked");
        let head = format!("{method} /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked");
        let request = format!("{head}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let answer = expect_however_split(&server, &row, request, 200, Kept);
        assert_eq!(answer.body, b"hello", "{row}");
    }
    let request = "HEAD /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    expect_however_split(&server, "HEAD", request, 200, Kept);
}

/// A request inside a body is a body.
#[test]
fn rfc9112_6_3_a_body_that_looks_like_a_request_is_not_answered() {
    let server = service();
    let inner = "GET /fields HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    let request = post(&format!("Content-Length: {}", inner.len()), inner);
    let answer = expect_however_split(&server, "a length", request, 200, Kept);
    assert_eq!(answer.body, inner.as_bytes());
    let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let answer = expect_however_split(&server, "chunked", chunked(&chunk), 200, Kept);
    assert_eq!(answer.body, inner.as_bytes());
}

#[test]
fn rfc9112_6_1_chunked_alone_is_decoded_in_any_case_and_among_empty_elements() {
    let server = service();
    for coding in [
        "Transfer-Encoding: chunked",
        "transfer-encoding:CHUNKED",
        "Transfer-Encoding: \tChunked \t",
        "Transfer-Encoding: , chunked,",
        "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: ,",
    ] {
        let request = post(coding, "5\r\nhello\r\n0\r\n\r\n");
        let answer = expect_however_split(&server, coding, request, 200, Kept);
        assert_eq!(answer.body, b"hello", "{coding}");
    }
}

#[test]
fn rfc9112_6_3_a_coding_that_does_not_end_in_one_chunked_is_400() {
    let server = service();
    for coding in [
        "xchunked",
        "chunkedx",
        "chunked\u{a0}",
        "identity",
        "",
        ",",
        "gzip",
        "chunked, gzip",
        "chunked, identity",
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked;q=1",
        "chunked; a",
        "\"chunked\"",
        "'chunked'",
        "chun ked",
        "chunked gzip",
        "gzip, chunked, chunked",
        "gzip;q=1",
        "[chunked]",
    ] {
        let request = post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n");
        expect_however_split(&server, &format!("{coding:?}"), request, 400, Closed);
    }
    for coding in ["chunked\x0b", "\x0bchunked", "chunked\0", "chun\x0cked"] {
        let request = post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n");
        expect_however_split(&server, &format!("{coding:?}"), request, 400, Closed);
    }
}

/// GHSA-753j-mpmx-qq6g: two lines of it were taken for no body.
#[test]
fn rfc9112_6_1_chunked_twice_or_with_a_parameter_is_400() {
    let server = service();
    for fields in [
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, gzip, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked ;",
    ] {
        let request = post(fields, "5\r\nhello\r\n0\r\n\r\n");
        expect_however_split(&server, fields, request, 400, Closed);
    }
}

#[test]
fn rfc9112_6_1_another_coding_before_chunked_is_501() {
    let server = service();
    for coding in [
        "gzip, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
        "identity, chunked",
        "x;a=b, chunked",
    ] {
        let request = post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n");
        expect_however_split(&server, coding, request, 501, Closed);
    }
}

/// CL.TE and TE.CL: whichever of the two a proxy believes, Squall believes neither.
#[test]
fn rfc9112_6_1_length_and_coding_together_is_400() {
    let server = service();
    for (row, fields) in [
        ("length first", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("length 0", "Transfer-Encoding: chunked\r\nContent-Length: 0"),
        ("a bad length", "Transfer-Encoding: chunked\r\nContent-Length: x"),
        ("an empty coding", "Transfer-Encoding:\r\nContent-Length: 5"),
        ("another coding", "Transfer-Encoding: identity\r\nContent-Length: 5"),
    ] {
        expect_however_split(&server, row, post(fields, "0\r\n\r\n"), 400, Closed);
    }
}

#[test]
fn rfc9112_6_1_a_coding_in_1_0_is_400() {
    let server = service();
    for connection in ["", "Connection: keep-alive\r\n"] {
        let head = format!("POST /echo HTTP/1.0\r\nHost: a\r\n{connection}");
        let request = head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        expect_however_split(&server, "1.0", request, 400, Closed);
    }
}

#[test]
fn rfc9112_7_1_a_chunk_size_is_up_to_16_hex_digits_after_leading_zeros() {
    let server = service();
    for (body, decoded) in [
        ("5\r\nhello\r\n0\r\n\r\n", &b"hello"[..]),
        ("05\r\nhello\r\n00\r\n\r\n", b"hello"),
        ("00000000000000000000000000000005\r\nhello\r\n0000000000000000000000\r\n\r\n", b"hello"),
        ("A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n", b"0123456789abcdefghij"),
        ("1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n"),
        ("0\r\n\r\n", b""),
    ] {
        let answer = expect_however_split(&server, body, chunked(body), 200, Kept);
        assert_eq!(answer.body, decoded, "{body:?}");
    }
    let thousand = "1\r\nx\r\n".repeat(1000) + "0\r\n\r\n";
    let answer = expect(&server, "1,000 chunks of a byte", chunked(&thousand), 200, Kept);
    assert_eq!(answer.body, "x".repeat(1000).as_bytes());
}

/// RUSTSEC-2021-0079: a size that overflows is a small one.
#[test]
fn rfc9112_7_1_a_chunk_size_outside_of_the_grammar_is_400() {
    let server = service();
    for (row, body) in [
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("_", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("SP before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("SP after", "5 \r\nhello\r\n0\r\n\r\n"),
        ("HTAB after", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("empty", "\r\nhello\r\n0\r\n\r\n"),
        ("an extension alone", ";a\r\n\r\n"),
        ("17 digits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("17 digits after zeros", "000010000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("g", "g\r\nhello\r\n0\r\n\r\n"),
        ("a dot", "5.0\r\nhello\r\n0\r\n\r\n"),
        ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("a full-width digit", "\u{ff15}\r\nhello\r\n0\r\n\r\n"),
    ] {
        expect_however_split(&server, row, chunked(body), 400, Closed);
    }
}

#[test]
fn rfc9110_15_5_14_chunks_over_the_limit_are_413_when_their_size_is_read() {
    let server = service();
    for (row, body) in [
        ("at once", "100001\r\n"),
        ("the largest size", "ffffffffffffffff\r\n"),
        ("after others", "5\r\nhello\r\nffffc\r\n"),
        ("a sum over u64", "5\r\nhello\r\nffffffffffffffff\r\n"),
    ] {
        let mut client = server.connect();
        client.send(chunked(body));
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.says_close()), (413, true), "{row}: {answer:?}");
        client.expect_end();
    }
}

#[test]
fn rfc9112_7_1_1_extensions_are_checked_and_ignored() {
    let server = service();
    for line in [
        "5;a",
        "5;a=b",
        "5;a=\"b\"",
        "5 ; a = b",
        "5;a;b;c=d",
        "5;a=\"\"",
        "5;a=\"\\\"\\\\\"",
        "5\t;\ta\t=\t\"b c;\td\"",
        "5;a=\"\u{e9}\"",
        "5;!#$%&'*+-.^_`|~=x",
    ] {
        let body = format!("{line}\r\nhello\r\n0;last=1\r\n\r\n");
        let answer = expect_however_split(&server, line, chunked(&body), 200, Kept);
        assert_eq!(answer.body, b"hello", "{line}");
    }
    for line in [
        "5;",
        "5;;a",
        "5;a=",
        "5;=b",
        "5;a=b c",
        "5;a b",
        "5;a=\"b",
        "5;a=\"b\"c",
        "5;a,b",
        "5 a",
        "5;a=\"\x01\"",
        "5;a=\0",
        "5;\u{e9}",
        "5;a ",
        "5;a=\"\\",
        "5; ",
    ] {
        let body = format!("{line}\r\nhello\r\n0\r\n\r\n");
        expect_however_split(&server, &format!("{line:?}"), chunked(&body), 400, Closed);
    }
}

/// CVE-2023-39326, CVE-2024-22019: extensions cost work and carry nothing.
#[test]
fn rfc9112_7_1_1_extensions_have_a_limit_for_the_line_and_for_the_body() {
    let server = service();
    let line = |len: usize| format!("1;{}\r\nx\r\n", "a".repeat(len - 2));
    let body = |line: &str| chunked(&format!("{line}0\r\n\r\n"));
    expect_however_split(&server, "a line of 256", body(&line(256)), 200, Kept);
    expect_however_split(&server, "a line of 257", body(&line(257)), 400, Closed);
    let zeros = format!("{}1\r\nx\r\n", "0".repeat(255));
    expect(&server, "256 digits", body(&zeros), 200, Kept);
    expect(&server, "257 digits", body(&format!("0{zeros}")), 400, Closed);
    // 255 bytes of extension each, up to 16,384.
    expect(&server, "64 lines", body(&line(256).repeat(64)), 200, Kept);
    expect(&server, "65 lines", body(&line(256).repeat(65)), 400, Closed);
    let mut client = server.connect();
    client.send(chunked(&format!("1;{}", "a".repeat(300))));
    assert_eq!(client.answer("POST").status, 400, "an unfinished line has a length too");
    client.expect_end();
}

/// CVE-2025-22871: the leniency of 2.2 is for heads alone.
#[test]
fn rfc9112_7_1_a_bare_lf_or_cr_in_a_size_line_is_400() {
    let server = service();
    for (row, body) in [
        ("LF", "5\nhello\r\n0\r\n\r\n"),
        ("LF after an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("LF in a quoted value", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        ("LF at once", "\n5\r\nhello\r\n0\r\n\r\n"),
        ("CR", "5\rhello\r\n0\r\n\r\n"),
        ("CR after an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("LF after the last size", "5\r\nhello\r\n0\n\r\n"),
        ("LF as the end", "5\r\nhello\r\n0\r\n\n"),
        ("LF after a trailer", "5\r\nhello\r\n0\r\nX: a\n\r\n"),
    ] {
        expect_however_split(&server, row, chunked(body), 400, Closed);
    }
}

/// CVE-2025-43859.
#[test]
fn rfc9112_7_1_data_that_do_not_end_in_crlf_are_400() {
    let server = service();
    for (row, body) in [
        ("longer than the size", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("two bytes longer", "5\r\nhelloXX0\r\n\r\n"),
        ("shorter than the size", "6\r\nhello\r\n0\r\n\r\n"),
        ("LF", "5\r\nhello\n0\r\n\r\n"),
        ("CR", "5\r\nhello\r0\r\n\r\n"),
        ("nothing", "5\r\nhello0\r\n\r\n"),
        ("LF CR", "5\r\nhello\n\r0\r\n\r\n"),
    ] {
        expect_however_split(&server, row, chunked(body), 400, Closed);
    }
}

#[test]
fn rfc9112_7_1_2_trailers_have_the_grammar_of_fields() {
    let server = service();
    let with = |trailers: &str| chunked(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    for trailers in ["X: a\r\n", "Digest: x\r\nY:\tb \t\r\nZ:\r\n"] {
        let answer = expect_however_split(&server, trailers, with(trailers), 200, Kept);
        assert_eq!(answer.body, b"hello", "{trailers}");
    }
    for trailers in
        ["X : a\r\n", "X: a\r\n b\r\n", " X: a\r\n", ": a\r\n", "X\r\n", "X: \0\r\n", "X: a\rb\r\n"]
    {
        expect_however_split(&server, &format!("{trailers:?}"), with(trailers), 400, Closed);
    }
}

#[test]
fn rfc9110_5_4_trailers_over_4_kib_or_32_are_431() {
    let server = service();
    let with = |trailers: &str| chunked(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    expect(&server, "32 trailers", with(&"X: a\r\n".repeat(32)), 200, Kept);
    expect(&server, "33 trailers", with(&"X: a\r\n".repeat(33)), 431, Closed);
    let of = |len: usize| format!("X: {}\r\n", "a".repeat(len - "X: \r\n\r\n".len()));
    expect(&server, "4,096 bytes", with(&of(4096)), 200, Kept);
    expect(&server, "4,097 bytes", with(&of(4097)), 431, Closed);
}

/// Node obeys a Connection that comes so late.
#[test]
fn rfc9110_6_5_1_a_trailer_changes_neither_framing_nor_connection_nor_host() {
    let server = service();
    for trailer in [
        "Connection: close",
        "Content-Length: 99",
        "Transfer-Encoding: gzip",
        "Host: b",
        "Expect: x",
        "Upgrade: y",
    ] {
        let request = chunked(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"));
        let answer = expect_however_split(&server, trailer, request, 200, Kept);
        assert_eq!(answer.body, b"hello", "{trailer}");
    }
}

#[test]
fn rfc9112_8_a_body_that_ends_before_its_end_is_never_2xx() {
    let server = service();
    for (row, request) in [
        ("a length", post("Content-Length: 5", "hell")),
        ("a length, no byte", post("Content-Length: 5", "")),
        ("in a chunk", chunked("5\r\nhell")),
        ("after a chunk", chunked("5\r\nhello\r\n")),
        ("in the last size line", chunked("5\r\nhello\r\n0\r")),
        ("before the empty line", chunked("5\r\nhello\r\n0\r\n")),
        ("in the trailers", chunked("5\r\nhello\r\n0\r\nX: a\r\n")),
    ] {
        let mut client = server.connect();
        client.send(&request);
        client.finish_sending();
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.says_close()), (400, true), "{row}: {answer:?}");
        client.expect_end();
    }
}

#[test]
fn rfc9110_10_1_1_a_100_comes_when_the_handler_reads() {
    let server = service();
    for (expectation, framing, body) in [
        ("100-continue", "Content-Length: 5", "hello"),
        ("100-Continue", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        (", 100-continue\t,", "Content-Length: 5", "hello"),
    ] {
        let mut client = server.connect();
        client.send(post(&format!("Expect: {expectation}\r\n{framing}"), ""));
        let interim = client.answer("POST");
        assert_eq!((interim.status, interim.fields.len()), (100, 0), "{interim:?}");
        client.send(body);
        let answer = client.answer("POST");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "{expectation}");
        client.expect_kept();
    }
}

/// The answers to the requests before it come before the 100.
#[test]
fn rfc9112_9_3_2_a_100_does_not_overtake_an_answer() {
    let server = service();
    let mut client = server.connect();
    client.send([PROBE, &post("Expect: 100-continue\r\nContent-Length: 5", "")].concat());
    assert_eq!(client.answer("GET").body, b"probe");
    assert_eq!(client.answer("POST").status, 100);
    client.send("hello");
    assert_eq!(client.answer("POST").body, b"hello");
    client.expect_kept();
}

#[test]
fn rfc9110_10_1_1_no_100_where_none_is_due() {
    let server = service();
    let expecting = "Expect: 100-continue";
    let whole = post(&format!("{expecting}\r\nContent-Length: 5"), "hello");
    expect(&server, "the body is here", whole, 200, Kept);
    let none = post(&format!("{expecting}\r\nContent-Length: 0"), "");
    expect_however_split(&server, "a body of length 0", none, 200, Kept);
    let none = post(expecting, "");
    expect_however_split(&server, "no body", none, 200, Kept);
    let old = format!("POST /echo HTTP/1.0\r\n{expecting}\r\nContent-Length: 5\r\n\r\n");
    let mut client = server.connect();
    client.send(&old);
    client.expect_silence(Duration::from_millis(50));
    client.send("hello");
    let answer = client.answer("POST");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "1.0: {answer:?}");
    client.expect_end();
}

/// A client that sends its body at once does not wait for a 100: some of it is here.
#[test]
fn rfc9110_10_1_1_no_100_if_some_of_the_body_is_here() {
    let server = service();
    let mut client = server.connect();
    client.send(post("Expect: 100-continue\r\nContent-Length: 5", "hel"));
    client.expect_silence(Duration::from_millis(50));
    client.send("lo");
    let answer = client.answer("POST");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "{answer:?}");
    client.expect_kept();
}

#[test]
fn rfc9110_10_1_1_another_expectation_is_417_and_the_connection_goes_on() {
    let server = service();
    for expectation in ["x", "100-continue, x", "100-continue;q=1", "200-ok", "\"100-continue\""] {
        let request = post(&format!("Expect: {expectation}"), "");
        expect_however_split(&server, expectation, request, 417, Kept);
        let request = post(&format!("Expect: {expectation}\r\nContent-Length: 5"), "hello");
        expect_however_split(&server, "with a body, which is drained", request, 417, Kept);
    }
}

/// The client may then send its body or not: what follows could be either.
#[test]
fn rfc9110_10_1_1_a_final_status_before_any_read_closes() {
    let server = service();
    for (framing, body) in
        [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "0\r\n\r\n")]
    {
        let head = "POST /unread HTTP/1.1\r\nHost: a\r\nExpect: 100-continue";
        let request = format!("{head}\r\n{framing}\r\n\r\n");
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.says_close()), (200, true), "{framing}: {answer:?}");
        client.send([body.as_bytes(), PROBE].concat());
        client.expect_end();
    }
}

/// A request to the echo, with these field lines beside Host.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}").into_bytes()
}

/// A request to the echo, with a body in chunked coding as it is sent.
fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked", body)
}
