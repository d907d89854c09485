//! llhttp, written in another language than all the others, as Node has it: `node llhttp.js`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

use super::{End, Seen, Story, sorted};

/// What it says of each of the connections; `None` without Node, if that has not
/// version 9, or if it lets nobody at it.
pub fn stories(connections: &[Vec<u8>]) -> Option<Vec<Story>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/llhttp.js");
    let mut command = Command::new("node");
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut node = command.spawn().ok()?;
    let mut input = node.stdin.take().expect("it is piped");
    let lines: String = connections.iter().map(|bytes| hex(bytes) + "\n").collect();
    // Both pipes are shorter than what goes through them.
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = BufReader::new(node.stdout.take().expect("it is piped"));
    let stories: Vec<Story> = output.lines().map_while(|line| parse(&line.ok()?)).collect();
    let written = writer.join().expect("it does not panic");
    let ended = node.wait().expect("it is a child");
    (written.is_ok() && ended.success() && stories.len() == connections.len()).then_some(stories)
}

/// `END COUNT (METHOD TARGET MINOR BODY LINES (NAME VALUE)*)*`, all but the numbers in hexadecimal.
fn parse(line: &str) -> Option<Story> {
    let mut words = line.split(' ');
    let end = match words.next()? {
        "-" => End::Quiet,
        code => End::Refused(code.to_owned()),
    };
    let count: usize = words.next()?.parse().ok()?;
    let mut requests = Vec::new();
    for _ in 0..count {
        let (method, target) = (unhex(words.next()?)?, unhex(words.next()?)?);
        let minor = words.next()?.parse().ok()?;
        let body = unhex(words.next()?)?;
        let mut fields = Vec::new();
        for _ in 0..words.next()?.parse().ok()? {
            fields.push((unhex(words.next()?)?, unhex(words.next()?)?));
        }
        let fields = sorted(fields.iter().map(|(name, value)| (&name[..], &value[..])));
        requests.push(Seen { method, target, minor, fields, body });
    }
    Some(Story { requests, end })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
