//! The client's settings. This version has no use for them, and says so of each.

use super::hive::Key;
use super::names::CLIENT_VALUES;
use super::warning::{Warnings, one_line};

/// Warns of every setting in the client's key and in its profiles.
pub(super) fn read(profiles: impl Iterator<Item = Key>, warnings: &mut Warnings) {
    for mut profile in profiles {
        for name in CLIENT_VALUES {
            if let Some(value) = profile.take(name) {
                let key = one_line(&profile.path);
                let sentence = format!("{name} of [{key}] is not supported by this version, and is left out");
                warnings.add(&value.place, sentence);
            }
        }
        warnings.unknown(profile, CLIENT_VALUES);
    }
}
