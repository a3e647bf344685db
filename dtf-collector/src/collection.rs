//! The collection of one task's results, from the load of its collector to its conclusion.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use dtf_model::plugin::{IterationMode, TaskCollector, TaskConf, TaskResult};
use dtf_model::queue::{CollectorQueue, Commit, FIRST_LOOK, Fence, ResultBatch, TaskState};
use dtf_model::table::check_result;
use dtf_model::{EmitEpoch, Seq, StoreError};
use dtf_runtime::{
    Attempts, Calls, End, Halt, RoleContext, TaskLease, called, called_each, caught, until, until_answered,
};

use crate::MAX_STATUS_BYTES;
use crate::callback::{Told, tell};
use crate::failure_outbox::FailureOutbox;
use crate::policy::too_many_failures;
use crate::saved_status;

/// The most result batches a round.
const ROUND: usize = FIRST_LOOK;
/// The time that one callback may take.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(300);
const FAILED: &str = "the collector failed";

/// One load of a task's collector at work.
pub(crate) struct Collection<'a> {
    pub(crate) queues: &'a dyn CollectorQueue,
    pub(crate) context: &'a RoleContext,
    pub(crate) lease: &'a TaskLease,
    pub(crate) fence: Fence,
    pub(crate) conf: &'a TaskConf,
    pub(crate) collector: Box<dyn TaskCollector>,
    pub(crate) failures: FailureOutbox<'a>,
    pub(crate) epoch: EmitEpoch,
    /// The number of the next follow-up.
    pub(crate) next: Seq,
    /// The number of result batches that have been committed.
    pub(crate) offset: u64,
    pub(crate) attempts: &'a mut Attempts,
    /// How the task stood when it was last read or committed to.
    pub(crate) known: TaskState,
    /// Results that were found and not looked at yet.
    pub(crate) found: Option<Vec<ResultBatch>>,
}

impl Collection<'_> {
    /// Collects until the run wants no more of it. Its failures are written before the task ends.
    pub(crate) async fn run(mut self) -> Result<End, Halt> {
        let ended = self.collect().await;
        if matches!(ended, Ok(End::Settled) | Err(Halt::Fault(_))) {
            self.failures.flush(&self.lease.stop).await?;
        }
        ended
    }

    async fn collect(&mut self) -> Result<End, Halt> {
        while !self.lease.stop.is_cancelled() {
            // Behind a failure as little as possible, so that what is good is saved up to what is not.
            let most = if self.attempts.is_repeating() { 1 } else { ROUND };
            // The first look came with the load, and the state was read before it.
            let (mut batches, is_first) = match self.found.take() {
                Some(found) => (found, true),
                None => (self.queues.peek(self.fence, self.offset, most).await?, false),
            };
            batches.truncate(most);
            if !batches.is_empty() {
                if self.round(&batches).await? {
                    return Ok(self.concluded());
                }
            } else if !is_first {
                match self.queues.state(self.fence.task).await? {
                    Some(state) => self.known = state,
                    None => return Ok(End::Settled),
                }
            }
            if self.known.ending.is_some() || self.known.control.ends() {
                called(&self.lease.stop, CALL_LIMIT, failing(self.collector.cancel())).await?;
                return Ok(End::Settled);
            }
            if let Some(reason) = too_many_failures(&self.known.counts, self.conf.on_failure) {
                return Err(anyhow::anyhow!(reason).into());
            }
            if self.known.is_complete() {
                return self.conclude().await;
            }
            if batches.is_empty() {
                self.failures.try_flush(&self.lease.stop).await?;
                self.pause().await;
            }
        }
        Ok(End::Stopped)
    }

    /// Waits for a hint, which the bucket's look at all tasks gives where one was lost; or until the outbox is due.
    async fn pause(&mut self) {
        tokio::select! {
            () = self.lease.stop.cancelled() => {}
            () = self.lease.changed.notified() => {}
            () = until(self.failures.retry_at()) => {}
        }
    }

    /// Gives the results to the callback and commits what came of it. Returns whether that concluded the task: where these are
    /// its last results, the callback sums up before they are committed, and one write has both.
    async fn round(&mut self, batches: &[ResultBatch]) -> Result<bool, Halt> {
        let calls = Calls::default();
        let (collector, fence) = (self.collector.as_mut(), self.fence);
        let told = async {
            let told = failing(tell(collector, fence, batches, &calls)).await?;
            failing(collector.flush()).await?;
            Ok((told, status(collector)?))
        };
        let (told, status) = called_each(&self.lease.stop, CALL_LIMIT, calls.clone(), told).await?;
        if let Some(bytes) = status.as_ref().map(Bytes::len).filter(|bytes| *bytes > MAX_STATUS_BYTES) {
            let why =
                format!("the collector's status has {bytes} bytes; at most {MAX_STATUS_BYTES} are allowed");
            return Err(Halt::Fault(anyhow::Error::msg(why)));
        }
        let Told { batches: told, added, open } = told;
        let batches = &batches[..told];
        self.failures.add(&self.lease.stop, batches, &open).await?;
        if !added.is_empty() && self.conf.iteration == IterationMode::No {
            let why = "the collector added a subtask, and the task type's iteration mode is No";
            return Err(anyhow::anyhow!(why).into());
        }
        let count = (open.len() + added.len()) as u64;
        let saved = saved_status::encode(status, self.failures.waiting());
        // What it failed with comes behind the commit, so that only the summing up is done again.
        let (end, failure) = match self.is_last(batches, count) {
            true => match self.sum_up().await {
                Ok(result) => (Some(result), None),
                Err(failure @ (Halt::Plugin(_) | Halt::Fault(_))) => (None, Some(failure)),
                Err(halt) => return Err(halt),
            },
            false => (None, None),
        };
        let is_concluded = end.is_some();
        let commit = Commit {
            epoch: self.epoch,
            offset: self.offset,
            batches: batches.len() as u64,
            first: self.next,
            open: open.into_values().collect(),
            follow_ups: added,
            saved,
            end,
        };
        self.known = self.commit(commit).await?;
        self.offset += batches.len() as u64;
        self.next = self.next.plus(count);
        self.attempts.got_on();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let state = &self.known;
        if !state.generated || state.pending > 0 || state.delayed > 0 {
            let task = self.fence.task;
            self.context.wake.notify(self.context.shape.scheduling(task), task);
        }
        Ok(is_concluded)
    }

    /// Whether these are the last results of the task, from which nothing further comes. What is known of the books may be old;
    /// once they are full, only this collector changes them.
    fn is_last(&self, batches: &[ResultBatch], further: u64) -> bool {
        let (known, results) = (&self.known, batches.iter().map(|batch| batch.results.len() as u64));
        let is_full = known.generated && known.counts.counted() == known.counts.created;
        is_full
            && further == 0
            && known.collected + results.sum::<u64>() == known.counts.counted()
            && self.failures.waiting().is_empty()
            && too_many_failures(&known.counts, self.conf.on_failure).is_none()
    }

    /// Commits, again while the store does not answer: what is committed already is not committed twice.
    async fn commit(&mut self, commit: Commit) -> Result<TaskState, StoreError> {
        let (queues, fence) = (self.queues, self.fence);
        until_answered(&self.lease.stop, || queues.commit(fence, commit.clone())).await
    }

    async fn conclude(&mut self) -> Result<End, Halt> {
        // Nobody would do it later: the task's queues may go soon.
        self.failures.flush(&self.lease.stop).await?;
        let result = self.sum_up().await?;
        self.queues.conclude(self.fence, &result).await?;
        Ok(self.concluded())
    }

    async fn sum_up(&mut self) -> Result<TaskResult, Halt> {
        let summed_up = failing(self.collector.after_task_completed(&self.known.counts));
        let result = called(&self.lease.stop, CALL_LIMIT, summed_up).await?;
        check_result(&result).context(FAILED)?;
        Ok(result)
    }

    fn concluded(&self) -> End {
        let task = self.fence.task;
        self.context.wake.notify(self.context.shape.watch(task), task);
        End::Settled
    }
}

/// The collector's status behind what it was told.
fn status(collector: &dyn TaskCollector) -> anyhow::Result<Option<Bytes>> {
    caught(|| collector.save_status()).map_err(anyhow::Error::from).flatten().context(FAILED)
}

/// Names the collector in the errors of a call into the plugin.
pub(crate) async fn failing<T>(call: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    call.await.context(FAILED)
}
