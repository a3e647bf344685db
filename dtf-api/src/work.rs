//! The protocol of remote workers.
//!
//! A worker polls for items of the functions that it has, reports their outcomes, and beats while it runs any. Every call names its
//! session and renews it; a session that is silent for `lease_ms` has ended, and what its worker had runs elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

crate::object::only_objects!(WorkerInfo, ItemReport, ItemNote);

/// A worker, as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct WorkerInfo {
    /// Its name; several may have the same one. At most 128 characters.
    pub name: String,
    /// Its language, as in `python 3.13`.
    pub language: String,
    /// The version of its program.
    pub version: String,
    /// The number of items that it runs at once.
    pub slots: u32,
}

/// A request for work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// The session; a new one begins where it is left out.
    #[serde(default)]
    pub session: Option<Uuid>,
    /// The worker. Needed for a new session, and passed over otherwise.
    #[serde(default)]
    pub worker: WorkerInfo,
    /// The functions that the worker has, at least one. Needed for a new session, and passed over otherwise.
    #[serde(default)]
    pub functions: Vec<String>,
    /// The most items that the worker takes, 0 to 1000. With 0 it only hears of what is dropped.
    pub most: u32,
    /// The time to wait for an item, in milliseconds; at most 20000. Default 20000.
    #[serde(default = "wait_ms")]
    pub wait_ms: u64,
}

fn wait_ms() -> u64 {
    20_000
}

/// An item to run a function on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkItem {
    /// Names the item in reports and beats, to any process of the cluster. An opaque text of at most 200 characters.
    pub ticket: String,
    /// The function.
    pub function: String,
    /// The task that the item is of.
    pub task: u64,
    /// The idempotency key: the same for every execution of the item.
    pub key: String,
    /// The number of earlier attempts that failed.
    pub attempt: u32,
    /// The time until the result is not waited for any more, in milliseconds.
    pub timeout_ms: u64,
    /// The item.
    #[schema(value_type = Value)]
    pub body: Box<serde_json::value::RawValue>,
}

/// The answer to a [`Poll`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// The session.
    pub session: Uuid,
    /// The time for which the session lasts without a further call, in milliseconds.
    pub lease_ms: u64,
    /// The items; none when the wait is over.
    pub items: Vec<WorkItem>,
    /// The tickets of items that are not wanted any more: stop them, and report nothing.
    pub dropped: Vec<String>,
    /// True if the worker is to take nothing more, end what it has, and leave.
    pub drain: bool,
}

/// The outcome of an item: `result`, or `error`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct ItemReport {
    /// The item's ticket.
    pub ticket: String,
    /// The result of a success; left out, or null, for none.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub result: Option<Box<serde_json::value::RawValue>>,
    /// The error of a failure.
    #[serde(default)]
    pub error: Option<String>,
    /// True if another attempt at a failed item may succeed. Default true.
    #[serde(default = "retryable")]
    pub retryable: bool,
}

fn retryable() -> bool {
    true
}

/// Reports the outcomes of items.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportWork {
    /// The session.
    pub session: Uuid,
    /// The outcomes; at most 1000.
    pub reports: Vec<ItemReport>,
}

/// The answer to a [`ReportWork`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reported {
    /// The number of outcomes that were taken.
    pub accepted: u64,
    /// The tickets whose items have an outcome already, or are somebody else's now.
    pub unknown: Vec<String>,
}

/// A sign of life of a worker that runs items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// The session.
    pub session: Uuid,
    /// The tickets of all items that the worker has. Others that it was given more than five seconds ago are run elsewhere.
    pub running: Vec<String>,
    /// The time to wait for news, in milliseconds; at most 20000. Default 0.
    #[serde(default)]
    pub wait_ms: u64,
    /// Notes for people on items that run, at most one of each. An item keeps its newest one while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<ItemNote>,
}

/// A note on an item that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct ItemNote {
    /// The item's ticket.
    pub ticket: String,
    /// The share that is done, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// A line for people, at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A query for the items that workers have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RunningQuery {
    /// Only those of this task.
    pub task: Option<u64>,
    /// The most items, 1 to 1000. Default 100.
    pub limit: Option<u32>,
}

/// An item that a worker has, which is connected to the process that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunningItem {
    /// The task that it is of.
    pub task: u64,
    /// Its idempotency key.
    pub key: String,
    /// The function.
    pub function: String,
    /// The name of the worker.
    pub worker: String,
    /// The number of earlier attempts that failed.
    pub attempt: u32,
    /// The time for which the worker has had it, in milliseconds.
    pub running_ms: u64,
    /// The share that is done, as the worker said it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// The worker's last line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer to a [`Beat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct News {
    /// The time for which the session lasts without a further call, in milliseconds.
    pub lease_ms: u64,
    /// The tickets of items that are not wanted any more: stop them, and report nothing.
    pub dropped: Vec<String>,
    /// True if the worker is to take nothing more, end what it has, and leave.
    pub drain: bool,
}

/// Ends a session. What its worker still has runs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// The session.
    pub session: Uuid,
}

/// A remote worker that is connected to a process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemoteWorker {
    /// The session.
    pub session: Uuid,
    /// The worker.
    pub worker: WorkerInfo,
    /// Its functions, by name.
    pub functions: Vec<String>,
    /// The process that it is connected to.
    pub process: String,
    /// The number of items that it has, where it is connected to the process that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// The time left of its lease, in milliseconds, where it is connected to the process that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// True if it was asked to leave.
    pub drained: bool,
}
