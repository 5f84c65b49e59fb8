//! `pollgate mailbox`: what is buffered in a running gateway, what was dropped, and what to do about it.
//!
//! All of it is asked of the gateway's admin API, and `--json` prints what that says. In reading order:
//! - [`ask`]: one question, one answer; and page after page.
//! - [`list`], [`show`], [`peek`]: looking; [`act`]: changing.
//! - [`answers`]: the answers as far as people are shown them; [`table`], [`words`]: how.

mod act;
mod answers;
mod ask;
mod list;
mod peek;
mod show;
mod table;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Global, block_on};
use crate::config::{Overrides, Token, reachable};
use ask::Gateway;

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

/// Whom to ask, and how to say what it said.
#[derive(Debug, Args)]
struct Asking {
    /// Where the gateway's admin listener is [default: listen.admin of the configuration]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// The file with the operators' token [default: admin.token_file of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print what the gateway's API says, as JSON
    #[arg(long, global = true)]
    json: bool,
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
    let asking = &args.asking;
    let config = global.load_to_ask(Overrides { admin: asking.admin.clone(), ..Overrides::default() })?;
    let gateway = Gateway {
        address: reachable(config.listen.admin).to_string(),
        token: token(asking, config.admin.token_file)?,
    };
    let json = asking.json;
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

fn token(asking: &Asking, configured: Option<PathBuf>) -> anyhow::Result<Option<Token>> {
    let (file, from) = match (&asking.token_file, configured) {
        (Some(file), _) => (file.clone(), "--token-file"),
        (None, Some(file)) => (file, "admin.token_file"),
        (None, None) => return Ok(None),
    };
    let token = Token::read(&file).with_context(|| format!("{from}: {}", file.display()))?;
    Ok(Some(token))
}
