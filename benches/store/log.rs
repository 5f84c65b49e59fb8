//! What the store is measured against: a log that is appended to and synced, with the same batching. It can
//! neither find nor forget anything.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

type Entry = (Vec<u8>, oneshot::Sender<()>);

pub struct Log {
    entries: Sender<Entry>,
    writer: JoinHandle<()>,
}

impl Log {
    pub fn open(path: &Path) -> Self {
        let mut file = File::create(path).unwrap();
        let (entries, waiting) = channel::<Entry>();
        let writer = std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let mut batch = vec![first];
                while batch.len() < 512
                    && let Ok(next) = waiting.try_recv()
                {
                    batch.push(next);
                }
                let bytes: Vec<u8> = batch.iter().flat_map(|(entry, _)| entry).copied().collect();
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
                for (_, done) in batch {
                    done.send(()).unwrap();
                }
            }
        });
        Self { entries, writer }
    }

    pub async fn append(&self, entry: Vec<u8>) {
        let (done, synced) = oneshot::channel();
        self.entries.send((entry, done)).unwrap();
        synced.await.unwrap();
    }

    pub fn close(self) {
        drop(self.entries);
        self.writer.join().unwrap();
    }
}
