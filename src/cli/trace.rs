//! `pollgate trace`: the traffic of a running gateway as it goes by.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use url::form_urlencoded;

use super::ask::{Asking, Seen};
use super::output::{self, harmless};
use super::{Global, block_on};

/// Follow the traffic: callbacks, polls, deliveries, and what is dropped
///
/// Prints an event a line until it is interrupted. When something goes by too fast, it says how much it missed.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Only that of this principal, such as http://im.example.com/instmsg/aliases/kari
    #[arg(long, value_name = "URL")]
    principal: Option<String>,
    /// Only that of this mailbox; the id is what `mailbox list` shows
    #[arg(long, value_name = "ID")]
    mailbox: Option<u64>,
    /// Show callbacks with their bodies, up to 16 KiB of each
    #[arg(long)]
    bodies: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(global: &Global, args: &TraceArgs) -> anyhow::Result<ExitCode> {
    let gateway = args.asking.gateway(global)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(principal) = &args.principal {
        query.append_pair("principal", principal);
    }
    if let Some(mailbox) = args.mailbox {
        query.append_pair("mailbox", &mailbox.to_string());
    }
    query.append_pair("bodies", if args.bodies { "true" } else { "false" });
    let path = format!("/api/v1/events?{}", query.finish());
    block_on(gateway.follow(&path, |seen| {
        let line = match seen {
            Seen::Begin => {
                eprintln!("following");
                return Ok(true);
            }
            Seen::Event(event) if args.asking.json => output::json(&event),
            Seen::Event(event) => sentence(&event),
        };
        Ok(output::print(format_args!("{line}\n"))?)
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// An event for people: when, where, what, and the rest by name; the body on lines of its own.
fn sentence(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    let mailbox = event["mailbox"].as_u64().map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut line = format!("{}  {mailbox:>6}  {:<12}  {}", text("at"), text("event"), text("principal"));
    const SAID: [&str; 6] = ["at", "event", "mailbox", "principal", "body", "body_base64"];
    for (name, value) in event.as_object().into_iter().flatten() {
        if !SAID.contains(&name.as_str()) && !value.is_null() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line.push_str(&format!("  {name}={value}"));
        }
    }
    let body = ["body", "body_base64"].into_iter().find_map(|name| event[name].as_str());
    let body = body.into_iter().flat_map(str::lines).map(|line| format!("\n    {}", harmless(line)));
    std::iter::once(harmless(&line)).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_on_a_line() {
        let event = serde_json::json!({
            "at": "2026-01-02T03:04:05.678Z", "event": "callback", "mailbox": 7, "principal": "http://h/\u{1b}kari",
            "class": "message", "bytes": 4, "body": "a\r\nb",
        });
        assert_eq!(
            sentence(&event),
            "2026-01-02T03:04:05.678Z       7  callback      http://h/\\u{1b}kari  bytes=4  class=message\n    a\n    b"
        );
        let event = serde_json::json!({ "at": "now", "event": "lagged", "events": 3 });
        assert_eq!(sentence(&event), "now       -  lagged        -  events=3");
    }
}
