//! Whether each address can be listened at: by nobody else, and by this user.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

use tokio::net::TcpSocket;

use super::Finding;
use crate::config::Listen;

const AREA: &str = "listeners";

/// `running`: whether a gateway answers at `listen.admin`.
pub(super) fn look(listen: &Listen, running: bool) -> Vec<Finding> {
    let public = listen.public.iter().map(|address| ("listen.public", *address));
    let tls = listen.tls.public.iter().map(|address| ("listen.tls.public", *address));
    let others = [("listen.callback", listen.callback), ("listen.admin", listen.admin)];
    let all = public.chain(tls).chain(others);
    let all = all.map(|(key, address)| judge(key, address, bind(address).err().as_ref(), running));
    let datagrams = listen.callback_udp.map(|address| {
        judge("listen.callback_udp", address, UdpSocket::bind(address).err().as_ref(), running)
    });
    all.chain(datagrams).collect()
}

/// Without listening: nobody's connection ends up here.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the gateway itself has it: connections that just ended are no hindrance.
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// A gateway has all its listeners or does not start: one that answers at its admin listener has the others too.
fn judge(key: &str, address: SocketAddr, error: Option<&io::Error>, running: bool) -> Finding {
    let which = format!("{key} {address}");
    let Some(error) = error else {
        return match running && address.port() != 0 {
            false => Finding::ok(AREA, format!("{which} is free")),
            true => Finding::warn(
                AREA,
                format!("{which} is free, while a gateway runs: that one listens elsewhere"),
                "Restart the gateway: listeners are not followed by a reload.",
            ),
        };
    };
    match error.kind() {
        ErrorKind::AddrInUse if running => {
            Finding::ok(AREA, format!("{which} is held by the running gateway"))
        }
        ErrorKind::AddrInUse => Finding::fail(
            AREA,
            format!("{which} is held by another program"),
            format!("Stop it, or set {key} to another port; `ss -lntup` shows which it is."),
        ),
        ErrorKind::PermissionDenied => Finding::fail(
            AREA,
            format!("{which} may not be bound by this user: port {} is privileged", address.port()),
            format!(
                "Give the gateway CAP_NET_BIND_SERVICE (AmbientCapabilities= in systemd, or setcap), or set {key} to \
                 a port from 1024 on."
            ),
        ),
        ErrorKind::AddrNotAvailable => Finding::fail(
            AREA,
            format!("{which} is no address of this machine"),
            format!("Set {key} to one that `ip address` shows, or to 0.0.0.0."),
        ),
        _ => {
            Finding::fail(AREA, format!("{which} cannot be bound: {error}"), format!("Set {key} to another."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn an_address_is_had_or_not() {
        for (error, running, level, says) in [
            (None, false, Level::Ok, "is free"),
            (None, true, Level::Warn, "listens elsewhere"),
            (Some(ErrorKind::AddrInUse), true, Level::Ok, "running gateway"),
            (Some(ErrorKind::AddrInUse), false, Level::Fail, "another program"),
            (Some(ErrorKind::PermissionDenied), false, Level::Fail, "privileged"),
            (Some(ErrorKind::AddrNotAvailable), false, Level::Fail, "no address of this machine"),
            (Some(ErrorKind::Other), false, Level::Fail, "cannot be bound"),
        ] {
            let error = error.map(io::Error::from);
            let finding = judge("listen.public", "10.0.0.1:80".parse().unwrap(), error.as_ref(), running);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.seen.contains(says), "{finding:?}");
            assert_eq!(finding.advice.is_some(), level != Level::Ok, "{finding:?}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_seen_and_one_that_is_only_looked_at_stays_free() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(taken);
        bind(address).unwrap();
        bind(address).unwrap();
    }
}
