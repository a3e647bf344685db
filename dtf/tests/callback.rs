//! The scheduler's callback of a plugin.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{KIND, Numbers, Stage, count, ok};
use dtf::model::plugin::{Dispatch, TaskScheduler};
use dtf::model::{SubtaskId, TaskStatus};

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
