//! The room that shards have, and who can use it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dtf_model::key::Ring;
use dtf_model::queue::{Hand, LANES_MOST, Place, Taken};
use dtf_model::shard::Room;
use dtf_model::{Kind, Shard};

/// The most parcels that one task is given at a time, so that others get their turn.
const HAND: usize = 16;

/// What a task has to give, as far as is known.
#[derive(Clone, Debug, Default)]
pub(super) enum Wanted {
    /// Subtasks without keys: it has shown no others.
    #[default]
    Unkeyed,
    /// Subtasks with keys.
    Keyed {
        /// Of these lanes.
        lanes: Vec<u32>,
        /// Whether of no others.
        all: bool,
        /// Whether it has some without keys too.
        anywhere: bool,
    },
}

impl Wanted {
    pub(super) fn is_keyed(&self) -> bool {
        matches!(self, Self::Keyed { .. })
    }

    /// As a take said.
    pub(super) fn note(&mut self, taken: &Taken) {
        if self.is_keyed() || !taken.lanes.is_empty() {
            let (lanes, all) = (taken.lanes.clone(), taken.lanes.len() < LANES_MOST);
            *self = Self::Keyed { lanes, all, anywhere: taken.anywhere };
        }
    }

    /// It may have got more to give since.
    pub(super) fn may_be_more(&mut self) {
        if let Self::Keyed { all, .. } = self {
            *all = false;
        }
    }
}

/// Who serves which lanes, for a kind of task.
struct Serving {
    of_lane: Vec<u32>,
    lanes_of: Vec<Vec<u32>>,
}

/// A place for each parcel that there is room for, those of the shards with the most room first and each shard once a round.
pub(super) struct Places {
    /// Of each shard, by number.
    rooms: Vec<Room>,
    ring: Arc<Ring>,
    free: VecDeque<Shard>,
    /// How often each shard is among them.
    free_of: Vec<u32>,
    serving: BTreeMap<Kind, Serving>,
}

impl Places {
    /// The places of all shards, in the order of their numbers.
    pub(super) fn new(ring: Arc<Ring>, rooms: Vec<Room>) -> Self {
        let most = rooms.iter().map(|room| room.free).max().unwrap_or(0);
        let round = |level: u32| (0..).zip(&rooms).filter(move |(_, room)| room.free >= level);
        let free = (1..=most).rev().flat_map(round).map(|(shard, _)| Shard(shard)).collect();
        let free_of = rooms.iter().map(|room| room.free).collect();
        Self { rooms, ring, free, free_of, serving: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes the places away that a task of this kind may use now, of those whose holders know the kind.
    pub(super) fn hand(&mut self, kind: Kind, wanted: &Wanted) -> Hand {
        let mut hand = Hand { places: Vec::new(), parcels: HAND, lanes: self.rooms.len() as u32 };
        match wanted {
            Wanted::Unkeyed => self.pick(kind, &mut hand, HAND, |_| Some(Vec::new())),
            // Every shard once: which of them it can use is found out by asking.
            Wanted::Keyed { all: false, .. } => {
                let mut lanes_of: Vec<_> = self.serving(kind).lanes_of.iter().cloned().map(Some).collect();
                let take = |shard: Shard| lanes_of.get_mut(shard.0 as usize).and_then(Option::take);
                self.pick(kind, &mut hand, usize::MAX, take);
            }
            Wanted::Keyed { lanes, anywhere, .. } => {
                let mut wanted: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
                let serving = &self.serving(kind).of_lane;
                for lane in lanes {
                    let shard = serving.get(*lane as usize).copied().unwrap_or(*lane);
                    wanted.entry(shard).or_default().push(*lane);
                }
                self.pick(kind, &mut hand, HAND, |shard| wanted.get(&shard.0).cloned());
                if *anywhere {
                    self.pick(kind, &mut hand, HAND, |_| Some(Vec::new()));
                }
            }
        }
        hand
    }

    /// Takes the first places away for which lanes are named, until the hand has so many.
    fn pick(
        &mut self,
        kind: Kind,
        hand: &mut Hand,
        most: usize,
        mut lanes: impl FnMut(Shard) -> Option<Vec<u32>>,
    ) {
        let mut others = VecDeque::new();
        while hand.places.len() < most {
            let Some(shard) = self.free.pop_front() else { break };
            let knows = self.rooms[shard.0 as usize].kinds.has(kind);
            match lanes(shard).filter(|_| knows) {
                Some(lanes) => {
                    self.free_of[shard.0 as usize] -= 1;
                    hand.places.push(Place { shard, lanes });
                }
                None => others.push_back(shard),
            }
        }
        others.append(&mut self.free);
        self.free = others;
    }

    /// Gives the places of a hand back that were not used.
    pub(super) fn give_back(&mut self, hand: Hand, mut used: Vec<Shard>) {
        for Place { shard, .. } in hand.places.into_iter().rev() {
            match used.iter().position(|used| *used == shard) {
                Some(at) => drop(used.swap_remove(at)),
                None => {
                    self.free_of[shard.0 as usize] += 1;
                    self.free.push_front(shard);
                }
            }
        }
    }

    /// Whether there is a place for one of the keys that a task has in line, as far as is known.
    pub(super) fn is_room_for(&mut self, kind: Kind, wanted: &Wanted) -> bool {
        let Wanted::Keyed { lanes, anywhere, .. } = wanted else { return !self.is_empty() };
        if *anywhere && !self.is_empty() {
            return true;
        }
        let serving = self.serving(kind);
        let shards: Vec<_> =
            lanes.iter().filter_map(|lane| serving.of_lane.get(*lane as usize).copied()).collect();
        shards.into_iter().any(|shard| self.free_of[shard as usize] > 0)
    }

    /// Whether any shard is held by somebody who knows this kind, with room or without.
    pub(super) fn is_anybody_capable(&self, kind: Kind) -> bool {
        self.rooms.iter().any(|room| room.kinds.has(kind))
    }

    fn serving(&mut self, kind: Kind) -> &Serving {
        let (rooms, ring) = (&self.rooms, &self.ring);
        self.serving.entry(kind).or_insert_with(|| {
            let of_lane = ring.serving(|shard| rooms[shard as usize].kinds.has(kind));
            let mut lanes_of = vec![Vec::new(); rooms.len()];
            for (lane, shard) in (0..).zip(&of_lane) {
                lanes_of[*shard as usize].push(lane);
            }
            Serving { of_lane, lanes_of }
        })
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::TaskType;
    use dtf_model::shard::Kinds;

    use super::*;

    const ONE: Kind = kind(1);
    const TWO: Kind = kind(2);

    const fn kind(number: u32) -> Kind {
        Kind { task_type: TaskType(number), version: 0 }
    }

    fn places(rooms: Vec<Room>) -> Places {
        Places::new(Arc::new(Ring::new(rooms.len() as u32)), rooms)
    }

    fn room(free: u32, kinds: &[Kind]) -> Room {
        Room { free, kinds: kinds.iter().copied().collect() }
    }

    fn shards(hand: &Hand) -> Vec<u32> {
        hand.places.iter().map(|place| place.shard.0).collect()
    }

    fn keyed(lanes: &[u32], all: bool, anywhere: bool) -> Wanted {
        Wanted::Keyed { lanes: lanes.to_vec(), all, anywhere }
    }

    #[test]
    fn places_are_given_to_those_whose_kind_is_known_there() {
        let mut some = places(vec![room(1, &[ONE]), room(2, &[ONE, TWO]), room(0, &[kind(3)])]);
        let mut hand = |kind| shards(&some.hand(kind, &Wanted::Unkeyed));
        assert_eq!(hand(TWO), [1, 1]);
        assert!(hand(TWO).is_empty() && hand(kind(3)).is_empty());
        assert_eq!(hand(ONE), [0]);
        assert!(some.is_anybody_capable(kind(3)) && !some.is_anybody_capable(kind(4)));
        assert!(some.is_empty());
        let mut many = places(vec![Room { free: 100, kinds: Kinds::all() }]);
        assert_eq!(many.hand(ONE, &Wanted::Unkeyed).places.len(), HAND);
    }

    #[test]
    fn what_is_not_used_is_there_for_others() {
        let mut some = places(vec![room(2, &[ONE]), room(1, &[ONE])]);
        let hand = some.hand(ONE, &Wanted::Unkeyed);
        assert_eq!(shards(&hand), [0, 0, 1]);
        some.give_back(hand, vec![Shard(0)]);
        assert_eq!(shards(&some.hand(ONE, &Wanted::Unkeyed)), [0, 1]);
    }

    #[test]
    fn keys_get_places_on_the_shards_of_their_lanes() {
        let all = || places(vec![room(2, &[ONE]), room(1, &[ONE]), room(0, &[ONE]), room(1, &[ONE])]);
        let mut some = all();
        assert!(some.is_room_for(ONE, &keyed(&[2, 3], true, false)));
        assert!(!some.is_room_for(ONE, &keyed(&[2], true, false)));
        assert!(some.is_room_for(ONE, &keyed(&[2], true, true)));
        let hand = some.hand(ONE, &keyed(&[0, 2, 3], true, false));
        assert_eq!(shards(&hand), [0, 0, 3]);
        assert_eq!((&hand.places[0].lanes, &hand.places[2].lanes, hand.lanes), (&vec![0], &vec![3], 4));
        assert!(!some.is_room_for(ONE, &keyed(&[0, 2, 3], true, false)));
        assert!(some.is_room_for(ONE, &keyed(&[1], true, false)));
        // Where others may have come, every shard is asked once.
        assert_eq!(shards(&all().hand(ONE, &keyed(&[2], false, false))), [0, 1, 3]);
        // What has no key may go anywhere.
        assert_eq!(shards(&all().hand(ONE, &keyed(&[1], true, true))), [1, 0, 0, 3]);
    }

    #[test]
    fn a_lane_whose_shard_is_incapable_has_a_stand_in() {
        let rooms = (0..8).map(|shard| room(1, if shard < 4 { &[ONE] } else { &[TWO] })).collect();
        let mut some = places(rooms);
        let hand = some.hand(ONE, &keyed(&[0, 4, 5, 6, 7], true, false));
        let mut lanes: Vec<_> = hand.places.iter().flat_map(|place| place.lanes.clone()).collect();
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 4, 5, 6, 7]);
        assert!(hand.places.iter().all(|place| place.shard.0 < 4));
        assert!(hand.places.iter().any(|place| place.shard.0 == 0 && place.lanes.contains(&0)));
    }
}
