//! `futures_io::{AsyncRead, AsyncWrite}` on streams and pipes.
//!
//! The methods of the types take `&self`, so `&TcpStream` and the like have the traits too: two
//! halves at once need no lock and no split. What is absent: `AsyncBufRead`, because there is no buffer
//! here (`futures::io::BufReader` has one); reads into several buffers (the trait's own fills the
//! first); and any other type ([`Io`](crate::Io) and [`Fd`](crate::Fd) have
//! `poll_with`). Next: `sys::cursor`.
//!
//! - Tasks that wait on the same side are all woken (law 3); who is first gets the bytes.
//! - An operation that is pending has done nothing: dropping its future loses nothing. One that
//!   repeats it (`read_exact`, `write_all`, `copy`) is not cancel-safe.
//! - After 128 operations in one poll the next one is pending and has woken its task (law 7). A
//!   combinator that polls at once what has woken itself must yield now and then of its own, as
//!   `FuturesUnordered` does.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::EndWriting;
use crate::net::{TcpStream, UnixStream};
use crate::pipe::{PipeReader, PipeWriter};

macro_rules! read {
    ($($stream:ty),*) => { $(
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                <$stream>::poll_read(&self, cx, buf)
            }
        }

        impl AsyncRead for &$stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                <$stream>::poll_read(&self, cx, buf)
            }
        }
    )* };
}

macro_rules! write {
    ($($stream:ty),*) => { $(
        write!(impl $stream, $stream);
        write!(impl $stream, &$stream);
    )* };
    (impl $stream:ty, $writer:ty) => {
        impl AsyncWrite for $writer {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                <$stream>::poll_write(&self, cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                <$stream>::poll_write_vectored(&self, cx, bufs)
            }

            /// Nothing is held back.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(<$stream>::end_writing(&self))
            }
        }
    };
}

read!(TcpStream, UnixStream, PipeReader);
write!(TcpStream, UnixStream, PipeWriter);
