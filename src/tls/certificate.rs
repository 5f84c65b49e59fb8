//! A listener's certificate, followed while its files change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::Guard;
use tokio_rustls::rustls::crypto::ring::Ticketer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::ServerConfig;
use tokio_rustls::rustls::{Error, sign};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{HTTP_1_1, VERSIONS, provider};
use crate::clock;
use crate::mailbox::Timestamp;
use crate::watched::{Unusable, Watched};

/// Anyone on the machine may read it.
const READABLE_BY_ALL: u32 = 0o004;

/// What a listener shows its clients.
pub struct Identity {
    config: Arc<ServerConfig>,
    ends: SystemTime,
}

impl Identity {
    /// How a handshake is made with it.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// When clients stop to believe it.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }
}

/// The certificate that is in the files at this moment, or was there when they were last of use.
pub struct Certificate(Watched<Identity>);

impl Certificate {
    /// Reads a chain of certificates, the listener's own first, and the key of the first; both are PEM.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, Unusable> {
        warn_of_readers(&key);
        let names = format!("{}, {}", certificate.display(), key.display());
        let read = move |files: &[Vec<u8>]| match files {
            [certificate, key] => Ok((identity(certificate, key, &names)?, Vec::new())),
            _ => Err("a certificate and a key are needed".to_owned()),
        };
        Watched::open_all(vec![certificate, key], read).map(Self)
    }

    /// What to show now.
    pub fn current(&self, now: Timestamp) -> Guard<Arc<Identity>> {
        self.0.current(now)
    }
}

/// Whether these files are a certificate and its key; what is wrong if they are not.
pub fn check_pair(certificate: &Path, key: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let (certificate, key) = (read(certificate)?, read(key)?);
    certified(&certificate, &key).map(drop)
}

fn identity(certificate: &[u8], key: &[u8], names: &str) -> Result<Identity, String> {
    let (certified, ends) = certified(certificate, key)?;
    if ends <= clock::wall() {
        let since = humantime::format_rfc3339_seconds(ends);
        tracing::warn!(files = names, %since, "the certificate has ended: clients will not believe it");
    }
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| error.to_string())?;
    let shown = Arc::new(sign::SingleCertAndKey::from(certified));
    let mut config = builder.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Who reconnects after a restart of the network resumes, and the gateway remembers nothing for that.
    config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Identity { config: Arc::new(config), ends })
}

/// The certificate with its key, and when it ends.
fn certified(certificate: &[u8], key: &[u8]) -> Result<(sign::CertifiedKey, SystemTime), String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    let first = chain.first().ok_or("there is no certificate in the file of the certificate")?;
    let ends = ends(first).ok_or("the certificate cannot be understood")?;
    // Of a key nothing is repeated, not even what is wrong with it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "there is no key in PEM in the file of the key (it must not be encrypted)")?;
    let certified = sign::CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
        Error::InvalidCertificate(error) => format!("the certificate is of no use: {error}"),
        _ => "the key is of no use: it must be RSA, ECDSA or Ed25519".to_owned(),
    })?;
    Ok((certified, ends))
}

/// When each certificate in this file (PEM) ends, in their order; what is wrong with the file if that cannot be told.
pub fn certificates_end(path: &Path) -> Result<Vec<SystemTime>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    CertificateDer::pem_slice_iter(&bytes)
        .map(|certificate| {
            let certificate = certificate.map_err(|error| format!("not PEM: {error}"))?;
            ends(&certificate).ok_or_else(|| "a certificate in it cannot be understood".to_owned())
        })
        .collect()
}

/// The end of its validity (RFC 5280 §4.1.2.5).
pub(super) fn ends(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn warn_of_readers(key: &Path) {
    if std::fs::metadata(key).is_ok_and(|metadata| metadata.mode() & READABLE_BY_ALL != 0) {
        let file = key.display();
        tracing::warn!(%file, "this key can be read by everybody on this machine; chmod 600 helps");
    }
}
