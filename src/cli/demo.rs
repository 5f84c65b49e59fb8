//! `pollgate demo`: what Pollgate is for, in two acts.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::block_on;
use crate::demo::{self, Audience, Trace};

/// Show what Pollgate is for, in two acts, on this machine alone
///
/// A small server that can only call its clients back, a client that cannot be called, and the gateway,
/// all on free loopback ports. First without the gateway: nothing arrives. Then with it: everything does.
/// Exits with 0 if that is how it went.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let audience = if args.json { Audience::Programs } else { Audience::People };
    let trace = Arc::new(Trace::new(audience, anstream::stdout()));
    let tally = block_on(demo::play(&trace))?;
    if tally.is_as_it_should_be() { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::FAILURE) }
}
