//! A gateway hands its sockets, and then its store, over to the process that comes after it, so that no client is
//! refused.
//!
//! ```text
//! predecessor                                    successor (serve --upgrade)
//!   on SIGQUIT: listens at <store.path>/upgrade.sock
//!                                      ◀──────── connects, with a configuration that is valid
//!   what it listens on ───────────────────────▶  takes or binds what it needs,
//!                                                looks at the store without changing it
//!                                      ◀──────── "ready": it can open the store
//!   accepts no more; waits until nobody
//!   uses the store, and closes it
//!   "yours" ──────────────────────────────────▶  opens the store, and serves
//!                                      ◀──────── "serving"
//!   tells systemd which process is main
//!   "main" ───────────────────────────────────▶  tells systemd that it serves
//!   finishes what is under way, and ends
//!   what an upstream grants to a request
//!   that was under way already ────────────────▶  keeps it
//! ```
//!
//! The sockets are open all the time. Who connects in between waits in their backlog until the successor accepts, and
//! so do datagrams, as far as their socket has room; the store is never open in both.
//!
//! What goes wrong leaves one process serving:
//! - before "ready" the predecessor goes on, as if nothing had been;
//! - between "ready" and "serving" it has the sockets still. If the successor ends, it starts over on them: it opens
//!   the store again, and serves;
//! - if the predecessor ends behind "ready", the successor goes on, for nobody has the store.
//!
//! Both are processes of one user: nobody else can reach into the directory of the store, and who connects is
//! asked all the same.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::listeners::{Listeners, Purpose};
use crate::config::Config;
use crate::gateway::stop::Late;
use crate::mailbox::MailboxId;

/// How long each side waits for the next step of the other.
const STEP: Duration = Duration::from_secs(60);

/// How often the successor looks for its predecessor.
const LOOK: Duration = Duration::from_millis(50);

/// As many sockets the kernel passes at a time, with room to spare (unix(7): `SCM_MAX_FD`).
const MOST_SOCKETS: usize = 200;

/// Bytes of what is said of them: an address takes less than a hundred.
const MOST_BYTES: usize = 100 * MOST_SOCKETS;

/// What an answer that came late made of a mailbox, as one process tells the other: a line of JSON.
#[derive(Serialize, Deserialize)]
struct LateLine {
    mailbox: u64,
    subscription_id: Option<String>,
    lease_millis: Option<u64>,
}

/// The longest line of those: an id is a field of an answer.
const LONGEST_LATE_LINE: usize = 1024 * 1024;

/// How long the successor waits to be told that systemd knows it. It serves meanwhile.
const TOLD: Duration = Duration::from_secs(5);

/// What the two tell each other, a line each.
const READY: &str = "ready";
const YOURS: &str = "yours";
const SERVING: &str = "serving";
const MAIN: &str = "main";

/// The longest line of those.
const LONGEST_LINE: usize = 16;

/// What is said of the sockets that are handed over; they come in the same order.
#[derive(Serialize, Deserialize)]
struct Offer {
    purposes: Vec<Purpose>,
}

/// Where the two meet.
pub fn meeting_place(config: &Config) -> PathBuf {
    config.store.path.join("upgrade.sock")
}

/// The predecessor's side: a place where a successor may come.
pub struct Handover {
    listener: UnixListener,
    place: PathBuf,
}

/// A successor that is ready.
pub struct Successor {
    peer: Peer,
    /// Its process.
    pub pid: Option<i32>,
}

/// The process before this one, which has the store until it says otherwise.
pub struct Predecessor {
    peer: Peer,
}

/// Whoever is at the other end.
struct Peer {
    stream: tokio::net::UnixStream,
}

impl Peer {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: tokio::net::UnixStream::from_std(stream)? })
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes()).await
    }

    /// Waits for this line.
    async fn hear(&mut self, wanted: &str) -> anyhow::Result<()> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            ensure!(line.len() < LONGEST_LINE, "the other process is not one of ours");
            line.push(self.stream.read_u8().await?);
        }
        let heard = line.trim_ascii_end();
        ensure!(
            heard == wanted.as_bytes(),
            "the other process said {:?} and not {wanted:?}",
            String::from_utf8_lossy(heard)
        );
        Ok(())
    }
}

impl Successor {
    /// The store is closed, and the successor's. Waits until it serves, however long it takes to open the store:
    /// `Err` says that it ended before.
    pub async fn take_the_store(&mut self) -> anyhow::Result<()> {
        let ended = "the new process ended before it served";
        self.peer.say(YOURS).await.context(ended)?;
        self.peer.hear(SERVING).await.context(ended)
    }

    /// Tells the successor what comes too late for the store of this process, until it is `over` and all is told.
    pub async fn tell_late(mut self, mut late: UnboundedReceiver<Late>, over: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = late.recv() => next,
                () = over.cancelled(), if !late.is_closed() => {
                    late.close();
                    continue;
                }
            };
            let Some(Late { mailbox, subscription_id, lease }) = next else { return };
            let line = LateLine {
                mailbox: mailbox.0,
                subscription_id: subscription_id.map(Into::into),
                lease_millis: lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
            };
            let told = match serde_json::to_string(&line) {
                Ok(line) => self.peer.say(&line).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = told {
                tracing::warn!(%mailbox, %error, "the next process does not know what its upstream granted");
            }
        }
    }

    /// Whoever watches this service knows that the successor is its main process now.
    pub async fn is_main(&mut self) {
        // Who has gone meanwhile needs to know nothing.
        let _ = self.peer.say(MAIN).await;
    }
}

impl Predecessor {
    /// What comes too late for the predecessor's store; none when it has ended.
    pub async fn late(&mut self) -> Option<Late> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') && line.len() < LONGEST_LATE_LINE {
            line.push(self.peer.stream.read_u8().await.ok()?);
        }
        let LateLine { mailbox, subscription_id, lease_millis } = serde_json::from_slice(&line).ok()?;
        Some(Late {
            mailbox: MailboxId(mailbox),
            subscription_id: subscription_id.map(Into::into),
            lease: lease_millis.map(Duration::from_millis),
        })
    }

    /// Waits until the store is free: the predecessor says so, or has ended.
    pub async fn store_is_free(&mut self) {
        // However it ends: a reset says the same.
        let _ = self.peer.hear(YOURS).await;
    }

    /// This process serves. Returns when whoever watches the service knows that it is the main process.
    pub async fn is_served(&mut self) {
        // A predecessor that has ended meanwhile need not know.
        if self.peer.say(SERVING).await.is_ok() {
            let _ = timeout(TOLD, self.peer.hear(MAIN)).await;
        }
    }
}

impl Handover {
    /// Opens the meeting place. Must be called within a runtime.
    pub fn open(place: PathBuf) -> io::Result<Self> {
        // It may be left from a process that was killed.
        match std::fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { listener: UnixListener::bind(&place)?, place })
    }

    /// Waits for a successor, and hands these sockets over. It is ready when this returns `Ok`.
    pub async fn hand_over(&self, listeners: &Listeners) -> anyhow::Result<Successor> {
        let (stream, _) = timeout(STEP, self.listener.accept()).await.context("no successor came")??;
        let credentials = stream.peer_cred()?;
        ensure!(
            credentials.uid() == rustix::process::geteuid().as_raw(),
            "the process that came is another user's"
        );
        let stream = stream.into_std()?;
        let listeners = listeners.clone();
        let stream = tokio::task::spawn_blocking(move || offer(stream, &listeners)).await??;
        let mut peer = Peer::new(stream)?;
        timeout(STEP, peer.hear(READY))
            .await
            .context("the successor is not ready in time")?
            .context("the successor gave up")?;
        Ok(Successor { peer, pid: credentials.pid() })
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        // What is left would only be in the way of the next one, which removes it.
        let _ = std::fs::remove_file(&self.place);
    }
}

fn offer(stream: UnixStream, listeners: &Listeners) -> anyhow::Result<UnixStream> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    let all: Vec<_> = listeners.all().collect();
    ensure!(all.len() <= MOST_SOCKETS, "{} sockets are too many to hand over", all.len());
    let offer = Offer { purposes: all.iter().map(|(purpose, _)| (*purpose).clone()).collect() };
    let mut text = serde_json::to_vec(&offer)?;
    text.push(b'\n');
    let sockets: Vec<BorrowedFd<'_>> = all.iter().map(|(_, socket)| *socket).collect();
    send(&stream, &text, &sockets).context("cannot hand the sockets over")?;
    Ok(stream)
}

/// The successor's side: takes the sockets over. `probe` says whether this process can open the store, which is the
/// predecessor's still; what it returns as an error is the reason why nothing changes hands.
pub async fn take_over(
    config: &Config,
    probe: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<(Listeners, Predecessor)> {
    let place = meeting_place(config);
    let stream = timeout(STEP, find(&place)).await.with_context(|| {
        format!("no gateway hands its sockets over at {}: send SIGQUIT to it", place.display())
    })?;
    let (stream, sockets) = tokio::task::spawn_blocking(move || accept_offer(stream)).await??;
    let listeners = Listeners::take_over(&config.listen, sockets)?;
    tokio::task::spawn_blocking(probe).await??;
    let mut peer = Peer::new(stream)?;
    peer.say(READY).await.context("the predecessor gave up")?;
    Ok((listeners, Predecessor { peer }))
}

/// The predecessor may come later than its successor.
async fn find(place: &Path) -> UnixStream {
    loop {
        if let Ok(stream) = UnixStream::connect(place) {
            return stream;
        }
        sleep(LOOK).await;
    }
}

fn accept_offer(stream: UnixStream) -> anyhow::Result<(UnixStream, Vec<(Purpose, OwnedFd)>)> {
    stream.set_read_timeout(Some(STEP))?;
    let (text, sockets) = receive(&stream).context("the predecessor gave up")?;
    let offer: Offer = serde_json::from_slice(&text).context("the predecessor is not one of ours")?;
    if offer.purposes.len() != sockets.len() {
        bail!("{} sockets were announced, and {} came", offer.purposes.len(), sockets.len());
    }
    Ok((stream, offer.purposes.into_iter().zip(sockets).collect()))
}

/// Sends the text with the sockets on its first byte.
fn send(stream: &UnixStream, text: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !with.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(text)], &mut with, SendFlags::NOSIGNAL)?;
    (&*stream).write_all(&text[sent..])
}

/// Receives a line and the sockets that come with it.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut text, mut sockets) = (Vec::new(), Vec::new());
    while text.last() != Some(&b'\n') {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let mut piece = [0; 4096];
        let got = recvmsg(stream, &mut [IoSliceMut::new(&mut piece)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
        for message in with.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                sockets.extend(some);
            }
        }
        if got.bytes == 0 || text.len() > MOST_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(&piece[..got.bytes]);
    }
    Ok((text, sockets))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::Listen;

    fn listen(public: &[&str]) -> Listen {
        let public = public.iter().map(|address| address.parse().unwrap()).collect();
        let any = "127.0.0.1:0".parse().unwrap();
        Listen { public, callback: any, admin: any, ..Listen::default() }
    }

    fn config(folder: &tempfile::TempDir, listen: Listen) -> Config {
        let mut config = Config { listen, ..Config::default() };
        config.store.path = folder.path().to_owned();
        config
    }

    #[tokio::test]
    async fn what_is_asked_for_again_is_taken_over_and_the_rest_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let before = Listeners::bind(&listen(&["127.0.0.1:0", "127.0.0.2:0"])).unwrap();
        let addresses = |listeners: &Listeners| -> Vec<SocketAddr> {
            listeners.public.iter().map(|listening| listening.socket.local_addr().unwrap()).collect()
        };
        let config = config(&folder, listen(&["127.0.0.2:0", "127.0.0.3:0"]));
        let handover = Handover::open(meeting_place(&config)).unwrap();
        let successor = tokio::spawn(async move { take_over(&config, || Ok(())).await });
        let held = handover.hand_over(&before).await.unwrap();
        assert_eq!(held.pid, i32::try_from(std::process::id()).ok());
        let (after, _predecessor) = successor.await.unwrap().unwrap();
        let (old, callback) = (addresses(&before), before.callback_address().unwrap());
        drop((held, before));
        let new = addresses(&after);
        assert_eq!(new[0], old[1]);
        assert_eq!(new[1].ip().to_string(), "127.0.0.3");
        assert_eq!(after.callback_address().unwrap(), callback);
        // What nobody wants any more is closed, and what was handed over takes connections.
        assert!(std::net::TcpStream::connect(old[0]).is_err());
        assert!(std::net::TcpStream::connect(new[0]).is_ok());
    }

    #[tokio::test]
    async fn datagrams_wait_for_the_successor() {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listen = || Listen { callback_udp: Some(any), ..listen(&["127.0.0.1:0"]) };
        let before = Listeners::bind(&listen()).unwrap();
        let address = before.callback_udp.as_ref().unwrap().socket.local_addr().unwrap();
        let config = config(&folder, listen());
        let handover = Handover::open(meeting_place(&config)).unwrap();
        let successor = tokio::spawn(async move { take_over(&config, || Ok(())).await });
        let held = handover.hand_over(&before).await.unwrap();
        drop(before);
        let upstream = std::net::UdpSocket::bind(any).unwrap();
        upstream.send_to(b"in between", address).unwrap();
        drop(held);
        let (after, _predecessor) = successor.await.unwrap().unwrap();
        let mut got = [0; 64];
        let socket = after.callback_udp.unwrap().socket;
        let (length, from) =
            timeout(Duration::from_secs(10), socket.recv_from(&mut got)).await.unwrap().unwrap();
        assert_eq!((&got[..length], from), (&b"in between"[..], upstream.local_addr().unwrap()));
    }

    #[tokio::test]
    async fn a_successor_that_cannot_bind_gives_up_before_anything_ended() {
        let folder = tempfile::tempdir().unwrap();
        let before = Listeners::bind(&listen(&["127.0.0.1:0"])).unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(&folder, listen(&[&taken.local_addr().unwrap().to_string()]));
        let handover = Handover::open(meeting_place(&config)).unwrap();
        let successor = tokio::spawn(async move { take_over(&config, || Ok(())).await });
        let error = handover.hand_over(&before).await.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the successor gave up");
        let error = successor.await.unwrap().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("cannot listen on"), "{error}");
    }

    #[tokio::test]
    async fn a_successor_that_cannot_open_the_store_gives_up_before_anything_ended() {
        let folder = tempfile::tempdir().unwrap();
        let before = Listeners::bind(&listen(&["127.0.0.1:0"])).unwrap();
        let config = config(&folder, listen(&["127.0.0.1:0"]));
        let handover = Handover::open(meeting_place(&config)).unwrap();
        let probe = || bail!("the store is damaged");
        let successor = tokio::spawn(async move { take_over(&config, probe).await });
        let error = handover.hand_over(&before).await.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the successor gave up");
        let error = successor.await.unwrap().map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the store is damaged");
    }

    #[tokio::test]
    async fn the_store_is_free_when_the_predecessor_says_so_or_has_ended() {
        for says_so in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let before = Listeners::bind(&listen(&["127.0.0.1:0"])).unwrap();
            let config = config(&folder, listen(&["127.0.0.1:0"]));
            let handover = Handover::open(meeting_place(&config)).unwrap();
            let taking = tokio::spawn(async move { take_over(&config, || Ok(())).await });
            let mut successor = handover.hand_over(&before).await.unwrap();
            let (_sockets, mut predecessor) = taking.await.unwrap().unwrap();
            let early = timeout(Duration::from_millis(20), predecessor.store_is_free()).await;
            assert!(early.is_err(), "it has the store still");
            match says_so {
                true => {
                    let serves = async {
                        predecessor.store_is_free().await;
                        predecessor.is_served().await;
                    };
                    let hands = async {
                        successor.take_the_store().await.unwrap();
                        successor.is_main().await;
                    };
                    tokio::join!(serves, hands);
                }
                false => {
                    drop(successor);
                    predecessor.store_is_free().await;
                    predecessor.is_served().await;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_successor_that_ends_before_it_serves_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let before = Listeners::bind(&listen(&["127.0.0.1:0"])).unwrap();
        let config = config(&folder, listen(&["127.0.0.1:0"]));
        let handover = Handover::open(meeting_place(&config)).unwrap();
        let taking = tokio::spawn(async move { take_over(&config, || Ok(())).await });
        let mut successor = handover.hand_over(&before).await.unwrap();
        let (_sockets, mut predecessor) = taking.await.unwrap().unwrap();
        let opens = async {
            predecessor.store_is_free().await;
            drop(predecessor);
        };
        let (_, taken) = tokio::join!(opens, successor.take_the_store());
        assert_eq!(taken.unwrap_err().to_string(), "the new process ended before it served");
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("upgrade.sock");
        std::mem::forget(Handover::open(place.clone()).unwrap());
        drop(Handover::open(place.clone()).unwrap());
        assert!(!place.exists());
    }
}
