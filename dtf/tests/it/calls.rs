//! The calls that a cluster makes: none for shards, tasks and executors that nothing happens to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dtf::model::{Role, TaskParam, TaskStatus, TaskTypeId};

use crate::common::wires::{Fate, Faults, wired};
use crate::common::{KIND, Numbers, Stage, count, ok};

const OTHER: TaskTypeId = TaskTypeId(101);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The calls made since they were last looked at, by the name of their method.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Calls {
    fn counting(&self) -> Faults {
        let calls = self.0.clone();
        Arc::new(move |method| {
            *calls.lock().unwrap().entry(method).or_default() += 1;
            Fate::Pass
        })
    }

    fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    async fn within(&self, span: Duration) -> BTreeMap<&'static str, u64> {
        self.take();
        tokio::time::sleep(span).await;
        self.take()
    }
}

fn of(calls: &BTreeMap<&'static str, u64>, methods: &[&str]) -> u64 {
    methods.iter().filter_map(|method| calls.get(method)).sum()
}

const ON_SHARDS: [&str; 4] = ["hold", "claim", "ship", "acknowledge"];

#[tokio::test(start_paused = true)]
async fn an_idle_cluster_makes_no_call_for_its_shards() {
    let (stage, calls) = (Stage::new(), Calls::default());
    let ports = wired(&stage.ports, &calls.counting());
    let dtf = stage.process_with_shards(ports, "a", Numbers::new(ok), 10_000);
    dtf.start_all().await.unwrap();
    let done = dtf.client().create_task(KIND, count(100)).await.unwrap().wait().await.unwrap();
    assert_eq!((done.status, done.counts.succeeded), (TaskStatus::Completed, 100));
    tokio::time::sleep(HOUR).await;
    let idle = calls.within(MINUTE).await;
    assert_eq!(of(&idle, &ON_SHARDS), 0, "{idle:?}");
    // One look over all shards every two minutes.
    assert!(of(&idle, &["credits"]) <= 1, "{idle:?}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_no_executor_knows_cost_nothing_and_delay_no_others() {
    let (stage, calls) = (Stage::new(), Calls::default());
    let ports = wired(&stage.ports, &calls.counting());
    let both = || vec![(KIND, Numbers::new(ok)), (OTHER, Numbers::new(ok))];
    let others = stage.process_knowing_on(ports, "others", both());
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        others.start_service(role).await.unwrap();
    }
    let executor = stage.process("executor", Numbers::new(ok));
    executor.start_service(Role::Executor).await.unwrap();
    let client = others.client();
    let patient = || TaskParam { timeout: 24 * HOUR, ..count(5) };
    let mut blocked = Vec::new();
    for _ in 0..200 {
        blocked.push(client.create_task(OTHER, patient()).await.unwrap());
    }
    tokio::time::sleep(MINUTE).await;
    let idle = calls.within(MINUTE).await;
    assert_eq!(of(&idle, &["take", "set_scheduler_blocked_on"]), 0, "{idle:?}");
    for task in &blocked {
        let blocked_on = task.status().await.unwrap().blocked_on().to_vec();
        assert!(
            blocked_on.iter().any(|waits| waits.contains("an executor that knows task type 101")),
            "{blocked_on:?}"
        );
    }
    // Another task takes its subtasks a hand at a time, as if it were alone.
    calls.take();
    let done = client.create_task(KIND, count(2_000)).await.unwrap().wait().await.unwrap();
    assert_eq!((done.status, done.counts.succeeded), (TaskStatus::Completed, 2_000));
    let takes = of(&calls.take(), &["take"]);
    assert!(takes <= 2_000, "{takes} takes for 2,000 subtasks");
    // As soon as there is an executor for them, they run.
    let capable = stage.process_knowing("capable", both());
    capable.start_service(Role::Executor).await.unwrap();
    for task in blocked {
        let row = task.wait().await.unwrap();
        assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 5));
    }
    for process in [others, executor, capable] {
        process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_of_one_subtask_makes_each_of_its_calls_once() {
    let (stage, calls) = (Stage::new(), Calls::default());
    let ports = wired(&stage.ports, &calls.counting());
    let dtf = stage.process_on(ports, "a", Numbers::new(ok));
    dtf.start_all().await.unwrap();
    let client = dtf.client();
    client.create_task(KIND, count(1)).await.unwrap().wait().await.unwrap();
    const TASKS: u64 = 20;
    calls.take();
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(client.create_task(KIND, count(1)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = calls.take();
    for task in tasks {
        assert_eq!(task.wait().await.unwrap().status, TaskStatus::Completed);
    }
    // What every task needs, whatever it is made of. Its last results conclude it.
    let once = [
        "insert",
        "begin_run",
        "open",
        "load_generator",
        "push",
        "load_scheduler",
        "take",
        "complete",
        "load_collector",
        "commit",
        "finish",
    ];
    for once in once {
        assert_eq!(of(&made, &[once]), TASKS, "{once}: {made:?}");
    }
    assert_eq!(of(&made, &["peek", "conclude"]), 0, "{made:?}");
    // The manager reads a task before it begins it and before it ends it; every role reads its state once.
    assert_eq!(of(&made, &["get"]), 2 * TASKS, "{made:?}");
    assert!(of(&made, &["state"]) <= 5 * TASKS, "{made:?}");
    dtf.stop().await;
}
