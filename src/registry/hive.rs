//! What is in the registry after the edits of some files, as far as the files say it.
//!
//! Keys and values are found whatever the case they are written in, as in the registry itself.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::parse::{Action, Data, Edit};

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: Rc<str>,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Keys that were named, and their values.
#[derive(Debug, Default)]
pub(super) struct Hive {
    /// By path, in lower case.
    keys: BTreeMap<String, Key>,
}

/// A key that was named, be it to delete it.
#[derive(Debug)]
pub(super) struct Key {
    /// As it was written first.
    pub(super) path: String,
    pub(super) place: Place,
    /// By name, in lower case.
    values: BTreeMap<String, Value>,
}

/// A value, and where it was set last.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) data: Data,
    pub(super) place: Place,
}

impl Hive {
    /// Makes the edits of a file, one after the other.
    pub(super) fn apply(&mut self, file: &Rc<str>, edits: Vec<Edit>) {
        for Edit { line, key, action } in edits {
            let place = Place { file: Rc::clone(file), line };
            let path = key.trim().trim_end_matches('\\');
            if action == Action::DeleteKey {
                let below = format!("{}\\", path.to_lowercase());
                self.keys.retain(|known, _| !format!("{known}\\").starts_with(&below));
            }
            let key = self.keys.entry(path.to_lowercase()).or_insert_with(|| Key {
                path: path.to_owned(),
                place: place.clone(),
                values: BTreeMap::new(),
            });
            match action {
                Action::AddKey | Action::DeleteKey => {}
                Action::Set { name, data } => {
                    _ = key.values.insert(name.to_lowercase(), Value { name, data, place });
                }
                Action::Delete { name } => _ = key.values.remove(&name.to_lowercase()),
            }
        }
    }

    /// Takes the key out, if it was named.
    pub(super) fn take(&mut self, path: &str) -> Option<Key> {
        self.keys.remove(&path.to_lowercase())
    }

    /// Takes the key out and all that are below it.
    pub(super) fn take_all(&mut self, path: &str) -> impl Iterator<Item = Key> {
        let below = format!("{}\\", path.to_lowercase());
        self.keys.extract_if(.., move |known, _| format!("{known}\\").starts_with(&below)).map(|(_, key)| key)
    }

    /// What nobody took.
    pub(super) fn rest(self) -> impl Iterator<Item = Key> {
        self.keys.into_values()
    }
}

impl Key {
    /// Takes the value out, if it is set.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(&name.to_lowercase())
    }

    /// The values that nobody took.
    pub(super) fn rest(self) -> impl Iterator<Item = Value> {
        self.values.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    /// `key: name=line …` for each key, after the edits of some files.
    fn state(files: &[&str]) -> String {
        let mut hive = Hive::default();
        for text in files {
            hive.apply(&Rc::from("f"), parse(&format!("REGEDIT4\n{text}")).unwrap());
        }
        let keys = hive.rest().map(|key| {
            let path = key.path.clone();
            let values = key.rest().map(|value| format!(" {}={}", value.name, value.place.line));
            path + ":" + &values.collect::<String>()
        });
        keys.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn edits_are_made_in_their_order() {
        for (files, expected) in [
            (&["[K\\A]\n\"N\"=dword:1\n[k\\a\\]\n\"n\"=dword:2"][..], "K\\A: n=5"),
            (&["[K]\n\"N\"=dword:1\n\"n\"=-"], "K:"),
            (&["[K]\n\"N\"=dword:1\n[-k]"], "k:"),
            (&["[K]\n\"N\"=dword:1\n[-K]\n[K]\n\"M\"=dword:1"], "K: M=6"),
            (&["[K\\A]\n\"N\"=dword:1\n[K\\AB]\n[-K\\A]"], "K\\A:; K\\AB:"),
            (&["[K\\A\\B]\n\"N\"=dword:1\n[-K]"], "K:"),
            (&["[K]\n\"N\"=dword:1\n\"M\"=dword:1", "[K]\n\"M\"=-"], "K: N=3"),
        ] {
            assert_eq!(state(files), expected, "{files:?}");
        }
    }

    #[test]
    fn a_key_is_taken_with_those_below_it() {
        let mut hive = Hive::default();
        let edits = parse("REGEDIT4\n[K\\P]\n[K\\P\\a]\n[K\\P\\a\\b]\n[K\\Px]\n[K]").unwrap();
        hive.apply(&Rc::from("f"), edits);
        let taken: Vec<String> = hive.take_all("k\\p").map(|key| key.path).collect();
        assert_eq!(taken, ["K\\P", "K\\P\\a", "K\\P\\a\\b"]);
        assert_eq!(hive.rest().map(|key| key.path).collect::<Vec<_>>(), ["K", "K\\Px"]);
    }
}
