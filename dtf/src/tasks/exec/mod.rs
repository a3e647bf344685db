//! The task type `exec`: a command for each line of an input, like GNU parallel.
//!
//! - `{}` in the command and its arguments is replaced by the line; where there is none, the line becomes the last
//!   argument. No shell is involved. A line is bytes, and need not be UTF-8. An empty line is one too.
//! - A command reads nothing, and what it writes is shown in one piece when it has ended, first its standard output, then
//!   its standard error.
//! - Each command is a process group of its own. When its task is cancelled or its time is over, the group gets SIGTERM,
//!   and SIGKILL after the grace. When its subtask is dropped, as the framework's own patience is over, it gets SIGKILL at
//!   once. What a command that ended by itself left in the background is left alone.
//! - A command that fails is not run again. Its line is named on standard error; the task goes on. The result has
//!   `lines`, `ok`, `failed`, `by_exit_code` and `first_failed`. The exit code is 126 for a command that cannot be run,
//!   127 for one that is not found, 128 and the signal's number for one that was ended by a signal, 124 for one that took
//!   too long.
//! - The input is read only as fast as commands are run, and only once: nothing of a run outlives its process.
//!
//! Each command that runs occupies a thread for blocking work: the runtime needs as many of them as commands may run at
//! once.

mod collect;
mod command;
mod execute;
mod group;
mod input;
mod param;
mod record;

pub use param::ExecParam;

use std::fmt;
use std::io::{self, BufRead};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{
    Generated, NewSubtask, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin,
    TaskPluginRegistration,
};
use dtf_model::{Invalid, TaskParam, TaskSpec};

use self::collect::{ExecCollector, Summary};
use self::execute::{ExecExecutor, Running};
use self::input::Input;
use super::{Console, plain};

/// A command takes as long as it takes, unless its task says otherwise.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many lines may wait: at most 32 MiB, as a line has at most 128 KiB.
const BACKLOG: u64 = 256;

/// The task type `exec`, for one task: the one whose lines it was given.
pub struct Exec {
    input: Arc<Input>,
    summary: Arc<Mutex<Summary>>,
    console: Console,
    running: Running,
    broken: Arc<OnceLock<String>>,
}

impl Exec {
    /// The type, for a task whose lines come from `lines`.
    ///
    /// # Security
    /// Who can create a task of this type can run any command as the user of this process. Register it only where the
    /// person at the keyboard creates the tasks, as the one-shot `dtf run exec` does, or where an operator allowed it with
    /// a flag; never in a process that takes tasks from a network without one.
    pub fn new(lines: impl BufRead + Send + 'static, console: Console) -> Self {
        Self {
            input: Arc::new(Input::new(Box::new(lines))),
            summary: Arc::default(),
            console,
            running: Running::default(),
            broken: Arc::default(),
        }
    }

    /// Waits for the first byte of the input or its end, and says whether there is any. Blocks for as long as somebody
    /// types; [`check`](TaskPlugin::check) waits likewise, and does not once this has answered.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn has_lines(&self) -> io::Result<bool> {
        self.input.is_empty().map(|empty| !empty)
    }

    /// What ends all commands at once.
    pub fn handle(&self) -> ExecHandle {
        ExecHandle(self.running.clone())
    }

    /// Under its number and name. See [`new`](Self::new) about who may do so.
    pub fn registration(self) -> TaskPluginRegistration {
        TaskPluginRegistration {
            task_type: super::EXEC,
            name: "exec".to_owned(),
            description: "a command for each line of an input".to_owned(),
            plugin: Arc::new(self),
        }
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("running", &self.running).finish_non_exhaustive()
    }
}

/// Ends the commands of an [`Exec`]. For a process that is about to exit without waiting for them: being groups of their
/// own, they would outlive it.
#[derive(Clone, Debug)]
pub struct ExecHandle(Running);

impl ExecHandle {
    /// Sends SIGKILL to the process group of every command that runs, and lets none start any more.
    pub fn kill_all(&self) {
        self.0.kill_all();
    }
}

impl TaskPlugin for Exec {
    fn conf(&self) -> TaskConf {
        TaskConf {
            task_type_timeout: LONGEST,
            subtask_timeout: LONGEST,
            max_attempts: 1,
            backlog: BACKLOG,
            cancel_grace: param::LONGEST_GRACE + Duration::from_secs(5),
            ..TaskConf::default()
        }
    }

    fn check(&self, param: &TaskParam) -> Result<(), Invalid> {
        ExecParam::read(param)?.check_log()?;
        match self.has_lines() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Invalid::TypeParam("the input is empty; it needs at least one line".to_owned())),
            Err(error) => Err(Invalid::TypeParam(format!("the input cannot be read: {}", plain(&error)))),
        }
    }

    fn generator(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let (input, broken) = (Arc::clone(&self.input), Arc::clone(&self.broken));
        Ok(Box::new(ExecGenerator { input, broken, position: 0 }))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        let param = ExecParam::read(&spec.param)?;
        let (console, running) = (self.console.clone(), self.running.clone());
        Ok(Arc::new(ExecExecutor::new(param, console, running, Arc::clone(&self.broken))))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        let log = ExecParam::read(&spec.param)?.log;
        let (summary, console) = (Arc::clone(&self.summary), self.console.clone());
        Ok(Box::new(ExecCollector { summary, log, console }))
    }
}

/// Hands out lines. What it saves is how many: one that takes over in the same process can go on there.
struct ExecGenerator {
    input: Arc<Input>,
    broken: Arc<OnceLock<String>>,
    position: u64,
}

#[async_trait]
impl TaskGenerator for ExecGenerator {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let number = |saved: Bytes| {
            saved.as_ref().try_into().map(u64::from_be_bytes).context("the generator's saved status")
        };
        self.position = saved.map_or(Ok(0), number)?;
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        if let Some(why) = self.broken.get() {
            bail!("{why}");
        }
        let (lines, finished) = self.input.next(self.position, most).await?;
        self.position += lines.len() as u64;
        let subtasks = lines.iter().map(|line| record::encode_line(line).map(NewSubtask::new));
        Ok(Generated { subtasks: subtasks.collect::<Result<_, _>>()?, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(Bytes::copy_from_slice(&self.position.to_be_bytes())))
    }
}
