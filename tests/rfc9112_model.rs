//! Random connections through a socket: the answers are those that the rules predict, no fewer, no
//! more, and in their order.
//!
//! The prediction is made by the reference of http/tests, which has all bytes at once and shares no
//! code with the server. So a body that is taken for a request, an answer behind an error, or one
//! that depends on how the bytes were split, shows here in whatever form it comes.

mod http;
#[path = "../http/tests/inputs/mod.rs"]
mod inputs;
#[path = "../http/tests/properties/mod.rs"]
mod properties;
#[path = "../http/tests/reference/mod.rs"]
mod reference;

use std::net::Shutdown;

use http::TestServer;
use properties::{Conditions, Random};
use reference::head::Head;
use squall_http::framing::{Expectation, Framing, Persistence};
use squall_http::{Error, Limits, Method, Request, Response, Server};

/// An answer that must come.
#[derive(Debug)]
struct Due {
    method: Vec<u8>,
    status: u16,
    /// What the handler echoes; `None` where another than the handler answers.
    body: Option<Vec<u8>>,
}

/// How the answers end.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// With the connection, in order.
    End,
    /// The same, perhaps behind one answer more, which is not one of success: a body was cut short.
    Cut,
    /// It hangs on when the bytes came.
    Unknown,
}

#[test]
fn rfc9112_9_6_random_connections_are_answered_as_the_rules_predict() {
    let server = TestServer::start(|| Server::new(echo));
    // CASES=100000 runs longer.
    let cases = std::env::var("CASES").map_or(1_500, |text| text.parse().expect("a number"));
    for seed in 0..cases {
        let mut random = Random(seed);
        let bytes = inputs::connection(&mut random);
        let (due, ending) = predict(&bytes);
        if ending == Ending::Unknown {
            continue;
        }
        let shown = || format!("seed {seed}: {}\ndue {due:?}, {ending:?}", bytes.escape_ascii());
        let mut client = server.connect();
        let mut done = 0;
        let conditions = Conditions { seed: random.number() as u32 | 1 };
        for cut in conditions.cuts(bytes.len()).into_iter().chain([bytes.len()]) {
            client.send_pieces(&bytes[done..cut], usize::MAX);
            done = cut;
        }
        // It fails if the server has closed already, behind an answer that says so.
        let _ = client.stream().shutdown(Shutdown::Write);
        for answer_due in &due {
            let answer = loop {
                let method = str::from_utf8(&answer_due.method).expect("a token");
                match client.try_answer(method) {
                    Ok(answer) if answer.status == 100 => {}
                    Ok(answer) => break answer,
                    Err(why) => panic!("{why}; {}", shown()),
                }
            };
            assert_eq!(answer.status, answer_due.status, "{answer:?}; {}", shown());
            if let Some(body) = &answer_due.body {
                assert_eq!(&answer.body, body, "{}", shown());
            }
        }
        match client.try_answer("GET") {
            // A reset, if bytes were on their way when it closed.
            Err(why) => {
                let ended = why.starts_with("the end after 0 bytes") || why.contains("reset");
                assert!(ended, "{why}; {}", shown());
            }
            Ok(answer) => {
                let excused = ending == Ending::Cut && answer.status >= 400 && answer.says_close();
                assert!(excused, "one answer more: {answer:?}; {}", shown());
                assert_eq!(client.read_to_end(), Ok(Vec::new()), "{}", shown());
            }
        }
    }
    server.comes_to_rest();
}

async fn echo(request: &mut Request<'_>) -> Response {
    match request.body().bytes().await {
        Ok(bytes) => Response::bytes("application/octet-stream", bytes),
        Err(error) => error.into(),
    }
}

/// The answers to these bytes and a FIN.
fn predict(bytes: &[u8]) -> (Vec<Due>, Ending) {
    let limits = Limits::default();
    let (mut due, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let head = match reference::head::head(rest, &limits) {
            Ok(Some(head)) => head,
            Ok(None) => return (due, Ending::End),
            Err(error) => {
                let method = if asks_by_head(rest) { b"HEAD".to_vec() } else { b"GET".to_vec() };
                due.push(Due { method, status: error.status().as_u16(), body: None });
                return (due, Ending::End);
            }
        };
        let method = head.method.clone();
        let status_of = |error: Error| error.status().as_u16();
        let framing = match reference::framing::framing(&head) {
            Ok(framing) => framing,
            Err(error) => {
                due.push(Due { method, status: status_of(error), body: None });
                return (due, Ending::End);
            }
        };
        let behind = &rest[head.length..];
        let body = body(framing, behind, &limits);
        let expectation = reference::framing::expectation(&head, framing);
        let closes = reference::framing::persistence(&head) == Persistence::Close;
        let (answered, goes_on) = match without_handler(&head, &expectation) {
            // The client may hold the body back or not, and a server that closes ends both.
            Some(_) if expectation == Ok(Expectation::Continue) => return (due, Ending::Unknown),
            // Nobody reads the body: it is drained, if it is known to be short.
            Some(status) => {
                due.push(Due { method: method.clone(), status, body: None });
                let short = match framing {
                    Framing::None => true,
                    Framing::Length(length) => length <= limits.max_drain_bytes,
                    Framing::Chunked => false,
                };
                (body, short && method != b"CONNECT")
            }
            None => {
                match &body {
                    Ok(Some((data, _))) => {
                        let echoed = if method == b"HEAD" { Vec::new() } else { data.clone() };
                        due.push(Due { method, status: 200, body: Some(echoed) });
                    }
                    Ok(None) => return (due, Ending::Cut),
                    Err(error) => {
                        due.push(Due { method, status: status_of(*error), body: None });
                    }
                }
                (body, true)
            }
        };
        match answered {
            Ok(Some((_, length))) if goes_on && !closes => at += head.length + length,
            _ => return (due, Ending::End),
        }
    }
}

/// The body and its bytes on the wire; `None` if they end before it does.
fn body(
    framing: Framing,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Option<(Vec<u8>, usize)>, Error> {
    match framing {
        Framing::None => Ok(Some((Vec::new(), 0))),
        Framing::Length(length) if length > limits.max_body_bytes => Err(Error::BodyTooLarge),
        Framing::Length(length) => {
            let length = length as usize;
            Ok(bytes.get(..length).map(|data| (data.to_vec(), length)))
        }
        Framing::Chunked => {
            let body = reference::chunked::chunked(bytes, limits.max_body_bytes, limits)?;
            Ok(body.map(|body| (body.data, body.length)))
        }
    }
}

/// The status of what is answered without asking the handler.
fn without_handler(head: &Head, expectation: &Result<Expectation, Error>) -> Option<u16> {
    if expectation.is_err() {
        return Some(417);
    }
    match Method::from_bytes(&head.method) {
        None | Some(Method::Connect | Method::Trace) => Some(501),
        Some(Method::Options) if head.target == b"*" => Some(204),
        Some(_) => None,
    }
}

/// Whether the answer has no content although the head is wrong: its method was read and is HEAD.
fn asks_by_head(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    rest.starts_with(b"HEAD ")
}
