//! The room that shards have, as far as it is known, and the tasks that can use it.
//!
//! What is known of a shard changes when it is read, when a parcel is given a place on it, and when that place comes back.
//! Each change costs the logarithm of the number of shards, and giving out a place does, so the number of shards that have
//! nothing to say costs nothing. A process takes no more over all its shards than its credit allows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dtf_model::key::Ring;
use dtf_model::queue::{LANES_MOST, RESULTS_WATERMARK_BYTES, Slot, TakeRequest, Taken};
use dtf_model::shard::{ProcessCredit, ShardCredit, SupportedTypes};
use dtf_model::{Shard, TypeVersion};

/// The subtasks that a task has to give, as far as is known.
#[derive(Clone, Debug, Default)]
pub(super) enum Wanted {
    /// Subtasks without keys: it has shown no others.
    #[default]
    Unkeyed,
    /// Subtasks with keys.
    Keyed {
        /// Of these lanes.
        lanes: Vec<u32>,
        /// True if these are all the lanes that have any.
        all: bool,
        /// True if it has some without keys too.
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

/// A spot where subtasks of a kind can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spot {
    /// Any shard whose holder knows the kind.
    Anywhere(TypeVersion),
    /// This shard, if its holder knows the kind.
    On(TypeVersion, u32),
}

/// The shards that serve the lanes of a kind of task.
struct Serving {
    of_lane: Vec<u32>,
    lanes_of: Vec<Vec<u32>>,
}

/// A shard: its room, and the process that holds it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    free: u32,
    used: u32,
    process: u64,
}

/// A process, with those of its shards that have room: by how much, and those of lower numbers later.
#[derive(Debug)]
struct Process {
    class: Arc<str>,
    window: u32,
    used: u32,
    shards: u32,
    open: BTreeSet<(u32, Reverse<u32>)>,
}

impl Process {
    /// The number of further parcels that it takes.
    fn free(&self) -> u32 {
        if self.open.is_empty() { 0 } else { self.window.saturating_sub(self.used) }
    }
}

/// The processes that know the same kinds of task, and those of them that have room, by how much.
#[derive(Debug)]
struct Class {
    kinds: SupportedTypes,
    processes: u32,
    open: BTreeSet<(u32, u64)>,
}

/// The places that shards have for parcels. Those of the process with the most room are given out first, and of its shards
/// those with the most room.
pub(super) struct Capacity {
    shards: Vec<Known>,
    processes: HashMap<u64, Process>,
    classes: BTreeMap<Arc<str>, Class>,
    ring: Arc<Ring>,
    /// The serving shards of the kinds that were asked for since a shard's kinds changed.
    serving: BTreeMap<TypeVersion, Serving>,
    /// The number of changes of which shard serves a lane.
    layout: u64,
    /// The shard from which on those are asked whose keys are not known.
    next_asked: u32,
}

impl Capacity {
    /// So many shards without room.
    pub(super) fn new(shards: u32) -> Self {
        let mut places = Self {
            shards: Vec::with_capacity(shards as usize),
            processes: HashMap::new(),
            classes: BTreeMap::new(),
            ring: Arc::new(Ring::new(shards)),
            serving: BTreeMap::new(),
            layout: 0,
            next_asked: 0,
        };
        let never_held = ShardCredit { free: 0, used: 0, kinds: SupportedTypes::all(), credit: None };
        for shard in 0..shards {
            places.shards.push(Known::default());
            places.enter(shard, &never_held);
        }
        places
    }

    /// Notes the room that a shard has, as it was read.
    pub(super) fn note(&mut self, shard: Shard, room: &ShardCredit) {
        if !self.is_held_as(shard.0, room) {
            self.leave(shard.0);
            self.enter(shard.0, room);
        }
        self.change(shard.0, |known| (known.free, known.used) = (room.free, room.used));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.values().all(|class| class.open.is_empty())
    }

    /// Takes the places away that a task of this kind may use now, of those whose holders know the kind. They are for so many
    /// parcels at most.
    pub(super) fn hand(&mut self, kind: TypeVersion, wanted: &Wanted, parcels: usize) -> TakeRequest {
        let (lanes, results_bytes) = (self.shards.len() as u32, RESULTS_WATERMARK_BYTES);
        let mut hand = TakeRequest { places: Vec::new(), parcels, lanes, results_bytes };
        match wanted {
            Wanted::Unkeyed => self.pick_any(kind, &mut hand),
            Wanted::Keyed { all: false, .. } => self.pick_asked(kind, &mut hand),
            Wanted::Keyed { lanes, anywhere, .. } => {
                self.pick_lanes(kind, lanes, &mut hand);
                if *anywhere {
                    self.pick_any(kind, &mut hand);
                }
            }
        }
        hand
    }

    /// Takes slots for what may go anywhere.
    fn pick_any(&mut self, kind: TypeVersion, hand: &mut TakeRequest) {
        while hand.places.len() < hand.parcels {
            let Some(shard) = self.roomiest(kind) else { return };
            self.give(shard);
            hand.places.push(Slot { shard: Shard(shard), lanes: Vec::new() });
        }
    }

    /// Takes slots for the keys of these lanes.
    fn pick_lanes(&mut self, kind: TypeVersion, lanes: &[u32], hand: &mut TakeRequest) {
        let mut by_shard: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let serving = &self.serving(kind).of_lane;
        for lane in lanes {
            let shard = serving.get(*lane as usize).copied().unwrap_or(*lane);
            by_shard.entry(shard).or_default().push(*lane);
        }
        // A place on each shard before a second one on any.
        let mut has_more = true;
        while has_more && hand.places.len() < hand.parcels {
            has_more = false;
            for (shard, lanes) in &by_shard {
                if hand.places.len() < hand.parcels && self.has_place(*shard, kind) {
                    self.give(*shard);
                    hand.places.push(Slot { shard: Shard(*shard), lanes: lanes.clone() });
                    has_more = true;
                }
            }
        }
    }

    /// A place on each shard, of a round over all: which of them the task can use is found out by asking.
    fn pick_asked(&mut self, kind: TypeVersion, hand: &mut TakeRequest) {
        let (count, from) = (self.shards.len() as u32, self.next_asked);
        for shard in (from..count).chain(0..from) {
            if hand.places.len() == LANES_MOST {
                self.next_asked = shard;
                return;
            }
            if self.has_place(shard, kind) {
                self.give(shard);
                let lanes = self.serving(kind).lanes_of[shard as usize].clone();
                hand.places.push(Slot { shard: Shard(shard), lanes });
            }
        }
    }

    /// Gives the places of a hand back that were not used.
    pub(super) fn give_back(&mut self, hand: TakeRequest, mut used: Vec<Shard>) {
        for Slot { shard, .. } in hand.places {
            match used.iter().position(|used| *used == shard) {
                Some(at) => drop(used.swap_remove(at)),
                None => self.change(shard.0, |known| {
                    known.free += 1;
                    known.used = known.used.saturating_sub(1);
                }),
            }
        }
    }

    /// Returns true if there is a place for this type of task.
    pub(super) fn is_room_for_kind(&self, kind: TypeVersion) -> bool {
        self.roomiest(kind).is_some()
    }

    /// The spots where something of a task can go, as far as is known of its keys.
    pub(super) fn spots(&mut self, kind: TypeVersion, wanted: &Wanted) -> BTreeSet<Spot> {
        let Wanted::Keyed { lanes, anywhere, .. } = wanted else {
            return BTreeSet::from([Spot::Anywhere(kind)]);
        };
        let serving = &self.serving(kind).of_lane;
        let shards = lanes.iter().filter_map(|lane| serving.get(*lane as usize).copied());
        shards.map(|shard| Spot::On(kind, shard)).chain(anywhere.then_some(Spot::Anywhere(kind))).collect()
    }

    /// Returns true if a spot has room.
    pub(super) fn has_room_at(&self, spot: Spot) -> bool {
        match spot {
            Spot::Anywhere(kind) => self.is_room_for_kind(kind),
            Spot::On(kind, shard) => self.has_place(shard, kind),
        }
    }

    /// The number of changes of which shard serves a lane: the spots of tasks are the same for as long as it is.
    pub(super) fn layout(&self) -> u64 {
        self.layout
    }

    /// Returns true if any shard is held by a process that knows this type, with room or without.
    pub(super) fn is_anybody_capable(&self, kind: TypeVersion) -> bool {
        self.classes.values().any(|class| class.kinds.has(kind))
    }

    /// The shard with the most room of the process with the most room, of those that know the kind.
    fn roomiest(&self, kind: TypeVersion) -> Option<u32> {
        let classes = self.classes.values().filter(|class| class.kinds.has(kind));
        let (_, process) = classes.filter_map(|class| class.open.last()).max()?;
        let (_, Reverse(shard)) = self.processes.get(process)?.open.last()?;
        Some(*shard)
    }

    fn has_place(&self, shard: u32, kind: TypeVersion) -> bool {
        let Some(known) = self.shards.get(shard as usize).filter(|known| known.free > 0) else {
            return false;
        };
        let process = self.processes.get(&known.process).filter(|process| process.free() > 0);
        let class = process.and_then(|process| self.classes.get(&process.class));
        class.is_some_and(|class| class.kinds.has(kind))
    }

    fn give(&mut self, shard: u32) {
        self.change(shard, |known| {
            known.free = known.free.saturating_sub(1);
            known.used += 1;
        });
    }

    /// Changes the room of a shard that stays where it is.
    fn change(&mut self, shard: u32, change: impl FnOnce(&mut Known)) {
        let Some(known) = self.shards.get_mut(shard as usize) else { return };
        let before = *known;
        change(known);
        let after = *known;
        let Some(process) = self.processes.get_mut(&after.process) else { return };
        let Some(class) = self.classes.get_mut(&process.class) else { return };
        let was = process.free();
        set_open(process, shard, before.free, after.free);
        process.used = (process.used + after.used).saturating_sub(before.used);
        if was != process.free() {
            class.open.remove(&(was, after.process));
            if process.free() > 0 {
                class.open.insert((process.free(), after.process));
            }
        }
    }

    /// Returns true if a shard is held by the process that it is known to be held by, and takes the same as before.
    fn is_held_as(&self, shard: u32, room: &ShardCredit) -> bool {
        let ProcessCredit { process: id, window } = credit(shard, room);
        let process = self.processes.get(&id).filter(|_| self.shards[shard as usize].process == id);
        process.is_some_and(|process| process.window == window && *process.class == *room.kinds.as_str())
    }

    /// Takes a shard away from its process. A process without shards is forgotten, and so is a class without processes.
    fn leave(&mut self, shard: u32) {
        self.change(shard, |known| (known.free, known.used) = (0, 0));
        let id = self.shards[shard as usize].process;
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.shards -= 1;
        if process.shards == 0 {
            self.leave_class(id);
            self.processes.remove(&id);
        }
    }

    /// Gives a shard, without room, to the process that holds it now; what that said last of itself holds.
    fn enter(&mut self, shard: u32, room: &ShardCredit) {
        let ProcessCredit { process: id, window } = credit(shard, room);
        let class: Arc<str> = room.kinds.as_str().into();
        if self.processes.contains_key(&id) {
            self.leave_class(id);
        }
        let new = || Process { class: class.clone(), window, used: 0, shards: 0, open: BTreeSet::new() };
        let process = self.processes.entry(id).or_insert_with(new);
        (process.class, process.window) = (class.clone(), window);
        process.shards += 1;
        let free = process.free();
        let new = || Class { kinds: room.kinds.clone(), processes: 0, open: BTreeSet::new() };
        let class = self.classes.entry(class).or_insert_with(new);
        class.processes += 1;
        if free > 0 {
            class.open.insert((free, id));
        }
        self.shards[shard as usize].process = id;
        self.serving.clear();
        self.layout += 1;
    }

    fn leave_class(&mut self, id: u64) {
        let Some(process) = self.processes.get(&id) else { return };
        let Some(class) = self.classes.get_mut(&process.class) else { return };
        class.open.remove(&(process.free(), id));
        class.processes -= 1;
        if class.processes == 0 {
            self.classes.remove(&process.class);
        }
    }

    fn serving(&mut self, kind: TypeVersion) -> &Serving {
        let (shards, processes, classes, ring) = (&self.shards, &self.processes, &self.classes, &self.ring);
        self.serving.entry(kind).or_insert_with(|| {
            let capable: BTreeSet<&Arc<str>> =
                classes.iter().filter(|(_, class)| class.kinds.has(kind)).map(|(name, _)| name).collect();
            let is_capable = |shard: u32| {
                let process = processes.get(&shards[shard as usize].process);
                process.is_some_and(|process| capable.contains(&process.class))
            };
            let of_lane = ring.serving(is_capable);
            let mut lanes_of = vec![Vec::new(); shards.len()];
            for (lane, shard) in (0..).zip(&of_lane) {
                lanes_of[*shard as usize].push(lane);
            }
            Serving { of_lane, lanes_of }
        })
    }
}

/// The credit of the process that holds a shard; where it is not known, that of a process that holds this shard only, with a
/// number below those that are drawn at random.
fn credit(shard: u32, room: &ShardCredit) -> ProcessCredit {
    room.credit.unwrap_or(ProcessCredit { process: u64::from(shard), window: u32::MAX })
}

fn set_open(process: &mut Process, shard: u32, before: u32, after: u32) {
    if before > 0 {
        process.open.remove(&(before, Reverse(shard)));
    }
    if after > 0 {
        process.open.insert((after, Reverse(shard)));
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::TaskTypeId;

    use super::*;

    const HAND: usize = 16;
    const ONE: TypeVersion = kind(1);
    const TWO: TypeVersion = kind(2);

    const fn kind(number: u32) -> TypeVersion {
        TypeVersion { task_type: TaskTypeId(number), version: 0 }
    }

    fn places(rooms: &[ShardCredit]) -> Capacity {
        let mut places = Capacity::new(rooms.len() as u32);
        for (shard, room) in (0..).zip(rooms) {
            places.note(Shard(shard), room);
        }
        places
    }

    fn room(free: u32, kinds: &[TypeVersion]) -> ShardCredit {
        ShardCredit { free, used: 0, kinds: kinds.iter().copied().collect(), credit: None }
    }

    fn of(process: u64, window: u32, free: u32, used: u32) -> ShardCredit {
        ShardCredit {
            free,
            used,
            kinds: SupportedTypes::all(),
            credit: Some(ProcessCredit { process, window }),
        }
    }

    fn shards(hand: &TakeRequest) -> Vec<u32> {
        hand.places.iter().map(|place| place.shard.0).collect()
    }

    fn is_room_for(places: &mut Capacity, kind: TypeVersion, wanted: &Wanted) -> bool {
        places.spots(kind, wanted).into_iter().any(|spot| places.has_room_at(spot))
    }

    fn keyed(lanes: &[u32], all: bool, anywhere: bool) -> Wanted {
        Wanted::Keyed { lanes: lanes.to_vec(), all, anywhere }
    }

    #[test]
    fn places_are_given_to_tasks_whose_kind_is_known_there() {
        let mut some = places(&[room(1, &[ONE]), room(2, &[ONE, TWO]), room(0, &[kind(3)])]);
        let mut hand = |kind| shards(&some.hand(kind, &Wanted::Unkeyed, HAND));
        assert_eq!(hand(TWO), [1, 1]);
        assert!(hand(TWO).is_empty() && hand(kind(3)).is_empty());
        assert_eq!(hand(ONE), [0]);
        assert!(some.is_anybody_capable(kind(3)) && !some.is_anybody_capable(kind(4)));
        assert!(some.is_empty());
        let mut many = places(&[ShardCredit { free: 100, ..room(0, &[ONE]) }]);
        assert_eq!(many.hand(ONE, &Wanted::Unkeyed, HAND).places.len(), HAND);
    }

    #[test]
    fn what_is_not_used_is_there_for_others() {
        let mut some = places(&[room(2, &[ONE]), room(1, &[ONE])]);
        let hand = some.hand(ONE, &Wanted::Unkeyed, HAND);
        assert_eq!(shards(&hand).len(), 3);
        some.give_back(hand, vec![Shard(0)]);
        let mut left = shards(&some.hand(ONE, &Wanted::Unkeyed, HAND));
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
    }

    #[test]
    fn a_process_takes_no_more_than_its_credit_over_all_its_shards() {
        let mut some = places(&[of(100, 3, 2, 0), of(100, 3, 2, 1), of(200, 9, 1, 8)]);
        let taken = shards(&some.hand(ONE, &Wanted::Unkeyed, HAND));
        assert_eq!(taken.iter().filter(|shard| **shard < 2).count(), 2, "{taken:?}");
        assert_eq!(taken.iter().filter(|shard| **shard == 2).count(), 1, "{taken:?}");
        assert!(some.is_empty() && !is_room_for(&mut some, ONE, &keyed(&[0, 1, 2], true, false)));
        // Two of its parcels are done, as was read of their shard; the third is on the other one.
        some.note(Shard(1), &of(100, 3, 3, 0));
        assert_eq!(shards(&some.hand(ONE, &keyed(&[1], true, false), HAND)), [1, 1]);
    }

    #[test]
    fn a_shard_that_moves_takes_its_room_along() {
        let mut some = places(&[of(100, 4, 2, 0), of(100, 4, 0, 2)]);
        some.note(Shard(0), &of(200, 1, 2, 0));
        assert_eq!(shards(&some.hand(ONE, &Wanted::Unkeyed, HAND)), [0]);
        some.note(Shard(1), &of(200, 1, 2, 0));
        assert!(some.is_empty());
        some.note(Shard(0), &of(200, 3, 2, 0));
        assert_eq!(some.hand(ONE, &Wanted::Unkeyed, HAND).places.len(), 3);
        assert!(!some.processes.contains_key(&100));
    }

    #[test]
    fn keys_get_places_on_the_shards_of_their_lanes() {
        let all = || places(&[room(2, &[ONE]), room(1, &[ONE]), room(0, &[ONE]), room(1, &[ONE])]);
        let mut some = all();
        assert!(is_room_for(&mut some, ONE, &keyed(&[2, 3], true, false)));
        assert!(!is_room_for(&mut some, ONE, &keyed(&[2], true, false)));
        assert!(is_room_for(&mut some, ONE, &keyed(&[2], true, true)));
        let hand = some.hand(ONE, &keyed(&[0, 2, 3], true, false), HAND);
        assert_eq!(shards(&hand), [0, 3, 0]);
        assert_eq!((&hand.places[0].lanes, &hand.places[1].lanes, hand.lanes), (&vec![0], &vec![3], 4));
        assert!(!is_room_for(&mut some, ONE, &keyed(&[0, 2, 3], true, false)));
        assert!(is_room_for(&mut some, ONE, &keyed(&[1], true, false)));
        // Where others may have come, every shard is asked once.
        assert_eq!(shards(&all().hand(ONE, &keyed(&[2], false, false), HAND)), [0, 1, 3]);
        // What has no key may go anywhere.
        assert_eq!(shards(&all().hand(ONE, &keyed(&[1], true, true), HAND)).len(), 4);
    }

    #[test]
    fn a_lane_whose_shard_is_incapable_has_a_stand_in() {
        let rooms: Vec<_> = (0..8).map(|shard| room(1, if shard < 4 { &[ONE] } else { &[TWO] })).collect();
        let mut some = places(&rooms);
        let hand = some.hand(ONE, &keyed(&[0, 4, 5, 6, 7], true, false), HAND);
        let mut lanes: Vec<_> = hand.places.iter().flat_map(|place| place.lanes.clone()).collect();
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 4, 5, 6, 7]);
        assert!(hand.places.iter().all(|place| place.shard.0 < 4));
        assert!(hand.places.iter().any(|place| place.shard.0 == 0 && place.lanes.contains(&0)));
    }
}
