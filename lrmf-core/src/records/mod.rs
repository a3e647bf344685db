//! The records in the keys of a group: JSON, each with a format version.
//!
//! A record of a newer format is refused with [`RecordError::Newer`], never read as if it were of this one.

mod ack;
mod assignment;
mod member;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::coordination::TxnLimits;
use crate::ids::Generation;

pub use ack::{AckRecord, Failure, Named, Stuck, StuckBy};
pub use assignment::{Cause, ChunkRecord, Entry, GenerationRecord};
pub(crate) use assignment::{RECORD_BYTES, entry_bytes};
pub use member::{
    Barred, ContactRecord, LeaderRecord, LoadReport, MemberRecord, MemberState, ModeRecord, NoticeRecord,
    SuccessorRecord, Troubles,
};

/// The format that this version writes, and the newest that it reads.
///
/// 2: chunks are split by size, and acknowledgements name what was released instead of what was not.
pub const FORMAT: u32 = 2;

/// Generations stay below this, so that every store and script can hold them exactly.
pub const GENERATION_LIMIT: u64 = 1 << 53;

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another version of the framework wrote it.
    #[error("{key} has record format {found}; this version reads up to {FORMAT}: update this process")]
    Newer {
        /// The key of the record.
        key: String,
        /// Its format.
        found: u32,
    },
    /// It is no record.
    #[error("{key} is no valid record: {why}")]
    Malformed {
        /// The key of the record.
        key: String,
        /// The fault of the record.
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

/// The bytes that a chunk of an assignment is kept below, and each list of an acknowledgement: a quarter of what a write
/// may have, as one that moves a task has two chunks.
pub(crate) fn target_bytes(limits: TxnLimits) -> usize {
    (limits.bytes / 4).min(64 * 1024)
}

/// The most bytes that a task may take in a record: a write with two chunks of the size aimed at must have room for it.
pub(crate) fn most_entry_bytes(limits: TxnLimits) -> usize {
    limits.bytes / 4
}

/// The bytes of a text within JSON, without the quotes around it.
pub(crate) fn json_bytes(text: &str) -> usize {
    let of = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of).sum()
}

/// A record with its checks.
pub trait Record: Serialize + DeserializeOwned {
    /// Checks what the types do not guarantee already.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    fn check(&self) -> Result<(), String> {
        Ok(())
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
    use crate::ids::{Incarnation, Token};
    use crate::task::Task;

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
            r#"{"format":2,"incarnation":"00000000-0000-0000-0000-000000000001","generation":7,"#.to_owned()
                + r#""tasks":[{"k":"a","v":"1","t":3,"r":6},{"k":"b","v":"2","t":7}]}"#
        );
        assert_eq!(decode::<ChunkRecord>("k", &text), Ok(chunk()));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let newer = encode(&chunk()).to_vec();
        let newer = String::from_utf8(newer).unwrap().replace("\"format\":2", "\"format\":3");
        let found = decode::<ChunkRecord>("k", newer.as_bytes());
        assert_eq!(found, Err(RecordError::Newer { key: "k".into(), found: 3 }));
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
