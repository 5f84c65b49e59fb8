//! Pollgate.
pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dialect;
pub mod gateway;
pub mod http1;
pub mod mailbox;
pub mod store;
pub mod telemetry;
