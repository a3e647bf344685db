//! The properties that must hold after every step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::coordination::{KeyValue, Op, Revision};
use crate::ids::{Incarnation, InstanceId, Token};
use crate::keys::{Keys, Kind};
use crate::protocol::Call;
use crate::records::{ChunkRecord, Entry, LeaderRecord, MemberRecord, decode};
use crate::replicas::parse;
use crate::task::Holding;

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

/// A process as the properties see it: from outside.
pub(super) trait Observed {
    fn instance(&self) -> &InstanceId;

    /// Returns true where there is a process at all.
    fn is_up(&self) -> bool;

    /// The running tasks: from the call of assign to the end of revoke.
    fn running(&self) -> &BTreeMap<Arc<str>, Token>;

    /// Its session as it saw it last.
    fn session(&self) -> Option<Incarnation>;

    /// It is paused, or was until then.
    fn pause(&self) -> Pause;

    /// It was told to end, or stopped by itself.
    fn is_stopping(&self) -> bool;

    /// The user's code does not stop this, or lies about it: what P2 asks of the member it has done.
    fn is_beyond_reach(&self, _key: &str) -> bool {
        false
    }
}

/// The state of a process that may be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Now,
    Until(Duration),
    Never,
}

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
    pub(super) fn session_lives(&self, process: &impl Observed) -> bool {
        let session = process.session();
        session.is_some() && self.sessions.get(process.instance()) == session.as_ref()
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

    pub(super) fn is_released(&self, process: &impl Observed, key: &Arc<str>, token: Token) -> bool {
        process
            .session()
            .and_then(|incarnation| self.released.get(&(key.clone(), incarnation)))
            .is_some_and(|highest| token <= *highest)
    }

    /// P1 on the processes: a task runs in two only if all but the one with the highest token have outlived their
    /// sessions. In mode `available` that is given up, and what is left is that no two have one token.
    pub(super) fn running(&self, processes: &[impl Observed], exclusive: bool) -> Result<(), Violation> {
        let mut runs: BTreeMap<&str, Vec<(Token, bool, usize)>> = BTreeMap::new();
        for (ix, process) in processes.iter().enumerate().filter(|(_, process)| process.is_up()) {
            let alive = self.session_lives(process);
            for (key, token) in process.running() {
                if !alive && process.is_beyond_reach(key) {
                    continue;
                }
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

    /// Of the replicas of a task, one is the primary: no two living sessions have that role, and no two primaries one token.
    pub(super) fn one_primary(&self, processes: &[impl Observed], exclusive: bool) -> Result<(), Violation> {
        let mut primaries: BTreeMap<&str, (Token, bool, &InstanceId)> = BTreeMap::new();
        for process in processes.iter().filter(|process| process.is_up()) {
            let alive = self.session_lives(process);
            let roles = process.running().iter().filter_map(|(key, token)| Some((parse(key)?, key, *token)));
            for ((task, _), key, token) in roles.filter(|((_, number), ..)| *number == 0) {
                if self.is_released(process, key, token) || (!alive && process.is_beyond_reach(key)) {
                    continue;
                }
                let this = (token, alive, process.instance());
                let Some(other) = primaries.insert(task, this) else { continue };
                if (exclusive && this.1 && other.1) || this.0 == other.0 {
                    return Err(format!("P1: {task} has two primaries, {this:?} and {other:?}"));
                }
            }
        }
        Ok(())
    }

    /// P2: what has outlived its session runs nothing, unless it was paused and could not help it.
    pub(super) fn fenced(
        &self,
        processes: &[impl Observed],
        now: Duration,
        grace: Duration,
    ) -> Result<(), Violation> {
        for process in processes.iter().filter(|process| process.is_up()) {
            let excused = match process.pause() {
                Pause::Now => true,
                Pause::Until(at) => now < at + grace,
                Pause::Never => false,
            };
            let runs = process.running().iter().any(|(key, _)| !process.is_beyond_reach(key));
            if runs && !excused && !self.session_lives(process) {
                let (instance, running) = (process.instance(), process.running());
                return Err(format!("P2: {instance} runs {running:?} without a session"));
            }
        }
        Ok(())
    }

    /// P4: what stays in the record of a living member that nobody told to stop is not revoked.
    pub(super) fn undisturbed(
        &self,
        keys: &Keys,
        store: &Store,
        process: &impl Observed,
        holding: &Holding,
    ) -> Result<(), Violation> {
        if process.is_stopping() || !self.session_lives(process) {
            return Ok(());
        }
        let incarnation = process.session();
        let stays = |kv: &KeyValue| {
            let chunk: ChunkRecord = decode(&kv.key, &kv.value).map_err(|error| error.to_string())?;
            let entry = chunk.get(&holding.task.key).filter(|_| Some(chunk.incarnation) == incarnation);
            Ok(entry.is_some_and(|entry| entry.token == holding.token && entry.releasing.is_none()))
        };
        let record = store.list(&keys.assignment(process.instance())).entries;
        if record.iter().map(stays).collect::<Result<Vec<_>, Violation>>()?.contains(&true) {
            return Err(format!(
                "P4: {} revokes {}, which stays with it",
                process.instance(),
                holding.task.key
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
