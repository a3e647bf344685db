//! Subtasks that failed for good are kept, listed, and run again as a task of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::wires::{Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count};
use dtf::model::failure::MAX_FAILURES;
use dtf::model::plugin::{ExecuteError, SubtaskResult};
use dtf::model::{Counts, RunEpoch, TaskId, TaskStatus};
use dtf_memory::{QueuesSnapshot, ShardsSnapshot};

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

/// A table that keeps no failures while the flag is set.
fn away(flag: &Arc<AtomicBool>) -> Faults {
    let flag = flag.clone();
    Arc::new(move |name| match name {
        "keep_failures" | "count_failures" if flag.load(Ordering::Relaxed) => Fate::Unreachable,
        _ => Fate::Pass,
    })
}

async fn collected(task: &dtf::TaskHandle) -> u64 {
    task.status().await.unwrap().queues.map_or(0, |state| state.collected)
}

async fn kept(client: &dtf::Client, task: TaskId) -> Vec<u64> {
    let failures = client.failures(task, None, 10_000).await.unwrap();
    let number = |body: Option<bytes::Bytes>| u64::from_le_bytes(body.unwrap()[..].try_into().unwrap());
    let mut numbers: Vec<_> = failures.into_iter().map(|failure| number(failure.body)).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(start_paused = true)]
async fn collecting_goes_on_without_the_table_and_what_failed_is_kept_once_when_it_is_back() {
    let (stage, bad) = (Stage::new(), Arc::new(AtomicBool::new(true)));
    let flag = Arc::new(AtomicBool::new(true));
    let plugin = || Numbers { takes: Duration::from_millis(20), ..flawed(&bad) };
    let thirds: Vec<_> = (0..300).filter(|number| number % 3 == 0).collect();
    let wires = away(&flag);
    let first = stage.start_wired("a", plugin(), &wires).await;
    let task = first.client().create_task(KIND, count(300)).await.unwrap();
    while collected(&task).await < 300 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Everything is collected, nothing is kept, and so it does not end.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!task.status().await.unwrap().row.status.is_terminal());
    assert!(kept(&first.client(), task.id()).await.is_empty());
    first.kill().await;
    // What the one before owed is in the next one's hands, which is killed too, perhaps between keeping and concluding.
    let second = stage.start_wired("b", plugin(), &wires).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    flag.store(false, Ordering::Relaxed);
    while kept(&second.client(), task.id()).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    second.kill().await;
    let third = stage.start("c", plugin()).await;
    let handle = third.client().task(task.id());
    let row = handle.wait().await.unwrap();
    assert_eq!((row.status, row.run, row.counts.failed), (TaskStatus::Completed, RunEpoch(1), 100));
    assert_eq!(kept(&third.client(), task.id()).await, thirds);
    third.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_is_owed_than_fits_into_a_status() {
    let (stage, flag) = (Stage::new(), Arc::new(AtomicBool::new(true)));
    let mut plugin =
        Numbers::new(|_, _| Err(ExecuteError::final_error(anyhow::anyhow!("{}", "x".repeat(4000)))));
    plugin.takes = Duration::from_millis(20);
    let dtf = stage.start_wired("a", plugin, &away(&flag)).await;
    let task = dtf.client().create_task(KIND, count(300)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let before = collected(&task).await;
    assert!((1..300).contains(&before), "{before}");
    flag.store(false, Ordering::Relaxed);
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.failed), (TaskStatus::Completed, 300));
    assert_eq!(kept(&dtf.client(), task.id()).await, (0..300).collect::<Vec<_>>());
    dtf.stop().await;
}
