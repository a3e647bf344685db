//! The statuses of a task, and the transitions between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of a task. The numbers up to 6 are the original framework's, as stored in `tbl_task.task_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TaskStatus {
    /// Acknowledged, not started yet.
    Created = 1,
    /// Subtasks are generated and run.
    Running = 2,
    /// Nothing new is generated or dispatched until it is resumed.
    Paused = 3,
    /// Ended by a user before it was done.
    Cancelled = 4,
    /// Ended: every subtask is accounted for.
    Completed = 5,
    /// Ended by the framework before it was done: timed out, or failed.
    Exceptional = 6,
    /// Ended without a run, as a condition on the end of a task that it waited for cannot be met any more.
    Skipped = 7,
}

impl TaskStatus {
    /// All of them.
    pub const ALL: [TaskStatus; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Cancelled,
        Self::Completed,
        Self::Exceptional,
        Self::Skipped,
    ];

    /// The number in `tbl_task`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Returns true if the task has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Cancelled | Self::Completed | Self::Exceptional | Self::Skipped)
    }

    /// Returns true if a task may go from this status to `next`. This table is the whole lifecycle.
    pub fn may_become(self, next: TaskStatus) -> bool {
        use TaskStatus::{Cancelled, Completed, Created, Exceptional, Paused, Running, Skipped};
        match self {
            Created => matches!(next, Running | Paused | Cancelled | Exceptional | Skipped),
            Running => matches!(next, Paused | Cancelled | Completed | Exceptional),
            Paused => matches!(next, Running | Cancelled | Completed | Exceptional | Skipped),
            Cancelled | Completed | Exceptional | Skipped => false,
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Exceptional => "exceptional",
            Self::Skipped => "skipped",
        })
    }
}

/// The control that users want of a task. Level-triggered: every role re-reads it, and every reply about a task carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Control {
    /// Go on.
    #[default]
    Run = 0,
    /// Generate and dispatch nothing new; what runs may finish.
    Pause = 1,
    /// Generate and dispatch nothing new, stop what runs; the task ends as cancelled. There is no way back.
    Cancel = 2,
    /// As `Cancel`, by the framework itself: the task ends as exceptional.
    Abort = 3,
}

impl Control {
    /// The number in `tbl_task`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The control with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Run, Self::Pause, Self::Cancel, Self::Abort].into_iter().find(|control| control.code() == code)
    }

    /// Returns true if the task is to end. Such a wish is never taken back or replaced.
    pub fn ends(self) -> bool {
        matches!(self, Self::Cancel | Self::Abort)
    }
}

/// The numbers of a task's subtasks, by their ends. `created` = `succeeded + failed + cancelled + timed_out` at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Emitted by the generator or added by the collector.
    pub created: u64,
    /// Done.
    pub succeeded: u64,
    /// Failed for good.
    pub failed: u64,
    /// Not run, or told to stop, as the task was cancelled.
    pub cancelled: u64,
    /// Stopped as they took too long.
    pub timed_out: u64,
}

impl Counts {
    /// Returns the number of subtasks in the books.
    pub fn counted(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled + self.timed_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_originals() {
        let codes: Vec<_> = TaskStatus::ALL.iter().map(|status| status.code()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7]);
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_code(status.code()), Some(status));
        }
        assert_eq!(TaskStatus::from_code(0), None);
        assert_eq!(TaskStatus::from_code(8), None);
    }

    #[test]
    fn nothing_leaves_a_terminal_status_and_nothing_returns_to_created() {
        for from in TaskStatus::ALL {
            assert!(!from.may_become(TaskStatus::Created));
            assert!(!from.may_become(from));
            if from.is_terminal() {
                assert!(TaskStatus::ALL.into_iter().all(|to| !from.may_become(to)));
            } else {
                assert!(from.may_become(TaskStatus::Cancelled));
                assert!(from.may_become(TaskStatus::Exceptional));
            }
        }
    }
}
