//! The buckets that tasks are dealt to by their ids.

use crate::ids::TaskId;

/// A share of all tasks: those whose id leaves the remainder `bucket` when divided by `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketOf {
    /// The number of the share.
    pub bucket: u32,
    /// The number of shares; at least 1.
    pub of: u32,
}

impl BucketOf {
    /// Returns the number of the bucket of a task.
    pub fn number(task: TaskId, of: u32) -> u32 {
        // The remainder is below `of`, so it fits.
        (task.0 % u64::from(of.max(1))) as u32
    }

    /// Returns whether a task is in this share.
    pub fn has(&self, task: TaskId) -> bool {
        Self::number(task, self.of) == self.bucket
    }
}
