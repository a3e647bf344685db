//! The assignment as stored: who is to have which task, with which token.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Format, Record, below_limit, json_bytes};
use crate::ids::{Generation, Incarnation, Token};
use crate::keys::{ChunkId, path_of};
use crate::task::{Holding, Task};

/// Why a task came to its holder: for people and tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It was in no record.
    #[default]
    New,
    /// The session of its holder before had ended.
    Lost,
    /// Its holder before was leaving, or drained.
    Left,
    /// It could not be started where it was.
    Failed,
    /// An operator wants it there.
    Pinned,
    /// An operator took it from its holder before.
    Forced,
    /// The assignor wants it there, for balance or whatever else it is for.
    Planned,
    /// Its value changed, or its holder came back in a new session.
    Renewed,
    /// A newer leader had a reason that this version does not know.
    #[serde(other)]
    Other,
}

/// A task in a member's assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The task's key.
    #[serde(rename = "k")]
    pub key: Arc<str>,
    /// Its value in this holding.
    #[serde(rename = "v")]
    pub value: Arc<str>,
    /// Its weight.
    #[serde(rename = "w", default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// The fencing token of the holding.
    #[serde(rename = "t")]
    pub token: Token,
    /// The generation that took the task from the member. It stays the member's until that is acknowledged.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub releasing: Option<Generation>,
    /// Why it came to the member.
    #[serde(rename = "c", default, skip_serializing_if = "is_new")]
    pub cause: Cause,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_new(cause: &Cause) -> bool {
    *cause == Cause::New
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

impl Entry {
    /// A task newly held.
    pub fn held(task: &Task, token: Token) -> Self {
        let Task { key, value, weight } = task.clone();
        Self { key, value, weight, token, releasing: None, cause: Cause::New }
    }

    /// The task.
    pub fn task(&self) -> Task {
        Task { key: self.key.clone(), value: self.value.clone(), weight: self.weight }
    }

    /// The task and its token.
    pub fn holding(&self) -> Holding {
        Holding { task: self.task(), token: self.token }
    }

    /// The most bytes that the entry takes in its record.
    pub(crate) fn bytes(&self) -> usize {
        entry_bytes(&self.key, &self.value)
    }
}

/// The most bytes that the entry of such a task takes in its record.
pub(crate) fn entry_bytes(key: &str, value: &str) -> usize {
    json_bytes(key) + json_bytes(value) + 88
}

/// The most bytes of a chunk's record without its entries, and of its key besides the member's name.
pub(crate) const RECORD_BYTES: usize = 256;

/// A chunk of a member's assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// The record format.
    pub format: Format,
    /// The session that it is for; no other one starts anything from it.
    pub incarnation: Incarnation,
    /// The generation that last changed it.
    pub generation: Generation,
    /// The tasks, in key order.
    pub tasks: Vec<Entry>,
}

impl ChunkRecord {
    /// A chunk without tasks.
    pub fn empty(incarnation: Incarnation) -> Self {
        Self { format: Format, incarnation, generation: Generation(0), tasks: Vec::new() }
    }

    /// The entry of a task.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.position(key).ok().map(|at| &self.tasks[at])
    }

    /// The entry of a task, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.position(key).ok().map(|at| &mut self.tasks[at])
    }

    /// Adds an entry, or replaces the one of the same task.
    pub fn insert(&mut self, entry: Entry) {
        match self.position(&entry.key) {
            Ok(at) => self.tasks[at] = entry,
            Err(at) => self.tasks.insert(at, entry),
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        self.position(key).ok().map(|at| self.tasks.remove(at))
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.tasks.binary_search_by(|entry| entry.key.as_ref().cmp(key))
    }

    /// The most bytes that the record takes.
    pub(crate) fn bytes(&self) -> usize {
        RECORD_BYTES + self.tasks.iter().map(Entry::bytes).sum::<usize>()
    }

    /// The record as one or more, each of which takes no more than `most` bytes or has a single task.
    pub(crate) fn split(self, id: ChunkId, most: usize) -> Vec<(ChunkId, Self)> {
        let (mut whole, mut parts) = (vec![(id, self)], Vec::new());
        while let Some((id, record)) = whole.pop() {
            let halves = id.halves().filter(|_| record.tasks.len() > 1 && record.bytes() > most);
            let Some((low, high)) = halves else {
                parts.push((id, record));
                continue;
            };
            let (lower, higher) =
                record.tasks.into_iter().partition(|entry| low.contains(path_of(&entry.key)));
            let half =
                |tasks: Vec<Entry>| Self { format: Format, tasks, ..Self { tasks: Vec::new(), ..record } };
            let both = [(high, half(higher)), (low, half(lower))];
            whole.extend(both.into_iter().filter(|(_, half)| !half.tasks.is_empty()));
        }
        parts
    }

    /// The highest number in the record, below which the group's generation must never fall.
    pub fn highest(&self) -> Generation {
        let numbers =
            self.tasks.iter().flat_map(|entry| [entry.token.0, entry.releasing.unwrap_or_default().0]);
        Generation(numbers.fold(self.generation.0, u64::max))
    }
}
impl Record for ChunkRecord {
    fn check(&self) -> Result<(), String> {
        if !self.tasks.is_sorted_by(|a, b| a.key < b.key) {
            return Err("its tasks are not in key order".into());
        }
        below_limit(self.highest())
    }
}

/// The counter of generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// The record format.
    pub format: Format,
    /// The last committed generation.
    pub generation: Generation,
}

impl Record for GenerationRecord {
    fn check(&self) -> Result<(), String> {
        below_limit(self.generation)
    }
}
