//! The tasks of lists, and their order.

use std::sync::Arc;

use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::ids::{TaskId, TaskTypeId};
use dtf_model::param::{Creator, MAX_NAME_CHARS, TaskParam};
use dtf_model::status::TaskStatus;
use dtf_model::table::{BucketMapping, BucketOf, MAX_LIST, TaskFilter, TaskHead, TaskTable};

use super::{CREATED, Desk, ends, head_ids, ids, must, new_task, unique};

/// A share of so many that the task has it to itself.
fn nearly_alone(id: TaskId) -> BucketOf {
    let of = 4_000_000_007;
    let mapping = BucketMapping::Hash;
    BucketOf { bucket: BucketOf::number(id, of, mapping), of, mapping }
}

/// Every task that has not ended is in its share and no other, by id, page by page.
pub async fn active_tasks_are_listed_by_share(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let mut open = Vec::new();
    for _ in 0..3 {
        for status in TaskStatus::ALL {
            let row = desk.with_status(status).await;
            if !status.is_terminal() {
                open.push(row.id);
            }
        }
    }
    for mapping in [BucketMapping::Hash, BucketMapping::Remainder] {
        shares_have_all(&desk, &open, mapping).await;
    }
    assert!(must(table.active(BucketOf::ALL, TaskId(0), 0).await).is_empty());
    assert!(must(table.active(BucketOf::ALL, TaskId(u64::MAX), 9).await).is_empty());
}

async fn shares_have_all(desk: &Desk<'_>, open: &[TaskId], mapping: BucketMapping) {
    let (table, mut seen) = (desk.0, Vec::new());
    for bucket in 0..3 {
        let share = BucketOf { bucket, of: 3, mapping };
        let mut after = TaskId(open[0].0 - 1);
        loop {
            let page = must(table.active(share, after, 2).await);
            assert!(page.len() <= 2);
            assert!(page.iter().all(|row| row.id > after && share.has(row.id)));
            assert!(page.is_sorted_by_key(|row| row.id));
            let Some(last) = page.last() else { break };
            after = last.id;
            for head in page.iter().filter(|head| open.contains(&head.id)) {
                assert_eq!(*head, TaskHead::from(&desk.row(head.id).await));
            }
            seen.extend(head_ids(&page));
        }
    }
    seen.retain(|id| open.contains(id));
    seen.sort();
    assert_eq!(seen, open);
}

/// Each condition leaves out what does not fit, to the letter; together they all hold.
pub async fn every_filter_filters(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let mark = unique();
    let text = |suffix: &str| format!("{mark}{suffix}");
    let param = |name: &str, creator: &str, group: &str| TaskParam {
        name: text(name),
        creator: Creator { uid: 1, name: text(creator) },
        group: text(group),
        ..TaskParam::default()
    };
    let first = desk.insert(param("n", "c", "g")).await;
    let second = desk.insert(param("N", "c ", "g")).await;
    let mut other_type = new_task(param("n", "C", "G"));
    other_type.task_type = TaskTypeId(4_000_000_000);
    desk.group(&other_type.param.group).await;
    let third = must(table.insert(&other_type).await);
    assert!(desk.begin(third, 0, CREATED + 1).await);

    let none = TaskFilter::default();
    let name = TaskFilter { name: Some(text("n")), ..none.clone() };
    let cases = [
        (name.clone(), vec![third, first]),
        (TaskFilter { creator: Some(text("c")), ..none.clone() }, vec![first]),
        (TaskFilter { creator: Some(text("c ")), ..none.clone() }, vec![second]),
        (TaskFilter { group: Some(text("g")), ..none.clone() }, vec![second, first]),
        (TaskFilter { task_type: Some(TaskTypeId(4_000_000_000)), ..name.clone() }, vec![third]),
        (TaskFilter { status: Some(TaskStatus::Created), ..name.clone() }, vec![first]),
        (TaskFilter { status: Some(TaskStatus::Paused), ..name.clone() }, vec![]),
        (TaskFilter { group: Some(text("g")), creator: Some(text("c")), ..name }, vec![first]),
        (TaskFilter { name: Some(text("%")), ..none }, vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(&must(table.list(&filter, None, 10).await)), expected, "{filter:?}");
    }
}

/// The conditions of [`TaskFilter`], for the check of all their combinations.
const CONDITIONS: [&str; 7] = ["status", "type", "group", "creator", "name", "prefix", "start"];

/// Any conditions together leave out what one of them leaves out, and nothing else.
pub async fn every_combination_of_filters_filters(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let mark = unique();
    let text = |suffix: &str| format!("{mark}{suffix}");
    let starts_after = CREATED + 1_000;
    // What is different about each task, and which conditions leave it out therefore.
    let differences: [&[&str]; 9] = [
        &[],
        &["status"],
        &["type"],
        &["group"],
        &["creator"],
        &["name"],
        &["prefix", "name"],
        &["start"],
        &["start", "none"],
    ];
    let mut tasks = Vec::new();
    for differs in differences {
        let has = |what| differs.contains(&what);
        let name = if has("prefix") {
            "N-one"
        } else if has("name") {
            "n-two"
        } else {
            "n-one"
        };
        let start_at = (!has("none")).then_some(starts_after + u64::from(!has("start")));
        let param = TaskParam {
            name: text(name),
            creator: Creator { uid: 1, name: text(if has("creator") { "c " } else { "c" }) },
            group: text(if has("group") { "G" } else { "g" }),
            start_at,
            ..TaskParam::default()
        };
        desk.group(&param.group).await;
        let mut task = new_task(param);
        task.task_type = TaskTypeId(if has("type") { 4_000_000_002 } else { 4_000_000_001 });
        let id = must(table.insert(&task).await);
        if has("status") {
            assert!(desk.finish(id, &ends(0, TaskStatus::Cancelled, CREATED + 1)).await);
        }
        tasks.push((id, differs));
    }
    tasks.reverse();
    for combination in 0..1_u32 << CONDITIONS.len() {
        let asked = |what: &str| {
            let place = CONDITIONS.iter().position(|condition| *condition == what);
            place.is_some_and(|place| combination & (1 << place) != 0)
        };
        let filter = TaskFilter {
            status: asked("status").then_some(TaskStatus::Created),
            task_type: asked("type").then_some(TaskTypeId(4_000_000_001)),
            group: asked("group").then(|| text("g")),
            creator: asked("creator").then(|| text("c")),
            name: asked("name").then(|| text("n-one")),
            name_prefix: asked("prefix").then(|| text("n")),
            starts_after: asked("start").then_some(starts_after),
        };
        let fits = |differs: &[&str]| !differs.iter().any(|what| asked(what));
        let expected: Vec<_> = tasks.iter().filter(|(_, differs)| fits(differs)).map(|(id, _)| *id).collect();
        let mut listed = ids(&must(table.list(&filter, None, 1_000).await));
        // Where few conditions are asked for, others' tasks are among them.
        listed.retain(|id| tasks.iter().any(|(own, _)| own == id));
        let order = filter.order();
        let mut expected_rows = Vec::new();
        for id in expected {
            expected_rows.push(desk.row(id).await);
        }
        expected_rows.sort_by(|one, other| order.compare(one, other));
        assert_eq!(listed, ids(&expected_rows), "{filter:?}");
    }
}

/// The beginning of a name is taken to the letter, whatever letters it has.
pub async fn a_name_begins_with_what_is_asked_for(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let mark = unique();
    let text = |suffix: &str| format!("{mark}{suffix}");
    let mut made = Vec::new();
    for suffix in ["x", "x y", "xy", "X", "𝄞é", "%", "_"] {
        made.push(desk.insert(TaskParam { name: text(suffix), ..TaskParam::default() }).await);
    }
    let cases: [(&str, &[usize]); 9] = [
        ("", &[5, 3, 6, 0, 1, 2, 4]),
        ("x", &[0, 1, 2]),
        ("x ", &[1]),
        ("xy", &[2]),
        ("xyz", &[]),
        ("𝄞", &[4]),
        ("%", &[5]),
        ("_", &[6]),
        ("\\", &[]),
    ];
    for (suffix, expected) in cases {
        let filter = TaskFilter { name_prefix: Some(text(suffix)), ..TaskFilter::default() };
        let expected: Vec<_> = expected.iter().map(|place| made[*place]).collect();
        assert_eq!(ids(&must(table.list(&filter, None, 10).await)), expected, "{suffix:?}");
    }
}

/// A filter that no task can satisfy, and a page larger than the limit, are refused by name.
pub async fn a_list_that_makes_no_sense_is_refused(table: &Arc<dyn TaskTable>) {
    let long = "ü".repeat(MAX_NAME_CHARS + 1);
    let none = TaskFilter::default();
    let wrong = [
        TaskFilter { group: Some(long.clone()), ..none.clone() },
        TaskFilter { creator: Some(long.clone()), ..none.clone() },
        TaskFilter { name: Some(long.clone()), ..none.clone() },
        TaskFilter { name_prefix: Some(long), ..none.clone() },
        TaskFilter { name_prefix: Some(String::new()), ..none.clone() },
        TaskFilter { group: Some(String::new()), ..none.clone() },
    ];
    for filter in wrong {
        let refused = table.list(&filter, None, 1).await;
        assert!(
            matches!(
                refused,
                Err(StoreError::InvalidInput(InvalidInput::TooLong { .. } | InvalidInput::Empty(_)))
            ),
            "{filter:?}: {refused:?}"
        );
    }
    let refused = table.list(&none, None, MAX_LIST + 1).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(InvalidInput::OutOfRange { .. }))), "{refused:?}");
    // As long as it can be, and of no task.
    let name = Some("ü".repeat(MAX_NAME_CHARS));
    assert!(must(table.list(&TaskFilter { name, ..none.clone() }, None, MAX_LIST).await).len() <= 1);
    let nameless = TaskFilter { name: Some(String::new()), creator: Some(unique()), ..none };
    assert!(must(table.list(&nameless, None, 1).await).is_empty());
}

/// Newest first; the next page begins below the last id of this one.
pub async fn a_list_is_newest_first_in_pages(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let group = unique();
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(desk.insert(TaskParam { group: group.clone(), ..TaskParam::default() }).await);
    }
    made.reverse();
    let filter = TaskFilter { group: Some(group), ..TaskFilter::default() };
    assert_eq!(ids(&must(table.list(&filter, None, 100).await)), made);
    assert!(must(table.list(&filter, None, 0).await).is_empty());
    assert_eq!(ids(&must(table.list(&filter, Some(TaskId(u64::MAX)), 100).await)), made);
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = ids(&must(table.list(&filter, before, 2).await));
        let Some(last) = page.last() else { break };
        before = Some(*last);
        paged.extend(page);
    }
    assert_eq!(paged, made);
    let newest = must(table.list(&TaskFilter::default(), None, 1).await);
    assert!(newest.len() == 1 && newest[0].id >= made[0]);
}

/// By name, or by start time; the next page begins behind the last task of this one, also where several are alike.
pub async fn a_list_of_a_prefix_or_of_starts_has_its_own_order(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let mark = unique();
    let mut made = Vec::new();
    for (name, start) in [("b", 4), ("a", 3), ("b", 1), ("ab", 3), ("a", 3), ("c", 2)] {
        let start_at = Some(CREATED + 1000 + start);
        let (name, group) = (format!("{mark}{name}"), mark.clone());
        made.push(desk.insert(TaskParam { name, group, start_at, ..TaskParam::default() }).await);
    }
    let none = TaskFilter { group: Some(mark.clone()), ..TaskFilter::default() };
    let by_name = TaskFilter { name_prefix: Some(mark), ..none.clone() };
    let by_start = TaskFilter { starts_after: Some(CREATED + 1000), ..none };
    for (filter, order) in [(by_name, [1, 4, 3, 0, 2, 5]), (by_start, [2, 5, 1, 3, 4, 0])] {
        let expected: Vec<_> = order.into_iter().map(|place: usize| made[place]).collect();
        assert_eq!(ids(&must(table.list(&filter, None, 100).await)), expected, "{filter:?}");
        for size in 1..=3 {
            let (mut paged, mut last) = (Vec::new(), None);
            loop {
                let page = ids(&must(table.list(&filter, last, size).await));
                let Some(end) = page.last() else { break };
                last = Some(*end);
                paged.extend(page);
            }
            assert_eq!(paged, expected, "{filter:?} in pages of {size}");
        }
        let refused = table.list(&filter, Some(TaskId(i64::MAX as u64)), 1).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(InvalidInput::NoSuchTask(_)))), "{refused:?}");
    }
}

/// An ended task is listed from its end until it is purged.
pub async fn ended_tasks_are_listed_until_purged(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.running().await;
    let share = nearly_alone(id);
    let listed = |by: u64| async move { head_ids(&must(table.unpurged(share, by, 10).await)) };
    assert_eq!(listed(u64::MAX).await, []);
    assert!(desk.finish(id, &ends(1, TaskStatus::Completed, CREATED + 500)).await);
    assert_eq!(listed(CREATED + 499).await, []);
    assert_eq!(listed(CREATED + 500).await, [id]);
    assert_eq!(listed(u64::MAX).await, [id]);
    let other = BucketOf { bucket: (share.bucket + 1) % share.of, ..share };
    assert!(!head_ids(&must(table.unpurged(other, u64::MAX, 10).await)).contains(&id));
    must(table.purged(id).await);
    must(table.purged(id).await);
    assert_eq!(listed(u64::MAX).await, []);

    let mut both = [desk.running().await, desk.running().await];
    both.sort();
    for id in both.iter().rev() {
        assert!(desk.finish(*id, &ends(1, TaskStatus::Cancelled, 1)).await);
    }
    let all = head_ids(&must(table.unpurged(BucketOf::ALL, 1, 10_000).await));
    assert!(all.is_sorted() && both.iter().all(|id| all.contains(id)));
    assert_eq!(must(table.unpurged(BucketOf::ALL, 1, 1).await).len(), 1);
    for id in both {
        must(table.purged(id).await);
    }
}

/// Its queues are needed, whatever anybody says.
pub async fn a_task_that_has_not_ended_is_not_purged(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    for status in [TaskStatus::Created, TaskStatus::Running, TaskStatus::Paused] {
        let row = desk.with_status(status).await;
        must(table.purged(row.id).await);
        assert_eq!(desk.row(row.id).await, row);
        assert!(desk.finish(row.id, &ends(row.run.0, TaskStatus::Cancelled, CREATED + 40)).await);
        let share = nearly_alone(row.id);
        assert_eq!(head_ids(&must(table.unpurged(share, u64::MAX, 10).await)), [row.id]);
        must(table.purged(row.id).await);
    }
}
