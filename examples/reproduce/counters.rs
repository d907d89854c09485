//! What a server says of itself while it is measured: a page of words that it writes and the
//! driver reads, without a request and without a system call.
//!
//! | word | holds |
//! |---|---|
//! | 0 | the port it listens on, once it does |
//! | 8 + 8 w | pid of worker w, once it waits for events |
//! | 9 + 8 w | wake-ups: returns from the wait |
//! | 10 + 8 w | of these without progress: nothing accepted, received, ended or due |
//! | 11 + 8 w | slow handlers begun |
//! | 12 + 8 w | slow handlers returned, or dropped unfinished |
//! | 13 + 8 w | connections accepted |
//!
//! The page is the server's standard input, so that a server in Python finds it, too
//! (tornado_server.py). Each word has one writer at a time. Next: `naive`.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use squall_support::page::Page;

/// The page, on either side.
#[derive(Debug, Clone)]
pub struct Counters(Arc<Page>);

impl Counters {
    /// The driver's side.
    pub fn create() -> io::Result<Self> {
        Ok(Self(Arc::new(Page::create()?)))
    }

    /// The server's side.
    pub fn from_stdin() -> io::Result<Self> {
        Ok(Self(Arc::new(Page::from_stdin()?)))
    }

    /// What the server must get as its standard input.
    pub fn stdin(&self) -> io::Result<Stdio> {
        self.0.stdin()
    }

    /// The server listens.
    pub fn set_port(&self, port: u16) {
        self.0.word(PORT).store(u64::from(port), Release);
    }

    /// The server's port, if it listens.
    pub fn port(&self) -> Option<u16> {
        u16::try_from(self.0.word(PORT).load(Acquire)).ok().filter(|&port| port != 0)
    }

    /// The words of one worker.
    pub fn worker(&self, index: usize) -> Worker {
        Worker { page: self.0.clone(), base: FIRST + index * STRIDE }
    }
}

/// One worker's words.
#[derive(Debug, Clone)]
pub struct Worker {
    page: Arc<Page>,
    base: usize,
}

impl Worker {
    /// This process is the worker, and is about to wait for events.
    pub fn set_ready(&self) {
        self.page.word(self.base).store(u64::from(std::process::id()), Release);
    }

    /// A wait returned, and something was achieved after it or not.
    pub fn count_wakeup(&self, progress: bool) {
        self.page.word(self.base + 1).fetch_add(1, Relaxed);
        if !progress {
            self.page.word(self.base + 2).fetch_add(1, Relaxed);
        }
    }

    /// The same in bulk, for a loop that counts by itself.
    pub fn set_wakeups(&self, all: u64, without_progress: u64) {
        self.page.word(self.base + 1).store(all, Relaxed);
        self.page.word(self.base + 2).store(without_progress, Relaxed);
    }

    /// A connection is this worker's.
    pub fn count_accept(&self) {
        self.page.word(self.base + 5).fetch_add(1, Release);
    }

    /// A slow handler begins; it has returned once the answer is dropped, on any thread.
    pub fn begin(&self) -> Running {
        self.page.word(self.base + 3).fetch_add(1, Release);
        Running(self.clone())
    }

    /// The worker's pid, once it waits for events.
    pub fn pid(&self) -> Option<u32> {
        u32::try_from(self.page.word(self.base).load(Acquire)).ok().filter(|&pid| pid != 0)
    }

    /// Wake-ups, and those without progress.
    pub fn wakeups(&self) -> (u64, u64) {
        (self.page.word(self.base + 1).load(Relaxed), self.page.word(self.base + 2).load(Relaxed))
    }

    /// Slow handlers begun, and those returned.
    pub fn handlers(&self) -> (u64, u64) {
        (self.page.word(self.base + 3).load(Acquire), self.page.word(self.base + 4).load(Acquire))
    }

    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.page.word(self.base + 5).load(Acquire)
    }
}

/// A slow handler that has not returned.
#[derive(Debug)]
pub struct Running(Worker);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.page.word(self.0.base + 4).fetch_add(1, Release);
    }
}

const PORT: usize = 0;
const FIRST: usize = 8;
const STRIDE: usize = 8;
