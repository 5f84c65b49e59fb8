//! Where a client is to be called: the host of its callback address, the ports in the order in which they
//! are tried, and the path.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::{Host, Url};

use crate::mailbox::{DeliveryMode, PortRange, Subscription};

/// How many names are looked up at a time. Each occupies a thread, and those are shared with the store.
const LOOKUPS: usize = 32;

/// Where a client is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The host as it stands in a URL.
    pub(super) host: String,
    place: Place,
    ports: Ports,
    /// The path of the callback address, with its query.
    pub(super) target: String,
    /// Whether it listens for datagrams (`httpu`).
    pub(super) by_datagram: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Ip(IpAddr),
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// The callback address' own.
    Own(u16),
    /// Those of the client's settings.
    Fixed(PortRange),
}

impl Address {
    /// Where the client of this subscription is to be called; none if it waits for polls only.
    pub(super) fn of(subscription: &Subscription) -> Option<Self> {
        // A listener within TLS is not called.
        let url = Url::parse(subscription.callback.as_deref()?).ok()?;
        let by_datagram = url.scheme() == "httpu";
        if !by_datagram && url.scheme() != "http" {
            return None;
        }
        // Read as one of `http`, it has a default port, and its host is known for an address if it is one.
        let url =
            if by_datagram { Url::parse(&url.as_str().replacen("httpu", "http", 1)).ok()? } else { url };
        let own = Ports::Own(url.port_or_known_default()?);
        let ports = match subscription.delivery_mode() {
            DeliveryMode::Polling => return None,
            DeliveryMode::Default => own,
            DeliveryMode::FixedPorts => subscription.connection.ports.map_or(own, Ports::Fixed),
        };
        let place = match url.host()? {
            Host::Ipv4(ip) => Place::Ip(ip.into()),
            Host::Ipv6(ip) => Place::Ip(ip.into()),
            Host::Domain(name) => Place::Name(name.to_owned()),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Some(Self { host: url.host_str()?.to_owned(), place, ports, target, by_datagram })
    }

    /// The ports in the order in which they are tried, from `from` on if that is one of them.
    pub(super) fn ports(&self, from: Option<u16>) -> RangeInclusive<u16> {
        match self.ports {
            Ports::Own(port) => port..=port,
            Ports::Fixed(range) => {
                let mut ports = range.iter();
                // A range is never empty.
                let first = ports.next().unwrap_or(u16::MAX);
                let last = ports.last().unwrap_or(first);
                from.filter(|from| range.contains(*from)).unwrap_or(first)..=last
            }
        }
    }
}

/// Finds the addresses of a name; may wait for them.
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up.
#[derive(Clone)]
pub(super) struct Names {
    lookup: Arc<Lookup>,
    permits: Arc<Semaphore>,
}

impl Default for Names {
    /// As the machine does.
    fn default() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }
}

impl Names {
    /// Names as `lookup` knows them.
    pub(super) fn new(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), permits: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// The addresses of the host, looked up anew.
    pub(super) async fn resolve(&self, address: &Address, within: Duration) -> io::Result<Vec<IpAddr>> {
        let name = match &address.place {
            Place::Ip(ip) => return Ok(vec![*ip]),
            Place::Name(name) => name.clone(),
        };
        let (lookup, permits) = (self.lookup.clone(), self.permits.clone());
        let looked_up = async {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            // A name that is slow keeps its thread beyond the time; so it keeps its permit.
            let look = move || {
                let _permit = permit;
                lookup(&name)
            };
            spawn_blocking(look).await.map_err(io::Error::other)?
        };
        timeout(within, looked_up).await?
    }
}

/// Whether it is an address of this machine.
pub(super) fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::ConnectionSettings;

    fn address(callback: &str, mode: DeliveryMode, ports: &str) -> Option<Address> {
        let ports = crate::mailbox::Ports::parse(ports).ok().and_then(crate::mailbox::Ports::range);
        let connection = ConnectionSettings { mode, ports, ..ConnectionSettings::default() };
        let callback = Some(callback).filter(|callback| !callback.is_empty()).map(Into::into);
        Address::of(&Subscription { callback, connection, ..Subscription::default() })
    }

    #[test]
    fn a_client_is_called_where_it_wishes_or_at_its_ports() {
        use DeliveryMode::{Default, FixedPorts, Polling};
        for (callback, mode, ports, expected) in [
            ("http://10.1.2.3:1234", Default, "", Some(("10.1.2.3", "/", vec![1234]))),
            ("http://10.1.2.3:1234/a%20b?c=d#e", Default, "", Some(("10.1.2.3", "/a%20b?c=d", vec![1234]))),
            ("http://10.1.2.3", Default, "", Some(("10.1.2.3", "/", vec![80]))),
            ("HTTPU://10.1.2.3:1234/x", Default, "", Some(("10.1.2.3", "/x", vec![1234]))),
            ("httpu://10.1.2.3", Default, "", Some(("10.1.2.3", "/", vec![80]))),
            ("http://[2001:DB8::1]:1234/", Default, "", Some(("[2001:db8::1]", "/", vec![1234]))),
            ("http://Client.example:1234/x", Default, "", Some(("client.example", "/x", vec![1234]))),
            ("http://10.1.2.3:1234", Default, "1050", Some(("10.1.2.3", "/", vec![1234]))),
            (
                "http://10.1.2.3:1234/x",
                FixedPorts,
                "1050-1052",
                Some(("10.1.2.3", "/x", vec![1050, 1051, 1052])),
            ),
            ("http://10.1.2.3:1234", FixedPorts, "80-90", Some(("10.1.2.3", "/", vec![1234]))),
            ("http://10.1.2.3:1234", Polling, "1050", None),
            ("", Default, "", None),
            ("", FixedPorts, "1050", None),
        ] {
            let found = address(callback, mode, ports);
            let found = found.as_ref().map(|a| (&*a.host, &*a.target, a.ports(None).collect::<Vec<u16>>()));
            assert_eq!(found, expected, "{callback} {mode:?} {ports}");
        }
    }

    #[test]
    fn a_range_is_gone_through_from_where_the_last_try_ended() {
        let range = address("http://10.1.2.3:1234", DeliveryMode::FixedPorts, "1050-1052").unwrap();
        for (from, expected) in [(1051, vec![1051, 1052]), (1052, vec![1052]), (1053, vec![1050, 1051, 1052])]
        {
            assert_eq!(range.ports(Some(from)).collect::<Vec<u16>>(), expected, "{from}");
        }
    }

    #[tokio::test]
    async fn names_are_looked_up_each_time() {
        let asked = Arc::new(std::sync::atomic::AtomicU8::new(0));
        let counter = asked.clone();
        let names = Names::new(move |name| {
            assert_eq!(name, "client.example");
            let n = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(vec![IpAddr::from([10, 0, 0, n])])
        });
        let address = address("http://client.example:1234", DeliveryMode::Default, "").unwrap();
        for n in 0..3 {
            let found = names.resolve(&address, Duration::from_secs(9)).await.unwrap();
            assert_eq!(found, [IpAddr::from([10, 0, 0, n])]);
        }
    }

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_here("127.0.0.1".parse().unwrap()));
        assert!(!is_here("192.0.2.1".parse().unwrap()), "an address for documentation");
    }
}
