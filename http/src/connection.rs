//! A connection: small while idle, and an exchange in a pinned slot while something is unanswered.
//!
//! The idle part is this future, written by hand: descriptor, registration, deadline. At the first byte
//! it takes a slot and a workspace from the server's free lists, and gives them back when the
//! exchange is over; one that lingers has neither. Next: `stats`.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use squall_reactor::net::TcpStream;
use squall_reactor::{Handle, Side, Sleep, sleep_until};

use crate::deadline::later;
use crate::drain::Connections;
use crate::exchange::Finished;
use crate::limits::Limits;
use crate::protocol::After;
use crate::slots::{Slot, Slots, Workspace};

/// What makes exchanges, and keeps what they work with.
pub(crate) struct Service<F, M> {
    /// Makes the future of an exchange.
    pub(crate) make: M,
    pub(crate) slots: Slots<F>,
    pub(crate) limits: Limits,
    pub(crate) handle: Handle,
    pub(crate) connections: Rc<Connections>,
    /// Where lingering connections read what nobody wants: one for all.
    pub(crate) scratch: RefCell<Box<[u8]>>,
}

/// How long a drain waits for the first request of a connection.
const FRESH: Duration = Duration::from_millis(500);
/// How long a closing connection may go on sending.
const LINGER: Duration = Duration::from_secs(2);
/// What is read at once of what nobody wants.
pub(crate) const SCRATCH_BYTES: usize = 16 << 10;

/// One connection, as a task.
pub(crate) struct Connection<F, M> {
    stage: Stage<F>,
    /// When an idle connection is closed.
    deadline: Sleep,
    service: Rc<Service<F, M>>,
    peer: SocketAddr,
    /// Its place among the server's connections.
    key: usize,
    /// It has not yet asked anything.
    fresh: bool,
}

enum Stage<F> {
    Idle(TcpStream),
    Busy(Slot<F>),
    /// It speaks another protocol.
    HandedOver(Pin<Box<dyn Future<Output = ()>>>),
    /// All is sent; what the client still sends is read and thrown away, so that no reset overtakes
    /// the answer (RFC 9112, 9.6).
    Lingering(TcpStream),
    Ended,
}

impl<F, M> Connection<F, M> {
    /// A connection that has just been accepted. Its first byte may take as long as that of any
    /// later request. `None` if its address has its share of connections: it is reset.
    pub(crate) fn new(
        service: &Rc<Service<F, M>>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<Self> {
        let Some(key) = service.connections.open(peer.ip()) else {
            let _ = stream.set_reset_on_close();
            return None;
        };
        let deadline = sleep_until(later(service.handle.now(), service.limits.idle_timeout));
        let (stage, service) = (Stage::Idle(stream), Rc::clone(service));
        Some(Self { stage, deadline, service, peer, key, fresh: true })
    }
}

impl<F, M> Future for Connection<F, M>
where
    F: Future<Output = Finished>,
    M: Fn(TcpStream, SocketAddr, Box<Workspace>) -> F,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.service.connections.is_aborting() {
            this.abort();
            return Poll::Ready(());
        }
        this.service.connections.remember(this.key, cx.waker());
        loop {
            match std::mem::replace(&mut this.stage, Stage::Ended) {
                Stage::Idle(stream) => match stream.poll_ready(cx, Side::Read) {
                    Poll::Ready(Ok(_)) => this.begin(stream),
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {
                        if this.service.connections.is_draining() {
                            match this.fresh {
                                // Nothing has come, and nothing will be cut off.
                                false => return Poll::Ready(()),
                                true => this.hasten(),
                            }
                        }
                        if this.deadline.poll_elapsed(cx).is_ready() {
                            return Poll::Ready(());
                        }
                        this.stage = Stage::Idle(stream);
                        return Poll::Pending;
                    }
                },
                Stage::Busy(mut slot) => {
                    let Some(exchange) = slot.as_mut().as_pin_mut() else {
                        return Poll::Ready(());
                    };
                    // What a handler left behind may panic in its drop; that ends its own
                    // connection, and not the loop.
                    let finished = match catch_unwind(AssertUnwindSafe(|| exchange.poll(cx))) {
                        Ok(Poll::Ready(finished)) => finished,
                        Ok(Poll::Pending) => {
                            // A long one: the idle deadline must not wake the loop meanwhile.
                            this.deadline.disarm();
                            this.stage = Stage::Busy(slot);
                            return Poll::Pending;
                        }
                        Err(_) => {
                            this.stage = Stage::Busy(slot);
                            this.abort();
                            return Poll::Ready(());
                        }
                    };
                    let Finished { stream, mut space, after, asked } = finished;
                    let handover =
                        space.handover.take().map(|speak| (speak, space.buffer.take_rest()));
                    this.service.slots.give_slot(slot);
                    this.service.slots.give_space(space);
                    this.fresh &= !asked;
                    let now = this.service.handle.now();
                    this.stage = match (after, handover) {
                        (_, Some((speak, read))) => {
                            this.deadline.disarm();
                            Stage::HandedOver(speak(stream, read))
                        }
                        (After::Idle, _) => {
                            this.deadline.reset(later(now, this.service.limits.idle_timeout));
                            Stage::Idle(stream)
                        }
                        (After::Linger, _) if this.service.connections.begin_linger() => {
                            this.deadline.reset(now + LINGER);
                            Stage::Lingering(stream)
                        }
                        (_, None) => return Poll::Ready(()),
                    };
                }
                Stage::HandedOver(mut speaking) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| speaking.as_mut().poll(cx)));
                    this.stage = Stage::HandedOver(speaking);
                    if let Ok(Poll::Pending) = polled {
                        return Poll::Pending;
                    }
                    this.abort();
                    return Poll::Ready(());
                }
                Stage::Lingering(stream) => {
                    let read = stream.poll_read(cx, &mut this.service.scratch.borrow_mut());
                    this.stage = Stage::Lingering(stream);
                    match read {
                        // One that sends without end must not hold the loop (law 7).
                        Poll::Ready(Ok(1..)) if this.deadline.poll_elapsed(cx).is_pending() => {
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => return this.deadline.poll_elapsed(cx),
                    }
                }
                Stage::Ended => return Poll::Ready(()),
            }
        }
    }
}

impl<F, M> Connection<F, M>
where
    M: Fn(TcpStream, SocketAddr, Box<Workspace>) -> F,
{
    fn begin(&mut self, stream: TcpStream) {
        let mut slot = self.service.slots.take_slot();
        let space = self.service.slots.take_space(&self.service.limits);
        slot.set(Some((self.service.make)(stream, self.peer, space)));
        self.stage = Stage::Busy(slot);
    }
}

impl<F, M> Connection<F, M> {
    /// In a drain: who has just connected is about to ask, and gets a moment to do so.
    fn hasten(&mut self) {
        // A reading of its own: where a handler held the loop, the turn's is of before.
        let soon = later(Instant::now(), FRESH);
        if soon < self.deadline.deadline() {
            self.deadline.reset(soon);
        }
    }

    /// Drops what is still going on.
    fn abort(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Idle(_) | Stage::Ended => {}
            Stage::HandedOver(speaking) => {
                // What it holds may panic in its drop.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(speaking)));
            }
            Stage::Lingering(_) => self.service.connections.end_linger(),
            Stage::Busy(slot) => {
                let give = AssertUnwindSafe(|| self.service.slots.give_slot(slot));
                // A panic in the drop of a handler's value: the slot is lost with it.
                let _ = catch_unwind(give);
            }
        }
    }
}

impl<F, M> Drop for Connection<F, M> {
    fn drop(&mut self) {
        // The socket closes before the place is free.
        self.abort();
        self.service.connections.close(self.key);
    }
}
