//! Executors that are lost, and subtasks that keep others waiting or take their executors down.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::wires::{self, Fate, Faults};
use crate::common::{Books, Fault, KIND, Numbers, Stage, count, ok};
use dtf::model::Role;
use dtf::model::{TaskParam, TaskStatus};
use dtf::{Dtf, Progress, TaskHandle};
use tokio::sync::mpsc;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// Waits until a task's progress is as wanted.
async fn until(task: &TaskHandle, wanted: impl Fn(&Progress) -> bool) {
    let look = async {
        while !wanted(&task.status().await.unwrap().progress()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(HOUR, look).await.is_err() {
        panic!("it never comes to that: {:?}", task.status().await.unwrap());
    }
}

fn told(books: &Books, what: &str) -> Vec<u64> {
    let books = books.lock().unwrap();
    books
        .iter()
        .filter(|(_, told)| told.iter().all(|told| told.contains(what)))
        .map(|(number, _)| *number)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_behind_a_slow_neighbour() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_micros(50);
    plugin.slow = Some((4000, HOUR / 2));
    plugin.conf.subtask_timeout = HOUR;
    let dtf = stage.start("a", plugin).await;
    let begun = Instant::now();
    let param = TaskParam { timeout: 2 * HOUR, ..count(6000) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    until(&task, |progress| progress.succeeded == 5999).await;
    // Paused time: it passes where somebody waits, as the slow one does.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(task.status().await.unwrap().progress().running, 1);
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 6000));
    dtf.stop().await;
}

/// A process with an executor only, which can be cut off from everything.
struct Lone {
    dtf: Dtf,
    cut: Arc<AtomicBool>,
}

impl Lone {
    async fn start(stage: &Stage, instance: &str, plugin: Numbers) -> Lone {
        let cut = Arc::<AtomicBool>::default();
        let is_cut = cut.clone();
        let faults: Faults = Arc::new(move |_| match is_cut.load(Ordering::Relaxed) {
            true => Fate::Unreachable,
            false => Fate::Pass,
        });
        let dtf = stage.process_on(wires::wired(&stage.ports, &faults), instance, plugin);
        dtf.start_service(Role::Executor).await.unwrap();
        Lone { dtf, cut }
    }

    /// It says nothing any more, as if its process had been killed.
    async fn kill(self) {
        self.cut.store(true, Ordering::Relaxed);
        self.dtf.kill().await;
    }

    async fn stop(self) {
        self.dtf.stop().await;
    }
}

/// A process with all roles but the executor's.
async fn but_executor(stage: &Stage, plugin: Numbers) -> Dtf {
    let dtf = stage.process("others", plugin);
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        dtf.start_service(role).await.unwrap();
    }
    dtf
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_with_an_executor_uses_up_no_attempt() {
    let stage = Stage::new();
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let plugin = || {
        let mut plugin = Numbers::new(ok);
        let attempts = attempts.clone();
        plugin.on_start = Arc::new(move |_, context| attempts.lock().unwrap().push(context.attempt));
        plugin.takes = Duration::from_secs(5);
        plugin.conf.max_attempts = 1;
        plugin
    };
    let books = Books::default();
    let others = but_executor(&stage, Numbers { books: books.clone(), ..plugin() }).await;
    let first = Lone::start(&stage, "first", plugin()).await;
    let task = others.client().create_task(KIND, count(8)).await.unwrap();
    until(&task, |progress| progress.running == 8).await;
    first.kill().await;
    let second = Lone::start(&stage, "second", plugin()).await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 8));
    assert_eq!(told(&books, "ok").len(), 8);
    let attempts = attempts.lock().unwrap().clone();
    assert!(attempts.len() > 8, "nothing was lost");
    assert!(attempts.iter().all(|attempt| *attempt == 0), "{attempts:?}");
    second.stop().await;
    others.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subtask_that_takes_three_executors_down_is_quarantined() {
    let stage = Stage::new();
    let (down, mut went_down) = mpsc::unbounded_channel();
    let plugin = || {
        let mut plugin = Numbers::new(ok);
        let down = down.clone();
        plugin.on_start = Arc::new(move |number, _| {
            if number == 13 {
                down.send(()).unwrap();
            }
        });
        plugin.takes = Duration::from_millis(1);
        plugin.slow = Some((13, HOUR));
        plugin.conf.subtask_timeout = 2 * HOUR;
        plugin
    };
    let books = Books::default();
    let others = but_executor(&stage, Numbers { books: books.clone(), ..plugin() }).await;
    let task =
        others.client().create_task(KIND, TaskParam { timeout: 2 * HOUR, ..count(3000) }).await.unwrap();
    let mut lost = 0;
    let row = loop {
        let executor = Lone::start(&stage, &format!("executor-{lost}"), plugin()).await;
        tokio::select! {
            row = task.wait() => {
                executor.stop().await;
                break row.unwrap();
            }
            _ = went_down.recv() => {
                executor.kill().await;
                lost += 1;
            }
        }
    };
    assert_eq!(lost, 3);
    assert_eq!((row.status, row.counts.succeeded, row.counts.failed), (TaskStatus::Completed, 2999, 1));
    assert_eq!(told(&books, "quarantined: 3 executors were lost while they ran it"), [13]);
    others.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_leaves_in_good_order_leaves_nobody_suspected() {
    let stage = Stage::new();
    let plugin = || {
        let mut plugin = Numbers::new(ok);
        plugin.takes = Duration::from_secs(100);
        plugin
    };
    let books = Books::default();
    let others = but_executor(&stage, Numbers { books: books.clone(), ..plugin() }).await;
    let task = others.client().create_task(KIND, TaskParam { timeout: HOUR, ..count(20) }).await.unwrap();
    for turn in 0..5 {
        let executor = Lone::start(&stage, &format!("executor-{turn}"), plugin()).await;
        until(&task, |progress| progress.running > 8).await;
        executor.stop().await;
    }
    let last = Lone::start(&stage, "last", plugin()).await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 20));
    assert_eq!(told(&books, "ok").len(), 20);
    last.stop().await;
    others.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subtask_that_panics_when_it_is_dropped_costs_itself() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.fault = Some(Fault::ExecutorPanicsWhenDropped);
    plugin.slow = Some((3, HOUR));
    plugin.conf.subtask_timeout = Duration::from_secs(5);
    let books = plugin.books.clone();
    let dtf = stage.start("a", plugin).await;
    let row = dtf.client().create_task(KIND, count(10)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded, row.counts.failed), (TaskStatus::Completed, 9, 1));
    assert_eq!(told(&books, "the plugin panicked: dropped"), [3]);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_refused_is_not_thrown_away() {
    let stage = Stage::new();
    let (refused, executed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (refusals, full) = (refused.clone(), AtomicBool::new(false));
    let faults: Faults = Arc::new(move |name| {
        full.fetch_or(name == "push", Ordering::Relaxed);
        if name == "complete" && full.load(Ordering::Relaxed) && refusals.fetch_add(1, Ordering::Relaxed) < 20
        {
            return Fate::Refused;
        }
        Fate::Pass
    });
    let mut plugin = Numbers::new(ok);
    let counter = executed.clone();
    plugin.on_start = Arc::new(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let dtf = stage.start_wired("a", plugin, &faults).await;
    let row = dtf.client().create_task(KIND, count(10)).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 10));
    assert!(refused.load(Ordering::Relaxed) > 20);
    assert_eq!(executed.load(Ordering::Relaxed), 10, "something was run again");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn few_shards_keep_many_slots_busy() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.takes = Duration::from_secs(1);
    let dtf = stage.process_with_slots("a", plugin, 100);
    dtf.start_all().await.unwrap();
    let task = dtf.client().create_task(KIND, count(800)).await.unwrap();
    let begun = Instant::now();
    assert_eq!(task.wait().await.unwrap().counts.succeeded, 800);
    // Eight rounds of a second, and the time until the shards are held and the scheduler knows.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    dtf.stop().await;
}
