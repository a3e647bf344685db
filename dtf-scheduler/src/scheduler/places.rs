//! The room that shards have, and who can use it.

use std::collections::VecDeque;

use dtf_model::shard::{Kinds, Room};
use dtf_model::{Shard, TaskType};

/// The most parcels that one task is given at a time, so that others get their turn.
const HAND: usize = 16;

/// A place for each parcel that there is room for, those of the shards with the most room first and each shard once a round.
pub(super) struct Places {
    /// Those of all shards, by their numbers.
    rooms: Vec<Room>,
    free: VecDeque<Shard>,
}

impl Places {
    pub(super) fn new(rooms: Vec<Room>) -> Self {
        let most = rooms.iter().map(|room| room.free).max().unwrap_or(0);
        let round = |level: u32| {
            let shards = (0..).map(Shard).zip(&rooms);
            shards.filter(move |(_, room)| room.free >= level).map(|(shard, _)| shard)
        };
        let free = (1..=most).rev().flat_map(round).collect();
        Self { rooms, free }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes the first places away whose holders know this kind, or any where none is named.
    pub(super) fn hand(&mut self, kind: Option<TaskType>) -> Vec<Shard> {
        let knows = |kinds: &Kinds| kind.is_none_or(|kind| kinds.has(kind));
        let (mut hand, mut others) = (Vec::new(), VecDeque::new());
        while hand.len() < HAND {
            let Some(shard) = self.free.pop_front() else { break };
            match knows(&self.rooms[shard.0 as usize].kinds) {
                true => hand.push(shard),
                false => others.push_back(shard),
            }
        }
        others.append(&mut self.free);
        self.free = others;
        hand
    }

    /// Takes back what was not used of a hand: it is free as before, and next.
    pub(super) fn give_back(&mut self, mut hand: Vec<Shard>, used: &[Shard]) {
        for shard in used {
            if let Some(at) = hand.iter().position(|place| place == shard) {
                hand.remove(at);
            }
        }
        hand.into_iter().rev().for_each(|shard| self.free.push_front(shard));
    }

    /// Whether any shard is held by somebody who knows this kind, with room or without.
    pub(super) fn is_anybody_capable(&self, kind: TaskType) -> bool {
        self.rooms.iter().any(|room| room.kinds.has(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_to_those_whose_kind_is_known_there() {
        let (one, two) = (TaskType(1), TaskType(2));
        let room = |free, kinds: &[TaskType]| Room { free, kinds: kinds.iter().copied().collect() };
        let mut places = Places::new(vec![room(1, &[one]), room(2, &[one, two]), room(0, &[TaskType(3)])]);
        assert_eq!(places.hand(Some(two)), [Shard(1), Shard(1)]);
        assert!(places.hand(Some(two)).is_empty() && places.hand(Some(TaskType(3))).is_empty());
        assert!(places.is_anybody_capable(TaskType(3)) && !places.is_anybody_capable(TaskType(4)));
        assert_eq!(places.hand(Some(one)), [Shard(0)]);
        assert!(places.is_empty());
        let mut many = Places::new(vec![Room { free: 100, kinds: Kinds::all() }]);
        assert_eq!(many.hand(Some(one)).len(), HAND);
        assert_eq!(many.hand(None).len(), HAND);
    }

    #[test]
    fn places_that_were_not_used_are_next() {
        let room = |free| Room { free, kinds: Kinds::all() };
        let mut places = Places::new(vec![room(2), room(1), room(1)]);
        let hand = places.hand(None);
        assert_eq!(hand, [Shard(0), Shard(0), Shard(1), Shard(2)]);
        places.give_back(hand, &[Shard(1), Shard(0)]);
        assert_eq!(places.hand(None), [Shard(0), Shard(2)]);
        assert!(places.is_empty());
    }
}
