//! Sending: what has been answered, and contents, as fast as the client takes them.
//!
//! Small contents are copied behind their head and leave with it; larger ones leave beside it in one
//! vectored write; those that are made as they are sent fill the batch's buffer piece by piece. A client
//! that takes nothing for too long is given up. Next: `app`.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use squall_reactor::net::TcpStream;
use squall_reactor::{Side, sleep_until, yield_now};

use crate::content::{Content, Produce, Transmit};
use crate::deadline::later;
use crate::encode::{LAST_CHUNK, Transfer, begin_chunk, end_chunk, end_chunks};
use crate::limits::Limits;

/// Answers that wait for their batch to end; beyond this they are sent.
pub(crate) const MAX_OUT_BYTES: usize = 64 << 10;
/// Content up to here is copied behind its head and sent with it: cheaper than a second buffer.
pub(crate) const COPY_BYTES: usize = 4 << 10;

/// The way to one client.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) peer: SocketAddr,
    /// How long the client may be waited for while there is something to send.
    pub(crate) limits: &'a Limits,
}

impl Wire<'_> {
    /// Sends all of `out`, and empties it.
    pub(crate) async fn send_rest(&self, out: &mut Vec<u8>, more: bool) -> io::Result<()> {
        let mut sent = 0;
        while sent < out.len() {
            sent += self.in_time(|cx| self.stream.poll_send(cx, &out[sent..], more)).await?;
        }
        out.clear();
        Ok(())
    }

    /// A write, which fails if the client does not make room for it in time and has taken too little
    /// meanwhile: the kernel tells of room only once there is a lot of it (128 KiB). The clock is
    /// read, the kernel asked and a timer armed only if it has to wait.
    async fn in_time<R>(
        &self,
        mut write: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        let written = poll_fn(|cx| Poll::Ready(write(cx))).await;
        if let Poll::Ready(written) = written {
            return written;
        }
        let patience = self.limits.write_timeout;
        let enough = u128::from(self.limits.min_answer_rate) * patience.as_millis() / 1000;
        // Where the kernel does not tell, the client has taken nothing.
        let untaken = || self.stream.unacknowledged().unwrap_or(0);
        let mut before = untaken();
        let mut deadline = sleep_until(later(Instant::now(), patience));
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(written) = write(cx) {
                    return Poll::Ready(written);
                }
                ready!(deadline.poll_elapsed(cx));
                let now = untaken();
                if (before.saturating_sub(now) as u128) < enough.max(1) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                before = now;
                deadline.reset(later(Instant::now(), patience));
            }
        })
        .await
    }
}

/// Puts the content behind its head. False if it is not what the head has promised.
pub(crate) async fn send_content(
    wire: &Wire<'_>,
    out: &mut Vec<u8>,
    content: Content,
    transfer: Transfer,
    has_trailers: bool,
) -> io::Result<bool> {
    match (content, transfer) {
        (_, Transfer::Nothing) | (Content::Handover(_), _) => Ok(true),
        (Content::Transmitted(length, content), _) => transmit(wire, out, length, content).await,
        (Content::Bytes(bytes), _) if bytes.len() <= COPY_BYTES => {
            out.extend_from_slice(&bytes);
            Ok(true)
        }
        (Content::Bytes(bytes), _) => {
            send_both(wire, out, &bytes).await?;
            Ok(true)
        }
        (Content::Produced(_, mut producer), transfer) => {
            let mut left = match transfer {
                Transfer::Length(length) => length,
                _ => u64::MAX,
            };
            let mut unyielded = 0;
            loop {
                let chunked = transfer == Transfer::Chunked;
                let Some((made, go_on)) = next_piece(wire, out, &mut *producer, chunked).await?
                else {
                    return Ok(false);
                };
                let Some(rest) = left.checked_sub(made as u64) else {
                    out.truncate(out.len() - made);
                    return Ok(false);
                };
                left = rest;
                if !go_on {
                    break;
                }
                if out.len() >= COPY_BYTES * 4 {
                    unyielded += out.len();
                    wire.send_rest(out, false).await?;
                }
                if unyielded >= MAX_OUT_BYTES {
                    // A client that reads as fast as this must not hold the loop (law 7).
                    unyielded = 0;
                    yield_now().await;
                }
            }
            match transfer {
                Transfer::Chunked if has_trailers => {
                    let ended = catch_unwind(AssertUnwindSafe(|| producer.trailers()));
                    let Ok(trailers) = ended else { return Ok(false) };
                    end_chunks(out, trailers.lines());
                }
                Transfer::Chunked => out.extend_from_slice(LAST_CHUNK),
                Transfer::Length(_) if left > 0 => return Ok(false),
                _ => {}
            }
            Ok(true)
        }
    }
}

/// Appends the producer's next piece to `out`: its bytes, and whether more follow; `None` if it has
/// failed. While it has none, what was made before is sent, and a reset ends the wait: the client
/// has left, and will not be told by a write, since there is none.
async fn next_piece(
    wire: &Wire<'_>,
    out: &mut Vec<u8>,
    producer: &mut dyn Produce,
    chunked: bool,
) -> io::Result<Option<(usize, bool)>> {
    let begin = |out: &mut Vec<u8>| {
        let before = out.len();
        let chunk = chunked.then(|| begin_chunk(out));
        (before, chunk, out.len())
    };
    let (before, mut chunk, mut start) = begin(out);
    let mut produced = poll_fn(|cx| Poll::Ready(produce_caught(producer, cx, out))).await;
    if produced.is_pending() {
        out.truncate(before);
        wire.send_rest(out, false).await?;
        (_, chunk, start) = begin(out);
        produced = Poll::Ready(
            poll_fn(|cx| match produce_caught(producer, cx, out) {
                Poll::Pending => wire
                    .stream
                    .poll_ready(cx, Side::HungUp)
                    .map(|_| Err(io::ErrorKind::ConnectionReset.into())),
                produced => produced,
            })
            .await,
        );
    }
    let Poll::Ready(Ok(go_on)) = produced else { return Ok(None) };
    let made = out.len() - start;
    if let Some(chunk) = chunk {
        end_chunk(out, chunk);
    }
    Ok(Some((made, go_on)))
}

/// Sends `out`, and content that goes to the socket by itself. False if there is less than `left`.
async fn transmit(
    wire: &Wire<'_>,
    out: &mut Vec<u8>,
    mut left: u64,
    mut content: Box<dyn Transmit>,
) -> io::Result<bool> {
    // The head leaves together with the content's first bytes.
    wire.send_rest(out, left > 0).await?;
    while left > 0 {
        match wire.in_time(|cx| content.poll_transmit(cx, wire.stream)).await? {
            0 => return Ok(false),
            sent => left = left.saturating_sub(sent),
        }
        // A client that reads as fast as this must not hold the loop (law 7).
        yield_now().await;
    }
    Ok(true)
}

/// Sends `out` and `bytes` without copying the second behind the first.
async fn send_both(wire: &Wire<'_>, out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    let total = out.len() + bytes.len();
    while sent < total {
        let write = |cx: &mut Context<'_>| {
            let first = out.get(sent..).unwrap_or_default();
            let second = &bytes[sent.saturating_sub(out.len())..];
            let bufs = [io::IoSlice::new(first), io::IoSlice::new(second)];
            wire.stream.poll_write_vectored(cx, &bufs)
        };
        sent += wire.in_time(write).await?;
    }
    out.clear();
    Ok(())
}

/// Asks a producer; its panic cuts its own answer off, and harms nobody else.
fn produce_caught(
    producer: &mut dyn Produce,
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Poll<io::Result<bool>> {
    catch_unwind(AssertUnwindSafe(|| producer.poll_produce(cx, out)))
        .unwrap_or_else(|_| Poll::Ready(Err(io::ErrorKind::Other.into())))
}
