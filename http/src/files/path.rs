//! The path of a file below a directory, and its media type. Pure; the file system is not asked.
//! Next: `files`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::grammar::hex_value;

/// The names of a percent-encoded path, if each is one that stays below: not empty, `.` or `..`, and
/// without a NUL or a slash that was encoded; none that begins with a dot unless `dotfiles`.
pub(super) fn relative(path: &[u8], dotfiles: bool) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for name in path.split(|&byte| byte == b'/') {
        let name = percent_decoded(name)?;
        let is_name = !matches!(&name[..], b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, b'\0' | b'/'))
            && (dotfiles || name[0] != b'.');
        if !is_name {
            return None;
        }
        relative.push(OsStr::from_bytes(&name));
    }
    Some(relative)
}

/// The media type of a file's extension; bytes that nothing is known of, if it is unknown.
pub(super) fn content_type(path: &Path) -> &'static str {
    const TYPES: [(&str, &str); 24] = [
        ("css", "text/css; charset=utf-8"),
        ("csv", "text/csv; charset=utf-8"),
        ("gif", "image/gif"),
        ("gz", "application/gzip"),
        ("htm", "text/html; charset=utf-8"),
        ("html", "text/html; charset=utf-8"),
        ("ico", "image/x-icon"),
        ("jpeg", "image/jpeg"),
        ("jpg", "image/jpeg"),
        ("js", "text/javascript; charset=utf-8"),
        ("json", "application/json"),
        ("md", "text/markdown; charset=utf-8"),
        ("mjs", "text/javascript; charset=utf-8"),
        ("mp4", "video/mp4"),
        ("pdf", "application/pdf"),
        ("png", "image/png"),
        ("svg", "image/svg+xml"),
        ("txt", "text/plain; charset=utf-8"),
        ("wasm", "application/wasm"),
        ("webm", "video/webm"),
        ("webp", "image/webp"),
        ("woff2", "font/woff2"),
        ("xml", "application/xml"),
        ("zip", "application/zip"),
    ];
    let extension = path.extension().unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => (hex_value(*high)? << 4 | hex_value(*low)?, after),
            (b'%', _) => return None,
            (&byte, after) => (byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    // aiohttp's CVE-2024-23334, and its family.
    #[test]
    fn a_path_that_could_leave_the_directory_has_no_file() {
        for path in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "../a",
            "a/..",
            "a/../../b",
            "%2e%2e/a",
            "%2E./a",
            ".%2e",
            "a%2fb",
            "%2fetc%2fpasswd",
            "a/%2e%2e%2fb",
            "a%00",
            "a%",
            "a%2",
            "a%zz",
            "a/./b",
        ] {
            assert_eq!(relative(path.as_bytes(), true), None, "{path}");
        }
        for path in [".git/config", "a/.env", "%2egit", "..."] {
            assert_eq!(relative(path.as_bytes(), false), None, "{path}");
            assert!(relative(path.as_bytes(), true).is_some(), "{path}");
        }
        for (path, expected) in [
            ("a", "a"),
            ("a/b.c", "a/b.c"),
            ("a%20b", "a b"),
            ("%61", "a"),
            ("%252e%252e", "%2e%2e"), // decoded once
            ("a..b", "a..b"),
            ("a\\..\\b", "a\\..\\b"), // one name, with backslashes in it
        ] {
            assert_eq!(relative(path.as_bytes(), false), Some(expected.into()), "{path}");
        }
    }

    #[test]
    fn the_extension_names_the_media_type_in_any_case() {
        assert_eq!(content_type(Path::new("a/b.HTML")), "text/html; charset=utf-8");
        assert_eq!(content_type(Path::new("a.tar.gz")), "application/gzip");
        for unknown in ["a", "a.unknown", "html", "a.html.exe"] {
            assert_eq!(content_type(Path::new(unknown)), "application/octet-stream", "{unknown}");
        }
    }
}
