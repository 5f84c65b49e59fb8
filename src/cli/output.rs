//! What goes to stdout: data, and nothing else.

use std::fmt::{Display, Write as _};
use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

/// Writes data, with its colours only if a terminal reads it. Returns whether anybody still reads: a
/// reader that went away, as `head` does, is no failure.
pub(super) fn print(data: impl Display) -> io::Result<bool> {
    let mut stdout = anstream::stdout().lock();
    match write!(stdout, "{data}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// A value as JSON on one line. What could play with the terminal is escaped, also where JSON lets it stand.
pub(super) fn json(value: &impl Serialize) -> String {
    // What is printed came as JSON, or is made of strings and numbers: it can be written.
    let text = serde_json::to_string(value).unwrap_or_default();
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if plays(c) {
            // Such a character stands within a string; those that need two units do not play.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
        safe
    })
}

/// The same without what could play with the terminal.
pub(super) fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if plays(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// Control characters, and those that change the direction of the text.
fn plays(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_cannot_play_with_the_terminal() {
        for (text, shown) in [
            ("plain, grün, 日本語\t.", "plain, grün, 日本語\t."),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\rb\u{9b}c\u{7f}", "a\\rb\\u{9b}c\\u{7f}"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn json_cannot_either_and_says_the_same() {
        let text = "a\n\u{1b}\u{7f}\u{9b}\u{202e}\u{1f600}grün";
        let json = json(&text);
        assert_eq!(json, "\"a\\n\\u001b\\u007f\\u009b\\u202e\u{1f600}grün\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
