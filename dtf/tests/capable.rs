//! Work goes only to processes that know its type. Else it waits, and says for what.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::time::Duration;

use common::{KIND, Numbers, Stage, count, ok};
use dtf::TaskHandle;
use dtf::model::roles::Role;
use dtf::model::{TaskParam, TaskStatus, TaskType};

const OTHER: TaskType = TaskType(101);
const HOUR: Duration = Duration::from_secs(3600);

fn both() -> Vec<(TaskType, Numbers)> {
    vec![(KIND, Numbers::new(ok)), (OTHER, Numbers::new(ok))]
}

async fn until_it_waits(task: &TaskHandle, what: &str) {
    let look = async {
        while !task.status().await.unwrap().waits().iter().any(|waits| waits.contains(what)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(HOUR, look).await.is_err() {
        panic!("it does not wait for {what}: {:?}", task.status().await.unwrap());
    }
}

fn patient(subtasks: u64) -> TaskParam {
    TaskParam { timeout: 24 * HOUR, ..count(subtasks) }
}

#[tokio::test(start_paused = true)]
async fn subtasks_wait_for_an_executor_that_knows_their_type() {
    let stage = Stage::new();
    let others = stage.process_knowing("others", both());
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        others.start_service(role).await.unwrap();
    }
    let incapable = stage.process("incapable", Numbers::new(ok));
    incapable.start_service(Role::Executor).await.unwrap();
    let task = others.client().create_task(OTHER, patient(500)).await.unwrap();
    until_it_waits(&task, "an executor that knows task type 101").await;
    // Nobody else waits.
    let done = others.client().create_task(KIND, count(500)).await.unwrap().wait().await.unwrap();
    assert_eq!((done.status, done.counts.succeeded), (TaskStatus::Completed, 500));
    tokio::time::sleep(HOUR).await;
    assert_eq!(task.status().await.unwrap().progress().counted(), 0);
    let capable = stage.process_knowing("capable", both());
    capable.start_service(Role::Executor).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 500));
    assert!(task.status().await.unwrap().waits().is_empty());
    // Together they serve both types.
    let (one, two) = tokio::join!(
        async { others.client().create_task(KIND, count(3000)).await.unwrap().wait().await.unwrap() },
        async { others.client().create_task(OTHER, count(3000)).await.unwrap().wait().await.unwrap() },
    );
    assert_eq!((one.counts.succeeded, two.counts.succeeded), (3000, 3000));
    for process in [others, incapable, capable] {
        process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_roles_that_know_its_type() {
    let stage = Stage::new();
    let incapable = stage.start("incapable", Numbers::new(ok)).await;
    let client = stage.process_knowing("client", both()).client();
    let task = client.create_task(OTHER, patient(100)).await.unwrap();
    for role in ["generator", "scheduler", "collector"] {
        until_it_waits(&task, &format!("a {role} that knows task type 101")).await;
    }
    tokio::time::sleep(HOUR).await;
    assert_eq!(task.status().await.unwrap().row.status, TaskStatus::Running);
    let capable = stage.process_knowing("capable", both());
    capable.start_all().await.unwrap();
    incapable.stop().await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 100));
    assert!(task.status().await.unwrap().waits().is_empty(), "{:?}", task.status().await.unwrap().waits());
    capable.stop().await;
}
