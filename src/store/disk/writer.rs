//! The one thread that writes.
//!
//! It takes what waits, writes it in one transaction, and answers when that is on the disk: the more there
//! is to do, the more goes into one sync. If a commit fails, nobody is answered, and nothing is taken in
//! until the file was closed, read anew from the disk, checked, and everything that failed was written
//! after all; what comes meanwhile is kept in memory, a row once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::elapsed::StoreClock;
use super::file::{DatabaseFile, FileError};
use super::row::{write_number, write_seen};
use super::status::Status;
use super::tables::{Put, Staged, Table, meta};
use super::{Clock, CommitWatch};
use crate::clock;
use crate::store::Commit;

/// The most requests that go into one commit, so that the first of them does not wait for ever.
const MOST_REQUESTS: usize = 512;

/// The most bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// How often it looks how much room there is.
const LOOK: Duration = Duration::from_secs(1);

/// How long it waits before it tries again what failed: first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Ids are reserved so many at a time.
pub(super) const BLOCK: u64 = 1 << 20;

/// What the writer is asked.
enum Request {
    /// To write this, and to say when it is on the disk.
    Write(Vec<Put>, Option<oneshot::Sender<()>>),
    /// To write what is left, and to end.
    Close(oneshot::Sender<()>),
}

/// The ids that may be given away: no other start of the gateway gives them too.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The newest that was given away.
    newest: AtomicU64,
    /// The newest that may be.
    reserved: AtomicU64,
    /// Whether more were asked for.
    asked: AtomicBool,
}

/// How the store speaks to its writer.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    requests: Sender<Request>,
    ids: Arc<Ids>,
}

impl Handle {
    /// Hands over what is to be written. In the order of these calls it is written.
    pub(super) fn write(&self, puts: Vec<Put>) {
        // Without a writer the store is closed, and nothing changes any more.
        let _ = self.requests.send(Request::Write(puts, None));
    }

    /// The same; the answer comes when it is on the disk, and not at all if it could not be written.
    pub(super) fn write_and_tell(&self, puts: Vec<Put>) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let _ = self.requests.send(Request::Write(puts, Some(tell)));
        told
    }

    /// Whether the id may be given away.
    pub(super) fn may_give(&self, id: u64) -> bool {
        self.ids.newest.fetch_max(id, Relaxed);
        let reserved = self.ids.reserved.load(Relaxed);
        if id.saturating_add(BLOCK / 2) > reserved && !self.ids.asked.swap(true, Relaxed) {
            self.write(Vec::new());
        }
        id <= reserved
    }

    /// Writes what is left, and closes the file.
    pub(super) async fn close(&self) {
        let (tell, told) = oneshot::channel();
        if self.requests.send(Request::Close(tell)).is_ok() {
            let _ = told.await;
        }
    }
}

/// What the writer works with.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) file: Arc<DatabaseFile>,
    pub(super) status: Arc<Status>,
    pub(super) store_clock: StoreClock,
    pub(super) clock: Clock,
    pub(super) min_free_bytes: u64,
    pub(super) on_commit: CommitWatch,
    /// The newest id that was reserved before.
    pub(super) reserved: u64,
    /// What the recovery has to say.
    pub(super) first: Vec<Put>,
}

impl Writer {
    /// Writes what is to be written first, and starts the thread.
    pub(super) fn start(self) -> Result<(Handle, JoinHandle<()>), FileError> {
        let ids = Arc::new(Ids::default());
        ids.newest.store(self.reserved, Relaxed);
        ids.reserved.store(self.reserved, Relaxed);
        let (requests, received) = channel();
        let mut thread = Thread {
            writer: self,
            ids: ids.clone(),
            unsaved: Staged::default(),
            retry: None,
            looked: None,
            reopened: false,
            said: String::new(),
        };
        let mut staged = Staged::default();
        for put in std::mem::take(&mut thread.writer.first) {
            staged.put(put);
        }
        thread.look();
        thread.commit(&mut staged)?;
        let run = move || thread.run(&received);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run);
        let thread = thread.map_err(|cause| FileError::Redb(redb::Error::Io(cause)))?;
        Ok((Handle { requests, ids }, thread))
    }
}

struct Thread {
    writer: Writer,
    ids: Arc<Ids>,
    /// What could not be written yet.
    unsaved: Staged,
    /// When to try again, if the last commit failed, and how long to wait the time after.
    retry: Option<(Instant, Duration)>,
    /// When it last looked how much room there is.
    looked: Option<Instant>,
    /// Whether the file was read anew since the last commit failed.
    reopened: bool,
    /// Why it could not write, as it was last said.
    said: String,
}

/// What is written in one commit, and who waits for it.
#[derive(Default)]
struct Batch {
    staged: Staged,
    waiting: Vec<oneshot::Sender<()>>,
    requests: usize,
    bytes: usize,
    close: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, request: Request) {
        match request {
            Request::Write(puts, waiting) => {
                self.requests += 1;
                self.bytes += puts.into_iter().map(|put| self.staged.put(put)).sum::<usize>();
                self.waiting.extend(waiting);
            }
            Request::Close(tell) => self.close = Some(tell),
        }
    }

    fn has_room(&self) -> bool {
        self.requests < MOST_REQUESTS && self.bytes < MOST_BYTES && self.close.is_none()
    }
}

impl Thread {
    fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let mut batch = Batch::default();
            match requests.recv_timeout(self.patience()) {
                Ok(request) => batch.add(request),
                Err(RecvTimeoutError::Timeout) => {}
                // The store was dropped without being closed: what it promised is written.
                Err(RecvTimeoutError::Disconnected) => return self.end(None),
            }
            while batch.has_room()
                && let Ok(request) = requests.try_recv()
            {
                batch.add(request);
            }
            if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                self.look();
            }
            self.mend();
            let close = batch.close.take();
            self.write(batch);
            if close.is_some() {
                return self.end(close);
            }
        }
    }

    /// How long there is nothing to do unless somebody asks.
    fn patience(&self) -> Duration {
        match self.retry {
            Some((at, _)) => at.saturating_duration_since(clock::instant()).min(LOOK),
            None => LOOK,
        }
    }

    fn write(&mut self, batch: Batch) {
        let Batch { mut staged, waiting, requests, .. } = batch;
        if let Some((at, wait)) = self.retry {
            // Nobody is answered on a guess.
            drop(waiting);
            self.unsaved.then(staged);
            if clock::instant() >= at {
                self.heal(wait);
            }
            return;
        }
        if requests == 0 {
            return;
        }
        match self.commit(&mut staged) {
            Ok(()) => {
                for waiting in waiting {
                    // Whoever went away does not need to know.
                    let _ = waiting.send(());
                }
            }
            Err(error) => self.fail(staged, &error),
        }
    }

    /// Writes a batch with what belongs to every commit.
    fn commit(&mut self, staged: &mut Staged) -> Result<(), FileError> {
        let began = clock::instant();
        let newest = self.ids.newest.load(Relaxed);
        let reserved = self.ids.reserved.load(Relaxed);
        let is_low = newest.saturating_add(BLOCK / 2) > reserved;
        let reserve = if is_low { newest.saturating_add(BLOCK) } else { reserved };
        staged.put(Put::row(Table::Meta, meta::EVENTS, write_number(reserve)));
        let seen = self.writer.store_clock.seen(self.writer.clock.read());
        staged.put(Put::row(Table::Meta, meta::SEEN, write_seen(seen)));
        self.writer.file.commit(staged)?;
        self.ids.reserved.store(reserve, Relaxed);
        self.ids.asked.store(false, Relaxed);
        let rows = staged.rows() as u64;
        (self.writer.on_commit.0)(Commit { took: began.elapsed(), rows });
        Ok(())
    }

    fn fail(&mut self, staged: Staged, error: &FileError) {
        self.writer.status.broken.store(true, Relaxed);
        tracing::error!(%error, "the store cannot write: callbacks are refused until it can again");
        self.said = error.to_string();
        self.unsaved.then(staged);
        self.reopened = false;
        if error.is_no_space() {
            self.look();
        }
        self.retry = Some((clock::instant() + FIRST_RETRY, FIRST_RETRY * 2));
    }

    /// Tries again what failed, on a file that was read anew. If it fails again, the file is read anew at
    /// once, so that polls find in it what was written before.
    fn heal(&mut self, wait: Duration) {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        let reopened = if self.reopened { Ok(()) } else { self.writer.file.reopen(true) };
        let healed = reopened.and_then(|()| self.commit(&mut unsaved));
        self.reopened = healed.is_ok() || self.writer.file.reopen(true).is_ok();
        match healed {
            Ok(()) => {
                self.retry = None;
                *self.writer.status.wrong_path.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.writer.status.broken.store(false, Relaxed);
                self.look();
                tracing::warn!("the store can write again, and nothing was lost");
            }
            Err(error) => {
                let why = error.to_string();
                if why != self.said {
                    tracing::warn!(%error, "the store still cannot write");
                    self.said = why;
                }
                self.unsaved = unsaved;
                self.retry = Some((clock::instant() + wait, (wait * 2).min(LAST_RETRY)));
                if error.is_no_space() {
                    self.look();
                }
            }
        }
    }

    /// Reads the file anew if redb gave it up: a read that failed says nothing about what was written.
    fn mend(&mut self) {
        if self.retry.is_none()
            && self.writer.file.given_up()
            && let Err(error) = self.writer.file.reopen(false)
        {
            self.fail(Staged::default(), &error);
        }
    }

    /// Looks whether the paths still lead to what is open: what is written to a file without a name is gone
    /// with the process.
    fn look_at_paths(&mut self) {
        // What cannot be found out now is found out later.
        let Ok(wrong) = self.writer.file.medium().wrong_path() else { return };
        *self.writer.status.wrong_path.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
        if let Some(wrong) = wrong {
            self.reopened = false;
            if self.retry.is_none() {
                self.fail(Staged::default(), &FileError::WrongPath(wrong));
            }
        }
    }

    /// Looks how much room there is, and whether what could not be read can be.
    fn look(&mut self) {
        self.looked = Some(clock::instant());
        self.look_at_paths();
        super::read::retry(&self.writer.file, &self.writer.status);
        let Writer { file, status, min_free_bytes, .. } = &self.writer;
        if let Ok(size) = file.medium().size() {
            status.file_bytes.store(size, Relaxed);
        }
        let Ok(free) = file.medium().free_bytes() else { return };
        status.free_bytes.store(free, Relaxed);
        let no_space = free < *min_free_bytes;
        if status.no_space.swap(no_space, Relaxed) != no_space {
            if no_space {
                tracing::warn!(free, wanted = min_free_bytes, "no space: callbacks are refused");
            } else {
                tracing::warn!(free, "there is space again: callbacks are taken");
                self.retry = self.retry.map(|_| (clock::instant(), FIRST_RETRY));
            }
        }
    }

    /// The last commit, and the file is closed.
    fn end(mut self, close: Option<oneshot::Sender<()>>) {
        self.look_at_paths();
        if self.retry.is_some() {
            self.heal(LAST_RETRY);
        }
        if self.retry.is_some() {
            tracing::error!(
                "the store ends without having written what came last: no callback of that was acknowledged"
            );
        } else if let Err(error) = self.commit(&mut Staged::default()) {
            // What counts was written before; this is only the time of the end.
            tracing::warn!(%error, "the store could not note when it ended");
        }
        if let Err(error) = self.writer.file.close() {
            tracing::warn!(%error, "the store was not closed properly: it is checked at the next start");
        }
        if let Some(close) = close {
            let _ = close.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as the writer has not reserved more, no id beyond what it did is given; and it is asked once.
    #[test]
    fn no_id_is_given_that_is_not_reserved() {
        let (requests, received) = channel();
        let ids = Arc::new(Ids::default());
        ids.reserved.store(BLOCK, Relaxed);
        let handle = Handle { requests, ids: ids.clone() };
        assert!(handle.may_give(BLOCK / 2));
        assert_eq!(received.try_iter().count(), 0);
        assert!(handle.may_give(BLOCK / 2 + 1) && handle.may_give(BLOCK));
        assert!(!handle.may_give(BLOCK + 1));
        assert_eq!(received.try_iter().count(), 1);
        assert_eq!(ids.newest.load(Relaxed), BLOCK + 1, "for the next reservation");
    }
}
