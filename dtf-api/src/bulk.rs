//! Actions on many tasks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// An action on the tasks that a filter selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// The action.
    pub action: BulkAction,
    /// The tasks; at least one condition is required. `cursor` and `limit` must be left out: a request acts on at most 10000 tasks,
    /// and is refused where the filter selects more.
    pub filter: TaskQuery,
    /// The number of tasks that the filter is expected to select, as a dry run has told. The request is refused where another
    /// number fits.
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

/// The outcome of an action on many tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkResult {
    /// The number of tasks that the filter selects.
    pub selected: u64,
    /// The number of tasks that the action was applied to; 0 in a dry run.
    pub applied: u64,
    /// The first tasks that it was refused for, at most 100.
    pub refused: Vec<Refused>,
    /// The number of tasks that it was refused for.
    pub refused_count: u64,
}
