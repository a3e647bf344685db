//! Taking in what the store delivers.

use std::collections::BTreeSet;

use crate::config::GroupMode;
use crate::control::EvictionRecord;
use crate::coordination::{KeyValue, Revision, Snapshot, WatchBatch, WatchEvent};
use crate::ids::{Generation, InstanceId};
use crate::keys::Kind;
use crate::records::{
    AckRecord, ContactRecord, GenerationRecord, MemberRecord, ModeRecord, RecordError, Stuck,
    SuccessorRecord, decode,
};

use super::{Seats, SessionKey, View};

/// The meaning of a change to the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::protocol::leader) struct Changes {
    /// Members came, went, or changed their state.
    pub(in crate::protocol::leader) membership: bool,
    /// Members with a session that was not there before.
    pub(in crate::protocol::leader) joined: Vec<InstanceId>,
    /// Members whose session ended.
    pub(in crate::protocol::leader) lost: Vec<InstanceId>,
    /// Members whose contact ended, and whose session did not.
    pub(in crate::protocol::leader) out_of_contact: Vec<InstanceId>,
    /// The assignment was written, by whomever.
    pub(in crate::protocol::leader) assignment: bool,
    /// Members that acknowledged something.
    pub(in crate::protocol::leader) acks: BTreeSet<InstanceId>,
    /// Tasks that members were found unable to stop.
    pub(in crate::protocol::leader) stuck: Vec<(InstanceId, Stuck)>,
    /// Somebody asks for a new plan.
    pub(in crate::protocol::leader) trigger: bool,
    /// Operators want something else than before.
    pub(in crate::protocol::leader) controls: bool,
    /// There are more members than may hold tasks, and one more than before.
    pub(in crate::protocol::leader) full: bool,
    /// Control records that cannot be read, and so have no effect.
    pub(in crate::protocol::leader) refused: Vec<RecordError>,
    /// The contents that stand in the place of records and are none.
    pub(in crate::protocol::leader) unreadable: Vec<RecordError>,
}

impl View {
    /// Replaces everything by what the store has.
    pub(in crate::protocol::leader) fn load(&mut self, snapshot: &Snapshot) -> Result<Changes, RecordError> {
        let before = std::mem::replace(self, Self::new(self.keys.clone(), self.mode));
        self.floor = before.floor;
        self.seats = Seats::new(before.seats.most());
        self.count_acks = before.count_acks;
        self.awaits_restart = before.awaits_restart;
        let mut changes = Changes::default();
        for entry in &snapshot.entries {
            self.put_or_report(entry, &mut changes)?;
        }
        self.revision = snapshot.revision;
        changes.full = self.seats.waiting() > before.seats.waiting();
        changes.membership = true;
        let lost = before.members.iter().filter(|(instance, old)| !self.is_alive(instance, old.incarnation));
        changes.lost = lost.map(|(instance, _)| instance.clone()).collect();
        changes.joined.retain(|instance| {
            let old = before.members.get(instance);
            old.is_none_or(|old| !self.is_alive(instance, old.incarnation))
        });
        changes.acks = self.acks.keys().cloned().collect();
        Ok(changes)
    }

    /// Applies what one write changed.
    pub(in crate::protocol::leader) fn apply(&mut self, batch: &WatchBatch) -> Result<Changes, RecordError> {
        let mut changes = Changes::default();
        if batch.revision <= self.revision {
            return Ok(changes);
        }
        self.revision = batch.revision;
        let waiting = self.seats.waiting();
        for event in &batch.events {
            match event {
                WatchEvent::Put(entry) => self.put_or_report(entry, &mut changes)?,
                WatchEvent::Delete { key } => self.delete(key, batch.revision, &mut changes),
            }
        }
        changes.full = self.seats.waiting() > waiting;
        let mut out_of_contact = std::mem::take(&mut changes.out_of_contact);
        out_of_contact.retain(|instance| {
            self.members.get(instance).is_some_and(|member| !self.is_in_contact(instance, member))
        });
        changes.out_of_contact = out_of_contact;
        Ok(changes)
    }

    /// What is no record at all counts as absent, and is reported; a record of a newer version is an error.
    fn put_or_report(&mut self, entry: &KeyValue, changes: &mut Changes) -> Result<(), RecordError> {
        match self.put(entry, changes) {
            Err(error @ RecordError::Malformed { .. }) => {
                changes.unreadable.push(error);
                self.put_unreadable(entry, changes);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn put_unreadable(&mut self, entry: &KeyValue, changes: &mut Changes) {
        match self.keys.kind(&entry.key) {
            Some(Kind::Chunk(instance, chunk)) => {
                self.set_chunk(&instance, chunk, None);
                changes.assignment = true;
                self.unreadable.insert((instance, chunk), entry.mod_revision);
                changes.membership = true;
            }
            // The next one is above all that is in records, and the time of day, and overwrites it.
            Some(Kind::Generation) => {
                self.generation = Some((Generation(0), entry.mod_revision));
                self.counter_lost = true;
            }
            Some(Kind::Mode) => self.stored_mode = Some((GroupMode::default(), entry.mod_revision)),
            _ => self.delete(&entry.key, entry.mod_revision, changes),
        }
    }

    fn put(&mut self, entry: &KeyValue, changes: &mut Changes) -> Result<(), RecordError> {
        let (key, value) = (entry.key.as_str(), entry.value.as_ref());
        let own = entry.mod_revision <= self.written;
        match self.keys.kind(key) {
            Some(Kind::Session(instance)) => {
                let member: MemberRecord = decode(key, value)?;
                let incarnation = member.incarnation;
                let before = self.members.insert(instance.clone(), member.clone());
                self.census.count(before.as_ref(), Some(&member));
                let (created, modified, lease) = (entry.create_revision, entry.mod_revision, entry.lease);
                let key = SessionKey { created, modified, lease };
                if let Some(old) = self.sessions.insert(instance.clone(), key)
                    && old.created != created
                {
                    self.seats.leave(old.created, &instance);
                }
                self.seats.enter(created, &instance);
                changes.membership = true;
                if before.as_ref().is_none_or(|before| before.incarnation != incarnation) {
                    self.touch_all_of(&instance);
                    changes.lost.extend(before.map(|_| instance.clone()));
                    changes.joined.push(instance);
                }
            }
            // One that cannot be read is somebody all the same, unless it would never end.
            Some(Kind::Successor(instance)) => {
                if entry.lease.is_none() {
                    decode::<SuccessorRecord>(key, value)?;
                }
                changes.membership |= self.successors.insert(instance);
            }
            Some(Kind::Contact(instance)) => {
                let contact: ContactRecord = decode(key, value)?;
                let before = self.contacts.insert(instance, contact.incarnation);
                changes.membership |= before != Some(contact.incarnation);
            }
            Some(Kind::Notice(instance)) => drop(self.notices.insert(instance, decode(key, value)?)),
            Some(Kind::Mode) => {
                let record: ModeRecord = decode(key, value)?;
                self.stored_mode = Some((record.mode, entry.mod_revision));
                changes.membership = true;
            }
            Some(Kind::Ack(instance)) => {
                let ack: AckRecord = decode(key, value)?;
                if self.count_acks {
                    self.floor = self.floor.max(ack.generation);
                }
                changes.acks.insert(instance.clone());
                let before = self.acks.insert(instance.clone(), ack.clone()).map(|ack| ack.stuck);
                let news =
                    ack.stuck.into_iter().filter(|stuck| !before.iter().flatten().any(|old| old == stuck));
                changes.stuck.extend(news.map(|stuck| (instance.clone(), stuck)));
            }
            Some(Kind::Chunk(instance, chunk)) if !own => {
                let record = decode(key, value)?;
                changes.membership |= self.unreadable.remove(&(instance.clone(), chunk)).is_some();
                self.set_chunk(&instance, chunk, Some(record));
                changes.assignment = true;
            }
            Some(Kind::Generation) if !own => {
                let record: GenerationRecord = decode(key, value)?;
                self.generation = Some((record.generation, entry.mod_revision));
                self.counter_lost = false;
                self.floor = self.floor.max(record.generation);
            }
            Some(Kind::Leader) => self.leader = Some((entry.create_revision, decode(key, value)?)),
            Some(Kind::Trigger) => changes.trigger = true,
            Some(Kind::Control(control)) => {
                changes.controls = true;
                changes.refused.extend(self.controls.put(control, entry).err());
            }
            // An eviction is between the operator and the member; the leader only says where it cannot be read.
            Some(Kind::Eviction(_)) => changes.refused.extend(decode::<EvictionRecord>(key, value).err()),
            Some(Kind::Chunk(..) | Kind::Generation) | None => {}
        }
        Ok(())
    }

    fn delete(&mut self, key: &str, revision: Revision, changes: &mut Changes) {
        let own = revision <= self.written;
        match self.keys.kind(key) {
            Some(Kind::Session(instance)) => {
                changes.membership = true;
                let before = self.members.remove(&instance);
                self.census.count(before.as_ref(), None);
                self.touch_all_of(&instance);
                if let Some(session) = self.sessions.remove(&instance) {
                    self.seats.leave(session.created, &instance);
                }
                changes.lost.push(instance);
            }
            Some(Kind::Successor(instance)) => changes.membership |= self.successors.remove(&instance),
            Some(Kind::Ack(instance)) => {
                self.acks.remove(&instance);
            }
            Some(Kind::Contact(instance)) => {
                changes.membership |= self.contacts.remove(&instance).is_some();
                changes.out_of_contact.push(instance);
            }
            Some(Kind::Notice(instance)) => drop(self.notices.remove(&instance)),
            Some(Kind::Mode) => {
                changes.membership = true;
                self.stored_mode = None;
            }
            Some(Kind::Chunk(instance, chunk)) if !own => {
                changes.membership |= self.unreadable.remove(&(instance.clone(), chunk)).is_some();
                self.set_chunk(&instance, chunk, None);
                changes.assignment = true;
            }
            Some(Kind::Generation) if !own => self.generation = None,
            Some(Kind::Leader) => self.leader = None,
            Some(Kind::Control(control)) => {
                changes.controls = true;
                self.controls.delete(&control);
            }
            Some(Kind::Chunk(..) | Kind::Generation | Kind::Trigger | Kind::Eviction(_)) | None => {}
        }
    }
}
