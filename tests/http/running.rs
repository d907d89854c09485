//! An example as a process of its own: `http_server`, or another that prints where it listens.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use squall_support::child::Child;
use squall_support::proc::descriptors;

use super::{Client, wait_until};

/// The example, which is killed with its workers when this is dropped.
pub struct Running {
    pub child: Child,
    pub addr: SocketAddr,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::start_as(Command::new(example("http_server")), args)
    }

    /// Another example, with more to its command.
    pub fn example(name: &str, more: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(example(name));
        more(&mut command);
        Self::start_as(command, &[])
    }

    /// A command that starts one of them, from another place or in another environment.
    pub fn start_as(mut command: Command, args: &[&str]) -> Self {
        command.args(["--addr", "127.0.0.1:0"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::spawn(&mut command).expect("the example is built");
        let stdout = child.stdout().expect("it is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let addr = line.trim_end().parse();
        let addr = addr.unwrap_or_else(|error| panic!("it printed {line:?} first: {error}"));
        Running { child, addr }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A connection on which this has been asked.
    pub fn get(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    }

    pub fn descriptors(&self) -> usize {
        descriptors(self.child.pid()).expect("it lives")
    }

    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.pid()));
        let status = status.expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|value| value.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("RssAnon is in KiB (proc_pid_status(5))")
    }

    /// The workers' pids, once there are so many.
    pub fn workers(&self, count: usize) -> Vec<u32> {
        let file = format!("/proc/{0}/task/{0}/children", self.child.pid());
        let mut pids = Vec::new();
        wait_until("the workers", || {
            let text = fs::read_to_string(&file).expect("it lives");
            pids = text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
            if pids.len() == count { Ok(()) } else { Err(pids.clone()) }
        });
        pids
    }

    pub fn exit(&self) -> ExitStatus {
        let mut status = None;
        wait_until("the exit", || {
            status = self.child.exit_status().expect("a child");
            status.map(|_| ()).ok_or("it runs")
        });
        status.expect("it has ended")
    }
}

/// Builds the example, once (a test has one), for the profile and the target directory of this test, which stands
/// in TARGET/PROFILE/deps. `cargo test` builds it anyway, `cargo test --test http_server` not.
pub fn example(name: &str) -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let test = env::current_exe().expect("this test is a file");
        let profile_dir = test.ancestors().nth(2).expect("it is in TARGET/PROFILE/deps");
        let target_dir = profile_dir.parent().expect("it is in TARGET/PROFILE/deps");
        let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", name, "--profile", profile]);
        build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
        build.arg("--target-dir").arg(target_dir);
        let built = build.output().expect("cargo runs");
        let why = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "this failed: {build:?}\n{why}");
        profile_dir.join("examples").join(name)
    });
    assert!(path.ends_with(name), "{name} is the second example of this test");
    path
}
