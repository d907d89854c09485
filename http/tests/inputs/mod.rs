//! Random input: messages by the grammar, the same with some bytes changed, and soup of their words.

// Each binary compiles this file and uses a part of it.
#![allow(dead_code)]

use crate::properties::Random;

/// A head: valid, changed in some bytes, or soup.
pub fn head(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => soup(random, HEAD_WORDS, 20),
        1 => head_with(random, &[]),
        _ => {
            let head = head_with(random, &[]);
            changed(random, head)
        }
    }
}

/// A head whose fields are mostly those that frame.
pub fn framed_head(random: &mut Random) -> Vec<u8> {
    let mut lines = random.pick(&[&b""[..], b"", EXPECT]).to_vec();
    for _ in 0..random.below(5) {
        let name = random.pick(FRAMING_NAMES);
        lines.extend_from_slice(name);
        lines.extend_from_slice(&soup(random, FRAMING_WORDS, 5));
        lines.extend_from_slice(b"\r\n");
    }
    head_with(random, &lines)
}

/// A chunked body: valid, changed in some bytes, or soup.
pub fn chunked(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => soup(random, CHUNK_WORDS, 16),
        1 => chunks(random),
        _ => {
            let body = chunks(random);
            changed(random, body)
        }
    }
}

/// Names, values and content of a response, as `properties::encode` takes them.
pub fn response(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(4) {
        bytes.extend_from_slice(random.pick(RESPONSE_NAMES));
        bytes.push(b'\n');
        bytes.extend_from_slice(&soup(random, RESPONSE_WORDS, 5));
        bytes.push(0x1f);
    }
    bytes.extend_from_slice(&soup(random, CHUNK_WORDS, 20));
    if random.below(3) == 0 { changed(random, bytes) } else { bytes }
}

/// What a client sends on one connection: some requests, perhaps changed in some bytes, or cut.
pub fn connection(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(3) {
        bytes.extend_from_slice(&request(random));
    }
    match random.below(4) {
        0 => changed(random, bytes),
        1 => {
            bytes.truncate(random.below(bytes.len() + 1));
            bytes
        }
        _ => bytes,
    }
}

/// A request with its body, framed in one way or in several.
fn request(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => head_with(random, b""),
        1 => {
            let body = soup(random, CHUNK_WORDS, 8);
            let length = (body.len() + random.below(40)).saturating_sub(random.below(40));
            let length = [body.len(), length][random.below(8) / 7];
            [head_with(random, format!("Content-Length: {length}\r\n").as_bytes()), body].concat()
        }
        2 => {
            let body = chunks(random);
            [head_with(random, b"Transfer-Encoding: chunked\r\n"), body].concat()
        }
        3 => {
            let body = chunks(random);
            [head_with(random, random.clone().pick(ODD_FRAMING)), body].concat()
        }
        4 => [framed_head(random), chunked(random)].concat(),
        _ => [head(random), chunked(random)].concat(),
    }
}

/// Words of a list, as they come.
fn soup(random: &mut Random, words: &[&[u8]], most: usize) -> Vec<u8> {
    (0..random.below(most)).flat_map(|_| random.pick(words).to_vec()).collect()
}

/// Some bytes replaced, inserted, removed or doubled.
fn changed(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let byte = match random.below(2) {
            0 => random.number() as u8,
            _ => ODD_BYTES[random.below(ODD_BYTES.len())],
        };
        match random.below(5) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = (at + random.below(30)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + random.below(10)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

fn head_with(random: &mut Random, lines: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n".repeat(random.below(12) / 10);
    bytes.extend_from_slice(random.pick(METHODS));
    bytes.push(b' ');
    bytes.extend_from_slice(random.pick(TARGETS));
    bytes.extend_from_slice(b" HTTP/1.");
    bytes.push(b"1111111029"[random.below(10)]);
    bytes.extend_from_slice(b"\r\nHost: ");
    bytes.extend_from_slice(random.pick(HOSTS));
    bytes.extend_from_slice(b"\r\n");
    for _ in 0..random.below(4) {
        bytes.extend_from_slice(random.pick(NAMES));
        bytes.push(b':');
        bytes.extend_from_slice(&soup(random, VALUE_WORDS, 8));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(lines);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn chunks(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(4) {
        let data = soup(random, CHUNK_WORDS, 8);
        if data.is_empty() {
            continue;
        }
        let size = format!("{}{:x}", "0".repeat(random.below(3)), data.len());
        bytes.extend_from_slice(size.as_bytes());
        bytes.extend_from_slice(random.pick(EXTENSIONS));
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&data);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0");
    bytes.extend_from_slice(random.pick(EXTENSIONS));
    bytes.extend_from_slice(b"\r\n");
    for _ in 0..random.below(3) {
        bytes.extend_from_slice(random.pick(&[b"A: b\r\n", b"Host: x\r\n", b"c:\td \r\n"]));
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Those that mean something somewhere.
const ODD_BYTES: &[u8] = b"\r\n\t :;,/?@%#[]\"\\=01fxHTA\0\x7f\xff";

const METHODS: &[&[u8]] = &[b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"PATCH", b"FOO", b"get"];

const TARGETS: &[&[u8]] = &[
    b"/",
    b"/",
    b"/echo",
    b"/a/b?c=d",
    b"/?a?b/c",
    b"//a",
    b"/|^{}[]\\`%zz",
    b"http://a/",
    b"HTTP://a:80?q",
    b"http://[::1]:8/x",
    b"http://1.2.3.4",
    b"http://[v1.]/",
    b"http://a:65536/",
    b"https://a/",
    b"a:443",
    b"a:",
    b"*",
];

const HOSTS: &[&[u8]] = &[
    b"h",
    b"h",
    b"h",
    b"h",
    b"h",
    b"",
    b"a:80",
    b"[::1]",
    b"[v1.a:b]",
    b"a%41:",
    b"1.2.3.4:65535",
    b"a_b.c-d~",
    b"a:65536",
    b"[v1.]",
    b"[::1",
    b"u@a",
    b"a%4",
];

const NAMES: &[&[u8]] =
    &[b"A", b"Accept", b"Connection", b"X-Forwarded-For", b"x_1", b"TE", b"A-Long-Name-Of-Letters"];

const VALUE_WORDS: &[&[u8]] = &[
    b"a",
    b" ",
    b"\t",
    b"value",
    b"sixteen bytes or",
    b"\xe9",
    b",",
    b";q=1",
    b"close",
    b"keep-alive",
    b"a value of some length, with spaces in it",
];

const FRAMING_NAMES: &[&[u8]] = &[
    b"Content-Length:",
    b"Content-Length: ",
    b"content-length:\t",
    b"Transfer-Encoding: ",
    b"Transfer-Encoding: ",
    b"TRANSFER-encoding:",
    b"Connection: ",
    b"Expect: ",
];

const FRAMING_WORDS: &[&[u8]] = &[
    b"5",
    b"0",
    b"00",
    b"18446744073709551615",
    b"18446744073709551616",
    b"chunked",
    b"Chunked",
    b"chunked",
    b"gzip",
    b"identity",
    b",",
    b", ",
    b" ",
    b"\t",
    b";q=1",
    b";",
    b"\"",
    b"+",
    b"x",
    b"\xe9",
    b"close",
    b"keep-alive",
    b"100-continue",
    b"Content-Length",
];

const EXPECT: &[u8] = b"Expect: 100-continue\r\nContent-Length: 5\r\n";

const ODD_FRAMING: &[&[u8]] = &[
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: +5\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
    b"Content-Length: 5\r\nExpect: x\r\n",
    b"Connection: close\r\nContent-Length: 5\r\n",
    b"Connection: Content-Length\r\nContent-Length: 5\r\n",
];

const CHUNK_WORDS: &[&[u8]] = &[
    b"0",
    b"1",
    b"5",
    b"a",
    b"F",
    b"00",
    b"3e8",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b";",
    b"=",
    b"\"",
    b"\\",
    b" ",
    b"\t",
    b"ext",
    b";a=b",
    b";a=\"b\"",
    b"5\r\nhello\r\n",
    b"1\r\n0\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"A: b\r\n",
    b"GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n",
    b"\xff",
    b"\0",
];

const EXTENSIONS: &[&[u8]] =
    &[b"", b"", b"", b"", b";a", b";a=b", b" ; a = \"b;\\\"c\" ;d", b";a=\"\xe9\t\""];

const HEAD_WORDS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"OPTIONS",
    b"CONNECT",
    b"get",
    b" ",
    b" ",
    b"  ",
    b"\t",
    b"/",
    b"/a?b",
    b"*",
    b"http://a/",
    b"https://a/",
    b"a:80",
    b"http://u@a",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b"HTTP/1.1",
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"Host: h\r\n",
    b"Host",
    b":",
    b": ",
    b"Content-Length: 5\r\n",
    b"A: b\r\n",
    b"Connection",
    b"close",
    b"\xff",
    b"\0",
    b"\x7f",
    b"#",
    b"(",
    b"%zz",
    b"[::1]",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
];

const RESPONSE_NAMES: &[&[u8]] = &[
    b"X-A",
    b"Content-Type",
    b"date",
    b"Set-Cookie",
    b"Content-Length",
    b"transfer-Encoding",
    b"CONNECTION",
    b"",
    b"a b",
    b"a:",
    b"a\r",
    b"x-Odd_Name~",
];

const RESPONSE_WORDS: &[&[u8]] = &[
    b"a",
    b" ",
    b"\t",
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\x7f",
    b"\xe9",
    b"Set-Cookie: admin=1",
    b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"value",
];
