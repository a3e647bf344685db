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

/// A group of tasks that has a share of the executors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
