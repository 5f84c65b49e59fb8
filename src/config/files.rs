//! Whether the files that settings name can be read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Config;
use super::reader::Reader;

/// Reports every file that cannot be read.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let auth = &config.auth;
    for (key, file) in [("auth.users_file", &auth.users_file), ("auth.map_file", &auth.map_file)] {
        if let Some(path) = file
            && let Err(error) = read(path)
        {
            reader.contradiction(&[key], format!("{} cannot be read: {error}", path.display()));
        }
    }
}

/// One byte of it, if it has any: a folder can be opened, and not read.
fn read(path: &Path) -> io::Result<usize> {
    File::open(path)?.read(&mut [0])
}
