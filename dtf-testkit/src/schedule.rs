//! The conformance suite of [`ScheduleTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the schedules that it looks at, so that it works on a
//! table that has others, beside other users of it.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::param::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS};
use dtf_model::schedule::{
    Cause, Creation, NewSchedule, Overlap, ScheduleRow, ScheduleSpec, ScheduleState, ScheduleTable,
    ScheduleUpdate, Template,
};
use dtf_model::table::BucketOf;
use dtf_model::{InvalidInput, ScheduleId, StoreError, TaskId, TaskParam, TaskTypeId};
use futures::future::join_all;
use uuid::Uuid;

use super::{must, unique_number};

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn ScheduleTable>) {
    a_schedule_is_read_back(&table).await;
    one_request_makes_one_schedule(&table).await;
    names_are_unique_and_compared_exactly(&table).await;
    schedules_are_listed_by_name_in_pages(&table).await;
    a_schedule_that_makes_no_sense_is_refused(&table).await;
    due_schedules_are_found_in_their_order(&table).await;
    of_two_changes_of_one_revision_one_applies(&table).await;
    many_changes_at_once_apply_each_to_its_own(&table).await;
    a_deleted_schedule_is_gone(&table).await;
}

/// 2100-01-01: behind everything that others want.
const FAR: u64 = 4_102_444_800_000;

fn unique() -> String {
    Uuid::new_v4().to_string()
}

fn new(name: String, next_at: Option<u64>) -> NewSchedule {
    let spec = ScheduleSpec {
        name,
        description: String::new(),
        when: "*/5 * * * *".to_owned(),
        zone: "Europe/Berlin".to_owned(),
        template: Template::Task { task_type: TaskTypeId(7), param: Box::default() },
        overlap: Overlap::Skip,
        catch_up: Duration::from_secs(60),
        jitter: Duration::ZERO,
        start_at: None,
        end_at: None,
    };
    NewSchedule { request: Uuid::new_v4(), spec, state: ScheduleState::default(), next_at, now: 5 }
}

async fn made(table: &Arc<dyn ScheduleTable>, new: &NewSchedule) -> ScheduleRow {
    must(table.insert_schedule(new).await)
}

fn update(row: &ScheduleRow, next_at: Option<u64>) -> ScheduleUpdate {
    ScheduleUpdate { id: row.id, revision: row.revision, state: row.state.clone(), next_at }
}

/// Everything that is said of a schedule comes back, at full width, and so does its state.
pub async fn a_schedule_is_read_back(table: &Arc<dyn ScheduleTable>) {
    let mut name = unique();
    name.extend(std::iter::repeat_n('漢', MAX_NAME_CHARS - name.chars().count()));
    assert_eq!(must(table.schedule(&name).await), None);
    let mut new = new(name.clone(), Some(FAR));
    let param =
        TaskParam { type_param: serde_json::json!({"of": ["{{due}}", null, 0.5]}), ..TaskParam::default() };
    new.spec.template = Template::Task { task_type: TaskTypeId(9), param: Box::new(param) };
    new.spec.description = "𝄞".repeat(MAX_DESCRIPTION_CHARS);
    (new.spec.start_at, new.spec.end_at) = (Some(3), Some(FAR));
    let row = made(table, &new).await;
    assert_eq!((&row.spec, &row.state, row.next_at), (&new.spec, &new.state, Some(FAR)));
    assert_eq!((row.request, row.revision, row.created_at), (new.request, 0, 5));
    assert_eq!(must(table.schedule(&name).await).as_ref(), Some(&row));

    let mut state = row.state.clone();
    state.paused = true;
    state.creating.push(Creation::of(row.request, 17, Cause::Backfill));
    state.running.push(TaskId(3));
    let change = ScheduleUpdate { id: row.id, revision: 0, state: state.clone(), next_at: None };
    assert!(must(table.update_schedule(&change).await));
    let expected = ScheduleRow { state, next_at: None, revision: 1, ..row };
    assert_eq!(must(table.schedule(&name).await), Some(expected));
}

/// The same request, again or at the same time, finds the schedule that it made.
pub async fn one_request_makes_one_schedule(table: &Arc<dyn ScheduleTable>) {
    let new = new(unique(), None);
    let together = join_all((0..8).map(|_| table.insert_schedule(&new))).await;
    let first = made(table, &new).await;
    assert!(together.into_iter().all(|row| must(row).id == first.id));
}

/// Another schedule of the name is refused; one whose name differs in a letter's case is another one.
pub async fn names_are_unique_and_compared_exactly(table: &Arc<dyn ScheduleTable>) {
    let name = format!("a{}", unique());
    let row = made(table, &new(name.clone(), None)).await;
    let refused = table.insert_schedule(&new(name.clone(), None)).await;
    assert!(
        matches!(&refused, Err(StoreError::InvalidInput(InvalidInput::ScheduleTaken(taken))) if *taken == name),
        "{refused:?}"
    );
    let other = made(table, &new(name.to_uppercase(), None)).await;
    assert_ne!(other.id, row.id);
    for unknown in [format!("{name} "), name[1..].to_owned(), String::new()] {
        assert_eq!(must(table.schedule(&unknown).await), None, "{unknown:?}");
    }
}

/// Pages follow each other without a gap, in the order of bytes.
pub async fn schedules_are_listed_by_name_in_pages(table: &Arc<dyn ScheduleTable>) {
    let begin = unique();
    let names = ["", "A", "a", "b", "é"].map(|end| format!("{begin}{end}"));
    for name in names.iter().rev() {
        made(table, &new(name.clone(), None)).await;
    }
    let mut listed: Vec<String> = Vec::new();
    // The name below the first one; others' may lie between, hence the filter.
    let mut after = begin[..begin.len() - 1].to_owned();
    while listed.len() < names.len() {
        let page = must(table.schedules(Some(&after), 2).await);
        assert!(!page.is_empty() && page.len() <= 2, "{listed:?}");
        after = page.last().map(|row| row.spec.name.clone()).unwrap_or_default();
        listed.extend(page.into_iter().map(|row| row.spec.name).filter(|name| name.starts_with(&begin)));
    }
    assert_eq!(listed, names);
}

/// And nothing is written.
pub async fn a_schedule_that_makes_no_sense_is_refused(table: &Arc<dyn ScheduleTable>) {
    let wrong = |change: &dyn Fn(&mut ScheduleSpec)| {
        let mut new = new(unique(), None);
        change(&mut new.spec);
        new
    };
    for new in [
        wrong(&|spec| spec.when = "0 0 30 2 *".into()),
        wrong(&|spec| spec.zone = "Nowhere".into()),
        wrong(&|spec| spec.name.push(' ')),
        wrong(&|spec| spec.name.push_str(&"x".repeat(MAX_NAME_CHARS))),
    ] {
        let refused = table.insert_schedule(&new).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
        assert_eq!(must(table.schedule(&new.spec.name).await), None);
    }
}

/// Those of the share that want attention by a time, the first ones first, and the time of the first.
pub async fn due_schedules_are_found_in_their_order(table: &Arc<dyn ScheduleTable>) {
    // A stretch of time that nobody else uses, before that of others who want attention in 2100.
    let begin = FAR - 1 - (unique_number() % (1 << 40));
    let mut rows = Vec::new();
    for offset in [3, 1, 2, 1] {
        rows.push(made(table, &new(unique(), Some(begin + offset))).await);
    }
    made(table, &new(unique(), None)).await;
    let share = |row: &ScheduleRow| {
        let of = 1 << 20;
        let mapping = BucketOf::ALL.mapping;
        BucketOf { bucket: BucketOf::number(row.id.as_hint(), of, mapping), of, mapping }
    };
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let found = must(table.due_schedules(BucketOf::ALL, begin + 2, 10_000).await);
    let found: Vec<_> = found.into_iter().map(|row| row.id).filter(|id| ids.contains(id)).collect();
    assert_eq!(found, [ids[1], ids[3], ids[2]]);
    for row in &rows {
        let at = row.next_at.unwrap_or_default();
        assert_eq!(must(table.due_schedules(share(row), at, 10).await), std::slice::from_ref(row));
        assert_eq!(must(table.due_schedules(share(row), at - 1, 10).await), []);
        assert_eq!(must(table.next_schedule_at(share(row)).await), Some(at));
        assert!(must(table.update_schedule(&update(row, None)).await));
        assert_eq!(must(table.due_schedules(share(row), u64::MAX, 10).await), []);
        assert_eq!(must(table.next_schedule_at(share(row)).await), None);
    }
}

/// A change says whether it applied; one that was made from an older revision does not.
pub async fn of_two_changes_of_one_revision_one_applies(table: &Arc<dyn ScheduleTable>) {
    let row = made(table, &new(unique(), None)).await;
    let changes: Vec<_> = (1..=8).map(|at| update(&row, Some(FAR + at))).collect();
    let applied = join_all(changes.iter().map(|change| table.update_schedule(change))).await;
    let applied: Vec<_> = applied.into_iter().map(must).collect();
    assert_eq!(applied.iter().filter(|applied| **applied).count(), 1, "{applied:?}");
    let winner = applied.iter().position(|applied| *applied).map(|at| FAR + 1 + at as u64);
    let now = must(table.schedule(&row.spec.name).await);
    assert_eq!(now.as_ref().map(|now| (now.next_at, now.revision)), Some((winner, 1)));
    assert!(!must(table.update_schedule(&update(&row, None)).await));
    let unknown = ScheduleUpdate { id: ScheduleId(1 << 52), ..update(&row, None) };
    assert!(!must(table.update_schedule(&unknown).await));
    let Some(row) = now else { panic!("it is gone") };
    assert!(must(table.update_schedule(&update(&row, None)).await));
}

/// Changes that are made at the same time are each applied or refused by themselves.
pub async fn many_changes_at_once_apply_each_to_its_own(table: &Arc<dyn ScheduleTable>) {
    let news: Vec<_> = (0..20).map(|_| new(unique(), None)).collect();
    let rows = join_all(news.iter().map(|new| table.insert_schedule(new))).await;
    let rows: Vec<_> = rows.into_iter().map(must).collect();
    assert!(must(table.update_schedule(&update(&rows[3], Some(FAR))).await));
    let changes: Vec<_> = rows.iter().zip(1..).map(|(row, at)| update(row, Some(FAR + at))).collect();
    let applied = join_all(changes.iter().map(|change| table.update_schedule(change))).await;
    for (at, applied) in applied.into_iter().enumerate() {
        assert_eq!(must(applied), at != 3);
        let row = must(table.schedule(&rows[at].spec.name).await);
        let expected = if at == 3 { FAR } else { FAR + 1 + at as u64 };
        assert_eq!(row.as_ref().and_then(|row| row.next_at), Some(expected));
        must(table.delete_schedule(rows[at].id).await);
    }
}

/// It is gone for every read, and its name is free again, for a schedule with another id.
pub async fn a_deleted_schedule_is_gone(table: &Arc<dyn ScheduleTable>) {
    let name = unique();
    let row = made(table, &new(name.clone(), Some(FAR))).await;
    assert!(must(table.delete_schedule(row.id).await));
    assert!(!must(table.delete_schedule(row.id).await));
    assert_eq!(must(table.schedule(&name).await), None);
    assert!(!must(table.update_schedule(&update(&row, None)).await));
    assert!(made(table, &new(name, None)).await.id > row.id);
}
