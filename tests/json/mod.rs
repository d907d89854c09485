//! JSON as it is read (RFC 8259), strictly: what is not JSON panics and says where.

// Each binary compiles this file and uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The value of this text, all of it.
    pub fn read(text: &str) -> Json {
        let mut reader = Reader { rest: text.trim(), whole: text };
        let value = reader.value();
        assert_eq!(reader.rest, "", "something follows the value");
        value
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(name),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Json::Text(text)) => text,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn number(&self, name: &str) -> f64 {
        match self.get(name) {
            Some(Json::Number(number)) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn list(&self, name: &str) -> &[Json] {
        match self.get(name) {
            Some(Json::List(list)) => list,
            other => panic!("{name} is {other:?}"),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> Json {
        match self.peek() {
            '{' => {
                let mut members = BTreeMap::new();
                self.elements('{', '}', |reader| {
                    let name = reader.string();
                    reader.expect(":");
                    let value = reader.value();
                    assert!(members.insert(name, value).is_none(), "a name twice");
                });
                Json::Object(members)
            }
            '[' => {
                let mut list = Vec::new();
                self.elements('[', ']', |reader| list.push(reader.value()));
                Json::List(list)
            }
            '"' => Json::Text(self.string()),
            't' => self.word("true", Json::Bool(true)),
            'f' => self.word("false", Json::Bool(false)),
            'n' => self.word("null", Json::Null),
            _ => {
                let number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
                let end = self.rest.find(|c| !number(c)).unwrap_or(self.rest.len());
                let text = &self.rest[..end];
                let value = text.parse().unwrap_or_else(|_| self.wrong("a number"));
                self.rest = &self.rest[end..];
                Json::Number(value)
            }
        }
    }

    fn elements(&mut self, open: char, close: char, mut read: impl FnMut(&mut Self)) {
        self.expect(&open.to_string());
        if self.peek() == close {
            return self.expect(&close.to_string());
        }
        loop {
            read(self);
            if self.peek() == close {
                return self.expect(&close.to_string());
            }
            self.expect(",");
        }
    }

    fn string(&mut self) -> String {
        self.expect("\"");
        let mut text = String::new();
        loop {
            let c = self.next();
            match c {
                '"' => return text,
                '\\' => match self.next() {
                    'u' => {
                        let digits = &self.rest[..4];
                        self.rest = &self.rest[4..];
                        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                        text.push(code.unwrap_or_else(|| self.wrong("four digits")));
                    }
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    c @ ('"' | '\\' | '/') => text.push(c),
                    _ => self.wrong("an escape"),
                },
                '\0'..' ' => self.wrong("no control character"),
                c => text.push(c),
            }
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Json {
        self.expect(word);
        value
    }

    fn expect(&mut self, text: &str) {
        self.peek();
        self.rest = self.rest.strip_prefix(text).unwrap_or_else(|| self.wrong(text));
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> char {
        self.rest = self.rest.trim_start();
        self.rest.chars().next().unwrap_or_else(|| self.wrong("more"))
    }

    fn next(&mut self) -> char {
        let c = self.rest.chars().next().unwrap_or_else(|| self.wrong("more"));
        self.rest = &self.rest[c.len_utf8()..];
        c
    }

    fn wrong(&self, expected: &str) -> ! {
        let at = self.whole.trim().len() - self.rest.len();
        let near: String = self.rest.chars().take(40).collect();
        panic!("at byte {at}: expected {expected}, found {near:?}");
    }
}
