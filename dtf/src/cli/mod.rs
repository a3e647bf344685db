//! The command line: what can be asked for, and how it is refused.

mod args;
mod display;
mod oneshot;
mod progress;
mod run;

use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use self::args::{Cli, Command};

/// Exit code for a task that did not fully succeed.
const FAILED: u8 = 1;
/// Exit code for what was asked for wrongly. Nothing was begun.
const USAGE: u8 = 2;
/// Exit code for a task that was cancelled with Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Something asked for wrongly, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command and says how it went.
pub(crate) fn main() -> ExitCode {
    log_to_stderr();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let done = match cli.command {
        Command::Run(args) => run::run(args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dtf: {error:#}");
            ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
        }
    }
}

/// Logs what `RUST_LOG` asks for; errors only, where it asks for nothing.
fn log_to_stderr() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Says in one line what is wrong with a command line; help and version are printed as they are.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        };
    }
    eprintln!("dtf: {}", one_line(error));
    ExitCode::from(USAGE)
}

fn one_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let asked = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!(
                "{asked:?} is unknown; known are: {}",
                args::known_below(&std::env::args_os().collect::<Vec<_>>())
            )
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let known = args::known_below(&std::env::args_os().collect::<Vec<_>>());
            format!("something is missing; write one of: {known} (dtf --help says more)")
        }
        _ => {
            let text = error.to_string();
            let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
            let words = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
            let sentence = words.collect::<Vec<_>>().join(" ");
            sentence.trim_start_matches("error: ").to_owned()
        }
    }
}
