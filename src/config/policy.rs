//! Which client is served how: the first client policy that matches, and what it leaves open from
//! `[delivery]`. Pure: nothing here knows where a client's particulars come from.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use wildmatch::WildMatch;

use super::Config;
use crate::mailbox::{ConnectionSettings, DeliveryMode, OwnSettings, PollingPeriod, Ports};

/// `[[client_policy]]`: how the clients are served that match every condition it has. One without
/// conditions matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPolicy {
    /// What the client's principal is like, as a whole.
    pub principal: Option<Pattern>,
    /// The networks of which one holds the client's address; empty: any address.
    pub source: Vec<IpNet>,
    /// What the client's `User-Agent` is like.
    pub user_agent: Option<Pattern>,
    /// PollingFlag; `None`: as in `[delivery]`.
    pub mode: Option<DeliveryMode>,
    /// PollingPeriod; `None`: as in `[delivery]`.
    pub polling_period: Option<PollingPeriod>,
    /// Ports, as they were typed; `None`: as in `[delivery]`.
    pub ports: Option<Ports>,
}

/// Text with `*` for any characters and `?` for a single one. Case does not matter, for it does not in
/// the names of users and programs that it is held against.
#[derive(Clone, PartialEq)]
pub struct Pattern(WildMatch);

// A pattern is its characters: it equals itself.
impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.pattern())
    }
}

impl Pattern {
    /// A pattern for the whole of a text.
    pub fn whole(pattern: &str) -> Self {
        Self(WildMatch::new_case_insensitive(pattern))
    }

    /// A pattern for the whole of a text, or, without `*` and `?`, for a part of it.
    pub(super) fn part(pattern: &str) -> Self {
        if pattern.contains(['*', '?']) { Self::whole(pattern) } else { Self::whole(&format!("*{pattern}*")) }
    }

    /// The only text that is like this, if it is not a matter of wildcards.
    pub fn literal(&self) -> Option<String> {
        let pattern = self.0.pattern();
        (!pattern.contains(['*', '?'])).then(|| pattern.to_string())
    }

    /// Whether the text is like this.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

/// What is known of a client when it signs in.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its principal's URL, if it says it.
    pub principal: Option<&'a str>,
    /// The address that it comes from.
    pub source: IpAddr,
    /// Its `User-Agent`, if it says it.
    pub user_agent: Option<&'a str>,
}

impl ClientPolicy {
    /// Whether every condition holds. What a client does not say meets no condition.
    fn matches(&self, client: &Client<'_>) -> bool {
        let like = |pattern: &Option<Pattern>, text: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| text.is_some_and(|text| pattern.matches(text)))
        };
        // A client of an IPv6 listener may come as ::ffff:10.1.2.3.
        let source = client.source.to_canonical();
        let from_there = self.source.is_empty() || self.source.iter().any(|net| net.contains(&source));
        from_there && like(&self.principal, client.principal) && like(&self.user_agent, client.user_agent)
    }

    /// The mode and the ports of the clients that match it.
    pub(super) fn mode_and_ports(&self, config: &Config) -> (DeliveryMode, Option<Ports>) {
        (self.mode.unwrap_or(config.delivery.mode), self.ports.or(config.delivery.ports))
    }

    fn own_settings(&self, config: &Config) -> OwnSettings {
        let (mode, ports) = self.mode_and_ports(config);
        let polling_period = self.polling_period.unwrap_or(config.delivery.polling_period);
        OwnSettings { mode, polling_period, ports }
    }

    /// All that it says, conditions and what it leaves open from `[delivery]`. The text is kept to know a policy
    /// again: with another form of it, every policy would count as written anew.
    fn text(&self, config: &Config) -> String {
        let pattern = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.0.pattern());
        let source: Vec<String> = self.source.iter().map(IpNet::to_string).collect();
        let OwnSettings { mode, polling_period, ports } = self.own_settings(config);
        format!(
            "{} {:?} {:?} {} {} {}",
            source.join(","),
            pattern(&self.principal),
            pattern(&self.user_agent),
            mode.as_str(),
            polling_period.minutes(),
            ports.map(|ports| ports.to_string()).unwrap_or_default(),
        )
    }
}

/// What applies where no policy matches.
static OPEN: ClientPolicy = ClientPolicy {
    principal: None,
    source: Vec::new(),
    user_agent: None,
    mode: None,
    polling_period: None,
    ports: None,
};

fn applying<'a>(config: &'a Config, client: &Client<'_>) -> &'a ClientPolicy {
    config.client_policy.iter().find(|policy| policy.matches(client)).unwrap_or(&OPEN)
}

/// How a client is served that has no setting of its own (white paper, *Client Registry Settings*).
pub fn choose(config: &Config, client: &Client<'_>) -> ConnectionSettings {
    applying(config, client).own_settings(config).settings()
}

/// The text of the policy by which [`choose`] chooses.
pub fn policy_of(config: &Config, client: &Client<'_>) -> String {
    applying(config, client).text(config)
}

/// Every policy that may be chosen by, with its key in the file and its text; `[delivery]` comes last, as the
/// one that has no conditions. Two of the same text are the same policy.
pub fn policies(config: &Config) -> impl Iterator<Item = (String, String)> {
    let some = config.client_policy.iter().enumerate();
    let some = some.map(|(index, policy)| (format!("client_policy[{index}]"), policy.text(config)));
    some.chain(std::iter::once(("delivery".to_owned(), OPEN.text(config))))
}

/// What is valid and yet not as it was probably meant, a sentence each, with the key before it.
pub fn warnings(config: &Config) -> Vec<String> {
    let policies = config.client_policy.iter().enumerate();
    let policies = policies.map(|(index, policy)| (format!("client_policy[{index}].ports"), policy.ports));
    std::iter::once(("delivery.ports".to_owned(), config.delivery.ports))
        .chain(policies)
        .filter_map(|(key, ports)| Some(format!("{key}: {}", ports?.warning()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const KARI: &str = "http://im.example.com/instmsg/aliases/Kari";

    fn client<'a>(principal: &'a str, source: &str, user_agent: &'a str) -> Client<'a> {
        let said = |text: &'a str| (!text.is_empty()).then_some(text);
        Client { principal: said(principal), source: source.parse().unwrap(), user_agent: said(user_agent) }
    }

    /// Mode, minutes and ports, as words.
    fn chosen(config: &Config, client: &Client<'_>) -> String {
        let ConnectionSettings { mode, polling_period, ports } = choose(config, client);
        let ports = ports.map_or_else(|| "random".to_owned(), |ports| ports.to_string());
        format!("{} {} {ports}", mode.as_str(), polling_period.minutes())
    }

    #[test]
    fn conditions() {
        for (condition, client, expected) in [
            ("", client("", "10.1.2.3", ""), true),
            ("principal = '*/aliases/kari'", client(KARI, "10.1.2.3", ""), true),
            ("principal = '*/aliases/kar?'", client(KARI, "10.1.2.3", ""), true),
            ("principal = '*/aliases/kar'", client(KARI, "10.1.2.3", ""), false),
            ("principal = 'kari'", client(KARI, "10.1.2.3", ""), false),
            ("principal = '*'", client("", "10.1.2.3", ""), false),
            ("source = ['10.0.0.0/8', '::1']", client("", "10.1.2.3", ""), true),
            ("source = ['10.0.0.0/8', '::1']", client("", "::1", ""), true),
            ("source = ['10.0.0.0/8', '::1']", client("", "::ffff:10.1.2.3", ""), true),
            ("source = ['10.0.0.0/8', '::1']", client("", "11.1.2.3", ""), false),
            ("user_agent = 'msmsgs'", client("", "::1", "Mozilla/4.0 (MSMSGS 4.5)"), true),
            ("user_agent = 'msmsgs*'", client("", "::1", "Mozilla/4.0 (MSMSGS 4.5)"), false),
            ("user_agent = '*msmsgs 4.?)'", client("", "::1", "Mozilla/4.0 (MSMSGS 4.5)"), true),
            ("user_agent = 'msmsgs'", client("", "::1", ""), false),
            ("principal = '*kari'\nsource = ['::1']", client(KARI, "::1", ""), true),
            ("principal = '*kari'\nsource = ['::1']", client(KARI, "::2", ""), false),
            ("principal = '*kari'\nuser_agent = 'x'", client(KARI, "::1", "y"), false),
        ] {
            let config = config(&format!("[[client_policy]]\nmode = 'default'\n{condition}"));
            let mode = choose(&config, &client).mode;
            assert_eq!(mode == DeliveryMode::Default, expected, "{condition} {client:?}");
        }
    }

    #[test]
    fn the_first_match_counts_and_leaves_open_what_it_does_not_set() {
        let config = config(
            "[delivery]\nmode = 'fixed-ports'\nports = '2000'\npolling_period = '5m'\n\
             [[client_policy]]\nsource = ['10.0.0.0/8']\nmode = 'polling'\n\
             [[client_policy]]\nsource = ['10.1.0.0/16', '11.0.0.0/8']\nports = '1050-1060'\npolling_period = 60\n\
             [[client_policy]]\nsource = ['12.0.0.0/8']\nports = '80-90'\n\
             [[client_policy]]\nsource = ['13.0.0.0/8']\n",
        );
        for (source, expected) in [
            ("10.1.2.3", "polling 5 2000"),
            ("11.1.2.3", "fixed-ports 1 1050-1060"),
            ("12.1.2.3", "fixed-ports 5 random"),
            ("13.1.2.3", "fixed-ports 5 2000"),
            ("14.1.2.3", "fixed-ports 5 2000"),
        ] {
            assert_eq!(chosen(&config, &client(KARI, source, "x")), expected, "{source}");
        }
        assert_eq!(
            warnings(&config),
            ["client_policy[2].ports: begins below 1025, the first permissible port: \
              random port selection takes the place of 80-90"]
        );
    }

    #[test]
    fn a_policy_is_known_again_until_its_content_changes() {
        let texts = |text: &str| policies(&config(text)).map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(""), [" None None polling 10 "]);
        let file = "[[client_policy]]\nprincipal = '*/kari'\nuser_agent = 'x\"y'\nsource = ['10.1.0.0/16', '::1']\n\
                    ports = '1050'\n[[client_policy]]\nsource = ['11.0.0.0/8']\nmode = 'default'\n";
        assert_eq!(
            texts(file),
            [
                "10.1.0.0/16,::1/128 Some(\"*/kari\") Some(\"*x\\\"y*\") polling 10 1050",
                "11.0.0.0/8 None None default 10 ",
                " None None polling 10 ",
            ],
            "these stand in files of older versions"
        );
        // What is left open changes with [delivery], and what is set does not.
        let changed = texts(&format!("[delivery]\nmode = 'default'\n{file}"));
        let same: Vec<bool> = texts(file).iter().zip(&changed).map(|(a, b)| a == b).collect();
        assert_eq!(same, [false, true, false]);
        let config = config(file);
        for (source, name) in [("10.1.2.3", "delivery"), ("11.1.2.3", "client_policy[1]")] {
            let text = policy_of(&config, &client(KARI, source, ""));
            assert_eq!(policies(&config).find(|(_, other)| *other == text).unwrap().0, name);
        }
    }

    #[test]
    fn nothing_set_is_polling_every_ten_minutes() {
        let config = Config::default();
        assert_eq!(chosen(&config, &client("", "::1", "")), "polling 10 random");
        assert!(warnings(&config).is_empty());
        let low = super::super::tests::config("[delivery]\nports = '1024'");
        assert_eq!(warnings(&low).len(), 1);
    }
}
