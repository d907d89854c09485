//! A test harness for code that forks: each case is a process of its own, with one thread.
//!
//! The test binaries with `harness = false` share it. libtest runs tests in threads, which is what
//! `fork_workers` refuses; here the binary starts itself again for each case. It understands a
//! name to filter by, `--exact`, `--skip` and `--list`, and passes over what else cargo hands on.

// Each binary compiles this file and uses a part of it.
#![allow(dead_code)]

use std::env;
use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio, exit};
use std::thread::sleep;
use std::time::Duration;

/// A sentence, and what must hold.
pub type Case = (&'static str, fn());

/// Runs the cases that the arguments ask for, or the one that this process was started for.
pub fn run(cases: &[Case]) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--case"
    {
        let (_, case) = cases.iter().find(|(known, _)| known == name).expect("a known case");
        // A case that hangs is ended by SIGALRM, and its workers with it.
        // SAFETY: touches no memory.
        unsafe { libc::alarm(60) };
        case();
        return ExitCode::SUCCESS;
    }
    let wish = Wish::new(&arguments);
    let (wanted, out): (Vec<&Case>, Vec<&Case>) =
        cases.iter().partition(|(name, _)| wish.wants(name));
    if wish.list {
        wanted.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let failed = wanted.iter().filter(|(name, _)| !passes(name)).count();
    println!("{} passed, {failed} failed, {} filtered out", wanted.len() - failed, out.len());
    ExitCode::from(u8::from(failed > 0))
}

/// A case leads a process group, so that what it leaves behind, when it fails, ends with it.
fn passes(name: &str) -> bool {
    let program = env::current_exe().expect("the path of this program");
    let mut case = Command::new(program)
        .args(["--case", name])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start of a case");
    let status = case.wait().expect("the case is our child");
    kill(-(case.id() as libc::pid_t), libc::SIGKILL);
    let output = case.wait_with_output().expect("what the case has printed");
    println!("test {name} ... {}", if status.success() { "ok" } else { "FAILED" });
    if !status.success() {
        println!("---- {name}: {status}");
        println!("{}", String::from_utf8_lossy(&output.stdout));
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    status.success()
}

/// What cargo's arguments ask for.
#[derive(Default)]
struct Wish {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    nothing: bool,
}

impl Wish {
    fn new(arguments: &[String]) -> Self {
        let mut wish = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => wish.list = true,
                "--exact" => wish.exact = true,
                "--ignored" => wish.nothing = true,
                "--skip" => wish.skips.extend(arguments.next().cloned()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    arguments.next();
                }
                flag if flag.starts_with('-') => {}
                filter => wish.filters.push(filter.to_owned()),
            }
        }
        wish
    }

    fn wants(&self, name: &str) -> bool {
        let fits =
            |filter: &String| if self.exact { name == filter } else { name.contains(filter) };
        !self.nothing
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skips.iter().any(fits)
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(c_int),
}

/// Forks; the child runs `life` and ends with its code, or 101 if it panics.
pub fn fork(life: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: a case has one thread when it forks, so the child may do anything; it ends in `lead`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 { lead(life) } else { pid }
}

/// As [`fork`], by the bare system call: no atfork handler hears of it.
#[cfg(target_os = "linux")]
pub fn raw_clone(life: impl FnOnce() -> i32) -> libc::pid_t {
    let (flags, none) = (libc::SIGCHLD as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: without CLONE_VM and with no new stack this is fork(2): the child has its own memory.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    assert!(pid >= 0, "clone: {}", std::io::Error::last_os_error());
    if pid == 0 { lead(life) } else { pid as libc::pid_t }
}

/// As [`fork`], by `_Fork` of POSIX 2024, where the C library has it.
pub fn bare_fork(life: impl FnOnce() -> i32) -> Option<libc::pid_t> {
    // SAFETY: the name ends with a zero byte.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Fork".as_ptr()) };
    if address.is_null() {
        return None;
    }
    // SAFETY: `_Fork` takes nothing and returns a pid_t (POSIX.1-2024).
    let function: extern "C" fn() -> libc::pid_t = unsafe { std::mem::transmute(address) };
    let pid = function();
    assert!(pid >= 0, "_Fork: {}", std::io::Error::last_os_error());
    if pid == 0 { lead(life) } else { Some(pid) }
}

fn lead(life: impl FnOnce() -> i32) -> ! {
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life)).unwrap_or(101);
    exit(code)
}

/// Reaps a child.
pub fn wait(pid: libc::pid_t) -> Exit {
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid, "waitpid: {}", std::io::Error::last_os_error());
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

/// True if this process has no child at all, not even an unreaped one.
pub fn childless() -> bool {
    // SAFETY: a null status is allowed, and nothing else is touched.
    let found = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    found == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD)
}

/// Sends a signal (to a group if the number is negative); false if there is no such process.
pub fn kill(pid: libc::pid_t, signal: c_int) -> bool {
    // SAFETY: touches no memory.
    let sent = unsafe { libc::kill(pid, signal) };
    sent == 0
}

pub fn own_pid() -> libc::pid_t {
    std::process::id() as libc::pid_t
}

pub fn parent_pid() -> libc::pid_t {
    std::os::unix::process::parent_id() as libc::pid_t
}

/// Sets a signal's disposition to SIG_IGN or SIG_DFL; returns the one before.
pub fn dispose(signal: c_int, disposition: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: only SIG_IGN and SIG_DFL are passed, which run no code.
    unsafe { libc::signal(signal, disposition) }
}

/// What a signal's disposition is now.
pub fn disposition(signal: c_int) -> libc::sighandler_t {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `now` lives until the call returns; a null second argument only asks.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    assert_eq!(asked, 0);
    // SAFETY: the kernel has filled it.
    let now = unsafe { now.assume_init() };
    now.sa_sigaction
}

/// Blocks a signal in this thread.
pub fn block(signal: c_int) {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set is initialised and only read.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
}

/// The signals that this thread blocks, as the kernel prints them.
pub fn blocked() -> String {
    status("self", "SigBlk:")
}

/// One line's value in `/proc/PID/status`.
pub fn status(pid: &str, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a known key");
    line.trim().to_owned()
}

/// True if a read would not block; waits for at most `ms` (-1: without end).
pub fn readable(fd: impl AsFd, ms: c_int) -> bool {
    let fd = fd.as_fd().as_raw_fd();
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: `entry` lives until the call returns, and it is the one entry announced.
        let ready = unsafe { libc::poll(&raw mut entry, 1, ms) };
        if ready >= 0 {
            return ready == 1;
        }
    }
}

/// A pipe of numbers between the processes of a case: small writes are atomic (pipe(7)).
pub struct Wire {
    reader: Option<File>,
    writer: Option<File>,
}

impl Wire {
    pub fn new() -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let file = |fd: std::os::fd::OwnedFd| Some(File::from(fd));
        Self { reader: file(reader.into()), writer: file(writer.into()) }
    }

    pub fn send(&self, number: i32) {
        let mut writer = self.writer.as_ref().expect("this process writes");
        writer.write_all(&number.to_ne_bytes()).expect("a reader");
    }

    /// The next number; none when every writer has closed its end, so close yours first.
    pub fn receive(&self) -> Option<i32> {
        let mut number = [0; 4];
        let mut reader = self.reader.as_ref().expect("this process reads");
        reader.read_exact(&mut number).ok().map(|()| i32::from_ne_bytes(number))
    }

    /// All numbers until every writer has closed its end, this process's included.
    pub fn rest(&mut self) -> Vec<i32> {
        self.close_writer();
        std::iter::from_fn(|| self.receive()).collect()
    }

    pub fn close_writer(&mut self) {
        self.writer = None;
    }

    /// Blocks for ever, or until every writer has closed its end.
    pub fn hold(&mut self) {
        self.close_writer();
        while self.receive().is_some() {}
    }
}

/// Blocks until a signal ends this process.
pub fn sleep_for_ever() -> ! {
    loop {
        sleep(Duration::from_secs(3600));
    }
}
