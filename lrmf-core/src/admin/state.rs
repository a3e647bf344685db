//! A group as its records say it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::GroupMode;
use crate::control::{DrainRecord, EvictionRecord, FreezeRecord, PinRecord, ReleaseRecord};
use crate::coordination::{KeyValue, Revision, Snapshot, WatchBatch, WatchEvent};
use crate::ids::{Generation, GroupId, Incarnation, InstanceId};
use crate::keys::{ChunkId, Control, Keys, Kind};
use crate::records::{
    AckRecord, ChunkRecord, ContactRecord, Entry, GenerationRecord, LeaderRecord, MemberRecord, ModeRecord,
    NoticeRecord, Record, RecordError, decode,
};

/// All records of a group at one revision: of a [read](super::Admin::read), or as a [watch](super::Admin::watch) begins.
#[derive(Clone, Debug)]
pub struct GroupState {
    pub(super) keys: Keys,
    /// As of which write of the store.
    pub revision: Revision,
    /// The leader.
    pub leader: Option<LeaderRecord>,
    /// The last committed change of the assignment.
    pub generation: Option<Generation>,
    /// The sessions.
    pub sessions: BTreeMap<InstanceId, MemberRecord>,
    /// The group's mode.
    pub mode: GroupMode,
    /// The session of each member that is in contact, in a group of mode `available`.
    pub contacts: BTreeMap<InstanceId, Incarnation>,
    /// The leader's notices to members.
    pub notices: BTreeMap<InstanceId, NoticeRecord>,
    /// Members that another process waits to become.
    pub successors: BTreeSet<InstanceId>,
    /// The latest acknowledgements of members.
    pub acks: BTreeMap<InstanceId, AckRecord>,
    /// A freeze of the group.
    pub freeze: Option<FreezeRecord>,
    /// Members that operators want empty.
    pub drains: BTreeMap<InstanceId, DrainRecord>,
    /// Tasks that operators want in one place.
    pub pins: BTreeMap<Arc<str>, PinRecord>,
    /// Holdings that operators declared to be over.
    pub releases: BTreeMap<Arc<str>, ReleaseRecord>,
    /// Members that operators sent away.
    pub evictions: BTreeMap<InstanceId, EvictionRecord>,
    /// Records that this version cannot read, by key.
    pub unreadable: BTreeMap<String, RecordError>,
    chunks: BTreeMap<(InstanceId, ChunkId), ChunkRecord>,
    places: BTreeMap<Arc<str>, (InstanceId, ChunkId)>,
}

/// The place of a task.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its holder.
    pub holder: &'a InstanceId,
    /// The session that it was given to.
    pub incarnation: Incarnation,
    /// The holding.
    pub entry: &'a Entry,
}

impl GroupState {
    /// Reads a snapshot of everything below the group's root.
    pub fn new(group: &GroupId, snapshot: &Snapshot) -> Self {
        let mut state = Self {
            keys: Keys::new(group),
            revision: snapshot.revision,
            leader: None,
            generation: None,
            sessions: BTreeMap::new(),
            mode: GroupMode::default(),
            contacts: BTreeMap::new(),
            notices: BTreeMap::new(),
            successors: BTreeSet::new(),
            acks: BTreeMap::new(),
            freeze: None,
            drains: BTreeMap::new(),
            pins: BTreeMap::new(),
            releases: BTreeMap::new(),
            evictions: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            chunks: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        snapshot.entries.iter().for_each(|entry| state.put(entry));
        state
    }

    /// Takes in what one write changed.
    pub(super) fn apply(&mut self, batch: &WatchBatch) {
        self.revision = batch.revision;
        // What leaves one record and enters another in one write is not lost on the way, whichever comes first.
        for event in &batch.events {
            self.remove(event.key());
        }
        for event in &batch.events {
            if let WatchEvent::Put(entry) = event {
                self.put(entry);
            }
        }
    }

    /// Returns true where anybody ever used the group.
    pub fn exists(&self) -> bool {
        self.generation.is_some()
            || self.leader.is_some()
            || !self.sessions.is_empty()
            || !self.chunks.is_empty()
            || !self.unreadable.is_empty()
    }

    /// The place of a task; none where it is in no record.
    pub fn place(&self, key: &str) -> Option<Place<'_>> {
        let at = self.places.get(key)?;
        let chunk = self.chunks.get(at)?;
        Some(Place { holder: &at.0, incarnation: chunk.incarnation, entry: chunk.get(key)? })
    }

    /// All places, in key order.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.places.keys().filter_map(|key| self.place(key))
    }

    /// Returns true where the session that a task was given to is alive.
    pub fn is_alive(&self, place: Place<'_>) -> bool {
        self.sessions.get(place.holder).is_some_and(|session| session.incarnation == place.incarnation)
    }

    /// Returns true where a member's session was heard of lately; where that is not kept track of, its session says so.
    pub fn is_in_contact(&self, member: &InstanceId) -> bool {
        self.sessions.get(member).is_none_or(|session| {
            session.mode == GroupMode::Exclusive || self.contacts.get(member) == Some(&session.incarnation)
        })
    }

    /// All members that are there or hold something.
    pub fn members(&self) -> BTreeSet<&InstanceId> {
        self.sessions.keys().chain(self.chunks.keys().map(|(member, _)| member)).collect()
    }

    /// The tasks of some chunks of a member.
    pub(super) fn tasks_at(
        &self,
        member: &InstanceId,
        chunks: std::ops::RangeInclusive<ChunkId>,
    ) -> impl Iterator<Item = Arc<str>> {
        let (first, last) = ((member.clone(), *chunks.start()), (member.clone(), *chunks.end()));
        let found = self.chunks.range(first..=last);
        found.flat_map(|(_, chunk)| chunk.tasks.iter().map(|entry| entry.key.clone()))
    }

    fn put(&mut self, entry: &KeyValue) {
        if let Some(kind) = self.keys.kind(&entry.key)
            && let Err(error) = self.read(kind, entry)
        {
            self.unreadable.insert(entry.key.clone(), error);
        }
    }

    fn read(&mut self, kind: Kind, kv: &KeyValue) -> Result<(), RecordError> {
        match kind {
            Kind::Leader => self.leader = Some(record(kv)?),
            Kind::Generation => self.generation = Some(record::<GenerationRecord>(kv)?.generation),
            Kind::Session(member) => drop(self.sessions.insert(member, record(kv)?)),
            Kind::Successor(member) => drop(self.successors.insert(member)),
            Kind::Mode => self.mode = record::<ModeRecord>(kv)?.mode,
            Kind::Contact(member) => {
                self.contacts.insert(member, record::<ContactRecord>(kv)?.incarnation);
            }
            Kind::Notice(member) => drop(self.notices.insert(member, record(kv)?)),
            Kind::Ack(member) => drop(self.acks.insert(member, record(kv)?)),
            Kind::Eviction(member) => drop(self.evictions.insert(member, record(kv)?)),
            Kind::Chunk(member, chunk) => {
                let read: ChunkRecord = record(kv)?;
                for entry in &read.tasks {
                    self.places.insert(entry.key.clone(), (member.clone(), chunk));
                }
                self.chunks.insert((member, chunk), read);
            }
            Kind::Control(Control::Freeze) => self.freeze = Some(record(kv)?),
            Kind::Control(Control::Drain(member)) => drop(self.drains.insert(member, record(kv)?)),
            Kind::Control(Control::Pin(task)) => drop(self.pins.insert(task, record(kv)?)),
            Kind::Control(Control::Release(task)) => drop(self.releases.insert(task, record(kv)?)),
            Kind::Trigger => {}
        }
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        self.unreadable.remove(key);
        match self.keys.kind(key) {
            Some(Kind::Leader) => self.leader = None,
            Some(Kind::Generation) => self.generation = None,
            Some(Kind::Session(member)) => drop(self.sessions.remove(&member)),
            Some(Kind::Successor(member)) => drop(self.successors.remove(&member)),
            Some(Kind::Mode) => self.mode = GroupMode::default(),
            Some(Kind::Contact(member)) => drop(self.contacts.remove(&member)),
            Some(Kind::Notice(member)) => drop(self.notices.remove(&member)),
            Some(Kind::Ack(member)) => drop(self.acks.remove(&member)),
            Some(Kind::Eviction(member)) => drop(self.evictions.remove(&member)),
            Some(Kind::Chunk(member, chunk)) => {
                let removed = self.chunks.remove(&(member, chunk));
                for entry in removed.iter().flat_map(|chunk| &chunk.tasks) {
                    self.places.remove(&entry.key);
                }
            }
            Some(Kind::Control(Control::Freeze)) => self.freeze = None,
            Some(Kind::Control(Control::Drain(member))) => drop(self.drains.remove(&member)),
            Some(Kind::Control(Control::Pin(task))) => drop(self.pins.remove(&task)),
            Some(Kind::Control(Control::Release(task))) => drop(self.releases.remove(&task)),
            Some(Kind::Trigger) | None => {}
        }
    }
}

fn record<T: Record>(kv: &KeyValue) -> Result<T, RecordError> {
    decode(&kv.key, &kv.value)
}
