//! Has the client left? Asked while a handler has not yet begun its answer.
//!
//! A reset is certain (HUP or ERR). A FIN is not: the client may only have finished sending. It is judged
//! once the request's body has been read to its end and nothing else is unread (RFC 9112, 9.6), and
//! then as the server was told ([`Fin`]). An answer that has begun is never cut. Next: `send`.

use std::task::{Context, Poll};

use squall_reactor::Side;
use squall_reactor::net::TcpStream;

use crate::body::Progress;

/// What it means that a client has finished sending while its request is handled.
///
/// # Examples
/// ```
/// use squall_http::{Fin, Request, Response, Server};
///
/// let server = Server::new(async |_: &mut Request<'_>| Response::text("hello\n")).on_fin(Fin::Ask);
/// # drop(server);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fin {
    /// It has left: the handler's future is dropped, and nothing is answered. So do hyper, Go and
    /// nginx; a client that half-closes and then reads gets no answer.
    #[default]
    Left,
    /// It may still read: the handler goes on, and its answer is written. A client that has closed
    /// is noticed only by the write.
    HalfClosed,
    /// Ask: a `100 Continue` is sent, which every HTTP/1.1 client must parse (RFC 9110, 15.2). One that
    /// has closed answers it with a reset within a round trip; one that reads goes on waiting. To
    /// HTTP/1.0, which has no interim responses, as `Left`.
    Ask,
}

const QUESTION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Watches one client during one request.
pub(crate) struct Watch<'a> {
    stream: &'a TcpStream,
    progress: &'a Progress,
    fin: Fin,
    /// A FIN was judged: it does not count, or the client has been asked.
    judged: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        stream: &'a TcpStream,
        progress: &'a Progress,
        fin: Fin,
        minor_version: u8,
    ) -> Self {
        let fin = if fin == Fin::Ask && minor_version == 0 { Fin::Left } else { fin };
        Self { stream, progress, fin, judged: false }
    }

    /// Ready once the client has left. What answers have been given must have been sent before, so
    /// that a question does not overtake them.
    ///
    /// # System calls
    /// One `epoll_ctl(ADD)` if the connection has not waited yet; one `recv(MSG_PEEK)` at a FIN.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(known) = std::task::ready!(self.stream.poll_ready(cx, Side::Closed)) else {
            // The loop is going; the exchange will hear of it.
            return Poll::Pending;
        };
        if known.is_hung_up() || known.is_error() {
            return Poll::Ready(());
        }
        if !self.judged && self.progress.ended.get() {
            self.judged = true;
            if self.counts() {
                match self.fin {
                    Fin::Left => return Poll::Ready(()),
                    Fin::HalfClosed => {}
                    // A socket that has no room for it will not tell; the answer's write will.
                    Fin::Ask => drop(self.stream.try_write(QUESTION)),
                }
            }
        }
        // From here a reset alone is news.
        match self.stream.poll_ready(cx, Side::HungUp) {
            Poll::Ready(Ok(_)) => Poll::Ready(()),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// A FIN counts only at the end of the input: behind an unread request it says nothing of the
    /// client's wish to read.
    fn counts(&self) -> bool {
        !self.progress.more.get() && matches!(self.stream.try_peek(&mut [0]), Ok(0))
    }
}
