//! The configuration: what the operator wrote, checked as a whole, and what it comes to.
//!
//! Data walks one way: [`load`] finds and reads the file; `file` turns its text into values that know
//! their lines; `reader` lays flags over environment over file over defaults and keeps every problem
//! it meets; `resolve` asks the reader for each setting, once, by name, and `checks` compares settings
//! with each other, `files` with what is on the disk. What comes out is a [`Config`], or a [`LoadError`]
//! with *all* the problems. `reload` says what of a new one a running gateway can follow.
//!
//! The file has no serde mirror: serde stops at the first wrong type, and says nothing of the unknown
//! keys behind it. One typed reader over the file's spanned tables reports all of them in one go, and
//! serves environment and flags with the same rules and the same sentences.
//!
//! Invariants:
//! - a [`Config`] from [`load`] is valid: nobody behind this module checks a setting again;
//! - nothing here reads a clock or the environment; the caller hands the environment in;
//! - what nobody asked for is an error, in the file as in the environment, so that a misspelt setting
//!   is never silently the default;
//! - [`SAMPLE`] holds every key there is, and equals [`Config::default`].

mod address;
mod checks;
mod duration;
mod env;
mod file;
mod files;
mod load;
mod overrides;
mod policy;
mod problem;
mod reader;
mod reload;
mod resolve;
mod settings;
mod size;
mod suggest;
#[cfg(test)]
mod tests;
mod token;
mod trio;
mod upstream;
mod value;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use address::reachable;
pub use duration::{LONGEST_HOLD, LONGEST_LIFE_TIME};
pub use env::PASSWORD_VARIABLE;
pub use load::{DEFAULT_PATH, SAMPLE, load, load_to_ask, locate, of_text};
pub use overrides::Overrides;
pub use policy::{Client, ClientPolicy, Pattern, choose, policies, policy_of, warnings};
pub use problem::{LoadError, Problem, Source};
pub use reload::{Changes, Origin, ReloadError, adopt};
pub use settings::{
    Admin, Auth, AuthMode, Callback, Config, DeepAck, Delivery, EdgeLimits, Listen, ListenTls, Log,
    LogFormat, LogLevel, Polling, Shutdown, Store, StoreKind,
};
pub(crate) use suggest::nearest;
pub use token::{Token, TokenError};
pub use upstream::{Asked, Forwarded, HealthCheck, HostMode, Server, Upstream};

/// The running configuration, as everyone holds it who must see its changes.
pub type LiveConfig = Arc<ArcSwap<Config>>;
