//! What users set for themselves: how they want to be told, from their next sign-in on.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::answer;
use super::query::Query;
use crate::admin::Admin;
use crate::admin::problem::Problem;
use crate::clock::{self, rfc3339};
use crate::config;
use crate::http1::{Headers, Request, Response};
use crate::mailbox::{DeliveryMode, OwnSettings, PollingPeriod, Ports};
use crate::store::{ClientSetting, WriteError, principal_key};

/// More than a setting takes, however it is laid out.
const LARGEST_BODY: usize = 4096;

/// No URL of a principal is longer.
const LONGEST_PRINCIPAL: usize = 2048;

impl Admin {
    pub(super) fn list_clients(&self, mut query: Query) -> Result<Response, Problem> {
        let page = query.page()?;
        query.finish()?;
        // One more than wanted: then it is known whether there are more.
        let mut found = self.store.clients().list(page.after, page.limit + 1);
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|last| last.number);
        let policies = self.policies();
        let clients = found.iter().map(|setting| self.client(setting, &policies)).collect();
        let list = answer(&ClientsJson { clients, next });
        Ok(match next {
            Some(next) => list.with("Link", query.link_to_next(next)),
            None => list,
        })
    }

    pub(super) async fn client_connection(
        &self,
        segment: &str,
        query: Query,
        request: &Request,
    ) -> Result<Response, Problem> {
        query.finish()?;
        let principal = principal(segment)?;
        match request.head.method() {
            "PUT" => self.set_client(&principal, request).await,
            "DELETE" => self.unset_client(&principal).await,
            _ => {
                let setting = self.store.clients().get(&principal).ok_or(Problem::NoSuchClient)?;
                Ok(answer(&self.client(&setting, &self.policies())))
            }
        }
    }

    async fn set_client(&self, principal: &str, request: &Request) -> Result<Response, Problem> {
        let own = read(request)?;
        // What an administrator wrote before this is earlier than this.
        let policies = self.policies();
        let most = self.config.load().store.max_clients;
        let wall = clock::read().wall;
        let setting = self.store.clients().write(principal, own, most, wall).await.map_err(problem)?;
        tracing::info!(setting = setting.number, mode = own.mode.as_str(), "a client's connection was set");
        Ok(answer(&self.client(&setting, &policies)))
    }

    async fn unset_client(&self, principal: &str) -> Result<Response, Problem> {
        if !self.store.clients().remove(principal).await.map_err(problem)? {
            return Err(Problem::NoSuchClient);
        }
        tracing::info!("a client's connection is left to the policies");
        Ok(answer(&UnsetJson { effective: EFFECTIVE }))
    }

    /// The policies there are by now, each by name and text; the store has seen them.
    fn policies(&self) -> Vec<(String, String)> {
        let mut policies = Vec::new();
        self.store.clients().see_policies(|| {
            policies.extend(config::policies(&self.config.load()));
            policies.iter().map(|(_, policy)| policy.clone()).collect()
        });
        policies
    }

    fn client(&self, setting: &ClientSetting, policies: &[(String, String)]) -> ClientJson {
        let ClientSetting { number, ref principal, own, written } = *setting;
        let warnings = own.ports.and_then(Ports::warning).map(|warning| format!("ports: {warning}"));
        let later = policies.iter().filter(|(_, policy)| self.store.clients().is_overruled(setting, policy));
        ClientJson {
            id: number,
            principal: principal.clone(),
            mode: own.mode.as_str(),
            polling_period_minutes: own.polling_period.minutes(),
            ports: own.ports.map(|ports| ports.to_string()),
            set_by: "user",
            set_at: rfc3339(written),
            warnings: warnings.into_iter().collect(),
            later_policies: later.map(|(name, _)| name.clone()).collect(),
            effective: EFFECTIVE,
        }
    }
}

/// A live mailbox stays as it was made.
const EFFECTIVE: &str = "takes effect at the next sign-in";

#[derive(Serialize)]
struct ClientsJson {
    clients: Vec<ClientJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
struct ClientJson {
    id: u64,
    principal: Box<str>,
    mode: &'static str,
    polling_period_minutes: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    set_by: &'static str,
    set_at: String,
    warnings: Vec<String>,
    later_policies: Vec<String>,
    effective: &'static str,
}

#[derive(Serialize)]
struct UnsetJson {
    effective: &'static str,
}

/// What is sent to be set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    mode: String,
    polling_period_minutes: Option<u64>,
    ports: Option<String>,
}

/// The principal that a segment of a path stands for.
fn principal(segment: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(segment).decode_utf8().ok().filter(|text| is_principal(text));
    decoded.map(Into::into).ok_or_else(|| Problem::BadParameter {
        name: "principal".to_owned(),
        detail: format!(
            "must be the URL of a principal, such as http://im.example.com/instmsg/aliases/kari, \
             percent-encoded, of at most {LONGEST_PRINCIPAL} bytes"
        ),
    })
}

/// Whether anybody could sign in as this: a host, and a path on it.
fn is_principal(text: &str) -> bool {
    let is_plain = text.len() <= LONGEST_PRINCIPAL && !text.contains(|c: char| c.is_control() || c == ' ');
    is_plain
        && principal_key(text)
            .split_once('/')
            .is_some_and(|(host, path)| !host.is_empty() && !path.is_empty())
}

fn read(request: &Request) -> Result<OwnSettings, Problem> {
    let media_type = request.head.fields.text("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::NotJson);
    }
    if request.body.len() > LARGEST_BODY {
        return Err(Problem::TooLarge(LARGEST_BODY));
    }
    let wanted: Wanted =
        serde_json::from_slice(&request.body).map_err(|error| Problem::BadContent(error.to_string()))?;
    own_settings(wanted).map_err(|(member, sentence)| Problem::BadContent(format!("{member}: {sentence}")))
}

fn own_settings(wanted: Wanted) -> Result<OwnSettings, (&'static str, String)> {
    let mode = DeliveryMode::ALL.into_iter().find(|mode| mode.as_str() == wanted.mode);
    let modes = DeliveryMode::ALL.map(DeliveryMode::as_str).join(", ");
    let mode = mode.ok_or_else(|| ("mode", format!("must be one of {modes}")))?;
    let polling_period = match wanted.polling_period_minutes {
        None => PollingPeriod::default(),
        Some(minutes) => PollingPeriod::from_minutes(minutes)
            .map_err(|error| ("polling_period_minutes", error.to_string()))?,
    };
    let ports = wanted.ports.map(|ports| Ports::parse(&ports)).transpose();
    let ports = ports.map_err(|error| ("ports", error.to_string()))?;
    if mode == DeliveryMode::FixedPorts && ports.is_none() {
        return Err(("ports", "fixed-ports needs ports, such as 1050 or 1050-1060".to_owned()));
    }
    Ok(OwnSettings { mode, polling_period, ports })
}

fn problem(error: WriteError) -> Problem {
    match error {
        WriteError::TooMany => Problem::TooManyClients,
        WriteError::Unavailable => Problem::StoreUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_in_paths() {
        let long = format!("http%3A%2F%2Fh%2F{}", "x".repeat(LONGEST_PRINCIPAL));
        for (segment, expected) in [
            (
                "http%3A%2F%2Fim.example%2Finstmsg%2Faliases%2Fkari",
                Some("http://im.example/instmsg/aliases/kari"),
            ),
            ("im.example%2Fkari", Some("im.example/kari")),
            ("http:%2F%2Fh%2Fj%C3%B6rg", Some("http://h/jörg")),
            ("http%3A%2F%2Fh%2FKari%2540x", Some("http://h/Kari%40x")),
            ("kari", None),
            ("", None),
            ("http%3A%2F%2Fim.example%2F", None),
            ("%2Finstmsg", None),
            ("h%2Fa%0D%0Ab", None),
            ("h%2Fa%20b", None),
            ("h%2F%ff", None),
            (&long, None),
        ] {
            assert_eq!(principal(segment).ok().as_deref(), expected, "{segment}");
        }
    }
}
