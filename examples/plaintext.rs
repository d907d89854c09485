//! The smallest HTTP server worth measuring: one process, one thread, one handler.
//!
//!     cargo run --release --example plaintext -- --addr 127.0.0.1:8080     printed  127.0.0.1:8080
//!     curl -i http://127.0.0.1:8080/                                       printed
//!
//! ```text
//! HTTP/1.1 200 OK
//! Date: Wed, 25 Nov 2026 04:00:00 GMT
//! Content-Length: 13
//! Content-Type: text/plain
//!
//! Hello, World!
//! ```
//!
//! The handler is one async function with a type of its own, so a request costs one receive, one
//! send, and no allocation.

use squall_http::{Method, Request, Response, Server, StatusCode};
use squall_reactor::{Reactor, workers::Bind};
use squall_support::{args::Args, limits::raise_open_files};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::new("plaintext", "Answers GET / with Hello, World!, on one thread.")
        .option("--addr", "HOST:PORT", "where to listen; port 0 picks a free one [127.0.0.1:8080]")
        .parse();
    raise_open_files()?;
    let mut sockets = Bind::new(args.text("--addr").unwrap_or("127.0.0.1:8080")).bind()?;
    println!("{}", sockets.local_addrs()[0]);
    let mut reactor = Reactor::new()?;
    let _serving = Server::new(hello).add_sockets(sockets.take(0)).start(&reactor.handle())?;
    Ok(reactor.run()?)
}

async fn hello(request: &mut Request<'_>) -> Response {
    match (request.method(), request.path()) {
        (Method::Get | Method::Head, b"/") => Response::bytes("text/plain", b"Hello, World!"),
        _ => Response::error(StatusCode::NOT_FOUND, "only GET / is here"),
    }
}
