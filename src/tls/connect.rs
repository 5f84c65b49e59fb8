//! Connecting to a server.

use std::io;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Roots, Stream};

/// Shakes hands with a server that must have a certificate of one of these authorities, for `host`: a name,
/// or an address (IPv6 with or without brackets).
pub async fn connect(stream: TcpStream, host: &str, roots: &Roots) -> io::Result<Stream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a name that a certificate can have"))?;
    let tls = TlsConnector::from(roots.config()).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(tls.into())))
}
