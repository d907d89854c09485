//! A response's content: known whole, made as it is sent, or sent by itself.
//!
//! The connection asks a [`Produce`]r when there is room, and believes none: what it makes is held
//! against the head's promise. Next: `slots`.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use squall_reactor::net::TcpStream;

use crate::trailers::Trailers;

/// A response's content.
pub(crate) enum Content {
    /// Known whole.
    Bytes(Cow<'static, [u8]>),
    /// Made as it is sent; the length if it is known.
    Produced(Option<u64>, Box<dyn Produce>),
    /// So many bytes that go to the socket by themselves.
    Transmitted(u64, Box<dyn Transmit>),
    /// None: from here the connection speaks another protocol (RFC 9110, 7.8).
    Handover(Handover),
}

impl Content {
    /// How many bytes it has, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Produced(length, _) => *length,
            Self::Transmitted(length, _) => Some(*length),
            Self::Handover(_) => Some(0),
        }
    }
}

/// Takes the connection over, with what has come behind the request.
pub(crate) type Handover = Box<dyn FnOnce(TcpStream, Vec<u8>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Sends content of a known length to a socket, without showing it to the connection.
pub(crate) trait Transmit {
    /// Sends some of what is left, at least one byte; 0 if there is less than was promised.
    fn poll_transmit(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Result<u64>>;
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Produced(length, _) => f.debug_tuple("Produced").field(length).finish(),
            Self::Transmitted(length, _) => write!(f, "Transmitted({length})"),
            Self::Handover(_) => f.write_str("Handover"),
        }
    }
}

/// Makes a response's content piece by piece, when there is room for it.
///
/// # Examples
/// ```
/// use squall_http::{Produce, Response};
/// use std::io;
/// use std::task::{Context, Poll};
///
/// struct Countdown(u32);
///
/// impl Produce for Countdown {
///     fn poll_produce(&mut self, _: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
///         out.extend_from_slice(format!("{}\n", self.0).as_bytes());
///         self.0 = self.0.saturating_sub(1);
///         Poll::Ready(Ok(self.0 > 0))
///     }
/// }
///
/// let response = Response::produced("text/plain", None, Countdown(10));
/// # drop(response);
/// ```
pub trait Produce {
    /// Appends the next piece to `out`: some kilobytes are a good size. `Ready(Ok(false))` when the
    /// content has ended (what was appended by that call still counts). Who answers `Pending` has
    /// appended nothing and wakes `cx` later; what came before is sent meanwhile, and if the client
    /// resets, the producer is dropped. It is also dropped when the content has been sent, and
    /// unasked if the response has no content (HEAD).
    ///
    /// # Errors
    /// An error cuts the response off, so that the client sees that it is incomplete.
    fn poll_produce(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>>;

    /// The trailer fields, asked for once when the content has ended, and only if the response
    /// announces some ([`Response::trailers`](crate::Response::trailers)) and the client takes them.
    fn trailers(&mut self) -> Trailers {
        Trailers::new()
    }
}

/// The pieces of an iterator, some kilobytes at a time.
#[derive(Debug)]
pub(crate) struct Pieces<I>(pub(crate) I);

impl<I, P> Produce for Pieces<I>
where
    I: Iterator<Item = P>,
    P: AsRef<[u8]>,
{
    fn poll_produce(&mut self, _: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        const PIECE_BYTES: usize = 8 << 10;
        let start = out.len();
        while out.len() - start < PIECE_BYTES {
            match self.0.next() {
                Some(piece) => out.extend_from_slice(piece.as_ref()),
                None => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }
}
