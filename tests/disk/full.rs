//! A disk that is full: a small file system in memory, which is mounted for the test. Where that is not
//! allowed, the test says so and ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::gateway::{Gateway, Mailbox, connect, read_message, status, upstream};

/// A mounted file system; unmounted when dropped.
struct Mount(TempDir);

impl Mount {
    fn new(size: &str) -> Result<Self, String> {
        let at = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "pollgate-test"])
            .arg(at.path())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(at))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into())
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Takes all the room that is left.
fn take_all_room(at: &Path) -> PathBuf {
    let path = at.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    let chunk = vec![0; 4096];
    while file.write_all(&chunk).is_ok() {}
    path
}

fn call_back(gateway: &Gateway, mailbox: &Mailbox, body: &str) -> u16 {
    let mut stream = connect(&gateway.callback).unwrap();
    let length = body.len();
    let head = format!("NOTIFY /{} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n", mailbox.token);
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    status(&read_message(&mut stream).unwrap().0)
}

/// Tries until it is so, or for so long that it never will be.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = pollgate::clock::instant();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_refuses_callbacks_and_nothing_else() {
    let mount = match Mount::new("8m") {
        Ok(mount) => mount,
        Err(reason) => return println!("skipped: a file system cannot be mounted here: {reason}"),
    };
    let (upstream, tokens) = upstream();
    let settings = [("POLLGATE_STORE_MIN_FREE_BYTES", "1MiB"), ("POLLGATE_STORE_CACHE_BYTES", "0")];
    let mut gateway = Gateway::start(&mount.path().join("state"), &upstream, &settings);
    let mut mailbox = Mailbox::subscribe(&gateway, &tokens, 1);
    for n in 0..20 {
        assert_eq!(call_back(&gateway, &mailbox, &format!("before {n}")), 200);
    }

    let filler = take_all_room(mount.path());
    until("callbacks are refused", || call_back(&gateway, &mailbox, "during") == 503);
    // The first one may have been refused since it could not be written, before the room was looked at.
    until("for want of space", || {
        call_back(&gateway, &mailbox, "during");
        gateway.metric("pollgate_callbacks_total{result=\"no-space\"}") > 0.0
    });
    until("not ready", || gateway.admin("/readyz").0 == 503);
    assert_eq!(gateway.metric("pollgate_store_available"), 0.0);
    assert_eq!(call_back(&gateway, &mailbox, "refused"), 503);

    // Polls and acknowledgements go on.
    let mut stream = connect(&gateway.public).unwrap();
    until("all that was taken in comes", || {
        mailbox.poll(&mut stream, 0).unwrap();
        mailbox.received.len() >= 20
    });
    let before: Vec<&String> = mailbox.received.values().take(20).collect();
    assert!(before.iter().enumerate().all(|(n, body)| **body == format!("before {n}")));
    while mailbox.poll(&mut stream, 0).unwrap() > 0 {}

    std::fs::remove_file(filler).unwrap();
    until("callbacks are taken again", || call_back(&gateway, &mailbox, "after") == 200);
    until("ready, but for the upstream", || gateway.admin("/readyz").1.contains("ok      store: "));
    gateway.kill();
    let gateway = Gateway::start(&mount.path().join("state"), &upstream, &settings);
    let mut stream = connect(&gateway.public).unwrap();
    while mailbox.poll(&mut stream, 0).unwrap() > 0 {}
    assert_eq!(mailbox.received.values().last().unwrap(), "after");
}
