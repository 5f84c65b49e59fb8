//! `pollgate doctor`: looks at the machine, and says what is not well and what to do.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{BAD_USAGE, Global, block_on, output};
use crate::config::{self, Config, Overrides};
use crate::doctor::{self, Finding, Level, Wishes};

const AREA: &str = "configuration";

/// Look at settings, ports, upstream, callbacks, disk and files, and say what to do
///
/// A line for each thing that is looked at: ok, warn, fail, or skip where it could not be looked at; what was seen;
/// and what to do. Exit code 0 if nothing failed, 1 if something did, 2 if the configuration is not valid.
/// Run it as the gateway's own user, before the gateway or beside it.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Subscribe to this node of the upstream for a moment, and see whether a callback arrives; a user's node gets a
    /// message
    #[arg(long, value_name = "PATH", value_parser = path)]
    subscribe: Option<String>,
    /// How long to wait for that callback, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
    /// Print what was found as a JSON object
    #[arg(long)]
    json: bool,
}

fn path(text: &str) -> Result<String, &'static str> {
    let is_path = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    is_path
        .then(|| text.to_owned())
        .ok_or("it must begin with / and have no spaces, such as /instmsg/aliases/test")
}

pub(super) fn run(global: &Global, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let (config, about_it) = load(global);
    let invalid = about_it.iter().any(|finding| finding.level == Level::Fail);
    let mut findings = Vec::new();
    let mut tell = |finding: Finding| {
        // Each as soon as it is seen: some take a while. Nobody may read any more.
        if !args.json {
            let _ = output::print(line(&finding));
        }
        findings.push(finding);
    };
    about_it.into_iter().for_each(&mut tell);
    if let Some(config) = config {
        let wishes = Wishes { subscribe: args.subscribe.clone(), wait: Duration::from_secs(args.wait) };
        block_on(async {
            doctor::examine(&config, &wishes, &mut tell).await;
            Ok(())
        })?;
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let failed = count(Level::Fail);
    if args.json {
        let report = json!({ "findings": findings, "failed": failed, "warned": count(Level::Warn) });
        output::print(format_args!("{}\n", output::json(&report)))?;
    }
    Ok(match (invalid, failed) {
        (true, _) => ExitCode::from(BAD_USAGE),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// The configuration, if one can be had, and what is to be said of it. Where only its files are of no use, the rest
/// is looked at all the same.
fn load(global: &Global) -> (Option<Config>, Vec<Finding>) {
    let variable = std::env::var("POLLGATE_CONFIG").ok();
    let file = config::locate(global.config.as_deref(), variable.as_deref());
    let name = file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    match global.load(Overrides::default()) {
        Ok(config) => {
            let warnings = config::warnings(&config).into_iter();
            let advice = "The gateway starts all the same, and says so in its log.";
            let mut findings: Vec<_> =
                warnings.map(|warning| Finding::warn(AREA, format!("{name}: {warning}"), advice)).collect();
            findings.insert(0, Finding::ok(AREA, format!("{name}: the configuration is valid")));
            (Some(config), findings)
        }
        Err(error) => {
            let advice = "The gateway does not start with it.";
            let problems = error.problems().iter();
            let findings = problems.map(|problem| Finding::fail(AREA, problem.to_string(), advice)).collect();
            (global.load_to_ask(Overrides::default()).ok(), findings)
        }
    }
}

fn line(finding: &Finding) -> String {
    let advice = finding.advice.as_deref().map_or_else(String::new, |advice| format!(". {advice}"));
    let text = format!("{:<4}  {:<13}  {}{advice}", finding.level.as_str(), finding.area, finding.seen);
    format!("{}\n", output::harmless(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line() {
        let finding = Finding::fail("upstream", "a\u{1b}[31m\nb", "Do it.");
        assert_eq!(line(&finding), "fail  upstream       a\\u{1b}[31m\\nb. Do it.\n");
        assert_eq!(line(&Finding::ok("disk", "fine")), "ok    disk           fine\n");
    }

    #[test]
    fn a_node_is_a_path() {
        for (text, valid) in
            [("/a/b?c", true), ("/", true), ("a", false), ("/a b", false), ("", false), ("/\r\n", false)]
        {
            assert_eq!(path(text).is_ok(), valid, "{text:?}");
        }
    }
}
