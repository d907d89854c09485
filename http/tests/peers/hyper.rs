//! hyper's server over bytes in memory: the peer for framing, chunked bodies and the connection.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};

use super::{End, Seen, Story, sorted};

/// Serves a connection that sends the bytes and then a FIN.
pub fn story(bytes: &[u8]) -> Story {
    let (requests, broken) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(None)));
    let both = (Rc::clone(&requests), Rc::clone(&broken));
    let service = service_fn(move |request: Request<Incoming>| {
        let (requests, broken) = both.clone();
        async move {
            match read(request).await {
                Ok(whole) => requests.borrow_mut().push(whole),
                Err(error) => *broken.borrow_mut() = Some(error),
            }
            Ok::<_, Infallible>(Response::new(Nothing))
        }
    });
    let memory = Memory { input: bytes.to_vec(), at: 0 };
    let connection = http1::Builder::new().half_close(true).serve_connection(memory, service);
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    // It gives way now and then, and is asked again.
    let ended = (0..100_000).find_map(|_| match connection.as_mut().poll(&mut context) {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => None,
    });
    let ended = ended.expect("memory keeps nobody waiting").err();
    let end = match broken.take().or(ended) {
        Some(error) if !is_cut(&error) => End::Refused(format!("{error:?}")),
        _ => End::Quiet,
    };
    Story { requests: requests.take(), end }
}

/// The request with its body.
async fn read(request: Request<Incoming>) -> Result<Seen, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut body = pin!(body);
    let mut data = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(piece) = frame?.into_data() {
            data.extend_from_slice(&piece);
        }
    }
    let fields =
        head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    Ok(Seen {
        method: head.method.as_str().as_bytes().to_vec(),
        target: head.uri.to_string().into_bytes(),
        minor: u8::from(head.version == Version::HTTP_11),
        fields: sorted(fields),
        body: data,
    })
}

/// Whether nothing is wrong but that the bytes end in the middle of a message.
fn is_cut(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    error.is_incomplete_message()
        || cause.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

/// A response's body without content.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// What a client sends, and nowhere to write to.
struct Memory {
    input: Vec<u8>,
    at: usize,
}

impl Read for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let n = buf.remaining().min(self.input.len() - self.at);
        buf.put_slice(&self.input[self.at..self.at + n]);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
