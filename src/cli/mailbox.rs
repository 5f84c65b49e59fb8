//! `pollgate mailbox`: what is buffered in a running gateway, what was dropped, and what to do about it.
//!
//! All of it is asked of the gateway's admin API, and `--json` prints what that says. In reading order:
//! - [`list`], [`show`], [`peek`]: looking; [`act`]: changing.
//! - [`answers`]: the answers as far as people are shown them.

mod act;
mod answers;
mod list;
mod peek;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Global, block_on};
use crate::cli::ask::Asking;

/// See what a running gateway buffers and dropped, and replay or purge it
///
/// Asks the gateway's admin listener. Exits with 1 if there is no such mailbox, or no gateway.
#[derive(Debug, Args)]
pub(super) struct MailboxArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::ListArgs),
    /// Show one mailbox: its subscription, what is in it, and the limits it is under
    Show(MailboxId),
    Peek(peek::PeekArgs),
    /// Offer the dropped messages of a mailbox again, as far as there is room
    Replay(MailboxId),
    Purge(act::PurgeArgs),
    /// Give a mailbox another poll key, and print what the client polls from now on
    ///
    /// For a key that somebody else may know: what was polled so far is found no more, and a poll that is held
    /// there ends. Whoever knows what is printed may take the messages.
    RotateKey(MailboxId),
}

#[derive(Debug, Args)]
struct MailboxId {
    /// The mailbox's id, as list shows it
    id: u64,
}

pub(super) fn run(global: &Global, args: &MailboxArgs) -> anyhow::Result<ExitCode> {
    let gateway = args.asking.gateway(global)?;
    let json = args.asking.json;
    block_on(async {
        match &args.command {
            Command::List(args) => list::run(&gateway, args, json).await,
            Command::Show(MailboxId { id }) => show::run(&gateway, *id, json).await,
            Command::Peek(args) => peek::run(&gateway, args, json).await,
            Command::Replay(MailboxId { id }) => act::replay(&gateway, *id, json).await,
            Command::Purge(args) => act::purge(&gateway, args, json).await,
            Command::RotateKey(MailboxId { id }) => act::rotate_key(&gateway, *id, json).await,
        }
    })
}
