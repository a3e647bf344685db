//! The executors' reports of parcels, and the stores' answers.

use std::time::Duration;

use bytes::Bytes;

use super::ParcelId;
use crate::ids::{EmitEpoch, Seq};
use crate::plugin::{NewSubtask, SubtaskResult};
use crate::status::Control;

/// The end of a subtask that is in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed.
    Succeeded(SubtaskResult),
    /// It failed for good.
    Failed {
        /// Why.
        error: String,
        /// Its body, so that it can be shown and tried again.
        body: Bytes,
    },
    /// It took too long.
    TimedOut {
        /// Its body.
        body: Bytes,
    },
    /// It was told to stop, as its task was cancelled.
    Cancelled,
}

impl Outcome {
    /// As what it is in the books, where its subtask can stay open: a cancelled one has ended with its task.
    pub fn counted_as(&self) -> Option<CountedAs> {
        match self {
            Self::Succeeded(_) => Some(CountedAs::Succeeded),
            Self::Failed { .. } => Some(CountedAs::Failed),
            Self::TimedOut { .. } => Some(CountedAs::TimedOut),
            Self::Cancelled => None,
        }
    }

    /// Returns the size of its contents, in bytes.
    pub fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Succeeded(result) => result.msg.len() + result.body.len(),
            Self::Failed { error, body } => error.len() + body.len(),
            Self::TimedOut { body } => body.len(),
            Self::Cancelled => 0,
        };
        bytes as u64
    }
}

/// As what a result is in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountedAs {
    /// As a success.
    Succeeded,
    /// As a failure.
    Failed,
    /// As one that took too long.
    TimedOut,
}

/// A subtask whose result was not its last: it leaves the books and is executed again, under a new number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillOpen {
    /// As what the result was counted.
    pub counted_as: CountedAs,
    /// The next execution.
    pub next: NewSubtask,
    /// The time until then.
    pub after: Duration,
}

/// An executor's report of one subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It ended; count it.
    Ended(Outcome),
    /// It failed and is to be tried again, after this wait, as the next attempt.
    Retry {
        /// The wait.
        after: Duration,
        /// Why it failed.
        error: String,
    },
    /// It was not started, or broken off; dispatch it again, as the same attempt.
    Returned,
    /// It runs and goes on where it is, as a parcel of its own, which is reported by itself. Its neighbours need not wait.
    GoesOn,
}

/// An executor's report of a parcel: all of it, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParcelReport {
    /// The parcel.
    pub parcel: ParcelId,
    /// The attempt at it.
    pub attempt: u32,
    /// The number of executors that had been lost with it when it was shipped.
    pub executor_losses: u32,
    /// One report a subtask, in their order.
    pub reports: Vec<Report>,
    /// The number of neighbours among the returned subtasks that travel together again; at least 1.
    pub together: usize,
    /// The run time of its subtasks, all together.
    pub busy: Duration,
}

/// The results of one reported parcel, as the collector gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultBatch {
    /// The load that emitted the subtasks.
    pub epoch: EmitEpoch,
    /// The subtasks and how they ended.
    pub results: Vec<(Seq, Outcome)>,
}

impl ResultBatch {
    /// Returns the size of the results, in bytes.
    pub fn bytes(&self) -> u64 {
        self.results.iter().map(|(_, outcome)| outcome.bytes()).sum()
    }
}

/// The answer to a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The number of subtasks that it put into the books.
    pub counted: u64,
    /// Subtasks still dispatched.
    pub running: u64,
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// The control that the users want.
    pub control: Control,
}
