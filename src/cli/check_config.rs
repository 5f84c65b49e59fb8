//! `pollgate check-config`: says everything that is wrong with the configuration.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{BAD_USAGE, Global, output};
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
    let loaded = global.load(Overrides::default());
    let warnings = loaded.as_ref().map(config::warnings).unwrap_or_default();
    let problems = loaded.err();
    if !args.json {
        for warning in &warnings {
            eprintln!("warning: {name}: {warning}");
        }
    }
    match (&problems, args.json) {
        (None, false) => _ = output::print(format_args!("{name}: the configuration is valid\n"))?,
        (Some(error), false) => eprintln!("{error}"),
        (_, true) => {
            let all = problems.iter().flat_map(|error| error.problems()).map(ToString::to_string);
            let all: Vec<String> = all.collect();
            let valid = problems.is_none();
            let report = json!({ "valid": valid, "file": name, "problems": all, "warnings": warnings });
            output::print(format_args!("{report}\n"))?;
        }
    }
    Ok(if problems.is_none() { ExitCode::SUCCESS } else { ExitCode::from(BAD_USAGE) })
}
