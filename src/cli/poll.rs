//! `pollgate poll`: a polling client for people.

mod print;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::block_on;
use crate::agent::{Ended, News, Poller, Target};
use crate::auth::digest::Credentials;
use crate::config::PASSWORD_VARIABLE;
use crate::tls::Trust;

/// How long a last acknowledgement may take when it is told to stop.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Poll a mailbox, print what arrives, and acknowledge it
///
/// The URL is the Content-Location that the subscription was answered with. Without --follow it polls
/// once; what it printed is acknowledged with a request that does not wait, and if that brings more, it is
/// printed and acknowledged too.
#[derive(Debug, Args)]
pub(super) struct PollArgs {
    /// The mailbox: http[s]://HOST[:PORT]/.pollgate/KEY
    #[arg(value_parser = Target::parse)]
    url: Target,
    /// How long the poll may be held: seconds, or with a unit such as 5m; the gateway may apply less or more.
    /// With 0 it is not held, and with --follow the gateway says how long to wait until the next
    #[arg(long, value_name = "TIME", default_value = "300", value_parser = wait)]
    wait: Duration,
    /// Poll again, for ever, also when the gateway is away for a while
    #[arg(long)]
    follow: bool,
    /// Print each message as a JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// The user's name, if the gateway asks for one; the password comes from POLLGATE_PASSWORD, or is
    /// asked for, or is the first line of stdin
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// With https: the certificate authorities (PEM) that are believed, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn wait(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let seconds = text.parse().map(Duration::from_secs);
    let wait = seconds.or_else(|_| humantime::parse_duration(text)).map_err(|error| error.to_string())?;
    if wait > LONGEST { Err("longer than a day".to_owned()) } else { Ok(wait) }
}

pub(super) fn run(args: PollArgs) -> anyhow::Result<ExitCode> {
    let credentials = match args.user {
        Some(user) => Some(Credentials { password: password(&user)?, user }),
        None => None,
    };
    let trust = match args.url.tls {
        true => Some(Arc::new(Trust::open(args.ca_file)?)),
        false => None,
    };
    let session = Session {
        poller: Poller::new(args.url, credentials, trust),
        wait: args.wait,
        json: args.json,
        follow: args.follow,
        pause: Duration::ZERO,
    };
    block_on(session.run())
}

fn password(user: &str) -> anyhow::Result<String> {
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        return Ok(password);
    }
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("Password of {user}: "))
            .context("cannot ask for the password");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the password from stdin")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

struct Session {
    poller: Poller,
    wait: Duration,
    json: bool,
    follow: bool,
    /// How long to wait before a next poll that is not held.
    pause: Duration,
}

impl Session {
    async fn run(mut self) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let stopped = tokio::select! {
            open = self.poll() => { open?; false }
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        if stopped {
            // What was printed is acknowledged if the gateway is there; if not, it comes again.
            let _ = timeout(LAST_WORD, self.acknowledge()).await;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Until it is done, or nobody reads what it prints.
    async fn poll(&mut self) -> anyhow::Result<()> {
        while self.poll_and_print(self.wait).await? && self.follow {
            if self.wait.is_zero() {
                sleep(self.pause).await;
            }
        }
        if self.follow { Ok(()) } else { self.acknowledge().await }
    }

    /// Polls without waiting until nothing more comes: each poll acknowledges what the one before brought.
    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        while self.poller.has_unacknowledged() && self.poll_and_print(Duration::ZERO).await? {}
        Ok(())
    }

    async fn poll_and_print(&mut self, wait: Duration) -> anyhow::Result<bool> {
        let retry = self.follow;
        let news = self.poller.poll(wait, retry, |trouble, pause| {
            eprintln!("pollgate: {trouble}; trying again in {:.1} s", pause.as_secs_f64());
        });
        let news: Result<News, Ended> = news.await;
        let news = news?;
        self.pause = self.poller.interval(&news);
        if news.dropped > 0 {
            let messages = if news.dropped == 1 { "message was" } else { "messages were" };
            eprintln!("pollgate: {} {messages} dropped before you polled", news.dropped);
        }
        for message in &news.messages {
            let open = if self.json { print::json(message) } else { print::text(message) }?;
            if !open {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
