//! A raw, blocking HTTP/1.1 client with timeouts.
//!
//! It sends exactly the bytes it is given, understands just enough of an answer to find its end
//! (RFC 9112, 6.3: length, chunks, close), and can be shut at any moment: a client that leaves is
//! half of what the examples show. `poll` waits for many of them on one thread. It judges nothing:
//! whether an answer is right is the caller's business. Next: `json`.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::{Duration, Instant};

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    ended: bool,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and fields as they came, without the empty line.
    pub head: String,
    /// The body, of chunks without their framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field of that name, in any case, without the space around its value.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl Client {
    /// Connects, and bounds each later write by `timeout`.
    ///
    /// # Errors
    /// What connect(2) says, `TimedOut` after `timeout`.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, input: Vec::new(), ended: false })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// What send(2) says.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a GET without a body.
    ///
    /// # Errors
    /// What send(2) says.
    pub fn get(&mut self, target: &str) -> io::Result<()> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: squall\r\n\r\n").as_bytes())
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// `TimedOut` if it is not complete within `timeout`; `UnexpectedEof` if the server closed
    /// before; `InvalidData` if it is no HTTP.
    pub fn answer(&mut self, timeout: Duration) -> io::Result<Answer> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(answer) = self.buffered_answer()? {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => other?,
            }
        }
    }

    /// Receives once what is there, after [`poll`] reported it, and returns an answer that is now
    /// complete.
    ///
    /// # Errors
    /// As [`Client::answer`], but for `TimedOut`.
    pub fn receive_answer(&mut self) -> io::Result<Option<Answer>> {
        self.receive()?;
        self.buffered_answer()
    }

    /// Returns an answer that has come already: the second of two in one segment.
    ///
    /// # Errors
    /// As [`Client::answer`], but for `TimedOut`.
    pub fn buffered_answer(&mut self) -> io::Result<Option<Answer>> {
        match parse(&self.input, self.ended)? {
            Some((answer, used)) => {
                self.input.drain(..used);
                Ok(Some(answer))
            }
            None if self.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(None),
        }
    }

    /// Closes the sending side only: the half-closed client.
    ///
    /// # Errors
    /// What shutdown(2) says.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// The socket, for what this client does not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) if self.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => {
                self.ended = true;
                Ok(())
            }
            Ok(n) => {
                self.input.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Waits until one of the clients can receive, or for `timeout`; says of each whether it can.
///
/// # Errors
/// What poll(2) says.
pub fn poll(clients: &[&Client], timeout: Duration) -> io::Result<Vec<bool>> {
    let watch = |client: &&Client| libc::pollfd {
        fd: client.stream.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds: Vec<libc::pollfd> = clients.iter().map(watch).collect();
    // Rounded up: a wait that ends early would be called again at once, and again.
    let ms = timeout.as_nanos().div_ceil(1_000_000).min(60_000) as libc::c_int;
    // SAFETY: the pointer and the length are the vector's, which lives until the call returns.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, ms) };
    if n < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(fds.iter().map(|fd| n > 0 && fd.revents != 0).collect())
}

/// From now on the socket's close sends a RST: SO_LINGER on, 0 s (socket(7)).
///
/// # Errors
/// What setsockopt(2) says.
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let fd = socket.as_fd().as_raw_fd();
    let (value, len) = ((&raw const linger).cast(), size_of_val(&linger) as libc::socklen_t);
    // SAFETY: the kernel reads `len` bytes of `linger`, which lives until the call returns.
    match unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The first whole answer in `input` and how many bytes it took.
fn parse(input: &[u8], ended: bool) -> io::Result<Option<(Answer, usize)>> {
    let Some(head_len) = find(input, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&input[..head_len]).into_owned();
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
    let start = head_len + 4;
    let rest = &input[start..];
    let chunked =
        field(&head, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    let body = if status < 200 || status == 204 || status == 304 {
        Some((Vec::new(), 0))
    } else if chunked {
        dechunk(rest)?
    } else if let Some(len) = field(&head, "content-length") {
        let len: usize = len.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        rest.get(..len).map(|body| (body.to_vec(), len))
    } else {
        ended.then(|| (rest.to_vec(), rest.len()))
    };
    Ok(body.map(|(body, used)| (Answer { status, head, body }, start + used)))
}

/// RFC 9112, 7.1, without trailers' meaning: the body and the bytes it took, `None` if more must
/// come.
fn dechunk(input: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line_len) = find(&input[at..], b"\r\n") else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(&input[at..at + line_len]).into_owned();
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        at += line_len + 2;
        if size == 0 {
            // Trailer lines up to an empty one.
            while let Some(line_len) = find(&input[at..], b"\r\n") {
                at += line_len + 2;
                if line_len == 0 {
                    return Ok(Some((body, at)));
                }
            }
            return Ok(None);
        }
        let Some(end) = at.checked_add(size).filter(|&end| end < input.len().saturating_sub(1))
        else {
            return Ok(None);
        };
        body.extend_from_slice(&input[at..end]);
        if &input[end..end + 2] != b"\r\n" {
            return Err(io::ErrorKind::InvalidData.into());
        }
        at = end + 2;
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// A client, and the server's side of its connection.
    fn pair() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::connect(listener.local_addr().unwrap(), SECOND).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn two_answers_in_one_segment_are_told_apart() {
        let (mut client, mut server) = pair();
        server
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab\
                  HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
            )
            .unwrap();
        let first = client.answer(SECOND * 5).unwrap();
        assert_eq!((first.status, first.body.as_slice()), (200, &b"ab"[..]));
        assert_eq!(first.field("Content-Length"), Some("2"));
        let second = client.answer(SECOND * 5).unwrap();
        assert_eq!((second.status, second.body.as_slice()), (404, &b"abc"[..]));
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection() {
        let (mut client, mut server) = pair();
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\nall").unwrap();
        drop(server);
        assert_eq!(client.answer(SECOND * 5).unwrap().body, b"all");
    }

    #[test]
    fn an_answer_cut_short_is_an_error_and_a_silent_server_a_timeout() {
        let (mut client, mut server) = pair();
        let silent = client.answer(Duration::from_millis(20)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").unwrap();
        drop(server);
        let cut = client.answer(SECOND * 5).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn poll_names_the_client_that_can_receive() {
        let (silent, _server) = pair();
        let (mut answered, mut server) = pair();
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(poll(&[&silent, &answered], SECOND * 5).unwrap(), [false, true]);
        assert_eq!(answered.receive_answer().unwrap().unwrap().status, 204);
        assert_eq!(poll(&[&silent, &answered], Duration::ZERO).unwrap(), [false, false]);
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        let (mut client, mut server) = pair();
        server.write_all(b"220 mail.example ESMTP\r\n\r\n").unwrap();
        assert_eq!(client.answer(SECOND * 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
