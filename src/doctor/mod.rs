//! Looks at a machine as an administrator would, before the gateway runs on it or beside one that runs, and says
//! what was seen and what to do.
//!
//! Each area is a file: it looks, and a function without I/O judges what was seen, so that the judgement can be
//! tested. What comes out is a [`Finding`] each.
//!
//! - `user`: who looks. `listeners`: whether the addresses can be had. `gateway`: what a running one says.
//! - `upstream`: whether it answers; `clocks`: what its clock says beside ours.
//! - `callback`: whether the settings let the upstream's callbacks in. `trial`: whether one really comes: a short
//!   subscription that is always ended again, and only if it is asked for.
//! - `descriptors`, `disk`, `store`: what there is room for.
//! - `certificates`, `files`: how long they are good, and who may read them.
//!
//! What it leaves behind: nothing. It opens no port for longer than a trial takes, makes no store, removes
//! the files that it writes, and changes nothing of a running gateway. It sees what its user may see.

mod callback;
mod certificates;
mod clocks;
mod descriptors;
mod disk;
mod files;
mod finding;
mod gateway;
mod listeners;
mod store;
mod trial;
mod upstream;
mod user;

use std::time::Duration;

pub use finding::{Finding, Level};

use self::trial::Trial;
use crate::clock;
use crate::config::{Config, Server, Upstream};

/// What is looked at only if it is asked for.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The path of a node to subscribe to at the first upstream, to see whether a callback comes.
    pub subscribe: Option<String>,
    /// How long that callback is waited for.
    pub wait: Duration,
}

/// Looks at everything, and tells of each thing as soon as it is seen.
pub async fn examine(config: &Config, wishes: &Wishes, tell: &mut dyn FnMut(Finding)) {
    let gateway = gateway::ask(config).await;
    tell(user::look());
    listeners::look(&config.listen, gateway.is_some()).into_iter().for_each(&mut *tell);
    gateway.iter().flat_map(|gateway| gateway.findings()).for_each(&mut *tell);
    let mut servers = Vec::new();
    for upstream in servers_of(config) {
        let observed = upstream::observe(&upstream).await;
        upstream::judge(&upstream.address, &observed, clock::wall()).into_iter().for_each(&mut *tell);
        tell(clocks::against(&upstream.address, &observed));
        callback::look(config, &observed.addresses).await.into_iter().for_each(&mut *tell);
        servers.push((upstream, observed.server().to_owned()));
    }
    tell(clocks::own(clock::wall(), clock::read().boot.is_some()));
    tell(descriptors::look(config.limits.connections, gateway.as_ref().and_then(|gateway| gateway.clients)));
    disk::look(&config.store).into_iter().for_each(&mut *tell);
    store::look(&config.store, gateway.as_ref()).into_iter().for_each(&mut *tell);
    certificates::look(config, clock::wall()).into_iter().for_each(&mut *tell);
    files::look(config).into_iter().for_each(&mut *tell);
    // The last, since it takes its time.
    if let Some((upstream, server)) = servers.first() {
        let trial = Trial { config, upstream, server, wait: wishes.wait, running: gateway.is_some() };
        trial.findings(wishes.subscribe.as_deref()).await.into_iter().for_each(tell);
    }
}

/// Every server that there is, each as an upstream of its own.
fn servers_of(config: &Config) -> impl Iterator<Item = Upstream> {
    config.upstreams.iter().flat_map(|upstream| {
        let alone =
            |server: Server| Upstream { address: server.address, servers: Vec::new(), ..upstream.clone() };
        upstream.all_servers().into_iter().map(alone)
    })
}

/// A short time as people say it.
fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
