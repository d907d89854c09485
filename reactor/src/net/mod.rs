//! Sockets for both interfaces: awaited in tasks, or tried in callbacks.
//!
//! Each wraps the socket of `std` that it can be made from and turned into. In a task, `read`, `write`
//! and `accept` wait; in a callback, `try_read`, `try_write` and `try_accept` answer `WouldBlock`. Both
//! count as progress (law 12). Next: `pool`.

mod tcp;
mod unix;

pub use tcp::{TcpListener, TcpStream};
pub use unix::{UnixListener, UnixStream};
