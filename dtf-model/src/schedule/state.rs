//! The progress of a schedule.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ScheduleSpec;
use crate::ids::TaskId;

/// The number of latest outcomes that are kept.
pub const MAX_HISTORY: usize = 20;
/// The most tasks of a backfill that run at once.
pub const MAX_CONCURRENCY: u32 = 100;

/// The cause of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The due time came.
    Due,
    /// A user asked for a task at once.
    Trigger,
    /// A user asked for the tasks of a period.
    Backfill,
}

/// A creation that is decided. It stays in the state until its task is there, so that whoever goes on creates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// The due time, in milliseconds since the Unix epoch; of a trigger, the time at which it was asked for.
    pub due: u64,
    /// The name of the creation: the same one makes no second task.
    pub request: Uuid,
    /// The cause.
    pub cause: Cause,
}

impl Creation {
    /// A creation for a due time of the schedule that was created under `schedule`.
    pub fn of(schedule: Uuid, due: u64, cause: Cause) -> Self {
        Self { due, request: Uuid::new_v5(&schedule, &due.to_be_bytes()), cause }
    }
}

/// The outcome of a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// A task was created.
    Created,
    /// No task was created, as the schedule's policy says.
    Skipped,
    /// No task was created, as the due time was longer ago than the catch-up window when a manager came to it. Stands for all due
    /// times up to the next outcome.
    Missed,
    /// The task was refused.
    Refused,
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The due time, in milliseconds since the Unix epoch.
    pub due: u64,
    /// The time of the outcome.
    pub at: u64,
    /// The outcome.
    pub kind: OutcomeKind,
    /// The cause.
    pub cause: Cause,
    /// The task that was created; of a flow, its first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The reason, where no task was created.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A backfill that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// The next due time to create a task for; `None` behind the last one.
    pub next: Option<u64>,
    /// The latest due time.
    pub until: u64,
    /// The number of its tasks that run at once.
    pub concurrency: u32,
    /// Its tasks that have not ended, as far as is known.
    pub running: Vec<TaskId>,
}

/// The numbers of due times, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Due times, triggers and times of backfills whose tasks were created or found.
    pub created: u64,
    /// Due times that were skipped.
    pub skipped: u64,
    /// Stretches of due times that were missed.
    pub missed: u64,
    /// Creations that were refused.
    pub refused: u64,
}

/// The progress of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// True if due times pass without effect.
    pub paused: bool,
    /// The first due time that is not decided; `None` where there is none any more.
    pub next_due: Option<u64>,
    /// Creations that are decided and perhaps not made.
    #[serde(default)]
    pub creating: Vec<Creation>,
    /// Tasks that had not ended when they were last looked at; a flow is named by its first task. None are kept where tasks may overlap.
    #[serde(default)]
    pub running: Vec<TaskId>,
    /// The due time that waits for the end of the running task.
    #[serde(default)]
    pub queued: Option<u64>,
    /// The backfill under way.
    #[serde(default)]
    pub backfill: Option<Backfill>,
    /// The latest outcomes, the last one first.
    #[serde(default)]
    pub history: VecDeque<Outcome>,
    /// The numbers of outcomes.
    #[serde(default)]
    pub totals: Totals,
}

impl ScheduleState {
    /// Returns the state of a schedule that begins at `now`.
    pub fn beginning(spec: &ScheduleSpec, calendar: &super::Calendar, now: u64) -> Self {
        let after = spec.start_at.map_or(now, |start| now.max(start.saturating_sub(1)));
        let anchor = spec.start_at.unwrap_or(now);
        Self { next_due: first_due(spec, calendar, after, anchor), ..Self::default() }
    }

    /// Adds an outcome to the history and the totals.
    pub(super) fn note(&mut self, outcome: Outcome) {
        *match outcome.kind {
            OutcomeKind::Created => &mut self.totals.created,
            OutcomeKind::Skipped => &mut self.totals.skipped,
            OutcomeKind::Missed => &mut self.totals.missed,
            OutcomeKind::Refused => &mut self.totals.refused,
        } += 1;
        self.history.push_front(outcome);
        self.history.truncate(MAX_HISTORY);
    }
}

/// The first due time later than `after`, none behind the end.
pub(super) fn first_due(
    spec: &ScheduleSpec,
    calendar: &super::Calendar,
    after: u64,
    anchor: u64,
) -> Option<u64> {
    calendar.next(after, anchor).filter(|due| spec.end_at.is_none_or(|end| *due <= end))
}
