//! The program as its users run it: what it prints, and with which code it ends.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod client;
mod doctor;
mod general;
mod mailbox;
mod poll;
mod registry;
mod reload;
mod support;
mod user;
