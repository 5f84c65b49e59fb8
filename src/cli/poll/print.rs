//! How a message is shown.

use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};

use crate::agent::Message;
use crate::cli::output::{self, harmless};

const DIM: Style = Style::new().dimmed();

/// The fields worth showing: who it is from, and what the body is.
const SHOWN: [&str; 2] = ["RVP-From-Principal", "Content-Type"];

/// One JSON object on a line: the message as the gateway gave it.
pub(super) fn json(message: &Message) -> io::Result<bool> {
    output::print(format_args!("{}\n", output::json(message)))
}

/// Lines for people.
pub(super) fn text(message: &Message) -> io::Result<bool> {
    output::print(lines(message))
}

fn lines(message: &Message) -> String {
    let style = match message.class.as_str() {
        "presence" => AnsiColor::Cyan.on_default(),
        "typing" => DIM,
        _ => AnsiColor::Green.on_default(),
    }
    .bold();
    let [at, class, method, target] =
        [&message.received_at, &message.class, &message.method, &message.target].map(|text| harmless(text));
    let mut lines = format!(
        "{DIM}{at}{DIM:#}  {style}{class}{style:#}  {method} {target}  {DIM}#{}{DIM:#}\n",
        message.id
    );
    for name in SHOWN {
        if let Some(value) = message.header(name) {
            let _ = writeln!(lines, "    {DIM}{name}: {}{DIM:#}", harmless(value));
        }
    }
    match (&message.body, &message.body_base64) {
        (Some(body), _) => {
            for line in body.lines() {
                let _ = writeln!(lines, "    {}", harmless(line));
            }
        }
        (None, Some(base64)) => {
            let _ = writeln!(lines, "    {DIM}(not text; base64){DIM:#} {}", harmless(base64));
        }
        (None, None) => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_people() {
        let message = Message {
            id: 7,
            received_at: "2001-08-01T12:00:00.000Z".into(),
            class: "message".into(),
            method: "NOTIFY".into(),
            target: "http://10.1.2.3:1234".into(),
            headers: vec![("Host".into(), "h".into()), ("content-type".into(), "text/xml".into())],
            body: Some("one\r\ntwo\u{1b}".into()),
            body_base64: None,
        };
        let plain = anstream::adapter::strip_str(&lines(&message)).to_string();
        assert_eq!(
            plain,
            "2001-08-01T12:00:00.000Z  message  NOTIFY http://10.1.2.3:1234  #7\n\
             \x20   Content-Type: text/xml\n    one\n    two\\u{1b}\n"
        );
        let binary = Message { body: None, body_base64: Some("/w==".into()), ..message };
        assert!(lines(&binary).contains("/w=="));
    }
}
