//! A service of ten routes: notes as JSON, events, uploads, files, a timeout, metrics, an access log.
//!
//!     cargo run --release --example service -- --addr 127.0.0.1:8080
//!     curl -d 'buy "tea"' http://127.0.0.1:8080/notes    printed  {"id":1,"text":"buy \"tea\""}
//!     curl -T README.md http://127.0.0.1:8080/files/a    printed  {"name":"a","bytes":5550}
//!     curl http://127.0.0.1:8080/report/5000             printed  503 ...: this took too long; try later
//!     curl -N http://127.0.0.1:8080/events               prints each note that is added from now on
//!
//! All runs on one thread, so the state is a plain struct in an `Rc`; what blocks goes to the pool.

use std::{cell::RefCell, collections::BTreeMap, env, error::Error, fs, io::Write as _};
use std::{path::PathBuf, rc::Rc, thread, time::Duration};

use squall_http::sse::{Event, Events, Sender};
use squall_http::{BodyError, Method, Request, Response, Router, Server, ServerStats, StatusCode};
use squall_http::{access_log::log, files::Files, metrics::Metrics, timeout::answer_within};
use squall_reactor::{Handle, Pool, Reactor, Signals, workers::Bind};
use squall_support::{args::Args, json::quoted};

struct App {
    notes: RefCell<BTreeMap<u64, String>>,
    listeners: RefCell<Vec<Sender>>,
    dir: PathBuf,
    pool: Pool,
    stats: ServerStats,
}

type Answer = Result<Response, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::new("service", "Keeps notes and files over HTTP/1.1.")
        .option("--addr", "HOST:PORT", "where to listen; port 0 picks a free one [127.0.0.1:8080]")
        .parse();
    let mut sockets = Bind::new(args.text("--addr").unwrap_or("127.0.0.1:8080")).bind()?;
    println!("{}", sockets.local_addrs()[0]);
    let signals = Signals::new([Signals::TERM, Signals::INT])?;
    let (mut reactor, pool) = (Reactor::new()?, Pool::builder().build()?);
    let (notes, listeners, stats) = Default::default();
    let dir = env::temp_dir().join("squall-service");
    fs::create_dir_all(&dir)?;
    let app = Rc::new(App { notes, listeners, dir, pool, stats });
    let handler = log(routes(&app)?.into_handler(), |record| eprintln!("{}", record.common()));
    let server = Server::new(handler).stats(&app.stats).add_sockets(sockets.take(0));
    let mut serving = server.start(&reactor.handle())?;
    reactor.block_on(async {
        let _received = signals.recv().await?;
        app.listeners.take(); // their streams end, else the drain would wait for them
        serving.shutdown(Duration::from_secs(10)).await;
        Ok(())
    })?
}

fn routes(app: &Rc<App>) -> Result<Router, Box<dyn Error>> {
    let files = Files::new(&app.dir, app.pool.clone())?;
    Ok(Router::new()
        .plain(Method::Get, "/", |_| Response::text("notes, events, files, report, metrics\n"))?
        .plain(Method::Get, "/health", |_| json(StatusCode::OK, r#"{"status":"ok"}"#))?
        .get("/metrics", with(app, metrics))?
        .get("/notes", with(app, list))?
        .post("/notes", with(app, add))?
        .get("/notes/{id}", with(app, show))?
        .get("/events", with(app, events))?
        .route(Method::Put, "/files/{*path}", with(app, upload))?
        .get("/files/{*path}", files.into_handler("path"))?
        .get("/report/{ms}", answer_within(Duration::from_secs(2), with(app, report)))?)
}

/// A handler that is lent the state, and may leave by `?`.
fn with<H>(app: &Rc<App>, handler: H) -> impl AsyncFn(&mut Request<'_>) -> Response + 'static
where
    H: AsyncFn(&App, &mut Request<'_>) -> Answer + 'static,
{
    let app = Rc::clone(app);
    async move |request: &mut Request<'_>| match handler(&app, request).await {
        Ok(response) => response,
        Err(error) => match error.downcast::<BodyError>() {
            Ok(error) => Response::from(*error),
            Err(error) => Response::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
    }
}

async fn metrics(app: &App, _: &mut Request<'_>) -> Answer {
    let metrics = Metrics::new().reactor(&Handle::current()?.stats()).server(&app.stats);
    Ok(metrics.pools([("blocking", app.pool.stats())]).into())
}

async fn list(app: &App, _: &mut Request<'_>) -> Answer {
    let notes: Vec<String> = app.notes.borrow().iter().map(note).collect();
    Ok(json(StatusCode::OK, &format!("[{}]", notes.join(","))))
}

async fn add(app: &App, request: &mut Request<'_>) -> Answer {
    let text = String::from_utf8_lossy(&request.body().bytes().await?).into_owned();
    let id = app.notes.borrow().last_key_value().map_or(1, |(id, _)| id + 1);
    let note = note((&id, &text));
    app.notes.borrow_mut().insert(id, text);
    // Who has left, or does not keep up, is let go; a browser comes back by itself.
    let event = Event::new(&note);
    app.listeners.borrow_mut().retain(|listener| listener.try_send(event.clone()).is_ok());
    Ok(json(StatusCode::CREATED, &note).header("Location", format!("/notes/{id}"))?)
}

async fn show(app: &App, request: &mut Request<'_>) -> Answer {
    let notes = app.notes.borrow();
    let found = request.param("id").and_then(|id| notes.get_key_value(&id.parse().ok()?));
    let unknown = || Response::error(StatusCode::NOT_FOUND, "no such note");
    Ok(found.map_or_else(unknown, |found| json(StatusCode::OK, &note(found))))
}

async fn events(app: &App, _: &mut Request<'_>) -> Answer {
    let (sender, events) = Events::new(64);
    app.listeners.borrow_mut().push(sender);
    Ok(events.into())
}

/// One piece is in memory at a time: a slow disk makes a slow client.
async fn upload(app: &App, request: &mut Request<'_>) -> Answer {
    let name = request.param("path").unwrap_or_default();
    if name.starts_with('.') || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
        return Ok(Response::error(StatusCode::BAD_REQUEST, "a name is letters, digits and dots"));
    }
    // A dotfile is not served, so nobody sees a file that is not whole.
    let part = app.dir.join(format!(".{}", request.peer_addr().port()));
    let (whole, created, mut bytes) = (app.dir.join(name), part.clone(), 0);
    let mut file = app.pool.run(move || fs::File::create(created)).await??;
    request.body().set_limit(1 << 30);
    while let Some(piece) = request.body().chunk().await? {
        let piece = piece.to_vec();
        bytes += piece.len();
        file = app.pool.run(move || file.write_all(&piece).map(|()| file)).await??;
    }
    app.pool.run(move || file.sync_all().and_then(|()| fs::rename(part, whole))).await??;
    Ok(json(StatusCode::CREATED, &format!("{{\"name\":{},\"bytes\":{bytes}}}", quoted(name))))
}

async fn report(app: &App, request: &mut Request<'_>) -> Answer {
    let ms = request.param("ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
    app.pool.run(move || thread::sleep(Duration::from_millis(ms))).await?;
    Ok(json(StatusCode::OK, &format!("{{\"notes\":{}}}", app.notes.borrow().len())))
}

fn note((id, text): (&u64, &String)) -> String {
    format!("{{\"id\":{id},\"text\":{}}}", quoted(text))
}

fn json(status: StatusCode, text: &str) -> Response {
    Response::bytes("application/json", format!("{text}\n").into_bytes()).status(status)
}
