//! The bounds on what a client may send and how long it may take.
//!
//! The one idea: everything that a stranger makes grow has a bound, on by default, and each bound
//! says why it has its value and what other servers chose (their defaults, measured or from their
//! sources). Absent: bounds on connections and on the loop's turn; they belong to the server.
//! Next: `headers`.

use std::time::Duration;

/// Bounds on one request and on the time between two.
///
/// # Examples
/// ```
/// let mut limits = squall_http::Limits::default();
/// limits.max_body_bytes = 16 << 20;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The head from its first byte to its empty line, empty lines before it included: 16 KiB, else
    /// 431. Room for a browser with large cookies; nginx has 4 x 8 KiB, Node 16 KiB, Tornado
    /// 64 KiB, hyper 408 KiB, Go 1 MiB. More than [`Limits::MAX_HEAD_BYTES`] is cut to that.
    pub max_head_bytes: usize,
    /// Field lines in a head: 100, else 431. A line costs more to keep than to send; hyper has 100,
    /// aiohttp 128, Node 2,000, nginx and Go none.
    pub max_fields: usize,
    /// Bytes of the request target: 8 KiB, else 414. RFC 9112, 3 wants request lines of 8,000
    /// bytes served; nginx has 8 KiB for the line, hyper 64 KiB for the target, others the head's.
    pub max_target_bytes: usize,
    /// Empty lines before a request line: 8, else 400. RFC 9112, 2.2 wants one ignored, for old
    /// clients that end a body with a CRLF too much; without a bound a connection could live on
    /// them.
    pub max_empty_lines: usize,
    /// Decoded bytes of a body: 1 MiB, else 413. A route that takes more says so. nginx and aiohttp
    /// have 1 MiB, Tornado 100 MiB, hyper, Node and Go none.
    pub max_body_bytes: u64,
    /// The line of a chunk's size with its extensions: 256 bytes, else 400. Sixteen digits are
    /// enough for any size, and nobody sends extensions; Go has 4 KiB.
    pub max_chunk_line_bytes: usize,
    /// Chunk extensions of one body: 16 KiB, else 400. They cost work and carry nothing
    /// (CVE-2023-39326, CVE-2024-22019); hyper has 16 KiB, Go a ratio to the data.
    pub max_chunk_extension_bytes: usize,
    /// The trailer section: 4 KiB, else 431. Trailers are checksums and status words, and the
    /// whole section must fit the read buffer.
    pub max_trailer_bytes: usize,
    /// Field lines in a trailer section: 32, else 431.
    pub max_trailers: usize,
    /// From the head's first byte to its last: 10 s, else 408. A limit between two reads is none,
    /// for a slow loris sends a byte each; nginx has 60 s, Node 60 s, hyper 30 s if given a timer,
    /// Go none, Tornado one hour.
    pub head_timeout: Duration,
    /// What a body may take beside its bytes: 10 s, else 408. Room for a slow start and for pauses.
    pub body_grace: Duration,
    /// Bytes a second that a body must have, on the whole, beyond its grace: 500, else 408; with 0 no
    /// pause may be longer than [`idle_timeout`](Self::idle_timeout), which holds at any rate: what
    /// came fast buys no hour of silence. Only the time in which the handler waits for the client
    /// counts. Apache's mod_reqtimeout has 500, Kestrel 240, nginx 60 s between two reads.
    pub min_body_rate: u32,
    /// How long an answer may wait for room before it is asked what the client has taken: 30 s. The
    /// wait goes on if that was enough ([`min_answer_rate`](Self::min_answer_rate)), else the
    /// connection is reset: who has stopped reading holds an answer's memory. nginx has 60 s
    /// between two writes, Node, Go and hyper none.
    pub write_timeout: Duration,
    /// Bytes a second that a client must take of an answer that waits for it: 500, so 15,000 in 30 s;
    /// with 0 one byte is enough. A byte now and then would hold an answer for ever (a slow read);
    /// Kestrel has 240, the others none.
    pub min_answer_rate: u32,
    /// Without a byte of a next request, before the first, and within a body: 60 s, then closed
    /// without a word, a body by 408. Node has 5 s, nginx and aiohttp 75 s, Go none.
    pub idle_timeout: Duration,
    /// Body bytes that a handler left unread and that are read to keep the connection: 64 KiB, else
    /// it is closed. To read them costs less than a new connection; Go has 256 KiB.
    pub max_drain_bytes: u64,
}

impl Limits {
    /// The largest head that can be asked for: a field is kept as 16-bit offsets.
    pub const MAX_HEAD_BYTES: usize = u16::MAX as usize;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_head_bytes: 16 << 10,
            max_fields: 100,
            max_target_bytes: 8 << 10,
            max_empty_lines: 8,
            max_body_bytes: 1 << 20,
            max_chunk_line_bytes: 256,
            max_chunk_extension_bytes: 16 << 10,
            max_trailer_bytes: 4 << 10,
            max_trailers: 32,
            head_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(10),
            min_body_rate: 500,
            write_timeout: Duration::from_secs(30),
            min_answer_rate: 500,
            idle_timeout: Duration::from_secs(60),
            max_drain_bytes: 64 << 10,
        }
    }
}
