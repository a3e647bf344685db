//! Resource groups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

crate::object::only_objects!(Limits);

/// Limits on what runs and on the rate, besides the share. None for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct Limits {
    /// The most subtasks that run at once.
    pub running: Option<u32>,
    /// The most subtasks that start in a second.
    pub rate: Option<u32>,
}

/// The subtasks of a group, as the server has just seen them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MeasuredGroup {
    /// The number of its subtasks that run.
    pub running: u64,
    /// The number of its subtasks that wait.
    pub waiting: u64,
    /// Its share of all subtasks that run, from 0 to 1; none where the token does not see all groups.
    #[schema(minimum = 0, maximum = 1)]
    pub share: Option<f64>,
}

/// A group of tasks that has a share of the executors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its share of the executors' time, in proportion to those of the other groups that have something to run.
    pub quota: u32,
    /// Its limits.
    pub limits: Limits,
    /// Its purpose.
    pub description: String,
    /// True while nothing of its tasks is dispatched; what runs may finish.
    #[serde(default)]
    pub paused: bool,
    /// The activity of its tasks now; none in the answer to a change, and where that cannot be read.
    #[serde(default)]
    pub measured: Option<MeasuredGroup>,
}

/// A group to be made or changed. Fields that are left out stay as they are; of a new group they have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetGroup {
    /// The share, 1 to 1000000. Default of a new group: 100.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quota: Option<u32>,
    /// The limits.
    pub limits: Option<Limits>,
    /// The purpose.
    pub description: Option<String>,
    /// True to dispatch nothing of its tasks until this is taken back; what runs may finish.
    pub paused: Option<bool>,
}
