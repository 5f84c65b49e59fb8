//! `pollgate default-config`: the commented sample.

use std::process::ExitCode;

use super::output;
use crate::config::SAMPLE;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    output::print(SAMPLE)?;
    Ok(ExitCode::SUCCESS)
}
