//! The connections of a server: how many there are, and how they are woken for the end.
//!
//! Each open connection has a place with its task's waker; draining and aborting are a flag and a wake
//! for all. Full servers let their listeners rest here. Next: `connection`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use slab::Slab;
use squall_reactor::{Handle, Token};

/// The connections of a server: how many, and how to wake them for the end.
pub(crate) struct Connections {
    open: RefCell<Slab<Option<Waker>>>,
    max: usize,
    draining: Cell<bool>,
    aborting: Cell<bool>,
    /// Listeners that rest until a connection closes.
    resting: RefCell<Vec<(Handle, Token)>>,
    emptied: RefCell<Option<Waker>>,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            open: RefCell::default(),
            max,
            draining: Cell::new(false),
            aborting: Cell::new(false),
            resting: RefCell::default(),
            emptied: RefCell::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// A place for a connection that has just been accepted.
    pub(crate) fn open(&self) -> usize {
        self.open.borrow_mut().insert(None)
    }

    /// Gives the place back.
    pub(crate) fn close(&self, key: usize) {
        let waker = self.open.borrow_mut().try_remove(key);
        drop(waker);
        for (handle, token) in self.resting.take() {
            // A listener that has ended meanwhile needs no rest.
            let _ = handle.resume(token);
        }
        if self.open.borrow().is_empty()
            && let Some(waker) = self.emptied.take()
        {
            waker.wake();
        }
    }

    /// Keeps the task's waker, once.
    pub(crate) fn remember(&self, key: usize, waker: &Waker) {
        if let Some(place @ None) = self.open.borrow_mut().get_mut(key) {
            *place = Some(waker.clone());
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn is_aborting(&self) -> bool {
        self.aborting.get()
    }

    /// Idle connections close, the others after their answer.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    /// All connections close now.
    pub(crate) fn abort(&self) {
        self.aborting.set(true);
        self.wake_all();
    }

    /// A listener rests until a connection closes.
    pub(crate) fn rest(&self, handle: &Handle, listener: Token) {
        self.resting.borrow_mut().push((handle.clone(), listener));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.borrow().len() >= self.max
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.open.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready once no connection is open.
    pub(crate) async fn emptied(&self) {
        poll_fn(|cx| {
            if self.open.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.emptied.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
