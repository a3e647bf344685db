//! Generators and collectors that are slow, or fail now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{self, KIND, Numbers, Stage, count, ok};
use dtf::model::plugin::TaskConf;
use dtf::model::{TaskParam, TaskStatus};

/// Panics at the calls with these numbers, from 0.
fn panics_at(calls: &'static [usize]) -> (Arc<AtomicUsize>, Arc<common::OnCall>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let call = move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        assert!(!calls.contains(&call), "call {call}");
    };
    (made, Arc::new(call))
}

#[tokio::test(start_paused = true)]
async fn a_slow_collector_has_the_limit_for_each_result() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.collecting = Duration::from_millis(100);
    let dtf = stage.start("a", plugin).await;
    let param = TaskParam { timeout: Duration::from_secs(86_400), ..count(20_000) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 20_000), "{}", row.reason);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_generator_and_a_collector_that_fail_go_on_from_what_is_saved() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    let (batches, on_batch) = panics_at(&[0, 2, 3, 4, 5]);
    let (results, on_result) = panics_at(&[0, 1, 500, 501, 502, 503, 2500]);
    (plugin.on_batch, plugin.on_result) = (on_batch, on_result);
    plugin.conf.backlog = 1000;
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, count(10_000)).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 10_000), "{}", row.reason);
    assert_eq!(row.counts.created, 10_000);
    assert!(batches.load(Ordering::Relaxed) > 6 && results.load(Ordering::Relaxed) > 10_006);
    dtf.stop().await;
    let books = books.lock().unwrap();
    assert!(books.len() == 10_000 && books.values().flatten().all(|text| text == "ok"));
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_on_failing_is_given_up_and_says_so_meanwhile() {
    for of_generator in [true, false] {
        let stage = Stage::new();
        let mut plugin = Numbers::new(ok);
        plugin.conf = TaskConf { call_attempts: 3, ..plugin.conf };
        let (calls, fails) = panics_at(&[0, 1, 2, 3, 4, 5]);
        match of_generator {
            true => plugin.on_batch = fails,
            false => plugin.on_result = fails,
        }
        let dtf = stage.start("a", plugin).await;
        let task = dtf.client().create_task(KIND, count(10)).await.unwrap();
        let says = |attempt: &str| {
            let client = dtf.client();
            let (id, attempt) = (task.id(), format!("(attempt {attempt} of 3)"));
            async move {
                loop {
                    let queues = client.task_status(id).await.unwrap().queues;
                    if queues.is_some_and(|state| state.blocked_on.iter().any(|wait| wait.contains(&attempt)))
                    {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        says("1").await;
        says("2").await;
        let row = task.wait().await.unwrap();
        assert_eq!(row.status, TaskStatus::Exceptional);
        assert!(row.reason.contains("call 2") && row.reason.contains("(3 attempts)"), "{}", row.reason);
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        dtf.stop().await;
    }
}
