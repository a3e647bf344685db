//! Subtasks that failed for good.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A subtask that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The load of the generator or collector that emitted it.
    pub epoch: u32,
    /// Its number within the run.
    pub seq: u64,
    /// True where it was stopped because it took too long.
    pub timed_out: bool,
    /// The error.
    pub error: String,
    /// Its body, where that is text without control characters; none where it was too large to be kept.
    pub body: Option<String>,
    /// Its body in hexadecimal digits, where it is something else.
    pub body_hex: Option<String>,
}

/// Failures of a task that read the same but for their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureKind {
    /// The text that their errors have in common: numbers, and hexadecimal digits as in ids, are `#`.
    pub pattern: String,
    /// True where they were stopped because they took too long.
    pub timed_out: bool,
    /// The number of them, of those that are kept.
    pub count: u64,
    /// The error of the first one.
    pub example: String,
    /// The `epoch` of the first one.
    pub epoch: u32,
    /// The `seq` of the first one.
    pub seq: u64,
}

/// The part of a task's failures to return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct FailureQuery {
    /// The `epoch` of the last failure of the page before; 0 for the first page.
    pub after_epoch: u32,
    /// The `seq` of the last failure of the page before.
    pub after_seq: Option<u64>,
    /// The most failures of a page, 1 to 1000. Default 100.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A page of failures, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailurePage {
    /// The failures.
    pub failures: Vec<Failure>,
    /// True where another page may follow.
    pub more: bool,
}
