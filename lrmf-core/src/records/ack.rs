//! What members say about their assignment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Format, Record, below_limit};
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

impl Record for AckRecord {
    fn check(&self) -> Result<(), String> {
        below_limit(self.generation)
    }
}
