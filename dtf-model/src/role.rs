//! The roles, and the parts that their work is divided into.

use std::fmt;

use anyhow::Context;
use lrmf_core::{InvalidName, Task};
use serde::{Deserialize, Serialize};

use crate::shape::ClusterShape;
use crate::wake::Topic;

/// A role of the framework. Each is one LRMF group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Starts, pauses, cancels and ends tasks; holds watch buckets.
    Manager,
    /// Splits tasks; holds generation buckets.
    Generator,
    /// Shares the executors' capacity; holds scheduling partitions.
    Scheduler,
    /// Executes subtasks; holds shards.
    Executor,
    /// Counts results once; holds collection buckets.
    Collector,
}

impl Role {
    /// All roles, in the order in which a task meets them.
    pub const ALL: [Role; 5] =
        [Self::Manager, Self::Generator, Self::Scheduler, Self::Executor, Self::Collector];

    /// Its name, on command lines and in group names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Generator => "generator",
            Self::Scheduler => "scheduler",
            Self::Executor => "executor",
            Self::Collector => "collector",
        }
    }

    /// Returns the number of parts of its work.
    pub fn parts(self, shape: &ClusterShape) -> u32 {
        match self {
            Self::Manager => shape.watch_buckets,
            Self::Generator => shape.generation_buckets,
            Self::Scheduler => shape.partitions,
            Self::Executor => shape.shards,
            Self::Collector => shape.collection_buckets,
        }
    }

    /// Its parts, as tasks to be placed. Keys are padded, so that their order is the order of the numbers.
    pub fn placed_tasks(self, shape: &ClusterShape) -> Vec<Task> {
        (0..self.parts(shape)).map(|part| Task::new(format!("{part:05}"), "")).collect()
    }

    /// Whom to hint for one of its parts.
    pub fn topic(self, part: u32) -> Topic {
        match self {
            Self::Manager => Topic::Watch(part),
            Self::Generator => Topic::Generation(part),
            Self::Scheduler => Topic::Scheduling(part),
            Self::Executor => Topic::Shard(part),
            Self::Collector => Topic::Collection(part),
        }
    }

    /// The LRMF group of this role in a cluster.
    ///
    /// # Errors
    /// The cluster's name cannot be part of a key.
    pub fn group(self, cluster: &str) -> Result<lrmf_core::GroupId, InvalidName> {
        lrmf_core::GroupId::new("dtf", self.name(), cluster)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of the part that a placed task stands for.
///
/// # Errors
/// The task's key is no number: it belongs to another group.
pub fn part_number(task: &Task) -> anyhow::Result<u32> {
    task.key.parse().with_context(|| format!("{:?} is not the number of a part", task.key))
}
