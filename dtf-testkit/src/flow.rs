//! The conformance suite of [`FlowTable`](dtf_model::flow::FlowTable): one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the tasks that it looks at, so that it works on a
//! table that has others, beside other users of it.

use std::sync::Arc;

use dtf_model::flow::{Condition, Dependent, FlowCounts, NewFlow, NewMember, On, OnTask};
use dtf_model::table::{BucketOf, Finish, HistoryOf, Keep, TaskRow, TaskTable};
use dtf_model::{
    Control, Counts, FlowId, InvalidInput, ResourceGroup, RunEpoch, StoreError, TaskId, TaskParam,
    TaskStatus, TaskTypeId,
};
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn TaskTable>) {
    a_flow_is_read_back(&table).await;
    one_request_makes_one_flow(&table).await;
    a_flow_is_made_whole_or_not_at_all(&table).await;
    a_large_flow_is_made(&table).await;
    flows_are_listed_newest_first_with_their_counts(&table).await;
    a_task_that_waits_does_not_begin(&table).await;
    a_task_that_waits_is_paused_and_resumed_and_ended(&table).await;
    dependents_are_told_once(&table).await;
    conditions_are_met_as_the_rows_say(&table).await;
    released_tasks_begin_and_others_stay(&table).await;
    a_task_that_is_waited_for_is_not_forgotten(&table).await;
}

const CREATED: u64 = 1_800_000_000_000;

fn member(name: &str, after: &[(On, Condition)]) -> NewMember {
    let on = |(on, condition): &(On, Condition)| OnTask {
        on: *on,
        condition: *condition,
        label: format!("of {on:?}"),
    };
    let param = TaskParam { name: name.to_owned(), ..TaskParam::default() };
    NewMember {
        name: name.to_owned(),
        task_type: TaskTypeId(7),
        param,
        after: after.iter().map(on).collect(),
    }
}

fn flow(members: Vec<NewMember>) -> NewFlow {
    let name = Some("a flow".to_owned());
    NewFlow { request: Uuid::new_v4(), name, retry_of: None, members, now: CREATED }
}

async fn made(table: &Arc<dyn TaskTable>, flow: &NewFlow) -> Vec<TaskId> {
    must(table.create_flow(flow).await)
}

async fn row(table: &Arc<dyn TaskTable>, id: TaskId) -> TaskRow {
    must(table.get(id).await).unwrap_or_else(|| panic!("task {id} is gone"))
}

/// Ends a task with these counts.
async fn end(table: &Arc<dyn TaskTable>, id: TaskId, status: TaskStatus, failed: u64) {
    if row(table, id).await.run == RunEpoch(0) {
        assert!(must(table.begin_run(id, RunEpoch(0), CREATED + 1).await));
    }
    let counts = Counts { created: failed + 1, succeeded: 1, failed, ..Counts::default() };
    let finish =
        Finish { run: RunEpoch(1), status, counts, reason: String::new(), result: None, now: CREATED + 2 };
    assert!(must(table.finish(id, &finish).await));
}

async fn untold(table: &Arc<dyn TaskTable>, id: TaskId) -> Vec<Dependent> {
    must(table.untold(id, TaskId(0), 1000).await)
}

async fn is_active(table: &Arc<dyn TaskTable>, id: TaskId) -> bool {
    let of = 1 << 20;
    let mapping = BucketOf::ALL.mapping;
    let share = BucketOf { bucket: BucketOf::number(id, of, mapping), of, mapping };
    must(table.active(share, TaskId(id.0 - 1), 1).await).iter().any(|head| head.id == id)
}

/// Rows, names, what waits for what, and the flow itself come back.
pub async fn a_flow_is_read_back(table: &Arc<dyn TaskTable>) {
    let plain = made(table, &NewFlow { name: None, ..flow(vec![member("", &[])]) }).await[0];
    let name = "漢".repeat(128);
    let mut new = flow(vec![
        member("a", &[]),
        member(&name, &[(On::Member(0), Condition::Ended)]),
        member(
            "c",
            &[
                (On::Member(1), Condition::Failed),
                (On::Member(0), Condition::Completed),
                (On::Task(plain), Condition::Ended),
            ],
        ),
    ]);
    new.members[1].param.type_param = json!({"x": {"$result": "/a"}});
    new.retry_of = Some(FlowId(5));
    let ids = made(table, &new).await;
    assert!(ids.is_sorted() && ids.len() == 3 && ids[0] > plain, "{ids:?}");
    let rows = join_all(ids.iter().map(|id| row(table, *id))).await;
    let Some(of) = rows[0].flow.as_ref().map(|member| member.flow) else { panic!("it is in no flow") };
    assert_eq!(
        rows.iter().map(|row| row.flow.clone().map(|of| of.name)).collect::<Vec<_>>(),
        [Some("a".into()), Some(name), Some("c".into())]
    );
    assert_eq!(rows.iter().map(|row| row.waits).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(rows.iter().map(|row| row.has_dependents).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(
        rows.iter().map(|row| &row.param).collect::<Vec<_>>(),
        new.members.iter().map(|member| &member.param).collect::<Vec<_>>()
    );
    let plain = row(table, plain).await;
    assert_eq!((plain.flow, plain.waits, plain.has_dependents), (None, false, true));
    let Some(found) = must(table.flow(of).await) else { panic!("the flow is not there") };
    assert_eq!(
        (found.request, found.name.as_str(), found.retry_of, found.created_at),
        (new.request, "a flow", Some(FlowId(5)), CREATED)
    );
    assert_eq!(must(table.flow_tasks(of).await), rows);
    assert_eq!(must(table.flow(FlowId(1 << 52)).await), None);

    let on: Vec<_> = must(table.dependencies(&ids).await)
        .into_iter()
        .map(|found| (found.task, found.on, found.condition, found.label))
        .collect();
    let label = |on: On| format!("of {on:?}");
    let expected = [
        (ids[1], ids[0], Condition::Ended, label(On::Member(0))),
        (ids[2], plain.id, Condition::Ended, label(On::Task(plain.id))),
        (ids[2], ids[0], Condition::Completed, label(On::Member(0))),
        (ids[2], ids[1], Condition::Failed, label(On::Member(1))),
    ];
    assert_eq!(on, expected);
}

/// The same request, again or at the same time, finds the tasks that it made, whatever has become of them.
pub async fn one_request_makes_one_flow(table: &Arc<dyn TaskTable>) {
    let new = flow(vec![member("a", &[]), member("b", &[(On::Member(0), Condition::Completed)])]);
    let together = join_all((0..6).map(|_| table.create_flow(&new))).await;
    let ids = made(table, &new).await;
    assert!(together.into_iter().all(|found| must(found) == ids));
    must(table.release(&ids[1..]).await);
    assert_eq!(made(table, &new).await, ids);
    assert!(!row(table, ids[1]).await.waits, "what was released stays so");
    let of = row(table, ids[0]).await.flow.map(|member| member.flow).unwrap_or_default();
    assert_eq!(must(table.flow_tasks(of).await).len(), 2);
}

/// What is refused leaves no task.
pub async fn a_flow_is_made_whole_or_not_at_all(table: &Arc<dyn TaskTable>) {
    let group = Uuid::new_v4().to_string();
    must(table.set_group(&ResourceGroup::named(&group)).await);
    let grouped = |group: &str| {
        let mut member = member("g", &[]);
        group.clone_into(&mut member.param.group);
        member
    };
    let refused = |flow: NewFlow| async move {
        match table.create_flow(&flow).await {
            Err(StoreError::InvalidInput(invalid)) => invalid,
            other => panic!("not refused: {other:?}"),
        }
    };
    let unknown = refused(flow(vec![grouped(&group), grouped(&format!("{group}x"))])).await;
    assert!(matches!(unknown, InvalidInput::UnknownGroup(_)), "{unknown}");
    let missing = TaskId((1 << 52) + 7);
    let none =
        refused(flow(vec![grouped(&group), member("b", &[(On::Task(missing), Condition::Ended)])])).await;
    assert_eq!(none, InvalidInput::NoSuchTask(missing));
    let later = refused(flow(vec![grouped(&group), member("b", &[(On::Member(1), Condition::Ended)])])).await;
    assert!(matches!(later, InvalidInput::Flow(_)), "{later}");
    let filter = dtf_model::table::TaskFilter { group: Some(group), ..Default::default() };
    assert!(must(table.list(&filter, None, 10).await).is_empty());
}

/// More tasks and dependencies than a statement has rows.
pub async fn a_large_flow_is_made(table: &Arc<dyn TaskTable>) {
    let on = |at: usize| (On::Member(at), Condition::Completed);
    let members = (0..700).map(|at| member(&format!("t{at}"), &[on(0), on(at / 2)][..at.min(2)]));
    let mut members: Vec<_> = members.collect();
    members[1].after.truncate(1);
    let ids = made(table, &flow(members)).await;
    assert!(ids.is_sorted() && ids.len() == 700);
    assert_eq!(must(table.dependencies(&ids).await).len(), 1 + 2 * 698);
    let mut seen = Vec::new();
    loop {
        let page = must(table.untold(ids[0], seen.last().copied().unwrap_or(TaskId(0)), 300).await);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|dependent| dependent.task));
    }
    assert_eq!(seen, ids[1..]);
}

/// The newest first, in pages, with the numbers of their tasks.
pub async fn flows_are_listed_newest_first_with_their_counts(table: &Arc<dyn TaskTable>) {
    let one = made(
        table,
        &flow(vec![
            member("a", &[]),
            member("b", &[]),
            member("c", &[(On::Member(0), Condition::Completed)]),
        ]),
    )
    .await;
    let two = made(table, &flow(vec![member("a", &[])])).await;
    end(table, one[0], TaskStatus::Completed, 0).await;
    end(table, one[1], TaskStatus::Completed, 3).await;
    end(table, two[0], TaskStatus::Cancelled, 0).await;
    let of = async |id: TaskId| row(table, id).await.flow.map(|member| member.flow).unwrap_or_default();
    let (first, second) = (of(one[0]).await, of(two[0]).await);
    assert!(second > first);
    let newest = must(table.flows(None, 1000).await);
    assert!(newest.iter().is_sorted_by(|one, other| one.0.id > other.0.id));
    let page = must(table.flows(Some(FlowId(second.0 + 1)), 1).await);
    let counts = FlowCounts { tasks: 1, cancelled: 1, ..FlowCounts::default() };
    assert_eq!(page.iter().map(|(row, counts)| (row.id, *counts)).collect::<Vec<_>>(), [(second, counts)]);
    let page = must(table.flows(Some(FlowId(first.0 + 1)), 1).await);
    let counts = FlowCounts { tasks: 3, waiting: 1, completed: 1, failed: 1, ..FlowCounts::default() };
    assert_eq!(page.iter().map(|(row, counts)| (row.id, *counts)).collect::<Vec<_>>(), [(first, counts)]);
}

/// It is not active, no run of it begins and it does not end, until it waits no more.
pub async fn a_task_that_waits_does_not_begin(table: &Arc<dyn TaskTable>) {
    let ids =
        made(table, &flow(vec![member("a", &[]), member("b", &[(On::Member(0), Condition::Ended)])])).await;
    assert!(is_active(table, ids[0]).await && !is_active(table, ids[1]).await);
    assert!(!must(table.begin_run(ids[1], RunEpoch(0), CREATED).await));
    let finish = Finish {
        run: RunEpoch(0),
        status: TaskStatus::Cancelled,
        counts: Counts::default(),
        reason: String::new(),
        result: None,
        now: CREATED,
    };
    assert!(!must(table.finish(ids[1], &finish).await));
    must(table.release(&ids).await);
    assert!(is_active(table, ids[1]).await && !row(table, ids[1]).await.waits);
    assert!(must(table.begin_run(ids[1], RunEpoch(0), CREATED).await));
}

/// A pause keeps it waiting; a wish to end it makes it active, so that a manager ends it.
pub async fn a_task_that_waits_is_paused_and_resumed_and_ended(table: &Arc<dyn TaskTable>) {
    let ids =
        made(table, &flow(vec![member("a", &[]), member("b", &[(On::Member(0), Condition::Ended)])])).await;
    let wish = async |control| assert!(must(table.set_control(ids[1], control, "why", CREATED + 5).await));
    wish(Control::Pause).await;
    let paused = row(table, ids[1]).await;
    assert_eq!((paused.status, paused.waits), (TaskStatus::Paused, true));
    wish(Control::Run).await;
    let resumed = row(table, ids[1]).await;
    assert_eq!((resumed.status, resumed.waits, resumed.run), (TaskStatus::Created, true, RunEpoch(0)));
    wish(Control::Cancel).await;
    let cancelled = row(table, ids[1]).await;
    assert_eq!((cancelled.waits, cancelled.control), (false, Control::Cancel));
    assert!(is_active(table, ids[1]).await);
    must(table.end_waiting(&ids, TaskStatus::Skipped, "late", CREATED + 6).await);
    assert_eq!(
        row(table, ids[1]).await.status,
        TaskStatus::Created,
        "it waits no more, and is the manager's to end"
    );
}

/// Those that were told are not found again, neither by the task nor among all tasks that have ended.
pub async fn dependents_are_told_once(table: &Arc<dyn TaskTable>) {
    let on = (On::Member(0), Condition::Ended);
    let ids = made(table, &flow(vec![member("a", &[]), member("b", &[on]), member("c", &[on])])).await;
    let with_untold = async || must(table.with_untold(TaskId(ids[0].0 - 1), 1).await).contains(&ids[0]);
    assert!(!with_untold().await, "it has not ended");
    end(table, ids[0], TaskStatus::Completed, 0).await;
    assert!(with_untold().await);
    let found: Vec<_> = untold(table, ids[0]).await.into_iter().map(|dependent| dependent.task).collect();
    assert_eq!(found, ids[1..]);
    must(table.told(ids[0], &ids[1..2]).await);
    assert!(with_untold().await);
    assert_eq!(untold(table, ids[0]).await.len(), 1);
    for _ in 0..2 {
        must(table.told(ids[0], &ids[2..]).await);
        assert!(!with_untold().await && untold(table, ids[0]).await.is_empty());
    }
}

/// Each condition is compared with how every predecessor ended.
pub async fn conditions_are_met_as_the_rows_say(table: &Arc<dyn TaskTable>) {
    use TaskStatus::{Cancelled, Completed, Exceptional};
    let ends = [
        (Completed, 0, [true, true, false]),
        (Completed, 2, [false, true, true]),
        (Exceptional, 0, [false, true, true]),
        (Cancelled, 0, [false, true, false]),
    ];
    for (status, failed, met) in ends {
        let mut members = vec![member("a", &[]), member("b", &[])];
        for condition in Condition::ALL {
            members.push(member("one", &[(On::Member(0), condition)]));
            members.push(member("both", &[(On::Member(0), condition), (On::Member(1), Condition::Ended)]));
        }
        members[3].param.type_param = json!([{"$result": "", "of": "of Member(0)"}]);
        let ids = made(table, &flow(members)).await;
        end(table, ids[0], status, failed).await;
        let found = untold(table, ids[0]).await;
        let unmet: Vec<_> = found.iter().map(|dependent| dependent.unmet).collect();
        let expected: Vec<u64> = met.iter().flat_map(|met| [u64::from(!met), u64::from(!met) + 1]).collect();
        assert_eq!(unmet, expected, "{status} with {failed} failed");
        assert!(found.iter().all(|dependent| dependent.waits && !dependent.has_dependents));
        assert_eq!(
            found.iter().map(|dependent| dependent.takes_results).collect::<Vec<_>>(),
            [false, true, false, false, false, false]
        );
        assert_eq!(
            found.iter().map(|dependent| dependent.condition).collect::<Vec<_>>()[..4],
            [Condition::Completed, Condition::Completed, Condition::Ended, Condition::Ended]
        );
        end(table, ids[1], Cancelled, 0).await;
        let unmet: Vec<_> = untold(table, ids[1]).await.iter().map(|dependent| dependent.unmet).collect();
        assert_eq!(unmet, met.map(|met| u64::from(!met)));
    }
}

/// Releasing and ending apply to tasks that wait, and to no others; with a parameter, the parameter is kept.
pub async fn released_tasks_begin_and_others_stay(table: &Arc<dyn TaskTable>) {
    let on = (On::Member(0), Condition::Ended);
    let ids = made(
        table,
        &flow(vec![member("a", &[]), member("b", &[on]), member("c", &[on]), member("d", &[on])]),
    )
    .await;
    end(table, ids[0], TaskStatus::Completed, 0).await;
    let before = row(table, ids[0]).await;
    let param = json!({"filled": [1, null]});
    assert!(must(table.release_with(ids[1], &param).await));
    assert!(
        !must(table.release_with(ids[1], &json!(0)).await)
            && !must(table.release_with(ids[0], &json!(0)).await)
    );
    assert_eq!(row(table, ids[1]).await.param.type_param, param);
    for _ in 0..2 {
        must(table.end_waiting(&ids[..3], TaskStatus::Skipped, "no more", CREATED + 9).await);
    }
    let skipped = row(table, ids[2]).await;
    assert_eq!(
        (skipped.status, skipped.reason.as_str(), skipped.finished_at, skipped.waits),
        (TaskStatus::Skipped, "no more", Some(CREATED + 9), false)
    );
    assert!(!is_active(table, ids[2]).await);
    assert_eq!(row(table, ids[1]).await.status, TaskStatus::Created);
    must(table.release(&ids).await);
    assert!(is_active(table, ids[3]).await && !is_active(table, ids[2]).await);
    assert_eq!(row(table, ids[0]).await, before);
}

/// For as long as a dependent waits, the row of each predecessor stays, and so does that of a task that a waiting one runs again; then
/// they go.
pub async fn a_task_that_is_waited_for_is_not_forgotten(table: &Arc<dyn TaskTable>) {
    let group = Uuid::new_v4().to_string();
    must(table.set_group(&ResourceGroup::named(&group)).await);
    let grouped = |name: &str| {
        let mut member = member(name, &[]);
        member.param.group.clone_from(&group);
        member
    };
    let on = |at| (On::Member(at), Condition::Ended);
    let first = flow(vec![grouped("a"), member("b", &[]), member("c", &[on(0), on(1)]), grouped("d")]);
    let ids = made(table, &first).await;
    let mut again = member("d", &[(On::Task(ids[1]), Condition::Ended)]);
    again.param.retry_of = Some(ids[3]);
    let retries = made(table, &flow(vec![again])).await;
    for ended in [ids[0], ids[3]] {
        end(table, ended, TaskStatus::Completed, 1).await;
        must(table.purged(ended).await);
    }
    let of = HistoryOf { group, task_type: TaskTypeId(7) };
    let keep = Keep { ended_since: Some(CREATED + 1_000_000), newest: None };
    assert_eq!(must(table.forget(&of, keep, 10).await), 0);
    must(table.release(&ids[2..3]).await);
    assert_eq!(must(table.forget(&of, keep, 10).await), 1);
    assert_eq!(must(table.get(ids[0]).await), None);
    must(table.end_waiting(&retries, TaskStatus::Skipped, "no more", CREATED + 9).await);
    assert_eq!(must(table.forget(&of, keep, 10).await), 1);
    assert_eq!(must(table.get(ids[3]).await), None);
}
