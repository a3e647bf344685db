//! Tasks, and the holdings of members.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::InvalidTask;
use crate::ids::Token;

/// The longest task key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// The longest task value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// The most tasks of a group. A longer list of the provider is refused as a whole, and the last good one stays.
pub const MAX_TASKS: usize = 1_000_000;

/// A unit of placement. Keys are unique in a group; the value is the users' own and is handed to the holder as it is.
///
/// Its JSON form is the one of the original framework, `{"k": …, "v": …}`, with the weight beside it when it is not 1.
///
/// ```
/// use lrmf_core::Task;
/// let task = Task::new("topic-7", "{\"partition\": 7}");
/// assert_eq!(serde_json::to_string(&task)?, r#"{"k":"topic-7","v":"{\"partition\": 7}"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Task {
    /// The key by which the task is placed.
    #[serde(rename = "k")]
    pub key: Arc<str>,
    /// The value for the holder. A changed value is a new holding, with a new token.
    #[serde(rename = "v", default = "empty")]
    pub value: Arc<str>,
    /// The weight, in a member's capacity, in units of the users' choice; at least 1.
    #[serde(rename = "w", default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
}

fn empty() -> Arc<str> {
    Arc::from("")
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

impl Task {
    /// A task of weight 1.
    pub fn new(key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), value: value.into(), weight: 1 }
    }

    /// The same task with another weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Checks the limits that every group enforces.
    ///
    /// # Errors
    /// An empty or over-long key, an over-long value, a weight of 0.
    pub fn check(&self) -> Result<(), InvalidTask> {
        if self.key.is_empty() {
            return Err(InvalidTask::EmptyKey);
        }
        if self.key.len() > MAX_KEY_BYTES {
            return Err(InvalidTask::KeyTooLong { bytes: self.key.len(), most: MAX_KEY_BYTES });
        }
        if self.value.len() > MAX_VALUE_BYTES {
            return Err(InvalidTask::ValueTooLong {
                key: self.key.clone(),
                bytes: self.value.len(),
                most: MAX_VALUE_BYTES,
            });
        }
        if self.weight == 0 {
            return Err(InvalidTask::NoWeight { key: self.key.clone() });
        }
        Ok(())
    }
}

/// A task together with the proof of holding it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holding {
    /// The task.
    pub task: Task,
    /// The fencing token of this holding: higher than that of every earlier holding of the same task. Hand it to
    /// every store that the task writes to, and let the store refuse lower ones.
    pub token: Token,
}
