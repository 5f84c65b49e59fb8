//! `pollgate mailbox peek`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::MailboxId;
use super::answers::Message;
use crate::cli::ask::Gateway;
use crate::cli::output::{self, harmless};
use crate::cli::table::{Column, Table};
use crate::cli::words::{ago, bytes, span};

const DIM: Style = Style::new().dimmed();
const CLASS: Style = AnsiColor::Green.on_default().bold();

/// Look at the messages of a mailbox; that hands nothing out, and acknowledges nothing
#[derive(Debug, Args)]
pub(super) struct PeekArgs {
    #[command(flatten)]
    mailbox: MailboxId,
    /// The dropped messages that are kept, rather than the buffered ones
    #[arg(long)]
    dropped: bool,
    /// With headers and body of each
    #[arg(long)]
    body: bool,
}

pub(super) async fn run(gateway: &Gateway, args: &PeekArgs, json: bool) -> anyhow::Result<ExitCode> {
    let list = if args.dropped { "dropped" } else { "messages" };
    let path = format!("/api/v1/mailboxes/{}/{list}", args.mailbox.id);
    let parameters: &[(&str, &str)] = if args.body { &[("body", "1")] } else { &[] };
    if json {
        gateway.print_pages(&path, parameters, "messages").await?;
        return Ok(ExitCode::SUCCESS);
    }
    let fate = if args.dropped { ["DROPPED", "REASON"] } else { ["EXPIRES", "HANDED OUT"] };
    let mut table = Table::new([
        Column::Right("ID"),
        Column::Left("CLASS"),
        Column::Right("SIZE"),
        Column::Right("RECEIVED"),
        Column::Right(fate[0]),
        Column::Left(fate[1]),
    ]);
    let mut none = true;
    gateway
        .pages(&path, parameters, "messages", |messages| {
            for message in messages {
                let message = serde_json::from_value(message)?;
                none = false;
                if !args.body {
                    table.push(row(&message));
                } else if !output::print(whole(&message))? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
    if none {
        eprintln!("no messages");
    } else if !args.body {
        output::print(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(message: &Message) -> [String; 6] {
    [
        message.id.to_string(),
        message.class.clone(),
        bytes(message.cost_bytes),
        ago(message.age_seconds),
        when(message),
        message.reason.clone().unwrap_or_else(|| yes_or_no(message).to_owned()),
    ]
}

/// When it was dropped, or will be.
fn when(message: &Message) -> String {
    match (message.dropped_age_seconds, message.expires_in_seconds) {
        (Some(age), _) => ago(age),
        (None, Some(left)) => format!("in {}", span(left)),
        (None, None) => "-".to_owned(),
    }
}

fn yes_or_no(message: &Message) -> &'static str {
    if message.handed_out == Some(true) { "yes" } else { "no" }
}

/// All of a message.
fn whole(message: &Message) -> String {
    let [at, class] = [&message.received_at, &message.class].map(|text| harmless(text));
    let method = message.method.as_deref().map(harmless).unwrap_or_default();
    let reason = message.reason.as_deref().map(|reason| format!("  dropped: {}", harmless(reason)));
    let mut lines = format!(
        "{DIM}{at}{DIM:#}  {CLASS}{class}{CLASS:#}  {method}{}  {DIM}#{}{DIM:#}\n",
        reason.unwrap_or_default(),
        message.id
    );
    // Writing to a string cannot fail.
    for (name, value) in &message.headers {
        let _ = writeln!(lines, "    {DIM}{}: {}{DIM:#}", harmless(name), harmless(value));
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
        (None, None) => {
            let _ = writeln!(lines, "    {DIM}(cannot be read at this moment){DIM:#}");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_people() {
        let message = serde_json::json!({
            "id": 7, "class": "message", "cost_bytes": 1, "received_at": "2001-08-01T12:00:00.000Z",
            "age_seconds": 1, "reason": "pur\u{1b}ged", "method": "NOTIFY",
            "headers": [["A\u{9b}", "b\u{7f}"]], "body": "one\r\ntwo\u{1b}[2J\u{202e}"
        });
        let shown = |message: serde_json::Value| {
            let lines = whole(&serde_json::from_value(message).unwrap());
            anstream::adapter::strip_str(&lines).to_string()
        };
        assert_eq!(
            shown(message.clone()),
            "2001-08-01T12:00:00.000Z  message  NOTIFY  dropped: pur\\u{1b}ged  #7\n\
             \x20   A\\u{9b}: b\\u{7f}\n    one\n    two\\u{1b}[2J\\u{202e}\n"
        );
        let mut binary = message;
        binary["body"] = serde_json::Value::Null;
        assert!(shown(binary.clone()).contains("cannot be read"));
        binary["body_base64"] = "/w==".into();
        assert!(shown(binary).contains("(not text; base64) /w=="));
    }
}
