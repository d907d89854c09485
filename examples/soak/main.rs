//! An hour of mixed load with faults: nothing leaks, nothing spins, no wake-up is lost.
//!
//!     cargo run --release --example soak -- --seconds 3600
//!     cargo run --release --example soak -- --seconds 20             the short form, as in CI
//!     cargo run --release --example soak -- --seconds 20 --plant spin     shows that it can fail
//!
//! A server with two workers runs as a process of its own. Rounds of load come from this one: clients
//! that must be answered, clients that vanish in every way, timers, tasks and pool jobs that are
//! cancelled, descriptors that run out, and a worker that is killed. After each round the load stops,
//! and the workers must come to rest: every client was answered, every task and timer that began has
//! ended, no descriptor or thread is left, memory does not grow, and from then on nothing wakes up.
//!
//! It prints a line for each round and `soak passed`, or what was wrong, with exit code 1.

mod clients;
mod faults;
mod plan;
mod server;
mod watch;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use squall_support::args::Args;
use squall_support::child::{Child, end_children_on_signals};
use squall_support::limits::raise_open_files;

use clients::Load;
use faults::Faults;
use plan::{Address, Plan, Plant, Wrong};
use watch::Watch;

/// How long the server may take to end in order.
const DRAIN: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let args = Args::new("soak", "Loads a server with faults for a time and watches what is left.")
        .option("--seconds", "N", "how long [3600]")
        .option("--clients", "N", "clients at once [12]")
        .option("--seed", "N", "of all chances [the time of day]")
        .option("--plant", "FAULT", "a fault to find: memory, descriptor, spin, answer, wake")
        .flag("--serve", "be the server; the soak starts it so")
        .parse();
    let plant = args.value("--plant").unwrap_or(Plant::Nothing);
    let result = if args.has("--serve") {
        server::run(plant).map_err(|error| Wrong(format!("the server: {error}")))
    } else {
        let seconds = args.value("--seconds").unwrap_or(3600);
        let seed = args.value("--seed").unwrap_or_else(plan::seed_of_the_day);
        soak(Plan::new(seconds, args.value("--clients").unwrap_or(12), seed, plant))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Wrong(what)) => {
            eprintln!("soak: {what}");
            ExitCode::FAILURE
        }
    }
}

fn soak(plan: Plan) -> Result<(), Wrong> {
    end_children_on_signals();
    raise_open_files().map_err(|error| Wrong(format!("open files: {error}")))?;
    let (mut child, address) = start(plan.plant)?;
    println!("seed {}, {} rounds of {:?}, {address:?}", plan.seed, plan.rounds, plan.load);
    let mut watch = Watch::begin(&address, child.pid())?;
    let begin = Instant::now();
    for round in 1..=plan.rounds {
        watch.churn(true)?;
        let faults = Faults::start(&address, &plan, round, watch.pids());
        let load = Load::start(&address, &plan, round, faults.kills());
        load.run_for(plan.load);
        let answered = load.finish()?;
        let done = faults.finish()?;
        watch.churn(false)?;
        let rest = watch.rest(&done)?;
        println!(
            "{:>5} s  round {round:>3}: {answered}; {done}; {rest}",
            begin.elapsed().as_secs()
        );
        if let Some(status) = child.exit_status().map_err(|e| Wrong(format!("waitid: {e}")))? {
            return Err(Wrong(format!("the server has ended: {status}")));
        }
    }
    watch.memory()?;
    end(&mut child)?;
    println!("soak passed");
    Ok(())
}

/// Starts the server and reads where it listens.
fn start(plant: Plant) -> Result<(Child, Address), Wrong> {
    let wrong = |error: std::io::Error| Wrong(format!("the server does not start: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(wrong)?);
    command.arg("--serve").args(["--plant", plant.name()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Child::spawn(&mut command).map_err(wrong)?;
    let stdout = child.stdout().expect("a pipe was asked for");
    let address = Address::read(stdout).map_err(wrong)?;
    Ok((child, address))
}

/// SIGTERM: it must end by itself, in order.
fn end(child: &mut Child) -> Result<(), Wrong> {
    let wrong = |error: std::io::Error| Wrong(format!("the server's end: {error}"));
    child.signal(libc::SIGTERM).map_err(wrong)?;
    let begin = Instant::now();
    while begin.elapsed() < DRAIN {
        match child.exit_status().map_err(wrong)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Wrong(format!("the server ended with {status}"))),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(Wrong(format!("{DRAIN:?} after SIGTERM the server still runs")))
}
