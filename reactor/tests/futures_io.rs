//! The traits of futures-io on streams and pipes, as generic code uses them.
//!
//! `cargo test -p squall-reactor --features futures-io --test futures_io`

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, Result};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use futures_lite::future::{poll_fn, poll_once, yield_now, zip};
use futures_lite::io::{copy, split};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use squall_reactor::net::{TcpListener, TcpStream, UnixStream};
use squall_reactor::{Handle, Reactor, pipe};

/// More than the buffers of two sockets hold.
const MUCH: usize = 8 << 20;

/// Runs `test`, which must not fail.
fn block_on<F: Future>(test: F) -> F::Output {
    Reactor::new().expect("a reactor").block_on(test).expect("nothing runs here yet")
}

async fn tcp_pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

/// Only the traits: the stream's own methods of the same names would come first.
fn only<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> impl AsyncRead + AsyncWrite + Unpin {
    stream
}

/// Bytes that are all different from their neighbours, so that a lost or doubled part shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// A generic echo server and client: the client closes its half, and the copy ends.
async fn echo<S>(client: S, server: S) -> Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let echo = Handle::current().expect("inside").spawn(async move {
        let (reader, mut writer) = split(server);
        copy(reader, &mut writer).await?;
        writer.close().await
    });
    let (mut reader, mut writer) = split(client);
    let sent = pattern(MUCH);
    let write = async {
        writer.write_all(&sent).await?;
        writer.close().await
    };
    let mut text = Vec::new();
    let (wrote, read) = zip(write, reader.read_to_end(&mut text)).await;
    wrote?;
    read?;
    echo.await.expect("it does not panic")?;
    assert!(text == sent, "what came back is what was sent");
    Ok(text)
}

/// Broken if a generic copy loses bytes, hangs under back-pressure, or never hears the end.
#[test]
fn a_generic_copy_echoes_eight_megabytes_over_tcp_and_ends() {
    let text = block_on(async {
        let (client, server) = tcp_pair().await?;
        echo(client, server).await
    });
    assert_eq!(text.expect("echoed").len(), MUCH);
}

#[test]
fn a_generic_copy_echoes_eight_megabytes_over_a_unix_socket_and_ends() {
    let text = block_on(async {
        let (client, server) = UnixStream::pair()?;
        echo(client, server).await
    });
    assert_eq!(text.expect("echoed").len(), MUCH);
}

/// A writer writes until nobody takes any more: it is pending with a part written, and what was
/// said to be written is exactly what comes out.
#[test]
fn back_pressure_makes_a_write_partial_and_then_pending() {
    block_on(async {
        let (client, mut server) = tcp_pair().await?;
        let (sent, mut written, mut partial) = (pattern(MUCH), 0, false);
        while let Some(n) = poll_once(only(&client).write(&sent[written..])).await {
            let n = n?;
            partial |= written + n < MUCH;
            written += n;
        }
        assert!(partial && written < MUCH, "{written} bytes without a reader");
        let mut text = vec![0; written];
        server.read_exact(&mut text).await?;
        assert!(text == sent[..written]);
        // The room that was made is heard of.
        let mut rest = vec![0; MUCH - written];
        let mut writer = only(&client);
        let (wrote, read) =
            zip(writer.write_all(&sent[written..]), server.read_exact(&mut rest)).await;
        wrote?;
        read?;
        assert!(rest == sent[written..]);
        Result::Ok(())
    })
    .expect("no error");
}

/// Broken if the borrowed stream needed a lock: each half waits in a task of its own.
#[test]
fn two_tasks_use_both_halves_of_a_shared_stream_at_once() {
    block_on(async {
        let (client, server) = tcp_pair().await?;
        let (client, server) = (Rc::new(client), Rc::new(server));
        let handle = Handle::current().expect("inside");
        let mut tasks = Vec::new();
        for stream in [client, server] {
            let reader = Rc::clone(&stream);
            tasks.push(handle.spawn(async move {
                let mut text = Vec::new();
                only(&*reader).read_to_end(&mut text).await?;
                Ok(text.len())
            }));
            tasks.push(handle.spawn(async move {
                only(&*stream).write_all(&pattern(MUCH)).await?;
                only(&*stream).close().await?;
                Result::Ok(MUCH)
            }));
        }
        for task in tasks {
            assert_eq!(task.await.expect("no panic")?, MUCH);
        }
        Result::Ok(())
    })
    .expect("no error");
}

/// Law 3 through the trait: two tasks wait on one side, and one message wakes both.
#[test]
fn law_03_all_tasks_that_wait_on_one_side_are_woken() {
    block_on(async {
        let (client, server) = tcp_pair().await?;
        let server = Rc::new(server);
        let heard = Rc::new(Cell::new(0));
        let handle = Handle::current().expect("inside");
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let (server, heard) = (Rc::clone(&server), Rc::clone(&heard));
                handle.spawn(async move {
                    let n = only(&*server).read(&mut [0; 1]).await?;
                    heard.set(heard.get() + n);
                    Result::Ok(())
                })
            })
            .collect();
        yield_now().await; // both wait
        only(&client).write_all(b"ab").await?;
        for task in waiting {
            task.await.expect("no panic")?;
        }
        assert_eq!(heard.get(), 2);
        Result::Ok(())
    })
    .expect("no error");
}

/// A read that was given up has taken nothing.
#[test]
fn a_dropped_read_loses_nothing() {
    block_on(async {
        let (client, server) = tcp_pair().await?;
        let mut buf = [0; 4];
        assert!(poll_once(only(&server).read(&mut buf)).await.is_none());
        only(&client).write_all(b"kept").await?;
        only(&server).read_exact(&mut buf).await?;
        assert_eq!(&buf, b"kept");
        Result::Ok(())
    })
    .expect("no error");
}

/// poll_close is a half-close: the peer reads the end and can still answer.
#[test]
fn closing_ends_one_half_and_the_other_goes_on() {
    block_on(async {
        let (mut client, mut server) = tcp_pair().await?;
        client.close().await?;
        assert_eq!(AsyncReadExt::read(&mut server, &mut [0; 8]).await?, 0);
        AsyncWriteExt::write_all(&mut server, b"answer").await?;
        server.close().await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "answer");
        // Both have ended, the connection with them: to end again is no error.
        client.close().await?;
        server.close().await?;
        let written = only(&client).write(b"late").await.map_err(|error| error.kind());
        assert_eq!(written, Err(ErrorKind::BrokenPipe));
        Result::Ok(())
    })
    .expect("no error");
}

/// A reset that nobody was told of is told by the close.
#[test]
fn closing_a_connection_that_was_reset_says_so() {
    block_on(async {
        let (mut client, server) = tcp_pair().await?;
        server.set_reset_on_close()?;
        drop(server);
        let ended = client.close().await.map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::ConnectionReset));
        client.close().await // told once
    })
    .expect("told once");
}

/// Several buffers go out by one call.
#[test]
fn vectored_writes_take_all_buffers_at_once() {
    async fn written(writer: impl AsyncWrite) -> Result<usize> {
        let mut writer = pin!(writer);
        let bufs = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        poll_fn(|cx| writer.as_mut().poll_write_vectored(cx, &bufs)).await
    }
    async fn read(mut reader: impl AsyncRead + Unpin) -> Result<[u8; 7]> {
        let mut text = [0; 7];
        reader.read_exact(&mut text).await?;
        Ok(text)
    }
    block_on(async {
        let (client, server) = tcp_pair().await?;
        assert_eq!(written(client).await?, 7);
        assert_eq!(&read(server).await?, b"one two");
        let (a, b) = UnixStream::pair()?;
        assert_eq!(written(&a).await?, 7);
        assert_eq!(&read(&b).await?, b"one two");
        let (reader, writer) = pipe()?;
        assert_eq!(written(&writer).await?, 7);
        assert_eq!(&read(&reader).await?, b"one two");
        Result::Ok(())
    })
    .expect("no error");
}

/// A pipe has no half to shut: `close` leaves it open, and the drop is the end.
#[test]
fn a_pipe_ends_when_its_writer_is_dropped() {
    block_on(async {
        let (mut reader, mut writer) = pipe()?;
        AsyncWriteExt::write_all(&mut writer, b"before ").await?;
        writer.close().await?;
        assert!(writer.as_fd().try_clone_to_owned().is_ok());
        AsyncWriteExt::write_all(&mut writer, b"after").await?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).await?;
        assert_eq!(text, "before after");
        Result::Ok(())
    })
    .expect("no error");
}

/// Law 7 through the trait: a task whose peer is always ready does not hold the loop, for an
/// operation beyond the budget of its poll is pending, and has woken the task.
#[test]
fn law_07_a_reader_that_is_always_ready_lets_others_run() {
    block_on(async {
        let (client, mut server) = tcp_pair().await?;
        only(&client).write_all(&[7; 1000]).await?;
        let others = Rc::new(Cell::new(0));
        let count = Rc::clone(&others);
        let other = Handle::current().expect("inside").spawn(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        for _ in 0..1000 {
            let mut buf = [0; 1];
            let read = poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut buf)).await;
            assert_eq!(read?, 1);
        }
        other.abort();
        assert!(others.get() >= 1000 / 128, "others ran {} times", others.get());
        Result::Ok(())
    })
    .expect("no error");
}

/// Outside of a reactor an operation that would have to wait is an error, not a hang.
#[test]
fn an_operation_that_must_wait_outside_of_a_reactor_is_an_error() {
    let (a, _b) = UnixStream::pair().expect("a pair");
    let mut buf = [0; 1];
    let mut read = pin!(async { only(&a).read(&mut buf).await });
    let waker = std::task::Waker::noop();
    let poll = read.as_mut().poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(poll, Poll::Ready(Err(_))), "{poll:?}");
}
