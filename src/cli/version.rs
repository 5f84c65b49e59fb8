//! `pollgate version`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output;

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        output::print(format_args!("{}\n", json!({ "name": "pollgate", "version": version })))?;
    } else {
        output::print(format_args!("pollgate {version}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
