//! The settings on the command line: a flag for each, and the file.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use dtf::config::{Effective, Sources, read, settings};

use super::Usage;
use super::args::Output;

/// The file that is read where none is named, if it is there.
const USUAL_FILE: &str = "dtf.toml";

/// The arguments of all commands that work with a cluster.
#[derive(Debug, Args)]
pub(crate) struct Head {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// For people, or for scripts: one JSON document on standard output
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// The sources of settings, from the command line. Each is a flag; the help of the command does not list them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

impl Settings {
    /// Reads the settings from all places.
    ///
    /// # Errors
    /// [`Usage`], saying what is wrong.
    pub(crate) fn load(&self) -> Result<Effective, Usage> {
        let usual = || Some(PathBuf::from(USUAL_FILE)).filter(|file| file.exists());
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let sources = Sources {
            file: self.file.clone().or_else(usual),
            environment: std::env::vars_os().filter_map(text).collect(),
            flags: self.flags.clone(),
        };
        read(&sources).map_err(|error| Usage(error.to_string()))
    }
}

/// The same, of a service: the help lists all settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedSettings(pub(crate) Settings);

/// The place of a setting in the help of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Help {
    Listed,
    Hidden,
}

/// Adds the file and the flags of all settings to a command.
fn with_flags(command: Command, shown: Help) -> Command {
    let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("DTF_CONFIG")
            .global(true)
            .value_parser(value_parser!(PathBuf))
            .help("The file with the settings, which can also be given as DTF_… in the environment and as flags; `dtf config keys` lists them [default: dtf.toml, if it is there]");
    let flag = |setting: settings::Setting| {
        let help = format!("{} [{}]", setting.help, setting.variable());
        setting.flag().map(|long| {
            let arg = Arg::new(setting.key).long(long).value_name("VALUE").help(help);
            let arg = arg.global(true).help_heading("Settings").hide(shown == Help::Hidden);
            arg.hide_short_help(setting.key != "role")
        })
    };
    command.arg(file).args(settings::all().into_iter().filter_map(flag))
}

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        with_flags(command, Help::Hidden)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flag = |setting: settings::Setting| {
            setting.flag()?;
            // A subcommand may have an option of this name that means something else, as `dtf token create --role`.
            let given = matches.try_get_one::<String>(setting.key).ok().flatten()?;
            Some((setting.key.to_owned(), given.clone()))
        };
        let flags = settings::all().into_iter().filter_map(flag).collect();
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ListedSettings {
    fn augment_args(command: Command) -> Command {
        with_flags(command, Help::Listed)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ListedSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Settings::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
