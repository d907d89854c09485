//! An echo server on epoll itself, level-triggered: the first rung of a ladder of three.
//!
//! The kernel repeats a report while it is true, so one read and one write each do; what is not dealt
//! with is reported for ever, and burns a core. So a connection asks for input while it owes nothing,
//! for room while it does: who does not read is not read from. No timeouts here. Next: `echo_mio`.
//!
//!     cargo run --example echo_raw                      printed  127.0.0.1:7007
//!     printf 'hello\n' | nc -N 127.0.0.1 7007           printed  hello

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT};
use std::io::{self, ErrorKind::*, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{collections::HashMap, env, mem, os::fd::AsRawFd, os::fd::RawFd, process};

const LISTENER: u64 = 0; // a connection's token is a number that is never used again

fn main() -> io::Result<()> {
    raise_open_file_limit()?;
    let listener = TcpListener::bind(address())?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    // SAFETY: no pointer goes in.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    control(epoll, EPOLL_CTL_ADD, &listener, EPOLLIN, LISTENER)?;
    let (mut accepting, mut connections, mut last_token) = (true, HashMap::new(), LISTENER);
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    loop {
        let count = wait(epoll, &mut events, if accepting { -1 } else { 100 })?;
        if !mem::replace(&mut accepting, true) {
            control(epoll, EPOLL_CTL_ADD, &listener, EPOLLIN, LISTENER)?;
        }
        for token in events[..count].iter().map(|event| event.u64) {
            if token == LISTENER {
                last_token += 1;
                match accept(epoll, &listener, last_token) {
                    Ok(stream) => drop(connections.insert(last_token, (stream, Vec::new()))),
                    Err(e) if matches!(e.kind(), WouldBlock | ConnectionAborted) => {}
                    // No descriptor is free, and it stays readable: out for a turn, 100 ms at most.
                    Err(_) => {
                        control(epoll, EPOLL_CTL_DEL, &listener, 0, LISTENER)?;
                        accepting = false;
                    }
                }
            } else if let Some((stream, unsent)) = connections.get_mut(&token)
                && !serve(epoll, token, stream, unsent).unwrap_or(false)
            {
                // Before the close: a duplicate of the descriptor would keep the entry alive.
                control(epoll, EPOLL_CTL_DEL, stream, 0, token)?;
                connections.remove(&token);
            }
        }
    }
}

fn accept(epoll: RawFd, listener: &TcpListener, token: u64) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    control(epoll, EPOLL_CTL_ADD, &stream, EPOLLIN, token).map(|_| stream)
}

/// Reads once if nothing is owed, writes once, and says whether the connection goes on.
fn serve(epoll: RawFd, token: u64, peer: &mut TcpStream, unsent: &mut Vec<u8>) -> io::Result<bool> {
    let owed = !unsent.is_empty();
    if !owed {
        let mut input = [0; 16 * 1024];
        match peer.read(&mut input) {
            Ok(0) => return Ok(false), // the end, and nothing is owed; to go on would spin
            Ok(n) => *unsent = input[..n].to_vec(),
            Err(e) => return if e.kind() == WouldBlock { Ok(true) } else { Err(e) },
        }
    }
    match peer.write(unsent) {
        Ok(n) => *unsent = unsent.split_off(n),
        Err(e) if e.kind() == WouldBlock => {}
        Err(e) => return Err(e), // a reset, say; std writes with MSG_NOSIGNAL: no SIGPIPE
    }
    if owed == unsent.is_empty() {
        control(epoll, EPOLL_CTL_MOD, peer, if owed { EPOLLIN } else { EPOLLOUT }, token)?;
    }
    Ok(true)
}

fn control(epoll: RawFd, op: i32, fd: &impl AsRawFd, mask: i32, token: u64) -> io::Result<i32> {
    let mut event = libc::epoll_event { events: mask as u32, u64: token };
    // SAFETY: the kernel only reads `event`.
    check(unsafe { libc::epoll_ctl(epoll, op, fd.as_raw_fd(), &mut event) })
}

fn wait(epoll: RawFd, events: &mut [libc::epoll_event; 64], timeout_ms: i32) -> io::Result<usize> {
    // SAFETY: the kernel writes at most 64 events, for which there is room.
    match check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 64, timeout_ms) }) {
        Err(e) if e.kind() == Interrupted => Ok(0), // by a stop and a continue, say
        count => Ok(count? as usize),
    }
}

fn check(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

fn address() -> String {
    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [] => "127.0.0.1:7007".into(),
        [option, address] if option == "--addr" => address.into(),
        _ => {
            println!("usage: echo_raw [--addr HOST:PORT], 127.0.0.1:7007 by default");
            process::exit((args != ["--help"]).into())
        }
    }
}

fn raise_open_file_limit() -> io::Result<i32> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limit`, which is borrowed.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel only reads `limit`.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}
