//! The port to the queues of tasks: what is generated, waiting, running, counted and collected.
//!
//! # Parcels
//! Subtasks travel in *parcels*: stretches of consecutive numbers that are pushed, dispatched, claimed and reported as
//! one entry, and counted one by one. Parcels make the cost of a queue step independent of how small the work is. All
//! subtasks of a parcel have the same [shard key](crate::key), or none has one.
//!
//! # Keys
//! Pending parcels without a key wait in one line. Those with one wait by key, follow-ups first and then by number, and the
//! *keys* that have something to give wait in line, in the lane that each has. A key whose parcel was taken goes to the end
//! of its lane's line, so a key with much to do does not hold up the others of its lane. An ordered one is in no line while
//! something of it is running or delayed. So neither a shard that is full nor a key that is busy holds up anything but its
//! own, and nobody searches.
//!
//! # Who writes what
//! The generator's holder pushes, the scheduler's holder takes and puts back, executors report, the collector's holder
//! commits. The first, second and fourth carry the [`Fence`] of their bucket or partition; reports are guarded by the
//! emit epoch and the attempt. Every write can be sent again and has its effect once.

mod collector;
mod generator;
mod parcel;
mod report;

use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::Token;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::ids::{RunEpoch, Seq, Shard, TaskId};
use crate::param::TaskSpec;
use crate::plugin::TaskResult;
use crate::status::{Control, Counts};

pub use self::collector::{CollectorLoad, Commit};
pub use self::generator::{Backlog, GeneratorLoad, Push};
pub use self::parcel::{Parcel, ParcelId};
pub use self::report::{CountedAs, Outcome, ParcelReport, Report, Reported, ResultBatch, StillOpen};
pub use crate::plugin::DEATHS_AT_MOST;

/// How many subtasks' results may wait for a task's collector before nothing more of the task is dispatched.
pub const RESULTS_WATERMARK: u64 = 100_000;
/// How large the waiting results may be, all together, before nothing more of the task is dispatched.
pub const RESULTS_WATERMARK_BYTES: u64 = 64 << 20;
/// How large the result batches of one [`peek`](CollectorQueue::peek) may be together. A larger one is given alone.
pub const PEEK_BYTES: u64 = 8 << 20;
/// How much work a parcel should be.
pub const PARCEL_WORK: Duration = Duration::from_millis(25);
/// The most subtasks a parcel.
pub const MAX_PARCEL: u64 = 1000;
/// How many delayed subtasks one [`take`](SchedulerQueue::take) makes pending at most.
pub const WAKE_MOST: usize = 1000;

/// Proof that a write comes from the holder of a bucket or partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The task written to.
    pub task: TaskId,
    /// The run of it.
    pub run: RunEpoch,
    /// The token of the writer's holding.
    pub token: Token,
}

/// How the queues of a task stand.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskState {
    /// What the task is.
    pub spec: TaskSpec,
    /// What is wanted of it.
    pub control: Control,
    /// What is in the books.
    pub counts: Counts,
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// Subtasks waiting for their next attempt.
    pub delayed: u64,
    /// Subtasks dispatched and not reported.
    pub running: u64,
    /// The slot-time of the parcels that were reported in this run.
    pub used: Duration,
    /// Subtasks whose result has been committed by the collector.
    pub collected: u64,
    /// Whether the generator has emitted its last subtask.
    pub generated: bool,
    /// How far the generator says it is, from 0 to 1.
    pub progress: Option<f32>,
    /// Why the task cannot go on, when a role says so. The manager will end it as exceptional.
    pub stop: Option<String>,
    /// What it waits for that only people can mend, as the roles say.
    pub waits: Vec<String>,
    /// How it ended, once it has.
    pub ending: Option<Ending>,
}

impl TaskState {
    /// Whether every subtask has been generated, counted and collected.
    pub fn is_complete(&self) -> bool {
        self.generated
            && self.counts.counted() == self.counts.created
            && self.collected == self.counts.counted()
    }

    /// Whether something of it runs or has run, as far as has been reported.
    pub fn has_begun(&self) -> bool {
        self.running > 0 || self.counts.counted() > 0 || !self.used.is_zero()
    }
}

/// How a task's run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ending {
    /// Every subtask has been collected and the collector has summed up.
    Completed(TaskResult),
    /// It was closed; what had not ended was counted as cancelled.
    Closed,
}

/// What a task has used of the executors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The slot-time of its reported parcels in this run. Only ever grows.
    pub used: Duration,
    /// Subtasks dispatched and not reported.
    pub running: u64,
    /// How long one subtask takes on average, once any has been reported.
    pub mean_run: Option<Duration>,
}

/// How a task stands, in short: what a scheduler has to know, and whatever changes when there is something for a role to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The number of its run.
    pub run: RunEpoch,
    /// What it has used so far.
    pub usage: Usage,
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// Those among them that were [taken back](ExecutorQueue::recover) from executors that are gone. They went to the front, so
    /// what was given out since is taken for them.
    pub lost: u64,
    /// Subtasks waiting for their time.
    pub delayed: u64,
    /// Results waiting for the collector.
    pub results: u64,
    /// Whether the generator has given everything.
    pub generated: bool,
    /// What is wanted of the task.
    pub control: Control,
    /// Whether the run is over: it cannot go on, was concluded, or closed.
    pub is_over: bool,
}

/// What a scheduler finds when it takes a task up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerLoad {
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// The parcels that were dispatched and not reported.
    pub running: Vec<RunningParcel>,
    /// What the task has used so far.
    pub usage: Usage,
}

/// A parcel that was dispatched and not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunningParcel {
    /// Which parcel.
    pub id: ParcelId,
    /// Which attempt at it.
    pub attempt: u32,
    /// The shard that it is recorded for.
    pub shard: Shard,
    /// The first subtask of the parcel that it was shipped with: another one where it [goes on](Report::GoesOn).
    pub shipped_with: Seq,
}

/// A parcel that was in the hands of an executor that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostParcel {
    /// Which parcel, as it was shipped.
    pub id: ParcelId,
    /// Which attempt at it.
    pub attempt: u32,
    /// How many subtasks it had.
    pub count: u64,
    /// On which shard it was.
    pub shard: Shard,
    /// How many executors a subtask of it may take down.
    pub most_deaths: u32,
}

/// Where a parcel may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shard.
    pub shard: Shard,
    /// The lanes whose keys it serves.
    pub lanes: Vec<u32>,
}

/// Where a task's parcels may go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hand {
    /// The places, each for one parcel.
    pub places: Vec<Place>,
    /// How many parcels are wanted at most, where there are more places.
    pub parcels: usize,
    /// How many lanes there are.
    pub lanes: u32,
}

impl Hand {
    /// A place on each of these shards, for each time that it is named; each shard serves the lane of its number.
    pub fn of(shards: &[Shard], lanes: u32) -> Self {
        let place = |shard: &Shard| Place { shard: *shard, lanes: vec![shard.0] };
        Self { places: shards.iter().map(place).collect(), parcels: shards.len(), lanes }
    }
}

/// The most lanes that one [`take`](SchedulerQueue::take) names.
pub const LANES_MOST: usize = 512;

/// What a scheduler gets of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The parcels, each with the shard that it is recorded for.
    pub parcels: Vec<(Shard, Parcel)>,
    /// Subtasks still pending.
    pub pending: u64,
    /// Those among them that were [taken back](ExecutorQueue::recover) from executors that are gone.
    pub lost: u64,
    /// Whether some of them have no key and can go, to any shard.
    pub anywhere: bool,
    /// The lanes in which keys have something that can go, the lowest [`LANES_MOST`] of them, by number.
    pub lanes: Vec<u32>,
    /// When the next delayed subtask is due; zero where more were due than [`WAKE_MOST`].
    pub next_due: Option<Duration>,
    /// What is wanted of the task. Nothing is taken unless it is [`Control::Run`].
    pub control: Control,
    /// What the task has used so far; what was taken now counts as running.
    pub usage: Usage,
}

/// One life of a store, as it calls itself. Another one may lack the last writes of the one before, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incarnation(pub String);

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

    /// How a task stands; none where it has no queues.
    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError>;

    /// How several tasks stand; those without queues are left out. Numbers of one task may be of different moments.
    async fn standings(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, Standing)>, StoreError>;
}

/// The manager's side of the queues: they come, are steered, are closed and go.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait TaskControl: QueueReader {
    /// Makes the queues of a task's run. An earlier run's are discarded; where this run's are there, nothing happens.
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

    /// How the backlog stands.
    async fn backlog(&self, task: TaskId, run: RunEpoch) -> Result<Backlog, StoreError>;

    /// Says that the task cannot go on, and why. The first reason stays.
    async fn stop_by_generator(&self, fence: Fence, reason: &str) -> Result<(), StoreError>;

    /// Says what the task waits for in its generator, or that it waits no more.
    async fn set_generator_waits(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError>;
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
    /// wait for the collector reach [`RESULTS_WATERMARK`] or [`RESULTS_WATERMARK_BYTES`].
    ///
    /// A place gets the first parcel of the key that is first in line in its lanes (of several lanes, whose key has been in
    /// line the longest), or the first one without a key: follow-ups before what the generator emitted, and then the one with
    /// the lower number. Where there is neither, it stays empty.
    ///
    /// This is the one write that has a further effect when it is sent again: it takes further parcels. Whoever does not know
    /// what came of a `take` finds its parcels among those that [`load_scheduler`](Self::load_scheduler) names.
    async fn take(&self, fence: Fence, hand: &Hand, most: u64) -> Result<Taken, StoreError>;

    /// Takes parcels that were not shipped back to pending, in front of all others, or to delayed, one by one, where `after`
    /// is not zero. What is not running is passed over. An [accusation](ExecutorQueue::accuse) falls.
    async fn put_back(&self, fence: Fence, parcels: &[ParcelId], after: Duration) -> Result<(), StoreError>;

    /// Says what the task waits for in its scheduler, or that it waits no more.
    async fn set_scheduler_waits(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError>;
}

/// The executors' side of the queues. Their writes are guarded by the emit epoch and the attempt.
///
/// [`QueueStore`] says what an implementor guarantees.
#[async_trait]
pub trait ExecutorQueue: QueueReader {
    /// What is wanted of several tasks; tasks without queues are left out.
    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError>;

    /// Counts what an executor reports.
    ///
    /// A success counts from any attempt, as long as its epoch owns the number. Everything else counts only from the
    /// attempt that is running now, and only from whoever has it: with another number of deaths it was taken back from the
    /// reporter, and runs elsewhere. What is counted already is passed over. What was returned goes back in front of all
    /// others. Of a task that has ended nothing is counted.
    ///
    /// An [accusation](Self::accuse) falls with what is returned; what is to be tried again has no deaths.
    async fn complete(
        &self,
        task: TaskId,
        run: RunEpoch,
        report: ParcelReport,
    ) -> Result<Reported, StoreError>;

    /// Takes back what an executor had that is gone: what of it is still recorded as running there goes back in front of all
    /// others, as the same attempt, each subtask by itself and one death nearer to the most. Only one that was
    /// [accused](Self::accuse) reaches that.
    async fn recover(&self, task: TaskId, run: RunEpoch, lost: LostParcel) -> Result<Reported, StoreError>;

    /// Says that a [suspect](Parcel::is_suspect) begins to run, so that it is to blame for what happens now. Says whether this
    /// attempt runs.
    async fn accuse(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError>;

    /// Whether a parcel is recorded as running on this shard, as this attempt and with so many deaths. What was shipped late,
    /// by a scheduler that was believed dead, or was taken back meanwhile from this executor, is not.
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

    /// The results behind `offset`, at most so many batches, and at most [`PEEK_BYTES`] unless the first is larger, without
    /// taking them off.
    async fn peek(&self, fence: Fence, offset: u64, most: usize) -> Result<Vec<ResultBatch>, StoreError>;

    /// Takes results off, takes those of subtasks that stay open out of the books, adds follow-ups and saves the collector's
    /// status, all or nothing. More can stay open neither than results are taken off, nor than are counted as that.
    async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError>;

    /// Records what the collector made of a task that [is complete](TaskState::is_complete).
    async fn conclude(&self, fence: Fence, result: &TaskResult) -> Result<(), StoreError>;

    /// Says that the task cannot go on, and why. The first reason stays.
    async fn stop_by_collector(&self, fence: Fence, reason: &str) -> Result<(), StoreError>;

    /// Says what the task waits for in its collector, or that it waits no more.
    async fn set_collector_waits(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError>;
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
pub trait QueueStore: TaskControl + GeneratorQueue + SchedulerQueue + ExecutorQueue + CollectorQueue {}

impl<S: TaskControl + GeneratorQueue + SchedulerQueue + ExecutorQueue + CollectorQueue> QueueStore for S {}
