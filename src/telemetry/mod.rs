//! What operators see from outside: metrics and logs.
//!
//! Other modules hand facts over; nothing here decides anything, and no metric lives in a global.

mod deliveries;
mod drops;
pub mod logging;
mod metrics;
mod reloads;
mod store;
mod tls;

pub use deliveries::DeliveryResult;
pub use drops::Drops;
pub use metrics::{AuthResult, Metrics, PollResult, UpstreamError};
pub use tls::Handshake;
