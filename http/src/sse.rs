//! Server-sent events: a response that goes on, fed by a sender on the same thread.
//!
//! The content is a bounded queue of encoded events. The sender waits while it is full (the client
//! does not read so fast) or is refused, by choice, and learns that the client has left. A client
//! that closes says so by a FIN alone, which an answer that has begun does not heed; the next bytes
//! written bring a reset. So a comment is sent whenever nothing else was for a while: it finds out
//! who has left, and keeps proxies from closing what is silent. Absent: a history of events; a client
//! that comes back names the last one it saw in the field `Last-Event-ID`. Next: `proxy`.
//!
//! The format is that of the WHATWG HTML standard, section 9.2.

mod event;
mod sender;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use squall_reactor::{Sleep, sleep_until};

use crate::content::Produce;
use crate::response::Response;
use crate::sse::sender::Queue;

pub use crate::sse::event::{Event, LineEnd};
pub use crate::sse::sender::{Refused, Sender};

/// A response's content: events as they are sent, up to the sender's end.
///
/// # Examples
/// ```
/// use squall_http::sse::{Event, Events};
/// use squall_http::{Request, Server};
/// use squall_reactor::{Handle, sleep};
/// use std::time::Duration;
///
/// let server = Server::new(async |_: &mut Request<'_>| {
///     let (sender, events) = Events::new(16);
///     let handle = Handle::current().expect("a handler runs on a reactor");
///     handle.spawn_detached(async move {
///         for count in 0.. {
///             let event = Event::new(&format!("tick {count}"));
///             if sender.send(event).await.is_err() {
///                 return; // the client has left
///             }
///             sleep(Duration::from_secs(1)).await;
///         }
///     });
///     events.into()
/// });
/// # drop(server);
/// ```
pub struct Events {
    queue: Rc<RefCell<Queue>>,
    keep_alive: Duration,
    /// When a comment is due; `None` before the first poll.
    due: Option<Sleep>,
}

impl Events {
    /// A sender, and the content that it feeds, with room for `capacity` events (at least 1)
    /// between them.
    pub fn new(capacity: usize) -> (Sender, Events) {
        let queue = Rc::new(RefCell::new(Queue::default()));
        (Sender::new(&queue, capacity), Events { queue, keep_alive: KEEP_ALIVE, due: None })
    }

    /// Sends a comment whenever nothing was sent for so long: at least a millisecond, by default 15 s.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval.max(Duration::from_millis(1));
        self
    }

    /// Moves the comment to one interval from now.
    fn postpone(&mut self) {
        let due = Instant::now().checked_add(self.keep_alive);
        match (&mut self.due, due) {
            (Some(sleep), Some(due)) => sleep.reset(due),
            (sleep, due) => *sleep = due.map(sleep_until),
        }
    }
}

/// 200 with the right media type, not to be stored, and not to be gathered by nginx
/// (`X-Accel-Buffering`).
impl From<Events> for Response {
    fn from(events: Events) -> Response {
        let response = Response::produced("text/event-stream", None, events);
        let response = response.header("Cache-Control", "no-store");
        let response = response.and_then(|response| response.header("X-Accel-Buffering", "no"));
        response.expect("names and values are valid")
    }
}

impl Produce for Events {
    fn poll_produce(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let mut queue = self.queue.borrow_mut();
        let start = out.len();
        while out.len() - start < PIECE_BYTES
            && let Some(event) = queue.events.pop_front()
        {
            out.extend_from_slice(event.as_str().as_bytes());
        }
        if out.len() > start {
            let waiting = mem::take(&mut queue.senders);
            drop(queue);
            waiting.into_iter().for_each(Waker::wake);
            self.postpone();
            return Poll::Ready(Ok(true));
        }
        if queue.sender_gone {
            return Poll::Ready(Ok(false));
        }
        let old = queue.client.replace(cx.waker().clone());
        drop(queue);
        drop(old);
        if self.due.is_none() {
            self.postpone();
        }
        match self.due.as_mut().map(|due| due.poll_elapsed(cx)) {
            Some(Poll::Ready(())) => {
                out.extend_from_slice(b":\n\n");
                self.postpone();
                Poll::Ready(Ok(true))
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.client_gone = true;
        let (events, waiting) = (mem::take(&mut queue.events), mem::take(&mut queue.senders));
        drop(queue);
        drop(events);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

/// Between two comments. Proxies close what is silent for a minute as a rule (nginx:
/// `proxy_read_timeout` 60 s); the standard suggests 15 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events of one piece.
const PIECE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests;
