//! A reactor inside tokio, on one of its threads: `AsyncFd` waits for the descriptor.
//!
//! `AsyncFd` hears of changes only, so readiness is given back after a turn that ran nothing, and not
//! before. What is absent: `tokio::spawn` of it. A reactor stays on its thread; use `block_on` of a
//! current-thread runtime, or a `LocalSet`.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use squall_reactor::Reactor;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep_until;

/// A reactor that tokio hosts.
#[derive(Debug)]
pub struct Guest {
    /// A duplicate, whose number stays whatever the reactor does.
    fd: AsyncFd<OwnedFd>,
    reactor: Reactor,
}

impl Guest {
    /// Moves in.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    ///
    /// # Panics
    /// Outside of a runtime with I/O.
    pub fn new(reactor: Reactor) -> io::Result<Self> {
        let fd = reactor.as_fd().try_clone_to_owned()?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, and new; an OwnedFd keeps its number"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self { fd, reactor })
    }

    /// The reactor.
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Waits until the guest has something to do, and lets it turn once. Returns how much ran.
    ///
    /// # Errors
    /// Those of the turn.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn turn(&mut self) -> io::Result<usize> {
        let deadline = self.reactor.next_deadline();
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            ready = self.fd.readable() => {
                let mut ready = ready?;
                let ran = self.reactor.turn(Some(Duration::ZERO))?;
                if ran == 0 {
                    ready.clear_ready();
                }
                Ok(ran)
            }
            () = due => Ok(self.reactor.turn(Some(Duration::ZERO))?),
        }
    }

    /// Turns for as long as this is awaited, next to `host`, whose output it gives.
    ///
    /// # Errors
    /// Those of the turns.
    pub async fn turn_beside<T>(&mut self, host: impl Future<Output = T>) -> io::Result<T> {
        let mut host = std::pin::pin!(host);
        loop {
            tokio::select! {
                output = host.as_mut() => return Ok(output),
                turned = self.turn() => drop(turned?),
            }
        }
    }
}
