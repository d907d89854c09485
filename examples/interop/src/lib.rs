//! What the examples of this package share: a service and the place where it listens.
//!
//! Each example is one file in `src/bin`, tested with curl by `tests/curl.rs`.

use std::convert::Infallible;
use std::io::{self, Write};

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use squall_reactor::net::TcpListener;

/// Says what was asked for; what is posted comes back as it comes in.
///
/// # Errors
/// None.
pub async fn answer(
    request: Request<Incoming>,
) -> Result<Response<Either<Full<Bytes>, Incoming>>, Infallible> {
    if request.method() == Method::POST {
        return Ok(Response::new(Either::Right(request.into_body())));
    }
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("{method} {path} by {:?} on Squall\n", request.version());
    Ok(Response::new(Either::Left(Full::from(text))))
}

/// Listens where `addr` says and prints it, for whoever started us.
///
/// # Errors
/// Those of bind(2).
pub fn listen(addr: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nodelay(true)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    Ok(listener)
}
