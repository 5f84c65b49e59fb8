//! What operators see from outside: metrics, logs, and the traffic as it goes by.
//!
//! Other modules hand facts over; nothing here decides anything, and no metric lives in a global.

pub mod adder;
mod bounds;
mod deliveries;
mod drops;
pub mod logging;
mod metrics;
mod polls;
mod reloads;
mod store;
mod tls;
mod traffic;
mod upstream;

pub use deliveries::DeliveryResult;
pub use drops::Drops;
pub use metrics::Metrics;
pub use polls::{AuthResult, PollResult};
pub use tls::Handshake;
pub use traffic::{Event, Follower, Happened, Traffic};
pub use upstream::{InFlight, UpstreamCounters, UpstreamError};
