//! Identity: a slot and a serial in one `u64` (law 2).
//!
//! A slot is reused, and so is a descriptor's number; a serial is not. It comes from one counter of
//! the reactor, so an event of yesterday never reaches whoever lives in the slot today. (It wraps
//! after 2^32 registrations; to be taken for a stranger, an event would have to wait that long.)
//! Next: `interest`.

use std::fmt;

/// Names a registration, a task or a timer of one reactor.
///
/// # Examples
/// ```
/// use squall_reactor::Token;
///
/// let token = Token::from_u64(7 << 32 | 3);
/// assert_eq!(format!("{token:?}"), "3#7"); // slot 3, serial 7
/// assert_eq!(token.to_u64(), 7 << 32 | 3);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    pub(crate) slot: u32,
    pub(crate) serial: u32,
}

// mio carries a token in a usize; slot and serial must fit.
const _: () = assert!(usize::BITS == 64, "squall-reactor needs a 64-bit platform");

impl Token {
    /// mio's waker; no slot has this number.
    pub(crate) const WAKER: Self = Self { slot: u32::MAX, serial: u32::MAX };

    /// The token as the kernel carries it.
    pub fn to_u64(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`to_u64`](Self::to_u64).
    pub fn from_u64(value: u64) -> Self {
        Self { slot: value as u32, serial: (value >> 32) as u32 }
    }

    pub(crate) fn index(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slot, self.serial)
    }
}

/// Where serials come from: one counter for a whole reactor.
#[derive(Debug, Default)]
pub struct Serials {
    last: u32,
}

impl Serials {
    /// Starts at a number of the caller's choice; tests start near the wrap.
    pub fn starting_at(last: u32) -> Self {
        Self { last }
    }

    /// The next serial.
    pub fn draw(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_02_slot_and_serial_survive_the_kernel() {
        for token in [
            Token { slot: 0, serial: 0 },
            Token { slot: 7, serial: u32::MAX },
            Token { slot: u32::MAX - 1, serial: 1 },
            Token::WAKER,
        ] {
            assert_eq!(Token::from_u64(token.to_u64()), token);
        }
    }

    #[test]
    fn law_02_serials_wrap_and_do_not_stop() {
        let mut serials = Serials::starting_at(u32::MAX - 1);
        assert_eq!([serials.draw(), serials.draw(), serials.draw()], [u32::MAX, 0, 1]);
    }
}
