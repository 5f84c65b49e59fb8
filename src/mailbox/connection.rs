//! How a client wants to be told: the client's settings and their bounds (white paper, *Client Registry
//! Settings* and *Connection Configuration Settings*).
//!
//! Who chooses, and when, is not decided here: an administrator's policy and a user's own setting write
//! the same settings, and the last one written wins at the next sign-in.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The white paper's three ways to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryMode {
    /// At the client's own callback address, whatever its port ("random port").
    Default,
    /// Buffered until the client polls.
    Polling,
    /// At the client's address, but only at ports of its range.
    FixedPorts,
}

impl DeliveryMode {
    /// All of them, in the order of their PollingFlag.
    pub const ALL: [Self; 3] = [Self::Default, Self::Polling, Self::FixedPorts];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Polling => "polling",
            Self::FixedPorts => "fixed-ports",
        }
    }

    /// The mode that a PollingFlag stands for, if it stands for one.
    pub fn from_flag(flag: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.flag() == flag)
    }

    /// PollingFlag: 0 polling disabled, 1 polling enabled, 2 fixed port(s) enabled.
    pub fn flag(self) -> u32 {
        match self {
            Self::Default => 0,
            Self::Polling => 1,
            Self::FixedPorts => 2,
        }
    }
}

/// PollingPeriod: how long a client waits before it polls again, in minutes; 1 to 15, at first 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollingPeriod(u8);

/// Why a number of minutes is no polling period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("enter a value between 1 and 15 minutes")]
pub struct PollingPeriodError;

impl PollingPeriod {
    /// What may be set, in minutes.
    pub const MINUTES: RangeInclusive<u8> = 1..=15;

    /// The period of so many minutes.
    pub fn from_minutes(minutes: u64) -> Result<Self, PollingPeriodError> {
        let minutes = u8::try_from(minutes).ok().filter(|minutes| Self::MINUTES.contains(minutes));
        minutes.map(Self).ok_or(PollingPeriodError)
    }

    /// Its minutes.
    pub fn minutes(self) -> u8 {
        self.0
    }

    /// Its length.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 60)
    }
}

impl Default for PollingPeriod {
    /// Ten minutes.
    fn default() -> Self {
        Self(10)
    }
}

/// Ports that may be delivered to, all of them permissible; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// What is permissible. ("Although the user interface … allows you to type value ranges from 1 to
    /// 65535, the actual permissible range is 1025 to 65535.")
    pub const PERMISSIBLE: RangeInclusive<u16> = 1025..=u16::MAX;

    /// The ports in the order in which they are tried "until a connection is made".
    pub fn iter(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// Whether the port is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// As it is typed: `1050` or `1050-1060`.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(f, self.first, self.last)
    }
}

/// Ports as they can be typed: from 1 to 65535, the first not behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// They can be delivered to.
    Permissible(PortRange),
    /// They begin below 1025: "If you select port ranges below 1025, the Instant Messenger client defaults
    /// to random port selection."
    TooLow(LowPorts),
}

/// A range that begins below what is permissible. It displays as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LowPorts {
    first: u16,
    last: u16,
}

/// Why a text is no port and no range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    /// It is neither a number nor two numbers with a hyphen between them.
    #[error("must be one port or a range of ports from 1025 to 65535, such as 1050 or 1050-1060")]
    Malformed,
    /// A number is 0 or above 65535.
    #[error("enter a value in the permissible range: ports can range from 1025 to 65535")]
    OutOfRange,
    /// The first port is larger than the last.
    #[error("enter a range whose first port is not larger than its last, such as 1050-1060")]
    Inverted,
}

impl Ports {
    /// Reads `1050` or `1050-1060`; blanks around the numbers do not matter.
    pub fn parse(text: &str) -> Result<Self, PortsError> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => {
                let only = port(text)?;
                (only, only)
            }
        };
        if first > last {
            return Err(PortsError::Inverted);
        }
        Ok(if PortRange::PERMISSIBLE.contains(&first) {
            Self::Permissible(PortRange { first, last })
        } else {
            Self::TooLow(LowPorts { first, last })
        })
    }

    /// What can be delivered to; `None` is random port selection.
    pub fn range(self) -> Option<PortRange> {
        match self {
            Self::Permissible(range) => Some(range),
            Self::TooLow(_) => None,
        }
    }

    /// What whoever set these ports should know, as a sentence about them.
    pub fn warning(self) -> Option<String> {
        match self {
            Self::Permissible(_) => None,
            Self::TooLow(ports) => Some(format!(
                "begins below 1025, the first permissible port: random port selection takes the place of {ports}"
            )),
        }
    }
}

/// A number of a range, from 1 on.
fn port(text: &str) -> Result<u16, PortsError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortsError::Malformed);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(PortsError::OutOfRange)
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permissible(range) => range.fmt(f),
            Self::TooLow(ports) => ports.fmt(f),
        }
    }
}

impl fmt::Display for LowPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(f, self.first, self.last)
    }
}

fn write_range(f: &mut fmt::Formatter<'_>, first: u16, last: u16) -> fmt::Result {
    if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
}

/// How one client is served, from one sign-in to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// PollingFlag, as it was set; [`Self::effective_mode`] is what it comes to.
    pub mode: DeliveryMode,
    /// PollingPeriod.
    pub polling_period: PollingPeriod,
    /// Ports; `None` is random port selection.
    pub ports: Option<PortRange>,
}

impl Default for ConnectionSettings {
    /// Polling, at the usual period: what a client gets of which nothing else is known.
    fn default() -> Self {
        Self { mode: DeliveryMode::Polling, polling_period: PollingPeriod::default(), ports: None }
    }
}

impl ConnectionSettings {
    /// What it comes to: fixed ports without permissible ports are random port selection.
    pub fn effective_mode(&self) -> DeliveryMode {
        match (self.mode, self.ports) {
            (DeliveryMode::FixedPorts, None) => DeliveryMode::Default,
            (mode, _) => mode,
        }
    }
}

/// What a user chose, as it was typed. With [`DeliveryMode::FixedPorts`] there are ports, be it ones that come
/// to random port selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSettings {
    /// PollingFlag.
    pub mode: DeliveryMode,
    /// PollingPeriod.
    pub polling_period: PollingPeriod,
    /// Ports; `None` is random port selection.
    pub ports: Option<Ports>,
}

impl Default for OwnSettings {
    /// As [`ConnectionSettings`].
    fn default() -> Self {
        let ConnectionSettings { mode, polling_period, .. } = ConnectionSettings::default();
        Self { mode, polling_period, ports: None }
    }
}

impl OwnSettings {
    /// What they come to.
    pub fn settings(self) -> ConnectionSettings {
        let Self { mode, polling_period, ports } = self;
        ConnectionSettings { mode, polling_period, ports: ports.and_then(Ports::range) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        for (flag, mode) in [
            (0, Some(DeliveryMode::Default)),
            (1, Some(DeliveryMode::Polling)),
            (2, Some(DeliveryMode::FixedPorts)),
            (3, None),
            (u32::MAX, None),
        ] {
            assert_eq!(DeliveryMode::from_flag(flag), mode, "{flag}");
        }
    }

    #[test]
    fn periods() {
        assert_eq!(PollingPeriod::default().duration(), Duration::from_secs(600));
        for (minutes, expected) in [
            (0, None),
            (1, Some(1)),
            (10, Some(10)),
            (15, Some(15)),
            (16, None),
            (266, None),
            (u64::MAX, None),
        ] {
            let period = PollingPeriod::from_minutes(minutes).ok();
            assert_eq!(period.map(PollingPeriod::minutes), expected, "{minutes}");
        }
        let error = PollingPeriod::from_minutes(16).unwrap_err();
        assert_eq!(error.to_string(), "enter a value between 1 and 15 minutes");
    }

    #[test]
    fn ports_as_they_are_typed() {
        let permissible = |first, last| Ok(Ports::Permissible(PortRange { first, last }));
        let too_low = |first, last| Ok(Ports::TooLow(LowPorts { first, last }));
        for (text, expected) in [
            ("1050", permissible(1050, 1050)),
            ("1050-1060", permissible(1050, 1060)),
            (" 1050 - 1060 ", permissible(1050, 1060)),
            ("1025", permissible(1025, 1025)),
            ("65535", permissible(65535, 65535)),
            ("1025-65535", permissible(1025, 65535)),
            ("1024", too_low(1024, 1024)),
            ("1", too_low(1, 1)),
            ("1024-1060", too_low(1024, 1060)),
            ("80-90", too_low(80, 90)),
            ("0", Err(PortsError::OutOfRange)),
            ("0-1060", Err(PortsError::OutOfRange)),
            ("65536", Err(PortsError::OutOfRange)),
            ("1050-65536", Err(PortsError::OutOfRange)),
            ("99999999999999999999", Err(PortsError::OutOfRange)),
            ("1060-1050", Err(PortsError::Inverted)),
            ("90-80", Err(PortsError::Inverted)),
            ("", Err(PortsError::Malformed)),
            ("-", Err(PortsError::Malformed)),
            ("1050-", Err(PortsError::Malformed)),
            ("-1050", Err(PortsError::Malformed)),
            ("+1050", Err(PortsError::Malformed)),
            ("1050-1055-1060", Err(PortsError::Malformed)),
            ("1050,1060", Err(PortsError::Malformed)),
            ("0x41a", Err(PortsError::Malformed)),
            ("١٠٥٠", Err(PortsError::Malformed)),
        ] {
            assert_eq!(Ports::parse(text), expected, "{text}");
            if let Ok(ports) = expected {
                assert_eq!(Ports::parse(&ports.to_string()), expected, "{text}");
            }
        }
    }

    #[test]
    fn low_ports_are_random_ones_and_say_so() {
        let low = Ports::parse("80-2000").unwrap();
        assert_eq!(low.range(), None);
        assert!(low.warning().unwrap().contains("random port selection takes the place of 80-2000"));
        let fine = Ports::parse("1050").unwrap();
        assert!(fine.range().is_some() && fine.warning().is_none());
    }

    #[test]
    fn a_range_is_cycled_in_order() {
        let range = |text| Ports::parse(text).unwrap().range().unwrap();
        assert_eq!(range("1050-1053").iter().collect::<Vec<_>>(), [1050, 1051, 1052, 1053]);
        assert_eq!(range("65534-65535").iter().collect::<Vec<_>>(), [65534, 65535]);
        assert!(range("1050-1053").contains(1053) && !range("1050-1053").contains(1054));
    }

    #[test]
    fn fixed_ports_without_ports_are_random() {
        let settings = |mode, ports: Option<&str>| {
            let ports = ports.and_then(|text| Ports::parse(text).unwrap().range());
            ConnectionSettings { mode, polling_period: PollingPeriod::default(), ports }.effective_mode()
        };
        use DeliveryMode::{Default, FixedPorts, Polling};
        assert_eq!(settings(FixedPorts, Some("1050")), FixedPorts);
        assert_eq!(settings(FixedPorts, Some("80")), Default);
        assert_eq!(settings(FixedPorts, None), Default);
        assert_eq!(settings(Polling, Some("1050")), Polling);
        assert_eq!(settings(Default, Some("1050")), Default);
    }
}
