//! The conformance suite of [`BulkTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the actions that it looks at, so that it works on a table that has
//! others, as long as nobody works on them.

use std::sync::Arc;

use dtf_model::bulk::{
    BulkCaller, BulkRefusal, BulkSpec, BulkState, BulkTable, BulkUpdate, MAX_BULK_REFUSALS, MAX_BULK_TASKS,
    NewBulk,
};
use dtf_model::error::StoreError;
use uuid::Uuid;

use super::must;

/// The time of the suite.
const NOW: u64 = 1_800_000_000_000;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn BulkTable>) {
    an_action_is_read_back_and_added_once(&table).await;
    an_update_applies_once(&table).await;
    what_nobody_works_on_is_due(&table).await;
    old_actions_are_deleted_and_no_others(&table).await;
    too_many_tasks_are_refused(&table).await;
}

fn action(now: u64, tasks: Vec<u64>) -> NewBulk {
    let caller = BulkCaller { name: "漢 𝄞 \"".into(), address: "::1".into(), groups: vec!["a b".into()] };
    let filter = serde_json::json!({"name_prefix": "é "});
    let spec = BulkSpec { caller, action: "cancel".into(), filter, selected: tasks.len() as u64 };
    NewBulk { id: Uuid::new_v4(), spec, tasks, now }
}

async fn end(table: &Arc<dyn BulkTable>, id: Uuid) {
    let row = must(table.bulk(id).await).expect("it was added");
    let update = BulkUpdate { id, revision: row.revision, state: row.state, until: None };
    assert!(must(table.update_bulk(&update).await));
}

/// An action is read back at full size; added again, it stays as it is.
pub async fn an_action_is_read_back_and_added_once(table: &Arc<dyn BulkTable>) {
    let new = action(NOW, (0..MAX_BULK_TASKS as u64).map(|n| u64::from(u32::MAX) - n).collect());
    must(table.add_bulk(&new).await);
    must(table.add_bulk(&NewBulk { tasks: vec![1], now: NOW + 1, ..new.clone() }).await);
    let row = must(table.bulk(new.id).await).expect("it was added");
    assert_eq!((row.spec, row.created_at, row.revision), (new.spec, NOW, 0));
    assert_eq!(row.state, BulkState::default());
    assert_eq!(must(table.tasks_of_bulk(new.id).await), new.tasks);
    assert_eq!(must(table.bulk(Uuid::new_v4()).await), None);
    assert!(must(table.tasks_of_bulk(Uuid::new_v4()).await).is_empty());
    end(table, new.id).await;
}

/// An update applies where its revision is the stored one.
pub async fn an_update_applies_once(table: &Arc<dyn BulkTable>) {
    let new = action(NOW, vec![3, 2, 1]);
    must(table.add_bulk(&new).await);
    let refusal = |task| BulkRefusal { task, detail: "it has ended".into() };
    let state = BulkState {
        done: 3,
        applied: 1,
        refused: 2,
        refusals: (0..MAX_BULK_REFUSALS as u64).map(refusal).collect(),
        finished_at: Some(NOW + 5),
    };
    let update = BulkUpdate { id: new.id, revision: 0, state: state.clone(), until: Some(NOW + 9) };
    assert!(must(table.update_bulk(&update).await));
    assert!(!must(table.update_bulk(&update).await), "the revision is another one");
    let row = must(table.bulk(new.id).await).expect("it was added");
    assert_eq!((row.revision, row.state), (1, state));
    let unknown = BulkUpdate { id: Uuid::new_v4(), ..update };
    assert!(!must(table.update_bulk(&unknown).await));
    end(table, new.id).await;
}

/// What was added, or left by the process that worked on it, is due; what has ended is not.
pub async fn what_nobody_works_on_is_due(table: &Arc<dyn BulkTable>) {
    let (one, two) = (action(NOW, vec![1]), action(NOW + 1, vec![1]));
    for new in [&two, &one] {
        must(table.add_bulk(new).await);
    }
    let due = async |now, most| {
        let rows = must(table.due_bulks(now, most).await);
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert!(due(NOW - 1, 10).await.is_empty());
    assert_eq!(due(NOW, 10).await, [one.id]);
    assert_eq!(due(NOW + 1, 10).await, [one.id, two.id]);
    assert_eq!(due(NOW + 1, 1).await, [one.id]);
    let state = BulkState { done: 1, ..BulkState::default() };
    let claim = BulkUpdate { id: one.id, revision: 0, state, until: Some(NOW + 30) };
    assert!(must(table.update_bulk(&claim).await));
    assert_eq!(due(NOW + 29, 10).await, [two.id]);
    assert_eq!(due(NOW + 30, 10).await, [two.id, one.id]);
    end(table, one.id).await;
    end(table, two.id).await;
    assert!(due(u64::MAX, 10).await.is_empty());
}

/// Actions that were created before a time are deleted, in batches.
pub async fn old_actions_are_deleted_and_no_others(table: &Arc<dyn BulkTable>) {
    let all: Vec<_> = (0..5).map(|n| action(1000 + n, vec![1])).collect();
    for new in &all {
        must(table.add_bulk(new).await);
    }
    while must(table.forget_bulks(1003, 2).await) {}
    for (new, is_there) in all.iter().zip([false, false, false, true, true]) {
        assert_eq!(must(table.bulk(new.id).await).is_some(), is_there, "{}", new.now);
    }
    while must(table.forget_bulks(2000, 2).await) {}
}

/// An action on too many tasks is refused, and nothing is written.
pub async fn too_many_tasks_are_refused(table: &Arc<dyn BulkTable>) {
    let new = action(NOW, vec![1; MAX_BULK_TASKS + 1]);
    let refused = table.add_bulk(&new).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    assert_eq!(must(table.bulk(new.id).await), None);
}
