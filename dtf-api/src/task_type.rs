//! Types of task.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A type of task that the server knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskType {
    /// Its name.
    pub name: String,
    /// Its number, in `tbl_task`.
    pub number: u32,
    /// The version of its plugin.
    pub version: u32,
    /// Its purpose.
    pub description: String,
    /// The most attempts at a subtask.
    pub max_attempts: u32,
    /// The longest that an attempt may take.
    pub subtask_timeout_ms: u64,
}
