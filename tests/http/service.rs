//! What the tests of RFC 9112 ask: each path shows one thing that a handler can do or see.

use std::io;
use std::task::{Context, Poll};

use squall_http::{Error, Limits, Method, Produce, Request, Response, Router, Server, StatusCode};

use super::TestServer;

/// A server of all paths, with the default limits.
pub fn service() -> TestServer {
    service_with(Limits::default())
}

/// The same, with other limits.
pub fn service_with(limits: Limits) -> TestServer {
    TestServer::start(move || Server::new(routes().into_handler()).limits(limits))
}

fn routes() -> Router {
    let router = Router::new()
        .plain(Method::Get, "/probe", |_| Response::text("probe"))
        .and_then(|router| router.plain(Method::Get, "/", asked))
        .and_then(|router| router.plain(Method::Get, "/t/{*rest}", asked))
        .and_then(|router| router.plain(Method::Options, "/t/{*rest}", asked))
        .and_then(|router| router.plain(Method::Get, "/fields", fields))
        .and_then(|router| router.post("/echo", echo))
        .and_then(|router| router.route(Method::Get, "/echo", echo))
        .and_then(|router| router.route(Method::Delete, "/echo", echo))
        .and_then(|router| router.post("/echo/large", echo_large))
        .and_then(|router| router.plain(Method::Post, "/unread", |_| Response::text("unread")))
        .and_then(|router| router.plain(Method::Get, "/unread", |_| Response::text("unread")))
        .and_then(|router| router.plain(Method::Delete, "/unread", |_| Response::text("unread")))
        .and_then(|router| router.plain(Method::Get, "/status/{code}", status))
        .and_then(|router| router.plain(Method::Get, "/large/{code}", large))
        .and_then(|router| router.plain(Method::Get, "/streamed/{code}", streamed))
        .and_then(|router| router.plain(Method::Get, "/lines/{count}", lines))
        .and_then(|router| router.plain(Method::Get, "/promise/{length}/{made}", promise))
        .and_then(|router| router.plain(Method::Get, "/split", split))
        .and_then(|router| router.plain(Method::Get, "/framed", framed));
    router.expect("the patterns are right")
}

/// What the head says, as the handler sees it.
fn asked(request: &mut Request<'_>) -> Response {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let query = request.query().map_or("-".to_owned(), text);
    let host = request.host().map_or("-".to_owned(), text);
    Response::text(format!("path={} query={query} host={host}\n", text(request.path())))
}

fn fields(request: &mut Request<'_>) -> Response {
    let mut all = Vec::new();
    for (name, value) in request.headers().iter() {
        all.extend_from_slice(&[name, b"=[", value, b"]\n"].concat());
    }
    Response::bytes("application/octet-stream", all)
}

async fn echo(request: &mut Request<'_>) -> Response {
    match request.body().bytes().await {
        Ok(bytes) => Response::bytes("application/octet-stream", bytes),
        Err(error) => error.into(),
    }
}

/// A route with a limit of its own.
async fn echo_large(request: &mut Request<'_>) -> Response {
    request.body().set_limit(4 << 20);
    echo(request).await
}

fn status(request: &mut Request<'_>) -> Response {
    Response::text("content\n").status(code(request))
}

fn code(request: &Request<'_>) -> StatusCode {
    let code = request.param("code").and_then(|code| code.parse().ok());
    code.and_then(StatusCode::new).expect("a code")
}

/// More than is copied behind a head.
fn large(request: &mut Request<'_>) -> Response {
    let status = code(request);
    Response::bytes("text/plain", vec![b'x'; 100_000]).status(status)
}

/// Content that is made piece by piece.
fn streamed(request: &mut Request<'_>) -> Response {
    let status = code(request);
    Response::pieces("text/plain", ["some ", "content\n"]).status(status)
}

/// Of unknown length.
fn lines(request: &mut Request<'_>) -> Response {
    let count: u32 = request.param("count").and_then(|n| n.parse().ok()).expect("a number");
    Response::pieces("text/plain", (0..count).map(|i| format!("line {i}\n")))
}

/// Promises a length, and makes perhaps another one.
fn promise(request: &mut Request<'_>) -> Response {
    let number = |name| request.param(name).and_then(|n| n.parse().ok()).expect("a number");
    let (length, made): (u64, u64) = (number("length"), number("made"));
    Response::produced("text/plain", Some(length), Made { left: made })
}

struct Made {
    left: u64,
}

impl Produce for Made {
    fn poll_produce(&mut self, _: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let now = self.left.min(3);
        out.extend(std::iter::repeat_n(b'x', now as usize));
        self.left -= now;
        Poll::Ready(Ok(self.left > 0))
    }
}

/// Tries to say itself where the response ends.
fn framed(_: &mut Request<'_>) -> Response {
    for name in ["Content-Length", "CONTENT-LENGTH", "transfer-encoding", "Connection"] {
        let refused = Response::text("").header(name, "1").expect_err("it is the server's");
        assert_eq!(refused, Error::HeaderReserved, "{name}");
    }
    Response::text("the server frames it\n")
}

/// Tries to split the response, and tells how that went.
fn split(_: &mut Request<'_>) -> Response {
    let attempts = [
        ("X-A", "a\r\nSet-Cookie: admin=1", Error::HeaderValue),
        ("X-A", "a\nb", Error::HeaderValue),
        ("X-A", "a\rb", Error::HeaderValue),
        ("X-A", "a\0b", Error::HeaderValue),
        ("X A", "a", Error::HeaderName),
        ("X-A:", "a", Error::HeaderName),
        ("", "a", Error::HeaderName),
        ("X\r\nY", "a", Error::HeaderName),
        ("Content-Length", "3", Error::HeaderReserved),
        ("transfer-encoding", "chunked", Error::HeaderReserved),
        ("Connection", "close", Error::HeaderReserved),
    ];
    for (name, value, error) in attempts {
        let refused = Response::text("").header(name, value).expect_err("it splits the response");
        assert_eq!(refused, error, "{name:?}: {value:?}");
    }
    let response = Response::text("none split it").header("X-A", "a\tb \u{e9}");
    response.expect("HTAB, SP and obs-text are allowed inside a value")
}
