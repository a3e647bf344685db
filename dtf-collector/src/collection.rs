//! The collection of one task's results, from the load of its collector to its conclusion.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use dtf_model::plugin::{IterationMode, TaskCollector, TaskConf};
use dtf_model::queue::{CollectorQueue, Commit, Fence, ResultBatch, TaskState};
use dtf_model::table::check_result;
use dtf_model::{Counts, EmitEpoch, Seq, StoreError};
use dtf_runtime::{
    Attempts, Calls, End, Halt, RoleContext, TaskLease, called, called_each, caught, until_answered,
};

use crate::MAX_STATUS_BYTES;
use crate::callback::{Told, tell};
use crate::failure_outbox::FailureOutbox;
use crate::policy::too_many_failures;
use crate::saved_status;

/// The most result batches a round.
const ROUND: usize = 64;
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
    /// How many result batches have been committed.
    pub(crate) offset: u64,
    pub(crate) attempts: &'a mut Attempts,
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
            let batches = self.queues.peek(self.fence, self.offset, most).await?;
            let state = if batches.is_empty() {
                self.queues.state(self.fence.task).await?
            } else {
                Some(self.round(&batches).await?)
            };
            let Some(state) = state else { return Ok(End::Settled) };
            if state.ending.is_some() || state.control.ends() {
                called(&self.lease.stop, CALL_LIMIT, failing(self.collector.cancel())).await?;
                return Ok(End::Settled);
            }
            if let Some(reason) = too_many_failures(&state.counts, self.conf.on_failure) {
                return Err(anyhow::anyhow!(reason).into());
            }
            if state.is_complete() {
                return self.conclude(&state.counts).await;
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
        let again = async {
            match self.failures.retry_at() {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.lease.stop.cancelled() => {}
            () = self.lease.changed.notified() => {}
            () = again => {}
        }
    }

    /// Gives the results to the callback and commits what came of it.
    async fn round(&mut self, batches: &[ResultBatch]) -> Result<TaskState, Halt> {
        let calls = Calls::default();
        let told = failing(tell(self.collector.as_mut(), self.fence, batches, &calls));
        let told = called_each(&self.lease.stop, CALL_LIMIT, calls.clone(), told).await?;
        let Told { batches: told, added, open } = told;
        let batches = &batches[..told];
        self.failures.add(&self.lease.stop, batches, &open).await?;
        if !added.is_empty() && self.conf.iteration == IterationMode::No {
            let why = "the collector added a subtask, and the task type's iteration mode is No";
            return Err(anyhow::anyhow!(why).into());
        }
        let count = (open.len() + added.len()) as u64;
        let commit = Commit {
            epoch: self.epoch,
            offset: self.offset,
            batches: batches.len() as u64,
            first: self.next,
            open: open.into_values().collect(),
            follow_ups: added,
            saved: saved_status::encode(self.status()?, self.failures.waiting()),
        };
        let state = self.commit(commit).await?;
        self.offset += batches.len() as u64;
        self.next = self.next.plus(count);
        self.attempts.got_on();
        if !state.generated || state.pending > 0 || state.delayed > 0 {
            let task = self.fence.task;
            self.context.wake.notify(self.context.shape.scheduling(task), task);
        }
        Ok(state)
    }

    fn status(&self) -> Result<Option<Bytes>, Halt> {
        let saved = caught(|| self.collector.save_status()).map_err(anyhow::Error::from).flatten();
        let saved = saved.context(FAILED).map_err(Halt::Plugin)?;
        if let Some(bytes) = saved.as_ref().map(Bytes::len).filter(|bytes| *bytes > MAX_STATUS_BYTES) {
            let why =
                format!("the collector's status has {bytes} bytes; at most {MAX_STATUS_BYTES} are allowed");
            return Err(Halt::Fault(anyhow::Error::msg(why)));
        }
        Ok(saved)
    }

    /// Commits, again while the store does not answer: what is committed already is not committed twice.
    async fn commit(&mut self, commit: Commit) -> Result<TaskState, StoreError> {
        let (queues, fence) = (self.queues, self.fence);
        until_answered(&self.lease.stop, || queues.commit(fence, commit.clone())).await
    }

    async fn conclude(&mut self, counts: &Counts) -> Result<End, Halt> {
        // Nobody would do it later: the task's queues may go soon.
        self.failures.flush(&self.lease.stop).await?;
        let summed_up = failing(self.collector.after_task_completed(counts));
        let result = called(&self.lease.stop, CALL_LIMIT, summed_up).await?;
        check_result(&result).context(FAILED)?;
        self.queues.conclude(self.fence, &result).await?;
        let task = self.fence.task;
        self.context.wake.notify(self.context.shape.watch(task), task);
        Ok(End::Settled)
    }
}

/// Names the collector in the errors of a call into the plugin.
pub(crate) async fn failing<T>(call: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    call.await.context(FAILED)
}
