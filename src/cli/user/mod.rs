//! `pollgate user`: who may poll with a password. Writes the file of users; a running gateway sees the change
//! within a second.

mod change;
mod password;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{BAD_USAGE, Global, output};
use crate::auth::htdigest::{self, BadName, Users};
use crate::config::Overrides;
use crate::watched;

#[derive(Debug, Args)]
pub(super) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user, or set another password
    ///
    /// The password is asked for twice, or is the first line of stdin if that is not a terminal.
    Add(OneArgs),
    /// Print the users' names, and which algorithms there is a password for
    List(AllArgs),
    /// Remove a user
    Remove(OneArgs),
}

#[derive(Debug, Args)]
struct AllArgs {
    /// The file of users [default: auth.users_file of the configuration]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the password is for [default: auth.realm of the configuration]
    #[arg(long, value_name = "REALM", value_parser = realm)]
    realm: Option<String>,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OneArgs {
    /// The user's name, as the client sends it: with DOMAIN\ in front if it does that
    #[arg(value_parser = user)]
    name: String,
    #[command(flatten)]
    all: AllArgs,
}

fn user(name: &str) -> Result<String, BadName> {
    htdigest::check_user(name).map(|()| name.to_owned())
}

fn realm(text: &str) -> Result<String, &'static str> {
    let valid = htdigest::is_realm(text).then(|| text.to_owned());
    valid.ok_or("it must be ASCII text without a colon, a quote or a backslash")
}

pub(super) fn run(global: &Global, args: UserArgs) -> anyhow::Result<ExitCode> {
    let (UserCommand::Add(OneArgs { all, .. })
    | UserCommand::List(all)
    | UserCommand::Remove(OneArgs { all, .. })) = &args.command;
    let (file, realm) = match (&all.file, &all.realm) {
        (Some(file), Some(realm)) => (Some(file.clone()), realm.clone()),
        (file, realm) => {
            let auth = global.load_to_ask(Overrides::default())?.auth;
            (file.clone().or(auth.users_file), realm.clone().unwrap_or(auth.realm))
        }
    };
    let Some(file) = file else {
        eprintln!("pollgate: which file? Set auth.users_file in the configuration, or give --file");
        return Ok(ExitCode::from(BAD_USAGE));
    };
    match &args.command {
        UserCommand::Add(one) => add(&file, &realm, one),
        UserCommand::List(all) => list(&file, &realm, all.json),
        UserCommand::Remove(one) => remove(&file, &realm, one),
    }
}

fn add(file: &Path, realm: &str, args: &OneArgs) -> anyhow::Result<ExitCode> {
    let password = password::new(&args.name)?;
    let add = |text: &[u8]| Some(htdigest::with_user(text, &args.name, realm, &password));
    let replaced = change::change(file, add).with_context(|| file.display().to_string())?;
    let done = if replaced == Some(true) { "password changed" } else { "added" };
    report(file, realm, args, done)
}

fn remove(file: &Path, realm: &str, args: &OneArgs) -> anyhow::Result<ExitCode> {
    let remove = |text: &[u8]| Some((htdigest::without_user(text, &args.name, realm)?, ()));
    let removed = change::change(file, remove).with_context(|| file.display().to_string())?;
    anyhow::ensure!(removed.is_some(), "{}: there is no user {} of realm {realm}", file.display(), args.name);
    report(file, realm, args, "removed")
}

fn report(file: &Path, realm: &str, args: &OneArgs, done: &str) -> anyhow::Result<ExitCode> {
    if args.all.json {
        let report =
            json!({ "user": args.name, "realm": realm, "file": file.display().to_string(), "done": done });
        output::print(format_args!("{report}\n"))?;
    } else {
        output::print(format_args!("{}: {done}\n", args.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(file: &Path, realm: &str, json: bool) -> anyhow::Result<ExitCode> {
    let text = watched::read(file).with_context(|| file.display().to_string())?;
    let (users, malformed) = Users::read(&text, realm);
    for line in malformed {
        eprintln!("pollgate: {}:{line}: this line is malformed", file.display());
    }
    let users = users.list().into_iter();
    let mut users =
        users.map(|(name, algorithms)| (name, algorithms.into_iter().map(|a| a.name()).collect()));
    if json {
        let user = |(name, algorithms): (&str, Vec<&str>)| json!({ "name": name, "algorithms": algorithms });
        let users: Vec<_> = users.map(user).collect();
        let report = json!({ "realm": realm, "file": file.display().to_string(), "users": users });
        output::print(format_args!("{report}\n"))?;
    } else {
        let line = |(name, algorithms): (&str, Vec<&str>)| format!("{name}  {}\n", algorithms.join(", "));
        output::print(users.by_ref().map(line).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}
