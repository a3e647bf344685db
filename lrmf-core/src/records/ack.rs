//! The acknowledgements of members about their assignment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Format, GENERATION_LIMIT, Record};
use crate::ids::{Generation, Incarnation, Token};

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
    /// The worker's error.
    #[serde(rename = "e")]
    pub error: String,
}

/// Why a task of a member neither runs nor has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StuckBy {
    /// `Worker::assign` or `Worker::revoke` has not returned within its timeout.
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

/// The progress of a member with its assignment.
///
/// Each list is cut off at a number of bytes; what did not fit follows when the leader has dealt with what did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckRecord {
    /// The record format.
    pub format: Format,
    /// The session that says so.
    pub incarnation: Incarnation,
    /// Everything up to this generation is known and begun.
    pub generation: Generation,
    /// The holdings that are marked in the member's record and of which nothing runs, in key order. None in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Vec<Named>>,
    /// In format 1, the holdings that were still being stopped, in key order: those not named here that were marked up to
    /// `generation` had been released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releasing: Vec<Named>,
    /// The tasks that could not be started, in the order of the holdings: the one that was tried last comes last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failure>,
    /// The tasks that are to stop and do not, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<Stuck>,
}

impl AckRecord {
    /// Returns true where it says that nothing of a marked holding runs any more.
    pub fn has_released(&self, entry: &Entry) -> bool {
        let Some(marked) = entry.releasing else { return false };
        match &self.released {
            Some(released) => {
                let found = released.binary_search_by(|named| named.key.cmp(&entry.key));
                found.is_ok_and(|at| released[at].token == entry.token)
            }
            None => {
                self.generation >= marked
                    && self.releasing.binary_search_by(|named| named.key.cmp(&entry.key)).is_err()
            }
        }
    }
}

impl Record for AckRecord {
    fn check(&self) -> Result<(), String> {
        // One that is absurdly high would use up the numbers that are left.
        if self.generation.0 < GENERATION_LIMIT / 2 {
            Ok(())
        } else {
            Err(format!("generation {} is over the limit of 2^52", self.generation))
        }
    }
}
