//! How a role's work on one task comes to its end, or is broken off.

use crate::error::StoreError;

/// How it came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The run wants no more of this role.
    Settled,
    /// The bucket is given up; its next holder goes on from what is stored.
    Stopped,
}

/// Why it was broken off.
#[derive(Debug)]
pub enum Halt {
    /// The store failed, or says that somebody else does this now.
    Store(StoreError),
    /// The plugin failed: the task cannot go on.
    Fault(anyhow::Error),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Self::Fault(error)
    }
}
