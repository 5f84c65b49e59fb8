//! Whether the settings let the upstream's callbacks in: where they are sent, where they are awaited, and from
//! whom they are taken.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use super::Finding;
use crate::config::Config;

const AREA: &str = "callback";

/// How long a name server may take.
const RESOLVED_WITHIN: Duration = Duration::from_secs(5);

/// What the judgement is about.
struct Situation<'a> {
    /// `callback.url`.
    url: &'a str,
    /// The port in it.
    port: u16,
    /// Where its host leads to; why nowhere.
    hosts: Result<Vec<IpAddr>, String>,
    /// `listen.callback`.
    listener: SocketAddr,
    /// `callback.allow`.
    allow: &'a [IpNet],
    /// Where the upstream is.
    upstream: &'a [IpAddr],
    /// Whether an address is this machine's.
    ours: fn(IpAddr) -> bool,
}

pub(super) async fn look(config: &Config, upstream: &[IpAddr]) -> Vec<Finding> {
    let (url, listener) = (config.callback.url.as_str(), config.listen.callback);
    // Port 0 stands for the port that the listener gets, and is no part of a URL.
    let parsed = Url::parse(url).ok();
    let port = parsed.as_ref().and_then(Url::port_or_known_default).unwrap_or_default();
    let hosts = hosts(parsed.as_ref()).await;
    judge(&Situation { url, port, hosts, listener, allow: &config.callback.allow, upstream, ours: is_ours })
}

async fn hosts(url: Option<&Url>) -> Result<Vec<IpAddr>, String> {
    let name = match url.and_then(Url::host) {
        Some(Host::Ipv4(ip)) => return Ok(vec![ip.into()]),
        Some(Host::Ipv6(ip)) => return Ok(vec![ip.into()]),
        Some(Host::Domain(name)) => name.to_owned(),
        None => return Err("it has no host".to_owned()),
    };
    match timeout(RESOLVED_WITHIN, lookup_host((name, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip().to_canonical()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no name server answered in time".to_owned()),
    }
}

/// What can be bound is an address of this machine.
fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || (!ip.is_unspecified() && UdpSocket::bind((ip, 0)).is_ok())
}

fn judge(situation: &Situation<'_>) -> Vec<Finding> {
    let Situation { url, upstream, .. } = situation;
    if upstream.is_empty() {
        return vec![Finding::skip(
            AREA,
            format!("where the upstream is is not known, so nothing can be said of callback.url {url}"),
            "Look again when its name can be resolved.",
        )];
    }
    let near = upstream.iter().all(|ip| (situation.ours)(*ip));
    let hosts = match &situation.hosts {
        Ok(hosts) => hosts,
        Err(error) => {
            return vec![Finding::warn(
                AREA,
                format!("this machine cannot resolve the host of callback.url {url}: {error}"),
                "See that the upstream can, or set callback.url to an IP address of this machine.",
            )];
        }
    };
    let problems: Vec<_> =
        sent(situation, hosts, near).into_iter().chain(taken(situation, hosts, near)).collect();
    if !problems.is_empty() {
        return problems;
    }
    let listener = situation.listener;
    let seen =
        format!("{url} leads to listen.callback {listener}, and callback.allow lets the upstream deliver");
    vec![Finding::ok(AREA, seen)]
}

/// Whether callbacks arrive where they are awaited. `near`: whether the upstream is on this machine.
fn sent(situation: &Situation<'_>, hosts: &[IpAddr], near: bool) -> Option<Finding> {
    let Situation { url, port, listener, ours, .. } = situation;
    let loopback = |ips: &[IpAddr]| ips.iter().all(IpAddr::is_loopback);
    let on_us = hosts.iter().any(|ip| ours(*ip));
    if !near && loopback(hosts) {
        return Some(Finding::fail(
            AREA,
            format!(
                "callback.url is {url}: to the upstream, on another machine, that is the upstream itself"
            ),
            "Set listen.callback and callback.url to an address of this machine that the upstream can reach.",
        ));
    }
    if !near && listener.ip().to_canonical().is_loopback() {
        return Some(Finding::warn(
            AREA,
            format!(
                "listen.callback is {listener}, which only this machine reaches, and the upstream is on another"
            ),
            "Set listen.callback to an address that the upstream can reach, unless something here passes callbacks on.",
        ));
    }
    let ip = listener.ip().to_canonical();
    if on_us && !ip.is_unspecified() && !hosts.contains(&ip) {
        return Some(Finding::fail(
            AREA,
            format!(
                "callback.url is {url}, and listen.callback, {listener}, is another address of this machine"
            ),
            "Set both to the same address, or leave callback.url out.",
        ));
    }
    let ports = [*port, listener.port()];
    if on_us && ports[0] != ports[1] && !ports.contains(&0) {
        return Some(Finding::warn(
            AREA,
            format!(
                "callback.url is {url}, and listen.callback, {listener}, is another port of this machine"
            ),
            "Set both to the same port, unless something passes callbacks on from the one to the other.",
        ));
    }
    None
}

/// Whether callbacks are taken from where they come from.
fn taken(situation: &Situation<'_>, hosts: &[IpAddr], near: bool) -> Option<Finding> {
    let Situation { allow, upstream, .. } = situation;
    // Who connects to an address of its own machine comes from that address.
    let sources = if near { hosts } else { upstream };
    let strangers: Vec<String> = sources
        .iter()
        .filter(|ip| !allow.iter().any(|network| network.contains(*ip)))
        .map(ToString::to_string)
        .collect();
    if strangers.is_empty() {
        return None;
    }
    let only_ourselves = allow.iter().all(|network| network.addr().is_loopback());
    let seen = format!("callback.allow does not have {}: callbacks from there get 403", strangers.join(", "));
    // Whoever listed others may know that callbacks come from another address than requests go to.
    Some(match only_ourselves && strangers.len() == sources.len() {
        true => Finding::fail(AREA, seen, "Set callback.allow to the upstream's addresses."),
        false => Finding::warn(
            AREA,
            seen,
            "Add it to callback.allow, unless the upstream's callbacks come from another address.",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    /// This machine is 10.0.0.9.
    fn judged(url: &str, listener: &str, allow: &[&str], upstream: &str) -> Finding {
        let parsed = Url::parse(url).unwrap();
        let host: IpAddr = parsed.host_str().unwrap().trim_matches(['[', ']']).parse().unwrap();
        let allow: Vec<IpNet> = allow.iter().map(|network| network.parse().unwrap()).collect();
        let ours = |ip: IpAddr| ip.is_loopback() || ip == IpAddr::from([10, 0, 0, 9]);
        let mut findings = judge(&Situation {
            url,
            port: parsed.port_or_known_default().unwrap(),
            hosts: Ok(vec![host]),
            listener: listener.parse().unwrap(),
            allow: &allow,
            upstream: &[upstream.parse().unwrap()],
            ours,
        });
        findings.remove(0)
    }

    #[test]
    fn where_callbacks_go_and_from_whom_they_are_taken() {
        const SELF: &[&str] = &["127.0.0.0/8", "::1/128"];
        const NET: &[&str] = &["10.0.0.0/24"];
        let (near, far) = ("127.0.0.1", "10.0.0.5");
        for (url, listener, allow, upstream, level, says) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081", SELF, near, Level::Ok, "leads to"),
            ("http://127.0.0.1:8081", "0.0.0.0:8081", SELF, near, Level::Ok, "leads to"),
            ("http://[::1]:8081", "[::1]:8081", SELF, "::1", Level::Ok, "leads to"),
            ("http://10.0.0.9:8081", "10.0.0.9:8081", NET, far, Level::Ok, "leads to"),
            ("http://10.0.0.9:8081", "0.0.0.0:8081", NET, far, Level::Ok, "leads to"),
            // A port that is mapped, or the address of a router.
            ("http://10.0.0.77:9000", "0.0.0.0:8081", NET, far, Level::Ok, "leads to"),
            ("http://127.0.0.1:8081", "127.0.0.1:8081", NET, far, Level::Fail, "the upstream itself"),
            ("http://10.0.0.9:8081", "127.0.0.1:8081", NET, far, Level::Warn, "only this machine reaches"),
            ("http://10.0.0.9:8081", "127.0.0.1:8081", NET, near, Level::Fail, "another address"),
            ("http://10.0.0.9:8082", "0.0.0.0:8081", NET, far, Level::Warn, "another port"),
            ("http://10.0.0.9:8081", "0.0.0.0:8081", SELF, far, Level::Fail, "does not have 10.0.0.5"),
            ("http://10.0.0.9:8081", "0.0.0.0:8081", &["10.7.0.0/16"], far, Level::Warn, "does not have"),
            // On this machine, but by its address in the network: that is where the callback comes from.
            ("http://10.0.0.9:8081", "0.0.0.0:8081", SELF, near, Level::Fail, "does not have 10.0.0.9"),
        ] {
            let finding = judged(url, listener, allow, upstream);
            assert_eq!(finding.level, level, "{url} {listener} {upstream}: {finding:?}");
            assert!(finding.seen.contains(says), "{finding:?}");
        }
    }

    #[test]
    fn what_leads_nowhere() {
        let situation = |hosts, upstream| Situation {
            url: "http://gate.example:8081",
            port: 8081,
            hosts,
            listener: "0.0.0.0:8081".parse().unwrap(),
            allow: &[],
            upstream,
            ours: |_| false,
        };
        let far = [IpAddr::from([10, 0, 0, 5])];
        assert_eq!(judge(&situation(Err("no".to_owned()), &far))[0].level, Level::Warn);
        assert_eq!(judge(&situation(Ok(Vec::new()), &[]))[0].level, Level::Skip);
    }

    #[test]
    fn this_machine_knows_itself() {
        assert!(is_ours(IpAddr::from([127, 0, 0, 1])));
        // TEST-NET-1 (RFC 5737): nobody's.
        assert!(!is_ours(IpAddr::from([192, 0, 2, 1])));
    }
}
