//! A client leaves: in every state of its connection, by a close, a half-close or a reset.
//!
//! Whether the handler's future was dropped, ended, or still waits is counted by a guard inside it.
//! The handler waits at a gate that the test opens, so nothing here depends on how long something
//! takes. Whatever happened, at the end only the listener lives: no source, task, timer or
//! connection, and as many descriptors as before. The tests run one after the other, because the
//! descriptors are the process's.

mod http;

use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use http::scene::{Counts, LEAVES, Leave, Scene, WORKED, WORKING, for_each_leave};
use http::{PROBE, wait_until};
use squall_http::Fin;

const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";
const FINS: [Fin; 3] = [Fin::Left, Fin::HalfClosed, Fin::Ask];

#[test]
fn before_a_byte_and_between_requests() {
    for_each_leave(|scene, leave| {
        scene.leave(scene.server.connect(), leave);
        let mut used = scene.server.connect();
        used.expect_kept();
        scene.leave(used, leave);
    });
}

/// Broken by a head timer that outlives its connection.
#[test]
fn in_the_head() {
    for_each_leave(|scene, leave| {
        for head in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n"] {
            let mut client = scene.server.connect();
            client.send(head);
            // The head's deadline shows that it has been read.
            wait_until("the head's begin", || match scene.server.alive().timers {
                0 => Err("no timer"),
                _ => Ok(()),
            });
            scene.leave(client, leave);
        }
    });
}

/// A body that is cut short is an error for the handler, which may end; a reset may drop it.
#[test]
fn in_the_body() {
    for_each_leave(|scene, leave| {
        for framing in ["Content-Length: 9\r\n\r\nhell", "Transfer-Encoding: chunked\r\n\r\n9\r\nh"]
        {
            let mut client = scene.server.connect();
            client.send(format!("POST /body HTTP/1.1\r\nHost: a\r\n{framing}"));
            scene.begun(1);
            scene.leave(client, leave);
            scene.comes_to_rest();
            let counts = scene.take_counts();
            assert_eq!(counts.ended + counts.dropped, 1, "{leave:?}: {counts:?}");
        }
    });
}

/// The article's case: nobody waits for the answer, so nobody should work on it.
#[test]
fn while_the_handler_waits_and_a_fin_means_left_its_future_is_dropped() {
    for leave in LEAVES {
        let scene = Scene::new(Fin::Left);
        let mut client = scene.server.connect();
        client.send(WAIT);
        scene.begun(1);
        match leave {
            Leave::HalfCloses => {
                client.finish_sending();
                client.expect_gone();
                drop(client);
            }
            _ => scene.leave(client, leave),
        }
        scene.comes_to_rest();
        assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 0, dropped: 1 }, "{leave:?}");
        assert_eq!(scene.server.ask(|_, serving| serving.cancelled()), 1, "{leave:?}");
    }
}

#[test]
fn while_the_handler_waits_and_a_fin_means_half_closed_the_answer_is_written() {
    let scene = Scene::new(Fin::HalfClosed);
    let mut client = scene.server.connect();
    client.send(WAIT);
    scene.begun(1);
    client.finish_sending();
    scene.open_gate();
    assert_eq!(client.answer("GET").body, b"waited");
    client.expect_end();
    drop(client);
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 1, dropped: 0 });
}

/// One that has closed looks the same until something is written to it.
#[test]
fn while_the_handler_waits_and_a_fin_means_half_closed_a_close_is_noticed_by_the_write() {
    let scene = Scene::new(Fin::HalfClosed);
    let mut client = scene.server.connect();
    client.send(WAIT);
    scene.begun(1);
    drop(client);
    scene.stays_silent();
    assert_eq!(scene.counts(), Counts { begun: 1, ended: 0, dropped: 0 });
    scene.open_gate();
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 1, dropped: 0 });
}

/// The question brings a reset from one that has closed, and nothing from one that reads.
#[test]
fn while_the_handler_waits_and_a_fin_is_asked_about_only_who_has_closed_is_dropped() {
    let scene = Scene::new(Fin::Ask);
    let mut client = scene.server.connect();
    client.send(WAIT);
    scene.begun(1);
    drop(client);
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 0, dropped: 1 });

    let mut client = scene.server.connect();
    client.send(WAIT);
    scene.begun(1);
    client.finish_sending();
    let question = client.answer("GET");
    assert_eq!((question.status, question.fields.len()), (100, 0), "{question:?}");
    scene.stays_silent();
    assert_eq!(scene.counts(), Counts { begun: 1, ended: 0, dropped: 0 });
    scene.open_gate();
    assert_eq!(client.answer("GET").body, b"waited");
    client.expect_end();
    drop(client);
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 1, dropped: 0 });
}

/// One that answers the question by leaving after all.
#[test]
fn who_was_asked_and_then_resets_is_dropped() {
    let scene = Scene::new(Fin::Ask);
    let mut client = scene.server.connect();
    client.send(WAIT);
    scene.begun(1);
    client.finish_sending();
    assert_eq!(client.answer("GET").status, 100);
    client.reset();
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 0, dropped: 1 });
}

/// HTTP/1.0 has no interim answers (RFC 9110, 15.2).
#[test]
fn http_1_0_is_not_asked_but_has_left() {
    for leave in LEAVES {
        let scene = Scene::new(Fin::Ask);
        let mut client = scene.server.connect();
        client.send("GET /wait HTTP/1.0\r\n\r\n");
        scene.begun(1);
        match leave {
            Leave::HalfCloses => {
                client.finish_sending();
                client.expect_gone();
                drop(client);
            }
            _ => scene.leave(client, leave),
        }
        scene.comes_to_rest();
        assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 0, dropped: 1 }, "{leave:?}");
    }
}

#[test]
fn a_reset_cancels_whatever_a_fin_means_and_whatever_is_unread() {
    for fin in FINS {
        for unread in [0, 1, 3] {
            let scene = Scene::new(fin);
            let mut client = scene.server.connect();
            client.send(WAIT);
            scene.begun(1);
            client.send(PROBE.repeat(unread));
            client.reset();
            scene.comes_to_rest();
            let counts = scene.take_counts();
            assert_eq!(counts, Counts { begun: 1, ended: 0, dropped: 1 }, "{fin:?}, {unread}");
        }
    }
}

/// RFC 9112, 9.6: behind an unread request a FIN says nothing of the wish to read. Broken by
/// taking RDHUP for the end of the input.
#[test]
fn a_fin_behind_unread_requests_does_not_count() {
    for fin in FINS {
        for in_one_write in [true, false] {
            let scene = Scene::new(fin);
            let mut client = scene.server.connect();
            if in_one_write {
                client.send([WAIT, PROBE, PROBE].concat());
                scene.begun(1);
            } else {
                client.send(WAIT);
                scene.begun(1);
                client.send([PROBE, PROBE].concat());
            }
            client.finish_sending();
            scene.stays_silent();
            assert_eq!(scene.counts(), Counts { begun: 1, ended: 0, dropped: 0 }, "{fin:?}");
            scene.open_gate();
            assert_eq!(client.answer("GET").body, b"waited", "{fin:?}");
            assert_eq!(client.answer("GET").body, b"probe", "{fin:?}");
            assert_eq!(client.answer("GET").body, b"probe", "{fin:?}");
            client.expect_end();
            drop(client);
            scene.comes_to_rest();
        }
    }
}

/// Behind the last of several requests it does count again.
#[test]
fn a_fin_behind_the_last_of_several_requests_counts() {
    let scene = Scene::new(Fin::Left);
    let mut client = scene.server.connect();
    client.send([PROBE, PROBE, WAIT].concat());
    assert_eq!(client.answer("GET").body, b"probe");
    assert_eq!(client.answer("GET").body, b"probe");
    scene.begun(1);
    client.finish_sending();
    client.expect_gone();
    drop(client);
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 0, dropped: 1 });
}

/// design.md: a FIN counts only once the body has been read to its end.
#[test]
fn a_fin_before_the_end_of_a_body_that_nobody_reads_does_not_count() {
    let scene = Scene::new(Fin::Left);
    let mut client = scene.server.connect();
    client.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhell");
    scene.begun(1);
    client.finish_sending();
    scene.stays_silent();
    assert_eq!(scene.counts(), Counts { begun: 1, ended: 0, dropped: 0 });
    scene.open_gate();
    assert_eq!(client.answer("POST").body, b"waited");
    client.expect_end();
    drop(client);
    scene.comes_to_rest();
}

/// It is read to its end after the FIN was heard of.
#[test]
fn a_fin_behind_a_body_counts_once_the_body_is_read() {
    let scene = Scene::new(Fin::Left);
    let mut client = scene.server.connect();
    client.send("POST /wait_then_body_then_wait HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    scene.begun(1);
    client.send("hello");
    client.finish_sending();
    scene.stays_silent();
    assert_eq!(scene.counts(), Counts { begun: 1, ended: 0, dropped: 0 });
    scene.open_gate();
    client.expect_gone();
    drop(client);
    scene.comes_to_rest();
    assert_eq!(scene.take_counts(), Counts { begun: 1, ended: 0, dropped: 1 });
}

/// Work that has begun is told by a flag; work that has not begins never.
#[test]
fn while_its_work_is_in_the_pool() {
    for leave in [Leave::Closes, Leave::Resets] {
        let scene = Scene::new(Fin::Left);
        let [mut first, mut second, mut third] = [0; 3].map(|_| scene.server.connect());
        first.send("GET /pool HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("work in the pool", || match WORKING.load(SeqCst) {
            1 => Ok(()),
            other => Err(other),
        });
        // The pool has one thread: these two stand in its queue.
        second.send("GET /pool HTTP/1.1\r\nHost: a\r\n\r\n");
        third.send("GET /pool HTTP/1.1\r\nHost: a\r\n\r\n");
        scene.begun(3);
        scene.leave(second, leave);
        scene.leave(third, leave);
        wait_until("the end of who waits in the queue", || match scene.counts().dropped {
            2 => Ok(()),
            other => Err(other),
        });
        scene.leave(first, leave);
        wait_until("the end of the work", || match WORKING.load(SeqCst) {
            0 => Ok(()),
            other => Err(other),
        });
        scene.comes_to_rest();
        assert_eq!(scene.take_counts(), Counts { begun: 3, ended: 0, dropped: 3 }, "{leave:?}");
        assert_eq!(WORKED.swap(0, SeqCst), 1, "work began for a client that had left");
    }
}

/// Broken by a writer that waits for room alone, and never hears that the reader is gone.
#[test]
fn while_the_answer_is_being_written() {
    for_each_leave(|scene, leave| {
        for reads_first in [false, true] {
            let mut client = scene.server.connect();
            client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
            scene.begun(1);
            if reads_first {
                client.read_exactly(3 << 20).expect("an answer without end");
            }
            scene.stays_silent();
            match leave {
                Leave::HalfCloses => {
                    // It still reads, and an answer that has begun is not cut.
                    client.finish_sending();
                    client.read_exactly(3 << 20).expect("an answer without end");
                    drop(client);
                }
                _ => scene.leave(client, leave),
            }
            scene.comes_to_rest();
            assert_eq!(scene.take_counts().dropped, 1, "{leave:?}");
        }
    });
}

/// What was answered already is on its way; what was asked behind it is not begun in vain.
#[test]
fn between_two_of_many_pipelined_requests() {
    for_each_leave(|scene, leave| {
        let mut client = scene.server.connect();
        client.send(PROBE.repeat(500));
        client.answer("GET");
        scene.leave(client, leave);
        let mut client = scene.server.connect();
        client.send([&PROBE.repeat(3)[..], &WAIT.repeat(3), PROBE].concat());
        scene.begun(1);
        match leave {
            Leave::Resets => client.reset(),
            _ => {
                scene.leave(client, leave);
                scene.open_gate();
            }
        }
        scene.comes_to_rest();
        let counts = scene.take_counts();
        assert_eq!(counts.ended + counts.dropped, counts.begun, "{leave:?}: {counts:?}");
    });
}

/// An error's answer lingers for two seconds, but not for a client that has gone.
#[test]
fn while_the_connection_lingers() {
    for_each_leave(|scene, leave| {
        let mut client = scene.server.connect();
        client.send("GET  / HTTP/1.1\r\n\r\n");
        assert_eq!(client.answer("GET").status, 400);
        client.expect_end();
        scene.leave(client, leave);
    });
    let scene = Scene::new(Fin::Left);
    let mut stays = scene.server.connect();
    stays.send("GET  / HTTP/1.1\r\n\r\n");
    assert_eq!(stays.answer("GET").status, 400);
    scene.server.comes_to_rest();
    drop(stays);
}

/// Cause: a FIN, or bytes that nobody reads, which a level reports for ever. Shows in the turns.
#[test]
fn nothing_spins_while_a_handler_waits() {
    for fin in FINS {
        for unread in [&b""[..], PROBE] {
            let scene = Scene::new(fin);
            let mut idle = scene.server.connect();
            idle.expect_kept();
            let mut client = scene.server.connect();
            client.send(WAIT);
            scene.begun(1);
            client.send(unread);
            if fin != Fin::Left || !unread.is_empty() {
                client.finish_sending();
            }
            scene.stays_silent();
            scene.open_gate();
        }
    }
}

/// Broken by a loop that is woken for each segment which nobody reads.
#[test]
fn a_client_that_pipelines_without_end_does_not_wake_the_loop_for_ever() {
    let scene = Scene::new(Fin::Left);
    let mut client = scene.server.connect();
    client.send(WAIT);
    scene.begun(1);
    let before = scene.server.stats().turns;
    for _ in 0..1000 {
        client.send(PROBE);
    }
    scene.stays_silent();
    let turns = scene.server.stats().turns - before;
    assert!(turns < 500, "{turns} turns for 1,000 segments that nobody reads");
    scene.open_gate();
    for i in 0..1001 {
        let body: &[u8] = if i == 0 { b"waited" } else { b"probe" };
        assert_eq!(client.answer("GET").body, body, "{i}");
    }
    drop(client);
    scene.comes_to_rest();
}

#[test]
fn a_thousand_clients_leave_in_all_ways_at_once() {
    for fin in FINS {
        let scene = Scene::new(fin);
        thread::scope(|scope| {
            for thread in 0..4 {
                let scene = &scene;
                scope.spawn(move || {
                    for i in 0..84 {
                        let mut client = scene.server.connect();
                        match (i + thread) % 7 {
                            0 => {}
                            1 => client.send("GET /wa"),
                            2 => client.send(WAIT),
                            3 => client.send([PROBE, WAIT, PROBE].concat()),
                            4 => client.send(
                                "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nh",
                            ),
                            5 => client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"),
                            _ => client.expect_kept(),
                        }
                        scene.leave(client, LEAVES[i % 3]);
                    }
                });
            }
        });
        scene.open_gate();
        scene.comes_to_rest();
        let counts = scene.take_counts();
        assert_eq!(counts.ended + counts.dropped, counts.begun, "{fin:?}: {counts:?}");
    }
}
