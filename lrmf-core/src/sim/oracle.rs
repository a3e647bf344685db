//! The properties that must hold after every step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::coordination::{KeyValue, Op, Revision};
use crate::ids::{Incarnation, InstanceId, Token};
use crate::keys::{Keys, Kind};
use crate::protocol::Call;
use crate::records::{ChunkRecord, Entry, LeaderRecord, MemberRecord, decode};
use crate::task::Holding;

use super::process::Process;
use super::store::Store;

/// The observations so far.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// The highest token of each task in any record so far, and whose it is.
    tokens: BTreeMap<Arc<str>, (Token, Incarnation)>,
    /// The records as of a revision.
    revision: Revision,
    chunks: BTreeMap<String, (InstanceId, ChunkRecord)>,
    sessions: BTreeMap<InstanceId, Incarnation>,
    /// Holdings that an operator declared to be over: they may run while others do (P1 is given up for them).
    /// It and those before it in that session.
    released: BTreeMap<(Arc<str>, Incarnation), Token>,
}

/// A property that does not hold.
pub(super) type Violation = String;

impl Oracle {
    /// P1 and P3 on the records.
    pub(super) fn records(&mut self, keys: &Keys, store: &Store) -> Result<(), Violation> {
        if store.revision() == self.revision {
            return Ok(());
        }
        self.read(keys, store)?;
        let mut places = BTreeMap::new();
        for (holder, chunk) in self.chunks.values() {
            for entry in &chunk.tasks {
                if let Some(other) = places.insert(&entry.key, holder) {
                    return Err(format!("P1: {} is in the records of {other} and {holder}", entry.key));
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, keys: &Keys, store: &Store) -> Result<(), Violation> {
        self.chunks.retain(|key, _| store.get(key).is_some());
        self.sessions.retain(|instance, _| store.get(&keys.session(instance)).is_some());
        for kv in store.entries().filter(|kv| kv.mod_revision > self.revision) {
            match keys.kind(&kv.key) {
                Some(Kind::Chunk(holder, _)) => {
                    let chunk: ChunkRecord = decode(&kv.key, &kv.value).map_err(|error| error.to_string())?;
                    rising(&mut self.tokens, &holder, &chunk)?;
                    self.chunks.insert(kv.key.clone(), (holder, chunk));
                }
                Some(Kind::Session(instance)) => {
                    let member: MemberRecord =
                        decode(&kv.key, &kv.value).map_err(|error| error.to_string())?;
                    self.sessions.insert(instance, member.incarnation);
                }
                _ => {}
            }
        }
        self.revision = store.revision();
        Ok(())
    }

    /// All entries of all records, with their holders, and whether they are for the session that there is.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&InstanceId, bool, &Entry)> {
        self.chunks.values().flat_map(|(holder, chunk)| {
            let current = self.sessions.get(holder) == Some(&chunk.incarnation);
            chunk.tasks.iter().map(move |entry| (holder, current, entry))
        })
    }

    /// The store has gone back: what its records said after that is not so.
    pub(super) fn restored(&mut self) {
        self.revision = Revision(0);
        self.tokens.clear();
        self.chunks.clear();
        self.sessions.clear();
    }

    /// Returns true where the store has the process's session.
    pub(super) fn session_lives(&self, store: &Store, process: &Process) -> bool {
        process.session.is_some_and(|(lease, incarnation)| {
            store.is_alive(lease) && self.sessions.get(&process.instance) == Some(&incarnation)
        })
    }

    /// The assignment is written by who leads and by nobody else.
    pub(super) fn writes(
        &self,
        keys: &Keys,
        store: &Store,
        call: &Call,
        by: Option<Incarnation>,
    ) -> Result<(), Violation> {
        let Call::Commit(txn) = call else { return Ok(()) };
        let key = keys.generation();
        if !txn.ops.iter().any(|op| matches!(op, Op::Put { key: written, .. } if *written == key)) {
            return Ok(());
        }
        let leader = store.get(&keys.leader()).and_then(|kv| decode::<LeaderRecord>(&kv.key, &kv.value).ok());
        if leader.map(|record| record.incarnation) != by {
            return Err(format!("R8: {by:?} wrote the assignment and does not lead"));
        }
        Ok(())
    }

    /// P9: whoever writes a record of tasks changes what is in it: records of members that a change does not touch are not
    /// written. Asked before the write.
    pub(super) fn needed(&self, keys: &Keys, store: &Store, call: &Call) -> Result<(), Violation> {
        let Call::Commit(txn) = call else { return Ok(()) };
        for op in &txn.ops {
            let Op::Put { key, value, .. } = op else { continue };
            if !matches!(keys.kind(key), Some(Kind::Chunk(..))) {
                continue;
            }
            let record = |value: &[u8]| decode::<ChunkRecord>(key, value).map_err(|error| error.to_string());
            let before = store.get(key).map(|kv| record(&kv.value)).transpose()?;
            let after = record(value)?;
            if before
                .is_some_and(|before| (before.incarnation, before.tasks) == (after.incarnation, after.tasks))
            {
                return Err(format!("P9: {key} is written and says the same"));
            }
        }
        Ok(())
    }

    /// An operator declares a holding to be over.
    pub(super) fn released(&mut self, key: &Arc<str>, of: Incarnation, token: Token) {
        let highest = self.released.entry((key.clone(), of)).or_insert(token);
        *highest = token.max(*highest);
    }

    pub(super) fn is_released(&self, process: &Process, key: &Arc<str>, token: Token) -> bool {
        process
            .session
            .and_then(|(_, incarnation)| self.released.get(&(key.clone(), incarnation)))
            .is_some_and(|highest| token <= *highest)
    }

    /// P1 on the processes: a task runs in two only if all but the one with the highest token have outlived their
    /// sessions. In mode `available` that is given up, and what is left is that no two have one token.
    pub(super) fn running(
        &self,
        store: &Store,
        processes: &[Process],
        exclusive: bool,
    ) -> Result<(), Violation> {
        let mut runs: BTreeMap<&str, Vec<(Token, bool, usize)>> = BTreeMap::new();
        for (ix, process) in processes.iter().enumerate().filter(|(_, process)| process.is_up()) {
            let alive = self.session_lives(store, process);
            for (key, token) in &process.running {
                if self.is_released(process, key, *token) {
                    continue;
                }
                runs.entry(key).or_default().push((*token, alive, ix));
            }
        }
        for (key, mut holders) in runs {
            holders.sort_unstable();
            let lower = &holders[..holders.len() - 1];
            if exclusive && lower.iter().any(|(_, alive, _)| *alive) {
                return Err(format!("P1: {key} runs in several living sessions: {holders:?}"));
            }
            if holders.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(format!("P3: {key} runs twice with one token: {holders:?}"));
            }
        }
        Ok(())
    }

    /// P2: what has outlived its session runs nothing, unless it was paused and could not help it.
    pub(super) fn fenced(
        &self,
        store: &Store,
        processes: &[Process],
        now: Duration,
        grace: Duration,
    ) -> Result<(), Violation> {
        for process in processes.iter().filter(|process| process.is_up() && !process.paused) {
            let excused = process.pause_ended > Duration::ZERO && now < process.pause_ended + grace;
            if !process.running.is_empty() && !excused && !self.session_lives(store, process) {
                return Err(format!("P2: {} runs {:?} without a session", process.instance, process.running));
            }
        }
        Ok(())
    }

    /// P4: what stays in the record of a living member that nobody told to stop is not revoked.
    pub(super) fn undisturbed(
        &self,
        keys: &Keys,
        store: &Store,
        process: &Process,
        holding: &Holding,
    ) -> Result<(), Violation> {
        if process.stopping || !self.session_lives(store, process) {
            return Ok(());
        }
        let incarnation = process.session.map(|(_, incarnation)| incarnation);
        let stays = |kv: &KeyValue| {
            let chunk: ChunkRecord = decode(&kv.key, &kv.value).map_err(|error| error.to_string())?;
            let entry = chunk.get(&holding.task.key).filter(|_| Some(chunk.incarnation) == incarnation);
            Ok(entry.is_some_and(|entry| entry.token == holding.token && entry.releasing.is_none()))
        };
        let record = store.list(&keys.assignment(&process.instance)).entries;
        if record.iter().map(stays).collect::<Result<Vec<_>, Violation>>()?.contains(&true) {
            return Err(format!(
                "P4: {} revokes {}, which stays with it",
                process.instance, holding.task.key
            ));
        }
        Ok(())
    }
}

/// P3: every holding has a higher token than the ones before.
fn rising(
    tokens: &mut BTreeMap<Arc<str>, (Token, Incarnation)>,
    holder: &InstanceId,
    chunk: &ChunkRecord,
) -> Result<(), Violation> {
    for entry in chunk.tasks.iter().filter(|entry| entry.releasing.is_none()) {
        let (highest, of) = *tokens.entry(entry.key.clone()).or_insert((entry.token, chunk.incarnation));
        let same = entry.token == highest && of == chunk.incarnation;
        if !same && entry.token <= highest {
            let (key, token) = (&entry.key, entry.token);
            return Err(format!("P3: {key} has token {token} at {holder}, after token {highest} elsewhere"));
        }
        tokens.insert(entry.key.clone(), (entry.token, chunk.incarnation));
    }
    Ok(())
}
