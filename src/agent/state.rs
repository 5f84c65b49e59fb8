//! What the agent knows of its subscriptions, kept for its next start.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// The version of the file's shape.
const VERSION: u32 = 1;

/// A subscription whose messages the agent fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The dialect that it was written in.
    pub dialect: String,
    /// The client's own callback address.
    pub callback: String,
    /// The path to be polled: a secret.
    pub poll: String,
    /// The name under which the gateway was asked.
    pub host: String,
    /// The node subscribed to.
    pub node: String,
    /// The server's id.
    pub id: Option<String>,
    /// When the lease ends, in milliseconds since 1970.
    pub lease_ends: u64,
    /// The last message that the client has.
    pub last_event_id: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    version: u32,
    subscriptions: Vec<Record>,
}

/// The file; without one nothing is kept.
#[derive(Clone, Debug, Default)]
pub struct StateFile(Option<PathBuf>);

impl StateFile {
    /// This file, whose folder is made if it is not there.
    pub fn at(path: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = path.as_deref().and_then(Path::parent) {
            fs::create_dir_all(folder)?;
        }
        Ok(Self(path))
    }

    /// What was kept; nothing if there is no file yet.
    pub fn read(&self) -> io::Result<Vec<Record>> {
        let Some(path) = &self.0 else { return Ok(Vec::new()) };
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let contents: Contents = serde_json::from_slice(&bytes)?;
        if contents.version != VERSION {
            let text = format!("it has version {}, and this is known: {VERSION}", contents.version);
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        Ok(contents.subscriptions)
    }

    /// Keeps these, as a whole or not at all. Only its owner may read them.
    pub fn write(&self, subscriptions: Vec<Record>) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        let contents = Contents { version: VERSION, subscriptions };
        file.write_all(&serde_json::to_vec_pretty(&contents)?)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record() -> Record {
        Record {
            dialect: "rvp".into(),
            callback: "http://10.1.2.3:1234".into(),
            poll: "/.pollgate/0".into(),
            host: "im.example".into(),
            node: "/kari".into(),
            id: Some("7".into()),
            lease_ends: 1_800_000_000_000,
            last_event_id: Some(u64::MAX),
        }
    }

    #[test]
    fn what_was_written_is_read_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/agent.json");
        let state = StateFile::at(Some(path.clone())).unwrap();
        assert_eq!(state.read().unwrap(), []);
        state.write(vec![record()]).unwrap();
        assert_eq!(state.read().unwrap(), [record()]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        state.write(Vec::new()).unwrap();
        assert_eq!(state.read().unwrap(), []);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.json");
        for text in ["", "{}", "{\"version\":2,\"subscriptions\":[]}"] {
            fs::write(&path, text).unwrap();
            assert!(StateFile::at(Some(path.clone())).unwrap().read().is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_file_nothing_is_kept() {
        let state = StateFile::at(None).unwrap();
        state.write(vec![record()]).unwrap();
        assert_eq!(state.read().unwrap(), []);
    }
}
