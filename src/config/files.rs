//! Whether the files that settings name can be read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Config;
use super::reader::Reader;
use super::resolve::Files;

/// Reports every file that is of no use, by the word of `files`.
pub(super) fn check(config: &Config, files: Files, reader: &mut Reader<'_>) {
    let auth = &config.auth;
    for (key, file) in [("auth.users_file", &auth.users_file), ("auth.map_file", &auth.map_file)] {
        if let Some(path) = file
            && let Err(error) = (files.look)(path)
        {
            reader.contradiction(&[key], format!("{} cannot be read: {error}", path.display()));
        }
    }
    if let Some((certificate, key)) = config.listen.tls.files()
        && let Err(problem) = (files.pair)(certificate, key)
    {
        reader.contradiction(&["listen.tls.certificate", "listen.tls.key"], problem);
    }
    for (at, upstream) in config.upstreams.iter().enumerate() {
        if let Some(path) = upstream.ca_file.as_deref()
            && let Err(problem) = (files.authorities)(path)
        {
            let key = match reader.is_list("upstream") {
                true => format!("upstream[{at}].ca_file"),
                false => "upstream.ca_file".to_owned(),
            };
            reader.contradiction(&[&key], format!("{}: {problem}", path.display()));
        }
    }
}

/// Reads one byte of a file, if it has any: a folder can be opened, and not read.
pub(super) fn look(path: &Path) -> io::Result<()> {
    File::open(path)?.read(&mut [0]).map(drop)
}
