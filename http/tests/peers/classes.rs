//! Every way in which Squall and another implementation were seen to differ, with the reason.
//!
//! docs/differences.md shows the same rows, and a test holds it to them.

use squall_http::{Error, Method};

use super::squall::{self, Ending};
use super::{End, Seen, Story};
use crate::reference::{count, list};

/// The first place where two implementations part.
#[derive(Clone, Debug)]
pub struct Difference<'a> {
    pub bytes: &'a [u8],
    /// The last request that both have.
    pub before: Option<&'a Seen>,
    /// The next request that Squall has, or else how it ended.
    pub ours: Result<&'a Seen, Ending>,
    /// The next request that the other has, or else how it ended.
    pub theirs: Result<&'a Seen, &'a End>,
}

impl<'a> Difference<'a> {
    /// Where the two stories part; `None` if they tell the same.
    pub fn between(
        bytes: &'a [u8],
        ours: &'a squall::Story,
        theirs: &'a Story,
    ) -> Option<Difference<'a>> {
        let both = ours.requests.iter().zip(&theirs.requests);
        let common = both.take_while(|(our, their)| same(our, their)).count();
        let difference = Difference {
            bytes,
            before: common.checked_sub(1).map(|last| &ours.requests[last]),
            ours: ours.requests.get(common).ok_or(ours.ending),
            theirs: theirs.requests.get(common).ok_or(&theirs.end),
        };
        let agree = match (&difference.ours, &difference.theirs) {
            (Err(Ending::Refused(_)), Err(End::Refused(_))) => true,
            (Err(Ending::Quiet | Ending::Closed), Err(End::Quiet)) => true,
            // What it says to bytes behind the last request; Squall leaves them unread.
            (Err(Ending::Closed), Err(End::Refused(why))) => why == "HPE_CLOSED_CONNECTION",
            _ => false,
        };
        (!agree).then_some(difference)
    }

    /// Squall refuses what the other takes, or still waits on.
    fn stricter(&self) -> Option<Error> {
        match (&self.ours, &self.theirs) {
            (Err(Ending::Refused(error)), Ok(_) | Err(End::Quiet)) => Some(*error),
            _ => None,
        }
    }

    /// The other refuses, with such a word in its reason, what Squall takes or still waits on.
    fn they_refuse(&self, word: &str) -> bool {
        !matches!(self.ours, Err(Ending::Refused(_)))
            && matches!(self.theirs, Err(End::Refused(why)) if why.contains(word))
    }

    /// Squall's request is like this, or is not whole yet.
    fn ours_is(&self, like: impl Fn(&Seen) -> bool) -> bool {
        match self.ours {
            Ok(seen) => like(seen),
            Err(Ending::Quiet) => true,
            Err(_) => false,
        }
    }

    fn has(&self, part: &[u8]) -> bool {
        self.bytes.to_ascii_lowercase().windows(part.len()).any(|window| window == part)
    }

    fn has_tab_at_a_line_end(&self) -> bool {
        self.bytes.windows(2).any(|two| two == b"\t\r")
    }

    /// Squall refuses it in the end, if this follows.
    fn is_refused_behind(&self, rest: &str) -> bool {
        let story = squall::story(&[self.bytes, rest.as_bytes()].concat());
        matches!(story.ending, Ending::Refused(_))
    }
}

/// hyper shows a target only as `http::Uri` has it.
fn same(ours: &Seen, theirs: &Seen) -> bool {
    let uri = |target: &[u8]| target.to_vec().try_into().map(|uri: hyper::Uri| uri.to_string());
    let same_target = ours.target == theirs.target
        || uri(&ours.target).is_ok_and(|uri| uri.as_bytes() == theirs.target);
    let rest = |seen: &Seen| Seen { target: Vec::new(), ..seen.clone() };
    same_target && rest(ours) == rest(theirs)
}

/// Panics if there is a difference to this peer, and it is of none of the classes.
#[track_caller]
pub fn classified(
    peer: &str,
    classes: &[Class],
    bytes: &[u8],
    ours: &squall::Story,
    theirs: &Story,
) {
    let Some(difference) = Difference::between(bytes, ours, theirs) else { return };
    assert!(
        classes.iter().any(|class| class.has(peer, &difference)),
        "no class for {peer}: {}\nbehind {:?}\nours {:?}\ntheirs {:?}",
        bytes.escape_ascii(),
        difference.before,
        difference.ours,
        difference.theirs,
    );
}

/// A row of docs/differences.md.
pub struct Class {
    /// What is sent.
    pub what: &'static str,
    /// Who was seen to differ: `httparse`, `hyper`, `llhttp`.
    pub peers: &'static str,
    pub why: &'static str,
    pub section: &'static str,
    pub case: Case,
    /// Bytes that show it, for each of the peers.
    pub example: fn() -> Vec<u8>,
}

pub enum Case {
    /// Squall refuses it with this error; they take it.
    Stricter(Error),
    /// Squall refuses it with one of these errors while they still wait for more.
    Sooner(&'static [Error]),
    /// They refuse it, or read it otherwise; Squall takes it.
    Other(fn(&Difference<'_>) -> bool),
}

impl Class {
    /// Whether a difference to this peer is of this class.
    pub fn has(&self, peer: &str, difference: &Difference<'_>) -> bool {
        self.peers.split(", ").any(|name| name == peer)
            && match self.case {
                Case::Stricter(error) => difference.stricter() == Some(error),
                Case::Sooner(errors) => {
                    matches!(difference.theirs, Err(End::Quiet))
                        && difference.stricter().is_some_and(|error| errors.contains(&error))
                }
                Case::Other(holds) => holds(difference),
            }
    }

    /// The row of the page.
    pub fn row(&self) -> String {
        let Class { what, peers, why, section, .. } = self;
        format!("| {what} | {peers} | {why} | {section} |")
    }
}

/// Whether Connection has `close`, and not alone.
fn closes(seen: &Seen) -> bool {
    let lines: Vec<&[u8]> = seen
        .fields
        .iter()
        .filter(|(name, _)| name == b"connection")
        .map(|(_, value)| &value[..])
        .collect();
    let is_close = |option: &[u8]| option.eq_ignore_ascii_case(b"close");
    let alone = matches!(lines[..], [line] if is_close(line));
    !alone && list(&seen.fields, "connection").iter().any(|option| is_close(option))
}

/// Whether this is HTTP/1.0 with `keep-alive` in a value that is not ASCII.
fn asks_in_vain(seen: &Seen) -> bool {
    let in_vain = |(name, value): &(Vec<u8>, Vec<u8>)| name == b"connection" && !value.is_ascii();
    seen.minor == 0
        && seen.fields.iter().any(in_vain)
        && list(&seen.fields, "connection").iter().any(|o| o.eq_ignore_ascii_case(b"keep-alive"))
}

macro_rules! classes {
    ($($case:ident $arg:tt $what:literal, $peers:literal, $why:literal, $section:literal,
       $example:expr;)*) => {
        &[$(Class {
            what: $what,
            peers: $peers,
            why: $why,
            section: $section,
            case: Case::$case$arg,
            example: || $example.into(),
        }),*]
    };
}

/// A POST with these fields, and what follows its head.
fn post(fields: &str, rest: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{rest}")
}

/// A POST with chunks.
fn chunks(rest: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", rest)
}

/// A GET of this target.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// What is sent to a server, from the first byte to the last.
pub const CONNECTIONS: &[Class] = classes! {
    // ---- heads ----
    Stricter(Error::EmptyLines) "nine empty lines in front of a request", "httparse, hyper, llhttp",
        "one is enough for old clients; without a bound a connection lives on them",
        "9112, 2.2", "\r\n".repeat(9) + &get("/");
    Stricter(Error::BareLf) "LF that no CR precedes", "httparse, hyper",
        "two hops that end lines differently see different requests",
        "9112, 2.2", "GET / HTTP/1.1\nHost: h\n\n";
    Stricter(Error::BareLf) "LF in front of a request", "llhttp",
        "the same", "9112, 2.2", "\n".to_owned() + &get("/");
    Stricter(Error::BareCr) "CR CR LF in front of a request", "llhttp", "the same", "9112, 2.2",
        "\r\r\n".to_owned() + &get("/");
    Stricter(Error::VersionSyntax) "a request line without a version", "llhttp",
        "HTTP/0.9 had none; nobody means it", "9112, 2.3", "GET /\r\nHost: h\r\n\r\n";
    Stricter(Error::VersionUnsupported) "HTTP/0.9, HTTP/2.0", "llhttp",
        "another major version is another protocol: 505", "9110, 15.6.6",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n";
    Stricter(Error::TargetByte) "`\"`, `#`, `<`, `>` in a target", "httparse, hyper, llhttp",
        "no URI has them; who repairs such a target opens a cache to poisoning",
        "9112, 3.2", get("/#a");
    Stricter(Error::TargetTooLong) "a target over 8 KiB", "httparse, hyper, llhttp",
        "a limit of ours: 414", "9112, 3", get(&"/".repeat((8 << 10) + 1));
    Stricter(Error::TargetForm) "a target without `/` in front; `*` without OPTIONS",
        "httparse, hyper, llhttp", "none of the four forms for this method",
        "9112, 3.2", get("*");
    Stricter(Error::TargetAuthority) "an absolute target whose authority is not host and port",
        "httparse, hyper, llhttp", "an invalid http URI is to be rejected",
        "9110, 4.2", get("http://a:65536/");
    Stricter(Error::Misdirected) "an `https` target on a connection without TLS",
        "httparse, hyper, llhttp", "it must not be answered as if it had come over TLS",
        "9110, 7.4", get("https://a/");
    Stricter(Error::HostMissing) "HTTP/1.1 without Host", "httparse, hyper, llhttp",
        "MUST be 400", "9112, 3.2", "GET / HTTP/1.1\r\n\r\n";
    Stricter(Error::HostRepeated) "two Host lines", "httparse, hyper, llhttp",
        "MUST be 400", "9112, 3.2", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n";
    Stricter(Error::HostSyntax) "a Host that is not host and port", "httparse, hyper, llhttp",
        "MUST be 400", "9112, 3.2", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n";
    Stricter(Error::HeadTooLarge) "a head over 16 KiB", "httparse, hyper, llhttp",
        "a limit of ours: 431", "9110, 5.4",
        post(&format!("A: {}\r\n", "b".repeat(16 << 10)), "");
    Stricter(Error::TooManyFields) "over 100 fields", "llhttp",
        "a limit of ours: 431", "9110, 5.4", post(&"A: b\r\n".repeat(100), "");

    Sooner(&[Error::TooManyFields]) "over 100 fields in a head that is not whole",
        "httparse, hyper", "refused by all; here when the name of one too many begins", "9110, 5.4",
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}A", "A: b\r\n".repeat(99));

    // ---- framing ----
    Stricter(Error::LengthRepeated) "two equal Content-Length lines", "hyper",
        "a choice the RFC leaves: who sends two is broken or an attacker",
        "9112, 6.3", post("Content-Length: 1\r\nContent-Length: 1\r\n", "a");
    Stricter(Error::LengthAndCoding) "Content-Length beside Transfer-Encoding", "hyper",
        "an attempt to smuggle, to be handled as an error; hyper lets the coding win",
        "9112, 6.1", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    Stricter(Error::LengthAndCoding) "Content-Length beside an empty Transfer-Encoding", "llhttp",
        "the same; llhttp lets the length win", "9112, 6.1",
        post("Content-Length: 1\r\nTransfer-Encoding:\r\n", "a");
    Stricter(Error::CodingInHttp10) "Transfer-Encoding in HTTP/1.0", "llhttp",
        "faulty framing: the connection MUST be closed",
        "9112, 6.1", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    Stricter(Error::CodingSyntax) "`chunked` twice", "hyper",
        "MUST NOT be sent twice; another hop may take the two for no coding",
        "9112, 6.1", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n");
    Stricter(Error::CodingSyntax) "an empty Transfer-Encoding", "llhttp",
        "a coding that does not end in `chunked` leaves the end open",
        "9112, 6.3", post("Transfer-Encoding:\r\n", "");
    Stricter(Error::CodingUnsupported) "`gzip, chunked`", "hyper, llhttp",
        "whoever does not know a coding SHOULD answer 501; they pass the zipped bytes on",
        "9112, 6.1", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n");
    Stricter(Error::ExpectationFailed) "an expectation other than `100-continue`", "hyper, llhttp",
        "417, as the RFC allows; they leave it to the handler",
        "9110, 10.1.1", post("Expect: x\r\n", "");
    Stricter(Error::BodyTooLarge) "a body over 1 MiB", "hyper, llhttp",
        "a limit of ours: 413", "9110, 15.5.14",
        post("Content-Length: 1048577\r\n", &"a".repeat((1 << 20) + 1));

    // ---- chunks ----
    Stricter(Error::ChunkExtension) "white space behind a size, an extension without a name",
        "hyper", "no production has it; hyper looks for the line's end only",
        "9112, 7.1.1", chunks("1 \r\na\r\n0\r\n\r\n");
    Stricter(Error::ChunkExtension) "an extension of a value without a name", "llhttp", "the same",
        "9112, 7.1.1", chunks("1;=\"b\"\r\na\r\n0\r\n\r\n");
    Stricter(Error::ChunkLineTooLong) "the line of a size over 256 bytes", "hyper, llhttp",
        "a limit of ours: extensions carry nothing (CVE-2023-39326)", "9112, 7.1.1",
        chunks(&format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(256)));
    Sooner(&[
        Error::FieldName,
        Error::FieldValue,
        Error::SpaceBeforeColon,
        Error::LeadingSpace,
        Error::ObsoleteFold,
        Error::BareCr,
        Error::BareLf,
    ])
        "a trailer outside of the grammar, while the rest is on its way", "hyper",
        "refused by both; here at the first wrong byte", "9110, 5.1", chunks("0\r\n(");
    Stricter(Error::TrailersTooLarge) "over 32 trailers", "hyper, llhttp",
        "a limit of ours: 431", "9110, 5.4",
        chunks(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(33)));

    // ---- the other way round ----
    Other(|d| (d.they_refuse("ersion") || d.they_refuse("VERSION")) && d.ours_is(|our| our.minor > 1))
        "HTTP/1.2 to HTTP/1.9", "httparse, hyper, llhttp",
        "a higher minor version is taken as the highest that one knows",
        "9110, 6.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n";
    Other(|d| d.they_refuse("Uri") && d.ours_is(|our| our.target.contains(&b'`')))
        "the grave accent in a target", "hyper",
        "browsers send it raw, and it means nothing to framing", "9110, 4.1", get("/`");
    Other(|d| d.they_refuse("Uri") && d.ours_is(|our| our.target.contains(&b'%')))
        "a percent sign in the host of an absolute target", "hyper", "a host may be written so",
        "9110, 4.2.1", get("http://a%41/");
    Other(|d| d.ours.is_ok_and(|our| our.method == b"CONNECT")
        || d.theirs.is_ok_and(|their| their.method == b"CONNECT"))
        "CONNECT with a body", "llhttp",
        "framed as with any method, then 501 and the end; llhttp takes it for a tunnel's",
        "9110, 9.3.6",
        "CONNECT a:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na";
    Other(|d| d.they_refuse("METHOD") && d.ours_is(|our| Method::from_bytes(&our.method).is_none()))
        "a method that it does not know", "llhttp",
        "every token is a method: 501, and the connection goes on", "9110, 9.1",
        "FOO / HTTP/1.1\r\nHost: h\r\n\r\n";
    Other(|d| d.they_refuse("CHUNK") || d.they_refuse("STRICT"))
        "white space around `;` or `=` of a chunk extension, high bytes between its quotes",
        "llhttp", "the grammar has both; white space there MUST be parsed", "9112, 7.1.1",
        chunks("1 ; a = b\r\na\r\n0\r\n\r\n");
    Other(|d| d.they_refuse("CONTENT_LENGTH") && d.ours.is_err() && d.is_refused_behind("\r\n\r\n"))
        "a bad or second Content-Length in a head that is not whole", "llhttp",
        "refused by both; here when the head is whole, for framing needs all lines",
        "9112, 6.3", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x";
    Other(|d| d.they_refuse("TRANSFER_ENCODING") && d.ours.is_err() && d.is_refused_behind("\r\n\r\n"))
        "both lengths in a head that is not whole", "llhttp", "the same",
        "9112, 6.1", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked";
    Other(|d| d.they_refuse("URL") && d.ours.is_err())
        "a target of no form in a request line that is not whole", "llhttp",
        "refused by both; here when the line is whole, for the form hangs on the method",
        "9112, 3.2", "GET a: HT";
    Other(|d| (d.they_refuse("CONTENT_LENGTH") || d.they_refuse("TRANSFER_ENCODING"))
        && d.ours_is(|our| count(&our.fields, "transfer-encoding") > 0)
        && d.has(b"chunked"))
        "Content-Length or Transfer-Encoding among trailers", "llhttp",
        "read by the grammar and dropped", "9110, 6.5.1",
        chunks("0\r\nContent-Length: 1\r\n\r\n");
    Other(|d| d.has_tab_at_a_line_end() && (d.they_refuse("CONTENT_LENGTH")
            || d.they_refuse("TRANSFER_ENCODING")
            || d.they_refuse("CLOSED")
            || d.ours == Err(Ending::Closed)))
        "HTAB behind the value of Content-Length, Transfer-Encoding or Connection", "llhttp",
        "white space around a value MUST be left out: SP and HTAB", "9110, 5.5",
        post("Content-Length: 1\t\r\n", "a");
    Other(|d| d.ours == Err(Ending::Closed) && d.before.is_some_and(closes))
        "a request behind `Connection: close, x`", "llhttp",
        "`close` in any element ends the connection; llhttp overlooks some",
        "9112, 9.6",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\t, x\r\n\r\n".to_owned() + &get("/");
    Other(|d| d.ours == Err(Ending::Closed) && d.before.is_some_and(closes))
        "a request behind `Connection: \u{e9}, close`", "hyper",
        "the same; hyper reads only values of ASCII",
        "9112, 9.6",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: \u{e9}, close\r\n\r\n".to_owned() + &get("/");
    Other(|d| d.theirs == Err(&End::Quiet) && d.before.is_some_and(asks_in_vain))
        "a request behind `Connection: \u{e9}, keep-alive` in HTTP/1.0", "hyper",
        "the same, the other way round", "9112, 9.3",
        "GET / HTTP/1.0\r\nConnection: \u{e9}, keep-alive\r\n\r\n".to_owned() + &get("/");
    Other(|d| d.they_refuse("TransferEncoding")
        && d.ours_is(|our| list(&our.fields, "transfer-encoding").len() == 1))
        "`chunked` and a second, empty line of Transfer-Encoding", "hyper",
        "empty elements of a list MUST be passed over", "9110, 5.6.1",
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "0\r\n\r\n");
};

/// The line of a chunk's size, beside `httparse::parse_chunk_size`.
pub const CHUNK_SIZES: &[Class] = classes! {
    Stricter(Error::ChunkSize) "an empty line, or one that begins with `;` or white space",
        "httparse", "a size has a digit; httparse reads 0, the end of the body",
        "9112, 7.1", "\r\n";
    Stricter(Error::ChunkExtension) "white space behind a size, an extension outside of the grammar",
        "httparse", "no production has it", "9112, 7.1.1", "1 \r\n";
    Stricter(Error::BareLf) "LF inside of an extension", "httparse",
        "another hop ends the line there (CVE-2025-22871)", "9112, 7.1", "1;a\nb\r\n";
    Stricter(Error::ChunkLineTooLong) "a line over 256 bytes", "httparse",
        "a limit of ours", "9112, 7.1.1", format!("1;{}\r\n", "a".repeat(256));
    Other(|d| d.they_refuse("chunk size") && d.bytes.starts_with(b"0"))
        "over 16 digits, zeros in front", "httparse", "a size has any number of digits",
        "9112, 7.1", format!("{}1\r\n", "0".repeat(16));
};
