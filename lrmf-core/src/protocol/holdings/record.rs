//! A member's record as applied: by task and by chunk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{Generation, Token};
use crate::keys::ChunkId;
use crate::records::{ChunkRecord, Entry};
use crate::task::Holding;

/// A task in the record.
#[derive(Clone, Debug)]
struct Own {
    chunk: ChunkId,
    holding: Holding,
    /// It is to be released.
    releasing: bool,
}

/// One chunk of the record.
#[derive(Clone, Debug, Default)]
struct Applied {
    generation: Generation,
    keys: Vec<Arc<str>>,
}

/// The record. Taking a chunk in costs by its size; nothing costs by the number of all tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnRecord {
    tasks: BTreeMap<Arc<str>, Own>,
    chunks: BTreeMap<ChunkId, Applied>,
    /// The number of tasks that the member is to have.
    wanted: usize,
    /// The highest generation that took something away.
    marked: Generation,
}

impl OwnRecord {
    /// The chunks that there are.
    pub(super) fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        self.chunks.keys().copied()
    }

    /// The generation of a chunk.
    pub(super) fn generation(&self, chunk: ChunkId) -> Option<Generation> {
        self.chunks.get(&chunk).map(|applied| applied.generation)
    }

    /// The highest generation that took something away.
    pub(super) fn marked(&self) -> Generation {
        self.marked
    }

    /// Replaces a chunk, and adds the tasks that it says something new about to `changed`. Tasks that moved to another
    /// chunk in the same write stay, in whichever order the two are taken in.
    pub(super) fn replace(
        &mut self,
        id: ChunkId,
        record: Option<&ChunkRecord>,
        changed: &mut BTreeSet<Arc<str>>,
    ) {
        let before = self.chunks.remove(&id).unwrap_or_default();
        for key in before.keys {
            let stays = record.is_some_and(|record| record.get(&key).is_some());
            if !stays && self.tasks.get(&key).is_some_and(|own| own.chunk == id) {
                self.remove(&key);
                changed.insert(key);
            }
        }
        let Some(record) = record else { return };
        for entry in &record.tasks {
            self.put(id, entry, changed);
        }
        let keys = record.tasks.iter().map(|entry| entry.key.clone()).collect();
        self.chunks.insert(id, Applied { generation: record.generation, keys });
    }

    fn put(&mut self, chunk: ChunkId, entry: &Entry, changed: &mut BTreeSet<Arc<str>>) {
        let releasing = entry.releasing.is_some();
        self.marked = self.marked.max(entry.releasing.unwrap_or_default());
        let same = |own: &Own| own.holding.token == entry.token && own.releasing == releasing;
        if let Some(own) = self.tasks.get_mut(&entry.key).filter(|own| same(own)) {
            own.chunk = chunk;
            return;
        }
        self.remove(&entry.key);
        self.wanted += usize::from(!releasing);
        self.tasks.insert(entry.key.clone(), Own { chunk, holding: entry.holding(), releasing });
        changed.insert(entry.key.clone());
    }

    fn remove(&mut self, key: &str) {
        if self.tasks.remove(key).is_some_and(|own| !own.releasing) {
            self.wanted -= 1;
        }
    }

    /// The holding that the member is to have of a task.
    pub(super) fn wanted(&self, key: &str) -> Option<&Holding> {
        self.tasks.get(key).filter(|own| !own.releasing).map(|own| &own.holding)
    }

    /// The holding of a task that the member is to release.
    pub(super) fn releasing(&self, key: &str) -> Option<Token> {
        self.tasks.get(key).filter(|own| own.releasing).map(|own| own.holding.token)
    }

    /// Returns true where the member is to have nothing.
    pub(super) fn wants_nothing(&self) -> bool {
        self.wanted == 0
    }
}
