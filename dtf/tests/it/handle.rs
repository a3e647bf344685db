//! The handle of a task: waiting for it, watching it, its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::wires::{Fate, Faults, wired};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::plugin::{ExecuteError, SubtaskResult, TaskResult};
use dtf::model::{InvalidInput, TaskId, TaskParam, TaskStatus};
use dtf::{ClientError, Progress, TaskHandle, TaskStatusView};
use futures::{StreamExt, TryStreamExt};

const EVERY: Duration = Duration::from_millis(500);

/// Every subtask that was created is in one of the numbers.
fn balances(progress: &Progress) -> bool {
    progress.created == progress.counted() + progress.pending + progress.delayed + progress.running
}

async fn watched(task: &TaskHandle) -> Vec<TaskStatusView> {
    task.watch(EVERY).try_collect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_how_far_the_task_is_and_ends_with_how_it_ended() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(|number, _| match number % 10 {
        3 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ => Ok(SubtaskResult::default()),
    });
    plugin.takes = Duration::from_secs(1);
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(400)).await.unwrap();
    let seen = watched(&task).await;
    let progress: Vec<_> = seen.iter().map(TaskStatusView::progress).collect();
    let (last, earlier) = seen.split_last().unwrap();
    assert!(earlier.iter().all(|seen| !seen.row.status.is_terminal()), "it went on behind the end");
    assert_eq!((last.row.status, last.row.counts.succeeded), (TaskStatus::Completed, 360));
    assert!(progress.iter().all(balances), "{progress:?}");
    assert!(progress.is_sorted_by_key(Progress::counted), "the books went back");
    assert!(
        progress.iter().any(|progress| progress.running > 0 && progress.succeeded > 0 && progress.failed > 0)
    );
    // Four at a time, a second each.
    let paces: Vec<_> =
        seen.iter().filter(|seen| seen.progress().counted() > 100 && seen.pace.eta_ms.is_some()).collect();
    assert!(paces.len() > 20, "{}", paces.len());
    for seen in paces {
        let (pace, progress) = (seen.pace, seen.progress());
        let rate = pace.rate.unwrap();
        assert!((3.0..=4.2).contains(&rate), "{rate} at {progress:?}");
        let left = (progress.created - progress.counted()) as f64;
        assert!((pace.eta_ms.unwrap() as f64 - 1000.0 * left / rate).abs() < 1.0, "{pace:?}, {left} left");
    }
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_created_together_are_answered_in_order_and_each_for_itself() {
    let stage = Stage::new();
    let dtf = stage.start("a", Numbers::new(ok)).await;
    let mut params: Vec<_> =
        (0..300).map(|at| TaskParam { name: format!("number {at}"), ..count(1) }).collect();
    params[7].group = "nobody's".to_owned();
    let created = dtf.client().create_tasks(KIND, params).await;
    assert_eq!(created.len(), 300);
    for (at, task) in created.into_iter().enumerate() {
        match task {
            Ok(task) => {
                let row = task.wait().await.unwrap();
                assert_eq!((row.param.name, row.status), (format!("number {at}"), TaskStatus::Completed));
                assert_ne!(at, 7);
            }
            Err(ClientError::Invalid(invalid)) => {
                assert_eq!((at, invalid), (7, InvalidInput::UnknownGroup("nobody's".to_owned())));
            }
            Err(error) => panic!("task {at}: {error}"),
        }
    }
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_through_a_pause_and_sees_a_cancel() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(1);
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(400)).await.unwrap();
    let mut watch = task.watch(EVERY);
    let mut until = async |wanted: &dyn Fn(&TaskStatusView) -> bool| loop {
        let seen = watch.next().await.expect("it has not ended").unwrap();
        if wanted(&seen) {
            return seen;
        }
    };
    until(&|seen| seen.progress().succeeded > 20).await;
    task.pause().await.unwrap();
    let resting = until(&|seen| seen.row.status == TaskStatus::Paused && seen.progress().running == 0).await;
    assert_eq!(resting.pace.eta_ms, None, "nobody knows when it goes on");
    let still = until(&|seen| seen.pace.rate == Some(0.0)).await;
    assert_eq!(still.progress(), resting.progress());
    task.resume().await.unwrap();
    until(&|seen| seen.progress().succeeded > 40).await;
    task.cancel().await.unwrap();
    let last = until(&|seen| seen.row.status.is_terminal()).await;
    assert_eq!(last.row.status, TaskStatus::Cancelled);
    assert!(balances(&last.progress()));
    assert!(watch.next().await.is_none(), "there is nothing behind the end");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_of_stores_that_pass_are_passed_over() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(1);
    let dtf = stage.start("a", plugin).await;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    // Of each method's calls most fail, one way or the other; the first and the last do not.
    let faults: Faults = Arc::new(move |_| match counted.fetch_add(1, Ordering::Relaxed) % 5 {
        1 | 2 => Fate::Unreachable,
        3 => Fate::Unknown,
        _ => Fate::Pass,
    });
    let onlooker = stage.process_on(wired(&stage.ports, &faults), "b", Numbers::new(ok));
    let id = dtf.client().create_task(KIND, count(100)).await.unwrap().id();
    let task = onlooker.client().task(id);
    let (seen, row) = tokio::join!(watched(&task), task.wait());
    assert_eq!(seen.last().unwrap().row, row.unwrap());
    assert!(seen.len() > 5 && calls.load(Ordering::Relaxed) > 20);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_came_of_a_task_is_its_collectors_word_and_what_failed() {
    let stage = Stage::new();
    let plugin = Numbers::new(|number, _| match number {
        7 => Err(ExecuteError::final_error(anyhow::anyhow!("seven"))),
        _ => Ok(SubtaskResult::default()),
    });
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(10)).await.unwrap();
    let outcome = task.result().await.unwrap();
    let summed_up = TaskResult { code: 7, reason: "summed up".to_owned(), data: 9.into() };
    assert_eq!((outcome.status, outcome.result), (TaskStatus::Completed, Some(summed_up)));
    assert_eq!((outcome.counts.succeeded, outcome.counts.failed), (9, 1));
    let failures = task.failures(None, 10).await.unwrap();
    assert_eq!(failures.iter().map(|failure| failure.error.as_str()).collect::<Vec<_>>(), ["seven"]);

    let param = TaskParam { start_at: Some(u64::MAX >> 1), ..count(10) };
    let never = dtf.client().create_task(KIND, param).await.unwrap();
    never.cancel().await.unwrap();
    let outcome = never.result().await.unwrap();
    assert_eq!((outcome.status, outcome.result), (TaskStatus::Cancelled, None));
    assert_eq!(outcome.reason, "cancelled by a user");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_exist_is_refused_by_every_call() {
    let stage = Stage::new();
    let task = stage.process("a", Numbers::new(ok)).client().task(TaskId(17));
    let refused =
        |error: ClientError| assert!(matches!(error, ClientError::NoSuchTask(TaskId(17))), "{error:?}");
    refused(task.status().await.unwrap_err());
    refused(task.wait().await.unwrap_err());
    refused(task.result().await.unwrap_err());
    refused(task.pause().await.unwrap_err());
    refused(task.resume().await.unwrap_err());
    refused(task.cancel().await.unwrap_err());
    refused(task.failures(None, 1).await.unwrap_err());
    let mut watch = task.watch(EVERY);
    refused(watch.next().await.unwrap().unwrap_err());
    assert!(watch.next().await.is_none());
}
