//! What goes to stdout: data, and nothing else.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

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

/// The same without what could play with the terminal: control characters, and those that change the
/// direction of the text.
pub(super) fn harmless(text: &str) -> String {
    let plays = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if plays(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
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
}
