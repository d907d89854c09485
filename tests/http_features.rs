//! The features on top of the server, through real sockets: streams, timeouts, events, access log,
//! metrics, proxies, files.
//!
//! The server runs on a thread of its own and tells the test what happened by channels, so that no
//! test sleeps in the hope of something.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use squall_http::access_log::{Record, log, log_behind};
use squall_http::files::Files;
use squall_http::metrics::{Answers, Metrics};
use squall_http::proxy::{Family, TrustedProxies};
use squall_http::sse::{Event, Events, Refused};
use squall_http::timeout::answer_within;
use squall_http::{Method, Request, Response, Router, Server, ServerStats, StatusCode};
use squall_reactor::workers::Bind;
use squall_reactor::{Handle, Pool, Reactor, Remote, sleep};
use squall_support::client::{Answer, Client};

const PATIENCE: Duration = Duration::from_secs(10);
const FOREVER: Duration = Duration::from_secs(3600);

/// A server on a thread of its own, until it is dropped.
struct Served {
    addr: SocketAddr,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start<H>(build: impl FnOnce() -> Server<H> + Send + 'static) -> Self
    where
        H: AsyncFn(&mut Request<'_>) -> Response + 'static,
    {
        let mut sockets = Bind::new("127.0.0.1:0").bind().expect("a free port");
        let addr = sockets.local_addrs()[0];
        let listeners = sockets.take(0);
        let (started, starts) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut reactor = Reactor::new().expect("a reactor");
            let serving = build().add_sockets(listeners).start(&reactor.handle());
            let serving = serving.expect("a listener can be watched");
            started.send(reactor.remote()).expect("the test waits");
            reactor.run().expect("nothing forks here");
            drop(serving);
        });
        let remote = starts.recv().expect("the server starts");
        Self { addr, remote, thread: Some(thread) }
    }

    fn connect(&self) -> Client {
        Client::connect(self.addr, PATIENCE).expect("the server listens")
    }

    /// One request on a connection of its own.
    fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request.as_bytes()).expect("the server reads");
        client.answer(PATIENCE).expect("an answer")
    }

    fn get(&self, target: &str, fields: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        let ended = self.thread.take().expect("dropped once").join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server's thread panicked");
    }
}

/// Tells when it is dropped.
struct Told(Sender<&'static str>, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

fn next<T>(received: &Receiver<T>) -> T {
    received.recv_timeout(PATIENCE).expect("it happens")
}

/// Reads until `text` has come.
fn read_until(client: &Client, text: &str) -> String {
    let mut all = Vec::new();
    client.stream().set_read_timeout(Some(PATIENCE)).expect("a timeout");
    while !String::from_utf8_lossy(&all).contains(text) {
        let mut bytes = [0; 1024];
        let n = client.stream().read(&mut bytes).expect("more comes");
        assert!(n > 0, "the connection ended before {text:?}: {all:?}");
        all.extend_from_slice(&bytes[..n]);
    }
    String::from_utf8(all).expect("UTF-8")
}

/// Ends the connection by RST, not FIN.
fn reset(client: Client) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    let fd = std::os::fd::AsRawFd::as_raw_fd(client.stream());
    // SAFETY: the value lives until the call returns, and the descriptor is the client's.
    let set = unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    assert_eq!(set, 0);
}

// Streams

// What a producer makes and keeps to itself until more comes is no stream.
#[test]
fn what_a_stream_has_written_is_sent_while_it_waits() {
    let served = Served::start(|| {
        Server::new(async |_: &mut Request<'_>| {
            Response::stream("text/plain", async |sink| {
                sink.write(b"first\n").await;
                sleep(FOREVER).await;
                Ok(())
            })
        })
    });
    let mut client = served.connect();
    client.get("/").unwrap();
    let text = read_until(&client, "first\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("Transfer-Encoding: chunked"));
}

#[test]
fn a_stream_ends_whole_and_the_connection_goes_on() {
    let served = Served::start(|| {
        Server::new(async |_: &mut Request<'_>| {
            Response::stream("text/plain", async |sink| {
                for piece in 0..100 {
                    sink.write(format!("{piece:9}\n").repeat(100).as_bytes()).await;
                }
                Ok(())
            })
        })
    });
    let mut client = served.connect();
    for _ in 0..2 {
        client.get("/").unwrap();
        let answer = client.answer(PATIENCE).unwrap();
        assert_eq!(answer.body.len(), 100 * 100 * 10);
        assert!(answer.body.ends_with(b"       99\n"));
    }
    // HTTP/1.0 knows no chunks: the end of the connection is the content's.
    client.send(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let answer = client.answer(PATIENCE).unwrap();
    assert_eq!((answer.field("Transfer-Encoding"), answer.body.len()), (None, 100_000));
}

// A client must not take half of an answer for all of it, nor one's panic be another's.
#[test]
fn a_stream_that_fails_or_panics_is_cut_off_and_harms_nobody_else() {
    let served = Served::start(|| {
        Server::new(async |request: &mut Request<'_>| match request.path() {
            b"/whole" => Response::text("whole"),
            path => {
                let panics = path == b"/panics";
                Response::stream("text/plain", async move |sink| {
                    sink.write(b"half").await;
                    sleep(Duration::from_millis(1)).await;
                    assert!(!panics, "a panic that the test wants");
                    Err(io::ErrorKind::Other.into())
                })
            }
        })
    });
    for target in ["/fails", "/panics"] {
        let mut client = served.connect();
        client.get(target).unwrap();
        let error = client.answer(PATIENCE).expect_err("it is not whole");
        assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{target}");
        assert_eq!(served.get("/whole", "").body, b"whole");
    }
}

// The article's case behind the head: nobody writes, so only the reset itself can tell.
#[test]
fn a_stream_that_waits_is_dropped_when_its_client_resets() {
    let (dropped, drops) = mpsc::channel();
    let served = Served::start(move || {
        Server::new(async move |_: &mut Request<'_>| {
            let told = Told(dropped.clone(), "stream");
            Response::stream("text/plain", async move |sink| {
                let _told = told;
                sink.write(b"first\n").await;
                sleep(FOREVER).await;
                Ok(())
            })
        })
    });
    let mut client = served.connect();
    client.get("/").unwrap();
    read_until(&client, "first");
    assert!(drops.try_recv().is_err());
    reset(client);
    assert_eq!(next(&drops), "stream");
}

// Timeouts

#[test]
fn a_handler_over_its_time_is_dropped_and_answered_by_503() {
    let (dropped, drops) = mpsc::channel();
    let served = Served::start(move || {
        let slow = async move |request: &mut Request<'_>| {
            if request.path() == b"/fast" {
                return Response::text("in time");
            }
            let _told = Told(dropped.clone(), "slow");
            sleep(FOREVER).await;
            Response::text("late")
        };
        Server::new(answer_within(Duration::from_millis(20), slow))
    });
    let mut client = served.connect();
    client.get("/slow").unwrap();
    assert_eq!(client.answer(PATIENCE).unwrap().status, 503);
    assert_eq!(next(&drops), "slow");
    client.get("/fast").unwrap();
    let answer = client.answer(PATIENCE).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"in time"[..]), "the connection is kept");
}

// Events

/// Serves `Events` with this keep-alive, and hands the sender to `feed`, as a task.
fn serve_events<F>(keep_alive: Duration, capacity: usize, feed: F) -> Served
where
    F: AsyncFn(squall_http::sse::Sender) + Send + 'static,
{
    Served::start(move || {
        let feed = Rc::new(feed);
        Server::new(async move |_: &mut Request<'_>| {
            let (sender, events) = Events::new(capacity);
            let feed = Rc::clone(&feed);
            let handle = Handle::current().expect("a handler runs on a reactor");
            handle.spawn_detached(async move { feed(sender).await });
            events.keep_alive(keep_alive).into()
        })
    })
}

#[test]
fn events_are_sent_at_once_and_end_with_their_sender() {
    let (go, goes) = mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(Some(goes));
    let served = serve_events(FOREVER, 4, async move |sender| {
        sender.send(Event::new("one").name("tick").unwrap()).await.unwrap();
        // The test lets the second go once it has seen the first.
        let goes = goes.lock().unwrap().take().expect("one request");
        let pool = Pool::builder().build().unwrap();
        pool.run(move || goes.recv()).await.unwrap().unwrap();
        sender.send(Event::new("two")).await.unwrap();
    });
    let mut client = served.connect();
    client.get("/").unwrap();
    let text = read_until(&client, "event: tick\ndata: one\n\n");
    for field in ["text/event-stream", "Cache-Control: no-store", "X-Accel-Buffering: no"] {
        assert!(text.contains(field), "{field} is missing in {text}");
    }
    go.send(()).unwrap();
    read_until(&client, "data: two\n\n\r\n0\r\n\r\n");
}

#[test]
fn a_sender_learns_of_a_reset_at_once_and_of_a_close_by_its_comment() {
    let (left, leaves) = mpsc::channel();
    // The keep-alive cannot tell of the reset, and nothing else of the close.
    for keep_alive in [FOREVER, Duration::from_millis(5)] {
        let left = left.clone();
        let served = serve_events(keep_alive, 4, async move |sender| {
            sender.send(Event::new("hello")).await.unwrap();
            sender.gone().await;
            let refused = sender.try_send(Event::new("late"));
            left.send(refused == Err(Refused::Gone(Event::new("late")))).unwrap();
        });
        let mut client = served.connect();
        client.get("/").unwrap();
        read_until(&client, "hello");
        if keep_alive == FOREVER {
            reset(client)
        } else {
            drop(client)
        }
        assert!(next(&leaves));
    }
}

// To HEAD there is no content, so nobody will ever ask for an event.
#[test]
fn a_sender_learns_that_head_wants_no_events() {
    let (left, leaves) = mpsc::channel();
    let served = serve_events(FOREVER, 4, async move |sender| {
        sender.gone().await;
        left.send(()).unwrap();
    });
    let mut client = served.connect();
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    next(&leaves);
}

// Without a bound the queue takes all that a client does not read, and memory is its size.
#[test]
fn a_client_that_does_not_read_fills_the_queue_and_no_more() {
    let (full, fills) = mpsc::channel();
    let served = serve_events(FOREVER, 4, async move |sender| {
        let data = "x".repeat(256 << 10);
        let mut sent = 0;
        while sender.try_send(Event::new(&data)).is_ok() {
            sent += 1;
            sleep(Duration::from_millis(1)).await; // the connection's turn
        }
        full.send(sent).unwrap();
    });
    let mut client = served.connect();
    client.get("/").unwrap();
    let sent = next(&fills);
    let answer = client.answer(PATIENCE).unwrap();
    let event = "data: ".len() + (256 << 10) + "\n\n".len();
    assert_eq!(answer.body.len(), sent * event, "what was taken is sent, once it is read");
}

// Access log

fn serve_logged(
    records: Sender<Record>,
    dropped: Sender<&'static str>,
    proxies: Option<TrustedProxies>,
) -> Served {
    Served::start(move || {
        let router = Router::new()
            .plain(Method::Get, "/text", |_| Response::text("13 characters"))
            .and_then(|router| {
                router.get("/stream", async |_: &mut Request<'_>| {
                    Response::stream("text/plain", async |sink| {
                        sink.write(&[b'x'; 100_000]).await;
                        Ok(())
                    })
                })
            })
            .and_then(|router| {
                router.get("/fails", async |_: &mut Request<'_>| {
                    Response::stream("text/plain", async |sink| {
                        sink.write(b"half").await;
                        Err(io::ErrorKind::Other.into())
                    })
                })
            })
            .and_then(|router| {
                router.get("/waits", async move |_: &mut Request<'_>| {
                    let _told = Told(dropped.clone(), "waits");
                    dropped.send("begun").unwrap();
                    sleep(FOREVER).await;
                    Response::text("late")
                })
            })
            .and_then(|router| {
                router.plain(Method::Get, "/panics", |_| panic!("a panic that the test wants"))
            })
            .expect("the routes are valid")
            .into_handler();
        let sink = move |record: &Record| records.send(record.clone()).unwrap();
        let proxies = proxies.unwrap_or_else(|| {
            TrustedProxies::new([], Family::Forwarded).expect("no network is wrong")
        });
        Server::new(log_behind(proxies, router, sink))
    })
}

#[test]
fn each_request_leaves_one_record_with_what_was_made_for_it() {
    let (logged, records) = mpsc::channel();
    let served = serve_logged(logged, mpsc::channel().0, None);
    for (request, status, bytes, whole) in [
        ("GET /text?a=b HTTP/1.1", Some(200), 13, true),
        ("HEAD /text HTTP/1.1", Some(200), 0, true),
        ("GET /stream HTTP/1.1", Some(200), 100_000, true),
        ("HEAD /stream HTTP/1.1", Some(200), 0, true),
        ("GET /stream HTTP/1.0", Some(200), 100_000, true),
        ("GET /fails HTTP/1.1", Some(200), 4, false),
        ("GET /nothing HTTP/1.1", Some(404), 31, true),
        ("GET /panics HTTP/1.1", Some(500), 0, false),
    ] {
        let before = SystemTime::now();
        let mut client = served.connect();
        client.send(format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let record = next(&records);
        let own = client.stream().local_addr().unwrap();
        assert_eq!((record.peer, record.client), (own, own.ip()), "{request}");
        assert_eq!(record.status.map(StatusCode::as_u16), status, "{request}");
        assert_eq!((record.bytes, record.whole), (bytes, whole), "{request}");
        let target = String::from_utf8(record.target.clone()).unwrap();
        let line = format!("{} {target} HTTP/1.{}", record.method, record.minor_version);
        assert_eq!(line, request);
        assert!(record.begun >= before && record.duration < PATIENCE);
    }
    drop(served);
    assert!(records.try_recv().is_err(), "one each");
}

#[test]
fn a_client_that_leaves_before_the_answer_leaves_a_record_without_a_status() {
    let (logged, records) = mpsc::channel();
    let (dropped, drops) = mpsc::channel();
    let served = serve_logged(logged, dropped, None);
    let mut client = served.connect();
    client.get("/waits").unwrap();
    assert_eq!(next(&drops), "begun");
    drop(client);
    assert_eq!(next(&drops), "waits");
    let record = next(&records);
    assert_eq!((record.status, record.whole), (None, false));
    assert!(record.common().to_string().ends_with("\"GET /waits HTTP/1.1\" 499 -"));
}

// Proxies

#[test]
fn behind_a_proxy_the_client_is_who_the_trusted_proxy_says() {
    let serve = |network: &'static str| {
        Served::start(move || {
            let proxies = TrustedProxies::new([network], Family::XForwarded).unwrap();
            Server::new(async move |request: &mut Request<'_>| {
                let client = proxies.client(request);
                let host = client.host.as_deref().unwrap_or_default();
                let host = String::from_utf8_lossy(host);
                Response::text(format!("{} {} {host}", client.scheme, client.ip))
            })
        })
    };
    let fields = "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: shop.example\r\nX-Real-Ip: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    let trusting = serve("127.0.0.0/8");
    assert_eq!(trusting.get("/", fields).body, b"https 1.2.3.4 shop.example");
    assert_eq!(trusting.get("/", "").body, b"http 127.0.0.1 a");
    let distrusting = serve("10.0.0.0/8");
    assert_eq!(distrusting.get("/", fields).body, b"http 127.0.0.1 a");
}

#[test]
fn the_access_log_names_the_client_behind_the_proxy() {
    let (logged, records) = mpsc::channel();
    let proxies = TrustedProxies::new(["127.0.0.1"], Family::Forwarded).unwrap();
    let served = serve_logged(logged, mpsc::channel().0, Some(proxies));
    served.get("/text", "Forwarded: for=6.6.6.6, for=\"[2001:db8::1]:80\"\r\n");
    let record = next(&records);
    assert!(record.common().to_string().starts_with("2001:db8::1 - - ["));
    assert!(record.peer.ip().is_loopback());
}

// Metrics

#[test]
fn a_scrape_shows_loop_pool_server_and_answers() {
    let served = Served::start(|| {
        let (stats, answers) = (ServerStats::default(), Answers::default());
        let (shown, counted, refused) = (stats.clone(), answers.clone(), answers.clone());
        let pool = Pool::builder().build().unwrap();
        let handler = async move |request: &mut Request<'_>| {
            if request.path() != b"/metrics" {
                return Response::error(StatusCode::NOT_FOUND, "nothing");
            }
            pool.run(|| ()).await.unwrap();
            let handle = Handle::current().unwrap();
            let metrics = Metrics::new().reactor(&handle.stats());
            metrics.pools([("blocking", pool.stats())]).server(&shown).answers(&answers).into()
        };
        Server::new(log(handler, move |record| counted.count(record.status)))
            .on_refusal(move |refusal| refused.count(Some(refusal.status)))
            .stats(&stats)
    });
    for _ in 0..3 {
        served.get("/", "");
    }
    // No handler sees these, and they are counted all the same.
    for _ in 0..2 {
        assert_eq!(served.ask("GET / HTTP/1.1\r\nHo st: a\r\n\r\n").status, 400);
    }
    let answer = served.get("/metrics", "");
    assert_eq!(answer.field("Content-Type"), Some("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("squall_http_requests_total"), 4.0);
    assert_eq!(value("squall_http_answers_total{code=\"404\"}"), 3.0);
    assert_eq!(value("squall_http_answers_total{code=\"400\"}"), 2.0);
    assert_eq!(value("squall_http_refused_total"), 2.0);
    assert_eq!(value("squall_http_turned_away_total"), 0.0);
    assert_eq!(value("squall_http_cancelled_total"), 0.0);
    assert_eq!(value("squall_pool_completed_total{pool=\"blocking\"}"), 1.0);
    assert!(value("squall_http_connections") >= 1.0);
    assert!(value("squall_turns_total") > 0.0 && value("squall_busy_seconds_total") > 0.0);
}

// A handler that holds the figures of its own server would keep it, and itself, for ever.
#[test]
fn a_server_whose_handler_holds_its_figures_is_freed() {
    let (dropped, drops) = mpsc::channel();
    let served = Served::start(|| {
        let stats = ServerStats::default();
        let own = stats.clone();
        let told = Told(dropped, "handler");
        Server::new(async move |_: &mut Request<'_>| {
            let _ = &told;
            Response::text(format!("{} {}", own.connections(), own.requests()))
        })
        .stats(&stats)
    });
    assert_eq!(served.get("/", "").body, b"1 1");
    drop(served);
    assert_eq!(next(&drops), "handler");
}

// Files

/// A directory that is removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("squall-files-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("root/sub")).expect("a directory");
        Self(dir)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Writes a file that was last modified at 1994-11-06 08:49:37.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        fs::write(&path, bytes).expect("a file");
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve_files(root: &Path, dotfiles: bool) -> Served {
    let root = root.to_owned();
    Served::start(move || {
        let files = Files::new(root, Pool::builder().build().unwrap()).unwrap();
        let handler = files.dotfiles(dotfiles).into_handler("path");
        Server::new(Router::new().get("/{*path}", handler).unwrap().into_handler())
    })
}

#[test]
fn a_file_is_sent_whole_with_its_type_length_and_date() {
    let dir = Dir::new();
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i.wrapping_mul(i) >> 8) as u8).collect();
    dir.write("sub/large.bin", &large);
    dir.write("a b.html", b"<p>");
    dir.write("empty.txt", b"");
    let served = serve_files(&dir.root(), false);
    let answer = served.get("/sub/large.bin", "");
    assert!(answer.body == large);
    assert_eq!(answer.field("Content-Length"), Some("1000000"));
    assert_eq!(answer.field("Content-Type"), Some("application/octet-stream"));
    assert_eq!(answer.field("Last-Modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(answer.field("Accept-Ranges"), Some("bytes"));
    let answer = served.get("/a%20b.html", "");
    assert_eq!((&answer.body[..], answer.field("Transfer-Encoding")), (&b"<p>"[..], None));
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    let answer = served.get("/empty.txt", "");
    assert_eq!((answer.status, answer.field("Content-Length")), (200, Some("0")));
    // HEAD tells the length and sends nothing; the next answer follows at once.
    let mut client = served.connect();
    let head = "HEAD /sub/large.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("{head}GET /a%20b.html HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let text = read_until(&client, "<p>");
    assert!(text.contains("Content-Length: 1000000\r\n") && text.contains("\r\n\r\nHTTP/1.1 200"));
}

#[test]
fn rfc9110_13_and_14_a_file_is_sent_in_part_or_not_at_all_as_it_is_asked_for() {
    let dir = Dir::new();
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
    dir.write("a.bin", &bytes);
    let served = serve_files(&dir.root(), false);
    let answer = served.get("/a.bin", "Range: bytes=65530-131080\r\n");
    assert_eq!((answer.status, answer.field("Content-Length")), (206, Some("65551")));
    assert_eq!(answer.field("Content-Range"), Some("bytes 65530-131080/200000"));
    assert!(answer.body == bytes[65_530..=131_080]);
    let answer = served.get("/a.bin", "Range: bytes=200000-\r\n");
    assert_eq!((answer.status, answer.field("Content-Range")), (416, Some("bytes */200000")));
    let answer = served.get("/a.bin", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_eq!((answer.status, answer.field("Content-Length")), (304, None));
    assert_eq!(answer.field("Last-Modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    let answer = served.get("/a.bin", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n");
    assert_eq!((answer.status, answer.body.len()), (200, 200_000));
    assert_eq!(served.get("/a.bin", "If-Match: \"a\"\r\n").status, 412);
}

// A date of this very second could be that of two versions (RFC 9110, 8.8.2.2).
#[test]
fn rfc9110_8_8_2_a_date_that_is_not_past_is_not_told() {
    let dir = Dir::new();
    let path = dir.write("a.txt", b"new");
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    File::options().append(true).open(path).unwrap().set_modified(tomorrow).unwrap();
    let served = serve_files(&dir.root(), false);
    let answer = served.get("/a.txt", "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
    assert_eq!((answer.status, answer.field("Last-Modified")), (200, None));
}

#[test]
fn nothing_outside_of_the_directory_is_served_and_no_dotfile() {
    let dir = Dir::new();
    dir.write("in.txt", b"in");
    dir.write("../out.txt", b"out");
    dir.write(".hidden", b"hidden");
    let root = dir.root();
    symlink("../out.txt", root.join("link-out")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink(dir.0.join("out.txt"), root.join("link-absolute")).unwrap();
    symlink("in.txt", root.join("link-in")).unwrap();
    symlink(".hidden", root.join("link-hidden")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    // A directory beside the root whose name begins with the root's.
    fs::create_dir(dir.0.join("root2")).unwrap();
    dir.write("../root2/out.txt", b"out");
    symlink("../root2/out.txt", root.join("link-beside")).unwrap();
    let served = serve_files(&root, false);
    assert_eq!(served.get("/in.txt", "").body, b"in");
    assert_eq!(served.get("/link-in", "").body, b"in", "a link that stays below is followed");
    for target in [
        "/../out.txt",
        "/%2e%2e/out.txt",
        "/..%2fout.txt",
        "/sub/../in.txt",
        "/sub/../../out.txt",
        "//in.txt",
        "/link-out",
        "/link-absolute",
        "/link-beside",
        "/up/out.txt",
        "/.hidden",
        "/link-hidden",
        "/sub",
        "/sub/",
        "/in.txt/",
        "/in.txt/x",
        "/in.txt%00",
        "/%",
        "/nothing",
        &format!("/{}", "x".repeat(300)),
    ] {
        assert_eq!(served.get(target, "").status, 404, "{target}");
    }
    assert_ne!(served.get("/loop", "").status, 200);
    let answer = served.ask("POST /in.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")));
    let served = serve_files(&root, true);
    assert_eq!(served.get("/.hidden", "").body, b"hidden");
}

// To open a FIFO waits for a writer that never comes, and a thread of the pool with it.
#[test]
fn what_is_no_regular_file_is_not_opened() {
    let dir = Dir::new();
    let path = dir.root().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name is a string that ends in NUL and lives until the call returns.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let served = serve_files(&dir.root(), false);
    assert_eq!(served.get("/fifo", "").status, 404);
}

// The length is promised; what cannot keep it must not look whole.
#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_is_cut_off() {
    let dir = Dir::new();
    let path = dir.write("a.bin", b"");
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(256 << 20).unwrap();
    let served = serve_files(&dir.root(), false);
    let mut client = served.connect();
    client.get("/a.bin").unwrap();
    read_until(&client, "\r\n\r\n");
    file.set_len(0).unwrap();
    let mut rest = Vec::new();
    // An end by RST is an end too.
    let _ = client.stream().take(1 << 30).read_to_end(&mut rest);
    assert!(rest.len() < 256 << 20, "all {} bytes came", rest.len());
    assert_eq!(served.get("/a.bin", "").status, 200, "and the server goes on");
}
