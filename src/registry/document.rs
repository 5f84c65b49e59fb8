//! The configuration that comes out: TOML, with a comment where each setting came from.

use std::fmt::{self, Write as _};

use super::hive::Value;
use super::names::UNLIMITED;
use super::parse::Data;
use super::warning::one_line;

/// Settings in the order in which they are written.
#[derive(Debug)]
pub(super) struct Document {
    /// Where all of it came from; on one line.
    pub(super) source: String,
    pub(super) settings: Vec<Setting>,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// As TOML has it.
    pub(super) value: String,
    /// Where it came from, a line each.
    pub(super) origins: Vec<String>,
}

/// Where a setting came from: the value, and where it was set.
pub(super) fn origin(Value { name, data, place }: &Value) -> String {
    let data = match data {
        Data::Dword(number) => shown(*number),
        Data::Text(text) => format!("\"{}\"", one_line(text)),
        Data::Other(kind) => format!("hex({kind:x})"),
    };
    format!("{place}: {} = {data}", one_line(name))
}

/// A number as people write it; the paper's "unlimited" is the only one in hexadecimal.
pub(super) fn shown(number: u32) -> String {
    if number == UNLIMITED { "0xFFFFFFFF".to_owned() } else { number.to_string() }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Pollgate's configuration, imported from {}.", self.source)?;
        writeln!(f, "# A key that is not here keeps its default; `pollgate default-config` has them all.")?;
        let mut section = "";
        for setting in &self.settings {
            if setting.section != section {
                section = setting.section;
                write!(f, "\n[{section}]\n")?;
            }
            f.write_char('\n')?;
            for origin in &setting.origins {
                writeln!(f, "# {origin}")?;
            }
            writeln!(f, "{} = {}", setting.key, setting.value)?;
        }
        Ok(())
    }
}
