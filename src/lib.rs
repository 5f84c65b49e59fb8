//! Pollgate.
pub mod mailbox;
