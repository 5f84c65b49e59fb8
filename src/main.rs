//! The `pollgate` program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

// Messages are made on one thread and freed on another, all the time: glibc's arenas make them wait for
// each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pollgate::telemetry::logging::tell_of_panics();
    pollgate::cli::Cli::parse().run()
}
