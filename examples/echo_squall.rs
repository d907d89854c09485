//! The same echo server on Squall, twice: the third rung of the ladder.
//!
//! By callbacks it is `echo_mio` without its `ready` set: the reactor remembers what is unread, and the
//! callback says why it stopped. By futures the state machine is gone: the compiler writes it. In
//! neither is there a token, a map of connections, or a registration to end by hand.
//!
//!     cargo run --example echo_squall                           printed  127.0.0.1:7007
//!     cargo run --example echo_squall -- --style futures        the same by futures
//!     printf 'hello\n' | nc -N 127.0.0.1 7007                   printed  hello

use std::io::{self, ErrorKind::WouldBlock};
use std::net::SocketAddr;
use std::time::Duration;

use squall_reactor::net::{TcpListener, TcpStream};
use squall_reactor::{Answer, Handle, Interest, Next, Reactor, Ready, Trigger, sleep};
use squall_support::{args::Args, limits::raise_open_files};

const BUDGET: usize = 16; // reads, then it is the others' turn
const REST: Duration = Duration::from_millis(100); // no descriptor is free, and nothing reports that one is

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::new("echo_squall", "Echoes what it receives, on Squall.")
        .option("--addr", "HOST:PORT", "where to listen [127.0.0.1:7007]")
        .option("--style", "STYLE", "callbacks or futures [callbacks]")
        .parse();
    raise_open_files()?;
    let addr: SocketAddr = args.value("--addr").unwrap_or(([127, 0, 0, 1], 7007).into());
    let listener = TcpListener::bind(addr)?;
    println!("{}", listener.local_addr()?);
    let mut reactor = Reactor::new()?;
    match args.text("--style").unwrap_or("callbacks") {
        "callbacks" => {
            let handle = reactor.handle();
            let accept =
                move |listener: &TcpListener, ready: Ready| accept(&handle, listener, ready);
            let registered =
                reactor.handle().register(listener, Interest::READABLE, Trigger::Level, accept);
            registered.map_err(|(error, _)| error)?.detach();
            Ok(reactor.run()?)
        }
        "futures" => Ok(reactor.block_on(serve(listener))??),
        other => Err(format!("no style is called {other:?}: callbacks or futures").into()),
    }
}

/// A listener's callback: one connection for each report, for the kernel repeats itself.
fn accept(handle: &Handle, listener: &TcpListener, ready: Ready) -> Next {
    match listener.try_accept() {
        Ok((stream, _)) => {
            let mut unsent = Vec::new(); // what is owed, at most one read
            let echo = move |stream: &TcpStream, _: Ready| echo(stream, &mut unsent);
            // Interest in both is free on TCP under edge triggering.
            if let Ok(connection) = handle.register(stream, Interest::BOTH, Trigger::Edge, echo) {
                connection.detach(); // `Done` closes it
            }
            Next::Wait
        }
        Err(e) if matches!(e.kind(), WouldBlock | io::ErrorKind::ConnectionAborted) => Next::Wait,
        Err(_) => {
            let (resume, token) = (handle.clone(), ready.token());
            match handle.after(REST, move || drop(resume.resume(token))) {
                Ok(_) => Next::Pause,
                Err(_) => Next::Done,
            }
        }
    }
}

/// A connection's callback: reads when nothing is owed and writes when something is, until one of
/// them would block.
fn echo(stream: &TcpStream, unsent: &mut Vec<u8>) -> Answer {
    let mut input = [0; 16 * 1024];
    for _ in 0..BUDGET {
        let result = if unsent.is_empty() {
            match stream.try_read(&mut input) {
                Ok(0) => return Next::Done.progress(true), // the end, and nothing is owed
                read => read.map(|n| *unsent = input[..n].to_vec()),
            }
        } else {
            stream.try_write(unsent).map(|n| *unsent = unsent.split_off(n))
        };
        match result {
            Ok(()) => {}
            Err(e) if e.kind() == WouldBlock => return Next::Wait.into(),
            Err(_) => return Next::Done.progress(true),
        }
    }
    Next::Again.into()
}

/// By futures: a task that accepts, and one for each connection.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let handle = Handle::current()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => handle.spawn_detached(async move { drop(echo_all(stream).await) }),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(REST).await,
        }
    }
}

async fn echo_all(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 16 * 1024];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}
