//! What flags set: the uppermost layer.

use std::collections::BTreeMap;

use super::value::{Item, Value};

/// The flags of the command line that set something, as typed; they are checked like the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `upstream.address`.
    pub upstream: Option<String>,
    /// `listen.public`: replaces the whole list.
    pub public: Option<Vec<String>>,
    /// `listen.callback`.
    pub callback: Option<String>,
    /// `listen.admin`.
    pub admin: Option<String>,
    /// `callback.url`.
    pub callback_url: Option<String>,
    /// `store.path`.
    pub state_dir: Option<String>,
    /// `log.level`.
    pub log_level: Option<String>,
    /// `log.format`.
    pub log_format: Option<String>,
}

/// The settings among them, by dotted key.
pub(super) fn settings(overrides: &Overrides) -> BTreeMap<&'static str, Value> {
    // No field may be forgotten: a new one does not compile until it is named here.
    let Overrides { upstream, public, callback, admin, callback_url, state_dir, log_level, log_format } =
        overrides;
    let single = [
        ("upstream.address", upstream),
        ("listen.callback", callback),
        ("listen.admin", admin),
        ("callback.url", callback_url),
        ("store.path", state_dir),
        ("log.level", log_level),
        ("log.format", log_format),
    ];
    let single = single.into_iter().filter_map(|(key, text)| Some((key, Value::Untyped(text.clone()?))));
    let public = public.iter().map(|list| ("listen.public", untyped_list(list)));
    single.chain(public).collect()
}

fn untyped_list(texts: &[String]) -> Value {
    // Lines are the file's; nobody asks for these.
    Value::List(texts.iter().map(|text| Item { line: 0, value: Value::Untyped(text.clone()) }).collect())
}
