//! Sockets for both interfaces: awaited in tasks, or tried in callbacks.
//!
//! Each wraps the socket of `std` that it can be made from and turned into. In a task, `read`, `write`
//! and `accept` wait; in a callback, `try_read`, `try_write` and `try_accept` answer `WouldBlock`. Both
//! count as progress (law 12). Datagram sockets `recv` and `send`. Next: `pool`.

mod tcp;
mod send_file;
mod unix;
mod udp;
mod unix_datagram;

pub use send_file::read_ahead;
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixListener, UnixStream};
pub use unix_datagram::UnixDatagram;
