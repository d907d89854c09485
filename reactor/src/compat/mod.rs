//! The traits of other crates, each behind a feature of its name that is off by default.
//!
//! They are implemented on the types themselves, so nothing is wrapped and nothing costs more than by
//! the methods of this crate. Nothing else of the crate names this module.
//!
//! With `futures-io` streams and pipes are `AsyncRead` and `AsyncWrite`. A method of the type itself
//! comes before one of `AsyncReadExt` with the same name, and is the same operation:
#![cfg_attr(feature = "futures-io", doc = "```")]
#![cfg_attr(not(feature = "futures-io"), doc = "```ignore")]
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use squall_reactor::{Reactor, net::UnixStream};
//!
//! let mut reactor = Reactor::new()?;
//! reactor.block_on(async {
//!     let (mut ours, theirs) = UnixStream::pair()?;
//!     theirs.write_all(b"hello").await?;
//!     (&theirs).close().await?; // by reference: two halves at once need no lock
//!     let mut text = String::new();
//!     ours.read_to_string(&mut text).await?;
//!     assert_eq!(text, "hello");
//!     Ok::<_, std::io::Error>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;

use crate::net::{TcpStream, UnixStream};
use crate::pipe::PipeWriter;
use crate::sys::socket;

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;

#[cfg(all(feature = "hyper", feature = "futures-io"))]
pub use hyper::HyperIo;
#[cfg(feature = "hyper")]
pub use hyper::HyperTimer;

/// What the traits call closing or shutting down: the end of what this side sends.
trait EndWriting {
    fn end_writing(&self) -> io::Result<()>;
}

impl EndWriting for TcpStream {
    /// shutdown(SHUT_WR): the peer reads the end, and this side may go on reading.
    fn end_writing(&self) -> io::Result<()> {
        or_ended(self, self.shutdown(Shutdown::Write))
    }
}

impl EndWriting for UnixStream {
    fn end_writing(&self) -> io::Result<()> {
        or_ended(self, self.shutdown(Shutdown::Write))
    }
}

impl EndWriting for PipeWriter {
    /// A pipe cannot be shut down: its reader is told when the writer is dropped.
    fn end_writing(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that both sides have ended is not connected any more (ENOTCONN), which is no error; one
/// that was reset is not either, and says so, if nobody has been told yet (SO_ERROR).
fn or_ended(stream: &impl AsFd, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            socket::take_error(stream.as_fd())?.map_or(Ok(()), Err)
        }
        result => result,
    }
}
