//! The properties that must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::GroupMode;
use crate::coordination::KeyValue;
use crate::ids::{Incarnation, InstanceId, Token};
use crate::keys::Kind;
use crate::records::{ChunkRecord, ContactRecord, LeaderRecord, MemberRecord, decode};
use crate::sim::store::Store;

use super::process::Process;
use super::state::{State, Violation, keys, name};

impl State {
    pub(super) fn lives(&self, process: &Process) -> bool {
        process.session.is_some_and(|(lease, incarnation)| {
            self.store.value.is_alive(lease)
                && session(&self.store.value, &name(process.instance)) == Some(incarnation)
        })
    }

    /// Returns true where the session is in contact, as all are in groups without such a thing.
    fn in_contact(&self, instance: usize, incarnation: Incarnation) -> bool {
        self.scenario.mode == GroupMode::Exclusive
            || contact(&self.store.value, &name(instance)) == Some(incarnation)
    }

    /// Notes which sessions are out of contact.
    pub(super) fn note_missed(&mut self) {
        let sessions =
            || self.processes.iter().filter_map(|process| Some((process.instance, process.session?.1)));
        let missed: Vec<_> = sessions().filter(|(at, session)| !self.in_contact(*at, *session)).collect();
        let running: BTreeSet<_> = sessions().map(|(_, session)| session).collect();
        self.missed.retain(|session| running.contains(session));
        self.missed.extend(missed.into_iter().map(|(_, session)| session));
    }

    /// What mode `available` is for: a task does not wait for one that stands still, though its session lives.
    pub(super) fn check_silent(&self) -> Result<(), Violation> {
        if self.scenario.mode == GroupMode::Exclusive || !self.waits_for_silent_ones() {
            return Ok(());
        }
        let waits = |key: &&&str| !self.processes.iter().any(|p| !p.still && p.running.contains_key(**key));
        match self.scenario.tasks.iter().find(waits) {
            Some(key) => Err(format!("P6: {key} waits for a member that is out of contact")),
            None => Ok(()),
        }
    }

    /// P1 on the processes: a task runs in two only if all but the one with the highest token have outlived their
    /// sessions, or have been out of contact in a group of mode `available`.
    pub(super) fn check_running(&self) -> Result<(), Violation> {
        for key in self.scenario.tasks {
            let runs = self.processes.iter().filter_map(|process| {
                let bound =
                    self.lives(process) && process.session.is_some_and(|(_, s)| !self.missed.contains(&s));
                process.running.get(key).map(|token| (*token, bound, process.instance))
            });
            let mut runs: Vec<_> = runs.collect();
            runs.sort_unstable();
            if runs.windows(2).any(|pair| pair[0].1 || pair[0].0 == pair[1].0) {
                return Err(format!("P1: {key} runs in several living sessions: {runs:?}"));
            }
        }
        Ok(())
    }

    /// P6, where nothing more happens by itself.
    pub(super) fn check_rest(&self) -> Result<(), Violation> {
        for key in self.scenario.tasks {
            let holders: Vec<_> =
                self.processes.iter().filter(|process| process.running.contains_key(key)).collect();
            let held = holders.len() == 1 && self.lives(holders[0]) && holders[0].stopping.is_empty();
            if !held {
                let names: Vec<_> = holders.iter().map(|process| name(process.instance)).collect();
                return Err(format!("P6: at rest {key} is held by {names:?}"));
            }
        }
        Ok(())
    }
}

fn read<T: crate::records::Record>(kv: &KeyValue) -> Option<T> {
    decode(&kv.key, &kv.value).ok()
}

/// The leader.
pub(super) fn leader(store: &Store) -> Option<Incarnation> {
    Some(read::<LeaderRecord>(store.get(&keys().leader())?)?.incarnation)
}

/// A member's session.
pub(super) fn session(store: &Store, instance: &InstanceId) -> Option<Incarnation> {
    Some(read::<MemberRecord>(store.get(&keys().session(instance))?)?.incarnation)
}

/// The session of a member that is in contact.
fn contact(store: &Store, instance: &InstanceId) -> Option<Incarnation> {
    Some(read::<ContactRecord>(store.get(&keys().contact(instance))?)?.incarnation)
}

/// P1 and P3 on the records.
pub(super) fn check_records(
    store: &Store,
    tokens: &mut BTreeMap<Arc<str>, (Token, Incarnation)>,
) -> Result<(), Violation> {
    let keys = keys();
    let mut places: BTreeMap<Arc<str>, InstanceId> = BTreeMap::new();
    for kv in store.entries() {
        let Some(Kind::Chunk(holder, _)) = keys.kind(&kv.key) else { continue };
        let chunk: ChunkRecord = read(kv).ok_or_else(|| format!("{} cannot be read", kv.key))?;
        for entry in &chunk.tasks {
            if let Some(other) = places.insert(entry.key.clone(), holder.clone()) {
                return Err(format!("P1: {} is in the records of {other} and {holder}", entry.key));
            }
            if entry.releasing.is_some() {
                continue;
            }
            let now = (entry.token, chunk.incarnation);
            let before = tokens.insert(entry.key.clone(), now);
            if before.is_some_and(|before| before != now && before.0 >= now.0) {
                return Err(format!("P3: {} has {now:?} at {holder}, after {before:?}", entry.key));
            }
        }
    }
    Ok(())
}
