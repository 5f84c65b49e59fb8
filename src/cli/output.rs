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
