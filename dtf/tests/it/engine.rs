//! The engine end to end, on stores in memory and paused time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::plugin::{
    Backoff, ExecuteError, IterationMode, OnFailure, SubtaskResult, TaskConf, TaskResult,
};
use dtf::model::{Counts, TaskId, TaskParam, TaskStatus, TaskTypeId};
use tokio::sync::Notify;
use uuid::Uuid;

/// Numbers that all ended this way, once each.
fn told(books: &crate::common::Books, text: &str) -> usize {
    let books = books.lock().expect("no test panics with it");
    assert!(books.values().all(|told| told.len() == 1), "told more than once");
    books.values().filter(|told| told[0] == text).count()
}

#[tokio::test(start_paused = true)]
async fn a_task_is_split_executed_collected_once_and_completed() {
    let stage = Stage::new();
    let plugin = Numbers::new(ok);
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(20_000)).await.unwrap().wait().await.unwrap();
    let (created, succeeded) = (row.counts.created, row.counts.succeeded);
    assert_eq!((row.status, created, succeeded), (TaskStatus::Completed, 20_000, 20_000));
    let summed_up = TaskResult { code: 7, reason: "summed up".to_owned(), data: 20_000.into() };
    assert_eq!(row.result, Some(summed_up));
    assert_eq!(told(&books, "ok"), 20_000);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_without_subtasks_completes() {
    let stage = Stage::new();
    let dtf = stage.start("a", Numbers::new(ok)).await;
    let row = dtf.client().create_task(KIND, count(0)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts), (TaskStatus::Completed, Counts::default()));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_tasks_run_at_once() {
    let stage = Stage::new();
    let plugin = Numbers::new(ok);
    let dtf = stage.start("a", plugin).await;
    let mut tasks = Vec::new();
    for _ in 0..300 {
        tasks.push(dtf.client().create_task(KIND, count(10)).await.unwrap());
    }
    for task in tasks {
        assert_eq!(task.wait().await.unwrap().counts.succeeded, 10);
    }
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_panics_and_hangs_cost_their_own_subtask() {
    let stage = Stage::new();
    let plugin = Numbers::new(|number, _| match number {
        3 => Err(ExecuteError::final_error(anyhow::anyhow!("three is wrong"))),
        5 => panic!("five is bad"),
        _ => Ok(SubtaskResult::default()),
    });
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(10)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded, row.counts.failed), (TaskStatus::Completed, 8, 2));
    assert_eq!(told(&books, "three is wrong"), 1);
    assert_eq!(told(&books, "the plugin panicked: five is bad"), 1);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subtask_that_takes_too_long_is_timed_out() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(20);
    plugin.conf.subtask_timeout = Duration::from_secs(10);
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(3)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.timed_out), (TaskStatus::Completed, 3));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_retryable_failure_is_tried_again_and_counted_once() {
    let stage = Stage::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = tries.clone();
    let mut plugin = Numbers::new(move |number, context| {
        counter.fetch_add(1, Ordering::Relaxed);
        if number % 2 == 0 && context.attempt < 2 {
            return Err(anyhow::anyhow!("not yet").into());
        }
        Ok(SubtaskResult::default())
    });
    plugin.conf.backoff = Backoff { first: Duration::from_secs(5), most: Duration::from_secs(60) };
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(100)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded, row.counts.failed), (TaskStatus::Completed, 100, 0));
    assert_eq!(tries.load(Ordering::Relaxed), 50 + 3 * 50);
    assert_eq!(told(&books, "ok"), 100);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_end_and_the_last_error_is_kept() {
    let stage = Stage::new();
    let plugin = Numbers::new(|_, context| Err(anyhow::anyhow!("attempt {}", context.attempt).into()));
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(2)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.failed), (TaskStatus::Completed, 2));
    assert_eq!(told(&books, "attempt 2"), 2);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_adds_subtasks_and_the_task_waits_for_them() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.conf.iteration = IterationMode::Yes;
    plugin.follow_up_below = 30;
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(100)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.created, row.counts.succeeded), (TaskStatus::Completed, 130, 130));
    assert_eq!(told(&books, "ok"), 130);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn follow_ups_without_iteration_mode_end_the_task() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.follow_up_below = 1;
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(5)).await.unwrap().wait().await.unwrap();
    assert_eq!(row.status, TaskStatus::Exceptional);
    assert!(row.reason.contains("iteration mode is No"), "{}", row.reason);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_type_may_stop_at_the_first_failure() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(|number, _| match number {
        7 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ => Ok(SubtaskResult::default()),
    });
    plugin.conf = TaskConf { on_failure: OnFailure::StopAtFirst, ..TaskConf::default() };
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(100_000)).await.unwrap().wait().await.unwrap();
    assert_eq!(row.status, TaskStatus::Exceptional);
    assert_eq!(row.counts.counted(), row.counts.created);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cancel_reaches_running_subtasks_and_the_rest_is_counted_as_cancelled() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(100_000);
    plugin.conf.subtask_timeout = Duration::from_secs(200_000);
    let dtf = stage.start("a", plugin).await;
    let param = TaskParam { timeout: Duration::from_secs(300_000), ..count(50) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    while task.status().await.unwrap().progress().running == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = tokio::time::Instant::now();
    task.cancel().await.unwrap();
    let row = task.wait().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "the running ones were not told");
    assert_eq!((row.status, row.counts.created, row.counts.cancelled), (TaskStatus::Cancelled, 50, 50));
    let again = task.cancel().await;
    assert!(matches!(again, Err(dtf::ClientError::NotAllowed { .. })), "{again:?}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_over_its_time_is_aborted() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(10);
    let dtf = stage.start("a", plugin).await;
    let param = TaskParam { timeout: Duration::from_secs(25), ..count(1000) };
    let row = dtf.client().create_task(KIND, param).await.unwrap().wait().await.unwrap();
    assert_eq!(row.status, TaskStatus::Exceptional);
    assert_eq!(row.reason, "timed out after 25s");
    assert!(row.counts.succeeded > 0 && row.counts.cancelled > 0, "{:?}", row.counts);
    assert_eq!(row.counts.counted(), row.counts.created);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_task_rests_and_goes_on_where_it_was() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(1);
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let param = TaskParam { timeout: Duration::from_secs(600), ..count(200) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    while task.status().await.unwrap().progress().succeeded < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    dtf.client().pause_task(task.id()).await.unwrap();
    while task.status().await.unwrap().progress().running > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let resting = task.status().await.unwrap();
    assert_eq!(resting.row.status, TaskStatus::Paused);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(task.status().await.unwrap().progress(), resting.progress());
    dtf.client().resume_task(task.id()).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 200));
    assert_eq!(told(&books, "ok"), 200);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_is_replaced_and_nothing_is_lost_or_counted_twice() {
    let stage = Stage::new();
    let executed = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let reached = Arc::new(Notify::new());
    let plugin = || {
        let (executed, reached) = (executed.clone(), reached.clone());
        let mut plugin = Numbers::new(move |number, _| {
            executed.lock().unwrap().insert(number);
            if number == 500 {
                reached.notify_one();
            }
            Ok(SubtaskResult::default())
        });
        plugin.takes = Duration::from_millis(100);
        plugin
    };
    let first = stage.start("a", plugin()).await;
    let second = stage.start("b", plugin()).await;
    let task = second.client().create_task(KIND, count(2000)).await.unwrap();
    reached.notified().await;
    first.kill().await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.created, row.counts.succeeded), (TaskStatus::Completed, 2000, 2000));
    assert_eq!(executed.lock().unwrap().len(), 2000);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_leaves_in_good_order_fails_no_subtask() {
    let stage = Stage::new();
    let plugin = || {
        let mut plugin = Numbers::new(ok);
        plugin.takes = Duration::from_secs(30);
        plugin
    };
    let first = stage.start("a", plugin()).await;
    let second = stage.start("b", plugin()).await;
    let param = TaskParam { timeout: Duration::from_secs(10_000), ..count(60) };
    let task = second.client().create_task(KIND, param).await.unwrap();
    while task.status().await.unwrap().progress().succeeded < 5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    first.stop().await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 60));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_leaves_its_queues_after_the_retention() {
    let stage = Stage::new();
    let dtf = stage.start("a", Numbers::new(ok)).await;
    let task = dtf.client().create_task(KIND, count(10)).await.unwrap();
    task.wait().await.unwrap();
    assert!(!stage.queues.is_empty());
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(stage.queues.is_empty());
    assert_eq!(task.status().await.unwrap().progress().succeeded, 10);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_request_makes_one_task() {
    let stage = Stage::new();
    let dtf = stage.start("a", Numbers::new(ok)).await;
    let request = Uuid::from_u128(7);
    let first = dtf.client().create_task_once(request, KIND, count(1)).await.unwrap();
    let second = dtf.client().create_task_once(request, KIND, count(1)).await.unwrap();
    assert_eq!(first.id(), second.id());
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_refused_and_makes_no_task() {
    let stage = Stage::new();
    let client = stage.process("a", Numbers::new(ok)).client();
    let refusal =
        |made: Result<dtf::TaskHandle, dtf::ClientError>| made.map(|task| task.id()).unwrap_err().to_string();
    let unknown = client.create_task(TaskTypeId(9), count(1)).await;
    assert_eq!(refusal(unknown), "task type 9 is unknown; registered are: numbers");
    let param = TaskParam { type_param: "x".into(), ..TaskParam::default() };
    assert_eq!(refusal(client.create_task(KIND, param).await), "type_param must be a count");
    let param = TaskParam { timeout: Duration::ZERO, ..count(1) };
    assert_eq!(
        refusal(client.create_task(KIND, param).await),
        "the timeout is 0ns; allowed is 1 ms to 365 days"
    );
    let missing = client.pause_task(TaskId(1)).await.unwrap_err();
    assert_eq!(missing.to_string(), "task 1 does not exist");
    assert!(client.list_tasks(&Default::default(), None, 10).await.unwrap().is_empty());
}
