//! Pollgate.
pub mod clock;
pub mod http1;
pub mod mailbox;
