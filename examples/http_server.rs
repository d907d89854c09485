//! A server with one of everything: routes, bodies, streams, waiting, blocking, workers, a drain.
//!
//!     cargo run --release --example http_server -- --addr 127.0.0.1:8080 --workers 2
//!     curl -d tea http://127.0.0.1:8080/echo          printed  tea
//!     curl http://127.0.0.1:8080/async/500            printed  waited 500 ms      (others are served)
//!     curl http://127.0.0.1:8080/pool/500             printed  blocked 500 ms     (others are served)
//!     curl http://127.0.0.1:8080/block/500            printed  blocked 500 ms     (nobody is: the mistake)
//!     curl http://127.0.0.1:8080/stream/3             printed  line 0, line 1, line 2
//!     curl -N http://127.0.0.1:8080/events/1000       printed  data: 0, a second later data: 1, ...
//!     curl http://127.0.0.1:8080/health               printed  ok; 503 once the end is near
//!     curl http://127.0.0.1:8080/stats                printed  {"turns":42,...}
//!
//! http://127.0.0.1:8080/page in a browser tries fetch, streams and events, and shows how it went.
//!
//! With `--trace FILE` the loop's last 250,000 events are written to FILE at the end; ui.perfetto.dev opens it.
//!
//! The first line that it prints is the address that it listens on. SIGTERM and Ctrl-C end it in order:
//! for the time of `--notice` it serves on, says `Connection: close` and is not healthy, so that a
//! balancer goes elsewhere; then what has begun is answered, and it exits with 0. With `--workers`, SIGUSR2 to the
//! parent starts the program anew, in whatever version it is there now, and lets it take over; nobody is
//! refused. It takes systemd's sockets, too:
//!
//!     systemd-socket-activate -l 127.0.0.1:8080 target/release/examples/http_server --workers 2

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use squall_http::sse::{Event, Events};
use squall_http::{
    Limits, Method, Request, Response, RouteError, Router, Server, ServerStats, StatusCode,
};
use squall_reactor::workers::{Bind, Sockets, Workers, notify, upgrade};
use squall_reactor::{Handle, Pool, Reactor, Signals, sleep, timeout};
use squall_support::{args::Args, limits::raise_open_files};

/// How long a drain may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a trace keeps: 10 MB.
const TRACE_EVENTS: usize = 250_000;
/// What a browser does with a server.
const PAGE: &str = include_str!("pages/page.html");

fn main() -> ExitCode {
    let args = Args::new("http_server", "Serves one of everything over HTTP/1.1.")
        .option("--addr", "HOST:PORT", "where to listen; port 0 picks a free one [127.0.0.1:8080]")
        .option("--workers", "N", "serve in N processes under a supervisor; 0: one per CPU")
        .option("--notice", "MS", "how long to serve on after SIGTERM, or until a second one [0]")
        .option("--trace", "FILE", "at the end write what the loop did; workers add .0, .1 to FILE")
        .parse();
    let addr = args.text("--addr").unwrap_or("127.0.0.1:8080").to_owned();
    let end = End {
        notice: Duration::from_millis(args.value("--notice").unwrap_or(0)),
        trace: args.text("--trace").map(PathBuf::from),
    };
    let result = match args.value("--workers") {
        None => serve_here(&addr, end),
        Some(workers) => supervise(&addr, workers, end),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be done at the end.
struct End {
    notice: Duration,
    trace: Option<PathBuf>,
}

/// One process.
fn serve_here(addr: &str, end: End) -> Result<(), Box<dyn Error>> {
    raise_open_files()?;
    let mut sockets = Bind::new(addr).inherit_or_bind()?;
    announce(&sockets)?;
    serve(sockets.take(0), end)
}

/// The right order: bind, fork, and only then a reactor. The parent keeps every socket open, so a
/// worker that is killed loses none of the connections in its queue.
fn supervise(addr: &str, workers: usize, end: End) -> Result<(), Box<dyn Error>> {
    raise_open_files()?;
    let workers = match workers {
        0 => std::thread::available_parallelism()?.get(),
        workers => workers,
    };
    let mut sockets = Bind::new(addr).reuse_port(workers).inherit_or_bind()?;
    let upgrade = upgrade::Upgrade::new(&sockets)?
        .on_progress(|progress| drop(writeln!(io::stderr(), "http_server: {progress}")));
    announce(&sockets)?;
    // Longer than its workers need, so that none is killed in the middle of an answer.
    let grace = end.notice + 2 * PATIENCE;
    Ok(Workers::new(workers).grace(grace).upgrade(upgrade).run(|index| {
        let numbered = |file: &PathBuf| PathBuf::from(format!("{}.{index}", file.display()));
        let end = End { trace: end.trace.as_ref().map(numbered), ..end };
        match serve(sockets.take(index), end) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("http_server: worker {index}: {error}");
                1
            }
        }
    })?)
}

/// For people, and for systemd. Whoever read the first program's output may have gone since.
fn announce(sockets: &Sockets) -> Result<(), Box<dyn Error>> {
    let _ = writeln!(io::stdout(), "{}", sockets.local_addrs()[0]);
    notify::ready()?;
    Ok(())
}

fn serve(sockets: Vec<TcpListener>, end: End) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([Signals::TERM, Signals::INT])?;
    let mut reactor = Reactor::new()?;
    let handle = reactor.handle();
    if end.trace.is_some() {
        handle.trace_start(TRACE_EVENTS);
    }
    let pool = Pool::builder().threads(1..=8).queue(1024).build()?;
    let mut limits = Limits::default();
    limits.max_body_bytes = 16 << 20;
    let stats = ServerStats::default();
    let mut serving = Server::new(routes(pool, stats.clone())?.into_handler())
        .limits(limits)
        .stats(&stats)
        .add_sockets(sockets)
        .start(&handle)?;
    upgrade::ready()?;
    reactor.block_on(async {
        let _first = signals.recv().await?;
        if !end.notice.is_zero() {
            serving.announce_shutdown();
            // A second signal is for who does not want to wait.
            let _second = timeout(end.notice, signals.recv()).await;
        }
        serving.shutdown(PATIENCE).await;
        io::Result::Ok(())
    })??;
    if let Some(file) = end.trace {
        let mut file = BufWriter::new(File::create(file)?);
        handle.trace_stop().write_chrome_json(&mut file)?;
        file.flush()?;
    }
    Ok(())
}

fn routes(pool: Pool, served: ServerStats) -> Result<Router, RouteError> {
    Router::new()
        .plain(Method::Get, "/", |_| Response::text("Hello, World!"))?
        .post("/", echo)?
        .post("/echo", echo)?
        .plain(Method::Get, "/headers", headers)?
        .get("/async/{ms}", async |request: &mut Request<'_>| {
            let Some(time) = duration(request) else { return bad_time() };
            sleep(time).await;
            Response::text(format!("waited {} ms\n", time.as_millis()))
        })?
        .get("/pool/{ms}", async move |request: &mut Request<'_>| {
            let Some(time) = duration(request) else { return bad_time() };
            match pool.run(move || std::thread::sleep(time)).await {
                Ok(()) => blocked(time),
                Err(error) => Response::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
            }
        })?
        .plain(Method::Get, "/block/{ms}", |request| {
            let Some(time) = duration(request) else { return bad_time() };
            std::thread::sleep(time); // the mistake: nobody else is served meanwhile
            blocked(time)
        })?
        .plain(Method::Get, "/stream/{lines}", |request| {
            match request.param("lines").and_then(|lines| lines.parse::<u64>().ok()) {
                Some(lines) => {
                    Response::pieces("text/plain", (0..lines).map(|i| format!("line {i}\n")))
                }
                None => Response::error(StatusCode::BAD_REQUEST, "how many lines?"),
            }
        })?
        .get("/events/{ms}", ticks)?
        .plain(Method::Get, "/page", |_| {
            Response::bytes("text/html; charset=utf-8", PAGE.as_bytes())
        })?
        .plain(Method::Get, "/health", move |_| match served.is_draining() {
            false => Response::text("ok\n"),
            true => Response::error(StatusCode::SERVICE_UNAVAILABLE, "it is about to end"),
        })?
        .plain(Method::Get, "/stats", |_| stats())
}

async fn echo(request: &mut Request<'_>) -> Response {
    match request.body().bytes().await {
        Ok(bytes) => Response::bytes("application/octet-stream", bytes),
        Err(error) => error.into(),
    }
}

fn headers(request: &mut Request<'_>) -> Response {
    let mut text = Vec::new();
    for (name, value) in request.headers().iter() {
        text.extend_from_slice(&[name, b": ", value, b"\n"].concat());
    }
    Response::bytes("text/plain", text)
}

/// A number each so many milliseconds, until the client has left.
async fn ticks(request: &mut Request<'_>) -> Response {
    let (Some(time), Ok(handle)) = (duration(request), Handle::current()) else {
        return bad_time();
    };
    let (sender, events) = Events::new(16);
    handle.spawn_detached(async move {
        for tick in 0_u64.. {
            if sender.send(Event::new(&tick.to_string())).await.is_err() {
                return;
            }
            sleep(time).await;
        }
    });
    events.into()
}

fn stats() -> Response {
    let Ok(handle) = Handle::current() else {
        return Response::new(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let counters = handle.stats();
    let fields: Vec<String> =
        counters.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    Response::bytes("application/json", format!("{{{}}}\n", fields.join(",")).into_bytes())
}

fn duration(request: &Request<'_>) -> Option<Duration> {
    request.param("ms")?.parse().ok().map(Duration::from_millis)
}

fn blocked(time: Duration) -> Response {
    Response::text(format!("blocked {} ms\n", time.as_millis()))
}

fn bad_time() -> Response {
    Response::error(StatusCode::BAD_REQUEST, "how many milliseconds?")
}
