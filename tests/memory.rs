//! What an idle keep-alive connection costs: at most 400 bytes, whatever its handler's future holds.
//!
//! The allocator counts what the server's thread has allocated and not freed; the clients are in
//! this process but on another thread, and hold no memory that it could count. What the kernel
//! keeps for a socket is not ours. A binary of its own, because the allocator is the process's.

mod http;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Write};
use std::time::Duration;

use http::{Client, TestServer, wait_until};
use squall_http::{Request, Response, Server};
use squall_reactor::{sleep, yield_now};
use squall_support::limits::raise_open_files;

const CONNECTIONS: usize = 2000;
const MAX_BYTES_EACH: usize = 400;

/// Broken by a buffer, a handler's future or a timer of its own that an idle connection keeps.
#[test]
fn an_idle_connection_takes_at_most_400_bytes_whatever_its_handler_holds() {
    raise_open_files().expect("a higher soft limit");
    let server = TestServer::start(|| Server::new(holds_8_kib));
    // What the first connection makes, the server keeps for all.
    drop(served(&server));
    server.comes_to_rest();
    let before = server.ask(|_, _| live_bytes());
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| served(&server)).collect();
    assert_eq!(server.connections(), CONNECTIONS);
    let grown = server.ask(|_, _| live_bytes()) - before;
    let each = grown as usize / CONNECTIONS;
    // Past the capture of print macros: the figure is worth seeing.
    let _ = writeln!(io::stderr(), "an idle connection takes {each} bytes");
    drop(clients);
    assert!(each <= MAX_BYTES_EACH, "{each} bytes for an idle connection");
}

/// Broken by free lists without a bound: after a burst, memory that only the burst needed.
#[test]
fn a_burst_leaves_free_lists_of_bounded_length() {
    const LISTED: usize = 256;
    const MAX_BYTES_LISTED: usize = 48 << 10;
    raise_open_files().expect("a higher soft limit");
    let server = TestServer::start(|| Server::new(waits_for_all));
    let before = server.ask(|_, _| live_bytes());
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    for client in &mut clients {
        assert_eq!(client.answer("GET").status, 200);
    }
    let grown = (server.ask(|_, _| live_bytes()) - before) as usize;
    let _ = writeln!(io::stderr(), "a burst of {CONNECTIONS} leaves {} KiB", grown >> 10);
    assert!(grown <= CONNECTIONS * MAX_BYTES_EACH + LISTED * MAX_BYTES_LISTED, "{grown} bytes");
}

/// Broken by a workspace that a connection keeps while it lingers: a refused client would hold 32 KiB for
/// two seconds, and cost nothing but one wrong line.
#[test]
fn five_hundred_lingering_connections_hold_no_buffers() {
    const LINGERING: usize = 500;
    raise_open_files().expect("a higher soft limit");
    let server = TestServer::start(|| Server::new(holds_8_kib));
    drop(refused(&server));
    wait_until("the first one's end", || match server.connections() {
        0 => Ok(()),
        open => Err(open),
    });
    let before = server.ask(|_, _| live_bytes());
    // They linger for two seconds; a slow machine may need another try to have that many at once.
    for attempt in 1.. {
        let clients: Vec<Client> = (0..LINGERING).map(|_| refused(&server)).collect();
        let (open, live) = server.ask(|_, serving| (serving.connections(), live_bytes()));
        drop(clients);
        let grown = (live - before) as usize;
        let _ = writeln!(io::stderr(), "{open} that linger take {grown} bytes");
        assert!(grown <= LINGERING * MAX_BYTES_EACH, "{grown} bytes for {open}");
        if open > LINGERING / 2 {
            break;
        }
        assert!(attempt < 20, "{open} linger");
    }
}

/// A connection after a request that is refused: it has its answer and the server's FIN, and says
/// nothing more.
fn refused(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\nHost: a\n\n");
    assert_eq!(client.answer("GET").status, 400);
    client.expect_end();
    client
}

/// A connection after one request.
fn served(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").status, 200);
    client
}

async fn holds_8_kib(request: &mut Request<'_>) -> Response {
    let mut state = [0u8; 8 << 10];
    state[request.path().len()] = 1;
    yield_now().await;
    Response::text(state.iter().map(|byte| u32::from(*byte)).sum::<u32>().to_string())
}

thread_local! {
    static IN_HANDLER: Cell<usize> = const { Cell::new(0) };
}

/// Answers nobody before everybody has asked.
async fn waits_for_all(request: &mut Request<'_>) -> Response {
    IN_HANDLER.set(IN_HANDLER.get() + 1);
    let state = [request.path().len(); 1 << 10]; // 8 KiB
    while IN_HANDLER.get() < CONNECTIONS {
        sleep(Duration::from_millis(5)).await;
    }
    Response::text(state.iter().sum::<usize>().to_string())
}

/// Counts what each thread has allocated and not freed.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

fn live_bytes() -> isize {
    LIVE_BYTES.get()
}

fn count(bytes: isize) {
    LIVE_BYTES.set(LIVE_BYTES.get() + bytes);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, new_size) }
    }
}
