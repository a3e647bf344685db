//! The ends of a task that another one waits for.

use serde::{Deserialize, Serialize};

use crate::status::{Counts, TaskStatus};

/// The end of a task, to those that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It completed, and none of its subtasks failed or timed out.
    Completed,
    /// It ended as exceptional, or completed with subtasks that failed or timed out.
    Failed,
    /// It was cancelled or skipped.
    Other,
}

impl End {
    /// Returns the end of a task; `None` where it has not ended.
    pub fn of(status: TaskStatus, counts: &Counts) -> Option<Self> {
        match status {
            TaskStatus::Created | TaskStatus::Running | TaskStatus::Paused => None,
            TaskStatus::Completed if counts.failed + counts.timed_out == 0 => Some(Self::Completed),
            TaskStatus::Completed | TaskStatus::Exceptional => Some(Self::Failed),
            TaskStatus::Cancelled | TaskStatus::Skipped => Some(Self::Other),
        }
    }

    /// The words for a reason.
    pub fn words(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Other => "was cancelled or skipped",
        }
    }
}

/// The condition on the end of a predecessor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Condition {
    /// It completes, and none of its subtasks fails or times out.
    #[default]
    Completed = 1,
    /// It ends, however it does.
    Ended = 2,
    /// It ends as exceptional, or completes with subtasks that failed or timed out.
    Failed = 3,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Ended, Self::Failed];

    /// The number in the table.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The condition with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.code() == code)
    }

    /// The name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Returns true if an end fulfils the condition. One that does not can never do so later.
    pub fn is_met_by(self, end: End) -> bool {
        match self {
            Self::Completed => end == End::Completed,
            Self::Ended => true,
            Self::Failed => end == End::Failed,
        }
    }
}
