//! Connected TCP sockets for the tests of the laws.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// Our end, nonblocking, and the peer's, blocking; neither waits to fill a segment.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let theirs = TcpStream::connect(listener.local_addr().expect("an address")).expect("a peer");
    let (ours, _) = listener.accept().expect("a connection");
    ours.set_nonblocking(true).expect("nonblocking mode");
    ours.set_nodelay(true).expect("TCP_NODELAY");
    theirs.set_nodelay(true).expect("TCP_NODELAY");
    (ours, theirs)
}
