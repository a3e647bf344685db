//! The decision about a schedule: a pure function of its row, the time, and the tasks that have ended.
//!
//! # The problem
//! Each due time is to have exactly the tasks that the schedule's policy says, whichever manager dies at whichever step, and though
//! two managers may believe for a while that they hold the schedule. A creation can be repeated, as its name is derived from the due
//! time; a decision cannot, as it depends on which tasks run. So a decision is written down before anything is done about
//! it, conditional on the revision that it was made from:
//!
//! | step | write | a crash behind it leaves |
//! |---|---|---|
//! | decide | the state with `creating` and the next due time, if the revision is as read | decided creations, which the next manager makes |
//! | create | tasks, each under the name of its due time | tasks that are found again under their names |
//! | settle | the state without `creating`, with the tasks and the history | nothing |
//!
//! A manager that is too late at either conditional write reads the row again. No token is needed: no write depends on who holds
//! the schedule.

use std::time::Duration;

use super::state::first_due;
use super::{Calendar, Cause, Creation, Outcome, OutcomeKind, Overlap, ScheduleRow, ScheduleState};
use crate::error::InvalidInput;
use crate::ids::TaskId;

/// The most creations that one step decides.
pub const MAX_CREATED: usize = 100;
/// The period of looks at a task that a due time or a backfill waits for.
pub const RECHECK: Duration = Duration::from_secs(1);

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The state to be kept; its `creating` are to be created then.
    pub state: ScheduleState,
    /// The tasks to be cancelled.
    pub cancel: Vec<TaskId>,
    /// The time at which the schedule wants attention next.
    pub next_at: Option<u64>,
}

/// A schedule with its due times, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The row.
    pub row: &'a ScheduleRow,
    /// Its due times.
    pub calendar: &'a Calendar,
    /// The time, in milliseconds since the Unix epoch.
    pub now: u64,
}

/// Decides about the due times that have come. `has_ended` says of a task whether it has. While there are creations that were decided
/// earlier and not settled, nothing else is decided.
pub fn step(plan: Plan<'_>, has_ended: impl Fn(TaskId) -> bool) -> Step {
    let mut state = plan.row.state.clone();
    let mut cancel = Vec::new();
    if state.creating.is_empty() {
        state.running.retain(|task| !has_ended(*task));
        if let Some(backfill) = &mut state.backfill {
            backfill.running.retain(|task| !has_ended(*task));
        }
        plan.start_queued(&mut state);
        plan.take_due(&mut state, &mut cancel);
        plan.fill_back(&mut state);
    }
    let next_at = plan.next_at(&state);
    Step { state, cancel, next_at }
}

impl Plan<'_> {
    fn start_queued(&self, state: &mut ScheduleState) {
        if state.running.is_empty()
            && let Some(due) = state.queued.take()
        {
            state.creating.push(self.creation(due, Cause::Due));
        }
    }

    fn take_due(&self, state: &mut ScheduleState, cancel: &mut Vec<TaskId>) {
        if state.paused {
            return;
        }
        self.skip_missed(state);
        while let Some(due) = state.next_due.filter(|due| self.fire_at(*due) <= self.now) {
            if state.creating.len() >= MAX_CREATED {
                break;
            }
            if self.fire_at(due).saturating_add(millis(self.row.spec.catch_up)) < self.now {
                self.note(state, due, OutcomeKind::Missed, "longer ago than the catch-up window");
            } else {
                self.take(state, cancel, due);
            }
            state.next_due = self.due_after(due);
        }
    }

    /// Passes over the due times that are certainly missed, however many there are.
    fn skip_missed(&self, state: &mut ScheduleState) {
        let spec = &self.row.spec;
        let since = self.now.saturating_sub(millis(spec.catch_up)).saturating_sub(millis(spec.jitter));
        if let Some(due) = state.next_due.filter(|due| *due < since) {
            self.note(state, due, OutcomeKind::Missed, "longer ago than the catch-up window");
            state.next_due = self.due_after(since.saturating_sub(1));
        }
    }

    fn take(&self, state: &mut ScheduleState, cancel: &mut Vec<TaskId>, due: u64) {
        let is_busy = !state.running.is_empty() || !state.creating.is_empty();
        match self.row.spec.overlap {
            Overlap::Allow => state.creating.push(self.creation(due, Cause::Due)),
            _ if !is_busy => state.creating.push(self.creation(due, Cause::Due)),
            Overlap::Skip => self.note(state, due, OutcomeKind::Skipped, "the task before it had not ended"),
            Overlap::QueueOne if state.queued.is_some() => {
                self.note(state, due, OutcomeKind::Skipped, "another due time waits already");
            }
            Overlap::QueueOne => state.queued = Some(due),
            Overlap::CancelOther => {
                let replaced = "a later due time came before it could start";
                // What is decided in this very step is not created only to be cancelled.
                for creation in std::mem::take(&mut state.creating) {
                    self.note(state, creation.due, OutcomeKind::Skipped, replaced);
                }
                if let Some(earlier) = state.queued.take() {
                    self.note(state, earlier, OutcomeKind::Skipped, replaced);
                }
                cancel.clone_from(&state.running);
                match state.running.is_empty() {
                    true => state.creating.push(self.creation(due, Cause::Due)),
                    false => state.queued = Some(due),
                }
            }
        }
    }

    fn fill_back(&self, state: &mut ScheduleState) {
        let Some(mut backfill) = state.backfill.take() else { return };
        while let Some(due) = backfill.next {
            let under_way =
                state.creating.iter().filter(|creation| creation.cause == Cause::Backfill).count();
            let running = backfill.running.len() + under_way;
            if running >= backfill.concurrency as usize || state.creating.len() >= MAX_CREATED {
                break;
            }
            state.creating.push(self.creation(due, Cause::Backfill));
            backfill.next = self.calendar.next(due, self.row.anchor()).filter(|next| *next <= backfill.until);
        }
        let is_over = backfill.next.is_none() && backfill.running.is_empty();
        let creates = state.creating.iter().any(|creation| creation.cause == Cause::Backfill);
        state.backfill = Some(backfill).filter(|_| !is_over || creates);
    }

    /// Returns the state behind the creations that were decided, and the time at which the schedule wants attention next. `made`
    /// has the task or the refusal of each creation.
    pub fn settle(&self, made: &[(Creation, Result<TaskId, String>)]) -> (ScheduleState, Option<u64>) {
        let mut state = self.row.state.clone();
        for (creation, task) in made {
            let was_decided = state.creating.iter().any(|decided| decided == creation);
            state.creating.retain(|decided| decided != creation);
            if !was_decided {
                continue;
            }
            let kind = if task.is_ok() { OutcomeKind::Created } else { OutcomeKind::Refused };
            let (task, reason) = match task {
                Ok(task) => (Some(*task), String::new()),
                Err(reason) => (None, reason.clone()),
            };
            let (due, cause) = (creation.due, creation.cause);
            state.note(Outcome { due, at: self.now, kind, cause, task, reason });
            match (cause, &mut state.backfill) {
                (Cause::Backfill, Some(backfill)) => backfill.running.extend(task),
                (Cause::Backfill, None) => {}
                _ if self.row.spec.overlap == Overlap::Allow => {}
                _ => state.running.extend(task),
            }
        }
        let next_at = self.next_at(&state);
        (state, next_at)
    }

    /// Returns the state of a schedule that goes on after a pause: what came due meanwhile stays without effect.
    pub fn resumed(&self) -> ScheduleState {
        let state = &self.row.state;
        let after = self.row.spec.start_at.map_or(self.now, |start| self.now.max(start.saturating_sub(1)));
        match state.paused {
            false => state.clone(),
            true => ScheduleState { paused: false, next_due: self.due_after(after), ..state.clone() },
        }
    }

    /// Returns the next due times, at most so many.
    pub fn upcoming(&self, most: usize) -> Vec<u64> {
        let first = if self.row.state.paused { None } else { self.row.state.next_due };
        std::iter::successors(first, |due| self.due_after(*due)).take(most).collect()
    }

    /// Returns the first due time of a period.
    ///
    /// # Errors
    /// The period has none.
    pub fn first_of(&self, from: u64, until: u64) -> Result<u64, InvalidInput> {
        let first = self.calendar.next(from.saturating_sub(1), self.row.anchor());
        first.filter(|due| *due <= until).ok_or_else(|| {
            InvalidInput::Schedule(format!(
                "schedule {:?} has no due time in the period; give a longer one",
                self.row.spec.name
            ))
        })
    }

    /// Returns the time at which a schedule in this state wants attention next.
    pub fn next_at(&self, state: &ScheduleState) -> Option<u64> {
        if !state.creating.is_empty() {
            return Some(self.now);
        }
        let fires = state.next_due.filter(|_| !state.paused).map(|due| self.fire_at(due));
        let waits = state.queued.is_some() || state.backfill.is_some();
        let again = waits.then(|| self.now.saturating_add(millis(RECHECK)));
        fires.into_iter().chain(again).min()
    }

    /// The time at which a due time has effect: put off by the jitter, which depends on nothing but schedule and due time.
    fn fire_at(&self, due: u64) -> u64 {
        let jitter = millis(self.row.spec.jitter);
        let request = Creation::of(self.row.request, due, Cause::Due).request;
        // Bits of a hash, spread evenly.
        let offset = if jitter == 0 { 0 } else { request.as_u64_pair().1 % jitter };
        due.saturating_add(offset)
    }

    fn due_after(&self, due: u64) -> Option<u64> {
        first_due(&self.row.spec, self.calendar, due, self.row.anchor())
    }

    fn creation(&self, due: u64, cause: Cause) -> Creation {
        Creation::of(self.row.request, due, cause)
    }

    fn note(&self, state: &mut ScheduleState, due: u64, kind: OutcomeKind, reason: &str) {
        let (cause, task, reason) = (Cause::Due, None, reason.to_owned());
        state.note(Outcome { due, at: self.now, kind, cause, task, reason });
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
