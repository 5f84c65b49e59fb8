//! A million messages wait, and the gateway starts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pollgate::store::MailboxStore;

use super::ground::{directory, file_mib, fill, mailboxes, open};

/// A million, or as many as `POLLGATE_BENCH_MESSAGES` says.
pub fn messages() -> usize {
    std::env::var("POLLGATE_BENCH_MESSAGES").map_or(1_000_000, |messages| messages.parse().unwrap())
}

pub async fn run() {
    let messages = messages();
    println!("pending: {messages} messages of 1000 bytes in 1000 mailboxes");
    let home = directory();
    let store = open(home.path());
    let all = mailboxes(&store, 1000).await;
    let began = Instant::now();
    fill(&store, &all, messages).await;
    println!(
        "  filled in {:.1} s; the file has {} MiB",
        began.elapsed().as_secs_f64(),
        file_mib(home.path())
    );
    // Dropped without being closed would be a crash; the file is the same.
    store.close().await;
    drop(store);
    for how in ["after a clean end", "after kill -9", "after kill -9"] {
        let (mut gateway, ready) = start(home.path());
        let memory = memory_mib(&gateway);
        std::thread::sleep(Duration::from_secs(3));
        println!(
            "  {how}: ready in {:.2} s; {memory} MiB of memory then, {} MiB three seconds later",
            ready.as_secs_f64(),
            memory_mib(&gateway)
        );
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    }
}

/// The release binary, and how long it took until it served.
fn start(home: &Path) -> (Child, Duration) {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pollgate"))
        .args(["serve", "--upstream", "127.0.0.1:9", "--public", "127.0.0.1:0", "--callback", "127.0.0.1:0"])
        .args(["--admin", "127.0.0.1:0", "--log-format", "json", "--state-dir"])
        .arg(home)
        .env("POLLGATE_STORE_MAX_BUFFERED_BYTES", "100GiB")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    let serves = lines.any(|line| {
        said.push(line);
        said.last().is_some_and(|line| line.contains("\"public\""))
    });
    assert!(serves, "it does not serve: {said:#?}");
    let ready = began.elapsed();
    std::thread::spawn(move || lines.for_each(drop));
    (child, ready)
}

/// Memory of its own (proc(5): `Pss` of `smaps_rollup`).
fn memory_mib(gateway: &Child) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", gateway.id())).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}
