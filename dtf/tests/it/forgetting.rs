//! Stores of queues and shards that forget: their last writes, those of one node of several, or everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::wires::{Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::Role;
use dtf::model::queue::TaskState;
use dtf::model::{RunEpoch, TaskStatus};
use dtf::{Ports, TaskHandle};
use dtf_memory::{MemoryTable, QueuesSnapshot, ShardsSnapshot};
use lrmf_core::clock::RuntimeClock;
use lrmf_core::{Clock, MemoryStore, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Waits until the queues of a task are as wanted.
async fn until(task: &TaskHandle, holds: impl Fn(&TaskState) -> bool) {
    let holding = async {
        loop {
            let status = task.status().await.unwrap();
            if status.queues.as_ref().is_some_and(&holds) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(DAY, holding).await.is_ok(), "{:?}", task.status().await.unwrap());
}

async fn completes(task: &TaskHandle, counted: u64) -> RunEpoch {
    let Ok(row) = tokio::time::timeout(Duration::from_secs(1500), task.wait()).await else {
        panic!("never ends: {:?}", task.status().await.unwrap())
    };
    let row = row.unwrap();
    let counts = (row.counts.created, row.counts.succeeded);
    assert_eq!((row.status, counts), (TaskStatus::Completed, (counted, counted)));
    row.run
}

fn slow(takes: Duration) -> Numbers {
    let mut plugin = Numbers::new(ok);
    plugin.takes = takes;
    plugin
}

#[tokio::test(start_paused = true)]
async fn a_generator_that_had_finished_pushes_again_what_was_forgotten() {
    let stage = Stage::new();
    let dtf = stage.start("a", slow(Duration::from_millis(10))).await;
    let task = dtf.client().create_task(KIND, count(3000)).await.unwrap();
    until(&task, |state| state.counts.created > 0 && !state.generated).await;
    let (queues, shards) = (stage.queues.snapshot(), stage.shards.snapshot());
    until(&task, |state| state.generated).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.queues.roll_back(&queues);
    stage.shards.roll_back(&shards);
    assert_eq!(completes(&task, 3000).await, RunEpoch(1));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_had_concluded_concludes_again() {
    let stage = Stage::new();
    let [conclude_away, finish_away] = [(); 2].map(|()| Arc::new(AtomicBool::new(true)));
    let (conclude, finish) = (conclude_away.clone(), finish_away.clone());
    let faults: Faults = Arc::new(move |name| match name {
        "conclude" if conclude.load(Ordering::Relaxed) => Fate::Unreachable,
        "finish" if finish.load(Ordering::Relaxed) => Fate::Unreachable,
        _ => Fate::Pass,
    });
    let dtf = stage.start_wired("a", slow(Duration::from_millis(100)), &faults).await;
    let task = dtf.client().create_task(KIND, count(200)).await.unwrap();
    // All is collected. Only that it was concluded is forgotten, after which there was nothing more to do.
    until(&task, TaskState::is_complete).await;
    let queues = stage.queues.snapshot();
    conclude_away.store(false, Ordering::Relaxed);
    until(&task, |state| state.ending.is_some()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.queues.roll_back(&queues);
    finish_away.store(false, Ordering::Relaxed);
    assert_eq!(completes(&task, 200).await, RunEpoch(1));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_on_no_shard_is_shipped_again() {
    for noticed in [true, false] {
        let stage = Stage::new();
        let dtf = stage.start("a", slow(Duration::from_secs(1))).await;
        let task = dtf.client().create_task(KIND, count(100)).await.unwrap();
        until(&task, |state| state.counts.succeeded > 3 && state.running > 0).await;
        stage.shards.roll_back(&ShardsSnapshot::default());
        if noticed {
            // Another life, and nothing of the task is forgotten.
            stage.queues.roll_back(&stage.queues.snapshot());
        }
        assert_eq!(completes(&task, 100).await, RunEpoch(1));
        dtf.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_books_of_a_task_go_back_and_what_its_executors_still_report_is_counted_once() {
    let stage = Stage::new();
    let dtf = stage.start("a", slow(Duration::from_millis(50))).await;
    let task = dtf.client().create_task(KIND, count(2000)).await.unwrap();
    for _ in 0..5 {
        let before = task.status().await.unwrap().progress().succeeded;
        until(&task, |state| state.counts.succeeded > before + 50).await;
        let queues = stage.queues.snapshot();
        tokio::time::sleep(Duration::from_millis(700)).await;
        // The shards keep what they have: they are on another node.
        stage.queues.roll_back(&queues);
    }
    assert_eq!(completes(&task, 2000).await, RunEpoch(1));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_of_which_everything_is_forgotten_is_started_again() {
    let stage = Stage::new();
    let dtf = stage.start("a", slow(Duration::from_millis(50))).await;
    let task = dtf.client().create_task(KIND, count(300)).await.unwrap();
    until(&task, |state| state.counts.succeeded > 100).await;
    stage.queues.roll_back(&QueuesSnapshot::default());
    stage.shards.roll_back(&ShardsSnapshot::default());
    assert_eq!(completes(&task, 300).await, RunEpoch(2));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn queues_whose_deletion_is_forgotten_are_deleted_again() {
    let stage = Stage::new();
    let dtf = stage.start("a", slow(Duration::from_millis(5))).await;
    let task = dtf.client().create_task(KIND, count(30)).await.unwrap();
    completes(&task, 30).await;
    let queues = stage.queues.snapshot();
    while !stage.queues.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.queues.roll_back(&queues);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(stage.queues.is_empty());
    dtf.stop().await;
}

/// Its time of day is a day ahead.
#[derive(Debug)]
struct Ahead(RuntimeClock);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn unix_millis(&self) -> u64 {
        self.0.unix_millis() + 24 * 3600 * 1000
    }
}

#[tokio::test(start_paused = true)]
async fn the_coordination_store_forgets_everything_and_the_clock_was_put_right() {
    let stage = Stage::new();
    let clock = Arc::new(Ahead(RuntimeClock::new()));
    let dtf = stage.process_at(clock, stage.ports.clone(), "a", slow(Duration::from_millis(50)));
    dtf.start_all().await.unwrap();
    let task = dtf.client().create_task(KIND, count(2000)).await.unwrap();
    until(&task, |state| state.counts.succeeded > 100).await;
    dtf.stop().await;
    // What the queues remember of the former holders is above everything that the clock says now.
    let ports = Ports { coordination: Arc::new(MemoryStore::new()), ..stage.ports.clone() };
    let dtf = stage.process_on(ports, "b", slow(Duration::from_millis(50)));
    dtf.start_all().await.unwrap();
    let again = dtf.client().task(task.id());
    assert_eq!(completes(&again, 2000).await, RunEpoch(1));
    dtf.stop().await;
}

/// Executors that connect to no database may be the ones whose clock was wrong.
#[tokio::test(start_paused = true)]
async fn so_it_does_for_processes_that_only_execute() {
    const REST: [Role; 4] = [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector];
    let stage = Stage::new();
    let nowhere =
        |coordination| Ports { table: Arc::new(MemoryTable::default()), coordination, ..stage.ports.clone() };
    let ahead = Arc::new(Ahead(RuntimeClock::new()));
    let early = stage.process_at(
        ahead,
        nowhere(Arc::new(MemoryStore::new())),
        "early",
        slow(Duration::from_millis(50)),
    );
    early.start_service(Role::Executor).await.unwrap();
    let rest = stage.process("rest", slow(Duration::from_millis(50)));
    for role in REST {
        rest.start_service(role).await.unwrap();
    }
    let task = rest.client().create_task(KIND, count(2000)).await.unwrap();
    until(&task, |state| state.counts.succeeded > 100).await;
    early.stop().await;
    let ports = nowhere(Arc::new(MemoryStore::new()));
    let late = stage.process_on(ports, "late", slow(Duration::from_millis(50)));
    late.start_service(Role::Executor).await.unwrap();
    assert_eq!(completes(&task, 2000).await, RunEpoch(1));
    late.stop().await;
    rest.stop().await;
}

/// The copy's generations are lower than the tokens that queues and shards have seen, and its counter is there.
#[tokio::test(start_paused = true)]
async fn the_coordination_store_goes_back_to_an_older_copy() {
    let stage = Stage::new();
    let store = MemoryStore::new();
    let ports = Ports { coordination: Arc::new(store.clone()), ..stage.ports.clone() };
    let dtf = stage.process_on(ports.clone(), "a", slow(Duration::from_millis(50)));
    dtf.start_all().await.unwrap();
    let task = dtf.client().create_task(KIND, count(10_000)).await.unwrap();
    until(&task, |state| state.counts.succeeded > 100).await;
    let copy = store.backup();
    for _ in 0..3 {
        let passing = stage.process_on(ports.clone(), "b", slow(Duration::from_millis(50)));
        passing.start_all().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        passing.stop().await;
    }
    store.restore(&copy);
    assert_eq!(completes(&task, 10_000).await, RunEpoch(1));
    dtf.stop().await;
}
