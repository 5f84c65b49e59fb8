//! `pollgate mailbox show`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anstyle::Style;
use serde_json::Value;

use super::answers::{Limits, Mailbox};
use crate::cli::ask::Gateway;
use crate::cli::output::{self, harmless};
use crate::cli::words::{ago, bytes, count, span};

const NAME: Style = Style::new().dimmed();

pub(super) async fn run(gateway: &Gateway, id: u64, json: bool) -> anyhow::Result<ExitCode> {
    let mailbox = gateway.ask("GET", &format!("/api/v1/mailboxes/{id}")).await?;
    if json {
        output::print(format_args!("{}\n", output::json(&mailbox)))?;
    } else {
        output::print(lines(&serde_json::from_value(mailbox)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(mailbox: &Mailbox) -> String {
    let Mailbox { subscription, limits, .. } = mailbox;
    let at = |when: &Option<String>, age: Option<f64>, none: &str| match (when, age) {
        (Some(when), Some(age)) => format!("{when} ({})", ago(age)),
        _ => none.to_owned(),
    };
    let lease = match mailbox.state.as_str() {
        "ended" => "over".to_owned(),
        _ => format!("{} left", span(subscription.lease_left_seconds)),
    };
    let bound = |of: fn(&Limits) -> &Value, say: fn(u64) -> String| match limits.as_ref().map(of) {
        Some(Value::Number(most)) => format!(" of {}", most.as_u64().map_or_else(|| most.to_string(), say)),
        Some(Value::String(word)) => format!(", {word}"),
        _ => String::new(),
    };
    let mut all: Vec<(&str, Option<String>)> = vec![
        ("state", Some(mailbox.state.clone())),
        ("mode", Some(mailbox.mode.clone())),
        ("principal", subscription.principal.clone()),
        ("node", Some(subscription.node.clone())),
        ("host", Some(subscription.host.clone())),
        ("subscriber", subscription.subscriber.clone()),
        ("callback", subscription.callback.clone()),
        ("upstream id", subscription.upstream_id.clone()),
        ("created", Some(mailbox.created_at.clone())),
        ("lease ends", Some(format!("{} ({lease})", subscription.lease_ends_at))),
        (
            "last poll",
            Some(at(&mailbox.last_poll_at, mailbox.last_poll_age_seconds, "none since the gateway started")),
        ),
        (
            "messages",
            Some(format!("{}{}", mailbox.messages, bound(|limits| &limits.messages, |n| n.to_string()))),
        ),
        ("size", Some(format!("{}{}", bytes(mailbox.bytes), bound(|limits| &limits.bytes, bytes)))),
        (
            "oldest",
            mailbox.oldest_at.as_ref().map(|_| at(&mailbox.oldest_at, mailbox.oldest_age_seconds, "")),
        ),
        (
            "gap",
            Some(format!("{} since the client was last told", count(mailbox.gap, "message", "messages"))),
        ),
        (
            "dropped",
            Some(format!(
                "{} kept, {}",
                count(mailbox.dropped_messages, "message", "messages"),
                bytes(mailbox.dropped_bytes)
            )),
        ),
    ];
    if let Some(limits) = limits {
        all.extend([
            ("life time", Some(format!("{} for a message", span(limits.message_life_time_seconds)))),
            ("", Some(format!("{} for a dropped one", span(limits.dropped_life_time_seconds)))),
            ("overflow", Some(limits.overflow.clone())),
            ("coalesce", Some(if limits.coalesce { "yes" } else { "no" }.to_owned())),
        ]);
    }
    let mut lines = format!("mailbox {}\n", mailbox.id);
    for (name, value) in all {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "  {NAME}{name:<11}{NAME:#}  {}", harmless(&value));
        }
    }
    lines
}
