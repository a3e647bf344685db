//! The recent past of a cluster, for charts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A length of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// An hour, by 5 seconds.
    #[default]
    Hour,
    /// A day, by 5 minutes.
    Day,
}

/// The part of the past to return.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// The length. Default `hour`.
    #[param(inline)]
    pub span: Span,
    /// Only points later than this.
    pub since: Option<u64>,
    /// Only this resource group. Default: all that the token may see.
    pub group: Option<String>,
}

/// The share of one group over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupHistory {
    /// The resource group.
    pub group: String,
    /// Its share of the subtasks that ran, from 0 to 1; a number for each time.
    pub share: Vec<f32>,
    /// Its share of the quotas of the groups that had something to run, from 0 to 1; a number for each time.
    #[serde(default)]
    pub quota_share: Vec<f32>,
}

/// The recent past of the tasks that the caller may see, as this process saw it: each list has a number for each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The time between two points.
    pub step_ms: u64,
    /// The times at the ends of the steps. Steps in which the stores could not be read are missing.
    pub at: Vec<u64>,
    /// Subtasks per second that succeeded.
    pub succeeded: Vec<f32>,
    /// Subtasks per second that failed, timed out or were cancelled.
    pub failed: Vec<f32>,
    /// Subtasks that ran.
    pub running: Vec<f32>,
    /// Subtasks that waited.
    pub waiting: Vec<f32>,
    /// The mean time that a subtask waited, in milliseconds: those that waited over those that ended a second (Little's law). None where
    /// nothing ended.
    #[serde(default)]
    pub wait_ms: Vec<Option<f32>>,
    /// The mean time that a subtask ran, in milliseconds, likewise.
    #[serde(default)]
    pub run_ms: Vec<Option<f32>>,
    /// The groups with the largest shares, at most eight.
    pub groups: Vec<GroupHistory>,
}
