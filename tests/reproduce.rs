//! The main job, run as a user runs it.
//!
//! The verdicts' arithmetic has its own tests in examples/reproduce/verdict.rs and rows.rs, which
//! are included here because cargo does not run the tests of an example; then a few rows are
//! measured for real.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use squall_support::proc::Stat;

#[allow(dead_code)] // the program uses what these tests do not
#[path = "../examples/reproduce/rows.rs"]
mod rows;
#[allow(dead_code)]
#[path = "../examples/reproduce/verdict.rs"]
mod verdict;

use rows::{Row, Start, System};
use verdict::Verdict;

const KEYS: [&str; 11] = [
    "system",
    "start",
    "trigger",
    "handler",
    "client",
    "cpu_percent",
    "wakeups_per_s",
    "idle_wakeups_per_s",
    "ping_ms",
    "verdict",
    "expected",
];

/// Runs the example with these arguments, one at a time: a row is a measurement.
fn reproduce(args: &[&str]) -> Output {
    let _alone = alone();
    Command::new(executable())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("what was just built can be run")
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Builds the example, once, and returns where it is, which only cargo knows.
fn executable() -> &'static str {
    static EXECUTABLE: OnceLock<String> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        let build = ["build", "--example", "reproduce", "--message-format=json"];
        let mut command = Command::new(env!("CARGO"));
        command.args(build).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
        let output = command.output().expect("cargo can be run");
        assert!(output.status.success(), "this failed: cargo {}", build.join(" "));
        let messages = String::from_utf8_lossy(&output.stdout);
        let mut paths = messages.lines().filter_map(|line| {
            let (_, path) = line.split_once("\"executable\":\"")?;
            path.split_once('"').map(|(path, _)| path.to_owned())
        });
        paths.next().expect("cargo names the executable that it built")
    })
}

/// The one object of a JSON array, as its keys with their values as they are written.
fn only_object(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8(output.stdout.clone()).expect("JSON is UTF-8");
    let text = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let text = text.map(str::trim).and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
    let text = text.unwrap_or_else(|| panic!("not one object in an array: {output:?}"));
    assert!(!text.contains(['{', '}']), "more than one object: {text}");
    // No value holds `, "`: arrays are of numbers.
    let pairs = text.split(", \"").map(|pair| {
        let (key, value) = pair.split_once("\": ").unwrap_or_else(|| panic!("no value in {pair}"));
        (key.trim_start_matches('"').to_owned(), value.to_owned())
    });
    pairs.collect()
}

fn value<'a>(object: &'a [(String, String)], key: &str) -> &'a str {
    let found = object.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {key} in {object:?}"))
}

#[test]
fn help_names_every_option_and_every_verdict() {
    let output = reproduce(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    for word in ["--all", "--only SUBSTRING", "--tornado PYTHON", "--json", "--help"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    for verdict in ["REFUSED", "SPINS", "HANGS", "BLOCKED", "ok"] {
        assert!(help.contains(verdict), "{verdict} is missing in {help}");
    }
}

#[test]
fn an_unknown_argument_a_row_that_is_none_and_a_python_that_is_none_exit_2() {
    for args in [&["--nope"][..], &["--only", "no such row"], &["--tornado", "/nonexistent"]] {
        let output = reproduce(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?} must not print on stdout");
    }
}

// The bug itself: the client has left, the worker that is not stuck burns a core for nothing.
#[test]
fn the_naive_server_spins_after_its_client_left() {
    let output = reproduce(&["--json", "--only", "naive listen-then-fork level blocks leaves"]);
    let object = only_object(&output);
    let keys: Vec<&str> = object.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, KEYS);
    assert_eq!(value(&object, "verdict"), "\"SPINS\"", "{object:?}");
    assert_eq!(value(&object, "expected"), "\"SPINS\"");
    assert_eq!(output.status.code(), Some(0));
    let number = |key| value(&object, key).parse::<f64>().expect("a number");
    assert!(number("idle_wakeups_per_s") > 1_000.0, "{object:?}");
    assert!(number("ping_ms") >= 0.0);
    let cpu = value(&object, "cpu_percent").trim_matches(['[', ']']);
    assert_eq!(cpu.split(", ").filter(|cpu| cpu.parse::<f64>().is_ok()).count(), 2, "{object:?}");
}

#[test]
fn forking_first_cures_the_spin() {
    let output = reproduce(&["--only", "naive fork-then-add level blocks leaves"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(table.lines().count(), 2, "a heading and a row: {table}");
    let row = table.lines().last().unwrap_or("");
    assert!(row.ends_with("ok       yes") || row.ends_with("BLOCKED  yes"), "{table}");
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(progress.contains("[ 1/1] naive fork-then-add level blocks leaves"), "{progress}");
    assert!(progress.contains("docs/the-bug.md"), "{progress}");
}

#[test]
fn under_edge_triggering_the_same_mistake_hangs() {
    let output = reproduce(&["--json", "--only", "naive listen-then-fork edge blocks sends-more"]);
    assert_eq!(value(&only_object(&output), "verdict"), "\"HANGS\"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

// A spin that outlives its demonstration is worse than none: neither Ctrl-C nor a kill that nobody
// can catch may leave a server behind.
#[test]
fn no_server_outlives_a_ctrl_c_or_a_sigkill() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let _alone = alone();
        let mut driver = Command::new(executable())
            .args(["--only", "naive listen-then-fork level blocks leaves"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("what was just built can be run");
        let mut stderr = driver.stderr.take().expect("it is piped");
        let mut progress = [0; 5];
        stderr.read_exact(&mut progress).expect("a row begins with its number");
        assert_eq!(&progress, b"[ 1/1");
        // The control, the server, and its two workers.
        let servers = within_ten_seconds(|| {
            let found = descendants(driver.id());
            (found.len() == 4).then_some(found)
        });
        // SAFETY: no memory is involved, and the driver is not yet waited for.
        assert_eq!(unsafe { libc::kill(driver.id() as libc::pid_t, signal) }, 0);
        let status = driver.wait().expect("it is our child");
        assert_eq!(status.signal(), Some(signal));
        within_ten_seconds(|| servers.iter().all(|&pid| ended(pid)).then_some(()));
    }
}

fn within_ten_seconds<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 10 s");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Gone, or a zombie that whoever adopted it has not waited for.
fn ended(pid: u32) -> bool {
    Stat::read(pid).map_or(true, |stat| stat.state == 'Z')
}

fn descendants(ancestor: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let family: Vec<(u32, u32)> =
        pids.filter_map(|pid| Some((pid, Stat::read(pid).ok()?.parent))).collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(family.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

#[test]
fn squall_is_expected_to_refuse_every_wrong_start_and_never_to_spin_or_hang() {
    for row in Row::all(None).into_iter().filter(|row| row.system == System::Squall) {
        let wrong = row.start == Start::ListenThenFork;
        assert_eq!(row.expected() == [Verdict::Refused], wrong, "{row}");
        for never in [Verdict::Spins, Verdict::Hangs] {
            assert!(!row.expected().contains(&never), "{row}");
        }
    }
}

#[test]
fn every_combination_is_there_once_and_the_story_is_part_of_it() {
    let tornado = Some(System::Tornado { python: (3, 11) });
    for tornado in [None, tornado] {
        let all = Row::all(tornado);
        assert_eq!(all.len(), if tornado.is_some() { 108 } else { 81 });
        for (index, row) in all.iter().enumerate() {
            assert!(!all[..index].contains(row), "twice: {row}");
            assert!(!row.expected().is_empty());
        }
        assert!(Row::story(tornado).iter().all(|row| all.contains(row)));
    }
}

#[test]
fn a_row_is_picked_by_any_words_of_its_name() {
    let picked = |words| Row::all(None).iter().filter(|row| row.matches(words)).count();
    assert_eq!(picked("naive listen-then-fork level blocks leaves"), 1);
    assert_eq!(picked("level naive"), 27);
    assert_eq!((picked("squall"), picked("sends-more"), picked("snow")), (27, 27, 0));
}

// Until Python 3.11 a forked child keeps its parent's loop, and spins; from 3.12 it hangs.
#[test]
fn what_tornado_is_expected_to_do_depends_on_its_python() {
    let spins = |minor| {
        let rows = Row::story(Some(System::Tornado { python: (3, minor) }));
        let tornado = rows.iter().find(|row| matches!(row.system, System::Tornado { .. }));
        tornado.map(|row| row.expected() == [Verdict::Spins])
    };
    assert_eq!((spins(8), spins(11), spins(12)), (Some(true), Some(true), Some(false)));
}
