//! `pollgate registry`: the white paper's settings from registration files, and to them.

mod export;
mod import;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Global;

/// Read and write the settings as registration files (.reg)
#[derive(Debug, Args)]
pub(super) struct RegistryArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(import::ImportArgs),
    Export(export::ExportArgs),
}

pub(super) fn run(global: &Global, args: &RegistryArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(global, args),
    }
}
