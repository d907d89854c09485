//! The main job: why does a server burn a core after its client has left?
//!
//! It shows the mistake that makes it so (a loop that is shared across a fork), what each cure
//! cures, and what Squall does. Each row starts real processes, drives them with real clients
//! and reads from outside what they do; nothing survives the row. What must come out is in `rows`,
//! the mistake itself in `naive`.
//!
//! Run it: `cargo run --release --example reproduce`; with `-- --all` every combination, with
//! `-- --tornado PYTHON` real Tornado as well, and `-- --help` says more. In 23 s it printed, on
//! two cores beside other work:
//!
//! ```text
//! system  start             trigger  handler  client      CPU %  wake-ups/s  for nothing/s  quick ms  verdict  expected
//! naive   listen-then-fork  level    blocks   leaves       93 0   1,792,370      1,792,352         8  SPINS    yes
//! naive   listen-then-fork  level    blocks   waits         0 0          21              0         1  ok       yes
//! naive   listen-then-fork  level    awaits   leaves        0 0          32             11         4  ok       yes
//! naive   listen-then-fork  level    awaits   waits         0 0       5,491          5,470         5  ok       yes
//! naive   listen-then-fork  level    pool     leaves        0 0          31             10         1  ok       yes
//! naive   listen-then-fork  level    pool     waits         0 0          29              8         0  ok       yes
//! naive   fork-then-add     level    blocks   leaves        0 0          21              0         0  ok       yes
//! naive   listen-then-fork  edge     blocks   sends-more    0 0          21              0         2  HANGS    yes
//! naive   fork-then-add     edge     blocks   sends-more    0 0          21              0         0  ok       yes
//! naive   one-process       level    blocks   leaves          0           0              0      1195  BLOCKED  yes
//! squall  listen-then-fork  edge     blocks   leaves                                                  REFUSED  yes
//! squall  fork-then-add     edge     blocks   leaves        0 0          14              0         0  ok       yes
//! squall  fork-then-add     edge     awaits   leaves        0 0          18              0         0  ok       yes
//! squall  fork-then-add     edge     pool     leaves        0 0          17              0         3  ok       yes
//! ```
//!
//! Next: `rows`.

use std::process::ExitCode;

use squall_support::args::Args;
use squall_support::{child, limits};

mod rows;
mod verdict;
mod counters;
mod server;
mod naive;
mod squall;
mod tornado;
mod process;
mod exchange;
mod measure;
mod report;

use measure::Bench;
use rows::Row;

const ABOUT: &str = "\
Starts real servers with one mistake each, lets a client leave in the middle of a request, and
measures who burns a core, who hangs and who is fine. Each row of the table is one system (naive:
a small server on epoll, squall, tornado), one start, one trigger, one handler and one client.

verdicts, the first that fits:
  REFUSED  the server would not start this way
  SPINS    a worker is hot, and its wake-ups achieve nothing
  HANGS    an answer is missing 3 s after the handler returned
  BLOCKED  a quick request of another client waited for the slow handler
  ok       none of these
With two workers and a handler that blocks, ok and BLOCKED are both as expected: a quick request
may reach the stuck worker. The exit code is 1 if a verdict is not the one that the mechanism
predicts.";

fn main() -> ExitCode {
    if let Some(code) = server::serve_if_asked() {
        return code;
    }
    let args = Args::new("reproduce", ABOUT)
        .flag("--all", "run every combination, in at most 5 minutes, instead of the story's rows")
        .option(
            "--only",
            "SUBSTRING",
            "run the rows whose name, such as\n\"naive listen-then-fork level blocks leaves\", has \
             it (of several\nwords, each); of all combinations if the story has no such row",
        )
        .option(
            "--tornado",
            "PYTHON",
            "measure real Tornado, too, run by this interpreter; the spin\nneeds Python 3.11 or older",
        )
        .flag("--json", "print a JSON array in place of the table")
        .parse();

    child::end_children_on_signals();
    match run(args.has("--all"), args.text("--only"), args.text("--tornado"), args.has("--json")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("reproduce: {message}");
            ExitCode::from(2)
        }
    }
}

/// Measures and prints; true if each verdict is as expected.
fn run(all: bool, only: Option<&str>, python: Option<&str>, as_json: bool) -> Result<bool, String> {
    limits::raise_open_files().map_err(|e| format!("cannot raise the limit of files: {e}"))?;
    let tornado = python.map(tornado::probe).transpose()?;
    let rows = pick(all, only, tornado)?;
    let bench = Bench::new(python.map(str::to_owned))?;

    let mut measured = Vec::new();
    let mut good = true;
    for (index, row) in rows.iter().enumerate() {
        eprint!("[{:2}/{}] {row} ... ", index + 1, rows.len());
        match bench.measure(*row) {
            Ok(one) => {
                let wrong = !report::as_expected(&one);
                let expected = format!(", but expected {}", report::predicted(&one));
                eprintln!("{}{}", one.verdict, if wrong { &expected } else { "" });
                if wrong {
                    eprintln!("        measured: {}", report::figures(&one));
                }
                if let Some(refusal) = &one.refusal {
                    eprintln!("        it says: {refusal}");
                }
                good &= !wrong;
                measured.push(one);
            }
            Err(message) => {
                eprintln!("no verdict: {message}");
                good = false;
            }
        }
    }
    drop(bench);

    print!("{}", if as_json { report::json(&measured) } else { report::table(&measured) });
    if !as_json {
        eprintln!("\n{}", report::CLOSING);
    }
    Ok(good)
}

fn pick(all: bool, only: Option<&str>, tornado: Option<rows::System>) -> Result<Vec<Row>, String> {
    let every = Row::all(tornado);
    let rows = if all { every.clone() } else { Row::story(tornado) };
    let Some(words) = only else {
        return Ok(rows);
    };
    for rows in [rows, every] {
        let picked: Vec<Row> = rows.into_iter().filter(|row| row.matches(words)).collect();
        if !picked.is_empty() {
            return Ok(picked);
        }
    }
    Err(format!("no row's name has {words:?}; one is {:?}", "naive one-process level awaits waits"))
}
