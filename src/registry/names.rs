//! What the white paper calls the keys and the values (*Server Registry Settings*).

/// Where the server's settings are.
pub(super) const SERVER_KEY: &str = r"HKEY_LOCAL_MACHINE\Software\Microsoft\Exchange\InstantMessaging";

/// Where the client's settings are; each key below it is a profile.
pub(super) const PROFILES_KEY: &str = r"HKEY_CURRENT_USER\Software\Microsoft\Exchange\Messenger\Profiles";

pub(super) const POLL_SUPPORT: &str = "PollSupport";

/// Default, minimum and maximum, in this order; together they are one setting.
pub(super) const POLL_LIFE_TIME: [&str; 3] =
    ["PollLifeTimeDefault", "PollLifeTimeMinimum", "PollLifeTimeMaximum"];

pub(super) const POLL_MSG_LIFE_TIME: [&str; 3] =
    ["PollMsgLifeTimeDefault", "PollMsgLifeTimeMinimum", "PollMsgLifeTimeMaximum"];

pub(super) const POLL_MSG_LIMIT: &str = "PollMsgLimit";

/// The paper's other spelling of [`POLL_MSG_LIMIT`]: it explains the setting under this name, and
/// overrides it under that one.
pub(super) const POL_MSG_LIMIT: &str = "PolMsgLimit";

pub(super) const POLL_MSG_KBYTE_LIMIT: &str = "PollMsgKByteLimit";

pub(super) const POLL_DROP_MSG_LIFE_TIME: &str = "PollDropMsgLifeTime";

/// Every value of [`SERVER_KEY`].
pub(super) const SERVER_VALUES: &[&str] = &[
    POLL_SUPPORT,
    POLL_LIFE_TIME[0],
    POLL_LIFE_TIME[1],
    POLL_LIFE_TIME[2],
    POLL_MSG_LIFE_TIME[0],
    POLL_MSG_LIFE_TIME[1],
    POLL_MSG_LIFE_TIME[2],
    POLL_MSG_LIMIT,
    POL_MSG_LIMIT,
    POLL_MSG_KBYTE_LIMIT,
    POLL_DROP_MSG_LIFE_TIME,
];

pub(super) const POLLING_FLAG: &str = "PollingFlag";

pub(super) const POLLING_PERIOD: &str = "PollingPeriod";

pub(super) const PORTS: &str = "Ports";

/// Every value of [`PROFILES_KEY`] and of a profile (*Client Registry Settings*).
pub(super) const CLIENT_VALUES: &[&str] = &[POLLING_FLAG, POLLING_PERIOD, PORTS];

/// The paper's way to say that there is no limit; only for [`POLL_MSG_LIMIT`] and [`POLL_MSG_KBYTE_LIMIT`].
pub(super) const UNLIMITED: u32 = 0xFFFF_FFFF;
