//! Making a connection: the ports in order, the addresses that are allowed, within a time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::address::{Address, Names, is_here};
use super::allowed::{Forbidden, Rules, may_connect};
use crate::clock;

/// Ports that do not answer at all are given a tenth of the time each, so that one try gets past some of
/// them; a single one has all of it.
const PORTS_A_TRY: u32 = 10;

/// Less than this is no time to connect in.
const LEAST: Duration = Duration::from_millis(100);

/// A connection, and where it leads to.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NotReached {
    /// None of the addresses may be connected to.
    NotAllowed(Forbidden),
    /// The name has no address.
    Unresolved,
    /// No port took the connection. The time was over at this one, if it was.
    Nobody { next_port: Option<u16> },
}

/// From where a try begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// Where a connection was made a moment ago: it is tried first.
    pub(super) good: Option<SocketAddr>,
    /// The port at which the last try ran out of time.
    pub(super) next_port: Option<u16>,
}

/// Connects to the first port that takes a connection. Names are looked up once, each address is held
/// against the rules, and what was checked is what is connected to.
pub(super) async fn connect(
    address: &Address,
    start: Start,
    names: &Names,
    rules: &Rules<'_>,
    within: Duration,
) -> Result<Reached, NotReached> {
    let deadline = clock::in_time(within);
    let ips = names.resolve(address, within).await.map_err(|error| {
        tracing::debug!(%error, "a client's name has no address");
        NotReached::Unresolved
    })?;
    let ports = address.ports(start.next_port);
    let good = start.good.filter(|good| ips.contains(&good.ip()) && ports.contains(&good.port()));
    let several = ips.len() > 1 || ports.len() > 1;
    let share = if several { (within / PORTS_A_TRY).max(LEAST) } else { within };
    let mut refused = NotReached::Unresolved;
    if let Some(good) = good
        && may_connect(good, is_here(good.ip()), rules).is_ok()
        && let Some(reached) = try_at(good, deadline.min(clock::in_time(share))).await
    {
        return Ok(reached);
    }
    let ips: Vec<(IpAddr, bool)> = ips.into_iter().map(|ip| (ip, is_here(ip))).collect();
    for port in ports {
        for (ip, here) in &ips {
            let address = SocketAddr::new(*ip, port);
            if let Err(forbidden) = may_connect(address, *here, rules) {
                if !matches!(refused, NotReached::Nobody { .. }) {
                    refused = NotReached::NotAllowed(forbidden);
                }
                continue;
            }
            if clock::in_time(Duration::ZERO) >= deadline {
                return Err(NotReached::Nobody { next_port: Some(port) });
            }
            if let Some(reached) = try_at(address, deadline.min(clock::in_time(share))).await {
                return Ok(reached);
            }
            refused = NotReached::Nobody { next_port: None };
        }
    }
    Err(refused)
}

async fn try_at(address: SocketAddr, deadline: Instant) -> Option<Reached> {
    let stream = timeout_at(deadline, TcpStream::connect(address)).await.ok()?.ok()?;
    // Without it a request in two pieces would wait for an acknowledgement; nothing else depends on it.
    let _ = stream.set_nodelay(true);
    Some(Reached { stream, address })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use ipnet::IpNet;
    use tokio::net::TcpListener;

    use super::*;
    use crate::mailbox::{ConnectionSettings, DeliveryMode, Ports, Subscription};

    const WITHIN: Duration = Duration::from_secs(10);

    fn address(callback: &str, ports: Option<String>) -> Address {
        let ports = ports.and_then(|ports| Ports::parse(&ports).unwrap().range());
        let mode = if ports.is_some() { DeliveryMode::FixedPorts } else { DeliveryMode::Default };
        let connection = ConnectionSettings { mode, ports, ..ConnectionSettings::default() };
        let callback = Some(callback.into());
        Address::of(&Subscription { callback, connection, ..Subscription::default() }).unwrap()
    }

    async fn reach(address: &Address, names: &Names, allow: &[&str]) -> Result<Reached, NotReached> {
        let allow: Vec<IpNet> = allow.iter().map(|net| net.parse().unwrap()).collect();
        let rules = Rules { allow: &allow, subscriber: None, listeners: &[] };
        connect(address, Start::default(), names, &rules, WITHIN).await
    }

    #[tokio::test]
    async fn the_first_port_that_takes_a_connection_is_taken() {
        // Two neighbours of which the first one is free again.
        let (first, listener) = loop {
            let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = one.local_addr().unwrap().port();
            if let Some(next) = port.checked_add(1)
                && let Ok(other) = TcpListener::bind(("127.0.0.1", next)).await
            {
                break (port, other);
            }
        };
        let address = address("http://127.0.0.1:9/x", Some(format!("{first}-{}", first + 1)));
        let reached = reach(&address, &Names::default(), &["127.0.0.1/32"]).await.unwrap();
        assert_eq!(reached.address, listener.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_forbidden_address_is_not_followed_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address =
            address(&format!("http://client.example:{}", listener.local_addr().unwrap().port()), None);
        let names = Names::new(|_| Ok(vec!["127.0.0.1".parse().unwrap()]));
        let refused = reach(&address, &names, &["192.0.2.0/24"]).await;
        assert!(matches!(refused, Err(NotReached::NotAllowed(Forbidden::Special))), "{refused:?}");
        let nobody = Names::new(|_| Ok(Vec::new()));
        assert!(matches!(reach(&address, &nobody, &["0.0.0.0/0"]).await, Err(NotReached::Unresolved)));
    }

    #[tokio::test]
    async fn of_several_addresses_only_those_that_are_allowed() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let address =
            address(&format!("http://client.example:{}", listener.local_addr().unwrap().port()), None);
        let names = Names::new(|_| Ok(["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().unwrap()).into()));
        let reached = reach(&address, &names, &["127.0.0.2/32"]).await.unwrap();
        assert_eq!(reached.address, listener.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_name_is_asked_once_and_what_was_checked_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let forbidden =
            TcpListener::bind(("127.0.0.1", listener.local_addr().unwrap().port())).await.unwrap();
        let address =
            address(&format!("http://client.example:{}", listener.local_addr().unwrap().port()), None);
        let asked = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        // Good when it is checked, and another one ever after.
        let names = Names::new(move |_| {
            let first = counter.fetch_add(1, Relaxed) == 0;
            Ok(vec![if first { "127.0.0.2" } else { "127.0.0.1" }.parse().unwrap()])
        });
        let reached = reach(&address, &names, &["127.0.0.2/32"]).await.unwrap();
        assert_eq!((reached.address, asked.load(Relaxed)), (listener.local_addr().unwrap(), 1));
        let next = reach(&address, &names, &["127.0.0.2/32"]).await;
        assert!(matches!(next, Err(NotReached::NotAllowed(Forbidden::Special))), "{next:?}");
        drop(forbidden);
    }
}
