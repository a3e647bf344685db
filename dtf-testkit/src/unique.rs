//! The conformance suite of [`UniqueTable`](dtf_model::unique::UniqueTable): one function per obligation of the trait, and [`run_all`].

use std::sync::Arc;
use std::time::Duration;

use dtf_model::table::{Finish, NewTask, TaskTable};
use dtf_model::unique::{MAX_KEY_CHARS, MAX_PERIOD, Unique, UniqueWhile};
use dtf_model::{Counts, RunEpoch, StoreError, TaskId, TaskParam, TaskStatus, TaskTypeId};
use futures::future::join_all;
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn TaskTable>) {
    of_many_at_once_one_is_made(&table).await;
    a_key_is_taken_until_the_task_begins(&table).await;
    a_key_is_taken_until_the_task_ends(&table).await;
    a_key_is_taken_for_a_period(&table).await;
    keys_are_compared_exactly(&table).await;
    a_key_that_cannot_be_is_refused(&table).await;
}

const NOW: u64 = 1_800_000_000_000;

fn unique(scope: UniqueWhile) -> Unique {
    Unique { key: Uuid::new_v4().to_string(), scope }
}

fn task(now: u64) -> NewTask {
    NewTask { request: Uuid::new_v4(), task_type: TaskTypeId(7), param: TaskParam::default(), now }
}

async fn insert(table: &Arc<dyn TaskTable>, now: u64, unique: &Unique) -> TaskId {
    must(table.insert_unique(&task(now), unique).await)
}

async fn end(table: &Arc<dyn TaskTable>, id: TaskId, run: u32) {
    let finish = Finish {
        run: RunEpoch(run),
        status: TaskStatus::Cancelled,
        counts: Counts::default(),
        reason: String::new(),
        result: None,
        now: NOW,
    };
    assert!(must(table.finish(id, &finish).await));
}

/// All return it, and the same request finds it whatever has become of the key.
pub async fn of_many_at_once_one_is_made(table: &Arc<dyn TaskTable>) {
    let unique = unique(UniqueWhile::Running);
    let tasks: Vec<_> = (0..12).map(|_| task(NOW)).collect();
    let ids = join_all(tasks.iter().map(|task| table.insert_unique(task, &unique))).await;
    let ids: Vec<_> = ids.into_iter().map(must).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let Some(row) = must(table.get(ids[0]).await) else { panic!("it is gone") };
    let Some(made) = tasks.iter().find(|task| task.request == row.request) else { panic!("whose is it?") };
    end(table, ids[0], 0).await;
    let next = insert(table, NOW, &unique).await;
    assert_ne!(next, ids[0]);
    assert_eq!(must(table.insert_unique(made, &unique).await), ids[0]);
}

/// Then another one may wait beside it.
pub async fn a_key_is_taken_until_the_task_begins(table: &Arc<dyn TaskTable>) {
    let unique = unique(UniqueWhile::Pending);
    let first = insert(table, NOW, &unique).await;
    assert_eq!(insert(table, NOW + 1, &unique).await, first);
    assert!(must(table.begin_run(first, RunEpoch(0), NOW).await));
    let second = insert(table, NOW + 2, &unique).await;
    assert_ne!(second, first);
    assert_eq!(insert(table, NOW + 3, &unique).await, second);
    end(table, second, 0).await;
    assert_ne!(
        insert(table, NOW + 4, &unique).await,
        second,
        "one that ended without a run has no key either"
    );
}

/// Then another one takes its place.
pub async fn a_key_is_taken_until_the_task_ends(table: &Arc<dyn TaskTable>) {
    let unique = unique(UniqueWhile::Running);
    let first = insert(table, NOW, &unique).await;
    assert!(must(table.begin_run(first, RunEpoch(0), NOW).await));
    assert_eq!(insert(table, NOW + 1, &unique).await, first);
    end(table, first, 1).await;
    assert_ne!(insert(table, NOW + 2, &unique).await, first);
}

/// Whether or not the task has ended.
pub async fn a_key_is_taken_for_a_period(table: &Arc<dyn TaskTable>) {
    let unique = unique(UniqueWhile::Period(Duration::from_secs(10)));
    let first = insert(table, NOW, &unique).await;
    end(table, first, 0).await;
    assert_eq!(insert(table, NOW + 9_999, &unique).await, first);
    let second = insert(table, NOW + 10_000, &unique).await;
    assert_ne!(second, first);
    assert_eq!(insert(table, NOW + 10_001, &unique).await, second);
}

/// Case counts, and so does all of Unicode.
pub async fn keys_are_compared_exactly(table: &Arc<dyn TaskTable>) {
    let key = format!("a{}", Uuid::new_v4());
    let of = |key: String| Unique { key, scope: UniqueWhile::Running };
    let first = insert(table, NOW, &of(key.clone())).await;
    for other in [key.to_uppercase(), format!("{key}é"), format!("{key}e\u{301}")] {
        assert_ne!(insert(table, NOW, &of(other)).await, first);
    }
    assert_eq!(insert(table, NOW, &of(key)).await, first);
}

/// And nothing is written.
pub async fn a_key_that_cannot_be_is_refused(table: &Arc<dyn TaskTable>) {
    let of = |key: &str, scope| Unique { key: key.to_owned(), scope };
    for wrong in [
        of("", UniqueWhile::Running),
        of("a ", UniqueWhile::Running),
        of(&"x".repeat(MAX_KEY_CHARS + 1), UniqueWhile::Pending),
        of("a", UniqueWhile::Period(Duration::ZERO)),
        of("a", UniqueWhile::Period(MAX_PERIOD * 2)),
    ] {
        let refused = table.insert_unique(&task(NOW), &wrong).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    }
}
