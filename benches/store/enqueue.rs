//! Durable enqueues, against a plain log.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pollgate::clock;
use pollgate::store::MailboxStore;
use tokio::task::JoinSet;

use super::ground::{BODY, PRODUCERS, directory, limits, mailboxes, message, open};
use super::log::Log;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(4);

pub async fn run() {
    println!("enqueue: {PRODUCERS} producers, 1000 mailboxes, bodies of {BODY} bytes, {ROUNDS} rounds");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let home = directory();
        let sync = median(syncs(home.path()));
        let (log, _) = measure(log(home.path())).await;
        let (store, mut waits) = measure(store(home.path())).await;
        waits.sort();
        let p = |part: usize| waits[waits.len() * part / 1000];
        println!(
            "  log {log:6.0}/s   store {store:6.0}/s   ratio {:.2}   one sync {:.2} ms   an offer: p50 {:.2} ms, p99 {:.2} ms ({:.1} syncs)",
            store / log,
            ms(sync),
            ms(p(500)),
            ms(p(990)),
            p(990).as_secs_f64() / sync.as_secs_f64(),
        );
        ratios.push(store / log);
    }
    ratios.sort_by(f64::total_cmp);
    println!("  median ratio {:.2}", ratios[ROUNDS / 2]);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// How long one append and its sync take.
fn syncs(home: &Path) -> Vec<Duration> {
    let mut file = File::create(home.join("sync")).unwrap();
    let one = |_| {
        let began = Instant::now();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    };
    (0..200).map(one).collect()
}

/// How many a second, and how long each took.
async fn measure(tasks: JoinSet<Vec<Duration>>) -> (f64, Vec<Duration>) {
    let began = Instant::now();
    let waits: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    (waits.len() as f64 / began.elapsed().as_secs_f64(), waits)
}

fn log(home: &Path) -> JoinSet<Vec<Duration>> {
    let log = Arc::new(Log::open(&home.join("log")));
    let mut tasks = JoinSet::new();
    for _ in 0..PRODUCERS {
        let log = log.clone();
        tasks.spawn(async move {
            let (began, mut waits) = (Instant::now(), Vec::new());
            while began.elapsed() < ROUND {
                let one = Instant::now();
                log.append(vec![b'x'; BODY]).await;
                waits.push(one.elapsed());
            }
            if let Some(log) = Arc::into_inner(log) {
                log.close();
            }
            waits
        });
    }
    tasks
}

fn store(home: &Path) -> JoinSet<Vec<Duration>> {
    let store = open(&home.join("store"));
    let mut tasks = JoinSet::new();
    let (all, _) = tokio::sync::watch::channel(Vec::new());
    let making = {
        let (store, all) = (store.clone(), all.clone());
        async move { all.send_replace(mailboxes(&store, 1000).await) }
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(making));
    let all = all.borrow().clone();
    for producer in 0..PRODUCERS {
        let (store, all) = (store.clone(), all.clone());
        tasks.spawn(async move {
            let (began, mut waits) = (Instant::now(), Vec::new());
            let mut n = producer;
            while began.elapsed() < ROUND {
                let one = Instant::now();
                let mailbox = all[n % all.len()];
                let offered = store.offer(mailbox, message(), &limits(), clock::now()).await.unwrap();
                offered.outcome.unwrap();
                waits.push(one.elapsed());
                n += PRODUCERS;
            }
            waits
        });
    }
    tasks
}
