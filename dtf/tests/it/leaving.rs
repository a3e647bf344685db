//! A process that is stopped leaves when its running subtasks have ended, and no later: the grace is for running work.

use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::Dtf;
use dtf::model::Role;
use tokio::time::Instant;

async fn stopped_within(process: &Dtf) -> Duration {
    let begun = Instant::now();
    process.stop().await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_runs_nothing_leaves_at_once_though_nobody_can_take_over() {
    // Before anything has moved, while it moves, and long after.
    for wait in [0, 1, 10, 100, 5000] {
        let stage = Stage::new();
        let only = stage.start("only", Numbers::new(ok)).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert!(stopped_within(&only).await < Duration::from_secs(1), "after {wait} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_executor_leaves_when_what_it_runs_has_ended() {
    let stage = Stage::new();
    let rest = stage.process("rest", Numbers::new(ok));
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        rest.start_service(role).await.unwrap();
    }
    let started =
        |instance| stage.process(instance, Numbers { takes: Duration::from_secs(5), ..Numbers::new(ok) });
    let executor = started("first");
    executor.start_service(Role::Executor).await.unwrap();
    let task = rest.client().create_task(KIND, count(100)).await.unwrap();
    while task.status().await.unwrap().progress().running == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Of the grace of 45 s it needs what the subtasks take, one after the other where a parcel has several.
    assert!(stopped_within(&executor).await < Duration::from_secs(10));
    let executor = started("second");
    executor.start_service(Role::Executor).await.unwrap();
    assert_eq!(task.wait().await.unwrap().counts.succeeded, 100);
    executor.stop().await;
    rest.stop().await;
}
