//! The collector's answer that a subtask is not finished: it stays open, is executed again, and is counted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::wires::{Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count};
use dtf::model::plugin::{ExecuteError, OnFailure, SubtaskResult};
use dtf::model::{Counts, TaskStatus};

/// Counts its executions.
fn counting(executed: &Arc<AtomicU64>) -> Numbers {
    let executed = executed.clone();
    let mut plugin = Numbers::new(move |_, _| {
        executed.fetch_add(1, Ordering::Relaxed);
        Ok(SubtaskResult::default())
    });
    plugin.rounds = 3;
    plugin
}

#[tokio::test(start_paused = true)]
async fn a_subtask_stays_open_until_its_last_result() {
    let (stage, executed) = (Stage::new(), Arc::new(AtomicU64::new(0)));
    let plugin = counting(&executed);
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(200)).await.unwrap().wait().await.unwrap();
    let expected = Counts { created: 200, succeeded: 200, ..Counts::default() };
    assert_eq!((row.status, row.counts), (TaskStatus::Completed, expected));
    assert_eq!(executed.load(Ordering::Relaxed), 800);
    // The last result of each was told as one, and no other.
    dtf.stop().await;
    let books = books.lock().unwrap();
    assert_eq!((books.len(), books.values().all(|told| told == &["ok"])), (200, true));
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_store_that_are_lost_keep_nothing_open_twice() {
    let (stage, executed) = (Stage::new(), Arc::new(AtomicU64::new(0)));
    let calls = AtomicU64::new(0);
    // Every other commit is applied and not answered.
    let faults: Faults = Arc::new(move |name| match name {
        "commit" if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Fate::Unknown,
        _ => Fate::Pass,
    });
    let dtf = stage.start_wired("a", counting(&executed), &faults).await;
    let row = dtf.client().create_task(KIND, count(200)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.counts.created, row.counts.succeeded), (200, 200));
    assert_eq!(executed.load(Ordering::Relaxed), 800);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_not_the_last_word_is_none() {
    let stage = Stage::new();
    let rounds = AtomicU64::new(0);
    let mut plugin = Numbers::new(move |number, _| {
        rounds.fetch_add(1, Ordering::Relaxed);
        // The body of a later round is a larger number.
        match number {
            0..100 => Err(ExecuteError::final_error(anyhow::anyhow!("not yet"))),
            _ => Ok(SubtaskResult::default()),
        }
    });
    plugin.rounds = 1;
    plugin.conf.on_failure = OnFailure::StopAtFirst;
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(50)).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded, row.counts.failed), (TaskStatus::Completed, 50, 0));
    assert!(dtf.client().failures(task.id(), None, 10).await.unwrap().is_empty());
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_cancelled_while_subtasks_are_open() {
    let (stage, first) = (Stage::new(), Arc::new(AtomicBool::new(false)));
    let seen = first.clone();
    let mut plugin = Numbers::new(move |_, _| {
        seen.store(true, Ordering::Relaxed);
        Ok(SubtaskResult::default())
    });
    plugin.rounds = 1 << 15;
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(100)).await.unwrap();
    while !first.load(Ordering::Relaxed) || task.status().await.unwrap().progress().delayed < 100 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    task.cancel().await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.created, row.counts.cancelled), (TaskStatus::Cancelled, 100, 100));
    dtf.stop().await;
}
