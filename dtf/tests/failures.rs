//! What failed for good is kept, listed, and run again as a task of its own.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::wires::{Fate, Faults};
use common::{KIND, Numbers, Stage, count};
use dtf::model::failure::MAX_FAILURES;
use dtf::model::memory::{QueuesSnapshot, ShardsSnapshot};
use dtf::model::plugin::{ExecuteError, SubtaskResult};
use dtf::model::{Counts, RunEpoch, TaskId, TaskStatus};

/// Fails every third number, as long as it is told to.
fn flawed(flawed: &Arc<AtomicBool>) -> Numbers {
    let flawed = flawed.clone();
    Numbers::new(move |number, _| {
        if number % 3 == 0 && flawed.load(Ordering::Relaxed) {
            return Err(ExecuteError::final_error(anyhow::anyhow!("{number} is bad")));
        }
        Ok(SubtaskResult::default())
    })
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_listed_and_run_again_as_a_task_of_its_own() {
    let stage = Stage::new();
    let bad = Arc::new(AtomicBool::new(true));
    let mut plugin = flawed(&bad);
    plugin.slow = Some((4, Duration::from_secs(1000)));
    plugin.conf.subtask_timeout = Duration::from_secs(100);
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let client = dtf.client();
    let task = client.create_task(KIND, count(300)).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.counts.failed, row.counts.timed_out), (100, 1));
    // Also when its queues are gone.
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert!(stage.queues.is_empty());
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = client.failures(task.id(), after, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        listed.extend(page);
    }
    assert_eq!(listed.len(), 101);
    let zero = &listed[0];
    assert_eq!((zero.error.as_str(), zero.body.as_deref()), ("0 is bad", Some(&0u64.to_le_bytes()[..])));
    assert_eq!(listed.iter().filter(|failure| failure.timed_out).count(), 1);

    bad.store(false, Ordering::Relaxed);
    books.lock().unwrap().clear();
    let again = client.retry_failures(task.id()).await.unwrap();
    let row = again.wait().await.unwrap();
    // The slow one is slow again.
    let expected = Counts { created: 101, succeeded: 100, timed_out: 1, ..Counts::default() };
    assert_eq!(
        (row.status, row.counts, row.param.retry_of),
        (TaskStatus::Completed, expected, Some(task.id()))
    );
    let told: Vec<_> = books.lock().unwrap().keys().copied().collect();
    let inputs: Vec<_> = (0..300).filter(|number| number % 3 == 0 || *number == 4).collect();
    assert_eq!(told, inputs);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_has_ended_with_failures_is_run_again() {
    let stage = Stage::new();
    let client = stage.process("client", flawed(&Arc::default())).client();
    let missing = client.retry_failures(TaskId(7)).await.map(|task| task.id()).unwrap_err();
    assert_eq!(missing.to_string(), "task 7 does not exist");
    let task = client.create_task(KIND, count(3)).await.unwrap();
    let early = client.retry_failures(task.id()).await.map(|task| task.id()).unwrap_err();
    assert_eq!(early.to_string(), "task 1 is created and cannot be retried");
    let dtf = stage.start("a", flawed(&Arc::default())).await;
    task.wait().await.unwrap();
    let none = client.retry_failures(task.id()).await.map(|task| task.id()).unwrap_err();
    assert_eq!(none.to_string(), "of task 1 no failed subtask is kept that could be run again");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_failures_are_kept_than_there_is_room_for() {
    let stage = Stage::new();
    let dtf = stage.start("a", flawed(&Arc::new(AtomicBool::new(true)))).await;
    let client = dtf.client();
    let task = client.create_task(KIND, count(3 * (MAX_FAILURES + 500))).await.unwrap();
    assert_eq!(task.wait().await.unwrap().counts.failed, MAX_FAILURES + 500);
    let kept = client.failures(task.id(), None, 10_000).await.unwrap();
    assert_eq!(kept.len() as u64, MAX_FAILURES);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_kept_once_where_answers_are_lost() {
    let stage = Stage::new();
    let met = AtomicBool::new(false);
    let faults: Faults = Arc::new(move |name| match name {
        "keep_failures" if !met.swap(true, Ordering::Relaxed) => Fate::Unknown,
        _ => Fate::Pass,
    });
    let dtf = stage.start_wired("a", flawed(&Arc::new(AtomicBool::new(true))), &faults).await;
    let client = dtf.client();
    let task = client.create_task(KIND, count(30)).await.unwrap();
    assert_eq!(task.wait().await.unwrap().counts.failed, 10);
    assert_eq!(client.failures(task.id(), None, 100).await.unwrap().len(), 10);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_run_that_was_lost_go_with_the_retention() {
    let stage = Stage::new();
    let mut plugin = flawed(&Arc::new(AtomicBool::new(true)));
    plugin.takes = Duration::from_millis(100);
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(300)).await.unwrap();
    while task.status().await.unwrap().progress().failed < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.queues.roll_back(&QueuesSnapshot::default());
    stage.shards.roll_back(&ShardsSnapshot::default());
    let row = task.wait().await.unwrap();
    assert_eq!((row.run, row.counts.failed), (RunEpoch(2), 100));
    let kept = async |run| stage.ports.table.count_failures(task.id(), RunEpoch(run)).await.unwrap();
    assert!(kept(1).await > 0);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!((kept(1).await, kept(2).await), (0, 100));
    dtf.stop().await;
}
