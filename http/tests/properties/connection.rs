//! A whole connection without a socket: the crate's pure functions, driven as a server does.

use squall_http::chunked::{ChunkDecoder, Piece};
use squall_http::date::Date;
use squall_http::encode::*;
use squall_http::framing::{Framing, Persistence, expectation, framing, persistence};
use squall_http::head::HeadParser;
use squall_http::{Error, Limits, StatusCode};

use super::Conditions;
use super::head::{copy, lines};
use crate::reference::Lines;
use crate::reference::connection::{Event, connection as reference};
use crate::reference::head::Head;
use crate::reference::response::response;

/// Serves the bytes in one piece and in parts; the events must be those of the reference, and the
/// answers one for each, with nothing behind the last.
pub fn connection(conditions: Conditions, bytes: &[u8]) {
    let limits = conditions.limits();
    let expected = reference(bytes, &limits);
    let cuts = conditions.cuts(bytes.len());
    for cuts in [&[][..], &cuts] {
        let mut server = Server::new(limits.clone());
        let mut done = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            server.receive(&bytes[done..cut]);
            done = cut;
        }
        server.finish();
        let shown = || format!("cut at {cuts:?}, {conditions:?}: {}", bytes.escape_ascii());
        assert_eq!(server.events, expected, "{}", shown());
        let mut out = &server.out[..];
        for (index, event) in expected.iter().enumerate() {
            let (method, minor, body) = match event {
                Event::Request { head, body, .. } => (&head.method[..], head.minor, &body[..]),
                Event::Unmet { head, .. } => (&head.method[..], head.minor, &b""[..]),
                Event::Refused(_) => (&b"GET"[..], 1, &b""[..]),
                Event::Cut => break, // no answer: it could look like one of success
            };
            let answer = match response(out, method, minor) {
                Ok(answer) => answer,
                Err(why) => panic!("answer {index}: {why}: {}; {}", out.escape_ascii(), shown()),
            };
            let is_last = index + 1 == expected.len();
            assert!(answer.keep || is_last, "an answer behind the last: {}", shown());
            match event {
                Event::Request { .. } if method == b"HEAD" => assert_eq!(answer.body, b""),
                Event::Request { .. } => assert_eq!(answer.body, body),
                Event::Unmet { .. } => assert_eq!(answer.status, 417),
                Event::Refused(error) => assert_eq!(answer.status, error.status().as_u16()),
                Event::Cut => {}
            }
            out = &out[answer.length..];
        }
        assert!(out.is_empty(), "bytes behind the last answer: {}", shown());
    }
}

/// The events of a connection that sends the bytes in one piece.
pub fn serve(bytes: &[u8], limits: &Limits) -> Vec<Event> {
    let mut server = Server::new(limits.clone());
    server.receive(bytes);
    server.finish();
    server.events
}

/// What stands between two events.
enum State {
    Head,
    Body { head: Box<Head>, left: Left, data: Vec<u8>, answer: Answered },
    Closed,
}

enum Left {
    Length(u64),
    Chunks,
}

#[derive(Clone, Copy)]
struct Answered {
    asked: Asked,
    unmet: bool,
}

/// A server that answers each request with its body.
struct Server {
    limits: Limits,
    state: State,
    unread: Vec<u8>,
    parser: HeadParser,
    decoder: ChunkDecoder,
    events: Vec<Event>,
    out: Vec<u8>,
    date: Date,
}

impl Server {
    fn new(limits: Limits) -> Self {
        Server {
            limits,
            state: State::Head,
            unread: Vec::new(),
            parser: HeadParser::new(),
            decoder: ChunkDecoder::new(),
            events: Vec::new(),
            out: Vec::new(),
            date: Date::new(0),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let went_on = match &self.state {
                State::Head => self.read_head(),
                State::Body { .. } => self.read_body(),
                State::Closed => return,
            };
            match went_on {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let _ = encode_error(&mut self.out, error, Asked::UNKNOWN, &self.date);
                    self.events.push(Event::Refused(error));
                    self.state = State::Closed;
                }
            }
        }
    }

    /// The client sends no more.
    fn finish(&mut self) {
        if let State::Body { .. } = self.state {
            self.events.push(Event::Cut);
        }
        self.state = State::Closed;
    }

    /// Whether there is more to do.
    fn read_head(&mut self) -> Result<bool, Error> {
        let Some(length) = self.parser.parse(&self.unread, &self.limits)? else {
            assert!(
                self.unread.len() < self.limits.max_head_bytes.max(1),
                "a head without a bound"
            );
            return Ok(false);
        };
        let view = self.parser.head(&self.unread[..length]);
        let framed = framing(&view)?.within(self.limits.max_body_bytes)?;
        let unmet = expectation(&view, framed).is_err();
        let answer = Answered { asked: Asked::by(&view), unmet };
        assert_eq!(answer.asked.persistence, persistence(&view));
        let head = copy(&view, length);
        self.unread.drain(..length);
        self.decoder.clear();
        let left = match framed {
            Framing::None => {
                self.answer(head, Vec::new(), Lines::new(), answer);
                return Ok(true);
            }
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks,
        };
        self.state = State::Body { head: Box::new(head), left, data: Vec::new(), answer };
        Ok(true)
    }

    fn read_body(&mut self) -> Result<bool, Error> {
        let State::Body { head, mut left, mut data, answer } =
            std::mem::replace(&mut self.state, State::Closed)
        else {
            unreachable!("the caller has looked");
        };
        let (consumed, trailers) = match &mut left {
            Left::Length(length) => {
                let n = self.unread.len().min(usize::try_from(*length).unwrap_or(usize::MAX));
                data.extend_from_slice(&self.unread[..n]);
                *length -= n as u64;
                (n, (*length == 0).then(Lines::new))
            }
            Left::Chunks => {
                let decoded =
                    self.decoder.decode(&self.unread, self.limits.max_body_bytes, &self.limits)?;
                let trailers = match decoded.piece {
                    Piece::More => {
                        self.unread.drain(..decoded.consumed);
                        self.state = State::Body { head, left, data, answer };
                        return Ok(false);
                    }
                    Piece::Data(range) => {
                        data.extend_from_slice(&self.unread[range]);
                        None
                    }
                    Piece::End(range) => {
                        Some(lines(self.decoder.trailers(&self.unread[range]).iter()))
                    }
                };
                (decoded.consumed, trailers)
            }
        };
        self.unread.drain(..consumed);
        match trailers {
            Some(trailers) => self.answer(*head, data, trailers, answer),
            None => self.state = State::Body { head, left, data, answer },
        }
        Ok(consumed > 0)
    }

    fn answer(&mut self, head: Head, body: Vec<u8>, trailers: Lines, answer: Answered) {
        let Answered { asked, unmet } = answer;
        let goes_on = asked.persistence != Persistence::Close;
        let (out, date) = (&mut self.out, &self.date);
        let promise = match unmet {
            true => encode_error(out, Error::ExpectationFailed, asked, date),
            false => {
                let length = Length::Known(body.len() as u64);
                let lines = HeaderLines::new();
                let promise = encode_head(out, StatusCode::OK, asked, length, &lines, date);
                if promise.transfer != Transfer::Nothing {
                    out.extend_from_slice(&body);
                }
                promise
            }
        };
        assert_eq!(promise.keep, goes_on);
        self.state = if goes_on { State::Head } else { State::Closed };
        self.events.push(match unmet {
            true => Event::Unmet { head, goes_on },
            false => Event::Request { head, body, trailers, goes_on },
        });
    }
}
