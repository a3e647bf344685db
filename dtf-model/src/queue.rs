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
mod ports;
mod report;

use std::time::Duration;

use lrmf_core::Token;
use serde::{Deserialize, Serialize};

use crate::ids::{RunEpoch, Seq, Shard, TaskId};
use crate::param::TaskSpec;
use crate::plugin::TaskResult;
use crate::status::{Control, Counts};
use crate::table::TaskRow;

pub use self::collector::{CollectorLoad, Commit, FIRST_LOOK};
pub use self::generator::{Backlog, GeneratorLoad, Push, STORED_WITH};
pub use self::parcel::{Parcel, ParcelId};
pub use self::ports::{
    CollectorQueue, ExecutorQueue, GeneratorQueue, QueueReader, QueueStore, SchedulerQueue, TaskControl,
};
pub use self::report::{CountedAs, Outcome, ParcelReport, Report, Reported, ResultBatch, StillOpen};
pub use crate::plugin::MAX_EXECUTOR_LOSSES;

/// The number of results that may wait for a task's collector before nothing more of the task is dispatched.
pub const RESULTS_WATERMARK: u64 = 100_000;
/// The size of the waiting results, all together, above which nothing more of the task is dispatched.
pub const RESULTS_WATERMARK_BYTES: u64 = 64 << 20;
/// The largest size of the result batches of one [`peek`](CollectorQueue::peek), all together. A larger batch is given
/// alone.
pub const PEEK_BYTES: u64 = 8 << 20;
/// The amount of work that a parcel should have.
pub const PARCEL_WORK: Duration = Duration::from_millis(25);
/// The most subtasks a parcel.
pub const MAX_PARCEL: u64 = 1000;
/// The most delayed subtasks that one [`take`](SchedulerQueue::take) makes pending.
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

/// The state of a task's queues.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskState {
    /// The description of the task.
    pub spec: TaskSpec,
    /// The control that the users want.
    pub control: Control,
    /// The numbers of subtasks in the books.
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
    /// True if the generator has emitted its last subtask.
    pub generated: bool,
    /// The generator's share of what is generated, from 0 to 1.
    pub progress: Option<f32>,
    /// Why the task cannot go on, when a role says so. The manager will end it as exceptional.
    pub stop: Option<String>,
    /// The obstacles that only people can remove, as the roles report them.
    pub blocked_on: Vec<String>,
    /// The end of the run, once it has ended.
    pub ending: Option<Ending>,
}

impl TaskState {
    /// The queues of a run that has just begun.
    pub fn begun(spec: TaskSpec) -> Self {
        Self {
            spec,
            control: Control::Run,
            counts: Counts::default(),
            pending: 0,
            delayed: 0,
            running: 0,
            used: Duration::ZERO,
            collected: 0,
            generated: false,
            progress: None,
            stop: None,
            blocked_on: Vec::new(),
            ending: None,
        }
    }

    /// Returns whether these are the queues of the present run of a row's task.
    pub fn is_of(&self, row: &TaskRow) -> bool {
        self.spec.run == row.run && self.spec.is_same_creation(row.request)
    }

    /// Returns true if every subtask has been generated, counted and collected.
    pub fn is_complete(&self) -> bool {
        self.generated
            && self.counts.counted() == self.counts.created
            && self.collected == self.counts.counted()
    }

    /// Returns true if something of it runs or has run, as far as has been reported.
    pub fn has_begun(&self) -> bool {
        self.running > 0 || self.counts.counted() > 0 || !self.used.is_zero()
    }
}

/// The end of a task's run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ending {
    /// Every subtask has been collected and the collector has summed up.
    Completed(TaskResult),
    /// It was closed; what had not ended was counted as cancelled.
    Closed,
}

/// A task's use of the executors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The slot-time of its reported parcels in this run. Only ever grows.
    pub used: Duration,
    /// Subtasks dispatched and not reported.
    pub running: u64,
    /// The average run time of a subtask, once any has been reported.
    pub mean_run: Option<Duration>,
}

/// The progress of a task, in short: the scheduler's view of it, and whatever changes when there is work for a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskProgress {
    /// The number of its run.
    pub run: RunEpoch,
    /// The use of executors so far.
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
    /// Their size, all together.
    pub results_bytes: u64,
    /// True if the generator has given everything.
    pub generated: bool,
    /// The control that the users want.
    pub control: Control,
    /// True if the run is over: it cannot go on, was concluded, or was closed.
    pub is_over: bool,
}

/// The state that a scheduler finds when it takes a task up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerLoad {
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// The parcels that were dispatched and not reported.
    pub running: Vec<RunningParcel>,
    /// The task's use of executors so far.
    pub usage: Usage,
}

/// A parcel that was dispatched and not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunningParcel {
    /// The parcel.
    pub id: ParcelId,
    /// The attempt at it.
    pub attempt: u32,
    /// The shard that it is recorded for.
    pub shard: Shard,
    /// The first subtask of the parcel that it was shipped with: another one where it [goes on](Report::GoesOn).
    pub shipped_with: Seq,
}

/// A parcel that was in the hands of an executor that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostParcel {
    /// The parcel, as it was shipped.
    pub id: ParcelId,
    /// The attempt at it.
    pub attempt: u32,
    /// The number of its subtasks.
    pub count: u64,
    /// On which shard it was.
    pub shard: Shard,
    /// The number of executors that a subtask of it may take down.
    pub max_executor_losses: u32,
}

/// A destination of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The shard.
    pub shard: Shard,
    /// The lanes whose keys it serves.
    pub lanes: Vec<u32>,
}

/// A scheduler's request for parcels of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeRequest {
    /// The places, each for one parcel.
    pub places: Vec<Slot>,
    /// The most parcels that are wanted, where there are more places.
    pub parcels: usize,
    /// The number of lanes.
    pub lanes: u32,
    /// The size of the waiting results from which on nothing is given; [`RESULTS_WATERMARK_BYTES`] at most.
    pub results_bytes: u64,
}

impl TakeRequest {
    /// A place on each of these shards, for each time that it is named; each shard serves the lane of its number.
    pub fn of(shards: &[Shard], lanes: u32) -> Self {
        let place = |shard: &Shard| Slot { shard: *shard, lanes: vec![shard.0] };
        let (places, parcels) = (shards.iter().map(place).collect(), shards.len());
        Self { places, parcels, lanes, results_bytes: RESULTS_WATERMARK_BYTES }
    }
}

/// The most lanes that one [`take`](SchedulerQueue::take) names.
pub const LANES_MOST: usize = 512;

/// The parcels that a scheduler is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The parcels, each with the shard that it is recorded for.
    pub parcels: Vec<(Shard, Parcel)>,
    /// Subtasks still pending.
    pub pending: u64,
    /// Those among them that were [taken back](ExecutorQueue::recover) from executors that are gone.
    pub lost: u64,
    /// True if the generator has given everything.
    pub generated: bool,
    /// True if some parcels without a key wait, which can go to any shard.
    pub anywhere: bool,
    /// The lanes in which keys have something that can go, the lowest [`LANES_MOST`] of them, by number. Where more than four keys a
    /// lane are in line, others may be named too, but for those of places that got nothing although more was wanted.
    pub lanes: Vec<u32>,
    /// The time until the next delayed subtask is due; zero where more were due than [`WAKE_MOST`].
    pub next_due: Option<Duration>,
    /// The control that the users want. Nothing is taken unless it is [`Control::Run`].
    pub control: Control,
    /// The task's use of executors so far; parcels that were taken now count as running.
    pub usage: Usage,
    /// The size of the results that wait for the collector, all together.
    pub results_bytes: u64,
}

/// One life of a store, as it calls itself. Another one may lack the last writes of the one before, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incarnation(pub String);
