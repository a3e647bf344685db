//! The sides of the port to the queues, one for each role.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Backlog, CollectorLoad, Commit, Fence, GeneratorLoad, Incarnation, LostParcel, Parcel, ParcelId,
    ParcelReport, Push, Reported, ResultBatch, SchedulerLoad, TakeRequest, Taken, TaskProgress, TaskState,
};
use crate::error::StoreError;
use crate::ids::{RunEpoch, Shard, TaskId};
use crate::param::TaskSpec;
use crate::plugin::TaskResult;
use crate::status::{Control, Counts};

/// Reads of a task's queues, for every role and for clients.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait QueueReader: Send + Sync + 'static {
    /// In which incarnation the store is. It is another one once a server of the store has been started again, or another
    /// server has taken its place: what was written before may be lost. Holders then take everything up afresh: they raise
    /// their tokens, read again, and look for what is running and on no shard.
    ///
    /// It may lag behind by a second. A store that forgets nothing as long as it is there has one for ever.
    async fn incarnation(&self) -> Result<Incarnation, StoreError>;

    /// Returns the state of a task's queues; `None` if it has none.
    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError>;

    /// Returns the progress of several tasks; those without queues are left out. Numbers of one task may be of different
    /// moments.
    async fn progress_of(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, TaskProgress)>, StoreError>;
}

/// The manager's side of the queues: they come, are steered, are closed and go.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait TaskControl: QueueReader {
    /// Records the cluster that these queues belong to, unless one is recorded. Returns the one that is recorded now.
    async fn claim(&self, owner: &str) -> Result<String, StoreError>;

    /// Makes the queues of a task's run. An earlier run's are discarded; where this run's are there, nothing happens. Fails with
    /// [`StoreError::Gone`] where a later run's are there, or those of the same run of [another creation](TaskSpec::request): a later
    /// run has to be begun.
    async fn open(&self, spec: &TaskSpec) -> Result<(), StoreError>;

    /// Says what is wanted of a task. A wish that [ends](Control::ends) it is never taken back.
    async fn set_control(&self, task: TaskId, run: RunEpoch, control: Control) -> Result<(), StoreError>;

    /// Ends a cancelled task: discards what waits and what runs, and counts it as cancelled.
    async fn close(&self, task: TaskId, run: RunEpoch) -> Result<Counts, StoreError>;

    /// Deletes the queues of a task, up to and with this run.
    async fn purge(&self, task: TaskId, run: RunEpoch) -> Result<(), StoreError>;
}

/// The generator's side of the queues. Its fences carry the tokens of generation buckets.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait GeneratorQueue: QueueReader {
    /// Takes a task up as its generator: draws an epoch, refuses all earlier holders.
    async fn load_generator(&self, fence: Fence) -> Result<GeneratorLoad, StoreError>;

    /// Adds subtasks.
    async fn push(&self, fence: Fence, push: Push) -> Result<Backlog, StoreError>;

    /// Returns the backlog of a task.
    async fn backlog(&self, task: TaskId, run: RunEpoch) -> Result<Backlog, StoreError>;

    /// Says that the task cannot go on, and why. The first reason stays.
    async fn stop_by_generator(&self, fence: Fence, reason: &str) -> Result<(), StoreError>;

    /// Says what the task waits for in its generator, or that it waits no more.
    async fn set_generator_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError>;
}

/// The scheduler's side of the queues. Its fences carry the tokens of scheduling partitions.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait SchedulerQueue: QueueReader {
    /// Takes a task up as its scheduler: refuses all earlier holders.
    async fn load_scheduler(&self, fence: Fence) -> Result<SchedulerLoad, StoreError>;

    /// Moves the first pending parcels to running, one for each place, and hands them out to be shipped there. They have
    /// at most `most` subtasks together; where a parcel has more than are left of that, it is split.
    /// Delayed subtasks that are due come first, in the order in which they were due. Gives nothing while the results that
    /// wait for the collector reach [`RESULTS_WATERMARK`](super::RESULTS_WATERMARK) or the size that the request names.
    ///
    /// A place gets the first parcel of the key that is first in line in its lanes (of several lanes, whose key has been in
    /// line the longest), or the first one without a key: follow-ups before what the generator emitted, and then the one with
    /// the lower number. Where there is neither, it stays empty.
    ///
    /// This is the one write that has a further effect when it is sent again: it takes further parcels. Whoever does not know
    /// what came of a `take` finds its parcels among those that [`load_scheduler`](Self::load_scheduler) names.
    async fn take(&self, fence: Fence, hand: &TakeRequest, most: u64) -> Result<Taken, StoreError>;

    /// Takes parcels that were not shipped back to pending, in front of all others, or to delayed, one by one, where `after`
    /// is not zero. What is not running is passed over. The [mark of a suspect](ExecutorQueue::mark_suspect) is removed.
    async fn put_back(&self, fence: Fence, parcels: &[ParcelId], after: Duration) -> Result<(), StoreError>;

    /// Says what the task waits for in its scheduler, or that it waits no more.
    async fn set_scheduler_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError>;
}

/// The executors' side of the queues. Their writes are guarded by the emit epoch and the attempt.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait ExecutorQueue: QueueReader {
    /// Returns the control that is wanted of several tasks; tasks without queues are left out.
    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError>;

    /// Counts what an executor reports.
    ///
    /// A success counts from any attempt, as long as its epoch owns the number. Everything else counts only from the
    /// attempt that is running now, and only from whoever has it: with another number of executor losses it was taken back from the
    /// reporter, and runs elsewhere. What is counted already is passed over. What was returned goes back in front of all
    /// others. Of a task that has ended nothing is counted.
    ///
    /// The [mark of a suspect](Self::mark_suspect) is removed with what is returned; what is to be tried again has no executor losses.
    async fn complete(
        &self,
        task: TaskId,
        run: RunEpoch,
        report: ParcelReport,
    ) -> Result<Reported, StoreError>;

    /// Takes back what an executor had that is gone: what of it is still recorded as running there goes back in front of all
    /// others, as the same attempt, each subtask by itself and one death nearer to the most. Only one that was
    /// [marked as a suspect](Self::mark_suspect) reaches that.
    async fn recover(&self, task: TaskId, run: RunEpoch, lost: LostParcel) -> Result<Reported, StoreError>;

    /// Says that a [suspect](Parcel::is_suspect) begins to run, so that it is to blame for what happens now. Says whether this
    /// attempt runs.
    async fn mark_suspect(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError>;

    /// Returns true if a parcel is recorded as running on this shard, as this attempt and with so many executor losses. A
    /// parcel that was shipped late, by a scheduler that was believed dead, or that was taken back meanwhile from this
    /// executor, is not.
    async fn runs_on(
        &self,
        task: TaskId,
        run: RunEpoch,
        shard: Shard,
        parcel: &Parcel,
    ) -> Result<bool, StoreError>;
}

/// The collector's side of the queues. Its fences carry the tokens of collection buckets.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait CollectorQueue: QueueReader {
    /// Takes a task up as its collector: draws an epoch for follow-ups, refuses all earlier holders.
    async fn load_collector(&self, fence: Fence) -> Result<CollectorLoad, StoreError>;

    /// The results behind `offset`, at most so many batches, and at most [`PEEK_BYTES`](super::PEEK_BYTES) unless the first is larger, without
    /// taking them off.
    async fn peek(&self, fence: Fence, offset: u64, most: usize) -> Result<Vec<ResultBatch>, StoreError>;

    /// Takes results off, takes those of subtasks that stay open out of the books, adds follow-ups and saves the collector's
    /// status, all or nothing. More can stay open neither than results are taken off, nor than are counted as that. A commit with an
    /// [`end`](Commit::end) is a conflict, and changes nothing, unless the task [is complete](TaskState::is_complete) with it.
    async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError>;

    /// Records what the collector made of a task that [is complete](TaskState::is_complete).
    async fn conclude(&self, fence: Fence, result: &TaskResult) -> Result<(), StoreError>;

    /// Says that the task cannot go on, and why. The first reason stays.
    async fn stop_by_collector(&self, fence: Fence, reason: &str) -> Result<(), StoreError>;

    /// Says what the task waits for in its collector, or that it waits no more.
    async fn set_collector_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError>;
}

/// The queues of tasks, one set a task: all sides of one store.
///
/// Only what puts a process together has all of them; a role is given its own.
///
/// # What an implementor guarantees
/// - Each call on a task is atomic and durable before it returns, as far as the store is durable at all.
/// - A call with a [`Fence`] is refused with [`StoreError::Fenced`] when the store has seen a higher token for the same
///   role of the same task; the `load_…` calls raise the token before they read.
/// - A call on a task or run that is not there fails with [`StoreError::Gone`] and writes nothing.
/// - Sending a write again has no further effect: what it put into the books is in them already. Only
///   [`take`](SchedulerQueue::take) is different.
/// - Tokens are below 2^64, and every one of them is told from the next.
/// - A subtask is counted at most once in a run, however it is reported: see [`complete`](ExecutorQueue::complete).
///
/// # The way of a subtask
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use dtf_memory::MemoryQueues;
/// use dtf_model::plugin::{SubtaskResult, TaskResult};
/// use dtf_model::queue::*;
/// use dtf_model::{RunEpoch, Shard, TaskId, TaskParam, TaskSpec, TaskTypeId};
/// use lrmf_core::{BootClock, Token};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let store = MemoryQueues::new(Arc::new(BootClock));
/// let (id, run, task_type) = (TaskId(1), RunEpoch(1), TaskTypeId(100));
/// let fence = Fence { task: id, run, token: Token(1) };
/// // The manager makes the queues.
/// let (request, param) = (uuid::Uuid::new_v4(), Arc::new(TaskParam::default()));
/// store.open(&TaskSpec { id, request, run, task_type, param }).await?;
/// // The generator pushes subtasks, together with its checkpoint.
/// let load = store.load_generator(fence).await?;
/// let push = Push {
///     epoch: load.epoch,
///     first: load.next,
///     parcels: vec![1],
///     keys: vec![],
///     bodies: vec!["seven".into()],
///     saved: None,
///     progress: None,
///     finished: true,
/// };
/// store.push(fence, push).await?;
/// // The scheduler takes a parcel for a shard, and ships it there.
/// store.load_scheduler(fence).await?;
/// let taken = store.take(fence, &TakeRequest::of(&[Shard(0)], 1), 1).await?;
/// let (_, parcel) = &taken.parcels[0];
/// // An executor reports it.
/// let report = ParcelReport {
///     parcel: parcel.id,
///     attempt: parcel.attempt,
///     executor_losses: parcel.executor_losses,
///     reports: vec![Report::Ended(Outcome::Succeeded(SubtaskResult::new("49")))],
///     together: 1,
///     busy: Duration::from_millis(1),
/// };
/// assert_eq!(store.complete(id, run, report).await?.counted, 1);
/// // The collector takes the result off, and concludes the task.
/// let load = store.load_collector(fence).await?;
/// let commit = Commit { epoch: load.epoch, offset: load.offset, batches: 1, first: load.next, ..Commit::default() };
/// assert!(store.commit(fence, commit).await?.is_complete());
/// store.conclude(fence, &TaskResult::default()).await?;
/// # Ok(())
/// # }
/// ```
pub trait QueueStore: TaskControl + GeneratorQueue + SchedulerQueue + ExecutorQueue + CollectorQueue {}

impl<S: TaskControl + GeneratorQueue + SchedulerQueue + ExecutorQueue + CollectorQueue> QueueStore for S {}
