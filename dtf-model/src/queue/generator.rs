//! The generator's side of the queues: loads and pushes.

use std::time::Duration;

use bytes::Bytes;

use crate::ids::{EmitEpoch, Seq};
use crate::key::ShardKey;
use crate::status::Control;

/// The state that a generator finds when it takes a task up.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorLoad {
    /// The epoch for everything that this load emits. No other load of the run has it, and nothing else about it is
    /// certain: a store that may lose its last writes must not draw one again that it has forgotten.
    pub epoch: EmitEpoch,
    /// The number of its first subtask.
    pub next: Seq,
    /// The status saved with the last batch.
    pub saved: Option<Bytes>,
    /// True if the last subtask has been emitted already.
    pub finished: bool,
    /// The backlog.
    pub backlog: Backlog,
}

/// The most bytes that a subtask takes in a store besides its body.
pub const STORED_WITH: u64 = 64;

/// The backlog of a task, by which its generator paces itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Subtasks waiting: pending and delayed.
    pub waiting: u64,
    /// Their size as they are stored: that of their bodies at least, and at most [`STORED_WITH`] bytes more for each.
    pub bytes: u64,
    /// The average run time of a subtask, once any has been reported.
    pub mean_run: Option<Duration>,
    /// The control that the users want.
    pub control: Control,
    /// True if so many results wait for the collector that nothing is dispatched, and nothing more is to be generated.
    pub flooded: bool,
}

/// A generator's batch. It is pushed together with the checkpoint behind it, or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// The epoch of the load.
    pub epoch: EmitEpoch,
    /// The number of the first subtask. Where the batch is there already, it is not pushed again.
    pub first: Seq,
    /// The number of subtasks of each parcel; together as many as there are bodies.
    pub parcels: Vec<usize>,
    /// The key of each parcel; empty where none has one.
    pub keys: Vec<Option<ShardKey>>,
    /// The subtasks' bodies.
    pub bodies: Vec<Bytes>,
    /// The generator's status behind this batch.
    pub saved: Option<Bytes>,
    /// The generator's share of what is generated.
    pub progress: Option<f32>,
    /// True if these are the last.
    pub finished: bool,
}

impl Push {
    /// Returns true if the parcels have all the bodies, and all or none of them have been given keys.
    pub fn is_covered(&self) -> bool {
        let keyed = self.keys.is_empty() || self.keys.len() == self.parcels.len();
        keyed && self.parcels.iter().sum::<usize>() == self.bodies.len()
    }
}
