//! Options of listening sockets that only the kernel's answer can show.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use squall_reactor::workers::Bind;

/// Broken by an option that is set after listen(2), or not at all: the connection is accepted, and
/// its first read finds nothing.
#[test]
fn a_deferred_connection_is_not_accepted_before_its_first_byte() {
    let bind = Bind::new((Ipv4Addr::LOCALHOST, 0)).defer_accept(Duration::from_secs(60));
    let listener = bind.bind().expect("a free port").take(0).remove(0);
    let address = listener.local_addr().expect("an address");
    let mut client = TcpStream::connect(address).expect("a listener");
    assert_eq!(listener.accept().expect_err("nothing was sent").kind(), ErrorKind::WouldBlock);
    client.write_all(b"x").expect("a connection");
    let deadline = Instant::now() + Duration::from_secs(60);
    let server = loop {
        match listener.accept() {
            Ok((server, _)) => break server,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < deadline, "it was never accepted");
    };
    server.set_nonblocking(true).expect("nonblocking mode");
    assert_eq!(server.peek(&mut [0; 2]).expect("the byte came first"), 1);
}

#[test]
fn without_it_a_connection_is_accepted_at_once() {
    let listener =
        Bind::new((Ipv4Addr::LOCALHOST, 0)).bind().expect("a free port").take(0).remove(0);
    let _client = TcpStream::connect(listener.local_addr().expect("an address"));
    listener.accept().expect("a connection");
}

#[test]
fn the_socket_of_each_worker_prefers_its_own_cpu() {
    for worker in 0..3 {
        let bind = Bind::new((Ipv4Addr::LOCALHOST, 0)).reuse_port(3).incoming_cpu();
        let listener = bind.bind().expect("a free port").take(worker).remove(0);
        assert_eq!(incoming_cpu(&listener), worker as i32);
    }
}

fn incoming_cpu(listener: &TcpListener) -> i32 {
    let (mut cpu, mut len) = (-1, size_of::<i32>() as libc::socklen_t);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_INCOMING_CPU);
    // SAFETY: `cpu` and `len` live until the call returns, and `len` is its size.
    let answered = unsafe {
        libc::getsockopt(listener.as_raw_fd(), level, name, (&raw mut cpu).cast(), &raw mut len)
    };
    assert_eq!(answered, 0, "{}", std::io::Error::last_os_error());
    cpu
}
