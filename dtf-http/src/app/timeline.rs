//! The course of a task's life, put together from its row and the audit.
//!
//! The row has the first start, the present pause, the wish for an end, and the end. Earlier pauses are in the audit, where they were
//! asked for over HTTP; those that a program asked for beside it are known by their sum only.

use dtf_api as api;
use dtf_api::{Moment, TimelineEntry};
use dtf_control::ClientError;
use dtf_model::TaskId;
use dtf_model::table::TaskRow;

use super::App;
use crate::convert;
use crate::problem::Failed;

/// The changes that are looked through.
const CHANGES: u32 = 200;
/// The distance within which an entry of the audit and a time of the row are of one change, in milliseconds.
const NEAR: u64 = 10_000;

impl App {
    /// Returns the course of a task's life, from its creation on.
    ///
    /// # Errors
    /// The task does not exist, or a store failed.
    pub async fn timeline(&self, id: u64) -> Result<Vec<TimelineEntry>, Failed> {
        let row = self.client.task_status(TaskId(id)).await?.row;
        if !self.caller.sees(&row.param.group) {
            return Err(ClientError::NoSuchTask(TaskId(id)).into());
        }
        let changes = self.changes_of(id, CHANGES).await?;
        let hooks = convert::row(self.registry(), row.clone()).hooks;
        Ok(timeline(&row, &hooks, &changes))
    }
}

/// Puts the course of a life together.
fn timeline(row: &TaskRow, hooks: &[api::HookDelivery], changes: &[api::AuditEntry]) -> Vec<TimelineEntry> {
    let asked = changes.iter().filter_map(asked).collect::<Vec<_>>();
    // A time of the row says nothing new where the audit has the change.
    let is_known =
        |what, at: u64| asked.iter().any(|entry| entry.what == what && entry.at.abs_diff(at) <= NEAR);
    let of_row = |what, at: Option<u64>, detail: String| {
        at.filter(|at| !is_known(what, *at)).map(|at| TimelineEntry { at, what, by: None, detail })
    };
    let started = match row.run.0 {
        0 | 1 => String::new(),
        run => format!("now in run {run}: its queues were lost, and it was run again"),
    };
    let ended = match row.reason.as_str() {
        "" => row.status.to_string(),
        reason => format!("{}: {reason}", row.status),
    };
    let mut entries: Vec<_> = [
        of_row(Moment::Created, Some(row.created_at), created(row)),
        of_row(Moment::Started, row.started_at, started),
        of_row(Moment::Paused, row.paused_at, String::new()),
        of_row(Moment::Cancelled, row.cancelled_at, String::new()),
        of_row(Moment::Ended, row.finished_at, ended),
    ]
    .into_iter()
    .flatten()
    .collect();
    entries.extend(hooks.iter().filter_map(told));
    entries.extend(asked);
    entries.sort_by_key(|entry| (entry.at, entry.what));
    entries
}

fn created(row: &TaskRow) -> String {
    let parts = [
        row.param.retry_of.map(|of| format!("runs the failed subtasks of task {of} again")),
        row.flow.as_ref().map(|member| format!("in flow {} as {}", member.flow, member.name)),
        row.param.start_at.map(|at| format!("to start at {} UTC or later", dtf_control::utc(at))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A change that was asked for over HTTP; none where it was refused.
fn asked(entry: &api::AuditEntry) -> Option<TimelineEntry> {
    let what = match entry.action.as_str() {
        "task.create" => Moment::Created,
        "task.pause" => Moment::Paused,
        "task.resume" => Moment::Resumed,
        "task.cancel" => Moment::Cancelled,
        "task.retry" => Moment::Retried,
        _ => return None,
    };
    let detail = match entry.outcome {
        api::AuditOutcome::Refused => return None,
        api::AuditOutcome::Done => entry.detail.clone(),
        api::AuditOutcome::Intended | api::AuditOutcome::Unknown => "the outcome is not known".to_owned(),
    };
    Some(TimelineEntry { at: entry.at, what, by: Some(entry.actor.clone()), detail })
}

fn told(delivery: &api::HookDelivery) -> Option<TimelineEntry> {
    let receiver = delivery.hook.url.as_ref().or(delivery.hook.callback.as_ref()).map_or("", String::as_str);
    let error = if delivery.error.is_empty() { String::new() } else { format!(": {}", delivery.error) };
    let detail = format!("{receiver}: {} after {} attempts{error}", delivery.state.name(), delivery.attempts);
    Some(TimelineEntry { at: delivery.at?, what: Moment::Told, by: None, detail })
}

#[cfg(test)]
mod tests {
    use dtf_model::table::NewTask;
    use dtf_model::{RunEpoch, TaskParam, TaskStatus, TaskTypeId};
    use uuid::Uuid;

    use super::*;

    const AT: u64 = 1_800_000_000_000;

    fn entry(action: &str, after: u64, outcome: api::AuditOutcome) -> api::AuditEntry {
        api::AuditEntry {
            id: Uuid::nil(),
            at: AT + after,
            actor: "ada".to_owned(),
            address: String::new(),
            action: action.to_owned(),
            target: "task 1".to_owned(),
            detail: String::new(),
            outcome,
            request: Uuid::nil(),
        }
    }

    #[test]
    fn a_life_is_told_in_its_order_and_nothing_twice() {
        let param = TaskParam::default();
        let task = NewTask { request: Uuid::nil(), task_type: TaskTypeId(1), param, now: AT };
        let row = TaskRow {
            status: TaskStatus::Cancelled,
            run: RunEpoch(2),
            started_at: Some(AT + 20_000),
            paused_at: Some(AT + 60_000),
            cancelled_at: Some(AT + 100_050),
            finished_at: Some(AT + 101_000),
            reason: "cancelled by a user".to_owned(),
            ..TaskRow::created(TaskId(1), &task)
        };
        let done = api::AuditOutcome::Done;
        let changes = [
            entry("task.retry", 130_000, done),
            entry("task.cancel", 100_000, done),
            entry("task.pause", 99_000, api::AuditOutcome::Refused),
            entry("task.resume", 40_000, api::AuditOutcome::Unknown),
            entry("task.pause", 30_000, done),
            entry("task.create", 5, done),
            entry("hook.deliver", 140_000, done),
        ];
        let told = timeline(&row, &[], &changes);
        let seen: Vec<_> =
            told.iter().map(|entry| (entry.at - AT, entry.what, entry.by.as_deref())).collect();
        let ada = Some("ada");
        assert_eq!(
            seen,
            [
                (5, Moment::Created, ada),
                (20_000, Moment::Started, None),
                (30_000, Moment::Paused, ada),
                (40_000, Moment::Resumed, ada),
                (60_000, Moment::Paused, None),
                (100_000, Moment::Cancelled, ada),
                (101_000, Moment::Ended, None),
                (130_000, Moment::Retried, ada),
            ]
        );
        assert!(told[1].detail.starts_with("now in run 2"), "{}", told[1].detail);
        assert_eq!(told[3].detail, "the outcome is not known");
        assert_eq!(told[6].detail, "cancelled: cancelled by a user");
    }
}
