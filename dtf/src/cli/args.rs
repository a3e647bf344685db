//! The arguments of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use dtf::tasks::checksum::Digest;

use super::exec::ExecArgs;
use super::jobs::Jobs;
#[cfg(feature = "full")]
use super::settings::ListedSettings;

/// Splits work into subtasks, runs them on many workers and counts every result once.
#[derive(Debug, Parser)]
#[command(name = "dtf", version, subcommand_required = true, infer_long_args = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one task in this process, with nothing installed, and wait for its end.
    ///
    /// Exit code 0: completed, nothing failed. 1: something failed. 2: usage error, nothing was begun. 128 and the signal's
    /// number, 130 for Ctrl-C: cancelled (a second signal exits at once). 141: whoever read the output has gone.
    Run(RunArgs),
    /// Apply a function to each item of a source, in this process or on a cluster, and wait for the end.
    ///
    /// `dtf map --source range:1000 --worker square --sink keep` serves remote workers on the loopback address while it runs. Exit codes
    /// are those of `dtf run`.
    Map(Box<super::map::MapArgs>),
    /// Run everything in this process, with nothing installed, and serve the dashboard and the HTTP API until told to end.
    Dev(super::dev::DevArgs),
    /// Run some or all roles of a cluster on its servers, until told to end.
    ///
    /// The first signal to end (SIGTERM, Ctrl-C) hands the work over to others, a second one exits at once. Exit code 0:
    /// handed over. 1: a server refused, or handing over took too long. 2: the configuration cannot be used.
    #[cfg(feature = "full")]
    Serve(ListedSettings),
    /// Create tasks of a cluster, see how they are, and say what is wanted of them.
    #[cfg(feature = "full")]
    Task(super::task::TaskArgs),
    /// Create several tasks together, each of which may wait for others.
    #[cfg(feature = "full")]
    Flow(super::flow::FlowArgs),
    /// Create tasks again and again, at the times that a cron expression names.
    #[cfg(feature = "full")]
    Schedule(super::schedule::ScheduleArgs),
    /// See and change between whom the executors are shared.
    #[cfg(feature = "full")]
    Group(super::group::GroupArgs),
    /// See and raise the numbers of parts into which the work of a cluster is divided.
    #[cfg(feature = "full")]
    Cluster(super::cluster::ClusterArgs),
    /// See the processes of a cluster, and empty one of its work.
    #[cfg(feature = "full")]
    Worker(super::worker::WorkerArgs),
    /// List and define types of task that data describes.
    #[cfg(feature = "full")]
    Type(super::task_type::TypeArgs),
    /// Make, list and revoke the tokens of the HTTP API.
    #[cfg(feature = "full")]
    Token(super::token::TokenArgs),
    /// Check or list the settings.
    #[cfg(feature = "full")]
    Config(super::config::ConfigArgs),
    /// Bring the schema of the database up to date.
    #[cfg(feature = "full")]
    Migrate(super::doctor::MigrateArgs),
    /// Check each server: whether it is there and what it is set to.
    #[cfg(feature = "full")]
    Doctor(super::doctor::DoctorArgs),
    /// Ask the service on this machine whether it is ready; exit code 0 where it is.
    #[cfg(feature = "full")]
    Health(super::health::HealthArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) what: What,
}

/// The arguments that every one-shot task takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The number of subtasks that run at once: a number, or N%, +N or -N of the number of processors [default: 100%]
    #[arg(short, long, global = true, value_name = "N", allow_hyphen_values = true)]
    pub(crate) jobs: Option<Jobs>,
    /// The task's parameters as JSON, instead of the type's own arguments
    #[arg(long, global = true, value_name = "JSON")]
    pub(crate) param: Option<String>,
    /// The name of the task
    #[arg(long, global = true, default_value = "")]
    pub(crate) name: String,
    /// The resource group that the task is charged to
    #[arg(long, global = true, default_value = "default")]
    pub(crate) group: String,
    /// The task's urgency: 2000 (low) to 9000 (high)
    #[arg(long, global = true, default_value_t = 6000, value_name = "NUMBER")]
    pub(crate) priority: u32,
    /// The longest time that the task may run, as in 90s, 30m or 2h [default: as long as it takes]
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    /// Keep the task's record in this SQLite file [default: in memory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// The reader of the summary: people (on standard error) or scripts (one JSON object on standard output)
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// No progress, and no summary for people; what goes wrong is said all the same
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ChecksumArgs {
    /// The directories, or the manifests to check
    #[arg(required_unless_present = "param", value_name = "DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// The file for the manifest; it appears complete or not at all [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Compare files with what these manifests say of them, as `sha256sum -c` does; - is standard input
    #[arg(long)]
    pub(crate) check: bool,
    /// The kind of digest: sha256, sha512, blake3 or md5; of a manifest, the digests' length tells
    #[arg(long, value_name = "KIND", default_value = "sha256")]
    pub(crate) digest: Digest,
    /// Read only files that have changed since FILE was made with --update; FILE.dtf-index remembers their sizes and times
    #[arg(long, requires = "out", conflicts_with = "check")]
    pub(crate) update: bool,
    /// Leave out what matches this pattern, written as in a .gitignore file
    #[arg(long, value_name = "PATTERN", conflicts_with = "check")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches the patterns in this file
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub(crate) exclude_from: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Hash every regular file below DIR, as `find DIR -type f | sort | xargs sha256sum` does; or check manifests
    Checksum(ChecksumArgs),
    /// Run a command once for each line of standard input, as xargs and GNU parallel do: `dtf run exec -j 4 -- gzip {} < list`
    ///
    /// In the command, `{}` stands for the line, `{.}` for it without its extension, `{/}` and `{//}` for its name and its
    /// directory, `{/.}` for the name without the extension, `{1}`, `{2/}` and so on for columns, `{#}` for the line's number, `{%}`
    /// for the number of the slot.
    Exec(Box<ExecArgs>),
    /// Do nothing, so many times: for trying things out
    Noop {
        /// The number of subtasks
        #[arg(long, required_unless_present = "param", value_name = "N")]
        count: Option<u64>,
        /// The time that each takes, as in 10ms
        #[arg(long, value_parser = duration, value_name = "TIME")]
        sleep: Option<Duration>,
        /// The share of them that fails, 0 to 1
        #[arg(long, value_name = "SHARE")]
        failure_rate: Option<f64>,
    },
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    lrmf_core::config::text::parse(text)
}

/// The names that could have been written where the first unknown one of these arguments stands.
pub(crate) fn known_below(args: &[OsString]) -> String {
    let root = Cli::command();
    let mut command = &root;
    for arg in args.iter().skip(1) {
        if let Some(below) = arg.to_str().and_then(|name| command.find_subcommand(name)) {
            command = below;
        }
    }
    let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    names.into_iter().filter(|name| *name != "help").collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_known_depends_on_where_one_is() {
        let at = |args: &[&str]| known_below(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(at(&["dtf", "x"]).starts_with("run"));
        #[cfg(feature = "full")]
        assert!(at(&["dtf", "task", "x"]).starts_with("submit, list, get, watch"));
        assert_eq!(at(&["dtf", "run", "x"]), "checksum, exec, noop");
    }
}
