//! What the audience sees: who says what to whom, and when.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::Tally;
use crate::clock;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// For people: lines, in colour where the writer takes colours.
    People,
    /// For programs: a JSON object a line.
    Programs,
}

/// Writes down what happens.
pub struct Trace {
    audience: Audience,
    began: Instant,
    to: Mutex<Box<dyn Write + Send>>,
}

impl Trace {
    /// Begins now. Who stops reading misses the rest; nothing else comes of it.
    pub fn new(audience: Audience, to: impl Write + Send + 'static) -> Self {
        Self { audience, began: clock::instant(), to: Mutex::new(Box::new(to)) }
    }

    /// An act begins.
    pub(super) fn act(&self, title: &str, what: &str) {
        self.write(
            || format!("\n{BOLD}{title}{BOLD:#}\n{DIM}{what}{DIM:#}\n"),
            || json!({ "event": "act", "title": title, "what": what }),
        );
    }

    /// Somebody says something to somebody.
    pub(super) fn said(&self, from: &str, to: &str, what: &str) {
        self.line(from, to, Style::new(), what);
    }

    /// Something went as it should.
    pub(super) fn good(&self, from: &str, to: &str, what: &str) {
        self.line(from, to, GOOD, what);
    }

    /// Something failed.
    pub(super) fn bad(&self, from: &str, to: &str, what: &str) {
        self.line(from, to, BAD, what);
    }

    fn line(&self, from: &str, to: &str, style: Style, what: &str) {
        let at = self.began.elapsed();
        self.write(
            || {
                let (one, other) = (style_of(from), style_of(to));
                format!(
                    "{DIM}{} s{DIM:#}  {one}{from:>8}{one:#} {} {other}{to:<8}{other:#}  {style}{what}{style:#}",
                    seconds(at),
                    if to.is_empty() { ' ' } else { '→' },
                )
            },
            || json!({ "event": "line", "seconds": at.as_secs_f64(), "from": from, "to": to, "what": what }),
        );
    }

    /// The end.
    pub(super) fn summary(&self, tally: &Tally) {
        let at = self.began.elapsed();
        let row = |name: &str, n: usize, wanted: bool| {
            let style = if wanted { GOOD } else { BAD };
            let (arrived, sent) = (tally.arrived[n], tally.sent[n]);
            format!("  {name}  {style}{arrived:>2} of {sent:>2} messages reached kari{style:#}\n")
        };
        self.write(
            || {
                let without = row("without Pollgate", 0, tally.arrived[0] == 0);
                let with = row("with Pollgate   ", 1, tally.arrived[1] == tally.sent[1]);
                format!("\n{BOLD}After {} s{BOLD:#}\n{without}{with}", seconds(at).trim_start())
            },
            || {
                json!({
                    "event": "summary",
                    "seconds": at.as_secs_f64(),
                    "without": { "sent": tally.sent[0], "arrived": tally.arrived[0] },
                    "with": { "sent": tally.sent[1], "arrived": tally.arrived[1] },
                    "as_it_should_be": tally.is_as_it_should_be(),
                })
            },
        );
    }

    fn write(&self, people: impl FnOnce() -> String, programs: impl FnOnce() -> serde_json::Value) {
        let text = match self.audience {
            Audience::People => people(),
            Audience::Programs => programs().to_string(),
        };
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody reads on: the demo still ends with the right exit code.
        let _ = writeln!(to, "{text}").and_then(|()| to.flush());
    }
}

fn seconds(span: Duration) -> String {
    format!("{:>6.3}", span.as_secs_f64())
}

/// Each of the cast has a colour.
fn style_of(who: &str) -> Style {
    match who {
        "kari" => AnsiColor::Cyan.on_default(),
        "alan" => AnsiColor::Blue.on_default(),
        "server" => AnsiColor::Yellow.on_default(),
        "gateway" => AnsiColor::Magenta.on_default(),
        _ => Style::new(),
    }
}
