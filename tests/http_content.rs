//! What a response's content may be, and a request's: files from the kernel's page cache, trailers
//! both ways.

mod http;
#[allow(dead_code)] // others use the rest
mod strace;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::task::{Context, Poll};

use http::{PATIENCE, TestServer};
use squall_http::access_log::log;
use squall_http::files::Files;
use squall_http::{Error, Method, Produce, Request, Response, Router, Server, Trailers};
use squall_reactor::Pool;

// Files

/// More than two windows of what is brought into memory at once.
const LENGTH: usize = 5_000_001;

/// Broken by a producer that reads the file and hands the bytes on: the CPU copies each twice.
#[test]
fn a_file_is_sent_by_the_kernel_and_none_of_it_is_read_or_written_by_us() {
    let name = "a_file_is_sent_by_the_kernel_and_none_of_it_is_read_or_written_by_us";
    let trace = strace::trace(name, "sendfile,desc,network", || {
        let dir = Dir::new();
        dir.write("large.bin", LENGTH);
        let server = serve(&dir.0);
        let mut client = server.connect();
        client.expect_kept();
        strace::mark("begin");
        client.send("GET /files/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.answer("GET").body == content(0..LENGTH));
        strace::mark("end");
    });
    let Some(trace) = trace else { return };
    let result = |text: &str| text.rsplit_once("= ")?.1.split(' ').next()?.parse::<u64>().ok();
    let (mut to_socket, mut to_null, mut others) = (0, 0, 0);
    // The thread that sets the marks is the client's.
    for call in trace.calls.iter().filter(|call| call.thread != trace.thread) {
        let moved = result(&call.text).unwrap_or(0);
        match call.name.as_str() {
            "sendfile" if is_loop(&trace, &call.thread) => to_socket += moved,
            "sendfile" => to_null += moved,
            "read" | "pread64" | "readv" | "preadv" | "write" | "writev" | "pwrite64"
            | "sendto" | "sendmsg" | "splice" | "mmap" => others += moved,
            _ => {}
        }
    }
    assert_eq!((to_socket, to_null), (LENGTH as u64, LENGTH as u64), "{:?}", trace.calls);
    assert!(others < 4096, "{others} bytes were read or written: {:?}", trace.calls);
}

/// The loop's thread is the one that waits in epoll.
fn is_loop(trace: &strace::Trace, thread: &str) -> bool {
    trace.calls.iter().any(|call| call.thread == thread && call.name.starts_with("epoll"))
}

/// Broken by a part that is counted twice at the seam of two windows, or a head that waits for more.
#[test]
fn parts_of_a_file_come_whole_one_behind_the_other() {
    let dir = Dir::new();
    dir.write("large.bin", LENGTH);
    dir.write("small.txt", 3);
    dir.write("empty.txt", 0);
    let server = serve(&dir.0);
    let mut client = server.connect();
    let range = |range: &str| {
        format!("GET /files/large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n")
    };
    let get = |name: &str| format!("GET /files/{name} HTTP/1.1\r\nHost: a\r\n\r\n");
    let seam = 2 << 20;
    client.send(
        [
            get("small.txt"),
            range(&format!("{}-{}", seam - 1, seam)),
            get("empty.txt"),
            range("4999999-"),
            get("large.bin").replace("GET", "HEAD"),
            range(&format!("1-{}", LENGTH - 2)),
            get("small.txt"),
        ]
        .concat(),
    );
    assert_eq!(client.answer("GET").body, content(0..3));
    assert_eq!(client.answer("GET").body, content(seam - 1..seam + 1));
    assert_eq!(client.answer("GET").body, b"");
    assert_eq!(client.answer("GET").body, content(4_999_999..LENGTH));
    assert_eq!(client.answer("HEAD").header("content-length"), Some("5000001"));
    assert!(client.answer("GET").body == content(1..LENGTH - 1));
    assert_eq!(client.answer("GET").body, content(0..3));
    client.expect_kept();
}

#[test]
fn http_1_0_gets_a_file_with_its_length_and_keeps_its_connection_if_it_asks() {
    let dir = Dir::new();
    dir.write("a.txt", 100_000);
    let server = serve(&dir.0);
    let mut client = server.connect();
    client.send("GET /files/a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer("GET").body == content(0..100_000));
    client.send("GET /files/a.txt HTTP/1.0\r\n\r\n");
    let answer = client.answer("GET");
    assert_eq!(answer.header("content-length"), Some("100000"));
    assert!(answer.says_close());
    client.expect_end();
}

/// What cannot keep its promise must not look whole, and must not hang.
#[test]
fn a_range_beyond_the_end_of_its_file_is_cut_off() {
    let dir = Dir::new();
    dir.write("a.txt", 1000);
    let server = serve(&dir.0);
    let mut client = server.connect();
    client.send("GET /beyond HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = client.try_answer("GET").expect_err("a thousand bytes are missing");
    assert!(error.starts_with("the end") || error.contains("reset"), "{error}");
    let mut client = server.connect();
    client.send("GET /part HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").body, content(10..20));
    client.expect_kept();
}

#[test]
fn a_client_that_leaves_in_a_file_leaves_nothing_behind() {
    let dir = Dir::new();
    dir.write("large.bin", 64 << 20);
    let server = serve(&dir.0);
    for _ in 0..3 {
        let mut client = server.connect();
        client.send("GET /files/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_exactly(100_000).expect("it begins");
        client.reset();
    }
    server.comes_to_rest();
}

#[test]
fn the_access_log_counts_a_file() {
    let dir = Dir::new();
    dir.write("a.txt", 3_000_000);
    let root = dir.0.clone();
    let (tell, told) = mpsc::channel();
    let server = TestServer::start(move || {
        let files = Files::new(root, Pool::builder().build().unwrap()).unwrap();
        let router = Router::new().get("/{*path}", files.into_handler("path")).unwrap();
        Server::new(log(router.into_handler(), move |record| {
            tell.send((record.bytes, record.whole)).expect("the test waits");
        }))
    });
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").body.len(), 3_000_000);
    assert_eq!(told.recv_timeout(PATIENCE), Ok((3_000_000, true)));
}

fn serve(dir: &Path) -> TestServer {
    let root = dir.to_owned();
    TestServer::start(move || {
        let pool = Pool::builder().build().unwrap();
        let files = Files::new(&root, pool.clone()).unwrap();
        let (path, beyond_pool) = (root.join("a.txt"), pool.clone());
        let beyond_path = path.clone();
        let router = Router::new()
            .plain(Method::Get, "/probe", |_| Response::text("probe"))
            .and_then(|r| r.get("/files/{*path}", files.into_handler("path")))
            .and_then(|r| {
                r.plain(Method::Get, "/part", move |_| {
                    Response::file("text/plain", File::open(&path).unwrap(), 10..20, &pool)
                })
            })
            .and_then(|r| {
                r.plain(Method::Get, "/beyond", move |_| {
                    let file = File::open(&beyond_path).unwrap();
                    Response::file("text/plain", file, 0..2000, &beyond_pool)
                })
            });
        Server::new(router.expect("the patterns are right").into_handler())
    })
}

/// The bytes at these places in every file here.
fn content(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|i| (i % 251) as u8).collect()
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let thread = std::thread::current().id();
        let name = format!("squall-content-{}-{thread:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Dir(path)
    }

    fn write(&self, name: &str, len: usize) {
        let mut file = File::create(self.0.join(name)).expect("a file");
        file.write_all(&content(0..len)).expect("room on the disk");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

// Trailers

fn trailing(request: &mut Request<'_>) -> Response {
    let response = match request.path() {
        b"/known" => Response::produced("text/plain", Some(5), Hello { panics: false }),
        b"/panics" => Response::produced("text/plain", None, Hello { panics: true }),
        b"/stream" => Response::stream("text/plain", async |sink| {
            sink.write(b"hel").await;
            squall_reactor::yield_now().await;
            sink.write(b"lo").await;
            assert_eq!(sink.trailer("Content-Length", "5"), Err(Error::TrailerName));
            sink.trailer("X-Sum", "532").map_err(std::io::Error::other)
        }),
        _ => Response::produced("text/plain", None, Hello { panics: false }),
    };
    assert_eq!(Response::text("").trailers(&["Host"]).unwrap_err(), Error::TrailerName);
    if request.path() == b"/silent" { Ok(response) } else { response.trailers(&["X-Sum"]) }
        .expect("it may be a trailer")
}

struct Hello {
    panics: bool,
}

impl Produce for Hello {
    fn poll_produce(
        &mut self,
        _: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<std::io::Result<bool>> {
        out.extend_from_slice(b"hello");
        Poll::Ready(Ok(false))
    }

    fn trailers(&mut self) -> Trailers {
        assert!(!self.panics, "a producer panics in its trailers");
        let mut trailers = Trailers::new();
        trailers.append("X-Sum", "532").expect("it may be a trailer");
        trailers
    }
}

/// All that is sent on a connection which ends after it.
fn ask(server: &TestServer, request: &str) -> String {
    let mut client = server.connect();
    client.send(request);
    String::from_utf8(client.read_to_end().expect("an end")).expect("UTF-8")
}

/// A proxy that drops what nobody asked for may drop trailers; one that does not read them is out of
/// step with who sends them (RFC 9110, 6.5.1; RFC 9112, 7.1.2).
#[test]
fn rfc9112_7_1_2_trailers_are_sent_in_chunks_to_a_client_that_takes_them_and_to_no_other() {
    for logged in [false, true] {
        let server = TestServer::start(move || {
            let handler = async |request: &mut Request<'_>| trailing(request);
            let logging = log(handler, |_| {});
            Server::new(async move |request: &mut Request<'_>| match logged {
                true => logging(request).await,
                false => trailing(request),
            })
        });
        for path in ["/", "/stream"] {
            let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\n");
            let text = ask(&server, &format!("{get}TE: gzip;q=0.1, trailers\r\n\r\n"));
            assert!(text.contains("\r\nTrailer: X-Sum\r\n"), "{text}");
            assert!(text.ends_with("\r\n0\r\nX-Sum: 532\r\n\r\n"), "{text}");
            for without in [format!("{get}\r\n"), format!("{get}TE: deflate\r\n\r\n")] {
                let text = ask(&server, &without);
                assert!(text.ends_with("o\r\n0\r\n\r\n") && !text.contains("Trailer"), "{text}");
            }
            let old = format!("GET {path} HTTP/1.0\r\nTE: trailers\r\n\r\n");
            let text = ask(&server, &old);
            assert!(text.ends_with("\r\n\r\nhello") && !text.contains("Trailer"), "{text}");
        }
        let fields = "Host: a\r\nConnection: close\r\nTE: trailers\r\n\r\n";
        let text = ask(&server, &format!("GET /known HTTP/1.1\r\n{fields}"));
        assert!(text.ends_with("\r\n\r\nhello") && !text.contains("Trailer"), "{text}");
        let text = ask(&server, &format!("GET /silent HTTP/1.1\r\n{fields}"));
        assert!(text.ends_with("o\r\n0\r\n\r\n") && !text.contains("Trailer"), "{text}");
        let text = ask(&server, &format!("HEAD / HTTP/1.1\r\n{fields}"));
        assert!(text.ends_with("\r\n\r\n") && !text.contains("X-Sum: "), "{text}");
        let mut client = server.connect();
        client.send(format!("GET /panics HTTP/1.1\r\n{fields}"));
        let cut = client.read_to_end().unwrap_or_default();
        assert!(!cut.ends_with(b"0\r\n\r\n"), "it looks whole: {}", cut.escape_ascii());
    }
}

/// They come after the content and are no header fields (RFC 9110, 6.5.1).
#[test]
fn rfc9110_6_5_1_a_handler_sees_the_trailers_of_a_request_apart_from_its_head() {
    let server = TestServer::start(|| {
        Server::new(async |request: &mut Request<'_>| {
            if request.path() == b"/probe" {
                return Response::text("probe");
            }
            let early = request.body().trailers().is_some();
            let body = request.body().bytes().await.expect("a whole body");
            assert!(request.body().chunk().await.expect("its end again").is_none());
            assert_eq!(request.header("digest"), None);
            let mut all = body;
            for (name, value) in request.body().trailers().expect("it has ended").iter() {
                all.extend_from_slice(&[b" ", name, b"=", value].concat());
            }
            all.extend_from_slice(if early { b" early" } else { b"" });
            Response::bytes("text/plain", all)
        })
    });
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    let with = format!("{chunked}Digest: x\r\nHost: evil\r\nContent-Length: 9\r\nB:  y\r\n\r\n");
    for size in [1, 7, with.len()] {
        let mut client = server.connect();
        client.send_pieces(with.as_bytes(), size);
        assert_eq!(client.answer("POST").body, b"hello Digest=x B=y");
        client.send(format!("{chunked}\r\n"));
        assert_eq!(client.answer("POST").body, b"hello", "those of the request before");
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.answer("POST").body, b"abc");
        client.send("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer("POST").body, b"", "no body, no trailers");
        client.expect_kept();
    }
}
