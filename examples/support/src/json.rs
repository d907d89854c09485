//! JSON strings, for programs that write their JSON by hand.
//!
//! Numbers and structure are `format!`'s business; what is easy to get wrong is text. There is no
//! reading of JSON. Next: `table`.

/// The text as a JSON string with its quotes (RFC 8259, 7).
pub fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        '\0'..' ' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        assert_eq!(quoted("a \"b\" \\ \n\u{1f} é"), r#""a \"b\" \\ \u000a\u001f é""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
