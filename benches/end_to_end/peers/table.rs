//! The table: medians beside each other, and what must hold.

use std::fmt::Write;

use super::contender::{BARE, HAPROXY, NCHAN, NGINX, ONE_THREAD, POLLGATE};
use super::results::{Measure, Results};
use crate::hold::POLLS;

/// What must hold of a row.
enum Must {
    /// Our figure is at most this, with as many polls as are meant to be held.
    BeAtMost(f64),
    /// Ours divided by the peer's is at most this.
    BeAtMostTimes(f64),
    /// Ours divided by the peer's is at least this.
    BeAtLeastTimes(f64),
    /// It is only told.
    Nothing,
}

struct Row(&'static str, Measure, &'static str, &'static str, Must);

const ROWS: &[Row] = &[
    Row("memory of a held poll", Measure::Held, POLLGATE, NCHAN, Must::BeAtMost(5.0)),
    Row("… after four waves of reconnects", Measure::HeldAfterWaves, POLLGATE, NCHAN, Must::BeAtMost(5.0)),
    Row("CPU per message", Measure::MessageCpu, POLLGATE, NCHAN, Must::BeAtMostTimes(1.0)),
    Row("… one worker thread", Measure::MessageCpu, ONE_THREAD, NCHAN, Must::Nothing),
    Row("messages", Measure::MessageRate, POLLGATE, NCHAN, Must::BeAtLeastTimes(1.0)),
    Row("… one worker thread", Measure::MessageRate, ONE_THREAD, NCHAN, Must::Nothing),
    Row("callback to poll, p50", Measure::MessageP50, POLLGATE, NCHAN, Must::Nothing),
    Row("callback to poll, p99", Measure::MessageP99, POLLGATE, NCHAN, Must::BeAtMostTimes(1.0)),
    Row("… one worker thread", Measure::MessageP99, ONE_THREAD, NCHAN, Must::Nothing),
    Row("CPU per proxied request", Measure::ProxyCpu, POLLGATE, BARE, Must::BeAtMostTimes(1.1)),
    Row("", Measure::ProxyCpu, POLLGATE, NGINX, Must::Nothing),
    Row("", Measure::ProxyCpu, POLLGATE, HAPROXY, Must::Nothing),
    Row("proxied requests", Measure::ProxyRate, POLLGATE, BARE, Must::Nothing),
    Row("", Measure::ProxyRate, POLLGATE, NGINX, Must::Nothing),
    Row("", Measure::ProxyRate, POLLGATE, HAPROXY, Must::Nothing),
];

/// In Markdown. What was not measured at all has no row.
pub fn of(results: &Results, polls: usize) -> String {
    let mut table = format!("Medians, in brackets the least and the most; {polls} polls held.\n\n");
    table.push_str("| | pollgate | beside | ratio | must be | is it |\n|---|---|---|---|---|---|\n");
    for Row(what, measure, ours, peer, must) in ROWS {
        let Some(our_spread) = results.spread(*measure, ours) else { continue };
        let (decimals, unit) = (measure.decimals(), measure.unit());
        let (mut beside, mut ratio) = (format!("{peer}: not measured"), None);
        if let Some(theirs) = results.spread(*measure, peer) {
            beside = format!("{peer}: {theirs:.decimals$}{unit}");
            ratio = Some(our_spread.median / theirs.median);
        }
        let (bound, mut holds) = must.judge(our_spread.median, ratio, unit);
        if polls < POLLS && matches!(must, Must::BeAtMost(_)) {
            // What a server needs once weighs more on fewer polls.
            holds = None;
        }
        let verdict = holds.map_or("", |holds| if holds { "yes" } else { "no" });
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        let ours = format!("{our_spread:.decimals$}{unit}");
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {what} | {ours} | {beside} | {ratio} | {bound} | {verdict} |");
    }
    table
}

/// How much more a gateway can do with all its worker threads than with one, told by CPU time.
pub fn about_threads(results: &Results) -> String {
    let threads = std::thread::available_parallelism().unwrap().get();
    let cpu = |of| Some(results.spread(Measure::MessageCpu, of)?.median);
    let Some((one, all)) = cpu(ONE_THREAD).zip(cpu(POLLGATE)).filter(|_| threads > 1) else {
        return String::new();
    };
    let (times, least) = (threads as f64 * one / all, 0.8 * threads as f64);
    format!(
        "Threads: {threads} worker threads can do {threads} × {one:.1} µs / {all:.1} µs = {times:.2} times what one \
         can, by the CPU time of a message with one and with {threads} (the load shares the processors, so that \
         messages per second cannot tell); must be at least {least:.1}: {}\n",
        if times >= least { "yes" } else { "no" }
    )
}

impl Must {
    /// In words, and whether it holds, if that can be told.
    fn judge(&self, ours: f64, ratio: Option<f64>, unit: &str) -> (String, Option<bool>) {
        match self {
            Self::BeAtMost(most) => (format!("≤ {most}{unit}"), Some(ours <= *most)),
            Self::BeAtMostTimes(most) => (format!("≤ {most:.1} ×"), ratio.map(|ratio| ratio <= *most)),
            Self::BeAtLeastTimes(least) => (format!("≥ {least:.1} ×"), ratio.map(|ratio| ratio >= *least)),
            Self::Nothing => (String::new(), None),
        }
    }
}
