//! hyper's read buffer: memory that nobody has written yet.
//!
//! The only safe way into it is a copy out of another buffer, which costs a request twice: that
//! buffer must be zeroed, and its bytes are moved. So the kernel writes into it, and the two
//! promises that hyper asks for are given here. Next: `compat::hyper`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
#[cfg(feature = "futures-io")]
use std::task::{Poll, ready};

use hyper::rt::ReadBufCursor;

use super::socket;

/// recv(2) into what is free of the buffer.
pub(crate) fn recv(fd: BorrowedFd<'_>, cursor: &mut ReadBufCursor<'_>) -> io::Result<usize> {
    // SAFETY: nothing that is written is made unwritten again: only the kernel gets it, to write.
    let free: &mut [MaybeUninit<u8>] = unsafe { cursor.as_mut() };
    let n = socket::recv_uninit(fd, free)?;
    // SAFETY: the kernel has written the first `n` bytes of what was free.
    unsafe { cursor.advance(n) };
    Ok(n)
}

/// Lets `read` fill what is free of the buffer, at most `limit` bytes, which it finds zeroed.
#[cfg(feature = "futures-io")]
pub(crate) fn fill(
    cursor: &mut ReadBufCursor<'_>,
    limit: usize,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<()>> {
    // SAFETY: nothing that is written is made unwritten again: zeroes are written, and a slice of
    // bytes can only be written.
    let free: &mut [MaybeUninit<u8>] = unsafe { cursor.as_mut() };
    let len = free.len().min(limit);
    let free = &mut free[..len];
    free.fill(MaybeUninit::new(0));
    // SAFETY: all of it has just been written, and the exclusive borrow is handed on.
    let zeroed = unsafe { &mut *(&raw mut *free as *mut [u8]) };
    let n = ready!(read(zeroed))?.min(len);
    // SAFETY: the first `len` bytes of what was free are written, and `n` is at most `len`.
    unsafe { cursor.advance(n) };
    Poll::Ready(Ok(()))
}

#[cfg(all(test, feature = "futures-io"))]
mod tests {
    use super::*;
    use hyper::rt::ReadBuf;

    /// A reader that claims more than it was given must not make unwritten memory visible.
    #[test]
    fn a_reader_that_lies_about_its_length_uncovers_nothing() {
        let mut memory = [MaybeUninit::<u8>::uninit(); 64];
        let mut buf = ReadBuf::uninit(&mut memory);
        let poll = fill(&mut buf.unfilled(), 16, |free| {
            assert_eq!(free, [0; 16]);
            free[0] = 7;
            Poll::Ready(Ok(64))
        });
        assert!(matches!(poll, Poll::Ready(Ok(()))));
        assert_eq!(buf.filled().len(), 16);
        assert_eq!(buf.filled()[..2], [7, 0]);
    }
}
