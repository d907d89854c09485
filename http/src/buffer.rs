//! The read buffer: one block, what is filled of it, and what of that is used up.
//!
//! A connection has one only while something is unanswered; then it goes back to the server's list
//! (see `slots`). A request borrows the part behind its own head as a [`Window`], into which its body
//! is read, so head and body never copy each other. Next: `content`.

use std::ops::Range;

/// Room for the largest head and as much again for a body's next piece.
pub(crate) const BUFFER_BYTES: usize = 32 << 10;

/// Bytes that have come and are not used up: `bytes[start..end]`.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
    filled: Range<usize>,
}

impl ReadBuffer {
    /// A buffer for heads of at most `max_head_bytes`.
    pub(crate) fn new(max_head_bytes: usize) -> Self {
        let len = BUFFER_BYTES.max(max_head_bytes + (BUFFER_BYTES >> 1));
        Self { bytes: vec![0; len].into_boxed_slice(), filled: 0..0 }
    }

    /// What has come and is not used up.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.filled.clone()]
    }

    /// True if everything is used up.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Where to read more; what has come moves to the front if there is no room behind it.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.bytes.len() {
            self.compact();
        }
        &mut self.bytes[self.filled.end..]
    }

    /// `n` bytes of the space have been read.
    pub(crate) fn fill(&mut self, n: usize) {
        self.filled.end += n;
    }

    /// Moves what has come to the front.
    pub(crate) fn compact(&mut self) {
        self.bytes.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
    }

    /// Takes out what has come and is not used up.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.filled().to_vec();
        self.filled = 0..0;
        rest
    }

    /// The room behind the first `head` bytes of what has come.
    pub(crate) fn room_behind(&self, head: usize) -> usize {
        self.bytes.len() - self.filled.start - head
    }

    /// Splits the first `head` bytes from a window on the rest.
    pub(crate) fn split(&mut self, head: usize) -> (&[u8], Window<'_>) {
        let Range { start, end } = self.filled;
        let (front, rest) = self.bytes.split_at_mut(start + head);
        (&front[start..], Window { bytes: rest, filled: 0..end - start - head })
    }

    /// Takes back what [`split`](Self::split) lent, as [`Window::left`] says.
    pub(crate) fn rejoin(&mut self, head: usize, left: Range<usize>) {
        let front = self.filled.start + head;
        self.filled = front + left.start..front + left.end;
    }
}

/// The part of a buffer behind a head.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    bytes: &'a mut [u8],
    filled: Range<usize>,
}

impl Window<'_> {
    /// What has come and is not used up.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.filled.clone()]
    }

    /// A part of the window by its place, which [`consume`](Self::consume) gave.
    pub(crate) fn bytes(&self, place: Range<usize>) -> &[u8] {
        &self.bytes[place]
    }

    /// True if everything is used up.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Uses up `n` bytes, and gives the place of the first of them in the window.
    pub(crate) fn consume(&mut self, n: usize) -> usize {
        let place = self.filled.start;
        self.filled.start += n;
        place
    }

    /// Where to read more; empty only if the window is full of what is not used up.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.bytes.len() {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        &mut self.bytes[self.filled.end..]
    }

    /// `n` bytes of the space have been read.
    pub(crate) fn fill(&mut self, n: usize) {
        self.filled.end += n;
    }

    /// What is left, for [`ReadBuffer::rejoin`].
    pub(crate) fn left(&self) -> Range<usize> {
        self.filled.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_request_is_the_next_one() {
        let mut buffer = ReadBuffer::new(100);
        let text = b"HEADbodyNEXT";
        buffer.space()[..text.len()].copy_from_slice(text);
        buffer.fill(text.len());
        let (head, mut window) = buffer.split(4);
        assert_eq!((head, window.filled()), (&b"HEAD"[..], &b"bodyNEXT"[..]));
        let place = window.consume(4);
        assert_eq!(window.bytes(place..place + 4), b"body");
        let left = window.left();
        buffer.rejoin(4, left);
        assert_eq!(buffer.filled(), b"NEXT");
    }

    #[test]
    fn a_full_buffer_makes_room_by_moving_to_its_front() {
        let mut buffer = ReadBuffer::new(0);
        let len = buffer.space().len();
        buffer.space().fill(7);
        buffer.fill(len);
        let (_, window) = buffer.split(len - 3);
        let left = window.left();
        buffer.rejoin(len - 3, left);
        assert_eq!(buffer.space().len(), len - 3);
        assert_eq!(buffer.filled(), [7, 7, 7]);
    }
}
