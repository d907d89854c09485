//! A part of a file as a response's content, sent by sendfile(2).
//!
//! The one idea: the socket does not block, but a file does, and sendfile waits for a page that is not
//! in memory with the whole loop. So the pool brings one window after the other into the page cache,
//! always one ahead of the sending, and only what is there is sent. Nothing of it passes through this
//! process. Absent: pages that are evicted between the two; they cost a wait. Next: `mod`.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use squall_reactor::net::{TcpStream, read_ahead};
use squall_reactor::{Pool, pool::Run};

use crate::content::{Content, Transmit};
use crate::response::Response;
use crate::status::StatusCode;

/// What is brought into the page cache at once, and what one sendfile moves at most.
pub(super) const WINDOW: u64 = 2 << 20;

impl Response {
    /// 200 with the bytes of `file` in `range`, which the kernel sends from its page cache; the pool
    /// brings them there. A file that ends before the range does cuts the response off, since its
    /// length was promised. What is written into the file meanwhile may be sent or not.
    ///
    /// # System calls
    /// For each 2 MiB one sendfile(2) to /dev/null in the pool; on the loop one sendfile(2) for what the
    /// socket has room for.
    ///
    /// # Examples
    /// ```
    /// use squall_http::{Request, Response, StatusCode};
    /// use squall_reactor::Pool;
    /// use std::fs::File;
    ///
    /// async fn report(_: &mut Request<'_>, pool: &Pool) -> Response {
    ///     let opened = pool.run(|| {
    ///         let file = File::open("report.pdf")?;
    ///         let length = file.metadata()?.len();
    ///         Ok::<_, std::io::Error>((file, length))
    ///     });
    ///     match opened.await {
    ///         Ok(Ok((file, length))) => Response::file("application/pdf", file, 0..length, pool),
    ///         _ => Response::error(StatusCode::NOT_FOUND, "there is no report"),
    ///     }
    /// }
    /// # let _ = report;
    /// ```
    pub fn file(content_type: &'static str, file: File, range: Range<u64>, pool: &Pool) -> Self {
        Self::part(content_type, Part::new(file, range, pool))
    }

    pub(super) fn part(content_type: &'static str, part: Part) -> Self {
        let mut response = Self::new(StatusCode::OK);
        response.content_type = Some(content_type);
        let length = part.left.end - part.left.start;
        response.content = Content::Transmitted(length, Box::new(part));
        response
    }
}

/// What is left of a part, and how much of that can be sent without waiting for the disk.
pub(super) struct Part {
    file: Arc<File>,
    left: Range<u64>,
    warm_to: u64,
    /// The next window is on its way: it ends there.
    reading: Option<(u64, Run<io::Result<u64>>)>,
    pool: Pool,
}

impl Part {
    pub(super) fn new(file: File, range: Range<u64>, pool: &Pool) -> Self {
        let left = range.start..range.end.max(range.start);
        let (file, warm_to) = (Arc::new(file), left.start);
        Self { file, left, warm_to, reading: None, pool: pool.clone() }
    }

    /// The first `bytes` of the file are in the page cache.
    pub(super) fn warm_to(mut self, bytes: u64) -> Self {
        self.warm_to = bytes.clamp(self.left.start, self.left.end);
        self
    }

    /// Begins to bring in the window behind what is there.
    fn read_on(&mut self) {
        let (file, start) = (Arc::clone(&self.file), self.warm_to);
        let end = self.left.end.min(start.saturating_add(WINDOW));
        if self.reading.is_none() && start < end {
            let read = move || read_ahead(&file, start, (end - start) as usize);
            self.reading = Some((end, self.pool.run(read)));
        }
    }
}

impl Transmit for Part {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Result<u64>> {
        self.read_on();
        if self.left.start == self.warm_to {
            let Some((end, reading)) = &mut self.reading else { return Poll::Ready(Ok(0)) };
            let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)?;
            read?;
            // Where the file ends before, sendfile will find that out.
            self.warm_to = *end;
            self.reading = None;
            self.read_on();
        }
        let len = (self.warm_to - self.left.start) as usize;
        let sent = ready!(stream.poll_send_file(cx, &self.file, self.left.start, len))? as u64;
        self.left.start += sent;
        Poll::Ready(Ok(sent))
    }
}
