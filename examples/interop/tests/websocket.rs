//! The WebSocket echo as a process, and three clients: bytes by hand, tungstenite's own, and, where they
//! are installed, those of Python and Node.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use squall_support::child::Child;
use tungstenite::Message;

const SERVER: &str = env!("CARGO_BIN_EXE_websocket_on_squall");
const PATIENCE: Duration = Duration::from_secs(10);

/// The example of RFC 6455, 1.3.
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

struct Server {
    addr: SocketAddr,
    _child: Child,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(SERVER);
        let mut child = Child::spawn(command.stdout(Stdio::piped())).expect("it starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout().expect("a pipe"));
        output.read_line(&mut line).expect("it prints where it listens");
        let addr = line.trim().strip_prefix("listening on ").expect("its first line");
        Self { addr: addr.parse().expect("an address"), _child: child }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// What is answered to a request, up to the head's end.
    fn ask(&self, request: &str) -> (TcpStream, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("it reads");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).expect("text"))
    }
}

/// A client's text frame under the mask of zeros (RFC 6455, 5.2).
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// Broken by a server that throws away what came in the handshake's segment.
#[test]
fn rfc6455_1_3_the_example_is_accepted_and_a_frame_behind_it_is_not_lost() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(&[HANDSHAKE.as_bytes(), &frame("Hello")].concat()).expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x81\x05Hello") {
        let mut bytes = [0; 512];
        let n = stream.read(&mut bytes).expect("an echo");
        assert!(n > 0, "it ended after {}", answer.escape_ascii());
        answer.extend_from_slice(&bytes[..n]);
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: upgrade\r\n"), "{text}");
    assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    // Fragments, a ping between them, and a byte at a time.
    let fragments =
        [&b"\x01\x82\0\0\0\0ab"[..], b"\x89\x80\0\0\0\0", b"\x80\x81\0\0\0\0c"].concat();
    for byte in fragments {
        stream.write_all(&[byte]).expect("it reads");
    }
    let mut back = [0; 7];
    stream.read_exact(&mut back).expect("a pong and an echo");
    assert_eq!(&back, b"\x8a\x00\x81\x03abc");
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").expect("it reads");
    let mut end = Vec::new();
    stream.read_to_end(&mut end).expect("it closes in order");
    assert_eq!(end, b"\x88\x02\x03\xe8");
}

#[test]
fn rfc6455_4_2_what_is_no_handshake_is_refused() {
    let server = Server::start();
    for (changed, by, status) in [
        ("Upgrade: websocket\r\n", "", "426"),
        ("Connection: Upgrade\r\n", "", "426"),
        ("HTTP/1.1", "HTTP/1.0", "426"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "400"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", "400"),
        ("GET", "POST", "405"),
    ] {
        let (_, head) = server.ask(&HANDSHAKE.replace(changed, by));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{changed}: {head}");
    }
}

#[test]
fn messages_of_all_sizes_come_back_to_tungstenites_client() {
    let server = Server::start();
    let stream = server.connect();
    let url = format!("ws://{}/", server.addr);
    let (mut socket, _) = tungstenite::client(url, stream).expect("a handshake");
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let sent = vec![b'x'; size];
        socket.send(Message::binary(sent.clone())).expect("it reads");
        assert_eq!(socket.read().expect("an echo").into_data(), sent);
    }
    // Beyond what the kernel's buffers hold: it must wait for room, and lose nothing.
    let (count, text) = (200, "y".repeat(100_000));
    let mut reader = tungstenite::WebSocket::from_raw_socket(
        socket.get_ref().try_clone().expect("a descriptor"),
        tungstenite::protocol::Role::Client,
        None,
    );
    let expected = text.clone();
    let reading = std::thread::spawn(move || {
        for _ in 0..count {
            assert!(
                reader.read().expect("an echo").into_text().expect("text").as_str() == expected
            );
        }
    });
    for _ in 0..count {
        socket.send(Message::text(&text)).expect("it reads");
    }
    reading.join().expect("all of them");
    socket.close(None).expect("it closes");
    let end = std::iter::repeat_with(|| socket.read()).find_map(Result::err);
    assert!(matches!(end, Some(tungstenite::Error::ConnectionClosed)), "{end:?}");
}

#[test]
fn the_clients_of_python_and_node_get_their_echo() {
    let server = Server::start();
    let url = format!("ws://{}/", server.addr);
    let python = "import sys, websockets.sync.client as c\n\
        with c.connect(sys.argv[1], proxy=None) as s:\n\
        \x20   for n in (1, 70000): s.send('t' * n); assert s.recv() == 't' * n\n\
        print('closed', s.close_code)";
    let node = "const s = new WebSocket(process.argv[1]); s.onopen = () => s.send('tea');\
        s.onmessage = e => { console.log(e.data); s.close(1000) };\
        s.onclose = e => console.log('closed', e.code)";
    for (program, has_it, script, expected) in [
        ("python3", "import websockets.sync.client", python, "closed 1000\n"),
        ("node", "if (!globalThis.WebSocket) process.exit(1)", node, "tea\nclosed 1000\n"),
    ] {
        let flag = if program == "node" { "-e" } else { "-c" };
        let tried = Command::new(program).args([flag, has_it]).output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            eprintln!("SKIPPED: {program} has no WebSocket client");
            continue;
        }
        let run = Command::new(program).args([flag, script, &url]).output().expect("it was there");
        let errors = String::from_utf8_lossy(&run.stderr);
        assert_eq!(String::from_utf8_lossy(&run.stdout), expected, "{program}: {errors}");
    }
}
