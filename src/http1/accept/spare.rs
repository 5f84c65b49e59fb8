//! A descriptor that is kept only to be given up: with the one place that makes, a connection is accepted and told
//! that there is no place for it. It would wait in the kernel's queue otherwise, and its client with it.
//!
//! Descriptors are the process's, so there is one for all listeners. While one of them refuses somebody, another may
//! be given the place; who finds that so refuses whom it accepted, and it is there again.

use std::fs::File;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::http1::Response;

/// After how many seconds a client may try again for which there was nothing left.
const RETRY_AFTER: u64 = 10;

/// It is never read.
const ANYTHING: &str = "/dev/null";

static SPARE: Mutex<Option<File>> = Mutex::new(None);

/// What became of the attempt to refuse a connection.
pub(super) enum Refused {
    One,
    /// None waits.
    Nobody,
    /// Somebody else took the place.
    NoPlace,
}

fn spare() -> MutexGuard<'static, Option<File>> {
    // Nothing in it can be half done.
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps one from now on. `false`: there is none left to be kept.
pub(super) fn keep() -> bool {
    let mut spare = spare();
    if spare.is_some() {
        return true;
    }
    match File::open(ANYTHING) {
        Ok(file) => {
            *spare = Some(file);
            true
        }
        // Where there is no such file there is no spare, and that is no reason to refuse anybody.
        Err(error) => !matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)),
    }
}

/// Refuses this connection, and keeps its place.
pub(super) fn refuse(stream: TcpStream) {
    tell(&stream);
    drop(stream);
    keep();
}

/// Refuses the connection that has waited longest, if one waits.
pub(super) async fn refuse_one(listener: &TcpListener) -> Refused {
    // The kernel looks for a descriptor before it looks for a connection: there may be none, and the place must
    // not stay free until one comes.
    poll_fn(|cx| {
        let mut spare = spare();
        if spare.take().is_none() {
            *spare = File::open(ANYTHING).ok();
            return Poll::Ready(Refused::NoPlace);
        }
        let refused = match listener.poll_accept(cx) {
            Poll::Ready(Ok((stream, _))) => {
                tell(&stream);
                Refused::One
            }
            Poll::Ready(Err(_)) => Refused::NoPlace,
            Poll::Pending => Refused::Nobody,
        };
        *spare = File::open(ANYTHING).ok();
        Poll::Ready(refused)
    })
    .await
}

fn tell(stream: &TcpStream) {
    let answer = Response::text(503, "too many connections").with("Retry-After", RETRY_AFTER);
    let _ = stream.try_write(&answer.last_words(clock::wall()));
    // What nobody has read would make the kernel reset the connection, and the answer be lost.
    let _ = stream.try_read(&mut [0; 4096]);
}
