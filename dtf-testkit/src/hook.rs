//! The conformance suite of [`HookTable`](dtf_model::hook::HookTable): one function per obligation of the trait, and [`run_all`].

use std::sync::Arc;

use dtf_model::flow::{Condition, NewFlow, NewMember, On, OnTask};
use dtf_model::hook::{Hook, HookRecord, HookState, HookUpdate, MAX_HOOKS, again, waiting};
use dtf_model::table::{Finish, HistoryOf, Keep, NewTask, TaskRow, TaskTable};
use dtf_model::{Counts, ResourceGroup, RunEpoch, StoreError, TaskId, TaskParam, TaskStatus, TaskTypeId};
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn TaskTable>) {
    the_end_of_a_task_makes_its_hooks_due(&table).await;
    tasks_that_end_together_have_their_hooks_due(&table).await;
    a_task_that_is_skipped_has_its_hooks_due(&table).await;
    of_two_updates_one_applies(&table).await;
    a_task_is_kept_until_its_hooks_are_settled(&table).await;
    hooks_that_cannot_be_are_refused(&table).await;
}

const NOW: u64 = 1_800_000_000_000;
const LONG_AFTER: u64 = NOW + 1_000_000_000;

fn hooks() -> Vec<Hook> {
    vec![Hook::url("https://a.example/ü?x=1").when(Condition::Failed), Hook::callback("bill")]
}

fn param(hooks: Vec<Hook>) -> TaskParam {
    TaskParam { hooks, ..TaskParam::default() }
}

fn task(param: TaskParam) -> NewTask {
    NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(7), param, now: NOW }
}

async fn insert(table: &Arc<dyn TaskTable>, hooks: Vec<Hook>) -> TaskId {
    must(table.insert(&task(param(hooks))).await)
}

async fn row(table: &Arc<dyn TaskTable>, id: TaskId) -> TaskRow {
    match must(table.get(id).await) {
        Some(row) => row,
        None => panic!("task {id} is gone"),
    }
}

fn finish(run: u32, status: TaskStatus, now: u64) -> Finish {
    let (counts, reason) = (Counts::default(), String::new());
    Finish { run: RunEpoch(run), status, counts, reason, result: None, now }
}

async fn end(table: &Arc<dyn TaskTable>, id: TaskId, now: u64) {
    assert!(must(table.finish(id, &finish(0, TaskStatus::Cancelled, now)).await));
}

async fn due(table: &Arc<dyn TaskTable>, by: u64) -> Vec<TaskId> {
    must(table.due_hooks(by, 10_000).await).into_iter().map(|row| row.id).collect()
}

async fn settle(table: &Arc<dyn TaskTable>, id: TaskId) {
    let row = row(table, id).await;
    let records: Vec<_> =
        row.hooks.into_iter().map(|record| HookRecord { state: HookState::Delivered, ..record }).collect();
    let update = HookUpdate { task: id, read_at: row.hook_at, records, hook_at: None };
    assert!(must(table.update_hooks(&update).await));
}

/// At its own time, and those of one without hooks never are; before that, nothing is due and nothing can be written.
pub async fn the_end_of_a_task_makes_its_hooks_due(table: &Arc<dyn TaskTable>) {
    let (with, without) = (insert(table, hooks()).await, insert(table, Vec::new()).await);
    let before = row(table, with).await;
    assert_eq!((before.param.hooks, before.hook_at), (hooks(), None));
    assert_eq!(before.hooks, waiting(&hooks()));
    let update = HookUpdate { task: with, read_at: None, records: waiting(&hooks()), hook_at: Some(1) };
    assert!(!must(table.update_hooks(&update).await), "it has not ended");
    end(table, with, NOW + 5).await;
    end(table, without, NOW + 6).await;
    assert_eq!(row(table, with).await.hook_at, Some(NOW + 5));
    assert!(!due(table, NOW + 4).await.contains(&with));
    assert!(due(table, NOW + 5).await.contains(&with));
    assert!(!due(table, LONG_AFTER).await.contains(&without));
    let next = must(table.next_hook_at().await);
    assert!(next.is_some_and(|next| next <= NOW + 5), "{next:?}");
    settle(table, with).await;
    assert!(!due(table, LONG_AFTER).await.contains(&with));
}

/// Many ends may share a statement.
pub async fn tasks_that_end_together_have_their_hooks_due(table: &Arc<dyn TaskTable>) {
    let mut tasks = Vec::new();
    for place in 0..12 {
        let id = insert(table, if place % 3 == 0 { Vec::new() } else { hooks() }).await;
        assert!(must(table.begin_run(id, RunEpoch(0), NOW).await));
        tasks.push(id);
    }
    let ends = finish(1, TaskStatus::Completed, NOW + 7);
    let ended = futures::future::join_all(tasks.iter().map(|id| table.finish(*id, &ends))).await;
    assert!(ended.into_iter().all(must));
    let due = due(table, NOW + 7).await;
    for (place, id) in tasks.iter().enumerate() {
        assert_eq!(due.contains(id), place % 3 != 0);
        if place % 3 != 0 {
            settle(table, *id).await;
        }
    }
}

/// It ends without a run.
pub async fn a_task_that_is_skipped_has_its_hooks_due(table: &Arc<dyn TaskTable>) {
    let member = |name: &str, hooks, after| NewMember {
        name: name.to_owned(),
        task_type: TaskTypeId(7),
        param: param(hooks),
        after,
    };
    let after = vec![OnTask { on: On::Member(0), condition: Condition::Completed, label: "a".to_owned() }];
    let flow = NewFlow {
        request: Uuid::new_v4(),
        name: Some("f".to_owned()),
        retry_of: None,
        members: vec![member("a", Vec::new(), Vec::new()), member("b", hooks(), after)],
        now: NOW,
    };
    let ids = must(table.create_flow(&flow).await);
    assert_eq!(row(table, ids[1]).await.param.hooks, hooks());
    must(table.end_waiting(&[ids[1]], TaskStatus::Skipped, "skipped", NOW + 3).await);
    assert_eq!(row(table, ids[1]).await.hook_at, Some(NOW + 3));
    settle(table, ids[1]).await;
    end(table, ids[0], NOW).await;
}

/// Also where nothing was to be done, as users may ask for a delivery again.
pub async fn of_two_updates_one_applies(table: &Arc<dyn TaskTable>) {
    let id = insert(table, hooks()).await;
    end(table, id, NOW).await;
    let records = row(table, id).await.hooks;
    let update = |read_at, hook_at| HookUpdate { task: id, read_at, records: records.clone(), hook_at };
    assert!(must(table.update_hooks(&update(Some(NOW), Some(NOW + 60_000))).await));
    assert!(!must(table.update_hooks(&update(Some(NOW), Some(NOW + 70_000))).await));
    assert_eq!(row(table, id).await.hook_at, Some(NOW + 60_000));
    assert!(!due(table, NOW + 59_999).await.contains(&id));
    settle(table, id).await;
    let Some(asked) = again(&row(table, id).await.hooks, 1, NOW) else { panic!("it is settled") };
    let update = |hook_at| HookUpdate { task: id, read_at: None, records: asked.clone(), hook_at };
    assert!(must(table.update_hooks(&update(Some(NOW + 1))).await));
    assert!(!must(table.update_hooks(&update(Some(NOW + 2))).await));
    assert_eq!(row(table, id).await.hooks, asked);
    settle(table, id).await;
}

/// However old it is.
pub async fn a_task_is_kept_until_its_hooks_are_settled(table: &Arc<dyn TaskTable>) {
    let group = format!("hooks-{}", Uuid::new_v4());
    must(table.set_group(&ResourceGroup::named(&group)).await);
    let id = must(table.insert(&task(TaskParam { group: group.clone(), ..param(hooks()) })).await);
    end(table, id, NOW).await;
    must(table.purged(id).await);
    let of = HistoryOf { group, task_type: TaskTypeId(7) };
    let keep = Keep { ended_since: Some(LONG_AFTER), newest: None };
    assert_eq!(must(table.forget(&of, keep, 10).await), 0);
    settle(table, id).await;
    assert_eq!(must(table.forget(&of, keep, 10).await), 1);
}

/// And nothing is written.
pub async fn hooks_that_cannot_be_are_refused(table: &Arc<dyn TaskTable>) {
    for wrong in [
        vec![Hook::url("ftp://a.example")],
        vec![Hook::callback("")],
        vec![Hook::callback("a"); MAX_HOOKS + 1],
    ] {
        let refused = table.insert(&task(param(wrong))).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    }
}
