//! `pollgate mailbox replay`, `purge` and `rotate-key`.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;

use super::MailboxId;
use super::answers::{Dropped, Mailbox, Replayed, Rotated};
use crate::cli::ask::Gateway;
use crate::cli::output::{self, harmless};
use crate::cli::words::count;

/// Drop everything that is buffered in a mailbox
///
/// What is dropped is kept for a while, as all dropped messages are, and can be replayed. The client is told
/// of the gap. On a terminal it asks first.
#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    mailbox: MailboxId,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn replay(gateway: &Gateway, id: u64, json: bool) -> anyhow::Result<ExitCode> {
    let answer = gateway.ask("POST", &format!("/api/v1/mailboxes/{id}/dropped/replay")).await?;
    if json {
        output::print(format_args!("{}\n", output::json(&answer)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Replayed { replayed, refused } = serde_json::from_value(answer)?;
    let replayed = count(replayed, "message", "messages");
    output::print(match refused {
        0 => format!("{replayed} replayed\n"),
        refused => format!("{replayed} replayed, {refused} refused, which stay dropped\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn purge(gateway: &Gateway, args: &PurgeArgs, json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/mailboxes/{}", args.mailbox.id);
    let stdin = std::io::stdin();
    if !args.yes && stdin.is_terminal() {
        let mailbox: Mailbox = serde_json::from_value(gateway.ask("GET", &path).await?)?;
        let messages = count(mailbox.messages, "message", "messages");
        eprint!("Drop {messages} of mailbox {} ({})? [y/N] ", mailbox.id, harmless(mailbox.owner()));
        std::io::stderr().flush()?;
        if !is_yes(&mut stdin.lock())? {
            eprintln!("nothing was dropped");
            return Ok(ExitCode::FAILURE);
        }
    }
    let answer = gateway.ask("DELETE", &format!("{path}/messages")).await?;
    if json {
        output::print(format_args!("{}\n", output::json(&answer)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Dropped { dropped } = serde_json::from_value(answer)?;
    output::print(format_args!("{} dropped\n", count(dropped, "message", "messages")))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn rotate_key(gateway: &Gateway, id: u64, json: bool) -> anyhow::Result<ExitCode> {
    let answer = gateway.ask("POST", &format!("/api/v1/mailboxes/{id}/poll-key/rotate")).await?;
    if json {
        output::print(format_args!("{}\n", output::json(&answer)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Rotated { poll_path } = serde_json::from_value(answer)?;
    output::print(format_args!("{}\n", harmless(&poll_path)))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the next line says so; its end, or anything else, does not.
fn is_yes(input: &mut impl BufRead) -> std::io::Result<bool> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        for (line, expected) in
            [("y\n", true), ("YES\r\n", true), ("", false), ("\n", false), ("n\n", false), ("yesno\n", false)]
        {
            assert_eq!(is_yes(&mut line.as_bytes()).unwrap(), expected, "{line:?}");
        }
    }
}
