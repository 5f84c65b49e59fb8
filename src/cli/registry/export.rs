//! `pollgate registry export`: registration files from the configuration.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::Global;
use crate::config::Overrides;
use crate::registry::{Format, export_server};

/// Make a registration file of the configuration in effect
///
/// It holds every setting that the white paper documents, those at their defaults too. Settings that only
/// Pollgate has are not in it.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Where the server's settings are written
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// Write REGEDIT4 (ANSI), as Windows NT 4 reads it, rather than version 5.00 (UTF-16)
    #[arg(long)]
    regedit4: bool,
}

pub(super) fn run(global: &Global, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let config = global.load(Overrides::default())?;
    let format = if args.regedit4 { Format::Regedit4 } else { Format::Version5 };
    let bytes = export_server(&config.polling, format);
    fs::write(&args.server, bytes).with_context(|| args.server.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
