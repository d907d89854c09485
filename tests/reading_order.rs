//! Holds the code to ARCHITECTURE.md: each file uses only what stands before it there, `lib.rs` names
//! its modules in that order, and the pure parts name no clock, descriptor or system call.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of one crate in the order of ARCHITECTURE.md.
fn reading_order(crate_name: &str) -> Vec<String> {
    let page = read("ARCHITECTURE.md");
    let section = page.split(&format!("### {crate_name}/src\n")).nth(1).expect("the section");
    let section = section.split("\n#").next().expect("a first part");
    let order: Vec<String> = section.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let numbers: Vec<usize> = section
        .split_whitespace()
        .filter_map(|word| word.strip_suffix('.')?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=order.len()).collect::<Vec<_>>(), "the numbers are in order");
    order
}

/// Every file of a crate with its module path.
fn files(crate_name: &str) -> Vec<(String, PathBuf)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(String, PathBuf)>) {
        for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let relative = path.strip_prefix(root).expect("below the root").with_extension("");
                let name = relative.to_str().expect("UTF-8").replace('/', "::");
                found.push((name.trim_end_matches("::mod").to_owned(), path));
            }
        }
    }
    let root = root().join(crate_name).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.retain(|(name, _)| name != "lib" && name.split("::").all(|part| part != "tests"));
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).expect("the file is there")
}

/// The code without its unit tests and its comments.
fn code(path: &Path) -> String {
    let text = read(path);
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules of its own crate that a file names: `crate::a::b`, `super::b`, and `use` groups.
fn used(name: &str, code: &str, order: &HashMap<String, usize>) -> Vec<String> {
    let parent = name.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", ""), ("super::", parent)] {
        for rest in code.split(prefix).skip(1) {
            let group = match rest.strip_prefix('{') {
                Some(inside) => inside.split('}').next().unwrap_or_default(),
                None => rest,
            };
            let paths: Vec<&str> =
                if group.len() == rest.len() { vec![rest] } else { group.split(',').collect() };
            for path in paths {
                let path: String = path
                    .trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                    .collect();
                let mut path = if base.is_empty() { path } else { format!("{base}::{path}") };
                // The longest prefix that is a module.
                while !order.contains_key(&path) {
                    match path.rsplit_once("::") {
                        Some((shorter, _)) => path = shorter.to_owned(),
                        None => break,
                    }
                }
                if order.contains_key(&path) && path != name {
                    found.push(path);
                }
            }
        }
    }
    found
}

#[test]
fn each_file_uses_only_what_stands_before_it() {
    for crate_name in ["reactor", "http"] {
        let order = reading_order(crate_name);
        let place: HashMap<String, usize> =
            order.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        for (name, path) in files(crate_name) {
            let own = *place
                .get(&name)
                .unwrap_or_else(|| panic!("ARCHITECTURE.md does not list {crate_name}'s {name}"));
            for other in used(&name, &code(&path), &place) {
                assert!(
                    place[&other] < own || name.starts_with(&format!("{other}::")),
                    "{crate_name}: {name} (number {}) uses {other} (number {}): it points up",
                    own + 1,
                    place[&other] + 1
                );
            }
        }
        let listed = order.len();
        assert_eq!(listed, files(crate_name).len(), "a listed file of {crate_name} is gone");
    }
}

#[test]
fn lib_names_its_modules_in_reading_order() {
    for crate_name in ["reactor", "http"] {
        let order = reading_order(crate_name);
        let tops: Vec<&str> =
            order.iter().map(|name| name.as_str()).filter(|name| !name.contains("::")).collect();
        let lib = read(format!("{crate_name}/src/lib.rs"));
        let mut named: Vec<&str> = lib
            .lines()
            .filter_map(|line| {
                line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
            })
            .collect();
        named.dedup(); // `state` stands there twice, for the feature
        assert_eq!(named, tops, "{crate_name}/src/lib.rs");
    }
}

#[test]
fn the_pure_core_names_no_clock_no_descriptor_and_no_call() {
    let forbidden = [
        "std::time",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::net",
        "std::os",
        "std::io",
        "std::thread",
        "std::sync",
        "libc::",
        "mio::",
        "unsafe",
        "dyn Fn",
        "Waker",
        "Future",
        "crate::sys",
        "crate::local",
    ];
    for (name, path) in files("reactor").into_iter().filter(|(name, _)| name.starts_with("state")) {
        let code = code(&path);
        for word in forbidden {
            // `Kind::Waker` is a key, not a waker.
            let hits = code.replace("Kind::Waker", "").replace("    Waker,", "").contains(word);
            assert!(!hits, "{name} names {word}");
        }
    }
    let protocol = [
        "grammar", "method", "status", "error", "limits", "headers", "head", "framing", "chunked",
        "date", "encode", "protocol",
    ];
    for (name, path) in files("http").into_iter().filter(|(n, _)| protocol.contains(&n.as_str())) {
        let code = code(&path);
        for word in ["Instant", "SystemTime", "TcpStream", "squall_reactor", "async ", "std::io"] {
            assert!(!code.contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn unsafe_stands_in_sys_alone() {
    for crate_name in ["reactor", "http"] {
        for (name, path) in files(crate_name) {
            let allowed = name.starts_with("sys");
            let code = code(&path);
            assert!(allowed || !code.contains("unsafe "), "{crate_name}'s {name} has unsafe code");
        }
    }
}

// A page of the reference that only names its methods does not show how they go together.
#[test]
fn every_public_type_has_an_example() {
    let inner = ["state", "sys", "protocol"];
    for crate_name in ["reactor", "http"] {
        for (name, path) in files(crate_name) {
            if inner.contains(&name.split("::").next().unwrap_or_default()) {
                continue;
            }
            let text = read(path);
            let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            let mut has_example = false;
            for line in text.lines() {
                let declared = ["pub struct ", "pub enum ", "pub trait "]
                    .iter()
                    .find_map(|kind| line.strip_prefix(kind));
                match declared {
                    Some(declared) => {
                        let exempt = declared.starts_with("Serials"); // the core's
                        assert!(
                            has_example || exempt,
                            "{crate_name}'s {name}: {declared} no example"
                        );
                        has_example = false;
                    }
                    None if line.starts_with("/// ```") => has_example = true,
                    None if line.starts_with("///") || line.starts_with("#[") => {}
                    None => has_example = false,
                }
            }
        }
    }
}
