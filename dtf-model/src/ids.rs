//! The numbers that name things, each with a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($of:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

/// The requirement for working on a task: its type, and the version of the type's plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeVersion {
    /// The type.
    pub task_type: TaskTypeId,
    /// The least version of it; 0 for any.
    pub version: u32,
}

impl From<TaskTypeId> for TypeVersion {
    fn from(task_type: TaskTypeId) -> Self {
        Self { task_type, version: 0 }
    }
}

impl fmt::Display for TypeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => self.task_type.fmt(f),
            version => write!(f, "{} in version {version} or later", self.task_type),
        }
    }
}

number! {
    /// A task: the id of its row in `tbl_task`. Never used again.
    TaskId(u64)
}
number! {
    /// A kind of task: what a plugin is registered under.
    TaskTypeId(u32)
}
number! {
    /// One run of a task. A task whose queues were lost is run again under the next one, and whatever belongs to an
    /// earlier run is refused.
    RunEpoch(u32)
}
number! {
    /// One load of a generator or collector: the source of a stretch of subtasks. See [`SubtaskId`].
    EmitEpoch(u32)
}
number! {
    /// The number of a subtask within its task's run. Below 2^53, so that every store can hold it exactly.
    Seq(u64)
}
number! {
    /// A schedule: the id of its row in `tbl_schedule`. Never used again.
    ScheduleId(u64)
}
number! {
    /// A flow: the id of its row in `tbl_flow`. Never used again.
    FlowId(u64)
}
number! {
    /// A stretch of the executors' work, held by one executor at a time.
    Shard(u32)
}

impl ScheduleId {
    /// Returns the id as buckets and hints know it, which deal schedules to managers as they deal tasks.
    pub fn as_hint(self) -> TaskId {
        TaskId(self.0)
    }
}

impl Shard {
    /// The name that a hint to [`Topic::Credit`](crate::wake::Topic::Credit) has for this shard.
    pub fn as_hint(self) -> TaskId {
        TaskId(self.0.into())
    }

    /// The shard that such a hint names, if it names one.
    pub fn from_hint(named: TaskId) -> Option<Self> {
        u32::try_from(named.0).ok().map(Self)
    }
}

impl Seq {
    /// The first number of follow-up subtasks, those that a collector adds. Numbers below it are the generator's.
    pub const FIRST_FOLLOW_UP: Seq = Seq(1 << 52);

    /// The number `by` further on.
    #[must_use]
    pub fn plus(self, by: u64) -> Seq {
        Seq(self.0 + by)
    }
}

/// A subtask.
///
/// Every load of a generator draws a fresh [`EmitEpoch`] for what it will emit. When a checkpoint is lost and the
/// next load emits the same numbers again, the epoch tells the new subtask from the old one, and reports about the old
/// one are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubtaskId {
    /// Of which task.
    pub task: TaskId,
    /// Of which run of it.
    pub run: RunEpoch,
    /// Emitted by which load.
    pub epoch: EmitEpoch,
    /// Its number.
    pub seq: Seq,
}

impl SubtaskId {
    /// The same for every execution of this subtask, and for nothing else: what `execute` and `after_execution` may
    /// give to other systems so that a repeated call has no second effect.
    pub fn idempotency_key(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.task, self.run, self.epoch, self.seq)
    }
}
