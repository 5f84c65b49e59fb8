//! A client that listens for datagrams (`httpu`) is told that there is something, and polls for it.
//!
//! A datagram is never answered, so nothing is handed over with one: what it tells of stays in the mailbox until a poll
//! takes it. One that is lost is made good by the next. It has no body and few fields, for Slide's client reads no more
//! than 256 bytes; what both it and Evolution look for in it is `Subscription-id`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::address::{Address, Names, is_here};
use super::allowed::{Rules, may_connect};
use super::connect::NotReached;

/// Sends one datagram, to the first address that is allowed. Its port is the client's own, or the first of its fixed
/// ones: nobody can tell which of several is listened at.
pub(super) async fn tell(
    address: &Address,
    id: Option<&str>,
    names: &Names,
    rules: &Rules<'_>,
    within: Duration,
) -> Result<(), NotReached> {
    let ips = names.resolve(address, within).await.map_err(|error| {
        tracing::debug!(%error, "a client's name has no address");
        NotReached::Unresolved
    })?;
    let port = *address.ports(None).start();
    let mut refused = NotReached::Unresolved;
    for ip in ips {
        let client = SocketAddr::new(ip, port);
        match may_connect(client, is_here(ip), rules) {
            Ok(()) => {
                return send(&text(address, port, id), client).await.map_err(|error| {
                    tracing::debug!(%error, "a datagram could not be sent");
                    NotReached::Nobody { next_port: None }
                });
            }
            Err(forbidden) => refused = NotReached::NotAllowed(forbidden),
        }
    }
    Err(refused)
}

async fn send(text: &str, client: SocketAddr) -> std::io::Result<()> {
    let any: IpAddr = if client.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    UdpSocket::bind((any, 0)).await?.send_to(text.as_bytes(), client).await.map(drop)
}

fn text(address: &Address, port: u16, id: Option<&str>) -> String {
    let id = id.map(|id| format!("Subscription-id: {id}\r\n")).unwrap_or_default();
    format!("NOTIFY {} HTTP/1.1\r\nHost: {}:{port}\r\n{id}\r\n", address.target, address.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Subscription;

    async fn told(client: &UdpSocket, allow: &str) -> Result<(), NotReached> {
        let callback = format!("httpu://{}/", client.local_addr().unwrap());
        let subscription = Subscription { callback: Some(callback.into()), ..Subscription::default() };
        let mut subscription = subscription;
        subscription.connection.mode = crate::mailbox::DeliveryMode::Default;
        let address = Address::of(&subscription).unwrap();
        let allow = [allow.parse().unwrap()];
        let rules = Rules { allow: &allow, subscriber: None, listeners: &[] };
        tell(&address, Some("21"), &Names::default(), &rules, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn a_datagram_names_the_subscription_and_is_small() {
        for (at, allow) in [("127.0.0.1:0", "127.0.0.0/8"), ("[::1]:0", "::1/128")] {
            // A machine may have no IPv6.
            let Ok(client) = UdpSocket::bind(at).await else { continue };
            told(&client, allow).await.unwrap();
            let mut got = [0; 256];
            let (length, _) = client.recv_from(&mut got).await.unwrap();
            let host = client.local_addr().unwrap();
            let expected = format!("NOTIFY / HTTP/1.1\r\nHost: {host}\r\nSubscription-id: 21\r\n\r\n");
            assert_eq!(String::from_utf8_lossy(&got[..length]), expected);
        }
    }

    #[tokio::test]
    async fn who_may_not_be_called_is_sent_nothing() {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let refused = told(&client, "192.0.2.0/24").await;
        assert!(matches!(refused, Err(NotReached::NotAllowed(_))), "{refused:?}");
        assert!(client.try_recv_from(&mut [0; 256]).is_err());
    }
}
