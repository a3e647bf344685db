//! The collector role: gives every result to its task's [`TaskCollector`], takes the follow-ups, and has the task summed up
//! when nothing more can come.
//!
//! Results are looked at, given to the callback, and only then taken off, together with the follow-ups and the
//! collector's status, in one write. A collector that dies in between leaves them to the next holder of the bucket: the
//! callback is told at least once, and its commit happens once. A subtask whose result the callback does not take for its
//! last is taken out of the books again in that write, and executed again under a further number.

mod failures;
mod owed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Role;
use dtf_model::failure::FailureKey;
use dtf_model::plugin::{
    CollectorSupport, IterationMode, NewSubtask, OnFailure, ResultOf, TaskCollector, TaskConf,
};
use dtf_model::queue::{CollectorQueue, Commit, Fence, ResultBatch, StillOpen, TaskState};
use dtf_model::table::{TaskTable, check_result};
use dtf_model::{Counts, EmitEpoch, RunEpoch, Seq, StoreError, SubtaskId};
use dtf_runtime::{
    BucketRunner, End, Halt, Looker, PerTask, RoleContext, Turn, called, caught, until_answered,
};

use self::failures::Failures;

/// The most result batches a round.
const ROUND: usize = 64;
/// How large what one commit wants executed may grow before the next batch is left for another one.
const COMMIT_BYTES: usize = 4 << 20;
/// How long the callbacks of one round may take.
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// The fewest counted subtasks before a share of failures can stop a task.
const FEW: u64 = 10;
const FAILED: &str = "the collector failed";
/// The largest status of a collector, in bytes.
pub const MAX_STATUS_BYTES: usize = 64 * 1024;

/// The collector role: a [`RunTask`](lrmf_core::runner::RunTask) for collection buckets.
pub type Collector = BucketRunner<Collect>;

/// The stores that the collector works with.
#[derive(Clone)]
pub struct CollectorPorts {
    /// `tbl_task`.
    pub table: Arc<dyn TaskTable>,
    /// The collector's side of the queues.
    pub queues: Arc<dyn CollectorQueue>,
}

/// Makes the collector role. Plugin code runs on the context's plugin runtime.
pub fn collector(ports: CollectorPorts, context: RoleContext) -> Collector {
    let (of, on) = (context.clone(), context.plugin_runtime.clone());
    let looker = Looker::new(ports.table.clone(), ports.queues.clone());
    BucketRunner::new(Role::Collector, looker, &of, on, Collect { ports, context })
}

/// What the collector role does for one task.
pub struct Collect {
    ports: CollectorPorts,
    context: RoleContext,
}

#[async_trait]
impl PerTask for Collect {
    async fn run(&self, turn: &Turn) -> Result<Option<RunEpoch>, StoreError> {
        let Some(state) = self.ports.queues.state(turn.task).await? else { return Ok(None) };
        let run = state.spec.run;
        if state.ending.is_some() || state.control.ends() {
            return Ok(Some(run));
        }
        let fence = Fence { task: turn.task, run, token: turn.token };
        match self.collect(turn, fence, &state).await {
            Ok(End::Settled) => Ok(Some(run)),
            Ok(End::Stopped) | Err(Halt::Stopped) => Ok(None),
            Err(Halt::Store(error)) => Err(error),
            Err(Halt::Fault(error)) => {
                self.ports.queues.stop_by_collector(fence, &format!("{error:#}")).await?;
                self.context.wake.ring(self.context.shape.watch(turn.task), turn.task);
                Ok(Some(run))
            }
        }
    }
}

impl Collect {
    async fn collect(&self, turn: &Turn, fence: Fence, state: &TaskState) -> Result<End, Halt> {
        let spec = &state.spec;
        let (Ok(found), Ok(conf)) =
            (self.context.plugins.able(spec.kind()), self.context.plugins.conf(spec.task_type))
        else {
            let reason =
                format!("a collector that knows task type {}; the one that it has does not", spec.kind());
            self.ports.queues.set_collector_waits(fence, Some(&reason)).await?;
            return Ok(End::Stopped);
        };
        let plugin = &found.plugin;
        let load = self.ports.queues.load_collector(fence).await?;
        if !state.waits.is_empty() {
            self.ports.queues.set_collector_waits(fence, None).await?;
        }
        let mut collector = called(&turn.stop, CALL_LIMIT, failing(async { plugin.collector(spec) })).await?;
        let (status, owed) = owed::unwrapped(load.saved)?;
        called(&turn.stop, CALL_LIMIT, failing(collector.begin(status))).await?;
        let (epoch, next, offset) = (load.epoch, load.next, load.offset);
        let failures = Failures::new(&*self.ports.table, fence, owed);
        let collection = Collection {
            queues: &*self.ports.queues,
            context: &self.context,
            turn,
            fence,
            conf,
            collector,
            failures,
            epoch,
            next,
            offset,
        };
        collection.run().await
    }
}

/// One load of a task's collector at work.
struct Collection<'a> {
    queues: &'a dyn CollectorQueue,
    context: &'a RoleContext,
    turn: &'a Turn,
    fence: Fence,
    conf: &'a TaskConf,
    collector: Box<dyn TaskCollector>,
    failures: Failures<'a>,
    epoch: EmitEpoch,
    /// The number of the next follow-up.
    next: Seq,
    /// How many result batches have been committed.
    offset: u64,
}

impl Collection<'_> {
    /// Collects until the run wants no more of it. What is owed then is kept before anybody ends the task.
    async fn run(mut self) -> Result<End, Halt> {
        let ended = self.collect().await;
        if matches!(ended, Ok(End::Settled) | Err(Halt::Fault(_))) {
            self.failures.pay(&self.turn.stop).await?;
        }
        ended
    }

    async fn collect(&mut self) -> Result<End, Halt> {
        while !self.turn.stop.is_cancelled() {
            let batches = self.queues.peek(self.fence, self.offset, ROUND).await?;
            let state = if batches.is_empty() {
                self.queues.state(self.fence.task).await?
            } else {
                Some(self.round(&batches).await?)
            };
            let Some(state) = state else { return Ok(End::Settled) };
            if state.ending.is_some() || state.control.ends() {
                called(&self.turn.stop, CALL_LIMIT, failing(self.collector.cancel())).await?;
                return Ok(End::Settled);
            }
            if let Some(reason) = too_many_failures(&state.counts, self.conf.on_failure) {
                return Err(anyhow::anyhow!(reason).into());
            }
            if state.is_complete() {
                return self.conclude(&state.counts).await;
            }
            if batches.is_empty() {
                self.failures.try_to_pay(&self.turn.stop).await?;
                self.pause().await;
            }
        }
        Ok(End::Stopped)
    }

    /// Waits for a hint, which the bucket's look at all tasks gives where one was lost; or until it is time to keep what is owed.
    async fn pause(&mut self) {
        let again = async {
            match self.failures.again_at() {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.turn.stop.cancelled() => {}
            () = self.turn.bell.wait() => {}
            () = again => {}
        }
    }

    /// Gives the results to the callback and commits what came of it.
    async fn round(&mut self, batches: &[ResultBatch]) -> Result<TaskState, Halt> {
        let told = tell(self.collector.as_mut(), self.fence, batches);
        let Told { batches: told, added, open } = called(&self.turn.stop, CALL_LIMIT, failing(told)).await?;
        let batches = &batches[..told];
        self.failures.keep(&self.turn.stop, batches, &open).await?;
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
            saved: owed::wrapped(self.status()?, self.failures.owed()),
        };
        let state = self.commit(commit).await?;
        self.offset += batches.len() as u64;
        self.next = self.next.plus(count);
        let task = self.fence.task;
        self.context.wake.ring(self.context.shape.scheduling(task), task);
        Ok(state)
    }

    fn status(&self) -> anyhow::Result<Option<Bytes>> {
        let saved = caught(|| self.collector.save_status()).context(FAILED)??;
        if let Some(bytes) = saved.as_ref().map(Bytes::len).filter(|bytes| *bytes > MAX_STATUS_BYTES) {
            anyhow::bail!("the collector's status has {bytes} bytes; at most {MAX_STATUS_BYTES} are allowed");
        }
        Ok(saved)
    }

    /// Commits, again while the store does not answer: what is committed already is not committed twice.
    async fn commit(&mut self, commit: Commit) -> Result<TaskState, StoreError> {
        let (queues, fence) = (self.queues, self.fence);
        until_answered(&self.turn.stop, || queues.commit(fence, commit.clone())).await
    }

    async fn conclude(&mut self, counts: &Counts) -> Result<End, Halt> {
        // Nobody would do it later: the task's queues may go soon.
        self.failures.pay(&self.turn.stop).await?;
        let summed_up = failing(self.collector.after_task_completed(counts));
        let result = called(&self.turn.stop, CALL_LIMIT, summed_up).await?;
        check_result(&result).context(FAILED)?;
        self.queues.conclude(self.fence, &result).await?;
        let task = self.fence.task;
        self.context.wake.ring(self.context.shape.watch(task), task);
        Ok(End::Settled)
    }
}

/// What the callback said to some results.
#[derive(Default)]
struct Told {
    /// Of how many batches.
    batches: usize,
    added: Vec<NewSubtask>,
    /// Those whose subtasks are not finished.
    open: BTreeMap<FailureKey, StillOpen>,
}

/// Gives results to the callback, one by one, until what it wants executed is as much as one commit should carry.
async fn tell(
    collector: &mut dyn TaskCollector,
    fence: Fence,
    batches: &[ResultBatch],
) -> anyhow::Result<Told> {
    let (mut support, mut told, mut bytes) = (CollectorSupport::default(), Told::default(), 0);
    for batch in batches {
        if bytes >= COMMIT_BYTES {
            break;
        }
        for (seq, outcome) in &batch.results {
            let id = SubtaskId { task: fence.task, run: fence.run, epoch: batch.epoch, seq: *seq };
            let result = ResultOf { id, outcome: outcome.clone() };
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

/// A call into the plugin, whose errors say whose they are.
async fn failing<T>(call: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    call.await.context(FAILED)
}

/// Whether the failures so far stop the task, and with what reason.
fn too_many_failures(counts: &Counts, policy: OnFailure) -> Option<String> {
    let failed = counts.failed + counts.timed_out;
    let counted = counts.counted();
    match policy {
        OnFailure::StopAtFirst if failed > 0 => {
            Some("a subtask failed, and the task type stops at the first".to_owned())
        }
        OnFailure::StopAbove(share) if counted >= FEW && failed as f64 > share * counted as f64 => {
            Some(format!("{failed} of {counted} subtasks failed, and the task type stops above {share}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::TaskId;
    use dtf_model::plugin::TaskResult;
    use dtf_model::queue::Outcome;
    use lrmf_core::Token;

    use super::*;

    #[test]
    fn failures_stop_a_task_as_its_type_says() {
        let counts = |succeeded, failed| Counts { succeeded, failed, ..Counts::default() };
        assert_eq!(too_many_failures(&counts(1, 100), OnFailure::GoOn), None);
        assert!(too_many_failures(&counts(100, 1), OnFailure::StopAtFirst).is_some());
        assert_eq!(too_many_failures(&counts(100, 0), OnFailure::StopAtFirst), None);
        assert_eq!(too_many_failures(&counts(0, 9), OnFailure::StopAbove(0.5)), None);
        assert!(too_many_failures(&counts(4, 6), OnFailure::StopAbove(0.5)).is_some());
        assert_eq!(too_many_failures(&counts(5, 5), OnFailure::StopAbove(0.5)), None);
    }

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
            let told = tell(&mut Grows, fence, &batches).await.unwrap();
            assert_eq!((told.batches, told.added.len() as u64), (expected, sizes[..expected].iter().sum()));
        }
    }
}
