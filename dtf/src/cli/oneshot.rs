//! One task from its creation to its end, with all roles in this process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dtf::embedded::{self, Embedded};
use dtf::lrmf::{BootClock, Clock};
use dtf::model::plugin::{TaskPluginRegistration, TaskResult};
use dtf::model::table::{BucketOf, Finish, TaskRow, TaskTable};
use dtf::model::{Counts, ResourceGroup, StoreError, TaskId, TaskParam, TaskStatus};
use dtf::tasks::exec::{ExecHandle, Guarded, Stopped, reap_inherited};
use dtf::{Client, ClientError, Dtf, DtfConfig, Progress, TaskHandle, TaskStatusView};
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::process::{getpid, kill_process};
use tokio_util::task::AbortOnDropHandle;

use super::Usage;
use super::map::{Gateway, Serving, print_kept};
use super::progress::Display;
use super::signals::{Heritage, Interrupts, Suspensions};

/// The period of looks at the progress.
const LOOK: Duration = Duration::from_millis(100);

/// The task to run, and its surroundings.
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) param: TaskParam,
    /// The number of subtasks that run at once.
    pub(crate) jobs: usize,
    /// The file that the task's record is kept in, if any.
    pub(crate) db: Option<PathBuf>,
    /// The task's commands.
    pub(crate) exec: Option<ExecHandle>,
}

/// The type of the task.
pub(crate) enum Kind {
    /// One that needs nothing beside it.
    Plain(TaskPluginRegistration),
    /// `map`.
    Map {
        /// The place where remote workers are met.
        gateway: Gateway,
        /// True if the results that are kept are written to standard output at the end.
        prints: bool,
    },
}

/// The end of a run.
pub(crate) struct Ended {
    pub(crate) kind: String,
    pub(crate) row: TaskRow,
    pub(crate) progress: Progress,
    pub(crate) took: Duration,
    /// The cause of the end, where it was not the task's own.
    pub(crate) by: Option<By>,
    /// The plugin's result where the task has none, as it was ended.
    pub(crate) result: Option<TaskResult>,
}

/// The cause of a task's early end.
pub(crate) enum By {
    /// The signal with this number.
    Signal(i32),
    /// Its commands.
    Commands(Stopped),
}

/// Runs the task.
///
/// # Errors
/// [`Usage`] where the task was refused, and nothing was begun.
pub(crate) fn run(plan: Plan, screen: &Display) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(to_its_end(plan, screen));
    // A blocked read of standard input would be waited for.
    runtime.shutdown_background();
    ended
}

async fn to_its_end(plan: Plan, screen: &Display) -> anyhow::Result<Ended> {
    let Plan { kind, param, jobs, db, exec } = plan;
    let table = match &db {
        None => embedded::Database::Memory,
        Some(path) => embedded::Database::File(path.clone()),
    };
    let ports = embedded::ports(table).await.map_err(refused)?;
    let table = ports.table.clone();
    let (registration, serving, prints, guarded) = match kind {
        Kind::Plain(registration) => (registration, None, false, exec.as_ref().map(ExecHandle::guarded)),
        Kind::Map { gateway, prints } => {
            let guarded = gateway.guarded();
            let (registration, serving) = gateway.begin(&ports)?;
            (registration, Some(serving), prints, guarded)
        }
    };
    let task_type = registration.task_type;
    // Whoever runs a task alone may wait for it as long as they like.
    let config = DtfConfig { max_subtask_timeout: Duration::MAX, ..Embedded { jobs }.config() };
    let builder = Dtf::builder(ports).config(config.clone());
    let dtf = builder.register_task_type(registration)?.build()?;
    let started = Instant::now();
    // Nobody shares this process's capacity, so a group is but a name here.
    let group = ResourceGroup::named(&param.group);
    if table.group(&group.name).await.map_err(refused)?.is_none() {
        table.set_group(&group).await.map_err(refused)?;
    }
    let client = dtf.client();
    let task = client.create_task(task_type, param).await.map_err(refused)?;
    end_leftovers(table.as_ref(), task.id()).await?;
    // Not before, as creating the task may wait for somebody to type; not later, as commands run from here on.
    let told = Told::new(exec.clone(), guarded)?;
    dtf.start_all().await?;
    let _served = serving.map(|serving| serve(serving, &client, &config, screen)).transpose()?;
    let (last, by) = follow(&task, screen, told).await?;
    let took = started.elapsed();
    dtf.stop().await;
    let result = match exec {
        Some(exec) => Some(exec.result().await),
        None => None,
    };
    if prints {
        screen.finish();
        print_kept(&client, task.id()).await?;
    }
    let kind = client.types().name_of(last.row.task_type, &last.row.param);
    Ok(Ended { kind, progress: last.progress(), row: last.row, took, by, result })
}

/// Serves the API for remote workers, where there are any, and says where.
fn serve(
    serving: Serving,
    client: &Client,
    config: &DtfConfig,
    screen: &Display,
) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
    let Some((address, served)) = serving.start(client.clone(), config)? else { return Ok(None) };
    screen.announce(&format!("workers take items from http://{address}"));
    Ok(Some(served))
}

/// Ends the tasks that earlier runs over the same file left when they were killed. A one-shot run is what its caller asked
/// for and nothing else: it never resumes them.
async fn end_leftovers(table: &dyn TaskTable, own: TaskId) -> Result<(), StoreError> {
    const PAGE: u32 = 1000;
    let mut after = TaskId(0);
    loop {
        let rows = table.active(BucketOf::ALL, after, PAGE).await?;
        for row in rows.iter().filter(|row| row.id != own) {
            let finish = Finish {
                run: row.run,
                status: TaskStatus::Exceptional,
                counts: Counts::default(),
                reason: "the process that ran it ended before it did".to_owned(),
                result: None,
                now: BootClock.unix_millis(),
            };
            table.finish(row.id, &finish).await?;
        }
        match rows.last() {
            Some(last) => after = last.id,
            None => return Ok(()),
        }
    }
}

/// Makes a mistake of the caller a usage error. Other errors stay as they are.
pub(crate) fn refused(error: impl Into<ClientError>) -> anyhow::Error {
    match error.into() {
        unavailable @ ClientError::Unavailable(_) => unavailable.into(),
        ClientError::Refused(StoreError::Refused { cause, .. }) => Usage(cause).into(),
        refused @ ClientError::Refused(_) => refused.into(),
        wrong => Usage(wrong.to_string()).into(),
    }
}

/// The sources of orders to end a run: signals, and its commands.
struct Told {
    exec: Option<ExecHandle>,
    /// The commands that somebody waits for.
    guarded: Option<Guarded>,
    interrupts: Interrupts,
    suspensions: Suspensions,
    heritage: Heritage,
}

impl Told {
    fn new(exec: Option<ExecHandle>, guarded: Option<Guarded>) -> std::io::Result<Self> {
        let (interrupts, suspensions) = (Interrupts::new()?, Suspensions::new()?);
        Ok(Self { exec, guarded, interrupts, suspensions, heritage: Heritage::new()? })
    }

    /// Waits until the task shall end, or end at once where it is ending already, and looks after processes meanwhile.
    async fn end(&mut self, ending: bool) -> By {
        let exec = self.exec.clone();
        let mut stopped = std::pin::pin!(async {
            match &exec {
                // What the commands had to say has been said when they are being ended.
                Some(exec) if !ending => exec.stopped().await,
                _ => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                signal = self.interrupts.next() => return By::Signal(signal),
                why = &mut stopped => return By::Commands(why),
                () = self.suspensions.next() => suspend(exec.as_ref()),
                () = self.heritage.next() => self.guarded.as_ref().map_or_else(reap_inherited, Guarded::reap_orphans),
            }
        }
    }
}

/// Ctrl-Z: stands still together with the commands, until somebody lets this process go on.
fn suspend(exec: Option<&ExecHandle>) {
    exec.inspect(|exec| exec.suspend());
    // That it goes on is what is seen of it.
    kill_process(getpid(), rustix::process::Signal::STOP).unwrap_or_default();
    exec.inspect(|exec| exec.resume());
}

/// Shows the progress until the task has ended. The first signal cancels it, a second one ends this process at once.
async fn follow(
    task: &TaskHandle,
    screen: &Display,
    mut told: Told,
) -> anyhow::Result<(TaskStatusView, Option<By>)> {
    let mut watch = task.watch(LOOK);
    let mut by: Option<By> = None;
    loop {
        tokio::select! {
            seen = next(&mut watch) => {
                let seen = seen?;
                screen.show(&seen);
                if seen.row.status.is_terminal() {
                    return Ok((seen, by));
                }
            }
            ended = told.end(by.is_some()) => {
                if let (By::Signal(signal), Some(_)) = (&ended, &by) {
                    if let Some(exec) = &told.exec {
                        exec.kill_all();
                    }
                    screen.finish();
                    std::process::exit(128 + signal);
                }
                if matches!(ended, By::Signal(_)) {
                    screen.say("cancelling; Ctrl-C again to exit at once");
                }
                by = Some(ended);
                match task.cancel().await {
                    // It ended in the same moment.
                    Ok(()) | Err(ClientError::NotAllowed { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// The next look at a task that is watched and has not ended.
pub(crate) async fn next(
    watch: &mut BoxStream<'static, Result<TaskStatusView, ClientError>>,
) -> anyhow::Result<TaskStatusView> {
    match watch.next().await {
        Some(seen) => seen.map_err(refused),
        None => Err(anyhow::anyhow!("the watch ended before the task did")),
    }
}
