//! Escapes untrusted text for a terminal: control characters and the like.

/// The longest argument that is shown whole, in characters.
const MAX_WORD: usize = 60;

/// Escapes a text, so that it is one line.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let escaped = c.escape_debug();
        // Quotes and backslashes do no harm.
        if escaped.len() == 1 || matches!(c, '\'' | '"' | '\\') {
            line.push(c);
        } else {
            line.extend(escaped);
        }
    }
    line
}

/// Escapes an argument, shortened, and quoted if it is empty or has blanks.
pub(crate) fn word(word: &str) -> String {
    let shown = match word.char_indices().nth(MAX_WORD) {
        Some((end, _)) => format!("{}...", &word[..end]),
        None => word.to_owned(),
    };
    let shown = line(&shown);
    if shown.is_empty() || shown.contains(char::is_whitespace) {
        format!("\"{shown}\"")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, expected) in [
            ("From a: it's \"é\" \\ 名", "From a: it's \"é\" \\ 名"),
            ("a\u{1b}[31m\nb\r\u{7}", "a\\u{1b}[31m\\nb\\r\\u{7}"),
            ("\u{9b}2J \u{202e} \u{2028}", "\\u{9b}2J \\u{202e} \\u{2028}"),
        ] {
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn a_word_is_short_and_ends_where_it_is_seen() {
        assert_eq!(word("name-1"), "name-1");
        assert_eq!(word(""), "\"\"");
        assert_eq!(word("two words"), "\"two words\"");
        assert_eq!(word(&"é".repeat(1000)), format!("{}...", "é".repeat(MAX_WORD)));
    }
}
