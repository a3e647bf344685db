//! The errors of stores and of input, and the conclusions that a caller may draw from them.

use crate::ids::{FlowId, RunEpoch, TaskId, TaskTypeId, TypeVersion};
use crate::status::TaskStatus;

/// Something asked for that cannot be: the caller's to mend. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// A text over the width of its column.
    #[error("{what} has {chars} characters; at most {most} are allowed")]
    TooLong {
        /// The text that is too long.
        what: &'static str,
        /// Its length, in characters.
        chars: usize,
        /// The greatest length that is allowed.
        most: usize,
    },
    /// A number outside its range.
    #[error("{what} is {got}; allowed is {allowed}")]
    OutOfRange {
        /// The number that is out of range.
        what: &'static str,
        /// Its value.
        got: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// A text that is empty and must not be.
    #[error("{0} is empty; it needs at least one character")]
    Empty(&'static str),
    /// A type that no plugin is registered for.
    #[error("task type {0} is unknown; registered are: {1}")]
    UnknownType(String, String),
    /// A plugin of an earlier version than a task needs.
    #[error("task type {kind} is needed; this process has version {version}")]
    OldVersion {
        /// The type and version that are needed.
        kind: TypeVersion,
        /// The version that is there.
        version: u32,
    },
    /// Two plugins of one name or number.
    #[error(
        "a task type {1:?} with the number {0} is registered already; give this one another name or number"
    )]
    TypeTaken(TaskTypeId, String),
    /// A type's parameters that its plugin refuses.
    #[error("{0}")]
    TypeParam(String),
    /// A resource group that does not exist.
    #[error("resource group {0:?} is unknown; give it a quota first, or use \"default\"")]
    UnknownGroup(String),
    /// A schedule, a due time or a period that cannot be.
    #[error("{0}")]
    Schedule(String),
    /// A schedule that does not exist.
    #[error("schedule {0:?} does not exist")]
    NoSuchSchedule(String),
    /// The name of another schedule.
    #[error("a schedule {0:?} exists already; give this one another name, or delete that one first")]
    ScheduleTaken(String),
    /// A hook that cannot be.
    #[error("{0}")]
    Hook(String),
    /// A hook that a task does not have.
    #[error("task {task} has no hook {hook}; it has {hooks}, counted from 0")]
    NoSuchHook {
        /// The task.
        task: TaskId,
        /// The place that was asked for.
        hook: usize,
        /// The number of its hooks.
        hooks: usize,
    },
    /// A hook whose message is still to be delivered.
    #[error(
        "hook {hook} of task {task} is not settled yet; its message is delivered without being asked for"
    )]
    HookUnsettled {
        /// The task.
        task: TaskId,
        /// The place of the hook.
        hook: usize,
    },
    /// A flow or a dependency that cannot be.
    #[error("{0}")]
    Flow(String),
    /// A flow that does not exist.
    #[error("flow {0} does not exist")]
    NoSuchFlow(FlowId),
    /// A task that does not exist.
    #[error("task {0} does not exist")]
    NoSuchTask(TaskId),
    /// A change that the task's status does not allow.
    #[error("task {task} is {status} and cannot be {asked}")]
    NotAllowed {
        /// The task.
        task: TaskId,
        /// Its status.
        status: TaskStatus,
        /// The change: paused, resumed, cancelled, retried.
        asked: &'static str,
    },
    /// A task that has no failed subtasks to run again.
    #[error("of task {0} no failed subtask is kept that could be run again")]
    NoFailures(TaskId),
    /// A task whose items come from elsewhere.
    #[error("task {0} takes no items; create one whose source is items")]
    TakesNoItems(TaskId),
    /// A process whose shape of the cluster differs from the recorded one.
    #[error(
        "this process is configured for {ours}, its cluster has {theirs}; use the cluster's counts, or end all its \
         processes and run `dtf cluster grow`"
    )]
    Shape {
        /// The shape that this process is configured for.
        ours: String,
        /// The shape that the cluster has.
        theirs: String,
    },
    /// A store that another cluster uses.
    #[error(
        "{store} belongs to the cluster {theirs}, and this is {ours}; use another {store}, or for Redis another key prefix and for etcd another \
         name of the cluster; where that cluster is no more, end all processes of this one and run `dtf cluster adopt`"
    )]
    OtherCluster {
        /// Which store.
        store: &'static str,
        /// The cluster that it belongs to: its name, and the number of its database.
        theirs: String,
        /// This cluster.
        ours: String,
    },
    /// A count of the cluster's parts that would become smaller.
    #[error(
        "{what} cannot become {to}: the cluster has {from}, and what is in the others would be lost; only more are allowed"
    )]
    Shrinks {
        /// The part whose count would become smaller.
        what: &'static str,
        /// The count that the cluster has.
        from: u32,
        /// The count that was asked for.
        to: u32,
    },
}

/// Why a call to a store failed.
///
/// A timeout is [`Unknown`](Self::Unknown): the call may have been applied. Sending the same call again is always safe,
/// as every write carries what it expects.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was not reached: nothing was sent.
    #[error("{store} cannot be reached: {cause}")]
    Unreachable {
        /// The name of the store.
        store: &'static str,
        /// The error below.
        cause: String,
    },
    /// The call was sent and no answer came back.
    #[error("{store} did not answer, the call may have been applied: {cause}")]
    Unknown {
        /// The name of the store.
        store: &'static str,
        /// The error below.
        cause: String,
    },
    /// A newer holder of this bucket, partition or shard has written: the caller no longer holds it and must stop.
    #[error("fenced: a newer holder has token {seen}")]
    Fenced {
        /// The highest token that the store has seen.
        seen: u64,
    },
    /// The task is not in this store, or another run of it is.
    #[error("the queues of task {task} run {run} are gone")]
    Gone {
        /// The task.
        task: TaskId,
        /// The run.
        run: RunEpoch,
    },
    /// The write expected another state; read again.
    #[error("the state of task {task} has moved on: {why}")]
    Conflict {
        /// The task.
        task: TaskId,
        /// The difference.
        why: String,
    },
    /// The store refused the call, and would refuse it again.
    #[error("{store} refused: {cause}")]
    Refused {
        /// The name of the store.
        store: &'static str,
        /// The error below.
        cause: String,
    },
    /// The request itself was wrong.
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
}

impl StoreError {
    /// Returns true if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unknown { .. })
    }

    /// Returns true if the call has certainly had no effect.
    pub fn is_definitely_not_applied(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}
