//! Reading the configuration again, and what of it a running gateway can follow.
//!
//! Sockets are bound, the store is opened and the form of the log is chosen once, at the start. A change of
//! these waits for the next start, and is named; all else is followed at once. Pure, but for [`Origin::load`].

use std::path::PathBuf;

use super::{Config, ListenTls, LoadError, Overrides, address, load, locate};
use crate::watched::Unusable;

/// Where a configuration came from, and can be read from again.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file that a flag names.
    pub flag: Option<PathBuf>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// What other flags set.
    pub overrides: Overrides,
}

impl Origin {
    /// The configuration as it is written now, or everything that is wrong with it.
    pub fn load(&self) -> Result<Config, LoadError> {
        load(self.flag.as_deref(), self.environment.iter().cloned(), &self.overrides)
    }

    /// The file that is read, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let variable = self.environment.iter().find(|(name, _)| name == super::env::CONFIG_VARIABLE);
        locate(self.flag.as_deref(), variable.map(|(_, value)| value.as_str()))
    }
}

/// Why the configuration that is written is not followed; the running one stays as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] LoadError),
    /// A file that it names was fine a moment ago, and now is not.
    #[error("{0}")]
    Unusable(#[from] Unusable),
}

impl ReloadError {
    /// Everything that is wrong, a sentence each.
    pub fn problems(&self) -> Vec<String> {
        match self {
            ReloadError::Invalid(error) => error.problems().iter().map(ToString::to_string).collect(),
            ReloadError::Unusable(error) => vec![error.to_string()],
        }
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The sections that are followed from now on.
    pub followed: Vec<&'static str>,
    /// The settings that are followed from the next start on.
    pub need_restart: Vec<&'static str>,
}

/// What a running gateway makes of a configuration that was written since: the one to follow, and how it
/// differs.
pub fn adopt(running: &Config, mut written: Config) -> (Config, Changes) {
    let mut need_restart = Vec::new();
    keep_callback_url(running, &mut written);
    keep("listen.public", &running.listen.public, &mut written.listen.public, &mut need_restart);
    keep("listen.callback", &running.listen.callback, &mut written.listen.callback, &mut need_restart);
    keep(
        "listen.callback_udp",
        &running.listen.callback_udp,
        &mut written.listen.callback_udp,
        &mut need_restart,
    );
    keep("listen.admin", &running.listen.admin, &mut written.listen.admin, &mut need_restart);
    keep("listen.tls.public", &running.listen.tls.public, &mut written.listen.tls.public, &mut need_restart);
    keep_certificate(&running.listen.tls, &mut written.listen.tls);
    keep("store", &running.store, &mut written.store, &mut need_restart);
    keep(
        "delivery.max_concurrent",
        &running.delivery.max_concurrent,
        &mut written.delivery.max_concurrent,
        &mut need_restart,
    );
    keep("log.format", &running.log.format, &mut written.log.format, &mut need_restart);
    let followed = differing(running, &written);
    (written, Changes { followed, need_restart })
}

/// Addresses that stay until the restart need a certificate until then.
fn keep_certificate(running: &ListenTls, written: &mut ListenTls) {
    if running.files().is_some() && written.files().is_none() {
        written.clone_from(running);
    }
}

/// Leaves a setting as it runs, and names it if it was to be another.
fn keep<T: Clone + PartialEq>(
    key: &'static str,
    running: &T,
    written: &mut T,
    need_restart: &mut Vec<&'static str>,
) {
    if running != written {
        written.clone_from(running);
        need_restart.push(key);
    }
}

/// An address for callbacks that follows from a listener is as that listener runs: it has its own port, if it
/// was to be any, and does not move before the listener does.
fn keep_callback_url(running: &Config, written: &mut Config) {
    let follows = written.callback.url == format!("http://{}", address::reachable(written.listen.callback));
    let moves = running.listen.callback != written.listen.callback;
    let any_port = written.callback.url.strip_suffix(":0").is_some_and(|host| {
        running.callback.url.rsplit_once(':').is_some_and(|(running_host, _)| running_host == host)
    });
    if any_port || (follows && moves) {
        written.callback.url.clone_from(&running.callback.url);
    }
}

/// The sections in which they differ.
fn differing(a: &Config, b: &Config) -> Vec<&'static str> {
    // No field may be forgotten: a new one does not compile until it is named here.
    let Config {
        listen,
        upstreams,
        callback,
        polling,
        limits,
        store,
        auth,
        delivery,
        client_policy,
        admin,
        shutdown,
        log,
    } = a;
    let same = [
        ("listen", *listen == b.listen),
        ("upstream", *upstreams == b.upstreams),
        ("callback", *callback == b.callback),
        ("polling", *polling == b.polling),
        ("limits", *limits == b.limits),
        ("store", *store == b.store),
        ("auth", *auth == b.auth),
        ("delivery", *delivery == b.delivery),
        ("client_policy", *client_policy == b.client_policy),
        ("admin", *admin == b.admin),
        ("shutdown", *shutdown == b.shutdown),
        ("log", *log == b.log),
    ];
    same.into_iter().filter_map(|(section, same)| (!same).then_some(section)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::config::{LogFormat, LogLevel};

    fn changes(running: &Config, written: &Config) -> Changes {
        adopt(running, written.clone()).1
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let running = config("");
        let (next, changes) = adopt(&running, config(""));
        assert_eq!((next, changes), (running, Changes::default()));
    }

    #[test]
    fn what_can_be_followed_is_and_the_rest_is_named() {
        let running = config("");
        let written = config(
            "[listen]\nadmin = \"127.0.0.1:9999\"\n[upstream]\naddress = \"10.0.0.9:80\"\n[store]\n\
             max_mailboxes = 7\n[log]\nlevel = \"debug\"\nformat = \"json\"\n[polling]\npoll_msg_limit = 5\n",
        );
        let (next, changes) = adopt(&running, written);
        assert_eq!(changes.followed, ["upstream", "polling", "log"]);
        assert_eq!(changes.need_restart, ["listen.admin", "store", "log.format"]);
        assert_eq!(next.upstreams[0].address, "10.0.0.9:80");
        assert_eq!((next.log.level, next.log.format), (LogLevel::Debug, LogFormat::Text));
        assert_eq!((&next.listen, &next.store), (&running.listen, &running.store));
    }

    #[test]
    fn a_certificate_can_be_another_and_stays_while_there_is_an_address_for_it() {
        let running = config("[listen.tls]\npublic = ['127.0.0.1:1']\ncertificate = 'a'\nkey = 'b'\n");
        let other = config("[listen.tls]\npublic = ['127.0.0.1:2']\ncertificate = 'c'\nkey = 'd'\n");
        let (next, changed) = adopt(&running, other);
        assert_eq!(next.listen.tls.files(), Some(("c".as_ref(), "d".as_ref())));
        assert_eq!(next.listen.tls.public, running.listen.tls.public);
        assert_eq!((changed.followed, changed.need_restart), (vec!["listen"], vec!["listen.tls.public"]));
        let (next, changed) = adopt(&running, config(""));
        assert_eq!((&next, changed.need_restart), (&running, vec!["listen.tls.public"]));
    }

    #[test]
    fn where_callbacks_come_back_moves_with_their_listener() {
        let mut running = config("[listen]\ncallback = \"127.0.0.1:0\"\n");
        running.callback.url = "http://127.0.0.1:41234".to_owned();
        // As it stands in the file, any port.
        let same = config("[listen]\ncallback = \"127.0.0.1:0\"\n");
        assert_eq!(changes(&running, &same), Changes::default());
        let moved = config("[listen]\ncallback = \"127.0.0.1:7777\"\n");
        let (next, changes) = adopt(&running, moved);
        assert_eq!(changes.need_restart, ["listen.callback"]);
        assert_eq!(next.callback.url, running.callback.url);
        let elsewhere = config("[callback]\nurl = \"http://10.0.0.1:8081\"\n");
        assert_eq!(adopt(&running, elsewhere).0.callback.url, "http://10.0.0.1:8081");
    }
}
