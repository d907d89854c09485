use super::*;

use std::future::{Future, poll_fn};
use std::pin::pin;

use squall_reactor::Reactor;

/// What the connection would send now.
fn produce(events: &mut Events) -> Poll<(bool, String)> {
    let (mut cx, mut out) = (Context::from_waker(Waker::noop()), Vec::new());
    let produced = events.poll_produce(&mut cx, &mut out);
    let text = String::from_utf8(out).expect("events are UTF-8");
    produced.map(|go_on| (go_on.expect("events do not fail"), text))
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn turning<T>(test: impl FnOnce() -> T) -> T {
    Reactor::new().unwrap().block_on(async { test() }).unwrap()
}

// A line's end that goes through would let the data of one event name the next.
#[test]
fn html_9_2_every_line_of_the_data_is_a_field_of_its_own() {
    for (data, expected) in [
        ("tea", "data: tea\n\n"),
        ("", "data: \n\n"),
        (" two ", "data:  two \n\n"),
        ("a\nb", "data: a\ndata: b\n\n"),
        ("a\r\nb", "data: a\ndata: b\n\n"),
        ("a\rb", "data: a\ndata: b\n\n"),
        ("a\n\nevent: evil\n", "data: a\ndata: \ndata: event: evil\ndata: \n\n"),
        ("a\n\r\r\nb", "data: a\ndata: \ndata: \ndata: b\n\n"),
    ] {
        assert_eq!(Event::new(data).as_str(), expected, "{data:?}");
    }
    let event = Event::new("x").name("tick").unwrap().id("7").unwrap();
    let event = event.retry(Duration::from_secs(2));
    assert_eq!(event.as_str(), "retry: 2000\nid: 7\nevent: tick\ndata: x\n\n");
}

#[test]
fn html_9_2_a_name_or_id_with_a_lines_end_is_refused() {
    for bad in ["a\nb", "a\rb", "\n", "a\r\n"] {
        assert_eq!(Event::new("x").name(bad), Err(LineEnd));
        assert_eq!(Event::new("x").id(bad), Err(LineEnd));
    }
    assert_eq!(Event::new("x").id("a\0"), Err(LineEnd));
}

// A queue without a bound would hold for a client that does not read all that it has missed.
#[test]
fn a_full_queue_refuses_or_waits_and_goes_on_when_the_client_has_read() {
    turning(|| {
        let (sender, mut events) = Events::new(2);
        sender.try_send(Event::new("1")).unwrap();
        sender.try_send(Event::new("2")).unwrap();
        let three = Event::new("3");
        assert_eq!(sender.try_send(three.clone()), Err(Refused::Full(three.clone())));
        assert_eq!(poll(sender.send(three.clone())), Poll::Pending);
        let both = "data: 1\n\ndata: 2\n\n".to_owned();
        assert_eq!(produce(&mut events), Poll::Ready((true, both)));
        assert_eq!(poll(sender.send(three)), Poll::Ready(Ok(())));
        assert_eq!(produce(&mut events), Poll::Ready((true, "data: 3\n\n".to_owned())));
        assert_eq!(produce(&mut events), Poll::Pending);
    });
}

#[test]
fn a_sender_that_is_dropped_ends_the_response_behind_what_was_queued() {
    turning(|| {
        let (sender, mut events) = Events::new(2);
        sender.try_send(Event::new("last")).unwrap();
        drop(sender);
        assert_eq!(produce(&mut events), Poll::Ready((true, "data: last\n\n".to_owned())));
        assert_eq!(produce(&mut events), Poll::Ready((false, String::new())));
    });
}

// A sender that does not hear of it works for nobody: the article's case once more.
#[test]
fn a_sender_learns_that_the_client_has_left() {
    let mut reactor = Reactor::new().unwrap();
    let (sender, events) = Events::new(1);
    sender.try_send(Event::new("1")).unwrap();
    let handle = reactor.handle();
    let refused = reactor.block_on(async move {
        let waiting = handle.spawn(async move {
            let refused = sender.send(Event::new("2")).await;
            sender.gone().await;
            assert!(sender.is_gone());
            (refused, sender.try_send(Event::new("3")))
        });
        squall_reactor::yield_now().await; // it waits now
        drop(events);
        waiting.await
    });
    let gone = |data| Err(Refused::Gone(Event::new(data)));
    assert_eq!(refused.unwrap().unwrap(), (gone("2"), gone("3")));
}

// The comment tells a proxy that the connection lives, and the kernel to find out whether it does.
#[test]
fn a_comment_is_sent_when_nothing_else_was() {
    let mut reactor = Reactor::new().unwrap();
    let (_sender, events) = Events::new(1);
    let mut events = events.keep_alive(Duration::from_millis(5));
    reactor
        .block_on(async {
            let begun = Instant::now();
            for count in 1..=3 {
                let mut out = Vec::new();
                poll_fn(|cx| events.poll_produce(cx, &mut out)).await.unwrap();
                assert_eq!(out, b":\n\n");
                assert!(
                    begun.elapsed() >= count * Duration::from_millis(5),
                    "not before it is due"
                );
            }
        })
        .unwrap();
}
