//! What other threads hold of a loop: the way into its mailbox, the wake-up, the counters.
//!
//! A message goes into the channel first; then the wake-up says whether the eventfd must be written
//! (law 9). In a forked child nothing of this is touched, and what has a lock in it is leaked (law
//! 6). Next: `local`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, Sender};

use crate::error::{Error, Result};
use crate::stats::Counters;
use crate::sys::fork::Born;
use crate::token::Token;
use crate::wakeup::Wakeup;

/// What other threads send.
pub(crate) enum Message {
    /// Run this on the loop's thread.
    Call(Box<dyn FnOnce() + Send>),
    /// A task's waker was woken elsewhere.
    Wake(Arc<Header>),
    /// End `run`.
    Stop,
}

/// What other threads hold.
pub(crate) struct Shared {
    pub(crate) born: Born,
    pub(crate) counters: Counters,
    pub(crate) wakeup: Wakeup,
    waker: mio::Waker,
    // Leaked in a child: a thread that the fork did not copy may hold the channel's lock.
    sender: Option<Sender<Message>>,
}

/// What a task's waker points at.
pub(crate) struct Header {
    pub(crate) token: Token,
    /// Sent to the mailbox and not yet heard.
    pub(crate) notified: AtomicBool,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    /// Sends a message and wakes the loop if it sleeps. In a forked child nothing happens.
    pub(crate) fn send(&self, message: Message) -> Result<()> {
        if self.born.forked() {
            // The closure inside is the caller's own and may be dropped here.
            return Err(Error::Forked);
        }
        let sender = self.sender.as_ref().ok_or(Error::Closed)?;
        sender.send(message).map_err(|_| Error::Closed)?;
        if self.wakeup.notify() {
            self.write().map_err(Error::os("write to the eventfd"))?;
        }
        Ok(())
    }

    /// Writes the eventfd, whatever the loop does.
    pub(crate) fn write(&self) -> io::Result<()> {
        self.counters.eventfd_writes.add_anywhere(1);
        self.waker.wake()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.born.forked() {
            std::mem::forget(self.sender.take());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("stats", &self.counters.read()).finish_non_exhaustive()
    }
}

/// A poll, what other threads hold of its loop, and the loop's end of the mailbox.
pub(crate) fn open() -> Result<(mio::Poll, Arc<Shared>, Receiver<Message>)> {
    let poll = mio::Poll::new().map_err(Error::os("epoll_create1"))?;
    let token = mio::Token(Token::WAKER.to_u64() as usize);
    let waker = mio::Waker::new(poll.registry(), token).map_err(Error::os("eventfd"))?;
    let (sender, receiver) = crossbeam_channel::unbounded();
    let shared = Shared {
        born: Born::now(),
        counters: Counters::default(),
        wakeup: Wakeup::new(),
        waker,
        sender: Some(sender),
    };
    Ok((poll, Arc::new(shared), receiver))
}
