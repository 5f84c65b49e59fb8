//! The agent at work: its listeners, and what runs until it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::Metrics;
use super::reach::Reach;
use super::relay::Relay;
use super::state::StateFile;
use super::subscriptions::{Polling, Subscriptions};
use crate::dialect::Choice;
use crate::dialect::webhook::Rules;
use crate::http1::{Connection, HeadLimits, Request, Response, ServeLimits, Service, Times, accept, serve};

/// How long what is on its way may take when the agent stops: a client may take this long to answer.
const DEADLINE: Duration = Duration::from_secs(35);

/// How an agent works.
pub struct Settings {
    /// Where the gateway is.
    pub reach: Reach,
    /// The name of the server, if clients know it by another.
    pub host: Option<String>,
    /// How the server writes subscriptions.
    pub dialect: Choice,
    /// With [`Choice::Webhook`]: how its webhooks are registered.
    pub rules: Option<Arc<Rules>>,
    /// Whether the gateway calls the clients itself: the agent passes everything on as it is.
    pub called_by_gateway: bool,
    /// Who may be called, beside whoever subscribes.
    pub allow: Vec<IpNet>,
    /// How it polls.
    pub polling: Polling,
    /// What it keeps for its next start.
    pub state: StateFile,
}

/// An agent at work.
pub struct Agent {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    subscriptions: Arc<Subscriptions>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was kept by the one before cannot be read.
    #[error("the state cannot be read: {0}")]
    State(#[source] std::io::Error),
    /// A socket is of no use.
    #[error("a socket is of no use: {0}")]
    Socket(#[from] std::io::Error),
    /// Two metrics have one name.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Answers the agent's operators.
struct Admin {
    reach: Reach,
    metrics: Arc<Metrics>,
}

impl Agent {
    /// Starts an agent on these sockets; clients come to the first. Must be called within a runtime.
    pub fn start(
        settings: Settings,
        clients: TcpListener,
        admin: Option<TcpListener>,
    ) -> Result<Self, StartError> {
        let Settings { reach, host, dialect, rules, called_by_gateway, allow, polling, state } = settings;
        let metrics = Arc::new(Metrics::new()?);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let subscriptions = Subscriptions::new(
            reach.clone(),
            polling,
            metrics.clone(),
            state,
            rules.clone(),
            tasks.clone(),
            stop.clone(),
        );
        let resumed = subscriptions.resume().map_err(StartError::State)?;
        let address = clients.local_addr()?;
        let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        tracing::info!(%address, gateway = reach.address(), subscriptions = resumed, "agent started");
        tasks.spawn(subscriptions.clone().keep());
        tasks.spawn(subscriptions.clone().watch_for_sleep());
        if let Some(listener) = admin {
            let admin = Arc::new(Admin { reach: reach.clone(), metrics: metrics.clone() });
            let token = stop.clone();
            let handle = move |stream, peer| {
                let (admin, stop) = (admin.clone(), token.child_token());
                async move { serve(Connection::new(stream), peer, &*admin, limits, stop).await }
            };
            tasks.spawn(accept::accept(listener, stop.clone(), tasks.clone(), handle, || {}));
        }
        let relay = Arc::new(Relay {
            reach,
            host,
            dialect,
            rules,
            called_by_gateway,
            allow,
            subscriptions: subscriptions.clone(),
            metrics,
            stop: stop.clone(),
        });
        let handle = move |stream, peer| {
            let relay = relay.clone();
            async move { relay.serve(stream, peer).await }
        };
        tasks.spawn(accept::accept(clients, stop.clone(), tasks.clone(), handle, || {}));
        Ok(Self { address, admin_address, subscriptions, tasks, stop })
    }

    /// Where clients are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its operators ask, if they can.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Stops: what is on its way is finished, and what is needed for the next start is kept.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "stopped before these were done");
        }
        self.subscriptions.write().await;
    }
}

fn limits() -> ServeLimits {
    ServeLimits { head: HeadLimits::default(), body: 64 * 1024, times: Times::CLIENT }
}

impl Service for Admin {
    async fn call(&self, request: Request) -> Response {
        match request.head.path() {
            "/healthz" => Response::text(200, "ok"),
            "/readyz" => match self.reach.connect().await {
                Ok(_) => Response::text(200, "ok      gateway"),
                Err(error) => Response::text(503, format_args!("failed  gateway: {error}")),
            },
            "/metrics" => Response::new(200)
                .with_body("text/plain; version=0.0.4; charset=utf-8", self.metrics.expose()),
            _ => Response::text(404, "there is /metrics, /healthz and /readyz"),
        }
    }
}
