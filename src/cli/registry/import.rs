//! `pollgate registry import`: a configuration file from registration files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::{BAD_USAGE, output};
use crate::registry::{File, import};

/// Far more than both keys hold; what is larger is an export of the whole registry, or no file at all.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Make a configuration file of registration files
///
/// The files are those of Regedit: REGEDIT4 or version 5.00, in ANSI, UTF-16LE or UTF-8. The server's
/// settings are in the key HKEY_LOCAL_MACHINE\Software\Microsoft\Exchange\InstantMessaging, the client's
/// in HKEY_CURRENT_USER\Software\Microsoft\Exchange\Messenger\Profiles. Only what the files set is
/// written, with a comment where it came from; what is left out is named on stderr.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The server's settings
    #[arg(value_name = "SERVER.REG")]
    server: PathBuf,
    /// The client's settings
    #[arg(value_name = "CLIENT.REG")]
    client: Option<PathBuf>,
    /// Where the configuration is written [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    for path in [Some(&args.server), args.client.as_ref()].into_iter().flatten() {
        match read(path) {
            Ok(bytes) => files.push(File { name: path.display().to_string(), bytes }),
            Err(error) => unreadable.push(format!("{}: cannot be read: {error}", path.display())),
        }
    }
    let faults = match import(&files) {
        Ok(import) if unreadable.is_empty() => {
            for warning in &import.warnings {
                eprintln!("warning: {warning}");
            }
            match &args.output {
                Some(path) => {
                    fs::write(path, import.toml).with_context(|| path.display().to_string())?;
                }
                None => _ = output::print(import.toml)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    for problem in unreadable.into_iter().chain(faults) {
        eprintln!("{problem}");
    }
    Ok(ExitCode::from(BAD_USAGE))
}

fn read(path: &Path) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(std::io::Error::other(format!(
            "is larger than {} MiB; export the two keys alone",
            LARGEST >> 20
        )));
    }
    Ok(bytes)
}
