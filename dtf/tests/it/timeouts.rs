//! The four timeouts: of a subtask, of a task, of its type, and of its wait for its turn. Paused time counts for none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::wires::{Fate, Faults, wired};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::Role;
use dtf::model::table::TaskRow;
use dtf::model::{TaskParam, TaskStatus};
use dtf::{Dtf, TaskHandle};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(25);

/// A task of so many subtasks that may run for a long time, as far as it itself says.
fn patient(subtasks: u64) -> TaskParam {
    TaskParam { timeout: 100 * HOUR, ..count(subtasks) }
}

/// Lets a task run for 5 s, then rest for an hour, and go on.
async fn paused_for_an_hour(task: &TaskHandle) {
    tokio::time::sleep(Duration::from_secs(5)).await;
    task.pause().await.unwrap();
    tokio::time::sleep(HOUR).await;
    task.resume().await.unwrap();
}

/// Returns the time that an ended task ran, pauses left out.
fn ran(row: &TaskRow) -> Duration {
    let (started, finished) = (row.started_at.unwrap(), row.finished_at.unwrap());
    Duration::from_millis(finished - started - row.paused_for)
}

/// It was aborted when it had run for `LIMIT`, for this reason, and was paused for an hour in between.
fn was_aborted_in_time(row: &TaskRow, reason: &str) {
    assert_eq!((row.status, row.reason.as_str()), (TaskStatus::Exceptional, reason));
    assert!(Duration::from_millis(row.paused_for) >= HOUR, "{row:?}");
    assert!((LIMIT..LIMIT + Duration::from_secs(2)).contains(&ran(row)), "{:?}, {row:?}", ran(row));
    assert_eq!(row.counts.counted(), row.counts.created);
}

#[tokio::test(start_paused = true)]
async fn a_subtask_over_its_time_is_dropped_and_told_and_waiting_through_a_pause_costs_the_others_nothing() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(8);
    plugin.slow = Some((1, Duration::from_secs(20)));
    plugin.conf.subtask_timeout = Duration::from_secs(10);
    let tokens: Arc<Mutex<BTreeMap<u64, CancellationToken>>> = Arc::default();
    let noted = tokens.clone();
    plugin.on_start = Arc::new(move |number, context| {
        noted.lock().unwrap().insert(number, context.cancelled.clone());
    });
    let broken_off = plugin.broken_off.clone();
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, patient(12)).await.unwrap();
    paused_for_an_hour(&task).await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded, row.counts.timed_out), (TaskStatus::Completed, 11, 1));
    assert_eq!(*broken_off.lock().unwrap(), [1], "its future was not dropped, or another one's was");
    let is_told = |(number, token): (&u64, &CancellationToken)| token.is_cancelled().then_some(*number);
    let told: Vec<_> = tokens.lock().unwrap().iter().filter_map(is_told).collect();
    assert_eq!(told, [1]);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_over_its_time_is_aborted_and_a_pause_does_not_count() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(3);
    let dtf = stage.start("a", plugin).await;
    let param = TaskParam { timeout: LIMIT, ..count(1000) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    paused_for_an_hour(&task).await;
    was_aborted_in_time(&task.wait().await.unwrap(), "timed out after 25s");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_over_the_time_of_its_type_is_aborted_and_a_pause_does_not_count() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(3);
    plugin.conf.task_type_timeout = LIMIT;
    let dtf = stage.start("a", plugin).await;
    let task = dtf.client().create_task(KIND, patient(1000)).await.unwrap();
    paused_for_an_hour(&task).await;
    was_aborted_in_time(&task.wait().await.unwrap(), "timed out after 25s");
    dtf.stop().await;
}

/// A process without executors, so that everything waits.
async fn without_executor(stage: &Stage, plugin: Numbers) -> Dtf {
    let dtf = stage.process("a", plugin);
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        dtf.start_service(role).await.unwrap();
    }
    dtf
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_too_long_for_its_turn_is_aborted_and_a_pause_does_not_count() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.conf.queue_timeout = Some(LIMIT);
    let dtf = without_executor(&stage, plugin).await;
    let task = dtf.client().create_task(KIND, patient(10)).await.unwrap();
    paused_for_an_hour(&task).await;
    let row = task.wait().await.unwrap();
    was_aborted_in_time(&row, "nothing of it was run within 25s");
    assert_eq!(row.counts.cancelled, 10);
    dtf.stop().await;
}

/// The store of the queues is away when the first run is begun. It is that run which goes on when it is back, so the limit holds.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_turn_is_limited_also_where_the_queues_could_not_be_made_at_first() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.conf.queue_timeout = Some(LIMIT);
    let away = Arc::new(AtomicBool::new(true));
    let seen = away.clone();
    let faults: Faults = Arc::new(move |name| match name {
        "open" if seen.load(Ordering::SeqCst) => Fate::Unreachable,
        _ => Fate::Pass,
    });
    let dtf = stage.process_on(wired(&stage.ports, &faults), "a", plugin);
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        dtf.start_service(role).await.unwrap();
    }
    let task = dtf.client().create_task(KIND, patient(10)).await.unwrap();
    tokio::time::sleep(LIMIT / 2).await;
    away.store(false, Ordering::SeqCst);
    let row = task.wait().await.unwrap();
    let ended = (row.run.0, row.status, row.reason.as_str());
    assert_eq!(ended, (1, TaskStatus::Exceptional, "nothing of it was run within 25s"));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_had_its_turn_in_time_may_take_longer() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.conf.queue_timeout = Some(LIMIT);
    plugin.takes = Duration::from_secs(10);
    let dtf = without_executor(&stage, plugin).await;
    let task = dtf.client().create_task(KIND, patient(40)).await.unwrap();
    tokio::time::sleep(LIMIT - Duration::from_secs(5)).await;
    dtf.start_service(Role::Executor).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 40));
    assert!(ran(&row) > 4 * LIMIT);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_before_the_start_gives_no_more_time_afterwards() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(3);
    let dtf = stage.process("a", plugin);
    let param = TaskParam { timeout: LIMIT, ..count(1000) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    task.pause().await.unwrap();
    tokio::time::sleep(HOUR).await;
    task.resume().await.unwrap();
    dtf.start_all().await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.reason.as_str()), (TaskStatus::Exceptional, "timed out after 25s"));
    let took = Duration::from_millis(row.finished_at.unwrap() - row.started_at.unwrap());
    assert!((LIMIT..LIMIT + Duration::from_secs(2)).contains(&took), "{took:?}");
    dtf.stop().await;
}
