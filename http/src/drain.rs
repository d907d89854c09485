//! The connections of a server: how many there are, and how they are woken for the end.
//!
//! Each open connection has a place with its task's waker; draining and aborting are a flag and a wake
//! for all. Full servers let their listeners rest here, and no address has more than its share. Next: `connection`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::{Poll, Waker};

use slab::Slab;
use squall_reactor::{Handle, Token};

/// The connections of a server: how many, and how to wake them for the end.
pub(crate) struct Connections {
    open: RefCell<Slab<Place>>,
    /// How many each address has.
    by_address: RefCell<HashMap<Address, usize>>,
    max: usize,
    max_per_address: usize,
    turned_away: Cell<u64>,
    lingering: Cell<usize>,
    draining: Cell<bool>,
    aborting: Cell<bool>,
    /// Listeners that rest until a connection closes.
    resting: RefCell<Vec<(Handle, Token)>>,
    emptied: RefCell<Option<Waker>>,
}

/// One connection.
struct Place {
    waker: Option<Waker>,
    address: Address,
}

/// Whose connections are counted together: an IPv4 address, or the first 64 bits of an IPv6 one, for
/// a host mostly has all of the rest (RFC 4291, 2.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Address(u64);

impl Address {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            // No address of a peer begins so: ff00::/8 is multicast.
            IpAddr::V4(v4) => Self(0xffff_ffff << 32 | u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64),
        }
    }
}

/// Connections that may linger at once; beyond it they are closed.
const MAX_LINGERING: usize = 1024;

impl Connections {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            open: RefCell::default(),
            by_address: RefCell::default(),
            max,
            max_per_address,
            turned_away: Cell::new(0),
            lingering: Cell::new(0),
            draining: Cell::new(false),
            aborting: Cell::new(false),
            resting: RefCell::default(),
            emptied: RefCell::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// A place for a connection that has just been accepted; `None` if its address has its share.
    pub(crate) fn open(&self, peer: IpAddr) -> Option<usize> {
        let address = Address::of(peer);
        let mut by_address = self.by_address.borrow_mut();
        let count = by_address.entry(address).or_insert(0);
        if *count >= self.max_per_address {
            self.turned_away.set(self.turned_away.get() + 1);
            return None;
        }
        *count += 1;
        Some(self.open.borrow_mut().insert(Place { waker: None, address }))
    }

    /// How many were given no place.
    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.get()
    }

    /// Gives the place back.
    pub(crate) fn close(&self, key: usize) {
        let place = self.open.borrow_mut().try_remove(key);
        let Some(Place { waker, address }) = place else { return };
        if let Entry::Occupied(mut count) = self.by_address.borrow_mut().entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
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
        if let Some(Place { waker: waker_of @ None, .. }) = self.open.borrow_mut().get_mut(key) {
            *waker_of = Some(waker.clone());
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

    /// A connection begins to linger. False if too many do.
    pub(crate) fn begin_linger(&self) -> bool {
        let may = self.lingering.get() < MAX_LINGERING;
        self.lingering.set(self.lingering.get() + usize::from(may));
        may
    }

    pub(crate) fn end_linger(&self) {
        self.lingering.set(self.lingering.get() - 1);
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.open.borrow().iter().filter_map(|(_, place)| place.waker.clone()).collect();
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
