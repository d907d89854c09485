//! hyper, server and client, on one reactor and one thread.
//!
//!     cargo run --bin hyper_on_squall                            asks itself
//!     cargo run --bin hyper_on_squall -- serve 127.0.0.1:8080    then: curl http://127.0.0.1:8080/
//!
//! The first prints
//!
//!     listening on 127.0.0.1:36061
//!     200 OK: GET /squall by HTTP/1.1 on Squall
//!
//! The streams are hyper's reader and writer as they are, hyper's deadlines are timers of the reactor,
//! and what serves a connection is a task like any other.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, client, server};
use squall_interop::{answer, listen};
use squall_reactor::compat::HyperTimer;
use squall_reactor::net::{TcpListener, TcpStream};
use squall_reactor::{Handle, Reactor, sleep};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut reactor = Reactor::new()?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => reactor.block_on(ask_itself())?,
        ["serve", addr] => reactor.block_on(async { serve(listen(addr)?).await })?,
        _ => Err("usage: hyper_on_squall [serve ADDRESS]".into()),
    }
}

async fn ask_itself() -> Result<()> {
    let listener = listen("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    Handle::current()?.spawn_detached(async {
        if let Err(error) = serve(listener).await {
            eprintln!("the server ended: {error}");
        }
    });
    get(addr, "/squall").await
}

async fn serve(listener: TcpListener) -> Result<()> {
    let handle = Handle::current()?;
    loop {
        let Ok((stream, _peer)) = listener.accept().await else {
            // Out of descriptors, mostly: the connection waits in the kernel's queue.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        handle.spawn_detached(async {
            // A client that leaves in the middle is an error here, and none of ours.
            let _ = server::conn::http1::Builder::new()
                .timer(HyperTimer) // hyper's own limit: a head within 30 s
                .serve_connection(stream, service_fn(answer))
                .await;
        });
    }
}

async fn get(addr: SocketAddr, path: &str) -> Result<()> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = client::conn::http1::handshake(stream).await?;
    Handle::current()?.spawn_detached(async {
        if let Err(error) = connection.await {
            eprintln!("the connection failed: {error}");
        }
    });
    let request = Request::get(path).header("host", addr.to_string());
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    print!("{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}
