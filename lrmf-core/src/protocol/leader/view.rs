//! The leader's observations of its group.

pub(super) mod delivered;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::config::GroupMode;
use crate::coordination::{LeaseId, Revision};
use crate::ids::{Generation, Incarnation, InstanceId, MAX_MEMBERS};
use crate::keys::{ChunkId, Keys, path_of};
use crate::protocol::Rules;
use crate::records::{AckRecord, ChunkRecord, Entry, LeaderRecord, MemberRecord, MemberState, NoticeRecord};

use crate::task::Task;

use super::census::Census;
use super::controls::Controls;
use super::ledger::Touched;
use super::seats::Seats;

/// The records of a group as of a revision, with an index from tasks to holders.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) keys: Keys,
    /// Everything up to here was delivered by the store.
    pub(super) revision: Revision,
    /// The leader's own writes up to here are in; the store's repetition of them is ignored.
    written: Revision,
    pub(super) members: BTreeMap<InstanceId, MemberRecord>,
    pub(super) census: Census,
    /// The keys of their sessions.
    pub(super) sessions: BTreeMap<InstanceId, SessionKey>,
    /// Those of them that may hold tasks.
    pub(super) seats: Seats,
    /// The mode of this leader, which is the group's once [`mode_agrees`](Self::mode_agrees).
    mode: GroupMode,
    /// The group's mode, where a record says so.
    pub(super) stored_mode: Option<(GroupMode, Revision)>,
    /// The session of each member that is in contact.
    contacts: BTreeMap<InstanceId, Incarnation>,
    /// The notices that members were given.
    pub(super) notices: BTreeMap<InstanceId, NoticeRecord>,
    pub(super) successors: BTreeSet<InstanceId>,
    pub(super) acks: BTreeMap<InstanceId, AckRecord>,
    pub(super) chunks: BTreeMap<InstanceId, BTreeMap<ChunkId, ChunkRecord>>,
    /// Chunks in which there is no record, and the writes that made them so.
    pub(super) unreadable: BTreeMap<(InstanceId, ChunkId), Revision>,
    pub(super) generation: Option<(Generation, Revision)>,
    /// There is something in the place of the counter, and it is no number.
    pub(super) counter_lost: bool,
    /// The write that created the leader's key, and its record.
    pub(super) leader: Option<(Revision, LeaderRecord)>,
    /// The wishes of operators.
    pub(super) controls: Controls,
    /// The highest number seen in any record or acknowledgement.
    pub(super) floor: Generation,
    /// R5, of acknowledgements.
    pub(super) count_acks: bool,
    /// P7.
    pub(super) awaits_restart: bool,
    /// Every entry once more, by task: planning looks at all of them.
    places: HashMap<Arc<str>, Spot, FixedState>,
    /// The tasks that may be elsewhere, or in another state, than when this was asked for last.
    touched: Touched,
}

impl View {
    pub(super) fn new(keys: Keys, mode: GroupMode) -> Self {
        Self {
            keys,
            revision: Revision(0),
            written: Revision(0),
            members: BTreeMap::new(),
            census: Census::default(),
            sessions: BTreeMap::new(),
            seats: Seats::new(MAX_MEMBERS),
            mode,
            stored_mode: None,
            contacts: BTreeMap::new(),
            notices: BTreeMap::new(),
            successors: BTreeSet::new(),
            acks: BTreeMap::new(),
            chunks: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            generation: None,
            counter_lost: false,
            leader: None,
            controls: Controls::default(),
            floor: Generation(0),
            count_acks: true,
            awaits_restart: true,
            places: HashMap::default(),
            touched: Touched::All,
        }
    }

    /// Applies the leader's own committed write, unless the store has delivered it already.
    pub(super) fn wrote(
        &mut self,
        revision: Revision,
        generation: Generation,
        chunks: Vec<((InstanceId, ChunkId), Option<ChunkRecord>)>,
    ) {
        if revision <= self.revision {
            return;
        }
        self.written = self.written.max(revision);
        self.generation = Some((generation, revision));
        self.counter_lost = false;
        self.floor = self.floor.max(generation);
        for ((instance, chunk), record) in chunks {
            self.set_chunk(&instance, chunk, record);
        }
    }

    fn set_chunk(&mut self, instance: &InstanceId, chunk: ChunkId, record: Option<ChunkRecord>) {
        let of_member = self.chunks.entry(instance.clone()).or_default();
        if let Some(before) = of_member.remove(&chunk) {
            self.touched.add(before.tasks.iter().map(|entry| entry.key.clone()));
            for entry in &before.tasks {
                // Unless the same write put it elsewhere.
                let is_here = |spot: &Spot| spot.chunk == chunk && spot.holder == *instance;
                if self.places.get(&entry.key).is_some_and(is_here) {
                    self.places.remove(&entry.key);
                }
            }
        }
        if let Some(record) = record {
            self.floor = self.floor.max(record.highest());
            self.touched.add(record.tasks.iter().map(|entry| entry.key.clone()));
            for entry in &record.tasks {
                let (holder, incarnation) = (instance.clone(), record.incarnation);
                let spot = Spot { holder, chunk, incarnation, entry: entry.clone() };
                self.places.insert(entry.key.clone(), spot);
            }
            of_member.insert(chunk, record);
        }
        if of_member.is_empty() {
            self.chunks.remove(instance);
        }
    }

    fn touch_all_of(&mut self, instance: &InstanceId) {
        let chunks = self.chunks.get(instance).into_iter().flat_map(BTreeMap::values);
        self.touched.add(chunks.flat_map(|chunk| &chunk.tasks).map(|entry| entry.key.clone()));
    }

    /// The tasks that may be elsewhere, or in another state, than when this was called last.
    pub(super) fn take_touched(&mut self) -> Touched {
        std::mem::replace(&mut self.touched, Touched::Some(Vec::new()))
    }

    /// Returns the member that has a task at rest: in the record of a living session, with its own value, and not asked for back.
    pub(super) fn rests_with(&self, task: &Task) -> Option<&InstanceId> {
        let spot = self.places.get(&task.key)?;
        let rests = spot.entry.releasing.is_none()
            && spot.entry.value == task.value
            && self.is_alive(&spot.holder, spot.incarnation);
        rests.then_some(&spot.holder)
    }

    /// A chunk of a member.
    pub(super) fn chunk(&self, instance: &InstanceId, chunk: ChunkId) -> Option<&ChunkRecord> {
        self.chunks.get(instance)?.get(&chunk)
    }

    /// The chunk that a task is in, or comes into, with a member.
    pub(super) fn chunk_of(&self, instance: &InstanceId, key: &str) -> ChunkId {
        let spot = self.places.get(key).filter(|spot| spot.holder == *instance);
        spot.map(|spot| spot.chunk).unwrap_or_else(|| {
            let none = BTreeMap::new();
            ChunkId::among(self.chunks.get(instance).unwrap_or(&none), path_of(key))
        })
    }

    /// Returns the place of a task in a member's record.
    pub(super) fn place(&self, key: &str) -> Option<Place<'_>> {
        let spot = self.places.get(key)?;
        Some(Place { holder: &spot.holder, incarnation: spot.incarnation, entry: &spot.entry })
    }

    /// Returns true where a task that is in no record may be in one that cannot be read.
    pub(super) fn is_obscured(&self, key: &str) -> bool {
        !self.unreadable.is_empty() && {
            let path = path_of(key);
            self.unreadable.keys().any(|(_, chunk)| chunk.contains(path))
        }
    }

    /// Returns true where a member may run something from what was in a record before this write made it unreadable: it has been one
    /// since before. A session that takes a key over is taken for the one before it.
    pub(super) fn may_run_from(&self, instance: &InstanceId, unreadable: Revision) -> bool {
        self.sessions.get(instance).is_some_and(|session| session.created <= unreadable)
    }

    /// Returns true where a member may run something from a record that cannot be read.
    pub(super) fn has_unreadable(&self, instance: &InstanceId) -> bool {
        let of_member = (instance.clone(), ChunkId::FIRST)..=(instance.clone(), ChunkId::LAST);
        self.unreadable.range(of_member).any(|(_, revision)| self.may_run_from(instance, *revision))
    }

    /// Returns the number of tasks that are in a record.
    pub(super) fn placed(&self) -> usize {
        self.places.len()
    }

    /// All entries of all records, by member and chunk.
    pub(super) fn entries(&self) -> impl Iterator<Item = Place<'_>> {
        self.chunks.iter().flat_map(|(holder, chunks)| {
            chunks.values().flat_map(move |record| {
                let incarnation = record.incarnation;
                record.tasks.iter().map(move |entry| Place { holder, incarnation, entry })
            })
        })
    }

    /// Returns true where its holder says that the task neither runs nor stops.
    pub(super) fn is_stuck(&self, place: Place<'_>) -> bool {
        self.acks.get(place.holder).is_some_and(|ack| {
            ack.incarnation == place.incarnation && ack.stuck.iter().any(|stuck| stuck.key == place.entry.key)
        })
    }

    /// Returns true where the session is alive, as far as is known.
    pub(super) fn is_alive(&self, instance: &InstanceId, incarnation: Incarnation) -> bool {
        self.members.get(instance).is_some_and(|member| member.incarnation == incarnation)
    }

    /// A member that may hold tasks, in a session of its own.
    pub(super) fn holder(&self, instance: &InstanceId) -> Option<&MemberRecord> {
        self.members.get(instance).filter(|member| self.may_hold(instance, member))
    }

    /// All members that may hold tasks, by name.
    pub(super) fn holders(&self) -> impl Iterator<Item = (&InstanceId, &MemberRecord)> {
        self.members.iter().filter(|(instance, member)| self.may_hold(instance, member))
    }

    fn may_hold(&self, instance: &InstanceId, member: &MemberRecord) -> bool {
        member.state == MemberState::Active
            && member.mode == self.mode
            && self.is_in_contact(instance, member)
            && !self.controls.drains.contains(instance)
            && self.has_seat(instance)
    }

    /// Returns true where the member is among the first so many.
    pub(super) fn has_seat(&self, instance: &InstanceId) -> bool {
        if self.seats.waiting() == 0 {
            return true;
        }
        let created = self.sessions.get(instance).map(|session| session.created);
        created.is_some_and(|created| self.seats.has(created, instance))
    }

    /// Returns true where the member was heard of lately; in mode `exclusive` its session says that by itself.
    pub(super) fn is_in_contact(&self, instance: &InstanceId, member: &MemberRecord) -> bool {
        member.mode == GroupMode::Exclusive || self.contacts.get(instance) == Some(&member.incarnation)
    }

    /// Returns true where any member that may be about to come back is out of contact.
    pub(super) fn misses_anybody(&self) -> bool {
        self.members.iter().any(|(instance, member)| {
            member.state != MemberState::Restarting && !self.is_in_contact(instance, member)
        })
    }

    /// The mode of the group; without a record it is the default.
    pub(super) fn group_mode(&self) -> GroupMode {
        self.stored_mode.map_or_else(GroupMode::default, |(mode, _)| mode)
    }

    /// Returns true where this leader's mode is the group's.
    pub(super) fn mode_agrees(&self) -> bool {
        self.group_mode() == self.mode
    }

    /// Returns true where somebody else has the group's mode, so that this leader, which has not, must leave it to them.
    pub(super) fn is_led_by_wrong_mode(&self) -> bool {
        !self.mode_agrees() && self.members.values().any(|member| member.mode == self.group_mode())
    }

    /// Returns true where an operator declared this very holding to be over.
    pub(super) fn is_released(&self, place: Place<'_>, rules: Rules) -> bool {
        self.controls.releases.get(&place.entry.key).is_some_and(|(_, record)| {
            record.member == *place.holder
                && record.incarnation == place.incarnation
                && (!rules.release_names_token || record.token == place.entry.token)
        })
    }

    /// Returns true where a task is not to be given to this member's session, as an operator took it from there by force. Where it
    /// is there in another holding, that one is not meant.
    pub(super) fn is_barred(&self, key: &str, instance: &InstanceId, rules: Rules) -> bool {
        self.controls.releases.get(key).is_some_and(|(_, record)| {
            let of_it = record.member == *instance && self.is_alive(instance, record.incarnation);
            let place = self.place(key).filter(|place| place.holder == instance && self.rests(*place));
            of_it && place.is_none_or(|place| self.is_released(place, rules))
        })
    }

    /// Returns true where a task runs, as far as is known, with a member that does not leave by itself.
    pub(super) fn rests(&self, place: Place<'_>) -> bool {
        place.entry.releasing.is_none()
            && self.members.get(place.holder).is_some_and(|member| {
                member.incarnation == place.incarnation
                    && member.state == MemberState::Active
                    && self.is_in_contact(place.holder, member)
            })
    }

    /// Returns true where a task stays where it is, whatever is planned: it runs, and the group is frozen.
    pub(super) fn is_frozen(&self, place: Place<'_>, rules: Rules) -> bool {
        self.controls.frozen && self.rests(place) && !self.is_released(place, rules)
    }

    /// Returns true where what a member has stays there, though it may hold none, as it runs and the group is frozen.
    pub(super) fn runs_frozen(&self, instance: &InstanceId) -> bool {
        self.controls.frozen
            && self.members.get(instance).is_some_and(|member| {
                member.state == MemberState::Active && self.is_in_contact(instance, member)
            })
    }

    /// Returns true where a member's tasks wait for it to come back.
    pub(super) fn is_awaited(&self, instance: &InstanceId) -> bool {
        if self.controls.drains.contains(instance) {
            return false;
        }
        match self.members.get(instance) {
            Some(member) => member.state == MemberState::Restarting && self.awaits_restart,
            None => self.successors.contains(instance),
        }
    }
}

/// A session's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionKey {
    /// Since when the member is one, restarts included.
    pub(super) created: Revision,
    /// The write that last changed it.
    pub(super) modified: Revision,
    pub(super) lease: Option<LeaseId>,
}

/// An entry with the record that it is in.
#[derive(Clone, Debug)]
struct Spot {
    holder: InstanceId,
    chunk: ChunkId,
    incarnation: Incarnation,
    entry: Entry,
}

/// The place of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) holder: &'a InstanceId,
    /// The session that the record is for.
    pub(super) incarnation: Incarnation,
    pub(super) entry: &'a Entry,
}
