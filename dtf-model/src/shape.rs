//! The division of a cluster's work.

use serde::{Deserialize, Serialize};

use crate::bucket::{BucketMapping, BucketOf};
use crate::error::InvalidInput;
use crate::ids::{ScheduleId, TaskId};
use crate::role::Role;
use crate::wake::Topic;

/// Into how many parts each role's work is divided. All processes of a cluster must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterShape {
    /// Watch buckets, held by managers.
    pub watch_buckets: u32,
    /// Generation buckets, held by generators.
    pub generation_buckets: u32,
    /// Scheduling partitions, held by schedulers. With one, a single scheduler keeps all quotas.
    pub partitions: u32,
    /// Subtask shards, held by executors; at least four times as many as executors spreads work evenly.
    pub shards: u32,
    /// Collection buckets, held by collectors.
    pub collection_buckets: u32,
    /// The way in which tasks are dealt to buckets and partitions. The cluster's holds, whatever a process says.
    #[serde(default = "BucketMapping::of_earlier_versions", skip_serializing_if = "is_remainder")]
    pub mapping: BucketMapping,
}

/// So that a shape of the previous version is written as that version writes it.
fn is_remainder(mapping: &BucketMapping) -> bool {
    *mapping == BucketMapping::Remainder
}

impl Default for ClusterShape {
    fn default() -> Self {
        Self {
            watch_buckets: 16,
            generation_buckets: 16,
            partitions: 1,
            shards: 64,
            collection_buckets: 16,
            mapping: BucketMapping::default(),
        }
    }
}

impl ClusterShape {
    /// The most parts of a kind.
    pub const MOST: u32 = 65_536;

    /// The shape for one process that has all roles.
    pub fn embedded() -> Self {
        Self { watch_buckets: 1, generation_buckets: 1, shards: 4, collection_buckets: 1, ..Self::default() }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first count that is 0 or over [`MOST`](Self::MOST).
    pub fn check(&self) -> Result<(), InvalidInput> {
        match self.counts().into_iter().find(|(_, count)| !(1..=Self::MOST).contains(count)) {
            None => Ok(()),
            Some((what, count)) => Err(InvalidInput::OutOfRange {
                what,
                got: count.to_string(),
                allowed: format!("1 to {}", Self::MOST),
            }),
        }
    }

    fn counts(&self) -> [(&'static str, u32); 5] {
        [
            ("the number of watch buckets", self.watch_buckets),
            ("the number of generation buckets", self.generation_buckets),
            ("the number of scheduling partitions", self.partitions),
            ("the number of shards", self.shards),
            ("the number of collection buckets", self.collection_buckets),
        ]
    }

    /// Checks that a process divides the work as this, the cluster's shape, says.
    ///
    /// # Errors
    /// [`InvalidInput::Shape`] with the counts that differ.
    pub fn agrees_with(&self, ours: ClusterShape) -> Result<(), InvalidInput> {
        let both = || self.counts().into_iter().zip(ours.counts()).filter(|(theirs, ours)| theirs != ours);
        let words = |(what, count): (&str, u32)| format!("{count} as {what}");
        if both().next().is_none() {
            return Ok(());
        }
        let theirs: Vec<_> = both().map(|(theirs, _)| words(theirs)).collect();
        let ours: Vec<_> = both().map(|(_, ours)| words(ours)).collect();
        Err(InvalidInput::Shape { ours: ours.join(", "), theirs: theirs.join(", ") })
    }

    /// The first count of another shape that is below this one's: which, from and to what.
    pub fn shrinks_to(&self, to: ClusterShape) -> Option<(&'static str, u32, u32)> {
        let pairs = self.counts().into_iter().zip(to.counts());
        pairs.filter(|((_, from), (_, to))| to < from).map(|((what, from), (_, to))| (what, from, to)).next()
    }

    /// A part of a role's work, as a share of all tasks.
    pub fn share(&self, role: Role, bucket: u32) -> BucketOf {
        BucketOf { bucket, of: role.parts(self), mapping: self.mapping }
    }

    /// The bucket of a task among so many.
    fn bucket(&self, task: TaskId, of: u32) -> u32 {
        BucketOf::number(task, of, self.mapping)
    }

    /// The generation bucket of a task.
    pub fn generation_bucket(&self, task: TaskId) -> u32 {
        self.bucket(task, self.generation_buckets)
    }

    /// Whom to hint for the management of a task.
    pub fn watch(&self, task: TaskId) -> Topic {
        Topic::Watch(self.bucket(task, self.watch_buckets))
    }

    /// The topic of hints at a schedule.
    pub fn schedules(&self, schedule: ScheduleId) -> Topic {
        Topic::Schedules(self.bucket(schedule.as_hint(), self.watch_buckets))
    }

    /// Whom to hint for the generation of a task.
    pub fn generation(&self, task: TaskId) -> Topic {
        Topic::Generation(self.bucket(task, self.generation_buckets))
    }

    /// Whom to hint for the scheduling of a task.
    pub fn scheduling(&self, task: TaskId) -> Topic {
        Topic::Scheduling(self.bucket(task, self.partitions))
    }

    /// Whom to hint for the collection of a task.
    pub fn collection(&self, task: TaskId) -> Topic {
        Topic::Collection(self.bucket(task, self.collection_buckets))
    }
}
