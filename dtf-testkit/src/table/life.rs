//! The life of a task: every change is one conditional update.

use std::sync::Arc;

use dtf_model::ids::RunEpoch;
use dtf_model::status::{Control, TaskStatus};
use dtf_model::table::{Finish, TaskTable};
use futures::future::join_all;

use super::{CREATED, Desk, ends, must};

const CONTROLS: [Control; 4] = [Control::Run, Control::Pause, Control::Cancel, Control::Abort];

/// Of several that begin the same run, one does.
pub async fn a_run_is_begun_once(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.plain().await;
    assert!(!desk.begin(id, 1, CREATED + 1).await, "a run was begun that was not next");
    let begun = join_all((0..8).map(|_| desk.begin(id, 0, CREATED + 1))).await;
    assert_eq!(begun.into_iter().filter(|begun| *begun).count(), 1);
    let row = desk.row(id).await;
    assert_eq!((row.status, row.run), (TaskStatus::Running, RunEpoch(1)));
}

/// A later run does not change when the task started.
pub async fn the_first_start_stays(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.plain().await;
    assert!(desk.begin(id, 0, CREATED + 1).await);
    assert!(desk.begin(id, 1, CREATED + 500).await);
    let row = desk.row(id).await;
    assert_eq!((row.run, row.started_at), (RunEpoch(2), Some(CREATED + 1)));
}

/// Paused time is added up, pause by pause, and a new run leaves a paused task paused.
pub async fn pausing_stops_the_clock(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.running().await;
    assert!(desk.wish(id, Control::Pause, "lunch", CREATED + 100).await);
    let row = desk.row(id).await;
    assert_eq!((row.status, row.control), (TaskStatus::Paused, Control::Pause));
    assert_eq!((row.paused_at, row.paused_for), (Some(CREATED + 100), 0));
    assert_eq!(row.reason, "lunch");
    assert!(desk.begin(id, 1, CREATED + 110).await);
    assert_eq!(desk.row(id).await.status, TaskStatus::Paused);

    assert!(desk.wish(id, Control::Run, "", CREATED + 130).await);
    let row = desk.row(id).await;
    assert_eq!((row.status, row.control), (TaskStatus::Running, Control::Run));
    assert_eq!((row.paused_at, row.paused_for, row.reason.as_str()), (None, 30, ""));

    // A clock that went back takes nothing away.
    assert!(desk.wish(id, Control::Pause, "", CREATED + 200).await);
    assert!(desk.wish(id, Control::Run, "", CREATED + 150).await);
    assert_eq!(desk.row(id).await.paused_for, 30);
    assert!(desk.wish(id, Control::Pause, "", CREATED + 300).await);
    assert!(desk.wish(id, Control::Run, "", CREATED + 312).await);
    assert_eq!(desk.row(id).await.paused_for, 42);
}

/// A task that was created only can be paused; resumed, it waits for its first run.
pub async fn a_task_is_paused_before_its_start(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.plain().await;
    assert!(desk.wish(id, Control::Pause, "", CREATED + 1).await);
    let row = desk.row(id).await;
    assert_eq!((row.status, row.run, row.started_at), (TaskStatus::Paused, RunEpoch(0), None));
    assert!(desk.wish(id, Control::Run, "", CREATED + 2).await);
    let row = desk.row(id).await;
    assert_eq!((row.status, row.run, row.started_at), (TaskStatus::Running, RunEpoch(0), None));
    assert!(desk.begin(id, 0, CREATED + 3).await);
    assert_eq!(desk.row(id).await.started_at, Some(CREATED + 3));
}

/// The time of a task begins with its first run, and so does that of its pauses.
pub async fn a_pause_before_the_start_does_not_count_afterwards(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.plain().await;
    assert!(desk.wish(id, Control::Pause, "", CREATED + 100).await);
    assert!(desk.wish(id, Control::Run, "", CREATED + 600).await);
    assert!(desk.begin(id, 0, CREATED + 700).await);
    let row = desk.row(id).await;
    assert_eq!((row.started_at, row.paused_at, row.paused_for), (Some(CREATED + 700), None, 0));
    assert!(desk.wish(id, Control::Pause, "", CREATED + 800).await);
    assert!(desk.wish(id, Control::Run, "", CREATED + 850).await);
    assert!(desk.begin(id, 1, CREATED + 900).await);
    assert_eq!(desk.row(id).await.paused_for, 50, "a later run forgets no pause");

    // Paused in the moment in which it is started.
    let id = desk.plain().await;
    assert!(desk.wish(id, Control::Pause, "", CREATED + 100).await);
    assert!(desk.begin(id, 0, CREATED + 700).await);
    assert_eq!(desk.row(id).await.paused_at, Some(CREATED + 700));
    assert!(desk.wish(id, Control::Run, "", CREATED + 710).await);
    assert_eq!(desk.row(id).await.paused_for, 10);
}

/// The wish that a task has already applies and leaves its first time and reason.
pub async fn a_repeated_wish_changes_nothing(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let created = desk.plain().await;
    let before = desk.row(created).await;
    assert!(desk.wish(created, Control::Run, "again", CREATED + 100).await);
    assert_eq!(desk.row(created).await, before);
    let running = desk.running().await;
    for control in CONTROLS.into_iter().filter(|control| *control != Control::Abort) {
        assert!(desk.wish(running, control, "first", CREATED + 100).await);
        let before = desk.row(running).await;
        assert!(desk.wish(running, control, "second", CREATED + 200).await);
        assert_eq!(desk.row(running).await, before);
    }
}

/// A wish that the task ends leaves the status and admits no other wish.
pub async fn the_wish_to_end_is_the_last(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    for last in [Control::Cancel, Control::Abort] {
        for status in [TaskStatus::Created, TaskStatus::Running, TaskStatus::Paused] {
            let id = desk.with_status(status).await.id;
            assert!(desk.wish(id, last, "enough", CREATED + 50).await);
            let row = desk.row(id).await;
            assert_eq!((row.status, row.control), (status, last));
            assert_eq!((row.cancelled_at, row.reason.as_str()), (Some(CREATED + 50), "enough"));
            for control in CONTROLS.into_iter().filter(|control| *control != last) {
                assert!(!desk.wish(id, control, "no", CREATED + 60).await);
            }
            assert_eq!(desk.row(id).await, row);
        }
    }
}

/// Of several ends, one is committed, with all that it says.
pub async fn a_task_ends_once(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.running().await;
    let finishes: Vec<Finish> = (0..8).map(|n| ends(1, TaskStatus::Completed, CREATED + 1000 + n)).collect();
    let applied = join_all(finishes.iter().map(|finish| desk.finish(id, finish))).await;
    let winners: Vec<_> = finishes.iter().zip(applied).filter(|(_, applied)| *applied).collect();
    assert_eq!(winners.len(), 1);
    let (finish, row) = (winners[0].0, desk.row(id).await);
    assert_eq!(
        (row.status, row.run, row.finished_at),
        (TaskStatus::Completed, RunEpoch(1), Some(finish.now))
    );
    assert_eq!((row.counts, &row.result, &row.reason), (finish.counts, &finish.result, &finish.reason));
    assert_eq!(row.started_at, Some(CREATED + 10));
}

/// The end of an earlier run, or of a later one, does not end the task.
pub async fn a_task_ends_only_at_the_run_named(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.running().await;
    assert!(desk.begin(id, 1, CREATED + 20).await);
    let before = desk.row(id).await;
    for run in [0, 1, 3] {
        assert!(!desk.finish(id, &ends(run, TaskStatus::Completed, CREATED + 30)).await);
    }
    assert_eq!(desk.row(id).await, before);
    assert!(desk.finish(id, &ends(2, TaskStatus::Completed, CREATED + 30)).await);
}

/// [`TaskStatus::may_become`] is the rule for every pair; what is no end is refused.
pub async fn a_task_ends_only_as_it_may(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    for from in TaskStatus::ALL {
        for to in TaskStatus::ALL {
            let row = desk.with_status(from).await;
            let finish = ends(row.run.0, to, CREATED + 30);
            if to.is_terminal() {
                assert_eq!(desk.finish(row.id, &finish).await, from.may_become(to), "{from} to {to}");
            } else {
                assert!(table.finish(row.id, &finish).await.is_err(), "{from} ended as {to}");
            }
            let expected = if to.is_terminal() && from.may_become(to) { to } else { from };
            assert_eq!(desk.row(row.id).await.status, expected);
        }
    }
}

/// The reason for a cancel, say, stays where the end adds none; so does having no result.
pub async fn an_end_keeps_an_earlier_reason(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.running().await;
    assert!(desk.wish(id, Control::Cancel, "enough", CREATED + 20).await);
    let mut finish = ends(1, TaskStatus::Cancelled, CREATED + 30);
    finish.reason.clear();
    finish.result = None;
    assert!(desk.finish(id, &finish).await);
    let row = desk.row(id).await;
    assert_eq!((row.reason.as_str(), row.result), ("enough", None));
}

/// An ended task is paused no more, and its paused time is complete.
pub async fn an_end_ends_a_pause(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    let id = desk.running().await;
    assert!(desk.wish(id, Control::Pause, "", CREATED + 100).await);
    assert!(desk.finish(id, &ends(1, TaskStatus::Exceptional, CREATED + 125)).await);
    let row = desk.row(id).await;
    assert_eq!((row.paused_at, row.paused_for), (None, 25));
}

/// A row with a terminal status is final.
pub async fn nothing_changes_an_ended_task(table: &Arc<dyn TaskTable>) {
    let desk = Desk(table);
    for status in TaskStatus::ALL.into_iter().filter(|status| status.is_terminal()) {
        let row = desk.with_status(status).await;
        assert!(!desk.begin(row.id, row.run.0, CREATED + 50).await);
        for control in CONTROLS {
            assert!(!desk.wish(row.id, control, "late", CREATED + 50).await);
        }
        for to in [TaskStatus::Cancelled, TaskStatus::Completed, TaskStatus::Exceptional] {
            assert!(!desk.finish(row.id, &ends(row.run.0, to, CREATED + 50)).await);
        }
        must(table.purged(row.id).await);
        assert_eq!(desk.row(row.id).await, row);
    }
}
