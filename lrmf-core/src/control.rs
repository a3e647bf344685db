//! Requests of operators to a group: the records below `control/`, and the request to one member.
//!
//! # States and requests
//! *States* are level-triggered: they hold for as long as their record is there, whoever leads, and writing one twice is
//! writing it once. A freeze, a drain and a pin are states. *Requests* name what they are about, a session or a token,
//! so that one that comes late or twice does nothing to what came after. An eviction and a forced release are requests.
//!
//! | record | while it is there |
//! |---|---|
//! | [`FreezeRecord`] | a task that runs stays where it runs: drains, pins and balance wait. Tasks that nobody runs are placed, and a member that leaves by itself hands over |
//! | [`DrainRecord`] | the member keeps its session, loses its tasks one by one, and gets none |
//! | [`PinRecord`] | the task is with that member; while that one is away, drained or leaving, with any other, until it is back. The assignor balances the other tasks as if pinned ones weighed nothing |
//! | [`ReleaseRecord`] | the holding that it names counts as released; the leader gives the task to somebody else, if there is anybody, for as long as the session that it names lives, then deletes the record |
//! | [`EvictionRecord`] | the member stops all its tasks and ends the session that the record names; it ends with that session |
//!
//! Who reads them: the leader alone, who watches the whole group, and of an eviction the member itself, below whose own
//! prefix it is. A record that this version cannot read has no effect and is reported.
//!
//! A forced release gives up P1 for one task: what the operator declares to be over may still run. P3 holds, as the new
//! holding has a higher token.

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, InstanceId, Token};
use crate::records::{Format, Record};

/// The origin of a request: for people, not for machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The operator who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The time, by the asker's clock, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub at: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Nothing that runs is moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRecord {
    /// The record format.
    pub format: Format,
    /// The origin of the request.
    #[serde(flatten)]
    pub origin: Origin,
}

/// A member is to hold nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRecord {
    /// The record format.
    pub format: Format,
    /// The origin of the request.
    #[serde(flatten)]
    pub origin: Origin,
}

/// A task is to be with one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRecord {
    /// The record format.
    pub format: Format,
    /// With which one.
    pub member: InstanceId,
    /// The origin of the request.
    #[serde(flatten)]
    pub origin: Origin,
}

/// A holding is declared to be over, although nobody acknowledged that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// The record format.
    pub format: Format,
    /// The member that holds the task.
    pub member: InstanceId,
    /// In which session.
    pub incarnation: Incarnation,
    /// With which token. What the session still runs of earlier holdings of the task is meant too, a later one is not.
    pub token: Token,
    /// The origin of the request.
    #[serde(flatten)]
    pub origin: Origin,
}

/// A member is to stop all its tasks and to end a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictionRecord {
    /// The record format.
    pub format: Format,
    /// The session; another one is not meant.
    pub incarnation: Incarnation,
    /// The origin of the request.
    #[serde(flatten)]
    pub origin: Origin,
}

impl Record for FreezeRecord {}
impl Record for DrainRecord {}
impl Record for PinRecord {}
impl Record for ReleaseRecord {}
impl Record for EvictionRecord {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{RecordError, decode, encode};

    #[test]
    fn records_read_back_and_newer_ones_are_refused() {
        let origin = Origin { by: Some("me".into()), at: 7, note: None };
        let pin = PinRecord { format: Format, member: InstanceId::new("a").unwrap(), origin };
        let text = encode(&pin);
        assert_eq!(std::str::from_utf8(&text).unwrap(), r#"{"format":2,"member":"a","by":"me","at":7}"#);
        assert_eq!(decode::<PinRecord>("k", &text), Ok(pin));
        let newer = br#"{"format":99,"member":{"any-of":["a","b"]}}"#;
        let found = decode::<PinRecord>("k", newer);
        assert_eq!(found, Err(RecordError::Newer { key: "k".into(), found: 99 }));
        assert!(matches!(decode::<FreezeRecord>("k", b"yes"), Err(RecordError::Malformed { .. })));
    }
}
