//! systemd, played: sockets passed by number, and messages received on a Unix datagram socket.
//!
//! What a service reads from its environment is set for a process of its own: this program again,
//! with a part to play. A shell in between sets LISTEN_PID to the number that stays the service's.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Duration;

mod alone;

use alone::Case;
use squall_reactor::workers::activation::{Activated, Socket, listen_fds};
use squall_reactor::workers::notify;
use squall_reactor::{Error, Reactor, net};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("report") => return report(),
        Some("serve") => return serve(),
        Some("notify") => return tell(),
        _ => {}
    }
    let cases: &[Case] = &[
        ("each_kind_of_socket_is_passed_once", each_kind_of_socket_is_passed_once),
        ("what_was_passed_to_another_process_is_left", what_was_passed_to_another_process_is_left),
        ("a_descriptor_that_is_not_open_is_an_error", a_descriptor_that_is_not_open_is_an_error),
        ("a_passed_listener_serves", a_passed_listener_serves),
        ("systemd_socket_activate_is_understood", systemd_socket_activate_is_understood),
        ("systemd_socket_activate_names_each_socket", systemd_socket_activate_names_each_socket),
        ("systemd_hears_by_a_path", systemd_hears_by_a_path),
        ("systemd_hears_by_an_abstract_name", systemd_hears_by_an_abstract_name),
        ("nobody_wants_to_hear", nobody_wants_to_hear),
        ("nobody_listens_where_it_should", nobody_listens_where_it_should),
    ];
    alone::run(cases)
}

// The parts.

/// Prints what was passed, a line for each, and then what a second call gives.
fn report() -> ExitCode {
    let listened = match listen_fds() {
        Ok(listened) => listened,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for Activated { name, socket } in listened {
        let (kind, fd) = match socket {
            Socket::Tcp(socket) => ("tcp", OwnedFd::from(socket)),
            Socket::Udp(socket) => ("udp", socket.into()),
            Socket::Unix(socket) => ("unix", socket.into()),
            Socket::UnixDatagram(socket) => ("unix datagram", socket.into()),
            Socket::Other(fd) => ("other", fd),
            other => unreachable!("no other kind was passed: {other:?}"),
        };
        println!("{name} {kind} {}", flags(&fd));
    }
    println!("then {}", listen_fds().expect("the variables are still right").len());
    ExitCode::SUCCESS
}

/// Answers one connection on the listener that was passed.
fn serve() -> ExitCode {
    let socket = listen_fds().expect("a listener").remove(0).socket;
    let mut reactor = Reactor::new().expect("a reactor");
    let served = reactor.block_on(async {
        match socket {
            Socket::Tcp(listener) => {
                let listener = net::TcpListener::from_std(listener)?;
                listener.accept().await?.0.write_all(b"served").await
            }
            Socket::Unix(listener) => {
                let listener = net::UnixListener::from_std(listener)?;
                listener.accept().await?.write_all(b"served").await
            }
            other => unreachable!("a listener was passed, not {other:?}"),
        }
    });
    served.expect("nothing runs here yet").expect("a connection");
    ExitCode::SUCCESS
}

/// Says everything that there is to say; prints whether somebody wants to hear.
fn tell() -> ExitCode {
    let heard = || {
        Ok::<_, Error>([
            notify::status("serving")?,
            notify::ready()?,
            notify::watchdog()?,
            notify::reloading()?,
            notify::extend_timeout(Duration::from_millis(1500))?,
            notify::stopping()?,
        ])
    };
    match heard() {
        Ok(heard) => println!("{}", heard.iter().all(|heard| *heard)),
        Err(error) => println!("{error}"),
    }
    let interval = notify::watchdog_interval().expect("a number or nothing");
    println!("{interval:?}");
    ExitCode::SUCCESS
}

// The cases.

/// Broken by a descriptor that the children of the service inherit (it comes without close-on-exec),
/// and by one that blocks the loop.
fn each_kind_of_socket_is_passed_once() {
    let folder = Folder::new();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let unix = UnixListener::bind(folder.path("stream")).expect("a name");
    let datagram = UnixDatagram::bind(folder.path("datagram")).expect("a name");
    let (pipe, _writer) = io::pipe().expect("a pipe");
    let (connection, _peer) = UnixStream::pair().expect("a pair");
    let passed: [&dyn AsFd; 6] = [&tcp, &udp, &unix, &datagram, &pipe, &connection];
    let output = run(&passed, 6, "web:dns:admin::fifo:conn", "report");
    let expected = "web tcp nonblocking cloexec\n\
        dns udp nonblocking cloexec\n\
        admin unix nonblocking cloexec\n \
        unix datagram nonblocking cloexec\n\
        fifo other blocking cloexec\n\
        conn other blocking cloexec\n\
        then 0\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

fn what_was_passed_to_another_process_is_left() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let mut service = service(&[&tcp], "report");
    service.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let output = service.output().expect("this program");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "then 0\n");
}

/// Broken by a range that is believed: the next file that is opened would be taken for a socket.
fn a_descriptor_that_is_not_open_is_an_error() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let output = run(&[&tcp], 2, "a:b", "report");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("fcntl(F_SETFD) failed: Bad file descriptor"), "{text}");
}

fn a_passed_listener_serves() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let mut client = TcpStream::connect(tcp.local_addr().expect("an address")).expect("a listener");
    let output = run(&[&tcp], 1, "web", "serve");
    assert!(output.status.success(), "{output:?}");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer");
    assert_eq!(text, "served");
}

/// The real thing, where it is installed.
fn systemd_socket_activate_is_understood() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let Some(mut activate) = systemd_socket_activate("web", &[&path], "serve") else { return };
    let mut client = connected(&mut activate, &path);
    // It starts the service when there is a connection, and becomes it.
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer");
    assert_eq!(text, "served");
    assert!(activate.wait().expect("our child").success());
}

/// And its names, in the order of the sockets.
fn systemd_socket_activate_names_each_socket() {
    let folder = Folder::new();
    let (web, admin) = (folder.path("web"), folder.path("admin"));
    let Some(mut activate) = systemd_socket_activate("web:admin", &[&web, &admin], "report") else {
        return;
    };
    let _client = connected(&mut activate, &admin);
    let output = activate.wait_with_output().expect("our child");
    let text = "web unix nonblocking cloexec\nadmin unix nonblocking cloexec\nthen 0\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), text);
}

/// This program in a part, started by the first connection to one of these; `None` where there is
/// no systemd.
fn systemd_socket_activate(names: &str, paths: &[&PathBuf], part: &str) -> Option<Child> {
    let mut activate = Command::new("systemd-socket-activate");
    activate.arg(format!("--fdname={names}"));
    paths.iter().for_each(|path| {
        activate.arg("-l").arg(path);
    });
    activate.arg(env::current_exe().expect("this program")).arg(part);
    match activate.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(activate) => Some(activate),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("skipped: systemd-socket-activate is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A connection, as soon as it listens there.
fn connected(activate: &mut Child, path: &PathBuf) -> UnixStream {
    loop {
        if let Ok(client) = UnixStream::connect(path) {
            return client;
        }
        assert!(activate.try_wait().expect("our child").is_none(), "it listens nowhere");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn systemd_hears_by_a_path() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let systemd = UnixDatagram::bind(&path).expect("a name");
    hears(&systemd, path.as_os_str());
}

fn systemd_hears_by_an_abstract_name() {
    let name = format!("squall-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let systemd = UnixDatagram::bind_addr(&address).expect("a name");
    hears(&systemd, format!("@{name}").as_ref());
}

fn hears(systemd: &UnixDatagram, address: &OsStr) {
    let mut service = service(&[], "notify");
    service.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "2000000");
    let output = service.output().expect("this program");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "true\nSome(2s)\n");
    systemd.set_nonblocking(true).expect("all of it is there");
    let mut messages = std::iter::from_fn(|| {
        let mut buf = [0; 256];
        let n = systemd.recv(&mut buf).ok()?;
        Some(String::from_utf8_lossy(&buf[..n]).into_owned())
    });
    let mut next = || messages.next().expect("a message");
    assert_eq!(next(), "STATUS=serving");
    assert_eq!(next(), "READY=1");
    assert_eq!(next(), "WATCHDOG=1");
    let reloading = next();
    let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both lines");
    assert!(usec.parse::<u64>().expect("a number") > 0);
    assert_eq!(next(), "EXTEND_TIMEOUT_USEC=1500000");
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(messages.next(), None);
}

fn nobody_wants_to_hear() {
    let output = service(&[], "notify").output().expect("this program");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "false\nNone\n");
}

fn nobody_listens_where_it_should() {
    let folder = Folder::new();
    for (address, said) in [
        (folder.path("nobody").into_os_string(), "sendto failed: No such file"),
        ("vsock:2:1".into(), "an address is a path, or @ and an abstract name"),
    ] {
        let mut service = service(&[], "notify");
        let output = service.env("NOTIFY_SOCKET", address).output().expect("this program");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with(said), "{text}");
    }
}

// What systemd does.

/// This program in a part, with these descriptors as 3, 4 and so on. Nothing else is inherited.
fn service(passed: &[&dyn AsFd], part: &str) -> Command {
    // Out of the way of the numbers that they get.
    let high: Vec<OwnedFd> =
        passed.iter().map(|fd| duplicate_above(fd.as_fd().as_raw_fd())).collect();
    let mut service = Command::new("sh");
    service.args(["-c", "LISTEN_PID=${LISTEN_PID:-$$} exec \"$0\" \"$1\""]);
    service.arg(env::current_exe().expect("this program")).arg(part);
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
        service.env_remove(variable);
    }
    let place = move || {
        for (fd, number) in high.iter().zip(3..) {
            // SAFETY: async-signal-safe, and touches no memory; close-on-exec is left out in the copy.
            if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        for number in 3 + high.len() as RawFd..100 {
            // SAFETY: async-signal-safe, and touches no memory; most of these are not open.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        Ok(())
    };
    // SAFETY: `place` calls dup2, fcntl, and nothing else.
    unsafe { service.pre_exec(place) };
    service
}

fn run(passed: &[&dyn AsFd], count: usize, names: &str, part: &str) -> Output {
    let mut service = service(passed, part);
    service.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
    service.output().expect("this program")
}

fn duplicate_above(fd: RawFd) -> OwnedFd {
    // SAFETY: touches no memory; the descriptor is open.
    let high = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 100) };
    assert!(high >= 100, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just made it, and nobody else knows it.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(high) }
}

fn flags(fd: &OwnedFd) -> String {
    // SAFETY: touches no memory; the descriptor is open.
    let status = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    let own = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    let mode = if status & libc::O_NONBLOCK == 0 { "blocking" } else { "nonblocking" };
    let exec = if own & libc::FD_CLOEXEC == 0 { "inherited" } else { "cloexec" };
    format!("{mode} {exec}")
}

/// A folder of this process for names of sockets.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("squall-activation-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
