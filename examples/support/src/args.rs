//! A command line: flags, options with a value, `--help`, and nothing else.
//!
//! A program lists what it takes, once; parsing and the help text come from that list. There are
//! no subcommands, no short names and no positional arguments. Next: `limits`.

use std::fmt::Write as _;
use std::str::FromStr;

/// What a program takes.
#[derive(Debug)]
pub struct Args {
    program: &'static str,
    about: &'static str,
    known: Vec<Known>,
}

impl Args {
    /// A program's name as a user types it, and what it does, for `--help`.
    pub fn new(program: &'static str, about: &'static str) -> Self {
        Self { program, about, known: Vec::new() }
    }

    /// Adds an argument without a value.
    pub fn flag(mut self, name: &'static str, help: &'static str) -> Self {
        self.known.push(Known { name, value: None, help });
        self
    }

    /// Adds an argument with a value, which help calls `value`.
    pub fn option(mut self, name: &'static str, value: &'static str, help: &'static str) -> Self {
        self.known.push(Known { name, value: Some(value), help });
        self
    }

    /// Parses the process's command line. `--help` prints the help and exits 0; an argument that
    /// the list does not know prints what is wrong and exits 2.
    pub fn parse(self) -> Parsed {
        match self.parse_from(std::env::args().skip(1)) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                print!("{}", self.help());
                std::process::exit(0)
            }
            Err(wrong) => {
                eprintln!("{}: {wrong}; see --help", self.program);
                std::process::exit(2)
            }
        }
    }

    /// Parses the given arguments; `None` means that help was asked for.
    ///
    /// # Errors
    /// A sentence that names the argument which is unknown or lacks its value.
    pub fn parse_from<I>(&self, args: I) -> Result<Option<Parsed>, String>
    where
        I: IntoIterator<Item = String>,
    {
        let mut args = args.into_iter();
        let mut found = Vec::new();
        while let Some(arg) = args.next() {
            if arg == "--help" || arg == "-h" {
                return Ok(None);
            }
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let Some(known) = self.known.iter().find(|known| known.name == name) else {
                return Err(format!("unknown argument {arg}"));
            };
            let value = match (known.value, inline) {
                (Some(_), Some(value)) => value,
                (Some(what), None) => args.next().ok_or(format!("{name} needs {what}"))?,
                (None, None) => String::new(),
                (None, Some(_)) => return Err(format!("{name} takes no value")),
            };
            found.push((known.name, value));
        }
        Ok(Some(Parsed { program: self.program, found }))
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        let usage = |known: &Known| match known.value {
            Some(value) => format!("{} {value}", known.name),
            None => known.name.to_owned(),
        };
        let width = self.known.iter().map(|known| usage(known).len()).max().unwrap_or(0).max(6);
        let mut text = format!("{}\n\nusage: {} [options]\n\n", self.about, self.program);
        let help = Known { name: "--help", value: None, help: "print this and exit" };
        for known in self.known.iter().chain([&help]) {
            let mut first = usage(known);
            for line in known.help.lines() {
                let _ = writeln!(text, "  {first:width$}  {line}");
                first.clear();
            }
        }
        text
    }
}

/// What the command line said.
#[derive(Debug)]
pub struct Parsed {
    program: &'static str,
    found: Vec<(&'static str, String)>,
}

impl Parsed {
    /// True if the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.found.iter().any(|(known, _)| *known == name)
    }

    /// The option's value; of several the last.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.found.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The option's value as a number, an address or the like. A value that is none prints what is
    /// wrong and exits 2.
    pub fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        let Ok(value) = text.parse() else {
            eprintln!("{}: {name} cannot be {text:?}; see --help", self.program);
            std::process::exit(2)
        };
        Some(value)
    }
}

#[derive(Debug)]
struct Known {
    name: &'static str,
    value: Option<&'static str>,
    help: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args::new("rain", "Makes rain.").flag("--hard", "pour").option(
            "--addr",
            "HOST:PORT",
            "where",
        )
    }

    fn parse(words: &[&str]) -> Result<Option<Parsed>, String> {
        args().parse_from(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn flags_and_values_are_found_in_any_order_and_the_last_value_counts() {
        let parsed = parse(&["--addr", "a:1", "--hard", "--addr=b:2"]).unwrap().unwrap();
        assert!(parsed.has("--hard"));
        assert_eq!(parsed.text("--addr"), Some("b:2"));
        assert!(!parse(&[]).unwrap().unwrap().has("--hard"));
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_named() {
        assert_eq!(parse(&["--snow"]).unwrap_err(), "unknown argument --snow");
        assert_eq!(parse(&["--addr"]).unwrap_err(), "--addr needs HOST:PORT");
        assert_eq!(parse(&["--hard=1"]).unwrap_err(), "--hard takes no value");
    }

    #[test]
    fn help_is_asked_for_anywhere_and_lists_everything() {
        assert!(parse(&["--hard", "--help"]).unwrap().is_none());
        let help = args().help();
        for word in ["Makes rain.", "--hard", "--addr HOST:PORT", "where", "--help"] {
            assert!(help.contains(word), "{word} is missing in {help}");
        }
    }
}
