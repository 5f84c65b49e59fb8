//! A disk in memory that behaves as badly as real ones: what was not synced may be forgotten, in whole or
//! in part, and any call may fail.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::super::medium::Medium;
use super::super::view::Source;
use super::super::{DiskOptions, DiskStore};

/// The disk; its clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the system shows.
    now: Vec<u8>,
    /// What a power cut leaves.
    synced: Vec<u8>,
    /// What was done since the last sync, in this order.
    since: Vec<Step>,
    /// Which process writes: the calls of an earlier one, which is dead, do nothing.
    process: u64,
    /// Whether a sync does anything.
    sync_ignored: bool,
    /// So many syncs fail from now on.
    failing_syncs: u32,
    /// So many reads fail from now on.
    failing_reads: u32,
    /// Whether nothing can be written.
    read_only: bool,
    /// Whether nothing that was read is kept in memory.
    uncached: bool,
    /// Whether there is room.
    full: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Resize(u64),
}

/// What a torn write leaves is a multiple of this.
const SECTOR: usize = 512;

fn apply(to: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Resize(length) => to.resize(*length as usize, 0),
        Step::Write(offset, data) => {
            let offset = *offset as usize;
            if to.len() < offset + data.len() {
                to.resize(offset + data.len(), 0);
            }
            to[offset..offset + data.len()].copy_from_slice(data);
        }
    }
}

impl Disk {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store on this disk.
    pub(super) fn open(&self, options: DiskOptions) -> DiskStore {
        self.try_open(options).unwrap()
    }

    pub(super) fn try_open(&self, options: DiskOptions) -> Result<DiskStore, super::super::OpenError> {
        let process = self.state().process;
        DiskStore::open_on(Box::new(Mounted { disk: self.clone(), process }), "the disk", options)
    }

    /// The database on it, for whoever wants to look into it or to change it.
    pub(super) fn mount(&self, builder: &Builder) -> Database {
        let process = self.state().process;
        Mounted { disk: self.clone(), process }.open(builder).unwrap()
    }

    /// Syncs do nothing from now on, as with a disk that lies.
    pub(super) fn ignore_syncs(&self) {
        self.state().sync_ignored = true;
    }

    /// The next syncs fail, and what they should have written is lost.
    pub(super) fn fail_syncs(&self, times: u32) {
        self.state().failing_syncs = times;
    }

    /// The next reads fail.
    pub(super) fn fail_reads(&self, times: u32) {
        self.state().failing_reads = times;
    }

    /// Every read of a store that is opened from now on reaches the disk.
    pub(super) fn uncached(&self) {
        self.state().uncached = true;
    }

    pub(super) fn read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// The disk does nothing until this goes.
    pub(super) fn hold(&self) -> impl Sized + '_ {
        self.state()
    }

    pub(super) fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// What is on it.
    pub(super) fn contents(&self) -> Vec<u8> {
        self.state().now.clone()
    }

    /// What a power cut would leave, if nothing more got through.
    pub(super) fn synced(&self) -> Vec<u8> {
        self.state().synced.clone()
    }

    /// A disk with this on it.
    pub(super) fn with(contents: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { now: contents.clone(), synced: contents, ..State::default() })))
    }

    /// The power goes: of what was not synced, some writes got through, whole, in part, or not at all. The
    /// processes that had it open are dead.
    pub(super) fn cut(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = self.state();
        state.process += 1;
        let mut left = std::mem::take(&mut state.synced);
        let since = std::mem::take(&mut state.since);
        // Up to some moment most got through, and behind it nothing: or else nothing would ever be torn.
        let until = random.random_range(0..=since.len());
        for (n, step) in since.into_iter().enumerate() {
            let step = match step {
                Step::Write(..) if n >= until || random.random_ratio(1, 4) => continue,
                Step::Write(offset, mut data) if random.random_ratio(1, 4) => {
                    let sectors = data.len() / SECTOR;
                    data.truncate(random.random_range(0..=sectors) * SECTOR);
                    Step::Write(offset, data)
                }
                step => step,
            };
            apply(&mut left, &step);
        }
        state.synced = left.clone();
        state.now = left;
        (state.sync_ignored, state.failing_syncs, state.full) = (false, 0, false);
        (state.failing_reads, state.read_only) = (0, false);
    }
}

/// The disk as one process sees it.
#[derive(Debug)]
struct Mounted {
    disk: Disk,
    process: u64,
}

impl Medium for Mounted {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(Open { disk: self.disk.clone(), process: self.process })
    }

    fn cache_bytes(&self) -> usize {
        if self.disk.state().uncached { 0 } else { 1 << 20 }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(if self.disk.state().full { 0 } else { 1 << 40 })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().now.len() as u64)
    }

    fn forget(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let mut now = state.synced.clone();
        state.since.iter().for_each(|step| apply(&mut now, step));
        state.now = now;
        Ok(())
    }

    fn view(&self) -> io::Result<Box<dyn Source>> {
        self.forget()?;
        Ok(Box::new(Open { disk: self.disk.clone(), process: self.process }))
    }
}

impl Source for Open {
    fn length(&self) -> io::Result<u64> {
        self.len()
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.read(offset, out)
    }
}

/// The disk as one process has it open.
#[derive(Debug)]
struct Open {
    disk: Disk,
    process: u64,
}

fn dead() -> io::Error {
    io::Error::other("the power is off")
}

impl Open {
    fn alive(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.process == self.process { Ok(state) } else { Err(dead()) }
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut state = self.alive()?;
        if state.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if state.full && matches!(step, Step::Write(..)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        apply(&mut state.now, &step);
        state.since.push(step);
        Ok(())
    }
}

impl StorageBackend for Open {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.alive()?;
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(io::Error::other("the disk does not read"));
        }
        let offset = offset as usize;
        let from = state.now.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        if state.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            // As Linux does it: what was not written counts as written, and is still shown.
            state.since.clear();
            return Err(io::Error::other("the disk does not sync"));
        }
        if !state.sync_ignored {
            let since = std::mem::take(&mut state.since);
            since.iter().for_each(|step| apply(&mut state.synced, step));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(offset, data.to_vec()))
    }
}
