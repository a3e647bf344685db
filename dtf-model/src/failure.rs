//! Subtasks that failed for good, kept so that they can be shown and run again. The port to `tbl_task_failure`.
//!
//! They are kept beside the tasks and not with the queues, as those go when a task has ended.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use crate::error::StoreError;
use crate::ids::{EmitEpoch, RunEpoch, Seq, TaskId};

/// The most failures that are kept of a run. Those beyond are counted in the books, like all others, and forgotten.
pub const MAX_FAILURES: u64 = 1000;
/// The largest body that is kept, in bytes. A subtask with a larger one is kept without it, and cannot be run again.
pub const MAX_FAILURE_BODY_BYTES: usize = 64 * 1024;
/// The longest error that is kept, in characters; what is longer is cut.
pub const MAX_FAILURE_ERROR_CHARS: usize = 4096;

/// Names a subtask within a run: the load that emitted it, and its number. Failures are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FailureKey {
    /// The load that emitted it.
    pub epoch: EmitEpoch,
    /// Its number.
    pub seq: Seq,
}

/// A subtask that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The key of the failure.
    pub key: FailureKey,
    /// True if the subtask took too long, and did not fail by itself.
    pub timed_out: bool,
    /// Why it failed.
    pub error: String,
    /// Its body; none where it was over [`MAX_FAILURE_BODY_BYTES`].
    pub body: Option<Bytes>,
}

impl Failure {
    /// A failure, with as much of it as is kept.
    pub fn new(key: FailureKey, timed_out: bool, error: &str, body: Bytes) -> Self {
        let end = error.char_indices().nth(MAX_FAILURE_ERROR_CHARS).map_or(error.len(), |(end, _)| end);
        let body = Some(body).filter(|body| body.len() <= MAX_FAILURE_BODY_BYTES);
        Self { key, timed_out, error: error[..end].to_owned(), body }
    }
}

/// The table of failures.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it. A call that failed may have kept some of what it was
///   given.
/// - A failure that is there stays as it is: keeping it again changes nothing.
/// - Bodies and errors come back as they were.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::failure::{Failure, FailureKey, FailureTable};
/// use dtf_model::{EmitEpoch, RunEpoch, Seq, TaskId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let key = FailureKey { epoch: EmitEpoch(1), seq: Seq(7) };
/// let failure = Failure::new(key, false, "no such host", "its body".into());
/// table.keep_failures(TaskId(1), RunEpoch(1), &[failure.clone()]).await?;
/// table.keep_failures(TaskId(1), RunEpoch(1), &[failure.clone()]).await?;
/// assert_eq!(table.failures(TaskId(1), RunEpoch(1), None, 10).await?, [failure], "it is kept once");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait FailureTable: Send + Sync + 'static {
    /// Keeps failures of a run.
    async fn keep_failures(
        &self,
        task: TaskId,
        run: RunEpoch,
        failures: &[Failure],
    ) -> Result<(), StoreError>;

    /// The failures of a run with keys above `after`, by key, at most so many.
    async fn failures(
        &self,
        task: TaskId,
        run: RunEpoch,
        after: Option<FailureKey>,
        most: u32,
    ) -> Result<Vec<Failure>, StoreError>;

    /// All failures of a run that are kept, by key, without their bodies.
    async fn errors(&self, task: TaskId, run: RunEpoch) -> Result<Vec<Failure>, StoreError>;

    /// Returns the number of failures of a run that are kept.
    async fn count_failures(&self, task: TaskId, run: RunEpoch) -> Result<u64, StoreError>;

    /// Deletes the failures of all runs of a task before this one.
    async fn forget_failures(&self, task: TaskId, before: RunEpoch) -> Result<(), StoreError>;
}
