//! A response's content written by an async closure, into a bounded pipe.
//!
//! A [`Produce`]r is asked for its next piece; a closure would rather write when it has something.
//! The pipe between the two is one buffer: the closure waits while it is full, which is the client's
//! back-pressure, and it is emptied whenever the connection asks. There is no task: the closure runs
//! when it is asked, and is dropped with the response when the client leaves. Next: `timeout`.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::content::Produce;
use crate::error::Error;
use crate::response::Response;
use crate::trailers::Trailers;

/// Bytes in the pipe before its writer waits.
const PIPE_BYTES: usize = 16 << 10;

impl Response {
    /// 200 with content that an async closure writes, in chunked coding. An error that the closure
    /// gives cuts the response off, so that the client sees that it is incomplete.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Request, Response, Server};
    /// use std::time::Duration;
    ///
    /// let server = Server::new(async |_: &mut Request<'_>| {
    ///     Response::stream("text/plain", async |sink| {
    ///         for count in (1..=3).rev() {
    ///             sink.write(format!("{count}\n").as_bytes()).await;
    ///             squall_reactor::sleep(Duration::from_secs(1)).await;
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// # drop(server);
    /// ```
    pub fn stream<F>(content_type: &'static str, write: F) -> Self
    where
        F: AsyncFnOnce(&mut Sink) -> io::Result<()> + 'static,
    {
        Self::produced(content_type, None, written(write))
    }
}

/// A [`Produce`]r of what an async closure writes; for [`Response::produced`] with a known length.
///
/// # Examples
/// ```
/// use squall_http::{Response, stream::{Sink, written}};
///
/// let ten = written(async |sink: &mut Sink| {
///     sink.write(b"0123456789").await;
///     Ok(())
/// });
/// let response = Response::produced("text/plain", Some(10), ten);
/// # drop(response);
/// ```
pub fn written<F>(write: F) -> impl Produce + 'static
where
    F: AsyncFnOnce(&mut Sink) -> io::Result<()> + 'static,
{
    let pipe = Rc::new(RefCell::new(Pipe::default()));
    let mut sink = Sink { pipe: Rc::clone(&pipe) };
    Writer { pipe, writing: Some(Box::pin(async move { write(&mut sink).await })) }
}

/// Where the closure writes.
///
/// # Examples
/// ```
/// use squall_http::Response;
/// use squall_http::stream::Sink;
///
/// let response = Response::stream("text/plain", async |sink: &mut Sink| {
///     for number in 0..1000 {
///         sink.write(format!("{number}\n").as_bytes()).await;
///     }
///     Ok(())
/// });
/// # drop(response);
/// ```
pub struct Sink {
    pipe: Rc<RefCell<Pipe>>,
}

impl Sink {
    /// Writes all of it. It waits while the pipe is full: the client does not read so fast.
    ///
    /// What is in the pipe is sent at the latest when the closure waits for something.
    ///
    /// # Cancel safety
    /// What has got into the pipe is sent; nobody says how much that was.
    pub async fn write(&mut self, mut bytes: &[u8]) {
        poll_fn(|cx| {
            let mut pipe = self.pipe.borrow_mut();
            let room = bytes.len().min(PIPE_BYTES - pipe.bytes.len());
            pipe.bytes.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if bytes.is_empty() {
                return Poll::Ready(());
            }
            pipe.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Sink {
    /// Adds a trailer field, which is sent behind the content if the response announces it and the
    /// client takes trailers: see [`Response::trailers`].
    ///
    /// # Errors
    /// As [`Trailers::append`].
    pub fn trailer(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.pipe.borrow_mut().trailers.append(name, value)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.pipe.borrow().bytes.len();
        f.debug_struct("Sink").field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    /// Waits for room.
    writer: Option<Waker>,
    trailers: Trailers,
}

struct Writer<F> {
    pipe: Rc<RefCell<Pipe>>,
    /// `None` once it has ended.
    writing: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = io::Result<()>>> Produce for Writer<F> {
    fn poll_produce(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let Some(writing) = &mut self.writing else { return Poll::Ready(Ok(false)) };
        let written = writing.as_mut().poll(cx);
        let mut pipe = self.pipe.borrow_mut();
        let writer = pipe.writer.take();
        let has_bytes = !pipe.bytes.is_empty();
        out.append(&mut pipe.bytes);
        drop(pipe);
        match written {
            Poll::Ready(result) => {
                self.writing = None;
                Poll::Ready(result.map(|()| false))
            }
            Poll::Pending => {
                // The connection asks again by itself; only a waker of the closure's own must hear.
                if let Some(writer) = writer.filter(|writer| !writer.will_wake(cx.waker())) {
                    writer.wake();
                }
                if has_bytes { Poll::Ready(Ok(true)) } else { Poll::Pending }
            }
        }
    }

    fn trailers(&mut self) -> Trailers {
        std::mem::take(&mut self.pipe.borrow_mut().trailers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produce(producer: &mut impl Produce) -> Poll<(bool, usize)> {
        let (mut cx, mut out) = (Context::from_waker(Waker::noop()), Vec::new());
        let produced = producer.poll_produce(&mut cx, &mut out);
        produced.map(|go_on| (go_on.expect("the closure does not fail"), out.len()))
    }

    // Without a bound a closure that is faster than its client holds all that it writes.
    #[test]
    fn a_writer_gets_ahead_of_its_client_by_one_pipe_at_most() {
        let progress = Rc::new(RefCell::new(0));
        let own = Rc::clone(&progress);
        let mut producer = written(async move |sink| {
            for _ in 0..3 {
                sink.write(&[0; PIPE_BYTES]).await;
                *own.borrow_mut() += 1;
            }
            Ok(())
        });
        let full = Poll::Ready((true, PIPE_BYTES));
        assert_eq!((produce(&mut producer), *progress.borrow()), (full, 1));
        assert_eq!((produce(&mut producer), *progress.borrow()), (full, 2));
        let last = Poll::Ready((false, PIPE_BYTES));
        assert_eq!((produce(&mut producer), *progress.borrow()), (last, 3));
        assert_eq!(produce(&mut producer), Poll::Ready((false, 0)), "it may be asked again");
    }

    #[test]
    fn a_closure_that_waits_is_pending_and_one_that_fails_cuts_the_response_off() {
        let mut waiting = written(async |_sink| std::future::pending().await);
        assert_eq!(produce(&mut waiting), Poll::Pending);
        let mut failing = written(async |sink| {
            sink.write(b"half").await;
            Err(io::ErrorKind::Other.into())
        });
        let (mut cx, mut out) = (Context::from_waker(Waker::noop()), Vec::new());
        let Poll::Ready(Err(_)) = failing.poll_produce(&mut cx, &mut out) else {
            panic!("the error is lost");
        };
    }

    // The closure may wait behind a waker of its own (a select of futures), which must be woken.
    #[test]
    fn a_foreign_waker_hears_that_there_is_room() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        use std::task::Wake;
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let foreign = Waker::from(Arc::clone(&woken));
        let mut producer = written(async move |sink| {
            let mut write = Box::pin(sink.write(&[0; PIPE_BYTES + 1]));
            let mut cx = Context::from_waker(&foreign);
            poll_fn(|_| write.as_mut().poll(&mut cx)).await;
            Ok(())
        });
        assert_eq!(produce(&mut producer), Poll::Ready((true, PIPE_BYTES)));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(produce(&mut producer), Poll::Ready((false, 1)));
    }
}
