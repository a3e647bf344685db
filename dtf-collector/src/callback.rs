//! The callback: a task's collector is given results, and says which subtasks to add and which to keep open.

use std::collections::BTreeMap;
use std::time::Duration;

use dtf_model::SubtaskId;
use dtf_model::failure::FailureKey;
use dtf_model::plugin::{CollectorSupport, NewSubtask, ResultOf, TaskCollector};
use dtf_model::queue::{Fence, ResultBatch, StillOpen};
use dtf_runtime::Calls;
use tokio::time::Instant;

/// The size of added subtasks at which the next batch is left for another commit, in bytes.
const COMMIT_BYTES: usize = 4 << 20;

/// The time after which a round ends, in whole batches, so that what it came to is saved.
const ROUND_TIME: Duration = Duration::from_secs(1);

/// The answers of the callback to some batches of results.
#[derive(Default)]
pub(crate) struct Told {
    /// The number of batches.
    pub(crate) batches: usize,
    /// The subtasks to add.
    pub(crate) added: Vec<NewSubtask>,
    /// The subtasks that stay open.
    pub(crate) open: BTreeMap<FailureKey, StillOpen>,
}

/// Gives results to the callback, one by one, until the subtasks that it adds are as many as one commit should carry.
pub(crate) async fn tell(
    collector: &mut dyn TaskCollector,
    fence: Fence,
    batches: &[ResultBatch],
    calls: &Calls,
) -> anyhow::Result<Told> {
    let (mut support, mut told, mut bytes) = (CollectorSupport::default(), Told::default(), 0);
    let begun = Instant::now();
    for batch in batches {
        if bytes >= COMMIT_BYTES || (told.batches > 0 && begun.elapsed() >= ROUND_TIME) {
            break;
        }
        for (seq, outcome) in &batch.results {
            let id = SubtaskId { task: fence.task, run: fence.run, epoch: batch.epoch, seq: *seq };
            let result = ResultOf { id, outcome: outcome.clone() };
            calls.next();
            collector.after_execution(&result, &mut support).await?;
            if let (Some((next, after)), Some(counted_as)) = (support.take_open(), outcome.counted_as()) {
                next.check()?;
                let key = FailureKey { epoch: batch.epoch, seq: *seq };
                bytes += next.body.len();
                told.open.insert(key, StillOpen { counted_as, next, after });
            }
        }
        let added = support.take_added();
        added.iter().try_for_each(NewSubtask::check)?;
        bytes += added.iter().map(|subtask| subtask.body.len()).sum::<usize>();
        told.added.extend(added);
        told.batches += 1;
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use dtf_model::plugin::TaskResult;
    use dtf_model::queue::Outcome;
    use dtf_model::{Counts, EmitEpoch, RunEpoch, Seq, TaskId};
    use lrmf_core::Token;

    use super::*;

    /// Adds a subtask of 1 MiB for each result.
    struct Grows;

    #[async_trait]
    impl TaskCollector for Grows {
        async fn begin(&mut self, _: Option<Bytes>) -> anyhow::Result<()> {
            Ok(())
        }

        async fn after_execution(
            &mut self,
            _: &ResultOf,
            support: &mut CollectorSupport,
        ) -> anyhow::Result<()> {
            support.add_subtask(NewSubtask::new(vec![0; 1 << 20]));
            Ok(())
        }

        async fn after_task_completed(&mut self, _: &Counts) -> anyhow::Result<TaskResult> {
            Ok(TaskResult::default())
        }
    }

    #[tokio::test]
    async fn a_commit_is_not_larger_than_it_has_to_be() {
        let fence = Fence { task: TaskId(1), run: RunEpoch(1), token: Token(1) };
        let batch = |results: u64| ResultBatch {
            epoch: EmitEpoch(1),
            results: (0..results).map(|seq| (Seq(seq), Outcome::Cancelled)).collect(),
        };
        for (sizes, expected) in [(vec![1; 10], 4), (vec![100, 1], 1), (vec![3, 3, 3], 2), (vec![1, 1], 2)] {
            let batches: Vec<_> = sizes.iter().copied().map(batch).collect();
            let told = tell(&mut Grows, fence, &batches, &Calls::default()).await.unwrap();
            assert_eq!((told.batches, told.added.len() as u64), (expected, sizes[..expected].iter().sum()));
        }
    }
}
