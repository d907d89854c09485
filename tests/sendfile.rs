//! `send_file`: all of a file arrives, whatever the peer does, and its end is no full socket.

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use squall_reactor::net::TcpStream;
use squall_reactor::{Handle, Reactor, Side, timeout};

/// What does not come within a minute never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Broken by a send that forgets where it was when the socket was full, or is not woken again.
#[test]
fn twenty_mebibytes_arrive_whole_and_the_files_position_stays() {
    let text: Vec<u8> = (0..20_u32 << 20).map(|n| (n % 251) as u8).collect();
    let mut file = file(&text);
    file.seek(SeekFrom::Start(7)).expect("a regular file");
    run(async {
        let (ours, mut theirs) = pair();
        let reader = std::thread::spawn(move || {
            let mut back = Vec::new();
            theirs.read_to_end(&mut back).map(|_| back)
        });
        let (mut sent, mut calls) = (0, 0);
        while sent < text.len() {
            let left = text.len() - sent;
            sent += soon(ours.send_file(&file, sent as u64, left)).await.expect("a reader");
            calls += 1;
        }
        assert_eq!(sent, text.len());
        assert!(calls >= 10, "one call moves 2 MiB at most, but {calls} moved all");
        drop(ours);
        let back = reader.join().expect("it only reads").expect("our end");
        assert!(back == text, "{} bytes arrived, or others", back.len());
    });
    assert_eq!(file.stream_position().expect("a regular file"), 7);
}

/// Broken by taking a short send for a full socket, as is right for `write` (law 3): the file had
/// ended, no event follows, and the next write would wait for ever.
#[test]
fn law_03_a_file_that_ends_early_does_not_close_the_way_for_the_next_write() {
    let file = file(b"short");
    run(async {
        let (ours, mut theirs) = pair();
        // Only a source that is registered for room remembers anything.
        while ours.try_write(&[0; 65536]).is_ok() {}
        let handle = Handle::current().expect("a reactor runs");
        let full = handle.spawn(async move {
            ours.ready(Side::Write).await.expect("room, once the peer has read");
            ours
        });
        squall_reactor::yield_now().await;
        theirs.set_nonblocking(true).expect("nonblocking mode");
        let drained = async {
            while !full.is_finished() {
                while theirs.read(&mut [0; 65536]).is_ok() {}
                squall_reactor::yield_now().await;
            }
        };
        soon(drained).await;
        let ours = full.await.expect("it did not panic");
        // Asked for a hundred bytes, the file has five.
        assert_eq!(soon(ours.send_file(&file, 0, 100)).await.expect("room"), 5);
        assert_eq!(soon(ours.write(b"next")).await.expect("room"), 4);
        assert_eq!(soon(ours.send_file(&file, 5, 100)).await.expect("the end"), 0);
    });
}

#[test]
fn a_full_socket_is_would_block_and_a_pipe_is_no_file() {
    let file = file(&[7; 1 << 20]);
    run(async {
        let (ours, _theirs) = pair();
        let full = std::iter::repeat_with(|| ours.try_send_file(&file, 0, 1 << 20));
        let error = full.take(1000).find_map(Result::err).expect("nobody reads");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let (ours, _theirs) = pair();
        let (pipe, _writer) = io::pipe().expect("a pipe");
        let pipe = File::from(OwnedFd::from(pipe));
        let error = ours.try_send_file(&pipe, 0, 1).expect_err("a pipe has no offset");
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock), "{error}");
        let far = ours.try_send_file(&file, u64::MAX, 1).expect_err("no file is so long");
        assert_eq!(far.raw_os_error(), Some(libc::EOVERFLOW));
    });
}

/// A regular file without a name.
fn file(text: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!(
        "squall-sendfile-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut options = File::options();
    let mut file = options.read(true).write(true).create_new(true).open(&path).expect("a file");
    std::fs::remove_file(path).expect("our file");
    file.write_all(text).expect("room on the disk");
    file
}

/// Ours in the reactor's hands, theirs blocking.
fn pair() -> (TcpStream, std::net::TcpStream) {
    let pair = || -> io::Result<_> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let theirs = std::net::TcpStream::connect(listener.local_addr()?)?;
        Ok((TcpStream::from_std(listener.accept()?.0)?, theirs))
    };
    pair().expect("a connection to ourselves")
}

fn run(test: impl Future<Output = ()>) {
    Reactor::new().expect("a reactor").block_on(test).expect("nothing runs here yet");
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes within a minute")
}
