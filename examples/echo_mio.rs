//! The same echo server on mio, edge-triggered: the second rung of the ladder.
//!
//! mio reports a change once. So a handler goes on until the kernel says `WouldBlock`; one that stops
//! before, to be fair, must remember that it did: nobody will remind it. That memory is `ready`, and a
//! reactor is little more. Nothing is re-armed, and a report that nobody deals with costs one turn;
//! but where `echo_raw` would spin by a mistake, this would hang. No timeouts. Next: `echo_squall`.
//!
//!     cargo run --example echo_mio                      printed  127.0.0.1:7007
//!     printf 'hello\n' | nc -N 127.0.0.1 7007           printed  hello

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{self, ErrorKind::*, Read, Write};
use std::{collections::BTreeSet, collections::HashMap, env, mem, process, time::Duration};

const LISTENER: Token = Token(0); // a connection's token is a number that is never used again
const BUDGET: usize = 16; // accepts or reads, then it is the others' turn

/// Why a handler stopped.
enum Next {
    Wait,  // the kernel said WouldBlock, so it will report
    Again, // the budget is spent: the kernel is silent from here
    Later, // no descriptor is free, and nothing will report that one is
    Done,
}

fn main() -> io::Result<()> {
    raise_open_file_limit();
    let listener = std::net::TcpListener::bind(address())?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let (mut listener, mut connections) = (TcpListener::from_std(listener), HashMap::new());
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut last_token, mut ready, mut full) = (LISTENER, BTreeSet::new(), false);
    loop {
        let pause = if ready.is_empty() { Duration::from_millis(100) } else { Duration::ZERO };
        match poll.poll(&mut events, (full || !ready.is_empty()).then_some(pause)) {
            Err(e) if e.kind() != Interrupted => return Err(e),
            _ => ready.extend(events.iter().map(|event| event.token())),
        }
        ready.extend(mem::take(&mut full).then_some(LISTENER));
        for token in mem::take(&mut ready) {
            let next = match connections.get_mut(&token) {
                Some(connection) => serve(connection),
                None if token != LISTENER => Next::Wait, // it has gone
                None => accept(&listener, poll.registry(), &mut connections, &mut last_token),
            };
            match next {
                Next::Wait => {}
                Next::Again => drop(ready.insert(token)),
                Next::Later => full = true,
                Next::Done => {
                    // Before the close: a duplicate of the descriptor would keep the entry alive.
                    let (mut stream, _) = connections.remove(&token).expect("it was just served");
                    poll.registry().deregister(&mut stream)?;
                }
            }
        }
    }
}

type Connections = HashMap<Token, (TcpStream, Vec<u8>)>; // with what is owed, at most one read

fn accept(from: &TcpListener, to: &Registry, all: &mut Connections, last: &mut Token) -> Next {
    for _ in 0..BUDGET {
        last.0 += 1;
        let accepted = from.accept().and_then(|(mut stream, _)| {
            to.register(&mut stream, *last, Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match accepted {
            Ok(stream) => drop(all.insert(*last, (stream, Vec::new()))),
            Err(e) if e.kind() == WouldBlock => return Next::Wait,
            Err(e) if e.kind() == ConnectionAborted => {}
            Err(_) => return Next::Later,
        }
    }
    Next::Again
}

/// Reads when nothing is owed and writes when something is, until one of them would block.
fn serve((stream, unsent): &mut (TcpStream, Vec<u8>)) -> Next {
    let mut input = [0; 16 * 1024];
    for _ in 0..BUDGET {
        if unsent.is_empty() {
            match stream.read(&mut input) {
                Ok(0) => return Next::Done, // the end, and nothing is owed
                Ok(n) => *unsent = input[..n].to_vec(),
                Err(e) => return if e.kind() == WouldBlock { Next::Wait } else { Next::Done },
            }
        }
        match stream.write(unsent) {
            Ok(n) => *unsent = unsent.split_off(n),
            Err(e) => return if e.kind() == WouldBlock { Next::Wait } else { Next::Done },
        }
    }
    Next::Again
}

fn address() -> String {
    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [] => "127.0.0.1:7007".into(),
        [option, address] if option == "--addr" => address.into(),
        _ => {
            println!("usage: echo_mio [--addr HOST:PORT], 127.0.0.1:7007 by default");
            process::exit((args != ["--help"]).into())
        }
    }
}

fn raise_open_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limit`, which is borrowed.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel only reads `limit`.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}
