//! Whose certificates are believed of servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::{HTTP_1_1, VERSIONS, provider};
use crate::mailbox::Timestamp;
use crate::watched::{Unusable, Watched};

/// The certificate authorities that are believed.
pub struct Roots {
    config: Arc<ClientConfig>,
    generation: u64,
}

impl Roots {
    fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(authorities);
        if usable == 0 {
            return Err("there is no certificate of an authority".to_owned());
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| error.to_string())?;
        let mut config = builder.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self { config: Arc::new(config), generation: GENERATIONS.fetch_add(1, Relaxed) })
    }

    /// How a handshake is made by whoever believes them.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// A number that only these have: what was believed for others is not for these.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The authorities that are believed at this moment.
pub enum Trust {
    /// Those of the system, as they were when it was asked.
    System(Arc<Roots>),
    /// Those in a file of one's own, and no other.
    File(Watched<Arc<Roots>>),
}

impl Trust {
    /// Believes the authorities in this file (PEM) alone; without one, those of the system.
    pub fn open(file: Option<PathBuf>) -> Result<Self, Unusable> {
        match file {
            Some(path) => {
                let read = |files: &[Vec<u8>]| {
                    let bytes = files.first().map_or(&[][..], Vec::as_slice);
                    Ok((Arc::new(Roots::new(parse(bytes)?)?), Vec::new()))
                };
                Watched::open_all(vec![path], read).map(Self::File)
            }
            None => Ok(Self::System(Arc::new(system().map_err(Unusable::Meaningless)?))),
        }
    }

    /// Whom to believe now.
    pub fn current(&self, now: Timestamp) -> Arc<Roots> {
        match self {
            Self::System(roots) => roots.clone(),
            Self::File(watched) => Arc::clone(&watched.current(now)),
        }
    }
}

/// Whether certificates of authorities are in this file; what is wrong if not.
pub fn check_authorities(path: &Path) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    parse(&bytes).map(drop)
}

/// All of them must be of use: somebody chose them.
fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let authorities: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not PEM: {error}"))?;
    match authorities.iter().position(|authority| !is_certificate(authority)) {
        _ if authorities.is_empty() => Err("there is no certificate in it".to_owned()),
        Some(index) => Err(format!("its certificate number {} cannot be understood", index + 1)),
        None => Ok(authorities),
    }
}

/// A system may have some that nobody understands, or cannot read: they are passed over.
fn system() -> Result<Roots, String> {
    let all = rustls_native_certs::load_native_certs();
    if let (true, Some(error)) = (all.certs.is_empty(), all.errors.first()) {
        return Err(format!("the system's certificate authorities cannot be read: {error}"));
    }
    Roots::new(all.certs).map_err(|_| {
        "this system has no certificate authorities: install them (ca-certificates), or name a CA file"
            .to_owned()
    })
}

fn is_certificate(der: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(der.clone()).is_ok()
}
