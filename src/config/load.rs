//! From a path, an environment and flags to a configuration. Only this file, `files`, `token` and those
//! that they call touch the disk.

use std::path::{Path, PathBuf};

use super::problem::{LoadError, Problem, Source};
use super::resolve::{Files, For, resolve};
use super::value::Table;
use super::{Config, Overrides, Token, env, file, files, webhook};
use crate::tls;
use crate::watched;

/// The file that is read when none is named, if it exists.
pub const DEFAULT_PATH: &str = "/etc/pollgate/pollgate.toml";

/// The files as they are.
const FILES: Files = Files {
    token: Token::read,
    look: files::look,
    pair: tls::check_pair,
    authorities: tls::check_authorities,
    rules: webhook::load,
};

/// The commented sample: every key, at its default.
pub const SAMPLE: &str = include_str!("../../conf/pollgate.toml");

/// The configuration, or everything that is wrong with it.
///
/// `path` is the file that a flag names; see [`locate`] for what is read without one. `env` is the whole
/// environment: `POLLGATE_SECTION_KEY` sets `section.key`, and any other `POLLGATE_` variable is a
/// problem. What a flag sets wins over the environment, the environment over the file.
pub fn load(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config, LoadError> {
    load_for(For::Gateway(FILES), path, env, overrides)
}

/// The same for who only wants to know what is set, such as where a gateway is to be asked: the files that
/// settings name are not read, and need not be there.
pub fn load_to_ask(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config, LoadError> {
    load_for(For::Asking, path, env, overrides)
}

/// What this text says, called `name` in its problems, and nothing else: no environment, and no other file.
pub fn of_text(name: &Path, text: &str) -> Result<Config, LoadError> {
    resolve(name, file::parse(name, text)?, [], &Overrides::default(), For::Asking)
}

fn load_for(
    whom: For,
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config, LoadError> {
    let env: Vec<(String, String)> = env.into_iter().collect();
    let variable = env.iter().find(|(name, _)| name == env::CONFIG_VARIABLE).map(|(_, value)| value.as_str());
    let (path, table) = match locate(path, variable) {
        Some(path) => {
            let table = file::parse(&path, &read(&path)?)?;
            (path, table)
        }
        None => (PathBuf::from(DEFAULT_PATH), Table::new()),
    };
    resolve(&path, table, env, overrides, whom)
}

/// Which file is read: the one that is named, else the one that `POLLGATE_CONFIG` (`variable`) names,
/// else [`DEFAULT_PATH`] if it exists, else none. An empty variable names nothing.
pub fn locate(path: Option<&Path>, variable: Option<&str>) -> Option<PathBuf> {
    let variable = variable.filter(|text| !text.is_empty()).map(PathBuf::from);
    let named = path.map(Path::to_owned).or(variable);
    named.or_else(|| {
        let default = PathBuf::from(DEFAULT_PATH);
        // What cannot be looked at counts as there: reading it says why.
        default.try_exists().unwrap_or(true).then_some(default)
    })
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, LoadError> {
    let problem = |line, sentence| {
        let source = Source::File { path: path.to_owned(), line };
        LoadError::new(vec![Problem { source, key: String::new(), sentence }])
    };
    let bytes = watched::read(path).map_err(|error| problem(None, format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        problem(Some(line), "is not UTF-8 text".to_owned())
    })
}
