//! The release binary under load, through real sockets.
//!
//! `cargo bench --bench end_to_end` runs the first three; `-- flow`, `-- hold` or `-- proxy` one of them:
//! - `flow`: callbacks in, polls out. Messages per second, the gateway's CPU time per message, and the time
//!   from the callback to the poll's answer.
//! - `hold`: the gateway's memory per held poll.
//! - `proxy`: the gateway's CPU time per proxied request, beside a bare pingora proxy in the same run.
//!
//! Others run only when they are named:
//! - `peers`: all of that beside nchan, nginx and HAProxy, as a table; see [`peers`].
//! - `listeners`: our own server's parser beside hyper; see [`listeners`].
//! - `deliver`: the time from a callback to its delivery, alone and beside as many clients that cannot be
//!   reached.
//! - `reload`: the time of a proxied request while the configuration is read again.
//! - `slow-http`: a healthy client, in quiet and while slowhttptest attacks; `benches/slow_http.sh` runs it. With
//!   the names of attacks behind it, such as `slow-read`, only those.
//! - `long-poll`: one poll, held for ten minutes.
//!
//! CPU time and memory are those of the server's processes alone, as the kernel counts them. The load is
//! made here, on the same machine, so it takes its share of the processors: compare ratios of one run.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod bare;
mod client;
mod deliver;
mod flow;
mod haproxy;
mod hold;
mod listeners;
mod long_poll;
mod nginx;
mod peers;
mod process;
mod proxy;
mod reload;
mod servers;
mod slow_http;
mod spread;
mod upstream;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What runs in processes of their own.
    match words[..] {
        ["guarded", parent, program, ref arguments @ ..] => process::run_guarded(parent, program, arguments),
        ["bare-pingora", listen, upstream] => {
            return bare::run(listen.parse().unwrap(), upstream.parse().unwrap());
        }
        ["listener", which] => return listeners::serve(which),
        ["upstream"] => return upstream::Upstream::serve(),
        _ => {}
    }
    // Those are cargo's, and for criterion.
    words.retain(|word| !word.starts_with("--"));
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Whatever was started stops when the future that started it is dropped.
        tokio::select! {
            code = run(&words) => code,
            () = told_to_stop() => ExitCode::FAILURE,
        }
    })
}

async fn run(words: &[&str]) -> ExitCode {
    match words {
        ["peers", words @ ..] => return peers::run(words).await,
        ["listeners"] => return listeners::run().await,
        ["deliver"] => return deliver::run().await,
        ["reload"] => return reload::run().await,
        ["slow-http", words @ ..] => return slow_http::run(words).await,
        ["long-poll"] => return long_poll::run().await,
        _ => {}
    }
    let all = words.is_empty();
    if all || words.contains(&"flow") {
        flow::run().await;
    }
    if all || words.contains(&"hold") {
        hold::run().await;
    }
    if all || words.contains(&"proxy") {
        proxy::run().await;
    }
    ExitCode::SUCCESS
}

async fn told_to_stop() {
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).unwrap());
    let [interrupt, terminate] = &mut signals;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("told to stop");
}
