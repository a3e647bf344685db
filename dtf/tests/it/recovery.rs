//! Answers that are lost, hints that are lost, and plugins that misbehave: every task still comes to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::wires::{Fate, Faults};
use crate::common::{Fault, KIND, Numbers, Stage, count, ok};
use dtf::model::plugin::{ExecuteError, OnFailure, SubtaskResult};
use dtf::model::table::TaskRow;
use dtf::model::wake::{Hint, Listener, Topic, WakeUp};
use dtf::model::{TaskId, TaskParam, TaskStatus};
use dtf::{Dtf, Ports};
use tokio::sync::Notify;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs a task to its end, or fails.
async fn run(dtf: &Dtf, param: TaskParam) -> TaskRow {
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    match tokio::time::timeout(2 * DAY, task.wait()).await {
        Ok(row) => row.unwrap(),
        Err(_) => panic!("the task never ends: {:?}", task.status().await.unwrap()),
    }
}

/// The first call of a method, once another one has been called, meets this fate.
fn once(method: &'static str, after: &'static str, fate: fn() -> Fate) -> Faults {
    let (armed, met) = (AtomicBool::new(method == after), AtomicBool::new(false));
    Arc::new(move |name| {
        armed.fetch_or(name == after, Ordering::Relaxed);
        if name == method && armed.load(Ordering::Relaxed) && !met.swap(true, Ordering::Relaxed) {
            return fate();
        }
        Fate::Pass
    })
}

async fn completes(faults: Faults) {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_millis(100);
    let dtf = stage.start_wired("a", plugin, &faults).await;
    let row = run(&dtf, count(200)).await;
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 200));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn parcels_taken_with_a_lost_answer_are_shipped_all_the_same() {
    completes(once("take", "push", || Fate::Unknown)).await;
}

#[tokio::test(start_paused = true)]
async fn parcels_claimed_with_a_lost_answer_are_run_all_the_same() {
    completes(once("claim", "ship", || Fate::Unknown)).await;
}

#[tokio::test(start_paused = true)]
async fn parcels_shipped_with_a_lost_answer_are_counted_once() {
    completes(once("ship", "ship", || Fate::Unknown)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_shipped_and_could_not_be_put_back_is_not_lost() {
    let (shipped, put_back) =
        (once("ship", "ship", || Fate::Unreachable), once("put_back", "put_back", || Fate::Unreachable));
    completes(Arc::new(move |name| match name {
        "ship" => shipped(name),
        _ => put_back(name),
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_policy_on_failures_holds_across_a_store_that_was_away() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(|number, _| match number {
        7 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ => Ok(SubtaskResult::default()),
    });
    plugin.conf.on_failure = OnFailure::StopAtFirst;
    let faults = once("stop_by_collector", "stop_by_collector", || Fate::Unreachable);
    let dtf = stage.start_wired("a", plugin, &faults).await;
    assert_eq!(run(&dtf, count(8)).await.status, TaskStatus::Exceptional);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_at_other_tasks_cancels_no_new_one() {
    let stage = Stage::new();
    let (gate, held) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (until, holding, met) = (gate.clone(), held.clone(), AtomicBool::new(false));
    let faults: Faults = Arc::new(move |name| {
        if name == "controls" && !met.swap(true, Ordering::Relaxed) {
            holding.notify_one();
            return Fate::Held(until.clone());
        }
        Fate::Pass
    });
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(60);
    let dtf = stage.start_wired("a", plugin, &faults).await;
    let first = dtf.client().create_task(KIND, count(1)).await.unwrap();
    held.notified().await;
    let second = dtf.client().create_task(KIND, count(1)).await.unwrap();
    while second.status().await.unwrap().progress().running == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    gate.notify_one();
    assert_eq!(second.wait().await.unwrap().counts.succeeded, 1);
    assert_eq!(first.wait().await.unwrap().counts.succeeded, 1);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subtask_over_its_time_costs_none_of_its_parcel() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.slow = Some((4000, DAY));
    let dtf = stage.start("a", plugin).await;
    let counts = run(&dtf, count(6000)).await.counts;
    assert_eq!((counts.succeeded, counts.timed_out, counts.cancelled), (5999, 1, 0));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_misbehaves_ends_its_task_and_no_other() {
    use Fault::{
        CollectorStatusPanics, GeneratorStatusPanics, ProgressPanics, ResultTooLarge, SchedulerPanics,
    };
    for fault in
        [GeneratorStatusPanics, ProgressPanics, SchedulerPanics, CollectorStatusPanics, ResultTooLarge]
    {
        let stage = Stage::new();
        let mut plugin = Numbers::new(ok);
        plugin.fault = Some(fault);
        let dtf = stage.start("a", plugin).await;
        let row = run(&dtf, count(10)).await;
        assert_eq!(row.status, TaskStatus::Exceptional, "{fault:?}");
        let told = if fault == ResultTooLarge {
            "the size of the task's result".to_owned()
        } else {
            format!("{fault:?}")
        };
        assert!(row.reason.contains(&told), "{fault:?}: {}", row.reason);
        dtf.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_hangs_does_not_keep_a_process_from_stopping() {
    for fault in [Fault::GeneratorHangs, Fault::CollectorHangs] {
        let stage = Stage::new();
        let mut plugin = Numbers::new(ok);
        plugin.fault = Some(fault);
        let dtf = stage.start("a", plugin).await;
        dtf.client().create_task(KIND, count(10)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = tokio::time::Instant::now();
        dtf.stop().await;
        assert!(before.elapsed() < Duration::from_secs(10), "{fault:?}: {:?}", before.elapsed());
    }
}

/// Hints that nobody hears.
struct Deaf;

struct Nothing;

impl WakeUp for Deaf {
    fn notify(&self, _topic: Topic, _task: TaskId) {}

    fn listen(&self, _topic: Topic) -> Box<dyn Listener> {
        Box::new(Nothing)
    }
}

#[async_trait::async_trait]
impl Listener for Nothing {
    async fn next(&mut self) -> Hint {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_hint_everything_is_only_later() {
    let stage = Stage::new();
    let ports = Ports { wake: Arc::new(Deaf), ..stage.ports.clone() };
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_millis(100);
    let dtf = stage.process_on(ports, "a", plugin);
    dtf.start_all().await.unwrap();
    let done = run(&dtf, count(100)).await;
    assert_eq!((done.status, done.counts.succeeded), (TaskStatus::Completed, 100));
    let task = dtf.client().create_task(KIND, count(100_000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    dtf.client().pause_task(task.id()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(task.status().await.unwrap().progress().running, 0);
    dtf.client().resume_task(task.id()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    task.cancel().await.unwrap();
    assert_eq!(task.wait().await.unwrap().status, TaskStatus::Cancelled);
    dtf.stop().await;
}
