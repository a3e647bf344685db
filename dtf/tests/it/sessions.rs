//! Executors that lose their sessions, or a shard, while subtasks run for long.

use std::sync::Arc;
use std::time::Duration;

use dtf::model::plugin::{OnLostSession, TaskConf};
use lrmf_core::MemoryStore;
use lrmf_core::memory::Outage;
use tokio::time::Instant;

use crate::common::{KIND, Numbers, Stage, count, ok};

const TAKES: Duration = Duration::from_secs(45);

/// Four subtasks of 45 s each, while the coordination store stands still for a while. Returns how many were broken off, and how long the
/// task took.
async fn through_an_outage(choice: OnLostSession) -> (usize, Duration) {
    let coordination = Arc::new(MemoryStore::new());
    let mut stage = Stage::new();
    stage.ports.coordination = coordination.clone();
    let conf = TaskConf { on_lost_session: choice, ..TaskConf::default() };
    let plugin = Numbers { conf, takes: TAKES, ..Numbers::new(ok) };
    let (broken_off, books) = (plugin.broken_off.clone(), plugin.books.clone());
    let only = stage.start("only", plugin).await;
    let begun = Instant::now();
    let task = only.client().create_task(KIND, count(4)).await.unwrap();
    while task.status().await.unwrap().progress().running < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    coordination.set_outage(Some(Outage::Unreachable));
    tokio::time::sleep(Duration::from_secs(25)).await;
    coordination.set_outage(None);
    let row = task.wait().await.unwrap();
    let took = begun.elapsed();
    assert_eq!((row.counts.created, row.counts.succeeded, row.counts.failed), (4, 4, 0));
    // Each was told once, however often it ran.
    assert!(books.lock().unwrap().values().all(|told| told.len() == 1));
    only.stop().await;
    let broken_off = broken_off.lock().unwrap().len();
    (broken_off, took)
}

#[tokio::test(start_paused = true)]
async fn long_subtasks_outlive_a_lost_session_unless_their_type_forbids_it() {
    let (_, took) = through_an_outage(OnLostSession::Finish).await;
    assert!(took < TAKES + Duration::from_secs(10), "{took:?}");
    let (broken_off, took) = through_an_outage(OnLostSession::Stop).await;
    assert!(broken_off >= 4 && took > TAKES + Duration::from_secs(15), "{broken_off} {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_moves_breaks_off_nothing() {
    let stage = Stage::new();
    let plugin = || Numbers { takes: TAKES, ..Numbers::new(ok) };
    let first = stage.start("first", plugin()).await;
    let task = first.client().create_task(KIND, count(4)).await.unwrap();
    while task.status().await.unwrap().progress().running < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    let second = stage.start("second", plugin()).await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.counts.created, row.counts.succeeded), (4, 4));
    assert!(begun.elapsed() < TAKES + Duration::from_secs(5), "{:?}", begun.elapsed());
    second.stop().await;
    first.stop().await;
}
