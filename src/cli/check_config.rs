//! `pollgate check-config`: says everything that is wrong with the configuration.
#![expect(clippy::print_stdout, reason = "data goes to stdout")]

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{BAD_USAGE, Global};
use crate::config::{self, Overrides};

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let variable = std::env::var("POLLGATE_CONFIG").ok();
    let file = config::locate(global.config.as_deref(), variable.as_deref());
    let name = file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    match global.load(Overrides::default()) {
        Ok(_) if args.json => println!("{}", json!({ "valid": true, "file": name, "problems": [] })),
        Ok(_) => println!("{name}: the configuration is valid"),
        Err(error) => {
            if args.json {
                let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
                println!("{}", json!({ "valid": false, "file": name, "problems": problems }));
            } else {
                eprintln!("{error}");
            }
            return Ok(ExitCode::from(BAD_USAGE));
        }
    }
    Ok(ExitCode::SUCCESS)
}
