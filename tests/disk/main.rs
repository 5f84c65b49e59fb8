//! The real process with its store on a real disk.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod crash;
mod full;
mod gateway;
mod refusals;
mod settings;
