//! `pollgate client`: how clients want to be told, as their users set it in a running gateway.
//!
//! All of it is asked of the gateway's admin API, and `--json` prints what that says.

mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::ask::{Asking, Gateway};
use super::output;
use super::{Global, block_on};
use show::Setting;

/// See and set how a client is told, from its next sign-in on
///
/// A user's own setting counts until the policy that applies to the client ([[client_policy]] or [delivery])
/// is written anew: of the two, the last one written counts. Asks the gateway's admin listener. Exits with
/// 1 if nothing is set for that client, if what is to be set is out of bounds, or if there is no gateway.
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is set, in the order in which it was
    List,
    /// Show what is set for one client
    Show(Principal),
    Set(SetArgs),
    /// Leave a client to the policies
    Unset(Principal),
}

#[derive(Debug, Args)]
struct Principal {
    /// The client's principal, such as http://im.example.com/instmsg/aliases/kari
    #[arg(value_name = "URL")]
    principal: String,
}

/// Set how a client is told, in the place of what was set before
#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    client: Principal,
    /// default: called at its own address; polling: when it polls; fixed-ports: called at its ports
    #[arg(long, value_name = "MODE", value_parser = ["default", "polling", "fixed-ports"])]
    mode: String,
    /// How long the client waits between polls, in minutes: 1 to 15 [default: 10]
    #[arg(long, value_name = "MINUTES")]
    period: Option<u64>,
    /// A port or a range of ports, such as 1050 or 1050-1060; below 1025 it comes to random port selection
    #[arg(long, value_name = "PORTS")]
    ports: Option<String>,
}

impl Principal {
    fn path(&self) -> String {
        format!("{PATH}/{}/connection", utf8_percent_encode(&self.principal, NON_ALPHANUMERIC))
    }
}

impl SetArgs {
    fn content(&self) -> Value {
        let mut content = Map::new();
        content.insert("mode".to_owned(), self.mode.clone().into());
        if let Some(period) = self.period {
            content.insert("polling_period_minutes".to_owned(), period.into());
        }
        if let Some(ports) = &self.ports {
            content.insert("ports".to_owned(), ports.clone().into());
        }
        content.into()
    }
}

const PATH: &str = "/api/v1/clients";

pub(super) fn run(global: &Global, args: &ClientArgs) -> anyhow::Result<ExitCode> {
    let gateway = args.asking.gateway(global)?;
    let json = args.asking.json;
    block_on(async {
        match &args.command {
            Command::List => show::list(&gateway, json).await?,
            Command::Show(client) => say(&gateway.ask("GET", &client.path()).await?, json)?,
            Command::Set(args) => set(&gateway, args, json).await?,
            Command::Unset(client) => unset(&gateway, client, json).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn set(gateway: &Gateway, args: &SetArgs, json: bool) -> anyhow::Result<()> {
    let answer = gateway.tell("PUT", &args.client.path(), &args.content()).await?;
    say(&answer, json)
}

async fn unset(gateway: &Gateway, client: &Principal, json: bool) -> anyhow::Result<()> {
    let answer = gateway.ask("DELETE", &client.path()).await?;
    if json {
        output::print(format_args!("{}\n", output::json(&answer)))?;
    } else {
        output::print("unset; takes effect at the next sign-in\n")?;
    }
    Ok(())
}

fn say(answer: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        output::print(format_args!("{}\n", output::json(answer)))?;
        return Ok(());
    }
    let setting: Setting = serde_json::from_value(answer.clone())?;
    output::print(setting.lines())?;
    setting.warn();
    Ok(())
}
