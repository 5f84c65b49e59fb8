//! The gateway beside its peers, interleaved: in each round every server once, the first of a round the last
//! of the next, each started anew.
//!
//! `-- peers` runs all; with `flow`, `hold` or `proxy` behind it only those; with `rounds=N` as many rounds.
//! A peer that is not installed is named and left out.

mod contender;
mod machine;
mod results;
mod table;

use std::process::ExitCode;

use self::contender::{HoldsPolls, Proxies};
use self::machine::{Installed, Machine};
use self::results::{Measure, Results};
use super::flow::{self, Flow};
use super::hold::{Held, possible_polls};
use super::proxy::{self, Proxied};
use super::upstream::Upstream;

const ROUNDS: usize = 3;

/// How often all clients come back on new connections.
const WAVES: usize = 4;

const PROXIED_REQUESTS: usize = 48_000;

/// Before it is measured, so that connections to the upstream are made and memory is in use.
const WARM_UP_REQUESTS: usize = 1_600;

struct Parts {
    rounds: usize,
    flow: bool,
    hold: bool,
    proxy: bool,
}

pub async fn run(words: &[&str]) -> ExitCode {
    let Some(parts) = Parts::of(words) else {
        eprintln!("peers: flow, hold, proxy and rounds=N can be asked for, not {}", words.join(" "));
        return ExitCode::from(2);
    };
    let (machine, installed) = (Machine::look(), Installed::look());
    println!("{machine}");
    installed.say_what_is_missing();
    let polls = possible_polls();
    let mut results = Results::default();
    for round in 0..parts.rounds {
        println!("round {} of {}", round + 1, parts.rounds);
        if parts.flow {
            println!(" flow: {}", flow::what());
            for contender in in_turn(HoldsPolls::all(&installed), round) {
                messages(contender, &mut results).await;
            }
        }
        if parts.hold {
            println!(" hold: {polls} polls, and {WAVES} waves of reconnects");
            for contender in in_turn(HoldsPolls::all_of_default_threads(&installed), round) {
                held(contender, polls, &mut results).await;
            }
        }
        if parts.proxy {
            println!(" proxy: {}", proxy::what(PROXIED_REQUESTS));
            for contender in in_turn(Proxies::all(&installed), round) {
                proxied(contender, &mut results).await;
            }
        }
    }
    println!("\n{}", table::of(&results, polls));
    println!("{}{installed}\n{machine}", table::about_threads(&results));
    ExitCode::SUCCESS
}

impl Parts {
    fn of(words: &[&str]) -> Option<Self> {
        let mut parts = Self { rounds: ROUNDS, flow: false, hold: false, proxy: false };
        for word in words {
            match *word {
                "flow" => parts.flow = true,
                "hold" => parts.hold = true,
                "proxy" => parts.proxy = true,
                word => parts.rounds = word.strip_prefix("rounds=")?.parse().ok().filter(|n| *n > 0)?,
            }
        }
        let all = !(parts.flow || parts.hold || parts.proxy);
        Some(Self { flow: parts.flow || all, hold: parts.hold || all, proxy: parts.proxy || all, ..parts })
    }
}

/// All of them, with another one first in each round.
fn in_turn<T>(mut all: Vec<T>, round: usize) -> Vec<T> {
    let first = round % all.len();
    all.rotate_left(first);
    all
}

async fn messages(contender: HoldsPolls, results: &mut Results) {
    let flow = flow::measure(&contender.start().await).await;
    println!("  {contender}: {flow}");
    let Flow { messages_per_second, cpu_per_message, p50, p99 } = flow;
    let name = contender.name();
    results.add(Measure::MessageCpu, name, cpu_per_message);
    results.add(Measure::MessageRate, name, messages_per_second);
    results.add(Measure::MessageP50, name, p50);
    results.add(Measure::MessageP99, name, p99);
}

async fn held(contender: HoldsPolls, polls: usize, results: &mut Results) {
    let server = contender.start().await;
    let mut held = Held::open(&server, polls).await;
    println!("  {contender}: {held}");
    results.add(Measure::Held, contender.name(), held.kib_each());
    for _ in 0..WAVES {
        held.reconnect().await;
    }
    println!("  {contender}, after the waves: {held}");
    results.add(Measure::HeldAfterWaves, contender.name(), held.kib_each());
}

async fn proxied(contender: Proxies, results: &mut Results) {
    let (_upstream, address) = Upstream::start();
    let proxy = contender.start(address).await;
    proxy::measure(proxy.process(), proxy.address(), WARM_UP_REQUESTS).await;
    let figures = proxy::measure(proxy.process(), proxy.address(), PROXIED_REQUESTS).await;
    println!("  {contender}: {figures}");
    let Proxied { requests_per_second, cpu_per_request } = figures;
    results.add(Measure::ProxyCpu, contender.name(), cpu_per_request);
    results.add(Measure::ProxyRate, contender.name(), requests_per_second);
}
