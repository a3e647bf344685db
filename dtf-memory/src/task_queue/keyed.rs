//! Pending parcels that have a key, and whose turn it is.
//!
//! A key is in one of three states:
//! - *in line*, in its lane: it has something pending, and nothing of it holds that up;
//! - *busy*, only if it is ordered: so many parcels of it run or are delayed, whether others are pending or not;
//! - *unknown*: neither.

use std::collections::{BTreeMap, HashMap};

use dtf_model::ids::Seq;
use dtf_model::key::ShardKey;
use dtf_model::queue::{LANES_MOST, Parcel};

/// The order within a key, and between a parcel with a key and one without: follow-ups first.
pub(super) type Rank = (bool, Seq);

pub(super) fn rank(parcel: &Parcel) -> Rank {
    (parcel.id.first < Seq::FIRST_FOLLOW_UP, parcel.id.first)
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    InLine { lane: u32, place: u64 },
    Busy(u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Keyed {
    lanes: u32,
    parcels: BTreeMap<(ShardKey, Rank), Parcel>,
    turns: HashMap<ShardKey, Turn>,
    /// By lane, then in the order in which they came.
    line: BTreeMap<(u32, u64), ShardKey>,
    places: u64,
}

impl Keyed {
    /// There are so many lanes from now on.
    pub(super) fn set_lanes(&mut self, lanes: u32) {
        if lanes == self.lanes {
            return;
        }
        self.lanes = lanes;
        for ((_, place), key) in std::mem::take(&mut self.line) {
            self.stand(key, place);
        }
    }

    pub(super) fn add(&mut self, key: ShardKey, parcel: Parcel) {
        self.parcels.insert((key, rank(&parcel)), parcel);
        if !self.turns.contains_key(&key) {
            self.stand_last(key);
        }
    }

    /// The key that is first in line in one of these lanes, and the rank of its first parcel.
    pub(super) fn first(&self, lanes: &[u32]) -> Option<(ShardKey, Rank)> {
        let first = |lane: &u32| self.line.range((*lane, 0)..=(*lane, u64::MAX)).next();
        let (_, key) = lanes.iter().filter_map(first).min_by_key(|((_, place), _)| *place)?;
        let (rank, _) = self.of(*key).next()?;
        Some((*key, rank))
    }

    /// Takes the first parcel of a key. Whoever does says what becomes of it: it is [dropped](Self::settled), or
    /// [given out](Self::given).
    pub(super) fn pop(&mut self, key: ShardKey) -> Option<Parcel> {
        let (rank, _) = self.of(key).next()?;
        self.parcels.remove(&(key, rank))
    }

    /// Notes that the popped parcel is in the books already. The key keeps its place.
    pub(super) fn settled(&mut self, key: ShardKey) {
        if self.of(key).next().is_none() {
            self.leave(key);
        }
    }

    /// Notes that the popped parcel is given out, but for the rest of it.
    pub(super) fn given(&mut self, key: ShardKey, rest: Option<Parcel>) {
        if let Some(rest) = rest {
            self.parcels.insert((key, rank(&rest)), rest);
        }
        self.leave(key);
        if key.is_ordered() {
            self.turns.insert(key, Turn::Busy(1));
        } else if self.of(key).next().is_some() {
            self.stand_last(key);
        }
    }

    /// So many more parcels of a key are under way, or fewer.
    pub(super) fn under_way(&mut self, key: ShardKey, more: i64) {
        if !key.is_ordered() || more == 0 {
            return;
        }
        let before = match self.turns.get(&key) {
            Some(Turn::Busy(parcels)) => *parcels,
            Some(Turn::InLine { .. }) | None => 0,
        };
        let parcels = before.saturating_add_signed(more);
        self.leave(key);
        if parcels > 0 {
            self.turns.insert(key, Turn::Busy(parcels));
        } else if self.of(key).next().is_some() {
            self.stand_last(key);
        }
    }

    /// The lanes with a key in line.
    pub(super) fn lanes_in_line(&self) -> Vec<u32> {
        let (mut lanes, mut from) = (Vec::new(), 0);
        while lanes.len() < LANES_MOST {
            let Some(((lane, _), _)) = self.line.range((from, 0)..).next() else { break };
            lanes.push(*lane);
            from = lane + 1;
        }
        lanes
    }

    /// The parcels, in no order that matters.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        self.parcels.values()
    }

    fn of(&self, key: ShardKey) -> impl Iterator<Item = (Rank, &Parcel)> {
        let all = (key, (false, Seq(0)))..=(key, (true, Seq(u64::MAX)));
        self.parcels.range(all).map(|((_, rank), parcel)| (*rank, parcel))
    }

    fn leave(&mut self, key: ShardKey) {
        if let Some(Turn::InLine { lane, place }) = self.turns.remove(&key) {
            self.line.remove(&(lane, place));
        }
    }

    fn stand_last(&mut self, key: ShardKey) {
        self.places += 1;
        self.stand(key, self.places);
    }

    fn stand(&mut self, key: ShardKey, place: u64) {
        let lane = key.lane(self.lanes);
        self.turns.insert(key, Turn::InLine { lane, place });
        self.line.insert((lane, place), key);
    }
}
