//! The sockets that the gateway listens on: bound, or taken over from the process before.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UdpSocket};

use crate::config::Listen;
use crate::gateway::datagrams;
use crate::http1::accept;

/// The sockets that the gateway listens on.
#[derive(Clone, Debug)]
pub struct Listeners {
    pub(super) public: Vec<Listening>,
    pub(super) tls: Vec<Listening>,
    pub(super) callback: Listening,
    pub(super) callback_udp: Option<Listening<Arc<UdpSocket>>>,
    pub(super) admin: Listening,
}

/// A socket, and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Listening<S = Arc<TcpListener>> {
    pub(super) purpose: Purpose,
    pub(super) socket: S,
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
    cause: io::Error,
}

impl Listeners {
    /// Binds all of them, or says which cannot be had.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        Self::take_over(listen, Vec::new())
    }

    /// The same, but takes what was bound for the same purpose before. What is left is closed.
    pub(super) fn take_over(listen: &Listen, mut bound: Vec<(Purpose, OwnedFd)>) -> Result<Self, BindError> {
        let callback_udp = listen
            .callback_udp
            .map(|address| {
                take_or_bind(&mut bound, "callback_udp", address, datagrams::adopt, datagrams::bind)
            })
            .transpose()?;
        let mut have =
            |key: &'static str, address| take_or_bind(&mut bound, key, address, adopt, accept::bind);
        Ok(Self {
            public: listen.public.iter().map(|address| have("public", *address)).collect::<Result<_, _>>()?,
            tls: listen
                .tls
                .public
                .iter()
                .map(|address| have("tls.public", *address))
                .collect::<Result<_, _>>()?,
            callback: have("callback", listen.callback)?,
            callback_udp,
            admin: have("admin", listen.admin)?,
        })
    }

    /// Where the callback listener is.
    pub fn callback_address(&self) -> io::Result<SocketAddr> {
        self.callback.socket.local_addr()
    }

    /// All of them, always in the same order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Purpose, BorrowedFd<'_>)> {
        let streams = self.public.iter().chain(&self.tls).chain([&self.callback, &self.admin]);
        let datagrams = self.callback_udp.iter();
        let streams = streams.map(|listening| (&listening.purpose, listening.socket.as_fd()));
        streams.chain(datagrams.map(|listening| (&listening.purpose, listening.socket.as_fd())))
    }
}

/// What was bound for this purpose before, or else what is bound now.
fn take_or_bind<S>(
    bound: &mut Vec<(Purpose, OwnedFd)>,
    key: &'static str,
    address: SocketAddr,
    adopt: fn(OwnedFd) -> io::Result<S>,
    bind: fn(SocketAddr) -> io::Result<S>,
) -> Result<Listening<Arc<S>>, BindError> {
    let purpose = Purpose { key: key.into(), address };
    let socket = match bound.iter().position(|(other, _)| *other == purpose) {
        Some(found) => adopt(bound.remove(found).1),
        None => bind(address),
    };
    match socket {
        Ok(socket) => Ok(Listening { purpose, socket: Arc::new(socket) }),
        Err(cause) => Err(BindError { purpose, cause }),
    }
}

fn adopt(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
