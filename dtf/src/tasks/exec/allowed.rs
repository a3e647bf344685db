//! Commands that an operator allows, for the items of others' tasks: argument vectors with a name, whose placeholders items fill.
//!
//! Whoever creates a task chooses among the names, and nothing else. No shell is involved, the environment is empty but for what the
//! operator puts there, and time and output are limited.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::ExecuteContext;
use dtf_types::{CommandError, Commands};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::plain;
use super::Guarded;
use super::command::{self, CANNOT_RUN, Ended, Leftovers, NOT_FOUND};
use super::placeholder::Vector;
use super::run::{Limit, Running, TIMED_OUT};
use super::shortage;
use super::tail::Tails;

/// The longest grace: what is cancelled has to end within that of its task.
const LONGEST_GRACE: Duration = Duration::from_secs(5);
/// The most that is kept of an output: two of them fit into a result.
const MOST_OUTPUT: usize = 256 * 1024;
/// The most that an error tells of an output.
const TOLD: usize = 1024;

/// A command that may be run for items.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedCommand {
    /// The program, by its absolute path, and its arguments. `{}` stands for the item, `{name}` for a field of it.
    pub run: Vec<String>,
    /// The variables of its environment. Default: none.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// True if it has the environment of this process, too. Default false.
    #[serde(skip)]
    pub inherits: bool,
    /// The directory that it runs in. Default `/`.
    #[serde(default = "root")]
    pub dir: PathBuf,
    /// True if the item is written to its standard input, as JSON. Default false.
    #[serde(default)]
    pub stdin: bool,
    /// The longest time that it may run; that of its task may be shorter. Default 5 minutes.
    #[serde(default = "timeout", with = "lrmf_core::config::text")]
    pub timeout: Duration,
    /// The time that it has to end after SIGTERM, before it is killed; up to 5 s. Default 2 s.
    #[serde(default = "grace", with = "lrmf_core::config::text")]
    pub grace: Duration,
    /// The number of bytes that are kept of the end of each of its outputs; up to 262,144. Default 16,384.
    #[serde(default = "output")]
    pub output: usize,
    /// True if what it writes to standard output is one JSON value, which is the result. Default false: the result has its exit code and
    /// the ends of its outputs.
    #[serde(default)]
    pub json: bool,
}

fn root() -> PathBuf {
    PathBuf::from("/")
}

fn timeout() -> Duration {
    Duration::from_secs(300)
}

fn grace() -> Duration {
    Duration::from_secs(2)
}

fn output() -> usize {
    16 * 1024
}

impl AllowedCommand {
    /// Returns a command of the person at the keyboard, which has the surroundings of this process. Without a placeholder it gets the
    /// item as its last argument.
    pub fn of_this_process(mut run: Vec<String>) -> Self {
        if !Vector::parse(&run).takes_items() {
            run.push("{}".to_owned());
        }
        Self {
            run,
            env: BTreeMap::new(),
            inherits: true,
            dir: PathBuf::from("."),
            stdin: false,
            timeout: Duration::MAX,
            grace: grace(),
            output: output(),
            json: false,
        }
    }

    fn check(&self) -> Result<(), String> {
        let Some(program) = self.run.first() else {
            return Err("run is empty; it takes a program and its arguments".to_owned());
        };
        if Vector::parse(&self.run).program_varies() {
            return Err("the program has a placeholder; items fill arguments only".to_owned());
        }
        if !self.inherits && !Path::new(program).is_absolute() {
            return Err(format!("the program is {program:?}; it takes an absolute path"));
        }
        if !self.dir.is_absolute() && !self.inherits {
            return Err(format!("dir is {}; it takes an absolute path", self.dir.display()));
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(format!("env has {name:?}, which is no name of a variable"));
        }
        if self.timeout.is_zero() || self.grace > LONGEST_GRACE {
            return Err(format!("timeout must be more than 0, and grace at most {LONGEST_GRACE:?}"));
        }
        if self.output > MOST_OUTPUT {
            return Err(format!("output is {}; at most {MOST_OUTPUT} bytes are kept", self.output));
        }
        Ok(())
    }
}

/// The commands that this process may run for items.
#[derive(Clone, Default)]
pub struct AllowedCommands {
    commands: Arc<BTreeMap<String, (AllowedCommand, Vector)>>,
    running: Running,
    leftovers: Arc<Leftovers>,
}

impl fmt::Debug for AllowedCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AllowedCommands").field(&self.commands).finish()
    }
}

impl AllowedCommands {
    /// Returns these commands, by their names.
    ///
    /// # Errors
    /// The first command that cannot be used, and what is allowed, in one line.
    pub fn new(commands: BTreeMap<String, AllowedCommand>) -> Result<Self, String> {
        for (name, command) in &commands {
            dtf_types::check_function_name(name).map_err(|error| error.to_string())?;
            command.check().map_err(|why| format!("the command {name:?} cannot be used: {why}"))?;
        }
        let parsed = commands.into_iter().map(|(name, command)| {
            let vector = Vector::parse(&command.run);
            (name, (command, vector))
        });
        Ok(Self { commands: Arc::new(parsed.collect()), ..Self::default() })
    }

    /// Reads the commands of a file: a TOML table for each.
    ///
    /// # Errors
    /// The file cannot be read or has something else in it; in one line.
    #[cfg(feature = "full")]
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {}", path.display(), plain(&error)))?;
        let commands =
            toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.message()))?;
        Self::new(commands).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Returns the handle for a process beside this one that ends the commands should this one be killed.
    pub fn guarded(&self) -> Guarded {
        Guarded(self.running.watcher.clone())
    }

    /// Returns the longest grace of a command.
    pub fn grace(&self) -> Duration {
        self.commands.values().map(|(command, _)| command.grace).max().unwrap_or_default()
    }

    /// Kills what runs, and lets nothing start any more.
    pub fn kill_all(&self) {
        self.running.kill_all();
    }
}

#[async_trait]
impl Commands for AllowedCommands {
    fn names(&self) -> Vec<String> {
        self.commands.keys().cloned().collect()
    }

    async fn run(
        &self,
        name: &str,
        item: &Bytes,
        timeout: Duration,
        context: &ExecuteContext,
    ) -> Result<Bytes, CommandError> {
        let Some((allowed, vector)) = self.commands.get(name) else {
            return Err(CommandError::Elsewhere(format!("this process has no command {name:?}")));
        };
        let parsed = serde_json::from_slice(item).map_err(|error| CommandError::Final(error.to_string()))?;
        let arguments = vector.fill(&parsed).map_err(CommandError::Final)?;
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(&allowed.dir);
        if !allowed.inherits {
            command.env_clear();
        }
        command.envs(&allowed.env).env("DTF_KEY", context.id.to_string());
        command.stdin(if allowed.stdin { Stdio::piped() } else { Stdio::null() });
        let entered = self.running.enter();
        let group = Arc::clone(&entered.group);
        let started = tokio::task::spawn_blocking(move || group.start(&mut command)).await;
        let child = match started.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(Some(child)) => child,
            Ok(None) => return Err(CommandError::Elsewhere("this process ends".to_owned())),
            Err(error) => {
                return Err(match shortage::missing(&error) {
                    Some(missing) => CommandError::Elsewhere(missing.to_owned()),
                    None => CommandError::Final(format!("{name} cannot be run: {}", plain(&error))),
                });
            }
        };
        let mut tails = Tails { most: allowed.output, ..Tails::default() };
        let input: &[u8] = if allowed.stdin { item } else { b"" };
        let limit = Limit { timeout: allowed.timeout.min(timeout), grace: allowed.grace };
        let attending = command::attend(child, &entered.group, input, &mut tails, &self.leftovers);
        let ended = entered.within(limit, &context.cancelled, attending).await;
        match ended {
            Ok((_, true)) => Err(CommandError::Final("cancelled".to_owned())),
            Ok((ended, false)) => result(name, allowed, &ended, &tails),
            Err(command::CannotShow(error)) => Err(CommandError::Retryable(error.to_string())),
        }
    }
}

fn result(name: &str, allowed: &AllowedCommand, ended: &Ended, tails: &Tails) -> Result<Bytes, CommandError> {
    if ended.code != 0 {
        return Err(failure(name, ended, tails));
    }
    let text = tails.out.text();
    if !allowed.json {
        let mut result = json!({ "exit_code": 0, "stdout": text, "stderr": tails.err.text() });
        for (stream, cut) in [("stdout_cut", tails.out.cut()), ("stderr_cut", tails.err.cut())] {
            if cut > 0 {
                result[stream] = cut.into();
            }
        }
        return Ok(result.to_string().into());
    }
    if tails.out.cut() > 0 {
        return Err(CommandError::Final(format!("{name} wrote more than {} bytes", allowed.output)));
    }
    serde_json::from_str::<Value>(&text)
        .map(|value| value.to_string().into())
        .map_err(|error| CommandError::Final(format!("what {name} wrote is no JSON value: {error}")))
}

fn failure(name: &str, ended: &Ended, tails: &Tails) -> CommandError {
    let mut words = match (ended.code, ended.signal) {
        (TIMED_OUT, _) if !ended.why.is_empty() => format!("{name} {}", ended.why),
        (_, 0) => format!("{name} ended with exit code {}", ended.code),
        (_, signal) => format!("{name} was ended by signal {signal}"),
    };
    let text = tails.err.text();
    let text = text.trim_end();
    let start = text.len().saturating_sub(TOLD);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if !text.is_empty() {
        words.push_str(": ");
        words.push_str(&text[start..]);
    }
    match ended.code {
        CANNOT_RUN | NOT_FOUND => CommandError::Final(words),
        _ => CommandError::Retryable(words),
    }
}
