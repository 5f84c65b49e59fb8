//! `pollgate version`.
#![expect(clippy::print_stdout, reason = "data goes to stdout")]

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        println!("{}", json!({ "name": "pollgate", "version": version }));
    } else {
        println!("pollgate {version}");
    }
    Ok(ExitCode::SUCCESS)
}
