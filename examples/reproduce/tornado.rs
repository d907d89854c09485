//! The same server on real Tornado, run by an interpreter that the user names.
//!
//! The program is tornado_server.py, which is compiled in, so that it runs from anywhere. What the
//! start `listen-then-fork` does depends on the Python: until 3.11 a child keeps the loop of its
//! parent, and spins; from 3.12 it gets a fresh one, and hangs. Next: `process`.

use std::process::Command;

use crate::rows::System;
use crate::server::Job;

const SCRIPT: &str = include_str!("tornado_server.py");

/// Asks the interpreter for its version, and whether it has Tornado.
pub fn probe(python: &str) -> Result<System, String> {
    let question = "import sys, tornado; print(sys.version_info[0], sys.version_info[1])";
    let output = Command::new(python).args(["-c", question]).output();
    let output = output.map_err(|e| format!("cannot run {python}: {e}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason = reason.lines().last().unwrap_or("it says nothing");
        return Err(format!("{python} has no Tornado: {reason}"));
    }
    let answer = String::from_utf8_lossy(&output.stdout);
    let mut numbers = answer.split_whitespace().map(|word| word.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => Ok(System::Tornado { python: (major, minor) }),
        _ => Err(format!("{python} has no version: it says {answer:?}")),
    }
}

/// The command that runs the row's server.
pub fn command(python: &str, job: &Job) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, &job.start.to_string(), &job.handler.to_string()]);
    command.arg(job.hold.as_millis().to_string());
    command
}
