//! A trace as a picture: the trace-event format, which <https://ui.perfetto.dev> and `chrome://tracing`
//! open.
//!
//! Slices for waits, turns, each piece of user code and a pool's work (on its thread's row), instants
//! for what the kernel reported, arrows from what woke a job to its run. Next: `compat`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::{Event, Trace, What};
use crate::pulse::Work;
use crate::state::ready::{Job, Kind};

impl Trace {
    /// Writes the trace-event format. Many small writes: give it a `BufWriter`.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_chrome_json(&self, mut to: impl Write) -> io::Result<()> {
        let process = self.process;
        write!(to, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let mut separator = "\n";
        for (thread, name) in self.threads() {
            write!(to, "{separator}{{\"ph\":\"M\",\"pid\":{process},\"tid\":{thread},")?;
            write!(to, "\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}", Escaped(&name))?;
            separator = ",\n";
        }
        let own = format!("\"pid\":{process},\"tid\":{}", self.thread);
        let (mut woken, mut given) = (HashMap::new(), HashMap::new());
        let mut flows = 0_u64;
        for event in &self.events {
            let place = match event.what {
                What::Pool { thread } => format!("\"pid\":{process},\"tid\":{thread}"),
                _ => own.clone(),
            };
            write!(to, ",\n{{{place},{event}}}")?;
            let (arrow, from_ns) = match event.what {
                What::Wake(_) => {
                    woken.entry(event.job().map(Job::to_u64)).or_insert(event.at_ns);
                    continue;
                }
                What::Give => {
                    given.insert(event.token, event.at_ns);
                    continue;
                }
                What::Pool { .. } => ("give", given.remove(&event.token)),
                _ => ("wake", event.job().and_then(|job| woken.remove(&Some(job.to_u64())))),
            };
            let Some(from_ns) = from_ns else { continue };
            flows += 1;
            for (place, phase, at_ns) in
                [(&own, "s\"", from_ns), (&place, "f\",\"bp\":\"e\"", event.at_ns)]
            {
                write!(to, ",\n{{{place},\"ph\":\"{phase},\"id\":{flows},\"name\":\"{arrow}\",")?;
                write!(to, "\"cat\":\"{arrow}\",\"ts\":{}}}", Micros(at_ns))?;
            }
        }
        writeln!(to, "\n]}}")
    }

    /// The loop's thread, and those of pools that worked for it.
    fn threads(&self) -> BTreeMap<i32, String> {
        let mut threads = BTreeMap::new();
        for event in &self.events {
            if let What::Pool { thread } = event.what {
                threads.entry(thread).or_insert_with(|| format!("pool {thread}"));
            }
        }
        threads.insert(self.thread, format!("{} (reactor)", self.thread_name));
        threads
    }
}

impl Event {
    /// Whose wake or run it is.
    fn job(&self) -> Option<Job> {
        let kind = match self.what {
            What::Wake(kind) => kind,
            What::Piece(Work::Callback) => Kind::Source,
            What::Piece(Work::Task) => Kind::Task,
            What::Piece(Work::Timer) => Kind::Timer,
            What::Piece(Work::Waker) => Kind::Waker,
            What::Piece(Work::Call)
            | What::Turn
            | What::Wait { .. }
            | What::Report(_)
            | What::Spawn
            | What::Give
            | What::Pool { .. }
            | What::End => return None,
        };
        Some(Job::new(kind, self.token))
    }

    /// Its name, and the group that it can be filtered by.
    fn name(&self) -> (&'static str, &'static str) {
        match self.what {
            What::Turn => ("turn", "loop"),
            What::Wait { slept: true } => ("wait", "loop"),
            What::Wait { slept: false } => ("look", "loop"),
            What::Piece(Work::Callback) => ("callback", "source"),
            What::Piece(Work::Task) => ("poll", "task"),
            What::Piece(Work::Timer) => ("timer", "timer"),
            What::Piece(Work::Waker) => ("waker", "waker"),
            What::Piece(Work::Call) => ("call", "remote"),
            What::Report(_) => ("report", "source"),
            What::Wake(_) => ("wake", "wake"),
            What::Spawn => ("spawn", "task"),
            What::End => ("end", "task"),
            What::Give => ("give", "pool"),
            What::Pool { .. } => ("work", "pool"),
        }
    }

    fn is_span(&self) -> bool {
        matches!(self.what, What::Turn | What::Wait { .. } | What::Piece(_) | What::Pool { .. })
    }
}

/// The fields of its JSON object but for process and thread.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, group) = self.name();
        write!(f, "\"cat\":\"{group}\",\"ts\":{},\"name\":\"{name}", Micros(self.at_ns))?;
        if let Some(place) = self.place {
            write!(f, " {}:{}", Escaped(place.file()), place.line())?;
        }
        f.write_str("\",")?;
        if self.is_span() {
            write!(f, "\"ph\":\"X\",\"dur\":{}", Micros(self.took_ns))?;
        } else {
            f.write_str("\"ph\":\"i\",\"s\":\"t\"")?;
        }
        match self.what {
            What::Turn
            | What::Wait { .. }
            | What::Piece(Work::Call)
            | What::Give
            | What::Pool { .. } => Ok(()),
            What::Piece(_) | What::Spawn | What::End => {
                write!(f, ",\"args\":{{\"token\":\"{:?}\"}}", self.token)
            }
            What::Report(readiness) => {
                write!(f, ",\"args\":{{\"token\":\"{:?}\",", self.token)?;
                write!(f, "\"readiness\":\"{readiness:?}\"}}")
            }
            What::Wake(kind) => {
                write!(f, ",\"args\":{{\"token\":\"{:?}\",\"kind\":\"{kind:?}\"}}", self.token)
            }
        }
    }
}

/// Nanoseconds as the format's microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Text inside a JSON string (RFC 8259, 7).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ring;
    use super::super::tests::record;
    use super::*;

    fn json(ring: Ring) -> String {
        let mut json = Vec::new();
        let trace = ring.into_trace(7, 8, "a \"thread\"\n".to_owned());
        trace.write_chrome_json(&mut json).expect("memory takes everything");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    #[test]
    fn a_wake_and_the_next_run_of_the_same_job_are_joined_by_a_flow() {
        let mut ring = Ring::new(10);
        record(&mut ring, What::Wake(Kind::Task), 1500, 0);
        record(&mut ring, What::Wake(Kind::Source), 1600, 0);
        record(&mut ring, What::Piece(Work::Task), 2000, 1);
        record(&mut ring, What::Piece(Work::Task), 3000, 1);
        let json = json(ring);
        let flow = "\"id\":1,\"name\":\"wake\",\"cat\":\"wake\",\"ts\":";
        assert!(json.contains(&format!("\"ph\":\"s\",{flow}1.500}}")), "{json}");
        assert!(json.contains(&format!("\"ph\":\"f\",\"bp\":\"e\",{flow}2.000}}")), "{json}");
        assert!(!json.contains("\"id\":2"), "a run that nobody woke, a wake that led to no run");
    }

    #[test]
    fn work_that_was_given_and_the_thread_that_did_it_are_joined_by_a_flow() {
        let mut ring = Ring::new(10);
        record(&mut ring, What::Give, 1000, 0);
        record(&mut ring, What::Pool { thread: 9 }, 3000, 5);
        let json = json(ring);
        let flow = "\"id\":1,\"name\":\"give\",\"cat\":\"give\",\"ts\":";
        for (thread, phase, at) in [(8, "s\"", "1.000"), (9, "f\",\"bp\":\"e\"", "3.000")] {
            let end = format!("\"tid\":{thread},\"ph\":\"{phase},{flow}{at}}}");
            assert!(json.contains(&end), "{end} in {json}");
        }
    }

    #[test]
    fn what_contains_others_stands_before_them_and_text_is_escaped() {
        let mut ring = Ring::new(10);
        record(&mut ring, What::Piece(Work::Task), 10, 5);
        record(&mut ring, What::Turn, 10, 90);
        let json = json(ring);
        assert!(json.find("\"name\":\"turn\"") < json.find("\"name\":\"poll\""), "{json}");
        assert!(json.contains(r#""name":"a \"thread\"\u000a (reactor)""#), "{json}");
    }
}
