//! Actions on many tasks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::TaskQuery;

/// An action on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Pauses it.
    Pause,
    /// Resumes it.
    Resume,
    /// Cancels it.
    Cancel,
    /// Runs its failed subtasks again, as a new task.
    Retry,
}

impl BulkAction {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
        }
    }
}

/// An action on the tasks that a filter selects, or on those that are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// The action.
    pub action: BulkAction,
    /// The tasks that fit; at least one condition is required where no tasks are named. `cursor` and `limit` must be left out: a request
    /// acts on at most 10000 tasks, and is refused where the filter selects more.
    #[serde(default)]
    pub filter: TaskQuery,
    /// The tasks by their numbers, at most 1000, in place of a filter. All of them must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000)]
    pub tasks: Vec<u64>,
    /// The number of tasks that are expected, as a dry run has told. The request is refused where another number fits.
    #[serde(default)]
    pub expect_count: Option<u64>,
    /// True to select only. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// A task that an action was refused for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// The task.
    pub id: u64,
    /// The reason.
    pub detail: String,
}

/// The state of an action on many tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkStatus {
    /// The tasks were counted, and nothing else was done.
    DryRun,
    /// It goes on.
    Running,
    /// It was applied to each task, or refused for it.
    Finished,
}

impl BulkStatus {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::DryRun => "dry_run",
            Self::Running => "running",
            Self::Finished => "finished",
        }
    }
}

/// An action on many tasks, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bulk {
    /// The handle: `/v1/bulk/{id}` tells how far it is. It is the `Idempotency-Key`, where the request had one.
    pub id: Uuid,
    /// The action.
    pub action: BulkAction,
    /// The filter that selected the tasks when it began; without conditions where they were named.
    pub filter: TaskQuery,
    /// The tasks that were named; none where a filter selected them.
    #[serde(default)]
    pub tasks: Vec<u64>,
    /// Its state.
    pub status: BulkStatus,
    /// The number of tasks.
    pub selected: u64,
    /// The number of tasks that the action was applied to so far.
    pub applied: u64,
    /// The number of tasks that it was refused for so far.
    pub refused_count: u64,
    /// The first tasks that it was refused for, at most 100.
    pub refused: Vec<Refused>,
    /// The one who asked for it, as the audit has the name.
    pub by: String,
    /// The time of its beginning.
    pub created_at: u64,
    /// The time of its end.
    pub finished_at: Option<u64>,
}
