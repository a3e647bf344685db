//! Schedules.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{NewFlow, NewTask};

/// The treatment of a due time while a task of the schedule has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// No task is created.
    #[default]
    Skip,
    /// One due time waits for the end of the task; further ones are skipped.
    QueueOne,
    /// A task is created beside the other ones.
    Allow,
    /// The task is cancelled, and the latest due time follows its end.
    CancelOther,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Skip, Self::QueueOne, Self::Allow, Self::CancelOther];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::QueueOne => "queue_one",
            Self::Allow => "allow",
            Self::CancelOther => "cancel_other",
        }
    }
}

/// A schedule to be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// The name; no two schedules have the same.
    #[schema(example = "nightly")]
    pub name: String,
    /// The purpose. Default empty.
    #[serde(default)]
    pub description: String,
    /// The expression: cron of 5 fields, or of 6 with the second first, `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, or an
    /// interval as in `@every 90s`.
    #[schema(example = "30 2 * * *")]
    pub when: String,
    /// The time zone of the expression, by its name in the IANA database. Default `UTC`.
    #[serde(default = "utc")]
    #[schema(default = "UTC", example = "Europe/Berlin")]
    pub zone: String,
    /// The task that each due time creates; it has no `start_at` and no `after`. In texts of its `param`, `{{due}}` stands for the due
    /// time (RFC 3339) and `{{due_ms}}` for its milliseconds. Either this or `flow`.
    #[serde(default)]
    pub task: Option<NewTask>,
    /// The flow that each due time creates, of at most 200 tasks; otherwise as `task`.
    #[serde(default)]
    pub flow: Option<NewFlow>,
    /// The treatment of a due time while a task of the schedule has not ended. Default `skip`.
    #[serde(default)]
    pub overlap: Overlap,
    /// The catch-up window: due times up to this long ago still create tasks. Default one hour.
    #[serde(default = "an_hour")]
    #[schema(default = 3_600_000)]
    pub catch_up_ms: u64,
    /// The spread: each due time is put off by a span below this one. Default 0.
    #[serde(default)]
    pub jitter_ms: u64,
    /// The beginning: no due time is earlier, and intervals are counted from it. Default: the creation.
    #[serde(default)]
    pub start_at: Option<u64>,
    /// The end: no due time is later. Default: none.
    #[serde(default)]
    pub end_at: Option<u64>,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn an_hour() -> u64 {
    3_600_000
}

/// The outcome of a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DueOutcome {
    /// A task was created.
    Created,
    /// No task was created, as `overlap` says.
    Skipped,
    /// The due time, and those behind it up to the next entry, were longer ago than the catch-up window.
    Missed,
    /// The task was refused.
    Refused,
}

impl DueOutcome {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Refused => "refused",
        }
    }
}

/// The cause of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DueCause {
    /// The due time came.
    Due,
    /// A user asked for a task at once.
    Trigger,
    /// A user asked for the tasks of a period.
    Backfill,
}

impl DueCause {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Trigger => "trigger",
            Self::Backfill => "backfill",
        }
    }
}

/// An entry of a schedule's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DueEntry {
    /// The due time; of a trigger, the time at which it was asked for.
    pub due: u64,
    /// The time of the outcome.
    pub at: u64,
    /// The outcome.
    pub outcome: DueOutcome,
    /// The cause.
    pub cause: DueCause,
    /// The task that was created; of a flow, its first one.
    pub task: Option<u64>,
    /// The reason, where no task was created.
    pub reason: String,
}

/// The numbers of due times by outcome, since the schedule's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DueTotals {
    /// Tasks created.
    pub created: u64,
    /// Due times skipped.
    pub skipped: u64,
    /// Stretches of due times missed.
    pub missed: u64,
    /// Tasks refused.
    pub refused: u64,
}

/// A backfill that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackfillView {
    /// The next due time to create a task for; none behind the last one.
    pub next: Option<u64>,
    /// The latest due time.
    pub until: u64,
    /// The number of its tasks that run at once.
    pub concurrency: u32,
    /// Its tasks that have not ended.
    pub running: Vec<u64>,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// The name.
    pub name: String,
    /// The purpose.
    pub description: String,
    /// The expression.
    pub when: String,
    /// The expression in words.
    pub words: String,
    /// The time zone.
    pub zone: String,
    /// The task that each due time creates; none where it creates a flow.
    pub task: Option<NewTask>,
    /// The flow that each due time creates.
    pub flow: Option<NewFlow>,
    /// The treatment of a due time while a task of the schedule has not ended.
    pub overlap: Overlap,
    /// The catch-up window.
    pub catch_up_ms: u64,
    /// The spread.
    pub jitter_ms: u64,
    /// The beginning.
    pub start_at: Option<u64>,
    /// The end.
    pub end_at: Option<u64>,
    /// The time of its creation.
    pub created_at: u64,
    /// True if due times pass without effect.
    pub paused: bool,
    /// The next ten due times, without the jitter; none while it is paused.
    pub upcoming: Vec<u64>,
    /// Its tasks that had not ended when it was last looked at, of flows the first ones; none where tasks may overlap.
    pub running: Vec<u64>,
    /// The due time that waits for the end of the running task.
    pub queued: Option<u64>,
    /// The backfill under way.
    pub backfill: Option<BackfillView>,
    /// The numbers of due times by outcome.
    pub totals: DueTotals,
    /// The latest outcomes, the last one first.
    pub history: Vec<DueEntry>,
}

/// The conditions of a list of schedules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ScheduleQuery {
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most schedules of a page, 1 to 1000. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A page of schedules, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SchedulePage {
    /// The schedules.
    pub schedules: Vec<Schedule>,
    /// The cursor of the next page; none where this is the last.
    pub next: Option<String>,
}

/// The period of a backfill. Due times that have a task already get no second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBackfill {
    /// The earliest due time.
    pub from: u64,
    /// The latest due time; not in the future.
    pub until: u64,
    /// The number of its tasks that run at once, 1 to 100. Default 1.
    #[serde(default = "one")]
    #[schema(default = 1, minimum = 1, maximum = 100)]
    pub concurrency: u32,
}

fn one() -> u32 {
    1
}
