//! The clocks: ours against the upstream's, and whether ours are of use.

use std::time::{Duration, SystemTime};

use super::Finding;
use super::upstream::Observed;

const AREA: &str = "clock";

/// `Date` is in whole seconds, and NTP keeps far closer than this.
const SKEW: Duration = Duration::from_secs(5);

/// Beyond this Kerberos refuses (RFC 4120 §1.6 recommends five minutes): sign-ins that pass through the gateway fail.
const KERBEROS: Duration = Duration::from_secs(300);

/// No clock that was ever set says less: the start of 2025.
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

pub(super) fn against(name: &str, observed: &Observed) -> Finding {
    let Ok(answered) = &observed.outcome else {
        let advice = "Look again when it answers.";
        return Finding::skip(AREA, format!("{name} did not answer, so its clock is not known"), advice);
    };
    let date = answered.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    match date {
        Some(date) => skew(name, date, answered.received, answered.took()),
        None => Finding::skip(
            AREA,
            format!("{name} sends no Date that can be read, so its clock is not known"),
            "Compare its clock with this machine's by hand.",
        ),
    }
}

fn skew(name: &str, theirs: SystemTime, ours: SystemTime, took: Duration) -> Finding {
    let (apart, way) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = apart.as_secs();
    if apart <= SKEW + took {
        return Finding::ok(AREA, format!("this machine and {name} agree to within {} s", seconds + 1));
    }
    let seen = format!("this machine is {seconds} s {way} {name}");
    let advice = match apart > KERBEROS {
        true => "Set both by NTP: Kerberos refuses sign-ins when clocks are more than five minutes apart.",
        false => "Set both by NTP, or the times in two logs are hard to compare.",
    };
    Finding::warn(AREA, seen, advice)
}

/// `boot`: whether the machine has a clock that counts on while the gateway does not run.
pub(super) fn own(wall: SystemTime, boot: bool) -> Finding {
    if wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() < EARLIEST {
        let seen = format!("this machine believes that it is {}", humantime::format_rfc3339_seconds(wall));
        return Finding::warn(AREA, seen, "Set its clock: certificates are judged by it.");
    }
    match boot {
        true => Finding::ok(AREA, "life times are counted by clocks that nobody sets, across restarts too"),
        false => Finding::warn(
            AREA,
            "this system does not say how long it is up: after a restart, life times go by the wall clock",
            "Keep the wall clock set by NTP.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn clocks_that_are_apart() {
        for (theirs, ours, took, level, says) in [
            (1000, 1000, 0, Level::Ok, "agree to within 1 s"),
            (1000, 1005, 0, Level::Ok, "agree"),
            (1000, 1009, 5, Level::Ok, "agree"),
            (1000, 1006, 0, Level::Warn, "6 s ahead of im"),
            (1000, 900, 0, Level::Warn, "100 s behind im"),
        ] {
            let finding = skew("im", at(theirs), at(ours), Duration::from_secs(took));
            assert!(finding.level == level && finding.seen.contains(says), "{finding:?}");
            assert!(!finding.advice.unwrap_or_default().contains("Kerberos"));
        }
        assert!(skew("im", at(1000), at(2000), Duration::ZERO).advice.unwrap().contains("Kerberos"));
    }

    #[test]
    fn a_clock_that_was_never_set() {
        assert_eq!(own(at(0), true).level, Level::Warn);
        assert_eq!(own(at(1_800_000_000), false).level, Level::Warn);
        assert_eq!(own(at(1_800_000_000), true).level, Level::Ok);
    }
}
