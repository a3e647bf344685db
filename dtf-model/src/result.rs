//! Results that are kept with their task. The port to `tbl_task_result`.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
use crate::ids::{RunEpoch, TaskId};

/// A result, with its number in the order in which the results of its task were collected.
pub type NumberedResult = (u64, Bytes);

/// The table of results. They go with their task.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it. A call that failed may have kept some of what it was given.
/// - A result that is there stays as it is: keeping another one under its number changes nothing.
/// - Results are UTF-8, and come back as they were.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::result::ResultTable;
/// use dtf_model::{RunEpoch, TaskId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let (task, run) = (TaskId(1), RunEpoch(1));
/// table.keep_results(task, run, 0, &["1".into(), "4".into()]).await?;
/// table.keep_results(task, run, 1, &["4".into(), "9".into()]).await?;
/// let kept = table.results(task, run, 1, 10).await?;
/// assert_eq!(kept, [(1, "4".into()), (2, "9".into())]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ResultTable: Send + Sync + 'static {
    /// Keeps results of a run under consecutive numbers from `first`. What is no UTF-8 is refused with
    /// [`StoreError::InvalidInput`].
    async fn keep_results(
        &self,
        task: TaskId,
        run: RunEpoch,
        first: u64,
        results: &[Bytes],
    ) -> Result<(), StoreError>;

    /// The results of a run with numbers from `from`, in their order, at most so many.
    async fn results(
        &self,
        task: TaskId,
        run: RunEpoch,
        from: u64,
        most: u32,
    ) -> Result<Vec<NumberedResult>, StoreError>;
}
