//! Registration files (`.reg`): the white paper's settings as Exchange's administrators have them.
//!
//! [`import`] makes a configuration file of them, [`export_server`] and [`export_client`] make them of
//! the configuration. On the way in: `encoding` turns bytes into text, `parse` text into edits, `hive` edits
//! into keys and values, `server` and `client` take the documented ones out of it, and `document` writes
//! them down. Nothing here reads or writes a file.
//!
//! What it refuses: a line that it does not understand. What it leaves out, with a [`Warning`]: a value
//! that is not documented, or not valid, or has no place in the configuration. What it writes can be
//! loaded.
//!
//! Why there is a parser here: the one crate for these files (`regashii`) skips every line that it does
//! not understand, knows no line numbers, and reads no ANSI.

mod client;
mod document;
mod encoding;
mod hive;
mod names;
mod parse;
mod server;
#[cfg(test)]
mod tests;
mod warning;
mod write;

use std::fmt;
use std::rc::Rc;

pub use encoding::Format;
pub use hive::Place;
pub use parse::Fault;
pub use warning::Warning;

use crate::config::{Delivery, Polling};
use document::Document;
use hive::Hive;
use names::{PROFILES_KEY, SERVER_KEY};
use warning::{Warnings, one_line};

/// A `.reg` file.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is called in warnings, errors and comments.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What the files come to.
#[derive(Clone, Debug)]
pub struct Import {
    /// A configuration file: only the keys that the files set, each with where it came from.
    pub toml: String,
    /// What is not in it, or not as it is in the files.
    pub warnings: Vec<Warning>,
}

/// Every line of the files that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// The files' names with the lines of each, in their order; never empty.
    pub faults: Vec<(String, Fault)>,
}

impl std::error::Error for ImportError {}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (file, fault)) in self.faults.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{file}:{}: {}", fault.line, fault.sentence)?;
        }
        Ok(())
    }
}

/// The configuration that some `.reg` files make, applied one after the other. Each may hold settings of
/// the server and of the client.
pub fn import(files: &[File]) -> Result<Import, ImportError> {
    let mut hive = Hive::default();
    let mut faults = Vec::new();
    let mut warnings = Warnings::default();
    for file in files {
        let name = one_line(&file.name);
        match encoding::decode(&file.bytes).map_err(|fault| vec![fault]).and_then(|text| parse::parse(&text))
        {
            Ok(edits) => {
                let name = Rc::from(name);
                if !edits.iter().any(|edit| is_documented(&edit.key)) {
                    let place = Place { file: Rc::clone(&name), line: 1 };
                    let sentence = format!("has none of the keys [{SERVER_KEY}] and [{PROFILES_KEY}]");
                    warnings.add(&place, sentence);
                }
                hive.apply(&name, edits);
            }
            Err(found) => faults.extend(found.into_iter().map(|fault| (name.clone(), fault))),
        }
    }
    if !faults.is_empty() {
        return Err(ImportError { faults });
    }
    let mut settings = hive.take(SERVER_KEY).map(|key| server::read(key, &mut warnings)).unwrap_or_default();
    settings.extend(client::read(hive.take_all(PROFILES_KEY), &mut warnings));
    warnings.other_keys(hive.rest());
    let names: Vec<String> = files.iter().map(|file| one_line(&file.name)).collect();
    let document = Document { source: names.join(" and "), settings };
    Ok(Import { toml: document.to_string(), warnings: warnings.0 })
}

/// Whether settings are looked for in that key.
fn is_documented(key: &str) -> bool {
    let key = format!("{}\\", key.trim().trim_end_matches('\\').to_lowercase());
    key == format!("{SERVER_KEY}\\").to_lowercase()
        || key.starts_with(&format!("{PROFILES_KEY}\\").to_lowercase())
}

/// The server's settings as a `.reg` file, with every value that the white paper documents.
pub fn export_server(polling: &Polling, format: Format) -> Vec<u8> {
    write::file(format, SERVER_KEY, &server::values(polling))
}

/// The client's settings as a `.reg` file for its administrator, in the key that is above the profiles.
pub fn export_client(delivery: &Delivery, format: Format) -> Vec<u8> {
    write::file(format, PROFILES_KEY, &client::values(delivery))
}
