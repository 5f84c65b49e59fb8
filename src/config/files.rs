//! Whether the files that settings name can be read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Auth;
use super::reader::Reader;

/// Reports every file of users and principals that cannot be read, by the word of `look`.
pub(super) fn check(auth: &Auth, look: fn(&Path) -> io::Result<()>, reader: &mut Reader<'_>) {
    for (key, file) in [("auth.users_file", &auth.users_file), ("auth.map_file", &auth.map_file)] {
        if let Some(path) = file
            && let Err(error) = look(path)
        {
            reader.contradiction(&[key], format!("{} cannot be read: {error}", path.display()));
        }
    }
}

/// Reads one byte of a file, if it has any: a folder can be opened, and not read.
pub(super) fn look(path: &Path) -> io::Result<()> {
    File::open(path)?.read(&mut [0]).map(drop)
}
