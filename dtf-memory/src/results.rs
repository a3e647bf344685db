//! `tbl_task_result` in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::result::{NumberedResult, ResultTable};

use super::MemoryTable;

/// The results of each run by number.
pub(super) type Results = BTreeMap<(TaskId, RunEpoch), BTreeMap<u64, Bytes>>;

#[async_trait]
impl ResultTable for MemoryTable {
    async fn keep_results(
        &self,
        task: TaskId,
        run: RunEpoch,
        first: u64,
        results: &[Bytes],
    ) -> Result<(), StoreError> {
        if let Some(wrong) = results.iter().find(|result| str::from_utf8(result).is_err()) {
            let (got, allowed) = (format!("{wrong:?}"), "UTF-8".to_owned());
            return Err(InvalidInput::OutOfRange { what: "a result", got, allowed }.into());
        }
        let mut state = self.state();
        let kept = state.results.entry((task, run)).or_default();
        for (number, result) in (first..).zip(results) {
            kept.entry(number).or_insert_with(|| result.clone());
        }
        Ok(())
    }

    async fn results(
        &self,
        task: TaskId,
        run: RunEpoch,
        from: u64,
        most: u32,
    ) -> Result<Vec<NumberedResult>, StoreError> {
        let state = self.state();
        let Some(kept) = state.results.get(&(task, run)) else { return Ok(Vec::new()) };
        Ok(kept.range(from..).take(most as usize).map(|(number, result)| (*number, result.clone())).collect())
    }
}
