//! The sending end, and the queue that it shares with the connection. Next: `sse`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::sse::event::Event;

/// Feeds [`Events`](crate::sse::Events). Dropping it ends the response, once what is queued has been sent.
///
/// # Examples
/// ```
/// use squall_http::sse::{Event, Events, Refused};
///
/// let (sender, events) = Events::new(1);
/// assert_eq!(sender.try_send(Event::new("1")), Ok(()));
/// assert_eq!(sender.try_send(Event::new("2")), Err(Refused::Full(Event::new("2"))));
/// drop(events); // the client has left
/// assert!(sender.is_gone());
/// ```
pub struct Sender {
    queue: Rc<RefCell<Queue>>,
    capacity: usize,
}

/// An event that was not taken.
///
/// # Examples
/// ```
/// use squall_http::sse::{Event, Events, Refused};
///
/// let (sender, events) = Events::new(1);
/// drop(events);
/// assert_eq!(sender.try_send(Event::new("late")), Err(Refused::Gone(Event::new("late"))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The queue is full: the client does not read so fast.
    Full(Event),
    /// The client has left.
    Gone(Event),
}

impl Sender {
    pub(super) fn new(queue: &Rc<RefCell<Queue>>, capacity: usize) -> Self {
        Self { queue: Rc::clone(queue), capacity: capacity.max(1) }
    }

    /// Sends an event, and waits while the queue is full.
    ///
    /// # Errors
    /// [`Refused::Gone`] with the event given back.
    ///
    /// # Cancel safety
    /// Dropped before it is ready it has sent nothing.
    pub async fn send(&self, event: Event) -> Result<(), Refused> {
        let mut event = Some(event);
        poll_fn(|cx| match self.try_send(event.take().expect("polled until it is ready")) {
            Err(Refused::Full(unsent)) => {
                event = Some(unsent);
                self.queue.borrow_mut().wait(cx);
                Poll::Pending
            }
            sent => Poll::Ready(sent),
        })
        .await
    }

    /// Sends an event if there is room.
    ///
    /// # Errors
    /// [`Refused`] with the event given back.
    pub fn try_send(&self, event: Event) -> Result<(), Refused> {
        let mut queue = self.queue.borrow_mut();
        if queue.client_gone {
            return Err(Refused::Gone(event));
        }
        if queue.events.len() >= self.capacity {
            return Err(Refused::Full(event));
        }
        queue.events.push_back(event);
        let client = queue.client.take();
        drop(queue);
        client.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// True once the client has left, or the response was not sent (to HEAD it has no content).
    pub fn is_gone(&self) -> bool {
        self.queue.borrow().client_gone
    }

    /// Waits until the client has left.
    pub async fn gone(&self) {
        poll_fn(|cx| {
            let mut queue = self.queue.borrow_mut();
            if queue.client_gone {
                return Poll::Ready(());
            }
            queue.wait(cx);
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.sender_gone = true;
        let client = queue.client.take();
        drop(queue);
        client.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.queue.borrow().events.len();
        let (capacity, gone) = (self.capacity, self.is_gone());
        f.debug_struct("Sender")
            .field("queued", &queued)
            .field("capacity", &capacity)
            .field("gone", &gone)
            .finish()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Full(_) => "the queue of events is full: wait with Sender::send, or drop it",
            Refused::Gone(_) => "the client has left",
        })
    }
}

impl Error for Refused {}

/// What the two ends share.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) events: VecDeque<Event>,
    pub(super) sender_gone: bool,
    pub(super) client_gone: bool,
    /// The connection, which waits for events.
    pub(super) client: Option<Waker>,
    /// Tasks that wait for room, or for the client's leaving.
    pub(super) senders: Vec<Waker>,
}

impl Queue {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.senders.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.senders.push(cx.waker().clone());
        }
    }
}
