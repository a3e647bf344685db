//! Work goes only to processes that know its type. Else it waits, and says for what.

use std::time::Duration;

use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::TaskHandle;
use dtf::model::Role;
use dtf::model::{TaskParam, TaskStatus, TaskTypeId};

const OTHER: TaskTypeId = TaskTypeId(101);
const HOUR: Duration = Duration::from_secs(3600);

fn both() -> Vec<(TaskTypeId, Numbers)> {
    vec![(KIND, Numbers::new(ok)), (OTHER, Numbers::new(ok))]
}

async fn until_it_waits(task: &TaskHandle, what: &str) {
    let look = async {
        while !task.status().await.unwrap().blocked_on().iter().any(|waits| waits.contains(what)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(HOUR, look).await.is_err() {
        panic!("it does not wait for {what}: {:?}", task.status().await.unwrap());
    }
}

async fn ends_with(task: &TaskHandle, succeeded: u64) {
    let Ok(row) = tokio::time::timeout(HOUR, task.wait()).await else {
        panic!("never ends: {:?}", task.status().await.unwrap());
    };
    let row = row.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, succeeded));
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
    assert!(task.status().await.unwrap().blocked_on().is_empty());
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
    let known = client.create_task(KIND, patient(100)).await.unwrap();
    // Nobody who stays is told to leave.
    let capable = stage.process_knowing("capable", both());
    capable.start_all().await.unwrap();
    for task in [&task, &known] {
        ends_with(task, 100).await;
    }
    assert!(
        task.status().await.unwrap().blocked_on().is_empty(),
        "{:?}",
        task.status().await.unwrap().blocked_on()
    );
    incapable.stop().await;
    capable.stop().await;
}

/// One of twelve knows what is needed.
#[tokio::test(start_paused = true)]
async fn the_one_who_knows_is_found_among_many_who_do_not() {
    let stage = Stage::new();
    let mut processes = Vec::new();
    for number in 0..11 {
        let process = stage.process(&format!("incapable-{number}"), Numbers::new(ok));
        // There are fewer shards than processes, and who holds none executes nothing.
        for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
            process.start_service(role).await.unwrap();
        }
        processes.push(process);
    }
    let capable = stage.process_knowing("capable", both());
    capable.start_all().await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..12 {
        tasks.push(capable.client().create_task(OTHER, patient(50)).await.unwrap());
    }
    for task in &tasks {
        ends_with(task, 50).await;
    }
    processes.push(capable);
    for process in processes {
        process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_knows_all_types_each_has_its_time() {
    let stage = Stage::new();
    let one = stage.start("one", Numbers::new(ok)).await;
    let other = stage.process_knowing("other", vec![(OTHER, Numbers::new(ok))]);
    other.start_all().await.unwrap();
    let client = stage.process_knowing("client", both()).client();
    let mut tasks = Vec::new();
    for round in 0..6 {
        let kind = if round % 2 == 0 { KIND } else { OTHER };
        tasks.push(client.create_task(kind, patient(1000)).await.unwrap());
    }
    for task in &tasks {
        ends_with(task, 1000).await;
    }
    one.stop().await;
    other.stop().await;
}

/// Numbers of this version.
fn version(version: u32) -> Numbers {
    let mut plugin = Numbers::new(ok);
    plugin.conf.version = version;
    plugin
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_to_those_whose_plugin_is_of_its_version_or_a_later_one() {
    let stage = Stage::new();
    let old = stage.start("old", version(1)).await;
    // Whoever creates a task names its version, whatever the others have.
    let task = stage.process("client", version(2)).client().create_task(KIND, patient(100)).await.unwrap();
    assert_eq!(task.status().await.unwrap().row.param.type_version, 2);
    for role in ["generator", "scheduler", "collector"] {
        until_it_waits(&task, &format!("a {role} that knows task type 100 in version 2 or later")).await;
    }
    // Its own tasks go on meanwhile, and there is nothing that it lacks for these.
    ends_with(&old.client().create_task(KIND, patient(100)).await.unwrap(), 100).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(task.status().await.unwrap().progress().created, 0);
    let new = stage.start("new", version(3)).await;
    ends_with(&task, 100).await;
    // A later one works on what was created for an earlier one.
    old.stop().await;
    let param = TaskParam { type_version: 1, ..patient(100) };
    ends_with(&stage.process("client", version(0)).client().create_task(KIND, param).await.unwrap(), 100)
        .await;
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn subtasks_wait_for_an_executor_of_their_version() {
    let stage = Stage::new();
    let others = stage.process("others", version(2));
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        others.start_service(role).await.unwrap();
    }
    let old = stage.process("old", version(1));
    old.start_service(Role::Executor).await.unwrap();
    let task = others.client().create_task(KIND, patient(500)).await.unwrap();
    until_it_waits(&task, "an executor that knows task type 100 in version 2 or later").await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(task.status().await.unwrap().progress().counted(), 0);
    let new = stage.process("new", version(2));
    new.start_service(Role::Executor).await.unwrap();
    ends_with(&task, 500).await;
    for process in [others, old, new] {
        process.stop().await;
    }
}
