//! `pollgate mailbox list`.

use std::process::ExitCode;

use clap::Args;

use super::answers::Mailbox;
use crate::cli::ask::Gateway;
use crate::cli::output;
use crate::cli::table::{Column, Table};
use crate::cli::words::{ago, bytes, span};

/// List the mailboxes
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those of this principal, such as http://im.example.com/instmsg/aliases/kari
    #[arg(long, value_name = "URL")]
    principal: Option<String>,
    /// Only those in this state; a polled mailbox is a live one too, an ended one is kept for its dropped
    /// messages
    #[arg(long, value_name = "STATE", value_parser = ["polled", "live", "ended"])]
    state: Option<String>,
}

pub(super) async fn run(gateway: &Gateway, args: &ListArgs, json: bool) -> anyhow::Result<ExitCode> {
    const PATH: &str = "/api/v1/mailboxes";
    let filters = [("principal", &args.principal), ("state", &args.state)];
    let filters: Vec<(&str, &str)> =
        filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    if json {
        gateway.print_pages(PATH, &filters, "mailboxes").await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([
        Column::Right("ID"),
        Column::Left("STATE"),
        Column::Left("PRINCIPAL"),
        Column::Right("MESSAGES"),
        Column::Right("SIZE"),
        Column::Right("OLDEST"),
        Column::Right("LAST POLL"),
        Column::Right("DROPPED"),
        Column::Right("LEASE"),
    ]);
    gateway
        .pages(PATH, &filters, "mailboxes", |mailboxes| {
            for mailbox in mailboxes {
                table.push(row(&serde_json::from_value(mailbox)?));
            }
            Ok(true)
        })
        .await?;
    if table.is_empty() {
        eprintln!("no mailboxes");
    } else {
        output::print(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(mailbox: &Mailbox) -> [String; 9] {
    let lease = match mailbox.state.as_str() {
        "ended" => "over".to_owned(),
        _ => format!("{} left", span(mailbox.subscription.lease_left_seconds)),
    };
    [
        mailbox.id.to_string(),
        mailbox.state.clone(),
        mailbox.owner().to_owned(),
        mailbox.messages.to_string(),
        bytes(mailbox.bytes),
        mailbox.oldest_age_seconds.map_or_else(|| "-".to_owned(), ago),
        mailbox.last_poll_age_seconds.map_or_else(|| "-".to_owned(), ago),
        mailbox.dropped_messages.to_string(),
        lease,
    ]
}
