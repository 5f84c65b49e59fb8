//! The configuration: what the operator wrote, checked as a whole, and what it comes to.

mod settings;

pub use settings::{
    Callback, Config, DeepAck, Listen, Log, LogFormat, LogLevel, Polling, Store, StoreKind, Upstream,
};
