//! The hidden side of the program: it runs itself again as the server of a row.
//!
//! So a row's workers are real processes with pids of their own, and a fork happens in a process
//! that has one thread. What a server must do is the same for each system: listen on a free port
//! of 127.0.0.1, answer `GET /quick` at once and `GET /slow` through the handler, and count what
//! it does on the page. Next: `naive`, `squall`, `tornado`.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::counters::Counters;
use crate::rows::{Handler, Start, Trigger};
use crate::{naive, squall};

/// What a server is told.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub start: Start,
    pub trigger: Trigger,
    pub handler: Handler,
    /// How long the slow handler takes.
    pub hold: Duration,
}

/// Why a server ended.
#[derive(Debug)]
pub enum End {
    /// It would not start this way: the message of the error.
    Refused(String),
    /// It could not.
    Failed(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Failed(error.to_string())
    }
}

/// The first argument of a server process.
pub const SERVE: &str = "--serve";

/// The exit code of a server that refused to start.
pub const REFUSED: i32 = 3;

/// Bodies of the answers.
pub const QUICK: &str = "quick\n";
pub const SLOW: &str = "slow\n";

impl Job {
    /// The command that runs this executable as `system`'s server.
    pub fn command(&self, system: &str) -> Command {
        // By its path, for under valgrind /proc/self/exe is valgrind; if another build stands there
        // by now, the path has become that of a file that does not exist.
        let path = std::env::current_exe().ok().filter(|path| path.exists());
        let mut command = Command::new(path.unwrap_or_else(|| "/proc/self/exe".into()));
        command.arg0("reproduce").args([SERVE, system]);
        command.args([self.start.to_string(), self.trigger.to_string(), self.handler.to_string()]);
        command.arg(self.hold.as_millis().to_string());
        command
    }

    fn from_args(args: &[String]) -> Result<Self, String> {
        let [start, trigger, handler, hold] = args else {
            return Err(format!("{SERVE} wants a system and four words"));
        };
        let ms = hold.parse().map_err(|_| format!("{hold:?} is no number of milliseconds"))?;
        Ok(Self {
            start: start.parse()?,
            trigger: trigger.parse()?,
            handler: handler.parse()?,
            hold: Duration::from_millis(ms),
        })
    }
}

/// Serves if the command line says so; returns the process's exit code, `None` for the driver.
pub fn serve_if_asked() -> Option<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (first, rest) = args.split_first()?;
    if first != SERVE {
        return None;
    }
    let end = match rest.split_first() {
        Some((system, rest)) => serve(system, rest),
        None => Err(End::Failed("which system?".to_owned())),
    };
    Some(match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(End::Refused(message)) => {
            eprintln!("{message}");
            ExitCode::from(REFUSED as u8)
        }
        Err(End::Failed(message)) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    })
}

fn serve(system: &str, args: &[String]) -> Result<(), End> {
    let job = Job::from_args(args).map_err(End::Failed)?;
    let counters = Counters::from_stdin()?;
    match system {
        "naive" => Ok(naive::serve(&job, &counters)?),
        "squall" => squall::serve(&job, &counters),
        other => Err(End::Failed(format!("no system is called {other:?}"))),
    }
}
