//! The environment: `POLLGATE_SECTION_KEY` beside what only looks like it.

use std::collections::BTreeMap;

/// What all our variables begin with.
const PREFIX: &str = "POLLGATE_";

/// Names the configuration file; everything else with our prefix is a setting.
pub(super) const CONFIG_VARIABLE: &str = "POLLGATE_CONFIG";

/// A client's password, for `pollgate poll`; not a setting either.
pub const PASSWORD_VARIABLE: &str = "POLLGATE_PASSWORD";

/// The variables that should be settings, by name.
pub(super) fn settings(environment: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    environment
        .into_iter()
        .filter(|(name, value)| {
            let ours = name.starts_with(PREFIX) && name != CONFIG_VARIABLE && name != PASSWORD_VARIABLE;
            ours && !is_service_link(name, value)
        })
        .collect()
}

/// The variable that sets a dotted key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Whether Kubernetes put the variable there: for a service called `pollgate` it gives every pod
/// `POLLGATE_SERVICE_HOST`, `POLLGATE_SERVICE_PORT[_NAME]`, `POLLGATE_PORT=tcp://…` and
/// `POLLGATE_PORT_80_TCP[_PROTO|_PORT|_ADDR]`. Nobody wrote these, so they are nobody's slip.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let name = format!("{name}_");
    name.ends_with("_SERVICE_HOST_")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT_") && is_url)
        || name.split_once("_PORT_").is_some_and(|(_, rest)| {
            let mut words = rest.split('_');
            let port = words.next().is_some_and(|port| port.parse::<u16>().is_ok());
            port && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_are_kept() {
        for (name, value, kept) in [
            ("POLLGATE_LISTEN_PUBLIC", "0.0.0.0:80", true),
            ("POLLGATE_NONSENSE", "1", true),
            ("POLLGATE_CONFIG", "/x.toml", false),
            ("PATH", "/bin", false),
            ("pollgate_listen_public", "x", false),
            ("POLLGATE_SERVICE_HOST", "10.0.0.1", false),
            ("POLLGATE_SERVICE_PORT", "80", false),
            ("POLLGATE_SERVICE_PORT_HTTP", "80", false),
            ("POLLGATE_PORT", "tcp://10.0.0.1:80", false),
            ("POLLGATE_PORT_80_TCP", "tcp://10.0.0.1:80", false),
            ("POLLGATE_PORT_80_TCP_ADDR", "10.0.0.1", false),
            ("POLLGATE_ADMIN_PORT_9180_TCP_PROTO", "tcp", false),
            ("POLLGATE_PORT", "80", true),
            ("POLLGATE_PORT_HTTP", "80", true),
        ] {
            let settings = settings([(name.to_owned(), value.to_owned())]);
            assert_eq!(settings.contains_key(name), kept, "{name}={value}");
        }
    }

    #[test]
    fn variables_are_named_after_keys() {
        assert_eq!(variable("polling.poll_life_time.default"), "POLLGATE_POLLING_POLL_LIFE_TIME_DEFAULT");
    }
}
