//! Who is measured, by the names that the table uses.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use super::machine::Installed;
use crate::haproxy::Haproxy;
use crate::nginx::Nginx;
use crate::process::{Gateway, Server};
use crate::proxy::start_bare;
use crate::servers::Poller;

pub const POLLGATE: &str = "pollgate";
pub const ONE_THREAD: &str = "pollgate, one worker thread";
pub const NCHAN: &str = "nchan";
pub const BARE: &str = "bare pingora";
pub const NGINX: &str = "nginx";
pub const HAPROXY: &str = "HAProxy";

/// A server that holds polls, not yet running.
#[derive(Clone, Copy)]
pub enum HoldsPolls {
    Pollgate,
    OneThread,
    Nchan,
}

impl HoldsPolls {
    pub fn all(installed: &Installed) -> Vec<Self> {
        let nchan = installed.nchan.is_ok().then_some(Self::Nchan);
        [Self::Pollgate, Self::OneThread].into_iter().chain(nchan).collect()
    }

    /// Without those that only differ in their number of threads.
    pub fn all_of_default_threads(installed: &Installed) -> Vec<Self> {
        let mut all = Self::all(installed);
        all.retain(|one| !matches!(one, Self::OneThread));
        all
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Pollgate => POLLGATE,
            Self::OneThread => ONE_THREAD,
            Self::Nchan => NCHAN,
        }
    }

    pub async fn start(self) -> Poller {
        match self {
            Self::Pollgate => Poller::pollgate(None),
            Self::OneThread => Poller::pollgate(Some(1)),
            Self::Nchan => Poller::nchan().await,
        }
    }
}

impl Display for HoldsPolls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A proxy, not yet running.
#[derive(Clone, Copy)]
pub enum Proxies {
    Pollgate,
    Bare,
    Nginx,
    Haproxy,
}

impl Proxies {
    pub fn all(installed: &Installed) -> Vec<Self> {
        let nginx = installed.nginx.is_ok().then_some(Self::Nginx);
        let haproxy = installed.haproxy.is_ok().then_some(Self::Haproxy);
        [Self::Pollgate, Self::Bare].into_iter().chain(nginx).chain(haproxy).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Pollgate => POLLGATE,
            Self::Bare => BARE,
            Self::Nginx => NGINX,
            Self::Haproxy => HAPROXY,
        }
    }

    pub async fn start(self, upstream: SocketAddr) -> RunningProxy {
        match self {
            Self::Pollgate => RunningProxy::Pollgate(Gateway::start(upstream)),
            Self::Bare => {
                let (process, address) = start_bare(upstream).await;
                RunningProxy::Bare(process, address)
            }
            Self::Nginx => RunningProxy::Nginx(Nginx::as_proxy(upstream).await),
            Self::Haproxy => RunningProxy::Haproxy(Haproxy::as_proxy(upstream).await),
        }
    }
}

impl Display for Proxies {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub enum RunningProxy {
    Pollgate(Gateway),
    Bare(Server, SocketAddr),
    Nginx(Nginx),
    Haproxy(Haproxy),
}

impl RunningProxy {
    pub fn process(&self) -> &Server {
        match self {
            Self::Pollgate(gateway) => gateway.process(),
            Self::Bare(process, _) => process,
            Self::Nginx(nginx) => nginx.process(),
            Self::Haproxy(haproxy) => haproxy.process(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Pollgate(gateway) => gateway.public,
            Self::Bare(_, address) => *address,
            Self::Nginx(nginx) => nginx.address,
            Self::Haproxy(haproxy) => haproxy.address,
        }
    }
}
