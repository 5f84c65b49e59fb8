//! A view of the database's file, for reading only: what redb writes to open it stays in memory.
//!
//! So bodies are read while nothing can be written, and after an error that made redb give its open
//! database up.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What is written is kept by pages of this size.
const PAGE: usize = 4096;

/// What a view reads from.
pub(super) trait Source: fmt::Debug + Send + Sync + 'static {
    fn length(&self) -> io::Result<u64>;

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, out, offset)
    }
}

/// A file as it would be if what was written to the view had been written to it.
#[derive(Debug)]
pub(super) struct View {
    source: Box<dyn Source>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// So much of the source still counts.
    from_source: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl View {
    pub(super) fn new(source: Box<dyn Source>) -> io::Result<Self> {
        let length = source.length()?;
        let written = Written { length, from_source: length, pages: BTreeMap::new() };
        Ok(Self { source, written: Mutex::new(written) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the source has there, and zeros behind its end.
    fn read_source(&self, written: &Written, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = written.from_source.saturating_sub(offset).min(out.len() as u64) as usize;
        out[there..].fill(0);
        self.source.read_exact_at(&mut out[..there], offset)
    }
}

/// The pages that a range touches: the number of each, where the range is in it, and how long it is there.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let part = (PAGE - within).min(length - done);
        done += part;
        (part > 0).then_some((at / PAGE as u64, within, part))
    })
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(out.len() as u64) > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_source(&written, offset, out)?;
        let mut done = 0;
        for (page, within, part) in parts(offset, out.len()) {
            if let Some(page) = written.pages.get(&page) {
                out[done..done + part].copy_from_slice(&page[within..within + part]);
            }
            done += part;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        if len < written.length {
            written.from_source = written.from_source.min(len);
            let last = len / PAGE as u64;
            written.pages.retain(|page, _| *page <= last);
            if let Some(page) = written.pages.get_mut(&last) {
                page[(len % PAGE as u64) as usize..].fill(0);
            }
        }
        written.length = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        let mut done = 0;
        for (number, within, part) in parts(offset, data.len()) {
            if !written.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE]);
                self.read_source(&written, number * PAGE as u64, &mut page[..])?;
                written.pages.insert(number, page);
            }
            if let Some(page) = written.pages.get_mut(&number) {
                page[within..within + part].copy_from_slice(&data[done..done + part]);
            }
            done += part;
        }
        written.length = written.length.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_a_view_is_read_from_it_and_the_file_stays() {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        let view = View::new(Box::new(file.try_clone().unwrap())).unwrap();
        view.write(4090, &[2; 10]).unwrap();
        view.write(9_999, &[3; 2]).unwrap();
        let mut expected = vec![1; 10_001];
        expected[4090..4100].fill(2);
        expected[9_999..].fill(3);
        let mut all = vec![0; 10_001];
        view.read(0, &mut all).unwrap();
        assert_eq!(all, expected);
        assert!(view.read(1, &mut all).is_err(), "behind the end");
        // What was cut off does not come back.
        view.set_len(4095).unwrap();
        view.set_len(10_001).unwrap();
        expected[4095..].fill(0);
        view.read(0, &mut all).unwrap();
        assert_eq!(all, expected);
        let mut whole = vec![0; 10_000];
        FileExt::read_exact_at(&file, &mut whole, 0).unwrap();
        assert_eq!((whole, file.length().unwrap()), (vec![1; 10_000], 10_000));
    }
}
