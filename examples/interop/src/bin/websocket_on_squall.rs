//! A WebSocket echo: Squall speaks HTTP and hands the stream over, tungstenite speaks on it.
//!
//!     cargo run --bin websocket_on_squall -- 127.0.0.1:8080    then, in a browser's console:
//!     s = new WebSocket("ws://127.0.0.1:8080/"); s.onmessage = e => console.log(e.data); s.onopen = () => s.send("tea")
//!
//! tungstenite reads and writes what blocks or says `WouldBlock`, and knows no loop. So the stream is
//! tried, and where it says `WouldBlock` the task waits: for room until all is sent, and only then
//! for more to read. A client that sends and does not read stops being read.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpListener;

use squall_http::{Method, Request, Response, Server, StatusCode};
use squall_reactor::net::TcpStream;
use squall_reactor::{Reactor, Side, yield_now};
use tungstenite::WebSocket;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    let mut reactor = Reactor::new()?;
    let serving = Server::new(async |request: &mut Request<'_>| {
        handshake(request).unwrap_or_else(|refusal| refusal)
    });
    let _serving = serving.add_sockets([listener]).start(&reactor.handle())?;
    Ok(reactor.run()?)
}

/// The server's half of the opening handshake (RFC 6455, 4.2).
fn handshake(request: &mut Request<'_>) -> Result<Response, Response> {
    if request.method() != Method::Get {
        return Err(Response::error(StatusCode::METHOD_NOT_ALLOWED, "a handshake is a GET"));
    }
    let Some(key) = request.header("Sec-WebSocket-Key") else {
        return Err(Response::error(StatusCode::BAD_REQUEST, "there is no Sec-WebSocket-Key"));
    };
    let accept = derive_accept_key(key);
    if request.header("Sec-WebSocket-Version") != Some(b"13") {
        let refusal = Response::error(StatusCode::BAD_REQUEST, "this speaks version 13");
        return Err(refusal.header("Sec-WebSocket-Version", "13").unwrap_or_else(Response::from));
    }
    let response = request.upgrade("websocket", echo)?;
    Ok(response.header("Sec-WebSocket-Accept", accept)?)
}

/// Sends each message back. Pings and the closing handshake are tungstenite's.
async fn echo(stream: TcpStream, read: Vec<u8>) {
    let mut socket = WebSocket::from_partially_read(Tried(stream), read, Role::Server, None);
    loop {
        let blocked = match socket.flush() {
            Ok(()) => match socket.read() {
                Ok(message) if message.is_text() || message.is_binary() => {
                    let written = socket.write(message);
                    yield_now().await; // one that sends without a pause must not hold the loop
                    written.err().map(|error| (error, Side::Write))
                }
                Ok(_) => None,
                Err(error) => Some((error, Side::Read)),
            },
            Err(error) => Some((error, Side::Write)),
        };
        let Some((error, side)) = blocked else { continue };
        let would_block = matches!(&error, tungstenite::Error::Io(error)
            if error.kind() == io::ErrorKind::WouldBlock);
        // Anything else is the end, in order or not.
        if !would_block || socket.get_ref().0.ready(side).await.is_err() {
            return;
        }
    }
}

/// A stream as tungstenite wants it: one that says `WouldBlock`.
struct Tried(TcpStream);

impl Read for Tried {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Tried {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
