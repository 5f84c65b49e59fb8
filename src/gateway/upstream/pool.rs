//! One server out of several, through pingora's load balancer.
//!
//! A consistent hash (Ketama) of the client's address chooses, by weight: while the servers stay the same a
//! client has always the same one, and when one goes, only its own clients go to others. With health checks a server
//! counts as down after some that failed, and as up again after the first that did not. Without, and between
//! two of them, one that took no connection is left alone for a while ([`REST`]). When all are down the request is
//! tried nevertheless: what a look says may be wrong, what a server says is not.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::{Error, ErrorType};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::consistent::KetamaHashing;
use pingora_load_balancing::{Backend, Backends, Extensions, LoadBalancer};
use tokio::sync::OnceCell;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::resolve::{BELIEVED, Resolver};
use super::{Server, Wish, connect};
use crate::clock;
use crate::config;
use crate::http1::Connection;
use crate::http1::client::{Call, CallError, call};
use crate::store::network_of;
use crate::telemetry::UpstreamCounters;
use crate::tls::Trust;

/// For how long a server is left alone that took no connection, while there are others.
const REST: Duration = Duration::from_secs(10);

/// How far the search on the ring goes. A server has a few hundred places there for each of its weight.
const MOST_STEPS: usize = 20_000;

/// The largest answer to a look that is read.
const LARGEST_BODY: usize = 1024 * 1024;

pub(super) struct Pool {
    balancer: Arc<LoadBalancer<KetamaHashing>>,
    /// Set when the names were resolved for the first time.
    found: OnceCell<()>,
    /// Who took no connection, and when.
    resting: Mutex<Vec<(SocketAddr, Instant)>>,
    _looked_after_until: DropGuard,
}

impl Pool {
    pub(super) fn new(
        upstream: &config::Upstream,
        servers: Vec<Arc<config::Server>>,
        trust: Option<Arc<Trust>>,
        counters: &UpstreamCounters,
        stop: &CancellationToken,
    ) -> Self {
        let names = servers.iter().any(|server| server.authority().parse::<SocketAddr>().is_err());
        let within = upstream.connect_timeout;
        let servers = servers.into_iter().map(|server| (server, Resolver::default())).collect();
        let mut backends = Backends::new(Box::new(Names { servers, within }));
        let interval = upstream.health_check.interval;
        if !interval.is_zero() {
            let upstream = upstream.clone();
            backends.set_health_check(Box::new(Look { upstream, trust, counters: counters.clone() }));
        }
        let balancer = Arc::new(LoadBalancer::from_backends(backends));
        let stop = stop.child_token();
        if names || !interval.is_zero() {
            let look_after = look_after(balancer.clone(), interval);
            tokio::spawn(stop.clone().run_until_cancelled_owned(look_after));
        }
        Self {
            balancer,
            found: OnceCell::new(),
            resting: Mutex::default(),
            _looked_after_until: stop.drop_guard(),
        }
    }

    /// The server for a client: the one that it is known to have been at, else its own, else the next of those that
    /// were not tried.
    pub(super) async fn pick(&self, wish: Wish<'_>) -> io::Result<Option<Server>> {
        let update = || self.balancer.update();
        self.found.get_or_try_init(update).await.map_err(|error| io::Error::other(error.to_string()))?;
        let was_tried = |backend: &Backend| address(backend).is_none_or(|at| wish.tried.contains(&at));
        if let Some(known) = wish.known {
            let backends = self.balancer.backends();
            let found =
                backends.get_backend().iter().find(|backend| address(backend) == Some(known)).cloned();
            let found = found.filter(|backend| backends.ready(backend) && !was_tried(backend));
            if let Some(server) = found.as_ref().and_then(server) {
                return Ok(Some(server));
            }
        }
        let resting = self.resting();
        let rests = |backend: &Backend| address(backend).is_some_and(|at| resting.contains(&at));
        let key = key(wish.client);
        let up = |backend: &Backend, is_up: bool| is_up && !was_tried(backend);
        let picked = self
            .balancer
            .select_with(&key, MOST_STEPS, |backend, is_up| up(backend, is_up) && !rests(backend))
            .or_else(|| self.balancer.select_with(&key, MOST_STEPS, up))
            .or_else(|| self.balancer.select_with(&key, MOST_STEPS, |backend, _| !was_tried(backend)));
        Ok(picked.as_ref().and_then(server))
    }

    pub(super) fn took_connection(&self, server: SocketAddr, took: bool) {
        let mut resting = self.lock();
        resting.retain(|(other, _)| *other != server);
        if !took {
            resting.push((server, clock::instant()));
        }
    }

    fn resting(&self) -> Vec<SocketAddr> {
        let now = clock::instant();
        let mut resting = self.lock();
        resting.retain(|(_, since)| now.duration_since(*since) < REST);
        resting.iter().map(|(server, _)| *server).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(SocketAddr, Instant)>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is hashed of a client's address: what counts as one address.
fn key(client: IpAddr) -> Vec<u8> {
    match network_of(client) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(backend: &Backend) -> Option<SocketAddr> {
    backend.addr.as_inet().copied()
}

fn server(backend: &Backend) -> Option<Server> {
    let config = backend.ext.get::<Arc<config::Server>>()?.clone();
    Some(Server { address: address(backend)?, config })
}

/// Resolves the names and looks at the servers, until nobody needs that any more.
async fn look_after(balancer: Arc<LoadBalancer<KetamaHashing>>, interval: Duration) {
    let pause = if interval.is_zero() { BELIEVED } else { interval };
    loop {
        if let Err(error) = balancer.update().await {
            tracing::warn!(%error, "no server of an upstream can be found");
        }
        balancer.backends().run_health_check(true).await;
        sleep(pause).await;
    }
}

/// Resolves the names of the servers.
struct Names {
    servers: Vec<(Arc<config::Server>, Resolver)>,
    within: Duration,
}

#[async_trait]
impl ServiceDiscovery for Names {
    async fn discover(&self) -> pingora_core::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        for (server, resolver) in &self.servers {
            let found = match resolver.resolve(server.authority(), self.within).await {
                Ok(address) => Some(address),
                Err(error) => {
                    tracing::warn!(server = server.authority(), %error, "a server cannot be found");
                    // Where it was last: a name server that is away is no reason to leave it.
                    resolver.latest()
                }
            };
            let Some(address) = found else { continue };
            let mut ext = Extensions::new();
            ext.insert(server.clone());
            let weight = usize::try_from(server.weight).unwrap_or(1);
            backends.insert(Backend { addr: PeerAddress::Inet(address), weight, ext });
        }
        match backends.is_empty() {
            true => Err(Error::explain(ErrorType::InternalError, "no server can be found")),
            false => Ok((backends, HashMap::new())),
        }
    }
}

/// Looks whether a server is up.
struct Look {
    upstream: config::Upstream,
    trust: Option<Arc<Trust>>,
    counters: UpstreamCounters,
}

impl Look {
    async fn look(&self, server: &Server) -> Result<u16, CallError> {
        let roots = self.trust.as_ref().map(|trust| trust.current(clock::now()));
        let stream = connect(&self.upstream, server, roots.as_deref()).await?;
        let path = &self.upstream.health_check.path;
        if path.is_empty() {
            return Ok(200);
        }
        let request =
            Call::new("GET", path).with("Host", server.config.authority()).with("Connection", "close");
        let within = self.upstream.connect_timeout;
        Ok(call(&mut Connection::new(stream), request, b"", LARGEST_BODY, within).await?.head.status)
    }
}

#[async_trait]
impl HealthCheck for Look {
    async fn check(&self, target: &Backend) -> pingora_core::Result<()> {
        let unhealthy = |what: String| Error::explain(ErrorType::InternalError, what);
        let server = server(target).ok_or_else(|| unhealthy("no address".to_owned()))?;
        match self.look(&server).await {
            Ok(200..400) => Ok(()),
            Ok(status) => Err(unhealthy(format!("it answers {status}"))),
            Err(error) => Err(unhealthy(error.to_string())),
        }
    }

    async fn health_status_change(&self, target: &Backend, is_up: bool) {
        let Some(server) = server(target) else { return };
        let (upstream, server) = (&self.upstream.name, server.config.authority().to_owned());
        self.counters.server_is(&server, is_up);
        match is_up {
            true => tracing::info!(upstream, server, "a server is up"),
            false => tracing::warn!(upstream, server, "a server is down"),
        }
    }

    fn health_threshold(&self, success: bool) -> usize {
        match success {
            true => 1,
            false => usize::try_from(self.upstream.health_check.failures).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn pool(servers: &[(&str, u64)]) -> Pool {
        let named = |(address, weight): &(&str, u64)| config::Server {
            address: (*address).to_owned(),
            weight: *weight,
        };
        let servers: Vec<_> = servers.iter().map(named).map(Arc::new).collect();
        let counters = Metrics::new().unwrap().upstream("a", Vec::new());
        Pool::new(&config::Upstream::default(), servers, None, &counters, &CancellationToken::new())
    }

    async fn pick(
        pool: &Pool,
        client: u32,
        known: Option<SocketAddr>,
        tried: &[SocketAddr],
    ) -> Option<String> {
        let client = IpAddr::from((0x0A00_0000 | client).to_be_bytes());
        let wish = Wish { client, known, tried };
        pool.pick(wish).await.unwrap().map(|server| server.address.to_string())
    }

    #[tokio::test]
    async fn a_client_has_always_the_same_server_and_weights_count() {
        let pool = pool(&[("192.0.2.1:80", 1), ("192.0.2.2:80", 3)]);
        let mut second = 0;
        for client in 0..1000 {
            let first = pick(&pool, client, None, &[]).await;
            assert_eq!(first, pick(&pool, client, None, &[]).await);
            second += u32::from(first.as_deref() == Some("192.0.2.2:80"));
        }
        assert!((600..900).contains(&second), "{second} of 1000");
    }

    #[tokio::test]
    async fn when_a_server_goes_only_its_own_clients_go_elsewhere() {
        let three = pool(&[("192.0.2.1:80", 1), ("192.0.2.2:80", 1), ("192.0.2.3:80", 1)]);
        let two = pool(&[("192.0.2.1:80", 1), ("192.0.2.2:80", 1)]);
        for client in 0..300 {
            let before = pick(&three, client, None, &[]).await;
            if before.as_deref() != Some("192.0.2.3:80") {
                assert_eq!(pick(&two, client, None, &[]).await, before);
            }
        }
    }

    #[tokio::test]
    async fn the_known_one_goes_before_and_who_was_tried_is_not_tried_again() {
        let pool = pool(&[("192.0.2.1:80", 1), ("192.0.2.2:80", 1)]);
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:80", "192.0.2.2:80"].map(|text| text.parse().unwrap());
        for client in 0..20 {
            assert_eq!(pick(&pool, client, Some(a), &[]).await, Some(a.to_string()));
            assert_eq!(pick(&pool, client, Some(b), &[]).await, Some(b.to_string()));
            assert_eq!(pick(&pool, client, Some(a), &[a]).await, Some(b.to_string()));
            assert_eq!(pick(&pool, client, None, &[a, b]).await, None);
        }
    }

    #[tokio::test]
    async fn who_took_no_connection_rests_as_long_as_there_is_another() {
        let pool = pool(&[("192.0.2.1:80", 1), ("192.0.2.2:80", 1)]);
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:80", "192.0.2.2:80"].map(|text| text.parse().unwrap());
        pool.took_connection(a, false);
        for client in 0..20 {
            assert_eq!(pick(&pool, client, None, &[]).await, Some(b.to_string()));
            assert_eq!(pick(&pool, client, None, &[b]).await, Some(a.to_string()));
        }
        pool.took_connection(a, true);
        let mut picked = Vec::new();
        for client in 0..20 {
            picked.push(pick(&pool, client, None, &[]).await.unwrap());
        }
        assert!(picked.contains(&a.to_string()));
    }
}
