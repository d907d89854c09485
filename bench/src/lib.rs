//! What the peers share: the one option of their command lines, and the answer they give.

use std::env;
use std::net::TcpListener;
use std::process;

/// The body of every answer.
pub const BODY: &str = "Hello, World!";

/// Binds the address that `--addr` names and prints it.
pub fn listener() -> TcpListener {
    let args: Vec<String> = env::args().skip(1).collect();
    let address = match &args[..] {
        [] => "127.0.0.1:8080",
        [option, address] if option == "--addr" => address,
        _ => {
            println!("usage: {} [--addr HOST:PORT]", env!("CARGO_PKG_NAME"));
            process::exit((args != ["--help"]).into())
        }
    };
    let listener = TcpListener::bind(address).expect("the address is free");
    listener.set_nonblocking(true).expect("a socket");
    println!("{}", listener.local_addr().expect("a bound socket"));
    listener
}
