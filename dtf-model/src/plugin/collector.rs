//! The collector's callback: is told every result, may add subtasks, and sums the task up.

use std::time::Duration;

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
    /// The subtask. Its idempotency key is the same however often it is collected.
    pub id: SubtaskId,
    /// The end of the subtask.
    pub outcome: Outcome,
}

/// The plugin's result of a whole task; stored in `tbl_task`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The plugin's own code; 0 for success.
    pub code: i32,
    /// The plugin's own words for it.
    pub reason: String,
    /// The plugin's own data.
    pub data: serde_json::Value,
}

/// The further actions of a collector: adding subtasks, and keeping one open.
#[derive(Debug, Default)]
pub struct CollectorSupport {
    added: Vec<NewSubtask>,
    open: Option<(NewSubtask, Duration)>,
}

impl CollectorSupport {
    /// Adds a subtask to the task (iteration).
    pub fn add_subtask(&mut self, subtask: NewSubtask) {
        self.added.push(subtask);
    }

    /// Says that the subtask of the result at hand is not finished: it stays open for another result.
    ///
    /// It is executed again after this wait, with this body, in which it can be told how far it is. It stands in the books
    /// once, as its last result says; until that comes, the task is not complete. Each execution that the collector asked for
    /// has an id, and so an idempotency key, and attempts of its own. Said twice for one result, the last word counts. Of no
    /// effect on a subtask that was cancelled.
    pub fn keep_open(&mut self, next: NewSubtask, after: Duration) {
        self.open = Some((next, after));
    }

    /// Takes what was said of the result at hand: none where its subtask is finished.
    pub fn take_open(&mut self) -> Option<(NewSubtask, Duration)> {
        self.open.take()
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
///
/// ```
/// use async_trait::async_trait;
/// use bytes::Bytes;
/// use dtf_model::Counts;
/// use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
/// use dtf_model::queue::Outcome;
///
/// /// Adds up the results, which are numbers.
/// struct Sum(u64);
///
/// #[async_trait]
/// impl TaskCollector for Sum {
///     async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
///         self.0 = saved.map_or(Ok(0), |saved| serde_json::from_slice(&saved))?;
///         Ok(())
///     }
///
///     async fn after_execution(&mut self, result: &ResultOf, _support: &mut CollectorSupport) -> anyhow::Result<()> {
///         if let Outcome::Succeeded(result) = &result.outcome {
///             self.0 += serde_json::from_slice::<u64>(&result.body)?;
///         }
///         Ok(())
///     }
///
///     fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
///         Ok(Some(serde_json::to_vec(&self.0)?.into())) // saved together with the results that are in it
///     }
///
///     async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
///         let reason = format!("the sum of {} numbers", counts.succeeded);
///         Ok(TaskResult { code: 0, reason, data: self.0.into() })
///     }
/// }
/// ```
#[async_trait]
pub trait TaskCollector: Send {
    /// Prepares to collect: from the start, or from the status saved last.
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()>;

    /// A subtask has ended, unless this says that it [is not finished](CollectorSupport::keep_open). What is said to
    /// `support` is committed together with the collection of this result.
    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()>;

    /// Called before [`save_status`](Self::save_status), behind the results of a round: what was put off, to be done together, is done
    /// here. It may be done again, as a commit may fail afterwards.
    async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Returns the state that `begin` needs to continue behind the last result; at most 64 KiB.
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
