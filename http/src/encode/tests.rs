//! The rows of docs/rfc9112.md for responses.

use super::*;

const KEPT: Asked =
    Asked { method: Some(Method::Get), minor_version: 1, persistence: Persistence::Keep };

const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

fn head_with(
    status: u16,
    asked: Asked,
    length: Length,
    lines: &HeaderLines,
) -> (String, Transfer, bool) {
    let status = StatusCode::new(status).expect("the tests use codes");
    let mut out = b"before ".to_vec();
    let promise = encode_head(&mut out, status, asked, length, lines, &Date::new(0));
    let text = String::from_utf8(out).expect("the tests use ASCII");
    let head = text.strip_prefix("before ").expect("it is appended").to_owned();
    (head, promise.transfer, promise.keep)
}

fn head(status: u16, asked: Asked, length: Length) -> (String, Transfer, bool) {
    head_with(status, asked, length, &HeaderLines::new())
}

fn known(length: u64) -> Length {
    Length::Known(length)
}

#[test]
fn rfc9112_6_3_a_known_length_is_said() {
    for length in [0, 1, 9, 10, 12345, u64::MAX] {
        let expected = format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: {length}\r\n\r\n");
        assert_eq!(head(200, KEPT, known(length)), (expected, Transfer::Length(length), true));
    }
}

// A byte after one of these is taken for the next response.
#[test]
fn rfc9112_6_3_nothing_follows_a_head_that_answers_head_or_is_204_or_304() {
    let asked = Asked { method: Some(Method::Head), ..KEPT };
    let (text, transfer, keep) = head(200, asked, known(5));
    assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 5\r\n\r\n"));
    assert_eq!((transfer, keep), (Transfer::Nothing, true));
    let (text, transfer, _) = head(404, asked, Length::Unknown);
    assert_eq!(text, format!("HTTP/1.1 404 Not Found\r\n{DATE}\r\n"));
    assert_eq!(transfer, Transfer::Nothing);
    for (length, line) in
        [(Length::Unknown, ""), (known(0), ""), (known(5), "Content-Length: 5\r\n")]
    {
        let (text, transfer, keep) = head(304, KEPT, length);
        assert_eq!(text, format!("HTTP/1.1 304 Not Modified\r\n{DATE}{line}\r\n"));
        assert_eq!((transfer, keep), (Transfer::Nothing, true));
    }
}

#[test]
fn rfc9110_8_6_1xx_and_204_say_no_length_and_no_coding() {
    for length in [known(0), known(5), Length::Unknown] {
        let (text, transfer, _) = head(204, KEPT, length);
        assert_eq!(text, format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n"));
        assert_eq!(transfer, Transfer::Nothing);
        for closing in [KEPT, KEPT.closing()] {
            let expected = "HTTP/1.1 100 Continue\r\n\r\n".to_owned();
            assert_eq!(head(100, closing, length), (expected, Transfer::Nothing, true));
        }
    }
}

#[test]
fn rfc9110_15_3_6_a_205_has_an_empty_content() {
    let (text, transfer, _) = head(205, KEPT, known(5));
    assert_eq!(text, format!("HTTP/1.1 205 Reset Content\r\n{DATE}Content-Length: 0\r\n\r\n"));
    assert_eq!(transfer, Transfer::Nothing);
}

#[test]
fn rfc9110_7_8_a_101_says_upgrade() {
    let mut lines = HeaderLines::new();
    lines.append("Upgrade", "websocket").expect("it is valid");
    let (text, transfer, keep) = head_with(101, KEPT, Length::Unknown, &lines);
    let expected =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!((text.as_str(), transfer, keep), (expected, Transfer::Nothing, true));
}

// aiohttp and Tornado leave the 1.0 connection open, and the client waits for ever.
#[test]
fn rfc9112_6_1_an_unknown_length_is_chunked_or_in_http_1_0_ends_with_the_connection() {
    let (text, transfer, keep) = head(200, KEPT, Length::Unknown);
    assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{DATE}Transfer-Encoding: chunked\r\n\r\n"));
    assert_eq!((transfer, keep), (Transfer::Chunked, true));
    let old = Asked { minor_version: 0, persistence: Persistence::KeepAndSay, ..KEPT };
    let (text, transfer, keep) = head(200, old, Length::Unknown);
    assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{DATE}Connection: close\r\n\r\n"));
    assert_eq!((transfer, keep), (Transfer::UntilClose, false));
}

#[test]
fn rfc9112_9_3_what_happens_to_the_connection_is_said() {
    let (text, _, keep) = head(200, KEPT.closing(), known(1));
    assert!(
        text.ends_with("\r\nContent-Length: 1\r\nConnection: close\r\n\r\n") && !keep,
        "{text}"
    );
    let old = Asked { minor_version: 0, persistence: Persistence::KeepAndSay, ..KEPT };
    let (text, _, keep) = head(200, old, known(1));
    assert!(text.contains("\r\nConnection: keep-alive\r\n") && keep, "{text}");
    assert!(text.starts_with("HTTP/1.1 "), "also to HTTP/1.0 (RFC 9110, 6.2)");
}

// Go, Node and Tornado leave it out of a 400.
#[test]
fn rfc9110_6_6_1_every_final_response_has_one_date() {
    for status in [200, 304, 400, 404, 431, 500] {
        let (text, ..) = head(status, KEPT, known(0));
        assert_eq!(text.matches("Date: ").count(), 1, "{text}");
    }
    let mut lines = HeaderLines::new();
    lines.append("date", "Sun, 06 Nov 1994 08:49:37 GMT").expect("it is valid");
    let (text, ..) = head_with(200, KEPT, known(0), &lines);
    assert!(!text.contains("Date: ") && text.contains("\r\ndate: Sun, 06 Nov 1994"), "{text}");
}

#[test]
fn rfc9110_15_a_status_without_a_phrase_keeps_its_space() {
    assert!(head(299, KEPT, known(0)).0.starts_with("HTTP/1.1 299 \r\nDate: "));
}

// Response splitting; hyper let CR and LF through until 2017.
#[test]
fn rfc9110_5_5_a_header_that_could_split_the_response_is_refused() {
    let mut lines = HeaderLines::new();
    lines.append("A", "b").expect("it is valid");
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}", "a\0", " a"] {
        assert_eq!(lines.append(name, "x"), Err(Error::HeaderName), "{name:?}");
    }
    for value in ["a\r\nb", "a\rb", "a\nb", "\0", "\x7f", "a\r", "\n", " a", "a\t", "\x0b"] {
        assert_eq!(lines.append("X", value), Err(Error::HeaderValue), "{value:?}");
    }
    for name in ["content-length", "Transfer-Encoding", "CONNECTION"] {
        assert_eq!(lines.append(name, "close"), Err(Error::HeaderReserved), "{name}");
    }
    assert_eq!(lines.as_bytes(), b"A: b\r\n");
    lines.append("x-Odd_Name", b"\xff a\tb").expect("it is valid");
    lines.append("Empty", "").expect("it is valid");
    assert_eq!(lines.as_bytes(), b"A: b\r\nx-Odd_Name: \xff a\tb\r\nEmpty: \r\n");
}

#[test]
fn header_lines_know_their_names() {
    let mut lines = HeaderLines::new();
    lines.append("Content-Type", "a: b").expect("it is valid");
    lines.append("X", "Y: z").expect("it is valid");
    assert!(lines.contains("content-TYPE") && lines.contains("x"));
    assert!(!lines.contains("Y") && !lines.contains("Content") && !lines.contains(""));
    lines.clear();
    assert!(!lines.contains("X") && lines.as_bytes().is_empty());
}

#[test]
fn rfc9110_15_5_a_refusal_says_why_in_a_line_and_closes() {
    let mut out = Vec::new();
    let promise = encode_error(&mut out, Error::BareLf, Asked::UNKNOWN, &Date::new(0));
    let expected = format!(
        "HTTP/1.1 400 Bad Request\r\n{DATE}Content-Length: 24\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\na line ends in LF alone\n"
    );
    assert_eq!(String::from_utf8_lossy(&out), expected);
    assert!(!promise.keep);
    out.clear();
    let asked = Asked { method: Some(Method::Head), ..KEPT };
    let promise = encode_error(&mut out, Error::BodyTooLarge, asked, &Date::new(0));
    assert!(out.ends_with(b"\r\n\r\n") && out.starts_with(b"HTTP/1.1 413 Content Too Large\r\n"));
    assert_eq!(promise, Promise { transfer: Transfer::Nothing, keep: false });
    let promise = encode_error(&mut out, Error::ExpectationFailed, KEPT, &Date::new(0));
    assert!(promise.keep);
}

#[test]
fn rfc9112_7_1_a_chunk_has_its_size_before_it() {
    for len in [1, 9, 10, 15, 16, 255, 256, 65_536, 0xabcde] {
        let mut out = b"before".to_vec();
        let chunk = begin_chunk(&mut out);
        out.resize(out.len() + len, b'x');
        end_chunk(&mut out, chunk);
        assert_eq!(out, format!("before{len:08x}\r\n{}\r\n", "x".repeat(len)).into_bytes());
    }
}

// Its size would be 0: the body would end in its middle.
#[test]
fn rfc9112_7_1_a_chunk_without_data_is_not_sent() {
    let mut out = b"before".to_vec();
    let chunk = begin_chunk(&mut out);
    end_chunk(&mut out, chunk);
    assert_eq!(out, b"before");
}

// Steady state: the same buffer takes the next response without growing.
#[test]
fn a_head_fits_the_room_that_is_reserved_for_it() {
    let mut longest = 0;
    for code in 100..600 {
        let old = Asked { minor_version: 0, persistence: Persistence::KeepAndSay, ..KEPT };
        for asked in [KEPT, KEPT.closing(), old] {
            longest = longest.max(head(code, asked, known(u64::MAX)).0.len());
        }
    }
    assert!(longest <= ROOM, "{longest}");
}
