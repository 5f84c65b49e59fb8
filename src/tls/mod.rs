//! TLS, on both sides of the gateway: by rustls, with `ring` for the cryptography.
//!
//! - [`Certificate`]: what a listener shows clients; it follows its files.
//! - [`Trust`]: whose certificates are believed of servers; [`connect`]: a connection to a server.
//! - [`Stream`]: a connection, with TLS or without.
//!
//! TLS 1.2 and 1.3, and HTTP/1.1 only (ALPN, RFC 7301). Keys are read from files and kept by rustls; nothing
//! here has a `Debug` that shows them.

mod certificate;
mod connect;
mod stream;
#[cfg(test)]
mod tests;
mod trust;

use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

pub use certificate::{Certificate, Identity, certificates_end, check_pair};
pub use connect::connect;
pub use stream::Stream;
pub use trust::{Roots, Trust, check_authorities};

/// What is offered, the newest first.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The only protocol spoken within (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
