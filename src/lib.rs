//! Pollgate.
pub mod clock;
pub mod config;
pub mod dialect;
pub mod http1;
pub mod mailbox;
pub mod store;
