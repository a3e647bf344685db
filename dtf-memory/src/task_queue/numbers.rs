//! Numbers given out, and which load owns which.

use dtf_model::ids::{EmitEpoch, Seq};

/// Numbers given out so far, and which load owns which.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) next: Seq,
    /// Each load that emitted something, and its first number.
    pub(super) owners: Vec<(EmitEpoch, Seq)>,
}

impl Stream {
    pub(super) fn from(first: Seq) -> Self {
        Self { next: first, owners: Vec::new() }
    }

    /// From now on `epoch` owns what is emitted.
    pub(super) fn load(&mut self, epoch: EmitEpoch) {
        let next = self.next;
        self.owners.retain(|(_, first)| *first < next);
        self.owners.push((epoch, next));
    }

    pub(super) fn owns(&self, epoch: EmitEpoch, seq: Seq) -> bool {
        let owner = self.owners.iter().rev().find(|(_, first)| *first <= seq);
        seq < self.next && owner.is_some_and(|(owner, _)| *owner == epoch)
    }
}
