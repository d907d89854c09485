//! The example `service` as a process: all of its ten routes, asked by a client that speaks bytes.

mod http;

use std::path::PathBuf;
use std::process::Stdio;
use std::{env, fs};

use http::running::Running;
use http::{Answer, wait_until};

/// The example with a directory of its own for what is uploaded.
struct Service {
    running: Running,
    dir: PathBuf,
}

impl Service {
    fn start() -> Self {
        let name =
            format!("squall-service-{}-{:?}", std::process::id(), std::thread::current().id());
        let dir = env::temp_dir().join(name);
        fs::create_dir_all(&dir).expect("a directory");
        let running = Running::example("service", |command| {
            command.env("TMPDIR", &dir).stderr(Stdio::null())
        });
        Service { running, dir }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut client = self.running.connect();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send(head + body);
        client.answer(method)
    }

    fn text(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let answer = self.ask(method, path, body);
        (answer.status, String::from_utf8(answer.body).expect("text"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn notes_are_added_listed_and_shown_and_who_listens_hears_of_each() {
    let service = Service::start();
    let (status, text) = service.text("GET", "/", "");
    assert!(status == 200 && text.starts_with("notes, "), "{text}");
    assert_eq!(service.text("GET", "/health", ""), (200, "{\"status\":\"ok\"}\n".to_owned()));
    assert_eq!(service.text("GET", "/notes", ""), (200, "[]\n".to_owned()));
    let mut listener = service.running.get("/events");
    let head = listener.read_exactly(15).expect("an answer");
    assert_eq!(head, b"HTTP/1.1 200 OK");
    let first = "{\"id\":1,\"text\":\"buy \\\"tea\\\"\"}";
    let added = service.ask("POST", "/notes", "buy \"tea\"");
    assert_eq!((added.status, added.header("location")), (201, Some("/notes/1")));
    assert_eq!(String::from_utf8(added.body).expect("text"), format!("{first}\n"));
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(first) {
        heard.extend(listener.read_exactly(1).expect("the event comes"));
    }
    assert_eq!(service.text("POST", "/notes", "two").0, 201);
    let (status, all) = service.text("GET", "/notes", "");
    assert_eq!((status, all), (200, format!("[{first},{{\"id\":2,\"text\":\"two\"}}]\n")));
    assert_eq!(service.text("GET", "/notes/1", ""), (200, format!("{first}\n")));
    for nothing in ["/notes/3", "/notes/x", "/nowhere"] {
        assert_eq!(service.ask("GET", nothing, "").status, 404, "{nothing}");
    }
    assert_eq!(service.ask("DELETE", "/notes", "").status, 405);
    // What listens for ever does not hold a drain.
    service.running.child.signal(libc::SIGTERM).expect("it runs");
    assert!(service.running.exit().success());
}

#[test]
fn a_file_is_uploaded_in_pieces_and_comes_back_whole_and_in_part() {
    let service = Service::start();
    let content: String = (0..300_000).map(|i| format!("{i} ")).collect();
    let mut client = service.running.connect();
    client.send("PUT /files/a.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n");
    client.send("Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.answer("PUT").status, 100, "it is ready to write");
    for piece in content.as_bytes().chunks(50_000) {
        client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    let answer = client.answer("PUT");
    let said = format!("{{\"name\":\"a.txt\",\"bytes\":{}}}\n", content.len());
    assert_eq!((answer.status, String::from_utf8(answer.body).expect("text")), (201, said));
    assert!(service.text("GET", "/files/a.txt", "") == (200, content.clone()));
    assert_eq!(service.ask("HEAD", "/files/a.txt", "").status, 200);
    client.send("GET /files/a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=10-19\r\n\r\n");
    let answer = client.answer("GET");
    assert_eq!((answer.status, &answer.body[..]), (206, &content.as_bytes()[10..20]));
    for path in ["/files/.hidden", "/files/..%2fa", "/files/a/b"] {
        assert_eq!(service.ask("PUT", path, "x").status, 400, "{path}");
        assert_eq!(service.ask("GET", path, "").status, 404, "{path}");
    }
    // A client that leaves in the middle leaves no file that looks whole.
    let mut client = service.running.connect();
    client.send("PUT /files/half HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf");
    client.reset();
    wait_until("the upload's end", || {
        let (_, metrics) = service.text("GET", "/metrics", "");
        let open = metrics.lines().find(|line| line.starts_with("squall_http_connections "));
        match open {
            Some("squall_http_connections 2") => Ok(()), // this one, and the one above
            other => Err(other.map(str::to_owned)),
        }
    });
    assert_eq!(service.ask("GET", "/files/half", "").status, 404);
}

#[test]
fn a_report_that_takes_too_long_is_503_and_the_figures_are_told() {
    let service = Service::start();
    assert_eq!(service.text("GET", "/report/5", ""), (200, "{\"notes\":0}\n".to_owned()));
    let (status, text) = service.text("GET", "/report/60000", "");
    assert!(status == 503 && text.contains("too long"), "{status} {text}");
    let (status, metrics) = service.text("GET", "/metrics", "");
    assert!(status == 200 && metrics.contains("squall_"), "{metrics}");
}
