//! TLS as the gateway has it: the certificate that clients are shown, and whom it believes of upstreams.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{Error, InvalidMessage};

use super::Gateway;
use crate::clock;
use crate::config::{Config, Upstream};
use crate::telemetry::Handshake;
use crate::tls::{Certificate, Stream, Trust};
use crate::watched::Unusable;

/// A fatal `internal_error` in a record of its own (RFC 8446 §6): all that can be said in TLS to whom there
/// is no room for.
pub(super) const NO_ROOM: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// What the files are that `[listen.tls]` names; without TLS there are none.
#[derive(Default)]
pub struct Tls {
    certificate: Option<Arc<Certificate>>,
}

impl Tls {
    /// As the configuration says. Reads the files that it names.
    pub fn open(config: &Config) -> Result<Self, Unusable> {
        Ok(Self { certificate: certificate(config)? })
    }

    /// As `next` says, where it says something else than `config`, which this is of.
    pub(super) fn follow(&self, config: &Config, next: &Config) -> Result<Self, Unusable> {
        let same_certificate = config.listen.tls == next.listen.tls;
        Ok(Self {
            certificate: match same_certificate {
                true => self.certificate.clone(),
                false => certificate(next)?,
            },
        })
    }

    /// What clients are shown, if there is anything to show.
    pub(super) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }
}

fn certificate(config: &Config) -> Result<Option<Arc<Certificate>>, Unusable> {
    let Some((certificate, key)) = config.listen.tls.files() else { return Ok(None) };
    Certificate::open(certificate.to_owned(), key.to_owned()).map(|opened| Some(Arc::new(opened)))
}

/// Whom to believe of an upstream, if it is spoken to within TLS.
pub(super) fn trust(upstream: &Upstream) -> Result<Option<Arc<Trust>>, Unusable> {
    match upstream.is_tls() {
        true => Trust::open(upstream.ca_file.clone()).map(|trust| Some(Arc::new(trust))),
        false => Ok(None),
    }
}

/// Shakes hands with a client. None if that fails, takes longer than a request's head may, or the gateway
/// stops.
pub(super) async fn shake_hands(gateway: &Gateway, stream: TcpStream) -> Option<Stream> {
    let config = gateway.tls().certificate()?.current(clock::now()).config();
    let within = gateway.config().limits.header_timeout;
    let accepted = timeout(within, TlsAcceptor::from(config).accept(stream));
    // Of its own: to wait for the one that all share, each would queue at its lock.
    let accepted = gateway.stop.clients.child_token().run_until_cancelled_owned(accepted).await?;
    let result = match &accepted {
        Ok(Ok(_)) => Handshake::Completed,
        Ok(Err(error)) if is_not_tls(error) => Handshake::NotTls,
        Ok(Err(_)) => Handshake::Failed,
        Err(_) => Handshake::TimedOut,
    };
    gateway.metrics.handshake(result);
    match accepted {
        Ok(Ok(tls)) => Some(Stream::Tls(Box::new(tls.into()))),
        Ok(Err(error)) => {
            tracing::debug!(reason = result.name(), %error, "no TLS with a client");
            None
        }
        Err(_) => {
            tracing::debug!(reason = result.name(), "no TLS with a client");
            None
        }
    }
}

/// Whether the client speaks something else, such as plain HTTP.
fn is_not_tls(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    matches!(cause, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}
