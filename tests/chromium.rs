//! A real browser at the example `http_server`: fetch, streams, aborts and server-sent events.
//!
//! Chromium opens examples/pages/page.html without a window. The page tries the server and posts how
//! it went to a server of the test. Where Chromium is not installed the test says that it skips.

mod http;
mod json;

use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use http::TestServer;
use http::running::Running;
use json::Json;
use squall_http::{Method, Request, Response, Router, Server};
use squall_support::child::Child;

/// A browser's start takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_browser_s_fetches_streams_and_events_are_served() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = names.iter().find(found) else {
        // Past the capture of print macros.
        let _ = writeln!(io::stderr(), "skipped: chromium is not installed");
        return;
    };
    // One that is installed may still not run: without /proc, a font, or the right to a namespace.
    let mut trial = Command::new("timeout");
    trial.args(["60", browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
    trial.args(["--disable-dev-shm-usage", "about:blank"]).stdin(Stdio::null());
    if !trial.output().is_ok_and(|trial| trial.status.success()) {
        let _ = writeln!(io::stderr(), "skipped: {browser} is installed and does not run here");
        return;
    }
    let server = Running::start(&[]);
    let (reports, reported) = mpsc::channel();
    let own = TestServer::start(move || Server::new(report_route(reports).into_handler()));
    let page = format!("http://{}/page?report=http://{}/report", server.addr, own.addr);
    let profile = std::env::temp_dir().join(format!("squall-chromium-{}", std::process::id()));
    let mut command = Command::new(browser);
    // No sandbox, because a build machine's root has none; and no word to anybody but this server.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
    command.args(["--disable-component-update", "--disable-quic", "--remote-debugging-port=0"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(&page);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Child::spawn(&mut command).expect("it starts");
    let report = reported.recv_timeout(PATIENCE);
    child.end();
    let _ = fs::remove_dir_all(&profile);
    let report: String = report.expect("the page's script reports within a minute");
    let Json::Object(results) = Json::read(&report) else { panic!("not an object: {report}") };
    assert_eq!(results.len(), 8, "{report}");
    for (check, result) in results {
        assert_eq!(result, Json::Text("ok".into()), "{check}");
    }
}

/// Takes what the page posts.
fn report_route(reports: mpsc::Sender<String>) -> Router {
    let take = async move |request: &mut Request<'_>| {
        let bytes = request.body().bytes().await.expect("a report");
        // Nobody waits any more only if the test has failed already.
        let _ = reports.send(String::from_utf8(bytes).expect("JSON"));
        Response::text("")
    };
    Router::new().route(Method::Post, "/report", take).expect("the pattern is right")
}
