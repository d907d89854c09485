//! The examples as processes, and curl as the client. Where curl is missing a test says so and passes.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use squall_support::child::Child;

const HYPER: &str = env!("CARGO_BIN_EXE_hyper_on_squall");
const HTTPS: &str = env!("CARGO_BIN_EXE_https_on_squall");

/// An example that serves, until it is dropped.
struct Server {
    addr: SocketAddr,
    _child: Child,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = Child::spawn(command.stdout(Stdio::piped())).expect("it starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout().expect("a pipe"));
        output.read_line(&mut line).expect("it prints where it listens");
        let addr = line.trim().strip_prefix("listening on ").expect("its first line");
        Self { addr: addr.parse().expect("an address"), _child: child }
    }
}

/// Runs curl; `None` if there is none. What is in `input` is on its standard input.
fn curl(args: &[&str], input: &[u8]) -> Option<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: curl is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("curl ends");
    writer.join().expect("no panic").expect("curl reads all of its input");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    Some(String::from_utf8(stdout).expect("text"))
}

fn pattern(len: usize) -> String {
    "0123456789abcdefghijklmnopqrstuvwxy".chars().cycle().take(len).collect()
}

#[test]
fn curl_gets_posts_and_keeps_a_connection_to_hyper() {
    let server = Server::start(Command::new(HYPER).args(["serve", "127.0.0.1:0"]));
    let url = format!("http://{}/tea", server.addr);
    let Some(text) = curl(&[&url], b"") else { return };
    assert_eq!(text, "GET /tea by HTTP/1.1 on Squall\n");
    // The second one over the connection of the first.
    let count = "%{num_connects}\n";
    let text = curl(&["--write-out", count, &url, &url], b"").expect("curl was here");
    let answer = "GET /tea by HTTP/1.1 on Squall\n";
    assert_eq!(text, format!("{answer}1\n{answer}0\n"));
    let sent = pattern(3 << 20);
    let echoed = curl(&["--data-binary", "@-", &url], sent.as_bytes()).expect("curl was here");
    assert!(echoed == sent, "three megabytes come back");
    // Of unknown length: chunked both ways.
    let upload = ["--upload-file", "-", "--request", "POST", &url];
    let echoed = curl(&upload, sent.as_bytes()).expect("curl was here");
    assert!(echoed == sent, "and in chunks");
}

#[test]
fn curl_speaks_both_versions_over_tls() {
    let certificate = Certificate::new();
    let server =
        Server::start(Command::new(HTTPS).args(["serve", "127.0.0.1:0"]).arg(&certificate.path));
    let url = format!("https://{}/tea", server.addr);
    let file = certificate.path.to_str().expect("UTF-8");
    let sent = pattern(3 << 20);
    for (option, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        if option == "--http2" && !has_http2() {
            eprintln!("SKIPPED: this curl has no HTTP/2");
            continue;
        }
        let trust = ["--cacert", file, option];
        let Some(text) = curl(&[&trust[..], &[&url]].concat(), b"") else { return };
        assert_eq!(text, format!("GET /tea by {version} on Squall\n"));
        let post = [&trust[..], &["--data-binary", "@-", &url]].concat();
        let echoed = curl(&post, sent.as_bytes()).expect("curl was here");
        assert!(echoed == sent, "three megabytes come back by {version}");
    }
}

/// Broken if the certificate were not looked at: then the test above would prove nothing.
#[test]
fn curl_without_the_certificate_refuses_to_talk() {
    let certificate = Certificate::new();
    let server =
        Server::start(Command::new(HTTPS).args(["serve", "127.0.0.1:0"]).arg(&certificate.path));
    let url = format!("https://{}/", server.addr);
    let Ok(output) = Command::new("curl").args(["--silent", "--noproxy", "*", &url]).output()
    else {
        eprintln!("SKIPPED: curl is not installed");
        return;
    };
    assert_eq!(output.status.code(), Some(60), "peer certificate cannot be authenticated");
}

/// Each asks itself: client and server in one loop.
#[test]
fn the_examples_print_what_they_say() {
    for (example, versions) in [(HYPER, &["1.1"][..]), (HTTPS, &["1.1", "2.0"])] {
        let output = Command::new(example).output().expect("it runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let answers: Vec<String> = versions
            .iter()
            .map(|version| format!("200 OK: GET /squall by HTTP/{version} on Squall"))
            .collect();
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), answers);
    }
}

fn has_http2() -> bool {
    let version = Command::new("curl").arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("HTTP2"))
}

/// A file that goes with the test.
struct Certificate {
    path: PathBuf,
}

impl Certificate {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("squall-interop-{}-{number}.pem", std::process::id());
        Self { path: std::env::temp_dir().join(name) }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
