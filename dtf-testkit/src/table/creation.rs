//! An inserted task is there, once, as it was.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::hook::Hook;
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::limits::Limits;
use dtf_model::param::{
    Creator, MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, MAX_TYPE_PARAM_BYTES, Priority, TaskParam,
};
use dtf_model::plugin::TaskResult;
use dtf_model::status::{Control, Counts, TaskStatus};
use dtf_model::table::{MAX_REASON_CHARS, MAX_TASK_RESULT_BYTES, TaskFilter, TaskTable};
use futures::future::join_all;

use super::{CREATED, Desk, ends, must, new_task, unique};

fn full_param() -> TaskParam {
    TaskParam {
        name: "nightly".into(),
        description: "all of it".into(),
        creator: Creator { uid: 77, name: "ada".into() },
        group: "batch".into(),
        priority: Priority::HIGH,
        timeout: Duration::from_millis(90_001),
        start_at: Some(CREATED + 5),
        limits: Limits { running: Some(3), rate: Some(u32::MAX) },
        retry_of: Some(TaskId(5)),
        type_version: 9,
        hooks: vec![Hook::url("https://a.example/ü"), Hook::callback("c")],
        type_param: serde_json::json!({"count": 3, "deep": [null, true, "x", {"y": 0.5}]}),
    }
}

/// A row has what its creation said, and nothing else has happened to it.
pub async fn an_inserted_task_is_read_back(table: &Arc<dyn TaskTable>) {
    let task = new_task(full_param());
    Desk(table).group(&task.param.group).await;
    let id = must(table.insert(&task).await);
    let row = Desk(table).row(id).await;
    assert_eq!(row.id, id);
    assert_eq!(row.task_type, task.task_type);
    assert_eq!(row.param, task.param);
    assert_eq!((row.status, row.control, row.run), (TaskStatus::Created, Control::Run, RunEpoch(0)));
    assert_eq!((row.created_at, row.started_at, row.finished_at), (CREATED, None, None));
    assert_eq!((row.paused_at, row.paused_for, row.cancelled_at), (None, 0, None));
    assert_eq!((row.counts, row.reason.as_str(), row.result), (Counts::default(), "", None));
}

/// Texts of full width come back unchanged, whatever characters they have.
pub async fn texts_are_kept_exactly(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let wide = TaskParam {
        name: "𝄞".repeat(MAX_NAME_CHARS),
        description: "ß".repeat(MAX_DESCRIPTION_CHARS),
        creator: Creator { uid: 1 << 62, name: "漢".repeat(MAX_NAME_CHARS) },
        group: "é".repeat(MAX_NAME_CHARS),
        type_param: serde_json::Value::String("x".repeat(MAX_TYPE_PARAM_BYTES - 2)),
        ..TaskParam::default()
    };
    let id = desk.insert(wide.clone()).await;
    assert_eq!(desk.row(id).await.param, wide);
    for odd in [" ends with spaces  ", "a'b\"c\\d%_", "line\r\nline\ttab", "e\u{301}", "🦀 ?1 :x $y"] {
        let param = TaskParam {
            name: odd.into(),
            description: odd.into(),
            creator: Creator { uid: 0, name: odd.into() },
            type_param: serde_json::json!({ odd: odd }),
            ..TaskParam::default()
        };
        let id = desk.insert(param.clone()).await;
        assert_eq!(desk.row(id).await.param, param);
        assert!(desk.wish(id, Control::Cancel, odd, CREATED).await);
        assert_eq!(desk.row(id).await.reason, odd);
    }
}

/// The same request, again or at the same time, finds the task that it made.
pub async fn one_request_makes_one_task(table: &Arc<dyn TaskTable>) {
    let name = unique();
    let task = new_task(TaskParam { name: name.clone(), ..TaskParam::default() });
    let together = join_all((0..8).map(|_| table.insert(&task))).await;
    let first = must(table.insert(&task).await);
    assert!(together.into_iter().all(|id| must(id) == first));
    let mut later = task.clone();
    later.param.description = "changed".into();
    later.now += 1000;
    assert_eq!(must(table.insert(&later).await), first);
    let filter = TaskFilter { name: Some(name), ..TaskFilter::default() };
    assert_eq!(must(table.list(&filter, None, 10).await).len(), 1);
    assert_eq!(Desk(table).row(first).await.param, task.param);
    // Nor does it make another one after its end.
    assert!(Desk(table).finish(first, &ends(0, TaskStatus::Cancelled, CREATED)).await);
    assert_eq!(must(table.insert(&task).await), first);
}

/// Every new task has an id above those before it.
pub async fn ids_grow(table: &Arc<dyn TaskTable>) {
    let mut last = TaskId(0);
    for _ in 0..5 {
        let id = Desk(table).plain().await;
        assert!(id > last, "{id} came after {last}");
        last = id;
    }
}

/// A text that is too long is refused by name, and nothing is written; a reason is cut.
pub async fn what_does_not_fit_is_refused(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let creator = unique();
    let wrong = TaskParam {
        name: "x".repeat(MAX_NAME_CHARS + 1),
        creator: Creator { uid: 0, name: creator.clone() },
        ..TaskParam::default()
    };
    let refused = table.insert(&new_task(wrong)).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(InvalidInput::TooLong { .. }))), "{refused:?}");
    let filter = TaskFilter { creator: Some(creator), ..TaskFilter::default() };
    assert!(must(table.list(&filter, None, 1).await).is_empty());

    let id = desk.running().await;
    let mut large = ends(1, TaskStatus::Completed, CREATED + 20);
    let text = serde_json::Value::String("x".repeat(MAX_TASK_RESULT_BYTES));
    large.result = Some(TaskResult { data: text, ..TaskResult::default() });
    let refused = table.finish(id, &large).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(InvalidInput::OutOfRange { .. }))), "{refused:?}");
    assert_eq!(desk.row(id).await.status, TaskStatus::Running);

    assert!(desk.wish(id, Control::Cancel, &"ü".repeat(MAX_REASON_CHARS + 1), CREATED + 20).await);
    assert_eq!(desk.row(id).await.reason, "ü".repeat(MAX_REASON_CHARS));
    let mut wordy = ends(1, TaskStatus::Cancelled, CREATED + 30);
    wordy.reason = "𝄞".repeat(MAX_REASON_CHARS + 1);
    assert!(desk.finish(id, &wordy).await);
    assert_eq!(desk.row(id).await.reason, "𝄞".repeat(MAX_REASON_CHARS));
}

/// And nothing is written; once the group is there, the same creation makes the task.
pub async fn a_task_of_an_unknown_group_is_refused(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let group = unique();
    desk.group(&group).await;
    for unknown in [format!("{group}2"), format!("{group} "), group.to_uppercase() + "X"] {
        let param = TaskParam { group: unknown.clone(), ..TaskParam::default() };
        let task = new_task(param);
        let refused = table.insert(&task).await;
        assert!(
            matches!(&refused, Err(StoreError::InvalidInput(InvalidInput::UnknownGroup(said))) if *said == unknown),
            "{refused:?}"
        );
        let filter = TaskFilter { group: Some(unknown.clone()), ..TaskFilter::default() };
        assert!(must(table.list(&filter, None, 1).await).is_empty());
    }
    let task = new_task(TaskParam { group: format!("{group}3"), ..TaskParam::default() });
    assert!(table.insert(&task).await.is_err());
    desk.group(&task.param.group).await;
    let id = must(table.insert(&task).await);
    assert_eq!(must(table.insert(&task).await), id);
}

/// An id that was never given out has no row, and no change applies to it.
pub async fn a_task_that_is_not_there_is_none(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    for id in [TaskId(0), TaskId((1 << 52) + 1), TaskId(u64::MAX)] {
        assert_eq!(must(table.get(id).await), None);
        assert!(!desk.begin(id, 0, CREATED).await);
        assert!(!desk.wish(id, Control::Cancel, "", CREATED).await);
        assert!(!desk.finish(id, &ends(0, TaskStatus::Cancelled, CREATED)).await);
        must(table.purged(id).await);
    }
}
