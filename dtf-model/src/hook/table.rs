//! The port to what is kept of hooks.

use async_trait::async_trait;

use super::HookRecord;
use crate::error::StoreError;
use crate::ids::TaskId;
use crate::table::TaskRow;

/// The progress of a task's hooks, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUpdate {
    /// The task.
    pub task: TaskId,
    /// The time of attention that was read with the records: [`TaskRow::hook_at`]. It is written only if that is still the same.
    pub read_at: Option<u64>,
    /// The records.
    pub records: Vec<HookRecord>,
    /// The time at which they want attention next; `None` for never. Differs from `read_at`.
    pub hook_at: Option<u64>,
}

/// The table of tasks, as far as it keeps hooks.
///
/// # What an implementor guarantees
/// - The call that ends a task with hooks makes them due at its time, in the same step: none is lost.
/// - Of several updates of what was read once, one applies.
/// - The row of a task is not forgotten before its hooks are settled.
#[async_trait]
pub trait HookTable: Send + Sync + 'static {
    /// The ended tasks whose hooks want attention by a time, the longest due ones first.
    async fn due_hooks(&self, by: u64, most: u32) -> Result<Vec<TaskRow>, StoreError>;

    /// The time at which the first hook of an ended task wants attention.
    async fn next_hook_at(&self) -> Result<Option<u64>, StoreError>;

    /// Writes the progress of a task's hooks. Returns false if they were changed since they were read.
    async fn update_hooks(&self, update: &HookUpdate) -> Result<bool, StoreError>;
}
