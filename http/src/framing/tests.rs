//! The rows of docs/rfc9112.md for Content-Length, Transfer-Encoding, Connection and Expect.

use super::*;
use crate::head::HeadParser;
use crate::limits::Limits;
use crate::status::StatusCode;

/// Looks at a head with this method and version, and these lines, joined by `|`.
fn ask<T>(method: &str, minor: u8, lines: &str, look: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    let lines: String = lines
        .split('|')
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\r\n"))
        .collect();
    let bytes = format!("{method} / HTTP/1.{minor}\r\nHost: h\r\n{lines}\r\n");
    let mut parser = HeadParser::new();
    let length = parser.parse(bytes.as_bytes(), &Limits::default());
    assert_eq!(length, Ok(Some(bytes.len())), "{lines}");
    look(&parser.head(bytes.as_bytes()))
}

fn post(lines: &str) -> Result<Framing, Error> {
    ask("POST", 1, lines, framing)
}

#[track_caller]
fn refused(lines: &str, error: Error) {
    assert_eq!(post(lines), Err(error), "{lines}");
}

// ---- Content-Length ----

#[test]
fn rfc9112_6_3_digits_are_a_decimal_length() {
    assert_eq!(post("Content-Length: 5"), Ok(Framing::Length(5)));
    assert_eq!(post("content-LENGTH:\t0010 "), Ok(Framing::Length(10)));
    assert_eq!(post(&format!("Content-Length: {:0>999}", 7)), Ok(Framing::Length(7)));
    assert_eq!(post(&format!("Content-Length: {}", u64::MAX)), Ok(Framing::Length(u64::MAX)));
    assert_eq!(post("Content-Length: 0"), Ok(Framing::None));
    assert_eq!(post("Content-Length: 000"), Ok(Framing::None));
    assert_eq!(post("A: b"), Ok(Framing::None)); // item 7
}

// RUSTSEC-2021-0078 is the sign, GHSA-qppv-j76h-2rpx the underscore; Go takes an empty value.
#[test]
fn rfc9112_6_3_a_length_that_is_not_digits_alone_is_400() {
    for value in ["+5", "-5", "5 5", "5\t5", "0x5", "5_0", "", "5a", "5.0", "1e3", "\u{665}", "5;"]
    {
        refused(&format!("Content-Length: {value}"), Error::LengthSyntax);
    }
    let long = "9".repeat(30);
    refused(&format!("Content-Length: {long}x"), Error::LengthSyntax);
}

// CL.CL: two hops that choose differently.
#[test]
fn rfc9112_6_3_a_second_length_is_400_even_if_it_is_the_same() {
    refused("Content-Length: 5|Content-Length: 6", Error::LengthRepeated);
    refused("Content-Length: 5|A: b|content-length: 5", Error::LengthRepeated);
    refused("Content-Length: 5, 5", Error::LengthSyntax);
    refused("Content-Length: 5, 6", Error::LengthSyntax);
    refused("Content-Length: 5,", Error::LengthSyntax);
}

// A length that wraps is a short body with a request of the attacker's choice behind it.
#[test]
fn rfc9110_15_5_14_a_length_over_u64_or_over_the_limit_is_413() {
    refused("Content-Length: 18446744073709551616", Error::BodyTooLarge);
    refused(&format!("Content-Length: {}", "9".repeat(100)), Error::BodyTooLarge);
    assert_eq!(Error::BodyTooLarge.status(), StatusCode::CONTENT_TOO_LARGE);
    assert_eq!(Framing::Length(5).within(5), Ok(Framing::Length(5)));
    assert_eq!(Framing::Length(6).within(5), Err(Error::BodyTooLarge));
    assert_eq!(Framing::Chunked.within(0), Ok(Framing::Chunked));
    assert_eq!(Framing::None.within(0), Ok(Framing::None));
}

// Pingora CVE-2025-4366: a body left unread became the next request.
#[test]
fn rfc9112_6_3_a_body_is_framed_whatever_the_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        assert_eq!(ask(method, 1, "Content-Length: 5", framing), Ok(Framing::Length(5)));
        assert_eq!(ask(method, 1, "Transfer-Encoding: chunked", framing), Ok(Framing::Chunked));
        assert_eq!(ask(method, 0, "Content-Length: 5", framing), Ok(Framing::Length(5)));
    }
}

// ---- Transfer-Encoding ----

#[test]
fn rfc9112_6_1_chunked_is_taken_in_any_case_and_among_empty_elements() {
    for value in ["chunked", "Chunked", "CHUNKED\t", ", chunked", "chunked ,\t,", ",,chunked"] {
        assert_eq!(post(&format!("Transfer-Encoding: {value}")), Ok(Framing::Chunked), "{value}");
    }
    assert_eq!(post("Transfer-Encoding:|transfer-ENCODING: chunked"), Ok(Framing::Chunked));
    assert_eq!(post("Transfer-Encoding: chunked|Transfer-Encoding: ,"), Ok(Framing::Chunked));
}

#[test]
fn rfc9112_6_3_a_last_coding_other_than_chunked_is_400() {
    for value in [
        "",
        ",",
        "xchunked",
        "chunkedx",
        "identity",
        "gzip",
        "chunked, gzip",
        "chunked, identity",
        "\"chunked\"",
        "chun ked",
        "chunked chunked",
        "chunked\u{e9}",
        "gzip, \"chunked\"",
        ";",
    ] {
        refused(&format!("Transfer-Encoding: {value}"), Error::CodingSyntax);
    }
    refused("Transfer-Encoding: chunked|Transfer-Encoding: identity", Error::CodingSyntax);
}

// hyper and Node pass the inner coding on to the handler.
#[test]
fn rfc9112_6_1_another_coding_before_chunked_is_501() {
    for value in ["gzip, chunked", "identity,chunked", "gzip;q=1, x, chunked"] {
        refused(&format!("Transfer-Encoding: {value}"), Error::CodingUnsupported);
    }
    refused("Transfer-Encoding: gzip|Transfer-Encoding: chunked", Error::CodingUnsupported);
    assert_eq!(Error::CodingUnsupported.status(), StatusCode::NOT_IMPLEMENTED);
}

// GHSA-753j-mpmx-qq6g: two lines of it were taken as no body.
#[test]
fn rfc9112_6_1_chunked_twice_or_with_a_parameter_is_400() {
    for value in ["chunked, chunked", "chunked;q=1", "chunked ;", "chunked;q=1, chunked"] {
        refused(&format!("Transfer-Encoding: {value}"), Error::CodingSyntax);
    }
    refused("Transfer-Encoding: chunked|Transfer-Encoding: chunked", Error::CodingSyntax);
    refused("Transfer-Encoding: chunked, gzip, chunked", Error::CodingSyntax);
}

// Go 1.19 keeps the connection and is smuggled.
#[test]
fn rfc9112_6_1_length_and_coding_together_are_400() {
    refused("Content-Length: 5|Transfer-Encoding: chunked", Error::LengthAndCoding);
    refused("Transfer-Encoding: chunked|Content-Length: 0", Error::LengthAndCoding);
    refused("Transfer-Encoding: gzip|Content-Length: x", Error::LengthAndCoding);
}

// Node, aiohttp and Tornado keep the connection.
#[test]
fn rfc9112_6_1_a_coding_in_http_1_0_is_400() {
    let answer = ask("POST", 0, "Transfer-Encoding: chunked", framing);
    assert_eq!(answer, Err(Error::CodingInHttp10));
}

// ---- Connection ----

// Tornado sees a lone one only.
#[test]
fn rfc9112_9_6_close_in_any_element_of_any_line_closes() {
    for lines in [
        "Connection: close",
        "connection:CLOSE",
        "Connection: keep-alive, close",
        "Connection: x,\tClose ,y",
        "Connection: keep-alive|A: b|Connection: x, close",
    ] {
        assert_eq!(ask("GET", 1, lines, persistence), Persistence::Close, "{lines}");
        assert_eq!(ask("GET", 0, lines, persistence), Persistence::Close, "{lines}");
    }
}

#[test]
fn rfc9112_9_3_http_1_1_is_kept_and_1_0_only_if_it_asks() {
    for lines in ["", "Connection: keep-alive", "Connection: closed, x", "Close: close"] {
        assert_eq!(ask("GET", 1, lines, persistence), Persistence::Keep, "{lines}");
        assert_eq!(ask("GET", 9, lines, persistence), Persistence::Keep, "{lines}");
    }
    assert_eq!(ask("GET", 0, "", persistence), Persistence::Close);
    assert_eq!(ask("GET", 0, "Connection: keep-alives", persistence), Persistence::Close);
    let lines = "Connection: x|Connection: Keep-Alive";
    assert_eq!(ask("GET", 0, lines, persistence), Persistence::KeepAndSay);
}

// A server that takes the named field for removed reads the body as a request.
#[test]
fn rfc9110_7_6_1_a_length_named_in_connection_still_frames() {
    let lines = "Connection: Content-Length|Content-Length: 5";
    assert_eq!(post(lines), Ok(Framing::Length(5)));
}

#[test]
fn rfc9110_7_8_an_upgrade_is_offered_only_if_connection_names_it() {
    let offers = |minor, lines| ask("GET", minor, lines, |head| offers_upgrade(head, "websocket"));
    assert!(offers(1, "Upgrade: h2c, WebSocket|Connection: keep-alive, Upgrade"));
    assert!(!offers(0, "Upgrade: websocket|Connection: Upgrade"));
    assert!(!offers(1, "Upgrade: websocket"));
    assert!(!offers(1, "Connection: Upgrade"));
    assert!(!offers(1, "Upgrade: websockets|Connection: Upgrade"));
}

// ---- Expect ----

fn expect(minor: u8, lines: &str) -> Result<Expectation, Error> {
    ask("POST", minor, lines, |head| expectation(head, framing(head)?))
}

#[test]
fn rfc9110_10_1_1_a_client_with_a_body_to_come_waits_for_100() {
    for lines in [
        "Expect: 100-continue|Content-Length: 1",
        "expect: 100-CONTINUE|Transfer-Encoding: chunked",
        "Expect: 100-continue, 100-continue|Content-Length: 1",
        "Expect:|Expect: 100-continue|Content-Length: 1",
    ] {
        assert_eq!(expect(1, lines), Ok(Expectation::Continue), "{lines}");
    }
}

// Tornado sends one to HTTP/1.0, where it is taken for the response.
#[test]
fn rfc9110_10_1_1_no_100_to_http_1_0_nor_without_a_body() {
    assert_eq!(expect(0, "Expect: 100-continue|Content-Length: 1"), Ok(Expectation::None));
    assert_eq!(expect(1, "Expect: 100-continue"), Ok(Expectation::None));
    assert_eq!(expect(1, "Expect: 100-continue|Content-Length: 0"), Ok(Expectation::None));
    assert_eq!(expect(1, "Content-Length: 1"), Ok(Expectation::None));
    assert_eq!(expect(1, "Expect: |Content-Length: 1"), Ok(Expectation::None));
}

#[test]
fn rfc9110_10_1_1_another_expectation_is_417_and_keeps_the_connection() {
    for lines in ["Expect: 200-ok", "Expect: 100-continue, x", "Expect: 100-continue|Expect: x"] {
        assert_eq!(expect(1, lines), Err(Error::ExpectationFailed), "{lines}");
    }
    assert_eq!(Error::ExpectationFailed.status(), StatusCode::EXPECTATION_FAILED);
    assert!(Error::ExpectationFailed.keeps_connection());
}
