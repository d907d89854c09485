//! Exchanges: a batch of requests on one connection, from its first byte until nothing is unanswered.
//!
//! One async function: read a head, answer it (`answer`), go on with what has come already, and send
//! once for the whole batch. What it needs it was given and gives back, so it allocates nothing in
//! the steady state. The decisions are `protocol`'s. Next: `drain`.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use squall_reactor::net::TcpStream;
use squall_reactor::yield_now;

use crate::app::App;
use crate::deadline::{later, until};
use crate::encode::{Asked, encode_error};
use crate::error::Error;
use crate::method::Method;
use crate::protocol::After;
use crate::request::Request;
use crate::response::Response;
use crate::send::{MAX_OUT_BYTES, Wire};
use crate::slots::Workspace;

/// Requests of one batch before the others get their turn (law 7).
const BATCH: usize = 64;

/// An exchange gives everything back.
pub(crate) struct Finished {
    pub(crate) stream: TcpStream,
    pub(crate) space: Box<Workspace>,
    pub(crate) after: After,
    /// Whether there was a request at all.
    pub(crate) asked: bool,
}

/// Serves what comes on `stream` until nothing is unanswered or the connection is to be closed.
pub(crate) async fn exchange<H>(
    app: std::rc::Rc<App<H>>,
    stream: TcpStream,
    peer: SocketAddr,
    mut space: Box<Workspace>,
) -> Finished
where
    H: AsyncFn(&mut Request<'_>) -> Response,
{
    // A failed write or read means that there is nobody to answer.
    let mut answered = 0;
    let wire = Wire { stream: &stream, peer, limits: &app.limits };
    let after = app.batch(&wire, &mut space, &mut answered).await.unwrap_or(After::Reset);
    match after {
        After::Idle | After::Handover => {}
        After::Close | After::Linger => drop(stream.shutdown(Shutdown::Write)),
        After::Reset => drop(stream.set_reset_on_close()),
    }
    if !matches!(after, After::Idle | After::Handover) {
        // What is unread has no meaning any more.
        let unread = space.buffer.filled().len();
        space.buffer.rejoin(unread, 0..0);
    }
    Finished { stream, space, after, asked: answered > 0 }
}

/// What reading a head came to.
enum Heard {
    Head(usize),
    Wrong(Error),
    Nothing(After),
}

impl<H> App<H>
where
    H: AsyncFn(&mut Request<'_>) -> Response,
{
    async fn batch(
        &self,
        wire: &Wire<'_>,
        space: &mut Workspace,
        answered: &mut usize,
    ) -> io::Result<After> {
        loop {
            let head = match self.hear(wire, space).await? {
                Heard::Head(length) => length,
                Heard::Nothing(after) => return Ok(after),
                Heard::Wrong(error) => {
                    self.refuse(wire.peer, error.status(), Some(error));
                    let is_head = space.parser.asks_by_head(space.buffer.filled());
                    let method = is_head.then_some(Method::Head);
                    let asked = Asked { method, ..Asked::UNKNOWN };
                    let _ = encode_error(&mut space.out, error, asked, &self.date());
                    wire.send_rest(&mut space.out, false).await?;
                    return Ok(After::Linger);
                }
            };
            self.requests.set(self.requests.get() + 1);
            match self.answer(wire, space, head).await? {
                After::Idle => {}
                after => return Ok(after),
            }
            *answered += 1;
            if space.out.len() >= MAX_OUT_BYTES {
                wire.send_rest(&mut space.out, false).await?;
            }
            if answered.is_multiple_of(BATCH) {
                wire.send_rest(&mut space.out, false).await?;
                yield_now().await;
            }
        }
    }

    /// Reads until a head is whole. Before it waits it sends what has been answered.
    async fn hear(&self, wire: &Wire<'_>, space: &mut Workspace) -> io::Result<Heard> {
        let mut begun = None;
        loop {
            if !space.buffer.is_empty() {
                match space.parser.parse(space.buffer.filled(), &self.limits) {
                    Ok(Some(length)) => return Ok(Heard::Head(length)),
                    Ok(None) => {}
                    Err(error) => return Ok(Heard::Wrong(error)),
                }
            }
            wire.send_rest(&mut space.out, false).await?;
            let read = match space.buffer.is_empty() {
                // Nothing has begun: if nothing is there, the idle part waits, without a buffer.
                true => match wire.stream.try_read(space.buffer.space()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Heard::Nothing(After::Idle));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                },
                false => {
                    // A reading of its own: in a long turn the turn's is older than the bytes.
                    let begun = *begun.get_or_insert_with(Instant::now);
                    let read = poll_fn(|cx| wire.stream.poll_read(cx, space.buffer.space()));
                    match until(later(begun, self.limits.head_timeout), read).await {
                        Some(read) => read?,
                        None => return Ok(Heard::Wrong(Error::HeadTimeout)),
                    }
                }
            };
            match read {
                // A head that was cut short cannot be answered: nobody knows what it asked.
                0 => return Ok(Heard::Nothing(After::Close)),
                n => space.buffer.fill(n),
            }
        }
    }
}
