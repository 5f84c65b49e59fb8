//! `pollgate default-config`: the commented sample.
#![expect(clippy::print_stdout, reason = "data goes to stdout")]

use std::process::ExitCode;

use crate::config::SAMPLE;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    print!("{SAMPLE}");
    Ok(ExitCode::SUCCESS)
}
