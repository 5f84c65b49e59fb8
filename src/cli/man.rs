//! `pollgate man`: the manual pages, one for each command, as packages install them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::Cli;

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Where they are written: pollgate.1, pollgate-serve.1, and so on
    directory: PathBuf,
}

pub(super) fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let directory = args.directory.display();
    std::fs::create_dir_all(&args.directory).with_context(|| format!("cannot make {directory}"))?;
    clap_mangen::generate_to(Cli::command(), &args.directory)
        .with_context(|| format!("cannot write to {directory}"))?;
    Ok(ExitCode::SUCCESS)
}
