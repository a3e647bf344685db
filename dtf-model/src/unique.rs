//! Tasks of which there is one at a time, by a key that their creators give them.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::{InvalidInput, StoreError};
use crate::ids::TaskId;
use crate::table::NewTask;
use crate::text::check_length;

/// The longest key, in characters.
pub const MAX_KEY_CHARS: usize = 191;
/// The longest period.
pub const MAX_PERIOD: Duration = Duration::from_secs(366 * 24 * 3600);

/// The time for which a task is the only one with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniqueWhile {
    /// Until its first run begins.
    Pending,
    /// Until it ends.
    Running,
    /// For a period from its creation, whether or not it has ended.
    Period(Duration),
}

impl UniqueWhile {
    /// The number in the table.
    pub fn code(self) -> u8 {
        match self {
            Self::Pending => 1,
            Self::Running => 2,
            Self::Period(_) => 3,
        }
    }
}

/// The key of a task, and for how long there is no other task with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The key. Keys are compared exactly, whatever the type and group of the tasks.
    pub key: String,
    /// The time for which it is taken.
    pub scope: UniqueWhile,
}

impl Unique {
    /// Checks the key and the period.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        check_length("the unique key", &self.key, MAX_KEY_CHARS)?;
        if self.key.is_empty() {
            return Err(InvalidInput::Empty("the unique key"));
        }
        if self.key.trim() != self.key {
            return Err(InvalidInput::OutOfRange {
                what: "the unique key",
                got: format!("{:?}", self.key),
                allowed: "a text without spaces at its ends".to_owned(),
            });
        }
        match self.scope {
            UniqueWhile::Period(period) if period < Duration::from_secs(1) || period > MAX_PERIOD => {
                Err(InvalidInput::OutOfRange {
                    what: "the period of the unique key",
                    got: format!("{period:?}"),
                    allowed: "1 s to 366 days".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The time at which a period is over; `None` where there is none. In milliseconds since the Unix epoch.
    pub fn until(&self, now: u64) -> Option<u64> {
        match self.scope {
            UniqueWhile::Period(period) => {
                Some(now.saturating_add(u64::try_from(period.as_millis()).unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    }
}

/// The table of tasks, as far as keys are unique.
///
/// # What an implementor guarantees
/// Of several insertions with one key, at the same time or within the time for which it is taken, one makes a task and all return it.
/// A constraint sees to that, not a look. The time is the one that the first of them gave.
#[async_trait]
pub trait UniqueTable: Send + Sync + 'static {
    /// Inserts a task, or finds the one that has its key, or that this request made before.
    async fn insert_unique(&self, task: &NewTask, unique: &Unique) -> Result<TaskId, StoreError>;
}
