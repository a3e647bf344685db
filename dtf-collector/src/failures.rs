//! Keeping what finally failed.
//!
//! Failures are kept before their results are taken off, as long as the table answers. While it does not, results are taken off
//! nevertheless, and the failures among them are [owed]: they stand in the status that the same commit saves, and are kept when
//! the table is back, before the task is concluded. What is owed is bounded; beyond that, collecting waits for the table.
//!
//! A collector that dies leaves
//! - before the commit: the results, told again by the next one; failures that were kept are kept again, which changes nothing;
//! - after it: what is owed, in the status that the next one loads.

use std::collections::BTreeMap;
use std::time::Duration;

use dtf_model::StoreError;
use dtf_model::failure::{Failure, FailureKey, MAX_FAILURES};
use dtf_model::queue::{Fence, Outcome, ResultBatch, StillOpen};
use dtf_model::table::TaskTable;
use dtf_runtime::until_answered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::owed;

/// How much may be owed, in bytes of the saved status.
const MOST_OWED: usize = 256 * 1024;
/// How long the table may take to answer before collecting goes on without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it is asked again then.
const AGAIN: Duration = Duration::from_secs(5);

/// The failures of one run, as its collector keeps them.
pub(crate) struct Failures<'a> {
    table: &'a dyn TaskTable,
    fence: Fence,
    /// How many are kept already; none before it was looked up, which only a run with failures needs.
    kept: Option<u64>,
    owed: Vec<Failure>,
    /// When the table is asked again that did not answer.
    again_at: Option<Instant>,
}

impl<'a> Failures<'a> {
    /// `owed` is what an earlier collector of the run did not get rid of.
    pub(crate) fn new(table: &'a dyn TaskTable, fence: Fence, owed: Vec<Failure>) -> Self {
        Self { table, fence, kept: None, owed, again_at: None }
    }

    /// Keeps the failures among these results, but for those of subtasks that stay open, as long as there are not too many
    /// of the run; or owes them. Results that are given again after a crash are kept once.
    ///
    /// # Errors
    /// The table refuses; or too much is owed, and it does not answer before `stop` has fired.
    pub(crate) async fn keep(
        &mut self,
        stop: &CancellationToken,
        batches: &[ResultBatch],
        open: &BTreeMap<FailureKey, StillOpen>,
    ) -> Result<(), StoreError> {
        self.owed.extend(for_good(batches, open));
        self.owed.truncate(usize::try_from(MAX_FAILURES).unwrap_or(usize::MAX));
        match self.owed.iter().map(owed::bytes_of).sum::<usize>() {
            0..=MOST_OWED => self.try_to_pay(stop).await,
            _ => self.pay(stop).await,
        }
    }

    /// When it is time to ask the table again, where something is owed.
    pub(crate) fn again_at(&self) -> Option<Instant> {
        self.again_at.filter(|_| !self.owed.is_empty())
    }

    /// What is owed still.
    pub(crate) fn owed(&self) -> &[Failure] {
        &self.owed
    }

    /// Keeps what is owed, if it is time to ask the table and it answers soon.
    ///
    /// # Errors
    /// The table refuses, or `stop` has fired.
    pub(crate) async fn try_to_pay(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.again_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, self.pay(stop)).await {
            Ok(answered) => answered,
            // It may have kept them nevertheless: keeping them again changes nothing.
            Err(_) => {
                let (task_id, owed) = (self.fence.task, self.owed.len());
                tracing::warn!(%task_id, owed, "failures cannot be kept yet, collecting goes on");
                self.again_at = Some(Instant::now() + AGAIN);
                Ok(())
            }
        }
    }

    /// Keeps what is owed, however long that takes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The table refuses, or does not answer before `stop` has fired.
    pub(crate) async fn pay(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let (table, task, run) = (self.table, self.fence.task, self.fence.run);
        let kept = match self.kept {
            Some(kept) => kept,
            None => until_answered(stop, || table.count_failures(task, run)).await?,
        };
        self.kept = Some(kept);
        let room = usize::try_from(MAX_FAILURES.saturating_sub(kept)).unwrap_or(usize::MAX);
        self.owed.truncate(room);
        if !self.owed.is_empty() {
            until_answered(stop, || table.keep_failures(task, run, &self.owed)).await?;
        }
        self.kept = Some(kept + self.owed.len() as u64);
        self.owed.clear();
        self.again_at = None;
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
