//! Memory of held polls.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::Instant;

use pollgate::gateway::descriptors;
use pollgate::http1::client::{Call, call, connect};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Mailbox, PATIENCE};
use super::servers::Poller;

/// As many as the usual descriptor limit of 20,000 allows on both sides.
pub const POLLS: usize = 15_000;

/// Descriptors that a process needs for anything else.
const OTHER_DESCRIPTORS: u64 = 1_000;

/// How many clients of a wave connect at once.
const CROWD: usize = 256;

/// The gateway alone, and a proxied request beside the held polls.
pub async fn run() {
    let server = Poller::pollgate(None);
    // One place is for the request.
    let clients = usize::try_from(descriptors::for_clients() - 1).unwrap();
    let held = Held::open(&server, possible_polls().min(clients)).await;
    let Poller::Pollgate(gateway, _) = &server else { unreachable!() };
    let mut other = connect(&gateway.public.to_string(), PATIENCE).await.unwrap();
    let began = Instant::now();
    let request = Call::new("GET", "/").with("Host", "im.example");
    let answer = call(&mut other, request, b"", 1024, PATIENCE).await.unwrap();
    assert_eq!(answer.head.status, 200);
    let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
    println!("hold: {held}; a proxied request meanwhile took {milliseconds:.2} ms");
}

/// How many polls the descriptor limit allows; says so if they are fewer than should be.
pub fn possible_polls() -> usize {
    let (limit, _) = rlimit::Resource::NOFILE.get().unwrap();
    let polls = POLLS.min(limit.saturating_sub(OTHER_DESCRIPTORS).try_into().unwrap());
    if polls < POLLS {
        println!("hold: the limit of {limit} descriptors allows {polls} polls instead of {POLLS}");
    }
    polls
}

/// Polls that a server holds.
pub struct Held<'a> {
    server: &'a Poller,
    polls: JoinSet<Client>,
    /// Ends the polls; the clients come back.
    hang_up: CancellationToken,
    count: usize,
    before_kib: u64,
    now_kib: u64,
}

impl<'a> Held<'a> {
    /// Every client makes a connection of its own and polls.
    pub async fn open(server: &'a Poller, count: usize) -> Self {
        server.process().settled().await;
        let before_kib = server.process().memory_kib();
        let (polls, hang_up) = (JoinSet::new(), CancellationToken::new());
        let mut held = Self { server, polls, hang_up, count, before_kib, now_kib: before_kib };
        for n in 0..count {
            held.hold(std::future::ready(server.client(n).await));
        }
        held.look().await;
        held
    }

    /// All clients close their connections, make new ones, and poll again.
    pub async fn reconnect(&mut self) {
        self.hang_up.cancel();
        let clients = std::mem::take(&mut self.polls).join_all().await;
        let mailboxes: Vec<Mailbox> = clients.into_iter().map(Client::disconnect).collect();
        // The server needs the descriptors of the old connections for the new ones.
        self.server.holds(0).await;
        self.server.process().settled().await;
        self.hang_up = CancellationToken::new();
        let crowd = Arc::new(Semaphore::new(CROWD));
        for mailbox in mailboxes {
            let crowd = crowd.clone();
            self.hold(async move {
                let _one_of_them = crowd.acquire().await.unwrap();
                mailbox.connect().await
            });
        }
        self.look().await;
    }

    /// KiB for each poll.
    pub fn kib_each(&self) -> f64 {
        (self.now_kib - self.before_kib) as f64 / self.count as f64
    }

    fn hold(&mut self, client: impl Future<Output = Client> + Send + 'static) {
        let hang_up = self.hang_up.clone();
        self.polls.spawn(async move {
            let mut client = client.await;
            let answer = hang_up.run_until_cancelled(client.poll()).await;
            assert!(answer.is_none(), "a poll was answered early");
            client
        });
    }

    async fn look(&mut self) {
        self.server.holds(self.count).await;
        self.server.process().settled().await;
        self.now_kib = self.server.process().memory_kib();
    }
}

impl Display for Held<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { count, before_kib, now_kib, .. } = self;
        write!(f, "{count} polls held, {:.2} KiB each ({before_kib} -> {now_kib} KiB)", self.kib_each())
    }
}
