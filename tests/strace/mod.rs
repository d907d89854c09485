//! System calls of a piece of a program, counted by strace(1).
//!
//! A test runs its own binary again under strace, with its own name and an environment variable that
//! says so; there the scenario runs, and [`mark`] sets off the part that counts. Where strace is not
//! installed, or may not trace, the scenario runs once all the same, uncounted.

use std::path::PathBuf;
use std::process::Command;

const SCENARIO: &str = "SQUALL_SCENARIO";

/// One system call: the thread, the name, and the line as strace wrote it.
#[derive(Clone, Debug)]
pub struct Call {
    pub thread: String,
    pub name: String,
    pub text: String,
}

/// What was called between the marks, by any thread, if strace is there.
#[derive(Debug)]
pub struct Trace {
    /// In order of the calls' beginnings.
    pub calls: Vec<Call>,
    /// The thread that set the marks.
    pub thread: String,
}

/// Runs `scenario` under strace; `test` is the name of the calling test, and `filter` the calls to
/// trace (`all` for every one). `None` in the traced process itself, and without strace.
pub fn trace(test: &str, filter: &str, scenario: impl FnOnce()) -> Option<Trace> {
    if std::env::var_os(SCENARIO).is_some() {
        scenario();
        return None;
    }
    if !may_trace() {
        println!("skipped: strace is not installed");
        scenario();
        return None;
    }
    let output = output_path(test);
    let traced = format!("trace={filter},?readlink,?readlinkat");
    let status = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-a", "0", "-e", "signal=none", "-e", &traced, "-o"])
        .arg(&output)
        .arg(std::env::current_exe().expect("a test binary"))
        .args(["--exact", test, "--nocapture"])
        .env(SCENARIO, test)
        .status()
        .expect("strace");
    let text = std::fs::read_to_string(&output).expect("strace's output");
    let _ = std::fs::remove_file(&output);
    assert!(status.success(), "the scenario failed under strace:\n{text}");
    Some(between_marks(parse(&text)))
}

/// Sets off the part that counts: first `begin`, then `end`.
pub fn mark(what: &str) {
    // It fails, and is seen.
    let _ = std::fs::read_link(format!("/squall-mark-{what}"));
}

impl Trace {
    /// The calls of the thread that set the marks; reading the clock is none where it is in the vDSO.
    pub fn own(&self) -> Vec<&str> {
        let own = self.calls.iter().filter(|call| call.thread == self.thread);
        own.map(|call| call.name.as_str()).filter(|name| !name.starts_with("clock_get")).collect()
    }
}

fn may_trace() -> bool {
    let mut tried = Command::new("strace");
    tried.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
    tried.output().is_ok_and(|output| output.status.success())
}

fn output_path(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("squall-{}-{test}.strace", std::process::id()))
}

/// A call that another thread interrupts stands in two lines: `... <unfinished ...>`, and later
/// `<... name resumed> ...`.
fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let open = calls.iter_mut().rev().find(|call| call.thread == thread);
            if let (Some(call), Some((_, tail))) = (open, resumed.split_once("resumed>")) {
                call.text.push_str(tail.trim_start());
            }
        } else if let Some((name, _)) = rest.split_once('(') {
            let text = rest.replace("<unfinished ...>", "");
            calls.push(Call { thread: thread.to_owned(), name: name.to_owned(), text });
        }
    }
    calls
}

fn between_marks(calls: Vec<Call>) -> Trace {
    let position = |what: &str| {
        let name = format!("/squall-mark-{what}\"");
        calls.iter().position(|call| call.text.contains(&name)).expect("both marks")
    };
    let (begin, end) = (position("begin"), position("end"));
    let thread = calls[begin].thread.clone();
    Trace { calls: calls[begin + 1..end].to_vec(), thread }
}
