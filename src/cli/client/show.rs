//! `pollgate client list`, and how one setting is shown.

use std::fmt::Write as _;

use anstyle::Style;
use serde::Deserialize;

use super::PATH;
use crate::cli::ask::Gateway;
use crate::cli::output::{self, harmless};
use crate::cli::table::{Column, Table};

const NAME: Style = Style::new().dimmed();

/// The API's answer, as far as people are shown it. What a newer gateway adds is left out.
#[derive(Deserialize)]
pub(super) struct Setting {
    principal: String,
    mode: String,
    polling_period_minutes: u64,
    ports: Option<String>,
    set_by: String,
    set_at: String,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    later_policies: Vec<String>,
    effective: String,
}

impl Setting {
    pub(super) fn lines(&self) -> String {
        let mut lines = format!("client {}\n", harmless(&self.principal));
        for (name, value) in [
            ("mode", self.mode.clone()),
            ("period", format!("{} min", self.polling_period_minutes)),
            ("ports", self.ports.clone().unwrap_or_else(|| "random".to_owned())),
            ("set", format!("by the {}, {}", self.set_by, self.set_at)),
            ("effect", self.effective.clone()),
            (
                "overruled",
                if self.later_policies.is_empty() { "by no policy".to_owned() } else { self.overruled() },
            ),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "  {NAME}{name:<9}{NAME:#}  {}", harmless(&value));
        }
        lines
    }

    fn overruled(&self) -> String {
        format!("where a policy applies that was written later: {}", self.later_policies.join(", "))
    }

    /// What is valid and yet not as it was probably meant.
    pub(super) fn warn(&self) {
        for warning in &self.warnings {
            eprintln!("pollgate: warning: {}", harmless(warning));
        }
    }

    fn row(self) -> [String; 6] {
        let later =
            if self.later_policies.is_empty() { "-".to_owned() } else { self.later_policies.join(",") };
        let ports = self.ports.unwrap_or_else(|| "-".to_owned());
        [self.principal, self.mode, self.polling_period_minutes.to_string(), ports, self.set_at, later]
    }
}

pub(super) async fn list(gateway: &Gateway, json: bool) -> anyhow::Result<()> {
    if json {
        return gateway.print_pages(PATH, &[], "clients").await;
    }
    let mut table = Table::new([
        Column::Left("PRINCIPAL"),
        Column::Left("MODE"),
        Column::Right("MINUTES"),
        Column::Left("PORTS"),
        Column::Left("SET"),
        Column::Left("OVERRULED BY"),
    ]);
    gateway
        .pages(PATH, &[], "clients", |clients| {
            for client in clients {
                table.push(serde_json::from_value::<Setting>(client)?.row());
            }
            Ok(true)
        })
        .await?;
    if table.is_empty() {
        eprintln!("nothing is set");
    } else {
        output::print(&table)?;
    }
    Ok(())
}
