//! The `dtf` command: what can be asked for, and how it is refused.
//!
//! A program that has kinds of task of its own gives them to [`main`], and has the whole command with them:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use dtf::tasks::noop::Noop;
//!
//! fn main() -> ExitCode {
//!     dtf::cli::main(vec![Noop::registration()])
//! }
//! ```

mod args;
#[cfg(feature = "full")]
mod cluster;
#[cfg(feature = "full")]
mod config;
mod dev;
mod display;
#[cfg(feature = "full")]
mod doctor;
#[cfg(feature = "full")]
mod document;
mod exec;
#[cfg(feature = "full")]
mod flow;
#[cfg(feature = "full")]
mod group;
mod guard;
#[cfg(feature = "full")]
mod health;
mod jobs;
mod log_lines;
mod map;
mod oneshot;
mod progress;
#[cfg(feature = "full")]
mod remote;
mod run;
#[cfg(feature = "full")]
mod schedule;
#[cfg(feature = "full")]
mod serve;
#[cfg(feature = "full")]
mod settings;
mod signals;
mod table;
#[cfg(feature = "full")]
mod task;
#[cfg(feature = "full")]
mod task_type;
#[cfg(feature = "full")]
mod token;
#[cfg(feature = "full")]
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use dtf_model::plugin::TaskPluginRegistration;
use lrmf_core::text::one_line;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use self::args::{Cli, Command};

/// Exit code for a task that did not fully succeed.
const FAILED: u8 = 1;
/// Exit code for what was asked for wrongly. Nothing was begun.
const USAGE: u8 = 2;
/// The number that shells add to that of a signal that ended a command.
const SIGNALLED: u8 = 128;
/// Exit code for a task that was cancelled with Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Exit code for a run that ended as nobody read its output any more: what shells make of SIGPIPE.
const UNREAD: u8 = 141;

/// The subcommands that need the feature `full`.
const NEED_SERVERS: [&str; 13] = [
    "serve", "task", "type", "schedule", "flow", "group", "cluster", "worker", "token", "config", "migrate",
    "doctor", "health",
];

/// Something asked for wrongly, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command that the arguments name, and says how it went. Services and clients know these kinds of task.
pub fn main(types: Vec<TaskPluginRegistration>) -> ExitCode {
    if let Some(code) = guard::run(std::env::args_os()) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    #[cfg(feature = "full")]
    let done = match cli.command {
        // Its configuration says what is logged, and how.
        Command::Serve(settings) => serve::run(&settings.0, types),
        other => {
            log_to_stderr();
            aside(other, types)
        }
    };
    #[cfg(not(feature = "full"))]
    let done = {
        log_to_stderr();
        match cli.command {
            Command::Run(args) => run::run(args),
            Command::Map(args) => map::run(&args, types),
            Command::Dev(args) => dev::run(&args, types),
        }
    };
    match done {
        Ok(code) => code,
        // Whoever read the output has what they wanted.
        Err(error) if is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
        }
    }
}

fn is_unread(error: &anyhow::Error) -> bool {
    let broken = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(broken)
}

/// Says something to people, in one line of standard error. Where nobody can be told, the exit code has to do.
fn say(words: &str) {
    // A newline in what an error says is no user's doing.
    eprint(&format!("dtf: {}", one_line(&words.replace('\n', " "))));
}

/// Writes lines to standard error.
fn eprint(lines: &str) {
    let mut err = std::io::stderr().lock();
    writeln!(err, "{lines}").unwrap_or_default();
}

/// Everything but serving.
#[cfg(feature = "full")]
fn aside(command: Command, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Map(args) => map::run(&args, types),
        Command::Dev(args) => dev::run(&args, types),
        Command::Serve(settings) => serve::run(&settings.0, types),
        Command::Task(args) => task::run(args, types),
        Command::Flow(args) => flow::run(args, types),
        Command::Schedule(args) => schedule::run(args, types),
        Command::Group(args) => group::run(args, types),
        Command::Cluster(args) => cluster::run(&args),
        Command::Worker(args) => worker::run(args, types),
        Command::Type(args) => task_type::run(args, types),
        Command::Token(args) => token::run(args, types),
        Command::Config(args) => config::run(&args),
        Command::Migrate(args) => doctor::migrate(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Health(args) => health::run(&args),
    }
}

/// Logs what `RUST_LOG` asks for; errors only, where it asks for nothing.
fn log_to_stderr() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(log_lines::LogLines)
        .init();
}

/// Says in one line what is wrong with a command line; help and version are printed as they are.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
            _ => ExitCode::SUCCESS,
        };
    }
    say(&refusal(error));
    ExitCode::from(USAGE)
}

fn refusal(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let asked = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            if cfg!(not(feature = "full")) && NEED_SERVERS.contains(&asked.as_str()) {
                return format!(
                    "this dtf was built without servers; {asked:?} needs one built with --features full"
                );
            }
            format!(
                "{asked:?} is unknown; known are: {}",
                args::known_below(&std::env::args_os().collect::<Vec<_>>())
            )
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let known = args::known_below(&std::env::args_os().collect::<Vec<_>>());
            format!("something is missing; write one of: {known} (dtf --help says more)")
        }
        ErrorKind::UnknownArgument => {
            let asked = context(ContextKind::InvalidArg).unwrap_or_default();
            let near = context(ContextKind::SuggestedArg);
            let meant = near.map_or("--help lists all".to_owned(), |near| format!("did you mean {near}?"));
            format!("{asked} is unknown here; {meant}")
        }
        _ => {
            let text = error.to_string();
            let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
            let words = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
            let sentence = words.collect::<Vec<_>>().join(" ");
            // What the parser of numbers says is not for people.
            let sentence = sentence.replace("invalid digit found in string", "it must be a whole number");
            sentence.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Makes wrong settings a usage error. Errors of servers stay as they are.
#[cfg(feature = "full")]
fn connecting(error: crate::serve::ConnectError) -> anyhow::Error {
    match error {
        crate::serve::ConnectError::Config(wrong) => Usage(wrong.to_string()).into(),
        other => other.into(),
    }
}
