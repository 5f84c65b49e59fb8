//! Asking a running gateway: one question, one answer; and page after page.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
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
        match serde_json::from_slice::<Problem>(&answer.body) {
            Ok(problem) if status == 401 => {
                Err(anyhow!("{}; --token-file says which that is", harmless(&problem.detail)))
            }
            Ok(problem) => Err(anyhow!("{}: {}", harmless(&problem.title), harmless(&problem.detail))),
            Err(_) => Err(anyhow!(
                "http://{}: answered {status} {}; is this the admin listener of a gateway?",
                self.address,
                reason_phrase(status)
            )),
        }
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
