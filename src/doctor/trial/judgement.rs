//! What a trial comes to.

use super::{Lease, Outcome, Trial};
use crate::doctor::{Finding, millis};

const AREA: &str = "subscription";

pub(super) fn not_asked_for() -> Finding {
    Finding::skip(
        AREA,
        "whether the upstream's callbacks arrive was not tried: that takes a subscription to one of its nodes",
        "Name one with --subscribe PATH; a user's node gets a message, so take one that is for tests.",
    )
}

pub(super) fn judge(node: &str, trial: &Trial<'_>, outcome: &Outcome, lease: &Lease) -> Vec<Finding> {
    let way = if trial.running { "through the running gateway" } else { "at listen.callback" };
    let url = &trial.config.callback.url;
    let wait = trial.wait;
    let finding = match outcome {
        Outcome::Came { from: Some((from, false)), .. } => Finding::fail(
            AREA,
            format!("the callback for {node} came from {from}, which callback.allow does not have"),
            format!("Add {from} to callback.allow."),
        ),
        Outcome::Came { after, from } => {
            let from = from.map_or_else(String::new, |(from, _)| format!(", from {from}"));
            let after = millis(*after);
            Finding::ok(
                AREA,
                format!("a callback for {node} arrived {way}{from}, {after} after it was asked for"),
            )
        }
        Outcome::Silent { provoked: Some(Ok(status @ (401 | 403 | 405 | 407 | 501))) } => Finding::skip(
            AREA,
            format!(
                "{node} can be subscribed to, but the message that it should call back for was answered {status}"
            ),
            "Send one to this node from a client that may, and see whether it arrives.",
        ),
        Outcome::Silent { provoked } => Finding::fail(
            AREA,
            format!("no callback for {node} arrived {way} within {wait:?}{}", told(provoked.as_ref())),
            format!(
                "See whether the upstream's machine reaches {url}: firewalls, routes, and callback.url itself."
            ),
        ),
        Outcome::Refused(status @ (401 | 407)) => Finding::skip(
            AREA,
            format!("a subscription to {node} needs credentials ({status}), of which there are none here"),
            "Let a client sign in, and see whether a callback arrives (`pollgate trace`).",
        ),
        Outcome::Refused(status) => Finding::warn(
            AREA,
            format!("a subscription to {node} was answered {status}"),
            "Name a node that can be subscribed to; upstream.server_names and upstream.dialect say how it is asked.",
        ),
        Outcome::NotTried(why) => Finding::skip(
            AREA,
            format!("whether a callback for {node} arrives could not be tried: {why}"),
            "Look again when that is otherwise, or let a client sign in and follow `pollgate trace`.",
        ),
    };
    std::iter::once(finding).chain(left(node, trial, lease)).collect()
}

fn told(provoked: Option<&Result<u16, String>>) -> String {
    match provoked {
        None => String::new(),
        Some(Ok(status)) => format!("; the message that it was to call back for was answered {status}"),
        Some(Err(why)) => format!("; the message that it was to call back for was not answered: {why}"),
    }
}

fn left(node: &str, trial: &Trial<'_>, lease: &Lease) -> Option<Finding> {
    let Lease::Left(why) = lease else { return None };
    let seen = format!("the subscription to {node} may not be over: {why}");
    let advice = format!("It was asked for {} s, and ends by itself then.", trial.lease().as_secs());
    Some(Finding::warn(AREA, seen, advice))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Upstream};
    use crate::doctor::Level;

    fn judged(outcome: &Outcome, lease: &Lease) -> Vec<Finding> {
        let (config, upstream) = (Config::default(), Upstream::default());
        let wait = Duration::from_secs(10);
        let trial = Trial { config: &config, upstream: &upstream, server: "", wait, running: false };
        judge("/n", &trial, outcome, lease)
    }

    #[test]
    fn what_came_of_it() {
        let after = Duration::from_millis(5);
        let peer = IpAddr::from([10, 0, 0, 5]);
        let silent = |provoked| Outcome::Silent { provoked };
        for (outcome, level, says) in [
            (Outcome::Came { after, from: Some((peer, true)) }, Level::Ok, "from 10.0.0.5, 5.0 ms after"),
            (Outcome::Came { after, from: None }, Level::Ok, "5.0 ms after"),
            (Outcome::Came { after, from: Some((peer, false)) }, Level::Fail, "callback.allow"),
            (silent(None), Level::Fail, "within 10s"),
            (silent(Some(Ok(502))), Level::Fail, "was answered 502"),
            (silent(Some(Err("gone".to_owned()))), Level::Fail, "gone"),
            (silent(Some(Ok(401))), Level::Skip, "401"),
            (Outcome::Refused(401), Level::Skip, "credentials"),
            (Outcome::Refused(404), Level::Warn, "404"),
            (Outcome::NotTried("why".to_owned()), Level::Skip, "why"),
        ] {
            let [finding] = &judged(&outcome, &Lease::Over)[..] else { panic!("{outcome:?}") };
            assert!(finding.level == level && finding.seen.contains(says), "{finding:?}");
        }
        assert_eq!(not_asked_for().level, Level::Skip);
    }

    #[test]
    fn a_lease_that_is_left_is_told_of() {
        let findings =
            judged(&Outcome::Refused(404), &Lease::Left("UNSUBSCRIBE was answered 500".to_owned()));
        assert!(findings[1].level == Level::Warn && findings[1].seen.contains("500"), "{findings:?}");
        assert!(findings[1].advice.as_deref().is_some_and(|advice| advice.contains("40 s")));
    }
}
