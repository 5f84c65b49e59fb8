//! What was found: one line for whoever looks after the gateway.

use serde::Serialize;

/// How a finding is meant, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Not looked at; what is seen says why.
    Skip,
    /// It works, or may work, and should be looked at.
    Warn,
    /// The gateway does not do its work like this.
    Fail,
}

impl Level {
    /// Its name, as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, in a word.
    pub area: &'static str,
    /// How it is.
    pub level: Level,
    /// What was seen: a sentence without its full stop.
    pub seen: String,
    /// What to do about it: a whole sentence. All that is not well has one.
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(area: &'static str, seen: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, seen: seen.into(), advice: None }
    }

    /// It was not looked at.
    pub fn skip(area: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { area, level: Level::Skip, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// It should be looked at.
    pub fn warn(area: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { area, level: Level::Warn, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// It is broken.
    pub fn fail(area: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { area, level: Level::Fail, seen: seen.into(), advice: Some(advice.into()) }
    }
}
