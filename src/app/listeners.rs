//! The sockets that the gateway listens on: bound, or taken over from the process before.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::config::Listen;
use crate::http1::accept;

/// The sockets that the gateway listens on.
#[derive(Clone, Debug)]
pub struct Listeners {
    pub(super) public: Vec<Listening>,
    pub(super) tls: Vec<Listening>,
    pub(super) callback: Listening,
    pub(super) admin: Listening,
}

/// A socket, and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    pub(super) purpose: Purpose,
    pub(super) socket: Arc<TcpListener>,
}

/// What a socket is for: two of the same are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purpose {
    /// The key in `[listen]`.
    key: Cow<'static, str>,
    /// What it says; the socket's own address unless that has port 0.
    address: SocketAddr,
}

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {} (listen.{}): {cause}", purpose.address, purpose.key)]
pub struct BindError {
    purpose: Purpose,
    cause: std::io::Error,
}

impl Listeners {
    /// Binds all of them, or says which cannot be had.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        Self::take_over(listen, Vec::new())
    }

    /// The same, but takes what was bound for the same purpose before. What is left is closed.
    pub(super) fn take_over(listen: &Listen, mut bound: Vec<(Purpose, OwnedFd)>) -> Result<Self, BindError> {
        let mut have = |key: &'static str, address| {
            let purpose = Purpose { key: key.into(), address };
            let socket = match bound.iter().position(|(other, _)| *other == purpose) {
                Some(found) => adopt(bound.remove(found).1),
                None => accept::bind(address),
            };
            match socket {
                Ok(socket) => Ok(Listening { purpose, socket: Arc::new(socket) }),
                Err(cause) => Err(BindError { purpose, cause }),
            }
        };
        Ok(Self {
            public: listen.public.iter().map(|address| have("public", *address)).collect::<Result<_, _>>()?,
            tls: listen
                .tls
                .public
                .iter()
                .map(|address| have("tls.public", *address))
                .collect::<Result<_, _>>()?,
            callback: have("callback", listen.callback)?,
            admin: have("admin", listen.admin)?,
        })
    }

    /// Where the callback listener is.
    pub fn callback_address(&self) -> std::io::Result<SocketAddr> {
        self.callback.socket.local_addr()
    }

    /// All of them, always in the same order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listening> {
        self.public.iter().chain(&self.tls).chain([&self.callback, &self.admin])
    }
}

fn adopt(socket: OwnedFd) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
