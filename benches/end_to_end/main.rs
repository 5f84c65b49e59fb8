//! The release binary under load, through real sockets.
//!
//! `cargo bench --bench end_to_end` runs all four; `-- flow`, `-- hold`, `-- proxy` or `-- deliver` one of them:
//! - `flow`: callbacks in, polls out. Messages per second, the gateway's CPU time per message, and the time
//!   from the callback to the poll's answer.
//! - `hold`: the gateway's memory per held poll.
//! - `proxy`: the gateway's CPU time per proxied request, beside a bare pingora proxy in the same run.
//! - `deliver`: the time from a callback to its delivery, alone and beside as many clients that cannot be reached.
//!
//! CPU time and memory are those of the server's process alone, as the kernel counts them. The load is
//! made here, on the same machine, so it takes its share of the processors: compare ratios of one run.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod bare;
mod deliver;
mod flow;
mod hold;
mod process;
mod proxy;
mod upstream;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["bare-pingora", listen, upstream] = words[..] {
        return bare::run(listen.parse().unwrap(), upstream.parse().unwrap());
    }
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
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
        if all || words.contains(&"deliver") {
            deliver::run().await;
        }
    });
}
