//! The tasks that go when their history is deleted.

use std::sync::Arc;

use bytes::Bytes;
use dtf_model::failure::{Failure, FailureKey};
use dtf_model::ids::{EmitEpoch, RunEpoch, Seq, TaskId, TaskTypeId};
use dtf_model::param::TaskParam;
use dtf_model::status::TaskStatus;
use dtf_model::table::{Finish, HistoryOf, Keep, TaskTable};

use super::{CREATED, Desk, ends, must, new_task, unique};

const KIND: TaskTypeId = TaskTypeId(7);

/// A history of its own.
fn own() -> HistoryOf {
    HistoryOf { group: unique(), task_type: KIND }
}

impl Desk<'_> {
    /// A task that ended at this time, and whose queues are gone.
    async fn history(&self, of: &HistoryOf, ended: u64) -> TaskId {
        let id = self.insert(TaskParam { group: of.group.clone(), ..TaskParam::default() }).await;
        self.end(id, ended).await;
        must(self.0.purged(id).await);
        id
    }

    async fn end(&self, id: TaskId, now: u64) {
        let end = Finish { run: RunEpoch(0), ..ends(0, TaskStatus::Cancelled, now) };
        assert!(self.finish(id, &end).await);
    }

    async fn are_there(&self, ids: &[TaskId]) -> Vec<bool> {
        let mut there = Vec::new();
        for id in ids {
            there.push(must(self.0.get(*id).await).is_some());
        }
        there
    }
}

/// Tasks that ended before the time go, the first ones first, as many as are asked for, and nothing of others.
pub async fn history_goes_by_age(table: &Arc<dyn TaskTable>) {
    let (desk, of, others) = (Desk(table), own(), own());
    let kept = desk.history(&others, CREATED + 1).await;
    let mut ids = Vec::new();
    for age in [3, 1, 2, 4] {
        ids.push(desk.history(&of, CREATED + age).await);
    }
    let keep = Keep { ended_since: Some(CREATED + 4), newest: None };
    assert_eq!(must(table.forget(&of, keep, 2).await), 2);
    assert_eq!(desk.are_there(&ids).await, [true, false, false, true]);
    assert_eq!(must(table.forget(&of, keep, 2).await), 1);
    assert_eq!(must(table.forget(&of, keep, 2).await), 0);
    assert_eq!(desk.are_there(&ids).await, [false, false, false, true]);
    assert_eq!(must(table.forget(&HistoryOf { task_type: TaskTypeId(8), ..others }, keep, 2).await), 0);
    assert_eq!(must(table.forget(&of, Keep::default(), 2).await), 0);
    assert_eq!(desk.are_there(&[kept]).await, [true]);
}

/// The newest stay, as many as are asked for; both conditions count.
pub async fn history_goes_by_number(table: &Arc<dyn TaskTable>) {
    let (desk, of) = (Desk(table), own());
    let mut ids = Vec::new();
    for age in 1..=5 {
        ids.push(desk.history(&of, CREATED + age).await);
    }
    let forget = async |ended_since: Option<u64>, newest| {
        must(table.forget(&of, Keep { ended_since, newest }, 10).await)
    };
    assert_eq!(forget(None, Some(9)).await, 0);
    assert_eq!(forget(Some(CREATED + 2), Some(9)).await, 1);
    assert_eq!(forget(Some(CREATED + 2), Some(3)).await, 1);
    assert_eq!(desk.are_there(&ids).await, [false, false, true, true, true]);
    assert_eq!(forget(None, Some(1)).await, 2);
    assert_eq!(desk.are_there(&ids).await, [false, false, false, false, true]);
}

/// Tasks that have not ended, that are not purged or that are run again stay; failures go with their task.
pub async fn only_history_is_forgotten(table: &Arc<dyn TaskTable>) {
    let (desk, of) = (Desk(table), own());
    let param = || TaskParam { group: of.group.clone(), ..TaskParam::default() };
    let open = desk.insert(param()).await;
    let unpurged = desk.insert(param()).await;
    desk.end(unpurged, CREATED + 1).await;
    let run_again = desk.history(&of, CREATED + 1).await;
    let retry = desk.insert(TaskParam { retry_of: Some(run_again), ..param() }).await;
    let key = FailureKey { epoch: EmitEpoch(1), seq: Seq(2) };
    let failure = Failure::new(key, false, "broken", Bytes::from_static(b"body"));
    for id in [run_again, unpurged] {
        must(table.keep_failures(id, RunEpoch(0), std::slice::from_ref(&failure)).await);
    }
    let keep = Keep { ended_since: Some(u64::MAX), newest: None };
    assert_eq!(must(table.forget(&of, keep, 10).await), 0);
    desk.end(retry, CREATED + 2).await;
    assert_eq!(must(table.forget(&of, keep, 10).await), 1);
    assert_eq!(desk.are_there(&[open, unpurged, run_again, retry]).await, [true, true, false, true]);
    assert_eq!(must(table.count_failures(run_again, RunEpoch(0)).await), 0);
    assert_eq!(must(table.count_failures(unpurged, RunEpoch(0)).await), 1);
    // Ids are not given out again, and a creation that is forgotten can be made anew.
    let later = must(table.insert(&new_task(param())).await);
    assert!(later > retry);
}

/// Each group and type of which there are tasks comes once, in order.
pub async fn histories_are_listed(table: &Arc<dyn TaskTable>) {
    let (desk, of) = (Desk(table), own());
    for _ in 0..2 {
        desk.insert(TaskParam { group: of.group.clone(), ..TaskParam::default() }).await;
    }
    let mut other = new_task(TaskParam { group: of.group.clone(), ..TaskParam::default() });
    other.task_type = TaskTypeId(4_000_000_000);
    must(table.insert(&other).await);
    let (mut seen, mut after) = (Vec::new(), None);
    while let Some(next) = must(table.next_history(after.as_ref()).await) {
        assert!(after.as_ref().is_none_or(|after| next > *after), "{next:?} behind {after:?}");
        seen.extend((next.group == of.group).then_some(next.task_type));
        after = Some(next);
    }
    assert_eq!(seen, [KIND, other.task_type]);
}
