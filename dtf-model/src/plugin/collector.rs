//! The collector's callback: is told every result, may add subtasks, and sums the task up.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::generator::NewSubtask;
use crate::ids::SubtaskId;
use crate::queue::Outcome;
use crate::status::Counts;

/// A subtask that is in the books, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultOf {
    /// Which subtask. Its idempotency key is the same however often it is collected.
    pub id: SubtaskId,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a task as a whole came to; stored in `tbl_task`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The plugin's own code; 0 for success.
    pub code: i32,
    /// The plugin's own words for it.
    pub reason: String,
    /// The plugin's own data.
    pub data: serde_json::Value,
}

/// What a collector may do besides.
#[derive(Debug, Default)]
pub struct CollectorSupport {
    added: Vec<NewSubtask>,
}

impl CollectorSupport {
    /// Adds a subtask to the task (iteration).
    pub fn add_subtask(&mut self, subtask: NewSubtask) {
        self.added.push(subtask);
    }

    /// Takes what was added.
    pub fn take_added(&mut self) -> Vec<NewSubtask> {
        std::mem::take(&mut self.added)
    }
}

/// Is told the results of one task.
///
/// The calls come one at a time: `begin`, then `after_execution` for every subtask that is counted, then
/// `after_task_completed` when no more can come. When the process dies, the next one begins with the status that was
/// saved together with the last results that were committed, and is told the later ones again.
#[async_trait]
pub trait TaskCollector: Send {
    /// Prepares to collect: from the start, or from the status saved last.
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()>;

    /// A subtask has ended. What is added to `support` is committed together with the collection of this result.
    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()>;

    /// What `begin` needs to continue behind the last result; at most 64 KiB.
    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(None)
    }

    /// Every subtask has been collected. Not called for a task that ends otherwise.
    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult>;

    /// The task ended without being completed: clean up.
    async fn cancel(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}
