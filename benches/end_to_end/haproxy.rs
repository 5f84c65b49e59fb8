//! HAProxy, one thread, as a proxy.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::process::{Server, free_address};

pub struct Haproxy {
    process: Server,
    pub address: SocketAddr,
    /// Its configuration; goes after the process.
    _folder: TempDir,
}

impl Haproxy {
    pub async fn as_proxy(upstream: SocketAddr) -> Self {
        // Another program may take the port first.
        for _ in 0..3 {
            let (address, folder) = (free_address(), tempfile::tempdir().unwrap());
            let configuration = folder.path().join("haproxy.cfg");
            std::fs::write(&configuration, text(address, upstream)).unwrap();
            let mut process = Server::start("haproxy", &["-db", "-f", configuration.to_str().unwrap()]);
            if process.listens_on(address).await {
                return Self { process, address, _folder: folder };
            }
        }
        panic!("HAProxy does not start");
    }

    pub fn process(&self) -> &Server {
        &self.process
    }
}

fn text(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend clients
    bind {address}
    default_backend legacy
backend legacy
    server legacy {upstream}
"
    )
}
