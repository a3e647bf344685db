//! The order of turns, where the scheduler's own tests cannot see it: with executors that are lost, and lists of all tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::wires::{Fate, Faults, wired};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::Role;
use dtf::model::{Priority, TaskId, TaskParam, TaskTypeId};
use dtf::{Dtf, TaskHandle};
use tokio::time::Instant;

const LONG: TaskTypeId = TaskTypeId(101);
const HOUR: Duration = Duration::from_secs(3600);

/// The executors and the tasks of begun subtasks, in the order of their beginning.
type Starts = Arc<Mutex<Vec<(&'static str, TaskId)>>>;

/// Subtasks of a second, and of an hour.
fn kinds(instance: &'static str, starts: &Starts) -> Vec<(TaskTypeId, Numbers)> {
    let kind = |task_type, takes| {
        let starts = starts.clone();
        let mut plugin = Numbers::new(ok);
        plugin.takes = takes;
        plugin.conf.subtask_timeout = 2 * HOUR;
        plugin.on_start =
            Arc::new(move |_, context| starts.lock().unwrap().push((instance, context.id.task)));
        (task_type, plugin)
    };
    vec![kind(KIND, Duration::from_secs(1)), kind(LONG, HOUR)]
}

/// A process that can be cut off from everything.
struct Process {
    dtf: Dtf,
    cut: Arc<AtomicBool>,
}

impl Process {
    async fn start(stage: &Stage, instance: &'static str, roles: &[Role], starts: &Starts) -> Self {
        let cut = Arc::<AtomicBool>::default();
        let is_cut = cut.clone();
        let faults: Faults = Arc::new(move |_| match is_cut.load(Ordering::Relaxed) {
            true => Fate::Unreachable,
            false => Fate::Pass,
        });
        let ports = wired(&stage.ports, &faults);
        let dtf = stage.process_knowing_on(ports, instance, kinds(instance, starts));
        for role in roles {
            dtf.start_service(*role).await.unwrap();
        }
        Self { dtf, cut }
    }

    /// It says nothing any more, as if its process had been killed.
    async fn kill(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.dtf.kill().await;
    }
}

/// Waits for something, with a limit.
async fn until<F: Future<Output = bool>>(wanted: impl Fn() -> F) {
    let begin = Instant::now();
    while !wanted().await {
        assert!(begin.elapsed() < HOUR / 6, "it never comes to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_running(task: &TaskHandle, subtasks: u64) {
    until(|| async { task.status().await.unwrap().progress().running >= subtasks }).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_with_an_executor_goes_ahead_of_everybody() {
    let (stage, starts) = (Stage::new(), Starts::default());
    let others = [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector];
    let others = Process::start(&stage, "others", &others, &starts).await;
    let executors = [
        Process::start(&stage, "first", &[Role::Executor], &starts).await,
        Process::start(&stage, "second", &[Role::Executor], &starts).await,
    ];
    let low = TaskParam { priority: Priority::LOW, timeout: 9 * HOUR, ..count(2) };
    let low = others.dtf.client().create_task(LONG, low).await.unwrap();
    until_running(&low, 2).await;
    let victim = usize::from(starts.lock().unwrap()[0].0 == "second");
    let mut high = Vec::new();
    for _ in 0..4 {
        let param = TaskParam { priority: Priority::HIGH, timeout: 9 * HOUR, ..count(5000) };
        let task = others.dtf.client().create_task(KIND, param).await.unwrap();
        until_running(&task, 1).await;
        high.push(task);
    }
    executors[victim].kill().await;
    let of_low = || starts.lock().unwrap().iter().filter(|(_, task)| *task == low.id()).count();
    until(|| async { of_low() > 2 }).await;
    // The session's end takes ten seconds, in which the other executor's slots each begin with a subtask a second. As a turn of
    // its own a task of the lowest priority beside four of the highest would have had it after some thousand others.
    let behind = starts.lock().unwrap().len();
    assert!(behind < 200, "after {behind} others");
    executors[1 - victim].kill().await;
    others.kill().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_nothing_happens_to_are_left_alone() {
    let (stage, calls) = (Stage::new(), Arc::new(Mutex::new(BTreeMap::<_, u64>::new())));
    let counted = calls.clone();
    let faults: Faults = Arc::new(move |name| {
        *counted.lock().unwrap().entry(name).or_default() += 1;
        Fate::Pass
    });
    let mut plugin = Numbers::new(ok);
    plugin.takes = HOUR;
    plugin.conf.subtask_timeout = 2 * HOUR;
    let dtf = stage.start_wired("a", plugin, &faults).await;
    for _ in 0..3 {
        let param = TaskParam { timeout: 9 * HOUR, ..count(1) };
        until_running(&dtf.client().create_task(KIND, param).await.unwrap(), 1).await;
    }
    calls.lock().unwrap().clear();
    tokio::time::sleep(HOUR / 2).await;
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    // All tasks are listed every five seconds, for one role after the other. Only now and then one of them has a turn: to see whether
    // what runs is on its shards, and as a precaution.
    assert!(calls["progress_of"] > 3 * 350, "{calls:?}");
    for call in ["take", "peek", "state", "get", "backlog"] {
        assert!(calls.get(call).copied().unwrap_or(0) < 3 * 350 / 2, "{call}: {calls:?}");
    }
    dtf.kill().await;
}
