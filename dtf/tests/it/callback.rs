//! The scheduler's callback of a plugin.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count, ok};
use async_trait::async_trait;
use bytes::Bytes;
use dtf::model::plugin::{Dispatch, TaskScheduler};
use dtf::model::{SubtaskId, TaskId, TaskStatus};
use tokio::time::Instant;

/// Takes its time, and knows how many were asked about at the same time.
#[derive(Default)]
struct Slow {
    asked: AtomicUsize,
    together: AtomicUsize,
}

#[async_trait]
impl TaskScheduler for Slow {
    async fn before_dispatch(&self, _: SubtaskId, _: &Bytes) -> anyhow::Result<Dispatch> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.together.fetch_max(asked, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.asked.fetch_sub(1, Ordering::Relaxed);
        Ok(Dispatch::Now)
    }
}

#[tokio::test(start_paused = true)]
async fn subtasks_are_asked_about_at_the_same_time() {
    let stage = Stage::new();
    let slow = Arc::new(Slow::default());
    let mut plugin = Numbers::new(ok);
    plugin.scheduler = Some(slow.clone());
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(8)).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 8));
    // A shard has room for two from the beginning.
    assert!(slow.together.load(Ordering::Relaxed) >= 2);
    dtf.stop().await;
}

/// Does not come back about this task, and puts every other subtask back the first three times.
struct Picky {
    hangs_for: TaskId,
    asked: Mutex<BTreeMap<SubtaskId, u32>>,
    sent: AtomicUsize,
}

#[async_trait]
impl TaskScheduler for Picky {
    async fn before_dispatch(&self, id: SubtaskId, _: &Bytes) -> anyhow::Result<Dispatch> {
        if id.task == self.hangs_for {
            std::future::pending::<()>().await;
        }
        let asked = *self.asked.lock().unwrap().entry(id).and_modify(|asked| *asked += 1).or_insert(1);
        match asked {
            1..4 => Ok(Dispatch::After(Duration::from_secs(1))),
            _ => Ok(Dispatch::Now),
        }
    }

    async fn after_dispatch(&self, _: SubtaskId) -> anyhow::Result<()> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_subtask_that_is_put_back_is_asked_about_again_and_a_callback_that_hangs_delays_its_own_task_only()
{
    let stage = Stage::new();
    let hangs_for = TaskId(1);
    let picky = Arc::new(Picky { hangs_for, asked: Mutex::default(), sent: AtomicUsize::new(0) });
    let mut plugin = Numbers::new(ok);
    plugin.scheduler = Some(picky.clone());
    let dtf = stage.start("a", plugin).await;
    let hanging = dtf.client().create_task(KIND, count(100)).await.unwrap();
    assert_eq!(hanging.id(), hangs_for);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let row = dtf.client().create_task(KIND, count(10)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 10));
    // Three waits of a second. A scheduler that waits for a callback would have waited for the other task's besides.
    assert!(begun.elapsed() < Duration::from_millis(4500), "{:?}", begun.elapsed());
    assert!(picky.asked.lock().unwrap().values().all(|asked| *asked == 4));
    assert_eq!(picky.sent.load(Ordering::Relaxed), 10);
    hanging.cancel().await.unwrap();
    assert_eq!(hanging.wait().await.unwrap().status, TaskStatus::Cancelled);
    dtf.stop().await;
}
