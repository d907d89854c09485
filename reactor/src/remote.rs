//! The reactor as other threads see it: call, stop, read the counters.
//!
//! However many threads call, the loop's eventfd is written at most once for each sleep, and never
//! while the loop is awake (law 9). Next: `reactor`.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::shared::{Message, Shared};
use crate::stats::Stats;

/// A handle for any thread.
///
/// # Threads and fork
/// `Send`, `Sync`, cheap to clone. It may outlive the reactor, and then answers [`Error::Closed`];
/// in a forked child it answers [`Error::Forked`] and touches nothing.
///
/// # Examples
/// ```
/// use squall_reactor::Reactor;
/// use std::thread;
///
/// let mut reactor = Reactor::new()?;
/// let remote = reactor.remote();
/// let other = thread::spawn(move || remote.call(|handle| handle.stop()));
/// reactor.run()?; // until the call has come
/// other.join().unwrap()?;
/// # Ok::<(), squall_reactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Remote {
    pub(crate) shared: Arc<Shared>,
}

impl Remote {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Runs `f` on the reactor's thread, in the order of the calls. A reactor that is dropped before
    /// that drops `f`.
    ///
    /// # System calls
    /// One `write` to the eventfd if the loop sleeps and nobody has woken it yet; else none.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`]; `f` is dropped.
    #[track_caller]
    pub fn call(&self, f: impl FnOnce(&Handle) + Send + 'static) -> Result<()> {
        let place = Location::caller();
        self.shared.send(Message::Call(Box::new(move || {
            if let Ok(handle) = Handle::current() {
                let observed = handle.local.observe_call(place);
                f(&handle);
                drop(observed);
            }
        })))
    }

    /// Ends [`Reactor::run`](crate::Reactor::run).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn stop(&self) -> Result<()> {
        self.shared.send(Message::Stop)
    }

    /// The counters, read without disturbing the loop: they may be of different moments.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn stats(&self) -> Result<Stats> {
        if self.shared.born.forked() { Err(Error::Forked) } else { Ok(self.shared.counters.read()) }
    }
}

impl Handle {
    /// For other threads.
    pub fn remote(&self) -> Remote {
        Remote::new(self.local.shared())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("shared", &self.shared).finish()
    }
}
