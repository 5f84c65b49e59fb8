//! The callback listener for as long as a trial takes.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::Config;
use crate::dialect::{CallbackRefusal, Dialect, Verdict};
use crate::http1::{Connection, HeadLimits, Request, Response, ServeLimits, Service, Times, accept, serve};

/// A callback that is awaited; the listener ends with this.
pub(super) struct Awaited {
    url: String,
    arrivals: UnboundedReceiver<(IpAddr, bool)>,
    _listening: DropGuard,
}

/// What answers at the listener: as a gateway would that has one mailbox.
struct Callbacks {
    /// The last part of the path, which no callback of an earlier trial has.
    token: String,
    dialect: Dialect,
    allow: Vec<IpNet>,
    arrivals: UnboundedSender<(IpAddr, bool)>,
}

impl Awaited {
    /// Listens at `listen.callback`, where no gateway runs. Must be called within a runtime.
    pub(super) fn bind(config: &Config, dialect: Dialect) -> io::Result<Self> {
        let socket = accept::bind(config.listen.callback)?;
        let port = socket.local_addr()?.port();
        let base = match config.callback.url.strip_suffix(":0") {
            Some(host) => format!("{host}:{port}"),
            None => config.callback.url.clone(),
        };
        let token = format!("doctor-{}-{}", std::process::id(), clock::now().as_millis());
        let url = format!("{base}/{token}");
        let (tell, arrivals) = unbounded_channel();
        let allow = config.callback.allow.clone();
        let callbacks = std::sync::Arc::new(Callbacks { token, dialect, allow, arrivals: tell });
        let body = usize::try_from(config.callback.max_body_bytes).unwrap_or(usize::MAX);
        let limits = ServeLimits { head: HeadLimits::default(), body, times: Times::CLIENT };
        let stop = CancellationToken::new();
        let token = stop.clone();
        let handle = move |stream, peer| {
            let (callbacks, stop) = (callbacks.clone(), token.clone());
            async move { serve(Connection::new(stream), peer, &*callbacks, || limits, stop).await }
        };
        tokio::spawn(accept::accept(socket, stop.clone(), TaskTracker::new(), handle, || ()));
        Ok(Self { url, arrivals, _listening: stop.drop_guard() })
    }

    /// The callback address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// From whom the callback came, and whether they may deliver.
    pub(super) async fn arrival(&mut self) -> Result<(IpAddr, bool), String> {
        self.arrivals.recv().await.ok_or_else(|| "the listener ended".to_owned())
    }
}

impl Service for Callbacks {
    async fn call(&self, request: Request) -> Response {
        let head = &request.head;
        let refused = |refusal| self.dialect.word(Verdict::Refused(refusal), &head.fields);
        if !head.path().ends_with(&self.token) {
            return refused(CallbackRefusal::Unknown);
        }
        if !self.dialect.is_callback(head.method()) {
            return refused(CallbackRefusal::Method);
        }
        let from = request.peer.ip().to_canonical();
        let allowed = self.allow.iter().any(|network| network.contains(&from));
        // The trial may be over already.
        let _ = self.arrivals.send((from, allowed));
        match allowed {
            true => self.dialect.word(Verdict::Accepted, &head.fields),
            false => refused(CallbackRefusal::Source),
        }
    }
}
