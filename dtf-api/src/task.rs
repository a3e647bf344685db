//! Tasks.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{After, Hook, HookDelivery, Limits};

crate::object::only_objects!(Creator, Unique, TaskQuery);

/// The status of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Acknowledged, not started yet.
    Created,
    /// Subtasks are generated and run.
    Running,
    /// Nothing new is generated or dispatched until it is resumed.
    Paused,
    /// Ended by a user before it was done.
    Cancelled,
    /// Ended: every subtask is accounted for.
    Completed,
    /// Ended by the framework before it was done: timed out, or failed.
    Exceptional,
    /// Ended without a run, as a condition on the end of a task that it waited for cannot be met any more.
    Skipped,
}

impl TaskStatus {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Cancelled,
        Self::Completed,
        Self::Exceptional,
        Self::Skipped,
    ];

    /// Returns whether the task has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Cancelled | Self::Completed | Self::Exceptional | Self::Skipped)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Exceptional => "exceptional",
            Self::Skipped => "skipped",
        }
    }
}

/// The state that users or the framework want a task to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskControl {
    /// It goes on.
    Run,
    /// It generates and dispatches nothing new.
    Pause,
    /// It ends as cancelled.
    Cancel,
    /// It ends as exceptional.
    Abort,
}

/// The user that created a task, in the users' own system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct Creator {
    /// The user's number.
    pub uid: u64,
    /// The user's name.
    pub name: String,
}

/// A task to be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The name of its type, as `GET /v1/types` lists it.
    #[serde(rename = "type")]
    #[schema(example = "noop")]
    pub task_type: String,
    /// The parameters of its type. Default `null`.
    #[serde(default)]
    #[schema(example = json!({"count": 1000}))]
    pub param: Value,
    /// The name that people know it by; at most 128 characters. Default empty.
    #[serde(default)]
    pub name: String,
    /// Its purpose. Default empty.
    #[serde(default)]
    pub description: String,
    /// The user that creates it.
    #[serde(default)]
    pub creator: Creator,
    /// The resource group that its execution is charged to. Default `default`.
    #[serde(default = "default_group")]
    #[schema(default = "default")]
    pub group: String,
    /// Its urgency within the group, 2000 (low) to 9000 (high). Default 6000.
    #[serde(default = "medium_priority")]
    #[schema(default = 6000, minimum = 2000, maximum = 9000)]
    pub priority: u32,
    /// The longest it may run, pauses left out. Default 30 minutes.
    #[serde(default = "default_timeout_ms")]
    #[schema(default = 1_800_000, minimum = 1)]
    pub timeout_ms: u64,
    /// The earliest time at which it starts. Default: at once.
    #[serde(default)]
    pub start_at: Option<u64>,
    /// Limits of its own, besides those of its type and its group.
    #[serde(default)]
    pub limits: Limits,
    /// The tasks that it waits for. One whose condition can no longer be met is skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<After>,
    /// The key that no other task has for a time. Where a task has it, that one is returned, and none is created. Not beside `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// The receivers that are told of its end, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
}

impl NewTask {
    /// A task of a type with these parameters, and the defaults of everything else.
    pub fn of(task_type: impl Into<String>, param: Value) -> Self {
        Self {
            task_type: task_type.into(),
            param,
            name: String::new(),
            description: String::new(),
            creator: Creator::default(),
            group: default_group(),
            priority: medium_priority(),
            timeout_ms: default_timeout_ms(),
            start_at: None,
            limits: Limits::default(),
            after: Vec::new(),
            unique: None,
            hooks: Vec::new(),
        }
    }
}

/// The time for which a task is the only one with its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UniqueWhile {
    /// Until its first run begins.
    Pending,
    /// Until it ends.
    #[default]
    Running,
    /// For `period_ms` from its creation, whether or not it has ended.
    Period,
}

/// A key that no other task has for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Unique {
    /// The key, at most 191 characters.
    pub key: String,
    /// The time for which it is taken. Default `running`.
    #[serde(default, rename = "while")]
    pub scope: UniqueWhile,
    /// The period, 1 s to 366 days; with `period` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
}

pub(crate) fn default_group() -> String {
    "default".to_owned()
}

pub(crate) fn medium_priority() -> u32 {
    6000
}

pub(crate) fn default_timeout_ms() -> u64 {
    30 * 60 * 1000
}

/// The number of a task's subtasks by outcome. At the end of a task, `created` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Subtasks emitted by the generator or added by the collector.
    pub created: u64,
    /// Subtasks done.
    pub succeeded: u64,
    /// Subtasks failed for good.
    pub failed: u64,
    /// Subtasks cancelled with the task.
    pub cancelled: u64,
    /// Subtasks stopped because they took too long.
    pub timed_out: u64,
}

/// The progress of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Subtasks by outcome, as of now.
    #[serde(flatten)]
    pub counts: Counts,
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// Subtasks waiting for their next attempt.
    pub delayed: u64,
    /// Subtasks dispatched and not reported.
    pub running: u64,
    /// True once the last subtask has been generated, so that `created` is the total.
    pub generated: bool,
    /// The share that the generator says it has generated, from 0 to 1.
    pub generator_share: Option<f32>,
    /// Subtasks per second.
    pub rate: Option<f64>,
    /// The estimated time left.
    pub eta_ms: Option<u64>,
}

/// The result that a task's collector made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskResult {
    /// A code; its meaning is the type's.
    pub code: i32,
    /// A reason; its meaning is the type's.
    pub reason: String,
    /// The data.
    pub data: Value,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its id.
    pub id: u64,
    /// The name of its type; the type's number where this server does not know the type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// The name that people know it by.
    pub name: String,
    /// Its purpose.
    pub description: String,
    /// The user that created it.
    pub creator: Creator,
    /// Its resource group.
    pub group: String,
    /// Its urgency within the group.
    pub priority: u32,
    /// The longest it may run.
    pub timeout_ms: u64,
    /// Its own limits.
    pub limits: Limits,
    /// The earliest time at which it starts.
    pub start_at: Option<u64>,
    /// The task whose failed subtasks it runs again.
    pub retry_of: Option<u64>,
    /// Its status.
    pub status: TaskStatus,
    /// The state that it is wanted to be in.
    pub control: TaskControl,
    /// The reason of its status, where there is something to say.
    pub reason: String,
    /// The number of its run: above 1 where its queues were lost and it was run again.
    pub run: u32,
    /// The time of its creation.
    pub created_at: u64,
    /// The time when it started.
    pub started_at: Option<u64>,
    /// The time when it ended.
    pub finished_at: Option<u64>,
    /// The parameters of its type.
    pub param: Value,
    /// Its result; none before its end, and none where it did not complete.
    pub result: Option<TaskResult>,
    /// Its progress; in lists, only of ended tasks.
    pub progress: Option<Progress>,
    /// True while it waits for the end of other tasks.
    pub waits: bool,
    /// The flow that it was created with.
    pub flow: Option<u64>,
    /// Its name in the flow.
    pub flow_task: Option<String>,
    /// The conditions that it waits for and that only people can bring about, such as a worker that knows its type.
    pub blocked_on: Vec<String>,
    /// The receivers that are told of its end, and how far that is.
    #[serde(default)]
    pub hooks: Vec<HookDelivery>,
}

/// The conditions of a list of tasks. All that are given must hold; texts are compared exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, default, remote = "Self")]
#[into_params(parameter_in = Query)]
pub struct TaskQuery {
    /// Tasks with this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// Tasks of the type with this name.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// Tasks of this resource group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Tasks of the creator with this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// Tasks with exactly this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tasks whose name begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Tasks whose start time is later than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_after: Option<u64>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// The most tasks of a page, 1 to 1000. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A page of tasks, the newest first; with `name_prefix` by name, with `starts_after` by start time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The cursor of the next page; none where this is the last.
    pub next: Option<u64>,
}
