//! Asking a running gateway: one question, one answer; and page after page.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::form_urlencoded;

use super::Global;
use crate::cli::output::{self, harmless};
use crate::config::{Overrides, Token, reachable};
use crate::http1::client::{Answer, Call, CallError, call, connect};
use crate::http1::reason_phrase;

/// For the connection, and for the answer: a gateway that takes longer is not well.
const WITHIN: Duration = Duration::from_secs(30);

/// More than a page of the largest messages takes, with every byte of them escaped.
const LARGEST_ANSWER: usize = 512 * 1024 * 1024;

/// Whom to ask, and how to say what it said.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// Where the gateway's admin listener is [default: listen.admin of the configuration]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// The file with the operators' token [default: admin.token_file of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print what the gateway's API says, as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Asking {
    /// The gateway that is meant.
    pub(super) fn gateway(&self, global: &Global) -> anyhow::Result<Gateway> {
        let flags = Overrides { admin: self.admin.clone(), ..Overrides::default() };
        let config = global.load_to_ask(flags)?;
        let address = reachable(config.listen.admin).to_string();
        Ok(Gateway { address, token: self.token(config.admin.token_file)? })
    }

    fn token(&self, configured: Option<PathBuf>) -> anyhow::Result<Option<Token>> {
        let (file, from) = match (&self.token_file, configured) {
            (Some(file), _) => (file.clone(), "--token-file"),
            (None, Some(file)) => (file, "admin.token_file"),
            (None, None) => return Ok(None),
        };
        let token = Token::read(&file).with_context(|| format!("{from}: {}", file.display()))?;
        Ok(Some(token))
    }
}

/// A gateway that can be asked.
pub(super) struct Gateway {
    address: String,
    token: Option<Token>,
}

/// What comes on a stream of events.
pub(super) enum Seen {
    /// Whatever happens from now on is seen.
    Begin,
    /// Something happened.
    Event(Value),
}

/// What there is to know of a refusal (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: String,
}

impl Gateway {
    /// What the API says; what it refuses is an error in its words.
    pub(super) async fn ask(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        self.tell(method, path, &Value::Null).await
    }

    /// The same with content, unless that is null.
    pub(super) async fn tell(&self, method: &str, path: &str, content: &Value) -> anyhow::Result<Value> {
        let body = if content.is_null() { String::new() } else { content.to_string() };
        // The error tells its cause itself.
        let answer = self
            .call(method, path, body.as_bytes())
            .await
            .map_err(|e| anyhow!("http://{}: {e}", self.address))?;
        let status = answer.head.status;
        if status == 200 {
            return serde_json::from_slice(&answer.body)
                .with_context(|| format!("http://{}: unreadable answer", self.address));
        }
        Err(self.refusal(status, &answer.body))
    }

    /// What a refusal says.
    fn refusal(&self, status: u16, body: &[u8]) -> anyhow::Error {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if status == 401 => {
                anyhow!("{}; --token-file says which that is", harmless(&problem.detail))
            }
            Ok(problem) => anyhow!("{}: {}", harmless(&problem.title), harmless(&problem.detail)),
            Err(_) => anyhow!(
                "http://{}: answered {status} {}; is this the admin listener of a gateway?",
                self.address,
                reason_phrase(status)
            ),
        }
    }

    /// Follows a stream of events; `see` is given each in JSON, and says whether there is anybody who wants the
    /// next.
    pub(super) async fn follow(
        &self,
        path: &str,
        mut see: impl FnMut(Seen) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let failed = |error: std::io::Error| anyhow!("http://{}: {error}", self.address);
        let mut stream =
            BufReader::new(timeout(WITHIN, TcpStream::connect(&self.address)).await?.map_err(failed)?);
        let token = self
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("Authorization: {}\r\n", token.authorization()));
        // HTTP/1.0 has no chunks: the stream is as it comes, to the end of the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n{token}\r\n", self.address);
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut lines = stream.lines();
        let status = timeout(WITHIN, lines.next_line()).await?.map_err(failed)?.unwrap_or_default();
        while lines.next_line().await.map_err(failed)?.is_some_and(|line| !line.is_empty()) {}
        if status.split(' ').nth(1) != Some("200") {
            let body = lines.next_line().await.map_err(failed)?.unwrap_or_default();
            return Err(self.refusal(
                status.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0),
                body.as_bytes(),
            ));
        }
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            let seen = match line.split_once(": ") {
                Some(("data", data)) => Seen::Event(serde_json::from_str(data)?),
                Some(("", "following")) => Seen::Begin,
                _ => continue,
            };
            if !see(seen)? {
                return Ok(());
            }
        }
        Err(anyhow!("http://{}: the gateway ended the stream", self.address))
    }

    async fn call(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, CallError> {
        let mut connection = connect(&self.address, WITHIN).await?;
        let question = Call::new(method, path).with("Host", &self.address).with("Connection", "close");
        let question = match &self.token {
            Some(token) => question.with("Authorization", token.authorization()),
            None => question,
        };
        let question = match method {
            "POST" | "PUT" => question.with("Content-Length", body.len()),
            _ => question,
        };
        let question =
            if body.is_empty() { question } else { question.with("Content-Type", "application/json") };
        call(&mut connection, question, body, LARGEST_ANSWER, WITHIN).await
    }

    /// Asks for a list page by page; `of` is what it is a list of. `see` is given each page, and says
    /// whether there is anybody who wants the next.
    pub(super) async fn pages(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        of: &str,
        mut see: impl FnMut(Vec<Value>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut after: Option<u64> = None;
        loop {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(parameters).append_pair("limit", "1000");
            if let Some(after) = after {
                query.append_pair("after", &after.to_string());
            }
            let mut page = self.ask("GET", &format!("{path}?{}", query.finish())).await?;
            let Value::Array(items) = page[of].take() else {
                return Err(anyhow!("http://{}: the answer is no list of {of}", self.address));
            };
            let next = page["next"].as_u64();
            // Only ahead: no answer makes it ask for ever.
            if !see(items)? || next.is_none_or(|next| after.is_some_and(|after| next <= after)) {
                return Ok(());
            }
            after = next;
        }
    }

    /// Prints a list as one JSON object, page by page as it comes.
    pub(super) async fn print_pages(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        of: &str,
    ) -> anyhow::Result<()> {
        let mut before = format!("{{\"{of}\":[");
        let mut open = true;
        self.pages(path, parameters, of, |items| {
            let mut text = String::new();
            for item in &items {
                text.push_str(&before);
                text.push_str(&output::json(item));
                before = ",".to_owned();
            }
            open = output::print(&text)?;
            Ok(open)
        })
        .await?;
        if open {
            let start = if before == "," { "" } else { &before };
            output::print(format_args!("{start}]}}\n"))?;
        }
        Ok(())
    }
}
