//! The outbox of failures that are to be written to the table of failures.
//!
//! Failures are written before their results are taken off, as long as the table answers. While it does not answer, collecting
//! goes on: the failures wait in the outbox, which each commit saves with the collector's status, and are written when the
//! table is back, before the task is concluded. The outbox is bounded; when it is full, collecting waits for the table.
//!
//! A collector that dies leaves
//! - before the commit: the results, which its successor collects again; writing a failure twice changes nothing;
//! - after it: the outbox, in the status that its successor loads.

use std::collections::BTreeMap;
use std::time::Duration;

use dtf_model::StoreError;
use dtf_model::failure::{Failure, FailureKey, MAX_FAILURES};
use dtf_model::queue::{Fence, Outcome, ResultBatch, StillOpen};
use dtf_model::table::TaskTable;
use dtf_runtime::until_answered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::saved_status;

/// The largest outbox, in bytes of the saved status.
const MAX_BYTES: usize = 256 * 1024;
/// The time that the table has to answer before collecting goes on without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time to the next attempt then.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The failures of one run that are not in the table yet.
pub(crate) struct FailureOutbox<'a> {
    table: &'a dyn TaskTable,
    fence: Fence,
    /// The number of failures in the table; `None` until it is first needed.
    written: Option<u64>,
    waiting: Vec<Failure>,
    /// The time of the next attempt, after one that was not answered.
    retry_at: Option<Instant>,
}

impl<'a> FailureOutbox<'a> {
    /// Creates the outbox of a run, with the failures that its previous collector left `waiting`.
    pub(crate) fn new(table: &'a dyn TaskTable, fence: Fence, waiting: Vec<Failure>) -> Self {
        Self { table, fence, written: None, waiting, retry_at: None }
    }

    /// Adds the failures among these results, except those of subtasks that stay open, and writes them if the table answers
    /// soon. A run keeps its first [`MAX_FAILURES`]; a failure that is added again after a crash is written once.
    ///
    /// # Errors
    /// The table refuses; or the outbox is full, and the table does not answer before `stop` is cancelled.
    pub(crate) async fn add(
        &mut self,
        stop: &CancellationToken,
        batches: &[ResultBatch],
        open: &BTreeMap<FailureKey, StillOpen>,
    ) -> Result<(), StoreError> {
        self.waiting.extend(for_good(batches, open));
        self.waiting.truncate(usize::try_from(MAX_FAILURES).unwrap_or(usize::MAX));
        match self.waiting.iter().map(saved_status::bytes_of).sum::<usize>() {
            0..=MAX_BYTES => self.try_flush(stop).await,
            _ => self.flush(stop).await,
        }
    }

    /// Returns the time of the next attempt, if failures are waiting for one.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| !self.waiting.is_empty())
    }

    /// Returns the failures that are not in the table yet.
    pub(crate) fn waiting(&self) -> &[Failure] {
        &self.waiting
    }

    /// Writes the waiting failures if an attempt is due and the table answers soon.
    ///
    /// # Errors
    /// The table refuses, or `stop` is cancelled.
    pub(crate) async fn try_flush(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, self.flush(stop)).await {
            Ok(answered) => answered,
            // The table may have taken them nevertheless: writing them again changes nothing.
            Err(_) => {
                let (task_id, waiting) = (self.fence.task, self.waiting.len());
                tracing::warn!(%task_id, waiting, "the table of failures does not answer; collecting goes on");
                self.retry_at = Some(Instant::now() + RETRY_AFTER);
                Ok(())
            }
        }
    }

    /// Writes the waiting failures, however long that takes. Cancel-safe.
    ///
    /// # Errors
    /// The table refuses, or does not answer before `stop` is cancelled.
    pub(crate) async fn flush(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (table, task, run) = (self.table, self.fence.task, self.fence.run);
        let written = match self.written {
            Some(written) => written,
            None => until_answered(stop, || table.count_failures(task, run)).await?,
        };
        self.written = Some(written);
        let room = usize::try_from(MAX_FAILURES.saturating_sub(written)).unwrap_or(usize::MAX);
        self.waiting.truncate(room);
        if !self.waiting.is_empty() {
            until_answered(stop, || table.keep_failures(task, run, &self.waiting)).await?;
        }
        self.written = Some(written + self.waiting.len() as u64);
        self.waiting.clear();
        self.retry_at = None;
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
