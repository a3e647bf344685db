//! `tbl_task_failure` in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::failure::{Failure, FailureKey, FailureTable};
use dtf_model::ids::{RunEpoch, TaskId};

use super::MemoryTable;

/// The failures of each run.
pub(super) type Failures = BTreeMap<(TaskId, RunEpoch), BTreeMap<FailureKey, Failure>>;

#[async_trait]
impl FailureTable for MemoryTable {
    async fn keep_failures(
        &self,
        task: TaskId,
        run: RunEpoch,
        failures: &[Failure],
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let kept = state.failures.entry((task, run)).or_default();
        for failure in failures {
            kept.entry(failure.key).or_insert_with(|| failure.clone());
        }
        Ok(())
    }

    async fn failures(
        &self,
        task: TaskId,
        run: RunEpoch,
        after: Option<FailureKey>,
        most: u32,
    ) -> Result<Vec<Failure>, StoreError> {
        let state = self.state();
        let Some(kept) = state.failures.get(&(task, run)) else { return Ok(Vec::new()) };
        let above = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        Ok(kept.range(above).take(most as usize).map(|(_, failure)| failure.clone()).collect())
    }

    async fn errors(&self, task: TaskId, run: RunEpoch) -> Result<Vec<Failure>, StoreError> {
        let state = self.state();
        let kept = state.failures.get(&(task, run)).into_iter().flat_map(|kept| kept.values());
        Ok(kept.map(|failure| Failure { body: None, ..failure.clone() }).collect())
    }

    async fn count_failures(&self, task: TaskId, run: RunEpoch) -> Result<u64, StoreError> {
        Ok(self.state().failures.get(&(task, run)).map_or(0, |kept| kept.len() as u64))
    }

    async fn forget_failures(&self, task: TaskId, before: RunEpoch) -> Result<(), StoreError> {
        self.state().failures.retain(|(of, run), _| *of != task || *run >= before);
        Ok(())
    }
}
