//! Limits on how much of a task or a group runs, and how much a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::{Limits, ResourceGroup, TaskParam, TaskStatus};
use tokio::time::Instant;

fn at_most(running: u32) -> Limits {
    Limits { running: Some(running), rate: None }
}

/// Subtasks of 100 ms, and the most of them that were out at the same time.
async fn most_running(type_limits: Limits, group_limits: Limits, params: &[TaskParam]) -> u64 {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_millis(100);
    plugin.conf.limits = type_limits;
    let dtf = stage.start("a", plugin).await;
    let client = dtf.client();
    client.set_group(&ResourceGroup { limits: group_limits, ..ResourceGroup::default() }).await.unwrap();
    // Until the scheduler has read them.
    client.create_task(KIND, count(100)).await.unwrap().wait().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut tasks = Vec::new();
    for param in params {
        tasks.push(client.create_task(KIND, param.clone()).await.unwrap());
    }
    let most = Arc::new(AtomicU64::new(0));
    let watch = async {
        loop {
            let mut running = 0;
            for task in &tasks {
                running += task.status().await.unwrap().progress().running;
            }
            most.fetch_max(running, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let end = async {
        for task in &tasks {
            let row = task.wait().await.unwrap();
            assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, row.counts.created));
        }
    };
    tokio::select! {
        () = watch => {}
        () = end => {}
    }
    dtf.stop().await;
    most.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn no_more_of_a_task_run_than_it_says() {
    let limited = TaskParam { limits: at_most(3), ..count(50) };
    assert_eq!(most_running(Limits::NONE, Limits::NONE, &[limited]).await, 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_of_each_task_run_than_its_type_says() {
    assert_eq!(most_running(at_most(2), Limits::NONE, &[count(30), count(30)]).await, 4);
}

#[tokio::test(start_paused = true)]
async fn no_more_of_all_tasks_run_than_their_group_says() {
    assert_eq!(most_running(Limits::NONE, at_most(5), &[count(30), count(30), count(30)]).await, 5);
}

#[tokio::test(start_paused = true)]
async fn not_more_are_dispatched_a_second_than_the_limit_says() {
    let rate = Limits { running: None, rate: Some(20) };
    for (own, group) in [(rate, Limits::NONE), (Limits::NONE, rate)] {
        let stage = Stage::new();
        let dtf = stage.start("a", Numbers::new(ok)).await;
        let client = dtf.client();
        client.set_group(&ResourceGroup { limits: group, ..ResourceGroup::default() }).await.unwrap();
        client.create_task(KIND, count(1)).await.unwrap().wait().await.unwrap();
        let begun = Instant::now();
        let task = client.create_task(KIND, TaskParam { limits: own, ..count(200) }).await.unwrap();
        assert_eq!(task.wait().await.unwrap().counts.succeeded, 200);
        // Paused time: it passes only where somebody waits. A tenth of a second's worth goes at once.
        let took = begun.elapsed().as_secs_f64();
        assert!((9.0..=12.0).contains(&took), "{own:?} {group:?}: {took} s");
        dtf.stop().await;
    }
}
