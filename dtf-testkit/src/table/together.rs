//! Calls that are made at the same time are answered as if each had been made alone.

use std::sync::Arc;

use futures::future::join_all;

use super::{CREATED, Desk, ends, must, new_task, unique};
use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::param::TaskParam;
use dtf_model::status::{Control, TaskStatus};
use dtf_model::table::{Finish, TaskTable};

/// More than one statement carries.
const MANY: usize = 150;

/// Each gets the id of its own task, its own refusal, or the task that its request made before.
pub async fn tasks_inserted_at_once_get_each_their_own_id(table: &Arc<dyn TaskTable>) {
    let made_before = new_task(TaskParam { name: "before".into(), ..TaskParam::default() });
    let before = must(table.insert(&made_before).await);
    let named = |at: usize| TaskParam { name: format!("number {at}"), ..TaskParam::default() };
    let mut tasks: Vec<_> = (0..MANY).map(|at| new_task(named(at))).collect();
    tasks[3] = made_before.clone();
    tasks[40].request = tasks[30].request;
    tasks[70].param.group = unique();
    let answers = join_all(tasks.iter().map(|task| table.insert(task))).await;
    for (at, answer) in answers.iter().enumerate() {
        match (at, answer) {
            (3, Ok(id)) => assert_eq!(*id, before),
            (30 | 40, Ok(id)) => {
                let name = Desk(table).row(*id).await.param.name;
                assert!(name == "number 30" || name == "number 40", "{name}");
                assert_eq!(must(answers[30].clone()), *id);
            }
            (70, Err(StoreError::InvalidInput(InvalidInput::UnknownGroup(group)))) => {
                assert_eq!(*group, tasks[70].param.group);
            }
            (_, Ok(id)) => assert_eq!(Desk(table).row(*id).await.param, tasks[at].param),
            (_, Err(error)) => panic!("task {at} was refused: {error}"),
        }
    }
}

/// Each is told of its own task.
pub async fn tasks_read_at_once_are_each_their_own(table: &Arc<dyn TaskTable>) {
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.extend([Desk(table).plain().await, TaskId(u64::MAX)]);
    }
    asked.extend(asked.clone());
    let rows = join_all(asked.iter().map(|id| table.get(*id))).await;
    for (id, row) in asked.into_iter().zip(rows) {
        assert_eq!(must(row).map(|row| row.id), Some(id).filter(|id| *id != TaskId(u64::MAX)));
    }
}

/// Of those who begin the same run, one does; whether it applied is said to each of its own task.
pub async fn runs_begun_at_once_are_begun_once_each(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let mut tasks = Vec::new();
    for at in 0..20 {
        let id = desk.plain().await;
        if at % 7 == 3 {
            assert!(desk.wish(id, Control::Pause, "", CREATED + 5).await);
        }
        tasks.push(id);
    }
    let begun_before = desk.running().await;
    let all = || tasks.iter().copied().chain([begun_before, TaskId(u64::MAX)]);
    // All alike first: each of them applies.
    let alike = join_all((0..8).map(|at| table.begin_run(tasks[at * 2], RunEpoch(0), CREATED + 10))).await;
    for (at, begun) in alike.into_iter().enumerate() {
        assert!(must(begun), "{at}");
    }
    let twice: Vec<_> = all().chain(all()).collect();
    let begun = join_all(twice.iter().map(|id| table.begin_run(*id, RunEpoch(0), CREATED + 11))).await;
    let begun: Vec<_> = begun.into_iter().map(must).collect();
    for (at, id) in all().enumerate() {
        let times = usize::from(begun[at]) + usize::from(begun[at + begun.len() / 2]);
        let is_first = tasks.contains(&id) && !(at.is_multiple_of(2) && at < 16);
        assert_eq!(times, usize::from(is_first), "task {at}");
    }
    for (at, id) in tasks.iter().enumerate() {
        let row = desk.row(*id).await;
        let started = if at.is_multiple_of(2) && at < 16 { CREATED + 10 } else { CREATED + 11 };
        assert_eq!((row.run, row.started_at, row.paused_for), (RunEpoch(1), Some(started), 0), "task {at}");
        let status = if at % 7 == 3 { TaskStatus::Paused } else { TaskStatus::Running };
        assert_eq!((row.status, row.paused_at.is_some()), (status, at % 7 == 3), "task {at}");
    }
}

/// Each ends as it was said of it, once; whether it applied is said to each of its own task.
pub async fn tasks_ended_at_once_end_each_their_own_way(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let end_of = |at: usize| {
        let status = [TaskStatus::Completed, TaskStatus::Exceptional, TaskStatus::Cancelled][at % 3];
        let mut finish = ends(1, status, CREATED + 100 + at as u64);
        finish.counts.created = at as u64;
        finish.reason = if at % 5 == 4 { format!("reason {at}") } else { String::new() };
        finish.result = finish.result.filter(|_| at.is_multiple_of(2));
        finish
    };
    for with_others in [false, true] {
        let (mut tasks, mut expected): (Vec<_>, Vec<bool>) = (Vec::new(), Vec::new());
        for at in 0..32 {
            let id = desk.running().await;
            let other = with_others && at % 4 == 1;
            if other && at % 8 == 1 {
                assert!(desk.wish(id, Control::Pause, "", CREATED + 20).await);
            } else if other {
                assert!(desk.begin(id, 1, CREATED + 15).await); // at another run than the end says
            }
            expected.push(!other || at % 8 == 1);
            tasks.push(id);
        }
        let finishes: Vec<Finish> = (0..tasks.len()).map(end_of).collect();
        let ended = join_all(tasks.iter().zip(&finishes).map(|(id, end)| table.finish(*id, end))).await;
        let ended: Vec<_> = ended.into_iter().map(must).collect();
        assert_eq!(ended, expected);
        for (at, (id, end)) in tasks.iter().zip(&finishes).enumerate().filter(|(at, _)| expected[*at]) {
            let row = desk.row(*id).await;
            assert_eq!((row.status, row.counts, &row.result), (end.status, end.counts, &end.result), "{at}");
            assert_eq!(
                (row.finished_at, row.paused_at, &row.reason),
                (Some(end.now), None, &end.reason),
                "{at}"
            );
            let paused_for = if with_others && at % 8 == 1 { end.now - CREATED - 20 } else { 0 };
            assert_eq!(row.paused_for, paused_for, "{at}");
        }
        let again = join_all(tasks.iter().zip(&finishes).map(|(id, end)| table.finish(*id, end))).await;
        assert!(again.into_iter().all(|ended| !must(ended)));
    }
}
