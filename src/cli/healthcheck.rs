//! `pollgate healthcheck`: for containers and scripts; exit 0 if the gateway says that it is well.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Global, block_on, output};
use crate::config::{Overrides, reachable};
use crate::http1::client::{Call, call, connect};

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Where the gateway's admin listener is [default: listen.admin of the configuration]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// Ask whether it can do its work, upstream included, rather than whether it is alive
    #[arg(long)]
    ready: bool,
    /// How long to wait for the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    timeout: u64,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let config = global.load_to_ask(Overrides { admin: args.admin.clone(), ..Overrides::default() })?;
    let address = reachable(config.listen.admin).to_string();
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let within = Duration::from_secs(args.timeout);
    let answer = block_on(async {
        let mut connection = connect(&address, within).await?;
        let request = Call::new("GET", path).with("Host", &address).with("Connection", "close");
        Ok(call(&mut connection, request, b"", 64 * 1024, within).await?)
    })
    .with_context(|| format!("http://{address}{path}"))?;
    let well = answer.head.status == 200;
    let text = String::from_utf8_lossy(&answer.body);
    if args.json {
        let report = json!({ "well": well, "status": answer.head.status, "text": text.trim_end() });
        output::print(format_args!("{report}\n"))?;
    } else {
        output::print(text)?;
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
