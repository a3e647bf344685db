//! The task type `exec`: a command for each line of an input, like xargs and GNU parallel.
//!
//! `docs/exec.md` of the repository describes it for users, beside what they know from those two.
//!
//! - A line is bytes, and need not be UTF-8. `{}` in the command and its arguments is replaced by it, and `template` lists
//!   what else is replaced; where nothing is, the line becomes the last argument. No shell is involved, unless it is asked
//!   for.
//! - Commands *start* in the order of the input, whatever the order in which the framework hands out subtasks: a subtask
//!   is but a ticket for the line whose turn it is (`ready`).
//! - What a command writes is shown in one piece when it has ended, first its standard output, then its standard error; or
//!   as it comes (`show`).
//! - Each command is a process group of its own. When its task is cancelled or its time is over, the group gets SIGTERM,
//!   and SIGKILL after the grace (`group`). When its subtask is dropped, as the framework's own patience is over, it gets
//!   SIGKILL at once. What a command that ended by itself left in the background is left alone.
//! - A command that ends with another exit code than 0 fails its subtask. Its line is named on standard error; the task
//!   goes on, unless it was told when to halt. What came of the lines is in the `ledger`, whatever ends the task.
//! - The exit code is 126 for a command that cannot be run, 127 for one that is not found, 128 and the signal's number for
//!   one that was ended by a signal, 124 for one that took too long.
//! - The input is read only as fast as commands are run, and only once: nothing of a run outlives its process.

mod allowed;
mod arguments;
mod collect;
mod command;
mod execute;
mod generate;
mod group;
mod halt;
mod input;
mod ledger;
mod log;
mod param;
mod placeholder;
mod processes;
mod ready;
mod record;
mod run;
mod shortage;
mod show;
mod spool;
mod tail;
mod template;
mod watcher;

pub use allowed::{AllowedCommand, AllowedCommands};
pub use halt::Halt;
pub use ledger::Stopped;
pub use param::{ExecParam, Resume, Values};

use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::{
    TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration, TaskResult,
};
use dtf_model::{InvalidInput, TaskParam, TaskSpec};
use rustix::process::{Pid, Signal, kill_process_group};
use uuid::Uuid;

use self::collect::ExecCollector;
use self::execute::ExecExecutor;
use self::generate::ExecGenerator;
use self::input::Input;
use self::run::Run;
use self::watcher::Watcher;
use super::{Console, plain};

/// A command takes as long as it takes, unless its task says otherwise.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// The number of lines that may wait: at most 32 MiB, as a line has at most 128 KiB.
const BACKLOG: u64 = 256;
/// The number of files that may be open for outputs, where the number of commands at once is not given.
const FILES: usize = 256;

/// The task type `exec`, for one task: the one whose lines it was given.
pub struct Exec {
    input: Arc<Input>,
    run: Arc<Run>,
}

impl Exec {
    /// The type, for a task whose lines come from `lines`, unless its parameters have them.
    ///
    /// # Security
    /// Who can create a task of this type can run any command as the user of this process. Register it only where the
    /// person at the keyboard creates the tasks, as the one-shot `dtf run exec` does, or where an operator allowed it with
    /// a flag; never in a process that takes tasks from a network without one.
    pub fn new(lines: impl BufRead + Send + 'static, console: Console) -> Self {
        Self::with_room(lines, console, usize::MAX, FILES)
    }

    /// The type, for a process that runs at most `jobs` commands at once. Raises the process's limit of open files as far as
    /// that takes and the system permits; where it does not permit enough, fewer commands run at once, and the console
    /// is told.
    pub fn for_jobs(lines: impl BufRead + Send + 'static, console: Console, jobs: usize) -> Self {
        let (room, limit) = shortage::make_room(jobs);
        if room < jobs {
            let why = format!(
                "{room} commands at once instead of {jobs}, as {limit} open files are allowed (ulimit -n)"
            );
            console.complain(b"exec", why.as_bytes());
        }
        Self::with_room(lines, console, room, 2 * room)
    }

    fn with_room(lines: impl BufRead + Send + 'static, console: Console, room: usize, files: usize) -> Self {
        Self { input: Arc::new(Input::new(Box::new(lines))), run: Arc::new(Run::new(console, room, files)) }
    }

    /// Returns the handle that ends all commands at once, and tells how the run goes.
    pub fn handle(&self) -> ExecHandle {
        ExecHandle(Arc::clone(&self.run))
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
        f.debug_struct("Exec").field("running", &self.run.running).finish_non_exhaustive()
    }
}

/// The commands of an [`Exec`], for the process that runs it.
#[derive(Clone)]
pub struct ExecHandle(Arc<Run>);

impl ExecHandle {
    /// Sends SIGKILL to the process group of every command that runs, and lets none start any more. For a process that is
    /// about to exit without waiting for them: being groups of their own, they would outlive it.
    pub fn kill_all(&self) {
        self.0.running.kill_all();
    }

    /// Stops all commands, until they are [resumed](Self::resume).
    pub fn suspend(&self) {
        self.0.running.send(Signal::STOP);
    }

    /// Lets stopped commands go on.
    pub fn resume(&self) {
        self.0.running.send(Signal::CONT);
    }

    /// Waits until the task shall be cancelled before its end, and returns why. Whoever waits must cancel it then.
    pub async fn stopped(&self) -> Stopped {
        self.0.ledger.until_stopped().await
    }

    /// Returns the result of the lines so far; after the task's end, however it ended, of all that were run.
    pub async fn result(&self) -> TaskResult {
        self.0.show_rest().await;
        self.0.ledger.to_result()
    }

    /// Returns the handle for a process beside this one that ends the commands should this one be killed.
    pub fn guarded(&self) -> Guarded {
        Guarded(self.0.running.watcher.clone())
    }
}

impl fmt::Debug for ExecHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecHandle").field(&self.0.running).finish()
    }
}

/// The commands of a process, for one beside it that ends them should this one be killed.
#[derive(Clone, Debug)]
pub struct Guarded(Watcher);

impl Guarded {
    /// The run's number, which its commands find in the variable `DTF_RUN`.
    pub fn run(&self) -> Uuid {
        self.0.run()
    }

    /// Writes to `to` which process groups run, in a form that [`kill_announced`] reads.
    pub fn announce(&self, to: impl Write + Send + 'static) {
        self.0.tell(Box::new(to));
    }

    /// Takes ended processes off the system's books that nobody else waits for. For the first process of a container, which
    /// inherits the orphans of all others.
    pub fn reap_orphans(&self) {
        self.0.reap_orphans();
    }

    /// Takes a child of this process for one that is waited for, and no orphan.
    pub fn adopt(&self, child: &std::process::Child) {
        self.0.own(Pid::from_child(child));
    }
}

/// Reads what the process of a run [announces](Guarded::announce) until it has ended, then ends the process groups that it
/// left: with SIGTERM, and with SIGKILL what lives on after `grace`. `run` is the run's [number](Guarded::run), by which a
/// command is found that was being started at that moment.
pub fn kill_announced(from: impl BufRead, run: Uuid, grace: Duration) {
    const LOOK: Duration = Duration::from_millis(10);
    let left = watcher::read_messages(from);
    let mut groups: Vec<Pid> = left.groups.into_iter().filter_map(Pid::from_raw).collect();
    if left.was_starting {
        groups.extend(started_meanwhile(run, &groups));
    }
    let send = |signal| groups.iter().for_each(|pid| kill_process_group(*pid, signal).unwrap_or_default());
    send(Signal::TERM);
    send(Signal::CONT);
    let begin = std::time::Instant::now();
    let alive = || groups.iter().copied().any(processes::is_alive);
    while begin.elapsed() < grace && alive() {
        std::thread::sleep(LOOK);
    }
    send(Signal::KILL);
}

/// Looks for the command that a run's process was starting when it died, apart from those that are `known`. Between fork and
/// exec a process does not have its new environment yet, so it is looked for for a while; the start may have failed as well.
fn started_meanwhile(run: Uuid, known: &[Pid]) -> Vec<Pid> {
    const LOOK: Duration = Duration::from_millis(10);
    const LOOKS: usize = 200;
    for _ in 0..LOOKS {
        let mut groups = processes::groups_with(watcher::RUN_VARIABLE, &run.to_string());
        groups.retain(|group| !known.contains(group));
        if !groups.is_empty() {
            return groups;
        }
        std::thread::sleep(LOOK);
    }
    Vec::new()
}

/// Takes ended processes off the system's books that this process inherited, where it waits for no child itself.
pub fn reap_inherited() {
    processes::reap_orphans(|_| false);
}

impl TaskPlugin for Exec {
    fn conf(&self) -> TaskConf {
        TaskConf {
            task_type_timeout: LONGEST,
            subtask_timeout: LONGEST,
            max_attempts: 1,
            // The input can be read once, and what is wrong with it stays wrong.
            call_attempts: 1,
            backlog: BACKLOG,
            cancel_grace: param::LONGEST_GRACE + Duration::from_secs(5),
            ..TaskConf::default()
        }
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        let param = ExecParam::read(param)?;
        param.check_places()?;
        if !param.arguments.is_empty() {
            return Ok(());
        }
        // Waits for the first byte: what cannot be read is refused before anything is begun.
        self.input.is_empty().map(drop).map_err(|error: io::Error| {
            InvalidInput::TypeParam(format!("the input cannot be read: {}", plain(&error)))
        })
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let param = ExecParam::read(&spec.param)?;
        Ok(Box::new(ExecGenerator::new(Arc::clone(&self.run), Arc::clone(&self.input), param)))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        let param = ExecParam::read(&spec.param)?;
        Ok(Arc::new(ExecExecutor::new(Arc::clone(&self.run), param.template()?, param)))
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(ExecCollector { run: Arc::clone(&self.run) }))
    }
}
