//! What must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordination::KeyValue;
use crate::ids::{Incarnation, InstanceId, Token};
use crate::keys::Kind;
use crate::records::{ChunkRecord, LeaderRecord, MemberRecord, decode};
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

    /// P1 on the processes: a task runs in two only if all but the one with the highest token have outlived their
    /// sessions.
    pub(super) fn check_running(&self) -> Result<(), Violation> {
        for key in self.scenario.tasks {
            let runs = self.processes.iter().filter_map(|process| {
                process.running.get(key).map(|token| (*token, self.lives(process), process.instance))
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

/// Who leads.
pub(super) fn leader(store: &Store) -> Option<Incarnation> {
    Some(read::<LeaderRecord>(store.get(&keys().leader())?)?.incarnation)
}

/// A member's session.
pub(super) fn session(store: &Store, instance: &InstanceId) -> Option<Incarnation> {
    Some(read::<MemberRecord>(store.get(&keys().session(instance))?)?.incarnation)
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
