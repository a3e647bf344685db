//! Flows and dependencies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{Creator, Hook, Limits, Task};

crate::object::only_objects!(After);

/// The condition on the end of a task that another one waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It completes, and none of its subtasks fails or times out.
    #[default]
    Completed,
    /// It ends, however it does.
    Ended,
    /// It ends as exceptional, or completes with subtasks that failed or timed out.
    Failed,
}

impl Condition {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

/// A task that exists, to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct After {
    /// The task.
    pub task: u64,
    /// The condition on its end. Default `completed`.
    #[serde(default)]
    pub when: Condition,
}

/// A task of the same flow, to wait for: its name, or its name and the condition on its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum FlowAfter {
    /// The task, which has to complete.
    Name(String),
    /// The task and the condition.
    When {
        /// The task.
        task: String,
        /// The condition on its end.
        when: Condition,
    },
}

/// A task of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowTask {
    /// The name of its type.
    #[serde(rename = "type")]
    #[schema(example = "noop")]
    pub task_type: String,
    /// The parameters of its type. An object `{"$result": "/pointer", "of": "name"}` in it stands for a part of the result of a task that it
    /// waits for; `of` may be left out where that is only one. Default `null`.
    #[serde(default)]
    pub param: Value,
    /// The tasks of the flow that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<FlowAfter>,
    /// Its purpose. Default empty.
    #[serde(default)]
    pub description: String,
    /// The user that creates it.
    #[serde(default)]
    pub creator: Creator,
    /// The resource group. Default `default`.
    #[serde(default = "crate::task::default_group")]
    #[schema(default = "default")]
    pub group: String,
    /// The urgency, 2000 (low) to 9000 (high). Default 6000.
    #[serde(default = "crate::task::medium_priority")]
    #[schema(default = 6000, minimum = 2000, maximum = 9000)]
    pub priority: u32,
    /// The longest it may run. Default 30 minutes.
    #[serde(default = "crate::task::default_timeout_ms")]
    #[schema(default = 1_800_000, minimum = 1)]
    pub timeout_ms: u64,
    /// The earliest time at which it starts.
    #[serde(default)]
    pub start_at: Option<u64>,
    /// Limits of its own.
    #[serde(default)]
    pub limits: Limits,
    /// The receivers that are told of its end, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
}

/// A flow to be created: its tasks by local names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFlow {
    /// The name that people know it by. Default empty.
    #[serde(default)]
    pub name: String,
    /// The tasks, at most 10000.
    pub tasks: BTreeMap<String, FlowTask>,
}

/// The numbers of a flow's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowCounts {
    /// All tasks.
    pub tasks: u64,
    /// Tasks that wait for others.
    pub waiting: u64,
    /// Tasks that have not ended and wait for no other.
    pub running: u64,
    /// Tasks that completed, with no subtask failed.
    pub completed: u64,
    /// Tasks that ended as exceptional, or with failed subtasks.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that were skipped.
    pub skipped: u64,
}

/// A flow, without its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowSummary {
    /// The id.
    pub id: u64,
    /// The name.
    pub name: String,
    /// The flow whose failed tasks it runs again.
    pub retry_of: Option<u64>,
    /// The time of its creation.
    pub created_at: u64,
    /// The numbers of its tasks.
    pub counts: FlowCounts,
}

/// The dependency of a task of a flow on another task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowEdge {
    /// The task.
    pub task: u64,
    /// The task that it waits for.
    pub on: u64,
    /// The condition on its end.
    pub when: Condition,
    /// The name by which the task refers to it.
    pub name: String,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// The flow.
    #[serde(flatten)]
    pub summary: FlowSummary,
    /// Its tasks, by id.
    pub tasks: Vec<Task>,
    /// The tasks that they wait for or waited for.
    pub edges: Vec<FlowEdge>,
}

/// The conditions of a list of flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct FlowQuery {
    /// The `next` of the page before.
    pub cursor: Option<u64>,
    /// The most flows of a page, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A page of flows, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowPage {
    /// The flows.
    pub flows: Vec<FlowSummary>,
    /// The cursor of the next page; none where this is the last.
    pub next: Option<u64>,
}
