//! The `pollgate` program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    pollgate::cli::Cli::parse().run()
}
