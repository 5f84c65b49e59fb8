//! `pollgate registry export`: registration files from the configuration.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::Global;
use crate::config::Overrides;
use crate::registry::{Format, export_client, export_server};

/// Make registration files of the configuration in effect
///
/// They hold every setting that the white paper documents, those at their defaults too. Settings that only
/// Pollgate has are not in them.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Where the server's settings are written
    #[arg(long, value_name = "FILE", required_unless_present = "client")]
    server: Option<PathBuf>,
    /// Where the client's settings are written
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
    /// Write REGEDIT4 (ANSI), as Windows NT 4 reads it, rather than version 5.00 (UTF-16)
    #[arg(long)]
    regedit4: bool,
}

pub(super) fn run(global: &Global, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let config = global.load(Overrides::default())?;
    let format = if args.regedit4 { Format::Regedit4 } else { Format::Version5 };
    let server = args.server.iter().map(|path| (path, export_server(&config.polling, format)));
    let client = args.client.iter().map(|path| (path, export_client(&config.delivery, format)));
    for (path, bytes) in server.chain(client) {
        fs::write(path, bytes).with_context(|| path.display().to_string())?;
    }
    if args.client.is_some() && !config.client_policy.is_empty() {
        eprintln!("warning: client_policy has no place in a registration file, and is left out");
    }
    Ok(ExitCode::SUCCESS)
}
