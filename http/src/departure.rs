//! What a handler wants when its client leaves: to be dropped, to be told, or not to hear of it.
//!
//! The one idea: the choice is one word beside the request, which the handler writes and whoever runs
//! it reads. To be dropped is the default, since a handler that nobody waits for is what burns a
//! core. Absent: how it is known that a client has left; that is `watch`'s. Next: `body`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One handler's choice, and whether its client has left.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    choice: Cell<Choice>,
    waiting: RefCell<Vec<Waker>>,
}

impl Departure {
    /// The handler wants to be told.
    pub(crate) fn tell_me(&self) -> Left<'_> {
        if self.choice.get() != Choice::Told {
            self.choice.set(Choice::Tell);
        }
        Left(self)
    }

    /// The handler does not want to hear of it.
    pub(crate) fn ignore(&self) {
        self.choice.set(Choice::Ignore);
    }

    /// Whether there is still somebody to be dropped or told.
    pub(crate) fn matters(&self) -> bool {
        matches!(self.choice.get(), Choice::Drop | Choice::Tell)
    }

    /// The client has left. False: nobody else wants to know, so drop the handler.
    pub(crate) fn tell(&self) -> bool {
        if self.choice.get() == Choice::Tell {
            self.choice.set(Choice::Told);
        }
        self.waiting.take().into_iter().for_each(Waker::wake);
        self.choice.get() != Choice::Drop
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Drop,
    Tell,
    Told,
    Ignore,
}

/// Ready once the client has left: see [`Request::left`](crate::Request::left).
///
/// # Cancel safety
/// Dropping it changes nothing: the handler is still not dropped, and may ask again.
///
/// # Examples
/// ```
/// use squall_http::{Left, Request, Response};
///
/// async fn handler(request: &mut Request<'_>) -> Response {
///     let left: Left<'_> = request.left();
///     let half = request.body().chunk().await.is_ok(); // it borrows nothing of the request
///     left.await; // it has gone: undo what was begun
///     Response::text(format!("{half}"))
/// }
/// # let _ = squall_http::Server::new(handler);
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Left<'a>(&'a Departure);

impl Future for Left<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.choice.get() == Choice::Told {
            return Poll::Ready(());
        }
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Left<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Left").field(&self.0.choice.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_not_chosen_is_dropped() {
        let (silent, told, deaf) = <(Departure, Departure, Departure)>::default();
        let mut left = told.tell_me();
        deaf.ignore();
        assert!(silent.matters() && told.matters() && !deaf.matters());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut left).poll(&mut cx).is_pending());
        assert!(!silent.tell() && told.tell() && deaf.tell());
        assert!(Pin::new(&mut left).poll(&mut cx).is_ready());
        assert!(!told.matters(), "it is told once");
        assert!(Pin::new(&mut told.tell_me()).poll(&mut cx).is_ready(), "who asks late hears it");
    }
}
