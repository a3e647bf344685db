//! Parcels: consecutive subtasks that travel together.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{EmitEpoch, Seq};
use crate::key::ShardKey;

/// Names a parcel within its task's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParcelId {
    /// The load that emitted it.
    pub epoch: EmitEpoch,
    /// Its first subtask.
    pub first: Seq,
}

/// Consecutive subtasks that travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Its name.
    pub id: ParcelId,
    /// How many attempts at it have failed. Only parcels of one subtask are tried again.
    pub attempt: u32,
    /// How many executors were lost while they had it. One that has taken too many down is not run again: it has failed.
    ///
    /// Whoever was with a lost executor is one death nearer to that, as it cannot be told who was to blame. The last death
    /// needs proof: a [suspect](Self::is_suspect) is [marked as a suspect](super::ExecutorQueue::mark_suspect) before it is run.
    pub executor_losses: u32,
    /// What keeps its subtasks together with others, if anything does.
    pub key: Option<ShardKey>,
    /// The subtasks' bodies, in the order of their numbers.
    pub bodies: Vec<Bytes>,
}

impl Parcel {
    /// How many subtasks it has.
    pub fn count(&self) -> u64 {
        self.bodies.len() as u64
    }

    /// Whether its subtasks, and others of their key, run one at a time and in order.
    pub fn is_ordered(&self) -> bool {
        self.key.is_some_and(ShardKey::is_ordered)
    }

    /// Whether it is one death from the most. Such a parcel has one subtask.
    pub fn is_suspect(&self, max_executor_losses: u32) -> bool {
        self.executor_losses + 1 == max_executor_losses
    }

    /// Whether it is not to be run any more.
    pub fn is_quarantined(&self, max_executor_losses: u32) -> bool {
        self.executor_losses >= max_executor_losses
    }
}
