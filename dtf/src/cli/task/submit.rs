//! `dtf task submit`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dtf::TaskHandle;
use dtf::model::flow::Condition;
use dtf::model::hook::{Hook, Receiver};
use dtf::model::unique::{Unique, UniqueWhile};
use dtf::model::{Priority, TaskId, TaskParam};
use dtf_api as api;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::args::{Output, duration};
use super::super::oneshot::refused;
use super::super::say;
use super::{Desk, Usage, show, watch};

/// The number of times that a creation is tried whose answer did not come. Each uses the same name, so one task is made.
const ATTEMPTS: u32 = 5;
/// The pause before the second; it doubles from time to time.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// The kind of task
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The parameter of the type, as JSON; @FILE reads it from a file, @- from standard input
    #[arg(long, value_name = "JSON", default_value = "null")]
    param: String,
    /// The name of the task
    #[arg(long, default_value = "")]
    name: String,
    /// The purpose of the task
    #[arg(long, default_value = "")]
    description: String,
    /// The creator of the task
    #[arg(long, default_value = "")]
    creator: String,
    /// The resource group that it is charged to
    #[arg(long, default_value = "default")]
    group: String,
    /// Its urgency: 2000 (low) to 9000 (high)
    #[arg(long, default_value_t = 6000, value_name = "NUMBER")]
    priority: u32,
    /// The longest time that it may run, as in 90s or 2h; paused time does not count
    #[arg(long, value_parser = duration, default_value = "30m", value_name = "TIME")]
    timeout: Duration,
    /// The earliest time of its start, in milliseconds since the Unix epoch [default: at once]
    #[arg(long, value_name = "MILLIS")]
    start_at: Option<u64>,
    /// Wait for the end of a task: its id, or id:completed, id:ended, id:failed; may be given several times [default condition: completed]
    #[arg(long, value_name = "TASK", value_parser = after)]
    after: Vec<(TaskId, Condition)>,
    /// Create no task while there is another one with this key, and print that one's id
    #[arg(long, value_name = "KEY", conflicts_with = "after")]
    unique: Option<String>,
    /// How long the key is taken: until the task begins (pending), until it ends (running), or for a time, as in 1h
    #[arg(long, value_name = "TIME", value_parser = unique_while, default_value = "running", requires = "unique")]
    unique_while: UniqueWhile,
    /// Tell an address, or a callback of the cluster's programs as callback:NAME, of its end; with ,completed or ,failed behind it only of
    /// these ends; may be given several times
    #[arg(long, value_name = "URL", value_parser = hook)]
    hook: Vec<Hook>,
    /// The creation's own name: the same one twice makes one task
    #[arg(long, value_name = "UUID")]
    pub(super) request_id: Option<Uuid>,
    /// Follow it to its end: exit code 0 where nothing failed, 1 where something did, 130 where it was cancelled
    #[arg(long)]
    pub(super) watch: bool,
}

impl SubmitArgs {
    /// The task, as the HTTP API takes it.
    pub(super) fn new_task(&self) -> anyhow::Result<api::NewTask> {
        let unique = self.unique.as_ref().map(|key| {
            let (scope, period) = match self.unique_while {
                UniqueWhile::Pending => (api::UniqueWhile::Pending, None),
                UniqueWhile::Running => (api::UniqueWhile::Running, None),
                UniqueWhile::Period(period) => (api::UniqueWhile::Period, Some(period)),
            };
            api::Unique { key: key.clone(), scope, period_ms: period.map(millis) }
        });
        let after = self.after.iter().map(|(task, when)| api::After { task: task.0, when: condition(*when) });
        let hooks = self.hook.iter().map(|hook| {
            let (url, callback) = match &hook.to {
                Receiver::Url(url) => (Some(url.clone()), None),
                Receiver::Callback(name) => (None, Some(name.clone())),
            };
            api::Hook { url, callback, when: condition(hook.when) }
        });
        Ok(api::NewTask {
            task_type: self.kind.clone(),
            param: json_of(&self.param)?,
            name: self.name.clone(),
            description: self.description.clone(),
            creator: api::Creator { uid: 0, name: self.creator.clone() },
            group: self.group.clone(),
            priority: self.priority,
            timeout_ms: millis(self.timeout),
            start_at: self.start_at,
            limits: api::Limits::default(),
            after: after.collect(),
            unique,
            hooks: hooks.collect(),
        })
    }
}

fn condition(condition: Condition) -> api::Condition {
    match condition {
        Condition::Completed => api::Condition::Completed,
        Condition::Ended => api::Condition::Ended,
        Condition::Failed => api::Condition::Failed,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Prints the id of a task that was created.
pub(super) fn print_id(id: TaskId, output: Output) -> std::io::Result<()> {
    match output {
        Output::Text => writeln!(std::io::stdout(), "{id}"),
        Output::Json => show::print(&json!({ "task": id })),
    }
}

pub(super) async fn submit(desk: &Desk, args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let param = TaskParam {
        name: args.name,
        description: args.description,
        creator: dtf::model::param::Creator { name: args.creator, ..Default::default() },
        group: args.group,
        priority: Priority(args.priority),
        timeout: args.timeout,
        start_at: args.start_at,
        hooks: args.hook,
        type_param: json_of(&args.param)?,
        ..TaskParam::default()
    };
    let (task_type, param) = desk.prepare(&args.kind, param).await?;
    let request = args.request_id.unwrap_or_else(Uuid::new_v4);
    let unique = args.unique.map(|key| Unique { key, scope: args.unique_while });
    let create = async || match &unique {
        Some(unique) => desk.client.create_task_unique(request, task_type, param.clone(), unique).await,
        None if args.after.is_empty() => {
            desk.client.create_task_once(request, task_type, param.clone()).await
        }
        None => desk.client.create_task_after(request, task_type, param.clone(), &args.after).await,
    };
    let task = until_created(request, create).await?;
    if args.watch {
        if !desk.quiet {
            say(&format!("task {} was created", task.id()));
        }
        return watch::watch(desk, task).await;
    }
    print_id(task.id(), desk.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a receiver that is told of the end.
fn hook(text: &str) -> Result<Hook, String> {
    let ends = |(to, name): (_, &str)| {
        let condition = Condition::ALL.into_iter().find(|known| known.name() == name)?;
        Some((to, condition))
    };
    let (to, when) = text.rsplit_once(',').and_then(ends).unwrap_or((text, Condition::Ended));
    let hook = to.strip_prefix("callback:").map_or_else(|| Hook::url(to), Hook::callback).when(when);
    hook.check().map_err(|error| error.to_string())?;
    Ok(hook)
}

/// Reads the time for which a key is taken.
fn unique_while(text: &str) -> Result<UniqueWhile, String> {
    match text {
        "pending" => Ok(UniqueWhile::Pending),
        "running" => Ok(UniqueWhile::Running),
        time => duration(time)
            .map(UniqueWhile::Period)
            .map_err(|_| "write pending, running, or a time as in 1h".to_owned()),
    }
}

/// Reads a task to wait for.
fn after(text: &str) -> Result<(TaskId, Condition), String> {
    let (task, condition) = text.split_once(':').unwrap_or((text, Condition::Completed.name()));
    let condition = Condition::ALL.into_iter().find(|known| known.name() == condition);
    let read = task.parse().ok().zip(condition);
    read.ok_or_else(|| "write the id of a task, or id:completed, id:ended or id:failed".to_owned())
}

/// Creates a task, asking again where it is not known whether it was. Each asks under the same name.
pub(super) async fn until_created(
    request: Uuid,
    create: impl AsyncFn() -> Result<TaskHandle, dtf::ClientError>,
) -> anyhow::Result<TaskHandle> {
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        match create().await {
            Ok(task) => return Ok(task),
            Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                tracing::warn!(%error, attempt, "creating again");
            }
            Err(error) if error.is_retryable() => {
                let hint = format!("ask again with --request-id {request}, then one task is made at most");
                return Err(anyhow::Error::from(error).context(hint));
            }
            Err(error) => return Err(refused(error)),
        }
        tokio::time::sleep(pause).await;
        (pause, attempt) = (pause * 2, attempt + 1);
    }
}

pub(in crate::cli) fn json_of(text: &str) -> Result<Value, Usage> {
    let read = match text.strip_prefix('@') {
        None => Ok(text.to_owned()),
        Some("-") => std::io::read_to_string(std::io::stdin()),
        Some(path) => std::fs::read_to_string(path),
    };
    let whole = read.map_err(|error| Usage(format!("--param {text} cannot be read: {error}")))?;
    serde_json::from_str(&whole).map_err(|error| {
        Usage(format!("--param is no valid JSON ({error}); write an object, as in '{{\"count\": 1000}}'"))
    })
}
