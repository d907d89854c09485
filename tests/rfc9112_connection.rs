//! RFC 9112 through a socket: what an answer is made of, and what becomes of the connection.
//!
//! The client of tests/http holds every answer to the rules for all: one framing, Date, Content-Type
//! where there is content, one line of text in an error. Here are the rules for some. Rows and names
//! as in `rfc9112_requests`. Next: `disconnect`.

mod http;

use std::time::{Duration, Instant};

use http::Then::{Closed, Kept};
use http::service::{service, service_with};
use http::{Answer, Client, PROBE, TestServer, expect, expect_however_split, text};
use squall_http::Limits;

/// Broken by a server that compares the whole value, or one line alone.
#[test]
fn rfc9112_9_6_close_in_any_element_of_any_line_closes() {
    let server = service();
    for version in ["1.0", "1.1"] {
        for fields in [
            "Connection: close",
            "connection:CLOSE",
            "Connection: keep-alive, close",
            "Connection: close, keep-alive",
            "Connection: x,\t Close\t,y",
            "Connection: keep-alive\r\nX: y\r\nConnection: close",
            "Connection:\r\nConnection: ,close,",
        ] {
            let row = format!("{fields:?} in {version}");
            let request = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n");
            expect(&server, &row, request, 200, Closed);
        }
    }
    for fields in ["Connection: closed", "Connection: x-close", "Connection: close;q=1", "X: close"]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        expect_however_split(&server, fields, request, 200, Kept);
    }
}

#[test]
fn rfc9112_9_3_1_0_closes_unless_it_asks_for_keep_alive_and_the_length_is_known() {
    let server = service();
    for fields in ["", "Connection: keep\r\n", "Keep-Alive: timeout=5\r\n", "Connection: x\r\n"] {
        let request = format!("GET / HTTP/1.0\r\nHost: a\r\n{fields}\r\n");
        expect(&server, &format!("{fields:?}"), request, 200, Closed);
    }
    for fields in ["Connection: keep-alive", "Connection: x, Keep-Alive", "connection:KEEP-ALIVE"] {
        let request = format!("GET / HTTP/1.0\r\nHost: a\r\n{fields}\r\n\r\n");
        let answer = expect_however_split(&server, fields, request, 200, Kept);
        let says = answer.header("connection").map(str::to_ascii_lowercase);
        assert_eq!(says.as_deref(), Some("keep-alive"), "{fields}");
    }
    let request = "GET /lines/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = expect(&server, "a length that is not known", request, 200, Closed);
    assert_eq!(answer.body, b"line 0\nline 1\nline 2\n");
}

#[test]
fn rfc9110_7_6_1_a_framing_field_named_in_connection_still_frames() {
    let server = service();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Content-Length, Host";
    let request = format!("{head}\r\nContent-Length: 5\r\n\r\nhello");
    let answer = expect_however_split(&server, "a length", request, 200, Kept);
    assert_eq!(answer.body, b"hello");
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding";
    let request = format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let answer = expect_however_split(&server, "a coding", request, 200, Kept);
    assert_eq!(answer.body, b"hello");
}

#[test]
fn rfc9110_7_8_an_upgrade_that_no_route_takes_is_ignored() {
    let server = service();
    for fields in [
        "Connection: Upgrade\r\nUpgrade: websocket",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: websocket",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let answer = expect_however_split(&server, fields, request, 200, Kept);
        assert_eq!(answer.header("upgrade"), None);
    }
    let request = "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    expect(&server, "1.0", request, 200, Closed);
}

/// Pingora, CVE-2025-4366: a body left unread was the next request.
#[test]
fn rfc9112_9_3_an_unread_body_is_drained_up_to_64_kib() {
    let server = service();
    let request = |len: usize| {
        let head = format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        head + &"GET /smuggled HTTP/1.1\r\n\r\n".repeat(len / 26 + 1)[..len]
    };
    for (len, then) in [(1, Kept), (65_536, Kept), (65_537, Closed), (1_000_000, Closed)] {
        expect(&server, &format!("{len} bytes"), request(len), 200, then);
    }
    expect_however_split(&server, "5 bytes", request(5), 200, Kept);
    let head = "POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked";
    let request = format!("{head}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    expect(&server, "chunks: nobody knows how many", request, 200, Closed);
}

/// A plain close would reset a client that sends the rest of its body, and the answer with it.
#[test]
fn rfc9112_9_6_after_close_an_unread_body_does_not_cost_the_answer() {
    let server = service();
    for (len, path) in [(5, "/unread"), (100_000, "/unread"), (5, "/nowhere"), (5, "/probe")] {
        let mut client = server.connect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close");
        client.send(format!("{head}\r\nContent-Length: {len}\r\n\r\n"));
        let answer = client.answer("POST");
        assert!(answer.says_close(), "{path}: {answer:?}");
        client.send("b".repeat(len));
        client.expect_end();
    }
}

/// The head goes out first, so it must be right whatever the client then sends.
#[test]
fn rfc9112_9_3_whether_an_unread_body_is_drained_is_said_before_it_has_come() {
    let server = service();
    for (len, closes) in [(65_536, false), (65_537, true)] {
        let mut client = server.connect();
        client.send(format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"));
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.says_close()), (200, closes), "{len}: {answer:?}");
        client.send("b".repeat(len));
        if closes {
            client.expect_end();
        } else {
            client.expect_kept();
        }
    }
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_answered_in_their_order() {
    let server = service();
    let mut client = server.connect();
    let count = 200;
    let requests = (0..count).map(|i| match i % 4 {
        0 => format!("GET /t/{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
        1 => format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{i:03}"),
        2 => format!("HEAD /t/{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
        _ => {
            let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked";
            format!("{head}\r\n\r\n1\r\nx\r\n3\r\n{i:03}\r\n0\r\n\r\n")
        }
    });
    client.send(requests.collect::<String>());
    for i in 0..count {
        let method = if i % 4 == 2 { "HEAD" } else { "GET" };
        let answer = client.answer(method);
        let body = match i % 4 {
            0 => format!("path=/t/{i} query=- host=a\n"),
            1 => format!("{i:03}"),
            2 => String::new(),
            _ => format!("x{i:03}"),
        };
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{i}");
    }
    client.expect_kept();
}

#[test]
fn rfc9112_9_6_after_an_error_the_earlier_ones_are_answered_and_the_later_are_not() {
    let server = service();
    for (row, bad, status) in [
        ("a head", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a framing", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (
            "a chunk",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            400,
        ),
        ("a close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
    ] {
        let mut client = server.connect();
        client.send([PROBE, PROBE, bad.as_bytes(), PROBE, PROBE].concat());
        assert_eq!(client.answer("GET").body, b"probe", "{row}");
        assert_eq!(client.answer("GET").body, b"probe", "{row}");
        let last = client.answer("GET");
        assert_eq!((last.status, last.says_close()), (status, true), "{row}: {last:?}");
        client.expect_end();
    }
}

/// The answer to a client that still sends: a plain close would reset it away.
#[test]
fn rfc9112_9_6_an_error_reaches_a_client_that_goes_on_sending() {
    let server = service();
    for (row, head) in [
        ("413", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n"),
        ("400", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
    ] {
        let mut client = server.connect();
        client.send(head);
        for _ in 0..80 {
            client.send("b".repeat(100_000));
        }
        let answer = client.answer("POST");
        assert_eq!((answer.status.to_string(), answer.says_close()), (row.to_owned(), true));
        client.expect_end();
    }
}

/// What a plain function answers is ready at once; a FIN does not take it back.
#[test]
fn rfc9112_9_6_a_fin_behind_a_whole_request_does_not_cost_its_answer() {
    let server = service();
    for count in [1, 3] {
        let mut client = server.connect();
        client.send(PROBE.repeat(count));
        client.finish_sending();
        for _ in 0..count {
            assert_eq!(client.answer("GET").body, b"probe");
        }
        client.expect_end();
    }
    let mut client = server.connect();
    client.send("GET /lines/10000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    let answer = client.answer("GET");
    assert!(answer.body.ends_with(b"line 9999\n"), "{}", text(&answer.body));
    client.expect_end();
}

#[test]
fn rfc9112_8_a_head_that_is_cut_short_is_not_answered() {
    let server = service();
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for len in 0..head.len() {
        let mut client = server.connect();
        client.send(&head[..len]);
        client.finish_sending();
        client.expect_end();
    }
}

/// A limit between two bytes is none: a slow loris sends one each time.
#[test]
fn rfc9110_15_5_9_a_head_that_does_not_end_in_time_is_408() {
    let mut limits = Limits::default();
    limits.head_timeout = Duration::from_millis(150);
    let server = service_with(limits);
    let mut begun = server.connect();
    begun.send("GET / HTTP/1.1\r\nHos");
    let mut slow = server.connect();
    let begin = Instant::now();
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: a value of many bytes, each of which comes late";
    for byte in head.iter().cycle() {
        if slow.has_answer() {
            break;
        }
        slow.send([*byte]);
        std::thread::sleep(Duration::from_millis(5));
        assert!(begin.elapsed() < http::PATIENCE, "it goes on for ever");
    }
    for (row, client) in [("one that stops", &mut begun), ("one that is slow", &mut slow)] {
        let answer = client.answer("GET");
        assert_eq!((answer.status, answer.says_close()), (408, true), "{row}: {answer:?}");
        client.expect_end();
    }
    assert!(begin.elapsed() >= Duration::from_millis(150), "too early");
    let mut kept = server.connect();
    kept.expect_kept();
    kept.send("GET /");
    assert_eq!(kept.answer("GET").status, 408, "a later head on a connection");
    kept.expect_end();
}

#[test]
fn rfc9112_9_5_a_connection_on_which_nothing_has_begun_closes_without_a_word() {
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_millis(100);
    let server = service_with(limits);
    let begin = Instant::now();
    let mut fresh = server.connect();
    let mut used = server.connect();
    used.expect_kept();
    fresh.expect_end();
    used.expect_end();
    assert!(begin.elapsed() >= Duration::from_millis(100), "too early");
    server.comes_to_rest();
}

#[test]
fn rfc9110_9_3_2_head_is_get_without_content() {
    let server = service();
    for path in ["/", "/t/p?q", "/fields", "/promise/9/9", "/status/404", "/nowhere", "/lines/3"] {
        let row = format!("HEAD {path}");
        let get = one(&server, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let request = format!("{row} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = expect_however_split(&server, &row, request, get.status, Kept);
        assert_eq!(head.header("content-type"), get.header("content-type"), "{row}");
        let length = get.header("content-length");
        assert_eq!(head.header("content-length"), length, "{row}");
        assert!(length.is_some() || path == "/lines/3", "{row}: {get:?}");
    }
}

/// Broken by an error path that does not know yet that HEAD was asked.
#[test]
fn rfc9110_9_3_2_an_error_to_head_has_no_content_either() {
    let server = service();
    for (row, request, status) in [
        ("no Host", "HEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("a bad field", "HEAD / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400),
        ("a bad target", "HEAD /< HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a bad version", "HEAD / HTTP/x\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("after empty lines", "\r\n\r\nHEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("a bad length", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), 400),
        ("a long target", format!("HEAD /{} HTTP/1.1\r\n\r\n", "a".repeat(9000)), 414),
        ("many fields", format!("HEAD / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101)), 431),
    ] {
        for size in [usize::MAX, 1] {
            let mut client = server.connect();
            client.send_pieces(&[request.as_bytes(), PROBE].concat(), size);
            let answer = client.answer("HEAD");
            assert_eq!((answer.status, answer.says_close()), (status, true), "{row}: {answer:?}");
            client.expect_end();
        }
    }
}

#[test]
fn rfc9112_6_3_204_and_304_have_no_content_whatever_the_handler_gives() {
    let server = service();
    for code in [204, 205, 304] {
        let request = format!("GET /status/{code} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect_however_split(&server, &code.to_string(), request, code, Kept);
        assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
        // A 304 may say the length that 200 would have had; a 205 must say that there is nothing.
        let length = answer.header("content-length");
        let allowed = match code {
            204 => length.is_none(),
            205 => length == Some("0"),
            _ => length.is_none_or(|length| length == "8"),
        };
        assert!(allowed, "{answer:?}");
    }
}

/// Broken by any way to send content that does not ask first whether there may be some.
#[test]
fn rfc9112_6_3_content_of_every_kind_stays_behind_a_head_that_has_none() {
    let server = service();
    for kind in ["status", "large", "streamed"] {
        for (method, code) in
            [("GET", 204), ("GET", 205), ("GET", 304), ("HEAD", 200), ("HEAD", 206)]
        {
            for (version, then) in [("1.1", Kept), ("1.0", Closed)] {
                let row = format!("{method} /{kind}/{code} HTTP/{version}");
                let answer = expect(&server, &row, format!("{row}\r\nHost: a\r\n\r\n"), code, then);
                assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
            }
        }
    }
}

/// A client that is told a length waits for so many bytes.
#[test]
fn rfc9110_8_6_204_and_1xx_tell_no_length() {
    let server = service();
    for kind in ["status", "large", "streamed"] {
        let request = format!("GET /{kind}/204 HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect(&server, kind, request, 204, Kept);
        assert_eq!(answer.header("content-length"), None, "{answer:?}");
        assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
    }
    let mut client = server.connect();
    let expecting = "Expect: 100-continue\r\nContent-Length: 5";
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{expecting}\r\n\r\n"));
    let interim = client.answer("POST");
    assert_eq!((interim.status, interim.fields.len()), (100, 0), "{interim:?}");
    client.send("hello");
    assert_eq!(client.answer("POST").body, b"hello");
}

#[test]
fn rfc9110_8_6_304_and_head_tell_the_length_that_get_has() {
    let server = service();
    for (kind, length) in [("status", Some("8")), ("large", Some("100000")), ("streamed", None)] {
        for (method, code) in [("GET", 304), ("HEAD", 200)] {
            let row = format!("{method} /{kind}/{code}");
            let request = format!("{row} HTTP/1.1\r\nHost: a\r\n\r\n");
            let answer = expect(&server, &row, request, code, Kept);
            assert_eq!(answer.header("content-length"), length, "{row}: {answer:?}");
        }
    }
}

#[test]
fn rfc9110_15_3_6_a_205_says_that_it_is_empty() {
    let server = service();
    for kind in ["status", "large", "streamed"] {
        let request = format!("GET /{kind}/205 HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect(&server, kind, request, 205, Kept);
        assert_eq!(answer.header("content-length"), Some("0"), "{answer:?}");
    }
}

/// Answer::check looks at its Content-Type, its length and its one line.
#[test]
fn rfc9110_15_5_a_refusal_says_in_one_line_what_was_wrong() {
    let server = service();
    for (request, status, line) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "Host is missing\n"),
        ("GET / HTTP/1.1\n", 400, "a line ends in LF alone\n"),
        ("GET / HTTP/3.0\r\n", 505, "only HTTP/1.0 and HTTP/1.1 are spoken here\n"),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            400,
            "the value of Content-Length is not a decimal number\n",
        ),
    ] {
        let answer = expect_however_split(&server, line, request, status, Closed);
        assert_eq!(text(&answer.body), text(line.as_bytes()));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn rfc9112_6_a_handler_cannot_say_where_its_response_ends() {
    let server = service();
    let answer = one(&server, "GET /framed HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"the server frames it\n"[..]));
}

/// Broken by sending it: the client takes the next answer for the one to this request.
#[test]
fn rfc9110_15_2_an_interim_status_of_a_handler_is_500() {
    let server = service();
    for code in [100, 101, 102, 103, 150, 199] {
        let request = format!("GET /status/{code} HTTP/1.1\r\nHost: a\r\n\r\n");
        expect_however_split(&server, &code.to_string(), request, 500, Kept);
    }
}

#[test]
fn rfc9112_6_1_an_unknown_length_is_chunked_and_to_1_0_delimited_by_the_close() {
    let server = service();
    for count in [0, 1, 3, 5000] {
        let lines: String = (0..count).map(|i| format!("line {i}\n")).collect();
        let request = format!("GET /lines/{count} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect(&server, &format!("{count} lines"), request, 200, Kept);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert!(answer.body == lines.as_bytes(), "{count}: {}", text(&answer.body));
        let request = format!("GET /lines/{count} HTTP/1.0\r\n\r\n");
        let answer = expect(&server, &format!("{count} lines to 1.0"), request, 200, Closed);
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.body == lines.as_bytes(), "{count}: {}", text(&answer.body));
    }
}

/// Answer::check looks at Date, Content-Type, Content-Length and the one line of each of these.
#[test]
fn rfc9110_6_6_1_every_answer_below_500_has_a_date() {
    let server = service();
    for code in (200..600).filter(|code| !(400..600).contains(code) || code % 7 == 0) {
        let request = format!("GET /status/{code} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = expect(&server, &code.to_string(), request, code, Kept);
        assert!(answer.header("date").is_some(), "{answer:?}");
    }
    for (path, status) in [("/nowhere", 404), ("/echo", 405)] {
        let request = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        expect(&server, path, request, status, Kept);
    }
}

#[test]
fn rfc9110_6_2_the_version_is_1_1_also_to_1_0() {
    let server = service();
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n"] {
        let mut client = server.connect();
        client.send(request);
        let all = client.read_to_end().expect("an answer");
        assert!(all.starts_with(b"HTTP/1.1 "), "{}", text(&all));
    }
}

#[test]
fn rfc9110_11_1_a_header_that_would_split_the_response_is_refused() {
    let server = service();
    let answer = one(&server, "GET /split HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"none split it"[..]), "{answer:?}");
    assert_eq!(answer.header("set-cookie"), None);
}

/// A client must not take a body that is too short for whole, nor the rest of one that is too
/// long for the next answer.
#[test]
fn rfc9110_8_6_a_body_of_another_length_than_promised_ends_the_connection() {
    let server = service();
    let request = |length, made| {
        format!("GET /promise/{length}/{made} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
    };
    for length in [0, 1, 3, 9, 100_000] {
        let answer = expect(&server, &format!("{length}"), request(length, length), 200, Kept);
        assert_eq!(answer.body.len(), length);
    }
    for (length, made) in
        [(9, 3), (9, 0), (100_000, 99_999), (2, 3), (3, 9), (0, 3), (50_000, 99_999)]
    {
        let mut client = server.connect();
        client.send([&request(length, made), PROBE].concat());
        let row = format!("{made} bytes for {length}");
        match client.try_answer("GET") {
            Ok(answer) => {
                // All that was promised, and then the end.
                assert!(made > length && answer.body.len() == length, "{row}: {answer:?}");
                client.expect_gone();
            }
            Err(why) => {
                assert!(why.starts_with("the end") || why.contains("reset"), "{row}: {why}")
            }
        }
    }
    server.comes_to_rest();
}

/// The answer to one request on a connection of its own.
fn one(server: &TestServer, request: &str) -> Answer {
    let mut client: Client = server.connect();
    client.send(request);
    client.answer("GET")
}
