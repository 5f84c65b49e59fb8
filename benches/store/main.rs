//! The disk store by itself.
//!
//! `cargo bench --bench store` runs all three; `-- enqueue`, `-- pending` or `-- drain` one of them:
//! - `enqueue`: durable enqueues per second, against a plain log in the same run, which is appended to and
//!   synced with the same batching; and how long one takes, against one sync.
//! - `pending`: a million messages wait: how long until the release binary serves again, and its memory.
//! - `drain`: what a million messages leave in the file when they were acknowledged.
//!
//! Files are made in the system's directory for temporary files, or in `POLLGATE_BENCH_DIR`: which disk that
//! is on decides everything. Compare ratios of one run.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod drain;
mod enqueue;
mod ground;
mod log;
mod pending;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |word: &str| arguments.is_empty() || arguments.iter().any(|a| a == word);
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        if wanted("enqueue") {
            enqueue::run().await;
        }
        if wanted("pending") {
            pending::run().await;
        }
        if wanted("drain") {
            drain::run().await;
        }
    });
}
