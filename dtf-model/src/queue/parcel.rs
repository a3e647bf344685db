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
    /// The number of failed attempts. Only parcels of one subtask are tried again.
    pub attempt: u32,
    /// The number of executors that were lost while they had it. A parcel that has taken too many down is not run again: it
    /// has failed.
    ///
    /// Whoever was with a lost executor is one death nearer to that, as it cannot be told who was to blame. The last death
    /// needs proof: a [suspect](Self::is_suspect) is [marked as a suspect](super::ExecutorQueue::mark_suspect) before it is run.
    pub executor_losses: u32,
    /// The key that keeps its subtasks together with others, if there is one.
    pub key: Option<ShardKey>,
    /// The subtasks' bodies, in the order of their numbers.
    pub bodies: Vec<Bytes>,
}

impl Parcel {
    /// Returns the number of its subtasks.
    pub fn count(&self) -> u64 {
        self.bodies.len() as u64
    }

    /// Returns true if its subtasks, and others of their key, run one at a time and in order.
    pub fn is_ordered(&self) -> bool {
        self.key.is_some_and(ShardKey::is_ordered)
    }

    /// Returns true if one more loss quarantines it. Such a parcel has one subtask.
    pub fn is_suspect(&self, max_executor_losses: u32) -> bool {
        self.executor_losses + 1 == max_executor_losses
    }

    /// Returns true if it must not run any more.
    pub fn is_quarantined(&self, max_executor_losses: u32) -> bool {
        self.executor_losses >= max_executor_losses
    }
}
