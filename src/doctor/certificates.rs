//! How long certificates are good.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Finding;
use crate::config::Config;
use crate::tls;

const AREA: &str = "certificates";

/// In time to get another one; the alert that comes with the gateway says the same.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) fn look(config: &Config, now: SystemTime) -> Vec<Finding> {
    let tls = config.listen.tls.files().map(|(certificate, _)| (certificate, "listen.tls.certificate"));
    let authorities = config.upstreams.iter().filter_map(|upstream| upstream.ca_file.as_deref());
    let own = tls.map(|(path, key)| of_file(key, path, now, earliest));
    let others = authorities.map(|path| of_file("upstream.ca_file", path, now, latest));
    own.into_iter().chain(others).collect()
}

fn of_file(
    key: &str,
    path: &Path,
    now: SystemTime,
    counts: fn(Vec<SystemTime>) -> Option<SystemTime>,
) -> Finding {
    let name = format!("{key} {}", path.display());
    match tls::certificates_end(path).map(counts) {
        Ok(Some(ends)) => judge(&name, ends, now),
        Ok(None) => Finding::fail(AREA, format!("{name} has no certificate in it"), "Put one there, in PEM."),
        Err(problem) => Finding::fail(AREA, format!("{name}: {problem}"), "Put certificates there, in PEM."),
    }
}

/// A chain is good as long as all of it is.
fn earliest(ends: Vec<SystemTime>) -> Option<SystemTime> {
    ends.into_iter().min()
}

/// Of several authorities one is enough.
fn latest(ends: Vec<SystemTime>) -> Option<SystemTime> {
    ends.into_iter().max()
}

pub(super) fn judge(name: &str, ends: SystemTime, now: SystemTime) -> Finding {
    let date = humantime::format_rfc3339_seconds(ends);
    match ends.duration_since(now) {
        Err(_) => {
            Finding::fail(AREA, format!("{name} has ended at {date}"), "Replace it: nobody believes it.")
        }
        Ok(left) => {
            let seen = format!("{name} is good until {date}, for {} days", left.as_secs() / 86_400);
            match left < SOON {
                true => Finding::warn(AREA, seen, "Replace it in time."),
                false => Finding::ok(AREA, seen),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn certificates_end() {
        let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
        for (ends, level) in [(99, Level::Fail), (100, Level::Warn), (113, Level::Warn), (114, Level::Ok)] {
            assert_eq!(judge("it", day(ends), day(100)).level, level, "{ends}");
        }
        assert_eq!(earliest(vec![day(3), day(1), day(2)]), Some(day(1)));
        assert_eq!(latest(vec![day(3), day(1), day(2)]), Some(day(3)));
    }
}
