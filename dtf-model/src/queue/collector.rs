//! The collector's side of the queues: loads and commits.

use bytes::Bytes;

use super::{ResultBatch, StillOpen};
use crate::ids::{EmitEpoch, Seq};
use crate::plugin::{NewSubtask, TaskResult};

/// The state that a collector finds when it takes a task up.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectorLoad {
    /// The epoch for the follow-ups that this load adds.
    pub epoch: EmitEpoch,
    /// The number of its first follow-up.
    pub next: Seq,
    /// The status saved with the last commit.
    pub saved: Option<Bytes>,
    /// The number of result batches that have been committed.
    pub offset: u64,
    /// The first results behind these, as a [`peek`](super::CollectorQueue::peek) of [`FIRST_LOOK`] batches gives them.
    pub results: Vec<ResultBatch>,
}

/// The most result batches that a collector is given when it takes a task up.
pub const FIRST_LOOK: usize = 64;

/// Results that have been given to the collector's callback, and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// The epoch of the load.
    pub epoch: EmitEpoch,
    /// The offset that the batches were peeked at. Where it has moved on, nothing is committed again.
    pub offset: u64,
    /// The number of batches to take off; at least one.
    pub batches: u64,
    /// The number that the first subtask still open gets; the follow-ups' are behind theirs.
    pub first: Seq,
    /// Subtasks among the results that stay open, each a parcel of its own. They count as created once, and as ended by
    /// their last result.
    pub open: Vec<StillOpen>,
    /// Further subtasks, each a parcel of its own.
    pub follow_ups: Vec<NewSubtask>,
    /// The collector's status behind these results.
    pub saved: Option<Bytes>,
    /// What the collector made of the task, where these results are its last: the task is then
    /// [concluded](super::CollectorQueue::conclude) in the same write.
    pub end: Option<TaskResult>,
}
