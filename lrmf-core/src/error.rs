//! The errors of names, values and stores, and the conclusions that a caller may draw from them.

use std::sync::Arc;

/// A name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The name is empty.
    #[error("{what} is empty; it needs at least one character")]
    Empty {
        /// The name.
        what: &'static str,
    },
    /// The name is too long.
    #[error("{what} has {bytes} bytes; at most {most} are allowed")]
    TooLong {
        /// The name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The greatest length that is allowed.
        most: usize,
    },
    /// The name has a character that would break keys or terminals.
    #[error("{what} contains {found:?}; '/' and control characters are not allowed")]
    Character {
        /// The name.
        what: &'static str,
        /// The first such character.
        found: char,
    },
}

/// A task that cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTask {
    /// A task without a key.
    #[error("a task has an empty key; every task needs a unique, non-empty key")]
    EmptyKey,
    /// A key over the limit.
    #[error("a task key has {bytes} bytes; at most {most} are allowed")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
        /// The greatest length that is allowed.
        most: usize,
    },
    /// A value over the limit.
    #[error("the value of task {key:?} has {bytes} bytes; at most {most} are allowed")]
    ValueTooLong {
        /// The key of the value.
        key: Arc<str>,
        /// Its length.
        bytes: usize,
        /// The greatest length that is allowed.
        most: usize,
    },
    /// A task that the store cannot hold.
    #[error(
        "task {key:?} takes up to {bytes} bytes in a record; at most {most} are allowed with this store: shorten its value"
    )]
    TooLarge {
        /// The task's key.
        key: Arc<str>,
        /// The most bytes that it takes.
        bytes: usize,
        /// The most bytes that it may take.
        most: usize,
    },
    /// A weight of zero.
    #[error("task {key:?} has weight 0; weights start at 1")]
    NoWeight {
        /// The key of the weight.
        key: Arc<str>,
    },
    /// More tasks than a group may have.
    #[error("there are {count} tasks; a group has at most {most}: split it into several")]
    TooMany {
        /// The number of them.
        count: usize,
        /// The greatest number that is allowed.
        most: usize,
    },
    /// Two tasks with one key.
    #[error("two tasks have the key {key:?}; keys are unique in a group")]
    Duplicate {
        /// The key.
        key: Arc<str>,
    },
}

/// Why a call to a coordination store failed.
///
/// A timeout is [`Unknown`](Self::Unknown): the call may have been applied, and the caller must read before it
/// decides anything.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CoordinationError {
    /// The store was not reached: nothing was sent.
    #[error("the coordination store cannot be reached: {0}")]
    Unreachable(String),
    /// The call was sent and no answer came back.
    #[error("the coordination store did not answer, the call may have been applied: {0}")]
    Unknown(String),
    /// The lease of the call has ended.
    #[error("the lease has ended")]
    LeaseGone,
    /// The request is over a limit of the store.
    #[error("the request is over a limit of the coordination store: {0}")]
    TooLarge(String),
    /// The store refused the call, and would refuse it again.
    #[error("the coordination store refused: {0}")]
    Refused(String),
}

impl CoordinationError {
    /// Returns true where the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unknown(_))
    }

    /// Returns true where the call has certainly had no effect.
    pub fn is_definitely_not_applied(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}
