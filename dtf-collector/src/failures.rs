//! Keeping what finally failed, before its results are taken off.

use std::collections::BTreeMap;

use dtf_model::StoreError;
use dtf_model::failure::{Failure, FailureKey, MAX_FAILURES};
use dtf_model::queue::{Fence, Outcome, ResultBatch, StillOpen};
use dtf_model::roles::until_answered;
use dtf_model::table::TaskTable;
use tokio_util::sync::CancellationToken;

/// The failures of one run, as its collector keeps them.
pub(crate) struct Failures<'a> {
    table: &'a dyn TaskTable,
    fence: Fence,
    /// How many are kept already; none before it was looked up, which only a run with failures needs.
    kept: Option<u64>,
}

impl<'a> Failures<'a> {
    pub(crate) fn new(table: &'a dyn TaskTable, fence: Fence) -> Self {
        Self { table, fence, kept: None }
    }

    /// Keeps the failures among these results, but for those of subtasks that stay open, as long as there are not too many
    /// of the run. Results that are given again
    /// after a crash are kept once.
    ///
    /// # Errors
    /// The table refuses, or does not answer before `stop` has fired.
    pub(crate) async fn keep(
        &mut self,
        stop: &CancellationToken,
        batches: &[ResultBatch],
        open: &BTreeMap<FailureKey, StillOpen>,
    ) -> Result<(), StoreError> {
        let mut failures = for_good(batches, open);
        if failures.is_empty() {
            return Ok(());
        }
        let (table, task, run) = (self.table, self.fence.task, self.fence.run);
        let kept = match self.kept {
            Some(kept) => kept,
            None => until_answered(stop, || table.count_failures(task, run)).await?,
        };
        let room = usize::try_from(MAX_FAILURES.saturating_sub(kept)).unwrap_or(usize::MAX);
        failures.truncate(room);
        if !failures.is_empty() {
            until_answered(stop, || table.keep_failures(task, run, &failures)).await?;
        }
        self.kept = Some(kept + failures.len() as u64);
        Ok(())
    }
}

fn for_good(batches: &[ResultBatch], open: &BTreeMap<FailureKey, StillOpen>) -> Vec<Failure> {
    batches.iter().flat_map(failures_of).filter(|failure| !open.contains_key(&failure.key)).collect()
}

fn failures_of(batch: &ResultBatch) -> impl Iterator<Item = Failure> {
    batch.results.iter().filter_map(|(seq, outcome)| {
        let key = FailureKey { epoch: batch.epoch, seq: *seq };
        match outcome {
            Outcome::Failed { error, body } => Some(Failure::new(key, false, error, body.clone())),
            Outcome::TimedOut { body } => Some(Failure::new(key, true, "it took too long", body.clone())),
            Outcome::Succeeded(_) | Outcome::Cancelled => None,
        }
    })
}
