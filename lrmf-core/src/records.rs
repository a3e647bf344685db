//! What the keys of a group hold: JSON records, each with a format version.
//!
//! A record of a newer format is refused with [`RecordError::Newer`], never read as if it were of this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{Generation, Incarnation, InstanceId, Token};
use crate::task::{Holding, Task};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Generations stay below this, so that every store and script can hold them exactly.
pub const GENERATION_LIMIT: u64 = 1 << 53;

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another version of the framework wrote it.
    #[error("{key} has record format {found}; this version reads up to {FORMAT}: update this process")]
    Newer {
        /// Where it is.
        key: String,
        /// Its format.
        found: u32,
    },
    /// It is no record.
    #[error("{key} is no valid record: {why}")]
    Malformed {
        /// Where it is.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The format version of a record; reading one that is newer fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(FORMAT)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1..=FORMAT => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!("format {other}"))),
        }
    }
}

/// Whether a member takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It does.
    Active,
    /// It is leaving: it gets nothing new, and what it holds goes elsewhere.
    Draining,
    /// It has stopped all its tasks and is about to come back under the same name: they wait for it.
    Restarting,
}

/// A member's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The record format.
    pub format: Format,
    /// Which session this is.
    pub incarnation: Incarnation,
    /// Whether it takes tasks.
    pub state: MemberState,
    /// How much it can hold, relative to the others.
    pub capacity: u32,
    /// The failure domain that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// What else it says about itself, for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How busy it said it was, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
}

/// How busy a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// In thousandths of what it can bear; more than 1000 is too much.
    pub per_mille: u32,
    /// How many tasks it held then.
    pub tasks: u32,
}

/// A process that waits to become a member whose session is still alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessorRecord {
    /// The record format.
    pub format: Format,
    /// The session that it will be.
    pub incarnation: Incarnation,
}

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

    /// About how many bytes the entry takes in its record; exact but for characters that JSON escapes.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len()
            + self.value.len()
            + self.value.bytes().filter(|b| matches!(b, b'"' | b'\\')).count()
            + 88
    }
}

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

    /// The highest number in the record, below which the group's generation must never fall.
    pub fn highest(&self) -> Generation {
        let numbers =
            self.tasks.iter().flat_map(|entry| [entry.token.0, entry.releasing.unwrap_or_default().0]);
        Generation(numbers.fold(self.generation.0, u64::max))
    }
}

/// A holding, named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    /// The task's key.
    #[serde(rename = "k")]
    pub key: Arc<str>,
    /// The holding's token.
    #[serde(rename = "t")]
    pub token: Token,
}

/// A holding that did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The task's key.
    #[serde(rename = "k")]
    pub key: Arc<str>,
    /// The holding's token.
    #[serde(rename = "t")]
    pub token: Token,
    /// What the worker said.
    #[serde(rename = "e")]
    pub error: String,
}

/// Why a task that a member is to stop has not stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StuckBy {
    /// `Worker::revoke` has not returned within `revoke_timeout`.
    Overdue,
    /// `Worker::revoke` panicked, so that nobody knows.
    Panicked,
    /// A newer member had a reason that this version does not know.
    #[serde(other)]
    Other,
}

/// A holding that is to stop and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The task's key.
    #[serde(rename = "k")]
    pub key: Arc<str>,
    /// The holding's token.
    #[serde(rename = "t")]
    pub token: Token,
    /// Why.
    #[serde(rename = "w")]
    pub by: StuckBy,
}

/// How far a member has come with its assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckRecord {
    /// The record format.
    pub format: Format,
    /// Which session says so.
    pub incarnation: Incarnation,
    /// Everything up to this generation is known and begun.
    pub generation: Generation,
    /// What is still being stopped, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releasing: Vec<Named>,
    /// What is still being started, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starting: Vec<Named>,
    /// What could not be started, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failure>,
    /// What of the releasing does not stop, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<Stuck>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The record format.
    pub format: Format,
    /// The member.
    pub instance: InstanceId,
    /// Its session.
    pub incarnation: Incarnation,
    /// Who campaigns at once when the leader goes; the others only when nobody does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<InstanceId>,
    /// The assignor that it plans with: for people and tools.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub assignor: String,
}

/// The counter of generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// The record format.
    pub format: Format,
    /// The last committed generation.
    pub generation: Generation,
}

/// A record with its checks.
pub trait Record: Serialize + DeserializeOwned {
    /// What the types do not say already.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Record for MemberRecord {}
impl Record for SuccessorRecord {}
impl Record for LeaderRecord {}

impl Record for ChunkRecord {
    fn check(&self) -> Result<(), String> {
        if !self.tasks.is_sorted_by(|a, b| a.key < b.key) {
            return Err("its tasks are not in key order".into());
        }
        below_limit(self.highest())
    }
}

impl Record for AckRecord {
    fn check(&self) -> Result<(), String> {
        below_limit(self.generation)
    }
}

impl Record for GenerationRecord {
    fn check(&self) -> Result<(), String> {
        below_limit(self.generation)
    }
}

fn below_limit(generation: Generation) -> Result<(), String> {
    if generation.0 < GENERATION_LIMIT {
        Ok(())
    } else {
        Err(format!("generation {generation} is over the limit of 2^53"))
    }
}

/// Writes a record.
pub fn encode(record: &impl Record) -> Bytes {
    // Strings, numbers, sequences and maps with string keys: there is nothing in a record that JSON cannot express.
    serde_json::to_vec(record).map(Bytes::from).unwrap_or_default()
}

/// Reads the record at `key`.
///
/// # Errors
/// A record of a newer format, or something that is no record.
pub fn decode<T: Record>(key: &str, value: &[u8]) -> Result<T, RecordError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let malformed = |why: String| RecordError::Malformed { key: key.to_owned(), why };
    match serde_json::from_slice::<T>(value) {
        Ok(record) => record.check().map(|()| record).map_err(malformed),
        Err(error) => match serde_json::from_slice::<Head>(value) {
            Ok(head) if head.format > FORMAT => {
                Err(RecordError::Newer { key: key.to_owned(), found: head.format })
            }
            _ => Err(malformed(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn chunk() -> ChunkRecord {
        let mut chunk = ChunkRecord::empty(Incarnation(Uuid::from_u128(1)));
        chunk.generation = Generation(7);
        chunk.insert(Entry::held(&Task::new("b", "2"), Token(7)));
        chunk.insert(Entry { releasing: Some(Generation(6)), ..Entry::held(&Task::new("a", "1"), Token(3)) });
        chunk
    }

    #[test]
    fn a_chunk_reads_back_as_written() {
        let text = encode(&chunk());
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            r#"{"format":1,"incarnation":"00000000-0000-0000-0000-000000000001","generation":7,"#.to_owned()
                + r#""tasks":[{"k":"a","v":"1","t":3,"r":6},{"k":"b","v":"2","t":7}]}"#
        );
        assert_eq!(decode::<ChunkRecord>("k", &text), Ok(chunk()));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let newer = encode(&chunk()).to_vec();
        let newer = String::from_utf8(newer).unwrap().replace("\"format\":1", "\"format\":2");
        let found = decode::<ChunkRecord>("k", newer.as_bytes());
        assert_eq!(found, Err(RecordError::Newer { key: "k".into(), found: 2 }));
        let found = decode::<AckRecord>("k", br#"{"format":3,"quite":"different"}"#);
        assert_eq!(found, Err(RecordError::Newer { key: "k".into(), found: 3 }));
    }

    #[test]
    fn a_cause_that_is_not_known_yet_is_some_cause() {
        let text = String::from_utf8(encode(&chunk()).to_vec()).unwrap();
        let other = text.replace("\"t\":7", "\"t\":7,\"c\":\"moonlight\"");
        let read = decode::<ChunkRecord>("k", other.as_bytes()).unwrap();
        assert_eq!(read.get("b").unwrap().cause, Cause::Other);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["", "{}", "[]", r#"{"format":1}"#, r#"{"format":0,"generation":1}"#] {
            let found = decode::<GenerationRecord>("k", text.as_bytes());
            assert!(matches!(found, Err(RecordError::Malformed { .. })), "{text}");
        }
        let found = decode::<GenerationRecord>("k", br#"{"format":1,"generation":9007199254740992}"#);
        assert!(matches!(found, Err(RecordError::Malformed { .. })));
    }

    #[test]
    fn unsorted_chunks_are_refused() {
        let mut chunk = chunk();
        chunk.tasks.reverse();
        let found = decode::<ChunkRecord>("k", &encode(&chunk));
        assert!(matches!(found, Err(RecordError::Malformed { .. })));
    }
}
