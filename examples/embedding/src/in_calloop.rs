//! A reactor inside calloop: a level-triggered `Generic` source, and a timer for the deadline.
//!
//! A level-triggered host turns its guest once for each report. The source is a duplicate of the
//! descriptor, because calloop would keep the reactor to itself.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use squall_reactor::Reactor;

/// A reactor that calloop hosts.
pub struct Guest<D: 'static> {
    reactor: RefCell<Reactor>,
    host: LoopHandle<'static, D>,
    timer: RefCell<Option<RegistrationToken>>,
}

impl<D: 'static> Guest<D> {
    /// Moves in, and turns once: what is there already is served.
    ///
    /// # Errors
    /// Those of epoll_ctl(2), and of the turn.
    pub fn move_in(reactor: Reactor, host: LoopHandle<'static, D>) -> calloop::Result<Rc<Self>> {
        let fd = reactor.as_fd().try_clone_to_owned()?;
        let (reactor, timer) = (RefCell::new(reactor), RefCell::new(None));
        let guest = Rc::new(Self { reactor, host, timer });
        let served = Rc::clone(&guest);
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        guest.host.insert_source(source, move |_, _, _| {
            served.turn()?;
            Ok(PostAction::Continue)
        })?;
        guest.turn()?;
        Ok(guest)
    }

    /// How often it has turned.
    pub fn turns(&self) -> u64 {
        self.reactor.borrow().stats().turns
    }

    /// One turn, and a timer for the next one if the descriptor will not ask for it.
    fn turn(self: &Rc<Self>) -> std::io::Result<()> {
        let mut reactor = self.reactor.borrow_mut();
        reactor.turn(Some(Duration::ZERO))?;
        if let Some(timer) = self.timer.take() {
            self.host.remove(timer);
        }
        if let Some(deadline) = reactor.next_deadline() {
            let guest = Rc::clone(self);
            let due = move |_, _: &mut (), _: &mut D| {
                guest.timer.take(); // this one
                // An error would be the descriptor's, which says it again.
                let _ = guest.turn();
                TimeoutAction::Drop
            };
            let timer = self.host.insert_source(Timer::from_deadline(deadline), due);
            self.timer.replace(timer.ok());
        }
        Ok(())
    }
}
