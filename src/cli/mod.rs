//! The command line: one file per subcommand.
//!
//! [`ask`] is how some of them ask a running gateway, page after page; [`table`], [`words`] and [`output`] how
//! they say what it said.
//!
//! Exit codes: 0 fine, 1 failed, 2 bad usage or bad configuration. Data goes to stdout, everything else
//! to stderr.

mod agent;
mod ask;
mod check_config;
mod client;
mod completion;
mod default_config;
mod demo;
mod doctor;
mod healthcheck;
mod mailbox;
mod man;
mod output;
mod poll;
mod registry;
mod serve;
mod table;
mod trace;
mod user;
mod version;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, LoadError, Origin, Overrides, TokenError};

/// Bad usage or bad configuration.
const BAD_USAGE: u8 = 2;

/// Turns a legacy server's callbacks into messages that its clients can poll for.
#[derive(Debug, Parser)]
#[command(name = "pollgate", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every subcommand understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration and log")]
struct Global {
    /// The configuration file [default: /etc/pollgate/pollgate.toml if it exists, else built-in defaults]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How it is written: text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::ServeArgs),
    Agent(Box<agent::AgentArgs>),
    Demo(demo::DemoArgs),
    Poll(poll::PollArgs),
    Mailbox(mailbox::MailboxArgs),
    Client(client::ClientArgs),
    Trace(trace::TraceArgs),
    /// Check the configuration, and say everything that is wrong with it
    CheckConfig(check_config::CheckConfigArgs),
    Doctor(doctor::DoctorArgs),
    /// Print the commented sample configuration, with every setting at its default
    DefaultConfig,
    Registry(registry::RegistryArgs),
    /// Ask a running gateway whether it is alive
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Say who may poll with a password
    User(user::UserArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Write the manual pages, for packages
    Man(man::ManArgs),
    /// Print the version
    Version(version::VersionArgs),
}

impl Cli {
    /// Does what the arguments say.
    pub fn run(self) -> ExitCode {
        let global = self.global;
        let result = match self.command {
            Command::Serve(args) => serve::run(&global, args),
            Command::Agent(args) => agent::run(&global, *args),
            Command::Demo(args) => demo::run(&args),
            Command::Poll(args) => poll::run(args),
            Command::Mailbox(args) => mailbox::run(&global, &args),
            Command::Client(args) => client::run(&global, &args),
            Command::Trace(args) => trace::run(&global, &args),
            Command::CheckConfig(args) => check_config::run(&global, &args),
            Command::Doctor(args) => doctor::run(&global, &args),
            Command::DefaultConfig => default_config::run(),
            Command::Registry(args) => registry::run(&global, &args),
            Command::Healthcheck(args) => healthcheck::run(&global, &args),
            Command::User(args) => user::run(&global, args),
            Command::Completion(args) => completion::run(&args),
            Command::Man(args) => man::run(&args),
            Command::Version(args) => version::run(&args),
        };
        result.unwrap_or_else(|error| {
            eprintln!("pollgate: {error:#}");
            if error.is::<LoadError>() || error.is::<TokenError>() {
                ExitCode::from(BAD_USAGE)
            } else {
                ExitCode::FAILURE
            }
        })
    }
}

impl Global {
    /// The configuration: flags over environment over file over defaults.
    fn load(&self, flags: Overrides) -> Result<Config, LoadError> {
        self.origin(flags).load()
    }

    /// Where the configuration comes from.
    fn origin(&self, flags: Overrides) -> Origin {
        Origin {
            flag: self.config.clone(),
            environment: environment().collect(),
            overrides: self.over(flags),
        }
    }

    /// The same, only to know what is set, such as where the gateway is to be asked; without what its files say.
    fn load_to_ask(&self, flags: Overrides) -> Result<Config, LoadError> {
        config::load_to_ask(self.config.as_deref(), environment(), &self.over(flags))
    }

    fn over(&self, flags: Overrides) -> Overrides {
        Overrides { log_level: self.log_level.clone(), log_format: self.log_format.clone(), ..flags }
    }
}

/// The environment, as far as it is text: what is not cannot be a setting of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// How many sockets that are ready a thread takes from the kernel at once. What it takes beyond what it can do soon
/// waits, or is stolen by another thread, which costs more than to ask the kernel again.
const READY_AT_ONCE: usize = 16;

/// Runs a future to its end, on as many threads as there are processors.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_io_events_per_tick(READY_AT_ONCE).build()?.block_on(future)
}
