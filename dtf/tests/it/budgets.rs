//! The budget of waiting results through all roles: collectors that are behind fill the store no further than that.

use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count};
use dtf::model::plugin::SubtaskResult;
use dtf::model::queue::QueueReader;
use dtf::model::{TaskParam, TaskStatus};

const TASKS: usize = 24;
const SUBTASKS: u64 = 100;
const RESULT: usize = 16 * 1024;

/// Runs tasks with large results and a slow collector. Returns the most bytes of results that waited.
async fn peak(budget: u64) -> u64 {
    let stage = Stage::new();
    let slow = Numbers {
        collecting: Duration::from_millis(50),
        ..Numbers::new(|_, _| Ok(SubtaskResult { msg: "x".repeat(RESULT), ..SubtaskResult::default() }))
    };
    let dtf = stage.builder_with(stage.ports.clone(), "p", slow, |config| {
        config.scheduler.results_bytes = budget;
    });
    let dtf = dtf.build().unwrap();
    dtf.start_all().await.unwrap();
    let client = dtf.client();
    let param = || TaskParam { timeout: Duration::from_secs(24 * 3600), ..count(SUBTASKS) };
    let created = client.create_tasks(KIND, (0..TASKS).map(|_| param())).await;
    let tasks: Vec<_> = created.into_iter().map(Result::unwrap).collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id()).collect();
    let mut most = 0;
    let watched = async {
        loop {
            let progress = stage.queues.progress_of(&ids).await.unwrap();
            most = most.max(progress.iter().map(|(_, progress)| progress.results_bytes).sum::<u64>());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ended = futures::future::join_all(tasks.iter().map(|task| task.wait()));
    let outcomes = tokio::select! {
        () = watched => unreachable!("it goes on"),
        outcomes = ended => outcomes,
    };
    for outcome in outcomes {
        let outcome = outcome.unwrap();
        assert_eq!((outcome.status, outcome.counts.succeeded), (TaskStatus::Completed, SUBTASKS));
    }
    dtf.stop().await;
    most
}

/// The bound is soft by what runs when it is reached; without it, nearly everything waits.
#[tokio::test(start_paused = true)]
async fn results_wait_within_their_budget_and_every_task_ends() {
    let all = TASKS as u64 * SUBTASKS * RESULT as u64;
    let without = peak(1 << 30).await;
    assert!(without > all / 2, "{without} of {all}");
    let within = peak(1 << 20).await;
    assert!(within < without / 4, "{within} with a budget of 1 MiB, {without} without");
}
