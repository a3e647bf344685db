//! Subtasks with shard keys: together on one executor, and one at a time and in order where they are ordered.
//!
//! What is seen of order is seen from outside: which execution began and ended when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::dice::{self, Dice};
use crate::common::wires::{Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::Role;
use dtf::model::plugin::{Backoff, ExecuteError, SubtaskResult};
use dtf::model::{ShardKey, TaskId, TaskParam, TaskStatus, TaskTypeId};
use dtf::{Dtf, TaskHandle};

const OTHER: TaskTypeId = TaskTypeId(101);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The number of keys.
const KEYS: u64 = 10;

fn key_of(number: u64) -> u64 {
    number % KEYS
}

fn some_key(number: u64) -> Option<ShardKey> {
    Some(ShardKey::new(format!("key {}", key_of(number))))
}

/// Every other subtask of a key comes right behind its neighbour, so that some travel together.
fn ordered_key(number: u64) -> Option<ShardKey> {
    Some(ShardKey::new(format!("key {}", key_of(number / 2))).ordered())
}

fn patient(subtasks: u64) -> TaskParam {
    TaskParam { timeout: DAY, ..count(subtasks) }
}

/// Waits until it is so, however long it takes, in paused time.
async fn until(what: &str, is: impl Fn() -> bool) {
    let look = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(DAY, look).await.is_ok(), "it never comes to that: {what}");
}

async fn completed(task: &TaskHandle, succeeded: u64) {
    let Ok(row) = tokio::time::timeout(DAY, task.wait()).await else {
        panic!("never ends: {:?}", task.status().await.unwrap());
    };
    let row = row.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, succeeded), "{row:?}");
}

/// In which processes each key's subtasks were executed.
type Seen = Arc<Mutex<BTreeMap<u64, BTreeSet<String>>>>;

fn watched(seen: &Seen, process: &str) -> Numbers {
    let mut plugin = Numbers::new(ok);
    let (seen, process) = (seen.clone(), process.to_owned());
    plugin.on_start = Arc::new(move |number, context| {
        assert_eq!(context.key, some_key(number));
        seen.lock().unwrap().entry(key_of(number)).or_default().insert(process.clone());
    });
    plugin.key = some_key;
    plugin.takes = Duration::from_millis(20);
    plugin
}

/// All roles but the executor's, and three executors whose shards have settled.
async fn three_executors(stage: &Stage, plugin: impl Fn(&str) -> Vec<(TaskTypeId, Numbers)>) -> Vec<Dtf> {
    let others = stage.process_knowing("others", plugin("others"));
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector] {
        others.start_service(role).await.unwrap();
    }
    let mut processes = vec![others];
    for name in ["a", "b", "c"] {
        let process = stage.process_knowing(name, plugin(name));
        process.start_service(Role::Executor).await.unwrap();
        processes.push(process);
    }
    tokio::time::sleep(HOUR).await;
    processes
}

async fn stop(processes: Vec<Dtf>) {
    for process in processes {
        process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_subtasks_of_a_key_run_in_one_process() {
    let (stage, seen) = (Stage::new(), Seen::default());
    let processes = three_executors(&stage, |name| vec![(KIND, watched(&seen, name))]).await;
    let task = processes[0].client().create_task(KIND, patient(3000)).await.unwrap();
    completed(&task, 3000).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len() as u64, KEYS);
    assert!(seen.values().all(|processes| processes.len() == 1), "{seen:?}");
    let used: BTreeSet<_> = seen.values().flatten().collect();
    assert!(used.len() > 1, "{seen:?}");
    stop(processes).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_whose_holder_does_not_know_the_type_has_a_stand_in() {
    let (stage, seen) = (Stage::new(), Seen::default());
    let processes = three_executors(&stage, |name| match name {
        "a" => vec![(KIND, Numbers::new(ok))],
        _ => vec![(KIND, Numbers::new(ok)), (OTHER, watched(&seen, name))],
    })
    .await;
    let task = processes[0].client().create_task(OTHER, patient(1000)).await.unwrap();
    completed(&task, 1000).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len() as u64, KEYS);
    assert!(seen.values().all(|processes| processes.len() == 1), "{seen:?}");
    stop(processes).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_full_holds_up_no_other_key() {
    let stage = Stage::new();
    let mut plugin = Numbers::new(ok);
    plugin.key = some_key;
    // Everything of one key takes an hour, so its shard is full most of the time.
    plugin.sleeps = |number| key_of(number) == 3;
    plugin.conf.subtask_timeout = 2 * HOUR;
    // More slots than its shard may have in hand.
    let dtf = stage.process_with_slots("a", plugin, 64);
    dtf.start_all().await.unwrap();
    let begun = tokio::time::Instant::now();
    let task = dtf.client().create_task(KIND, patient(1000)).await.unwrap();
    let lane = |key| some_key(key).map(|key| key.lane(8));
    let held_up = (0..KEYS).filter(|key| lane(*key) == lane(3)).count() as u64;
    assert!(held_up < KEYS / 2);
    while task.status().await.unwrap().progress().succeeded < (KEYS - held_up) * 100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < HOUR, "{:?}", begun.elapsed());
    dtf.client().cancel_task(task.id()).await.unwrap();
    task.wait().await.unwrap();
    dtf.stop().await;
}

/// The observed executions of ordered keys.
#[derive(Default)]
struct Log {
    /// The running executions, by key, and the latest that began.
    running: BTreeMap<(TaskId, ShardKey), u64>,
    latest: BTreeMap<(TaskId, ShardKey), u64>,
    /// All that began, in the order in which they did.
    begun: Vec<(TaskId, u64)>,
    faults: Vec<String>,
}

type Logged = Arc<Mutex<Log>>;

/// An execution that goes on.
struct Running {
    log: Logged,
    of: (TaskId, ShardKey),
    number: u64,
}

impl Running {
    fn begin(log: &Logged, of: (TaskId, ShardKey), number: u64) -> Self {
        let mut seen = log.lock().unwrap();
        if let Some(other) = seen.running.insert(of, number) {
            seen.faults.push(format!("{of:?}: {number} began while {other} ran"));
        }
        let latest = seen.latest.insert(of, number);
        if let Some(later) = latest.filter(|latest| *latest > number) {
            seen.faults.push(format!("{of:?}: {number} began after {later}"));
        }
        seen.begun.push((of.0, number));
        Self { log: log.clone(), of, number }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut seen = self.log.lock().unwrap();
        if seen.running.get(&self.of) == Some(&self.number) {
            seen.running.remove(&self.of);
        }
    }
}

fn fails_once(number: u64) -> bool {
    number % 7 == 3
}

fn in_order(log: &Logged) -> Numbers {
    let mut plugin = Numbers::new(|number, context| match number {
        _ if number % 13 == 6 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ if fails_once(number) && context.attempt == 0 => Err(anyhow::anyhow!("not yet").into()),
        _ => Ok(SubtaskResult::default()),
    });
    let log = log.clone();
    plugin.during = Arc::new(move |number, context| {
        Box::new(Running::begin(&log, (context.id.task, context.key.unwrap()), number))
    });
    plugin.key = ordered_key;
    plugin.takes = Duration::from_millis(100);
    plugin.conf.backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(4) };
    // Nobody here is to blame.
    plugin.conf.max_executor_losses = 7;
    plugin
}

fn succeeding(subtasks: u64) -> u64 {
    (0..subtasks).filter(|number| number % 13 != 6).count() as u64
}

#[track_caller]
fn nothing_wrong(log: &Logged) {
    let log = log.lock().unwrap();
    assert!(log.faults.is_empty(), "{:#?}", log.faults);
}

#[tokio::test(start_paused = true)]
async fn ordered_keys_run_in_order_and_do_not_hold_up_each_other() {
    let (stage, log) = (Stage::new(), Logged::default());
    let dtf = stage.start("a", in_order(&log)).await;
    let task = dtf.client().create_task(KIND, patient(400)).await.unwrap();
    completed(&task, succeeding(400)).await;
    nothing_wrong(&log);
    let begun: Vec<_> = log.lock().unwrap().begun.iter().map(|(_, number)| *number).collect();
    let first = begun.iter().position(|number| *number == 3).unwrap();
    let again = begun.iter().rposition(|number| *number == 3).unwrap();
    let between: BTreeSet<_> = begun[first..again].iter().map(|number| ordered_key(*number)).collect();
    assert!(between.len() > 5, "others went on while one waited for its next attempt: {between:?}");
    // What failed runs again with its keys.
    let again = dtf.client().retry_failures(task.id()).await.unwrap();
    let failed = again.wait().await.unwrap().counts.failed;
    let begun = log.lock().unwrap().begun.iter().filter(|(of, _)| *of == again.id()).count() as u64;
    assert_eq!((failed, begun), (400 - succeeding(400), failed));
    nothing_wrong(&log);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_is_lost_does_not_break_the_order() {
    let (stage, log) = (Stage::new(), Logged::default());
    let mut processes = Vec::new();
    for name in ["a", "b", "c"] {
        processes.push(stage.start(name, in_order(&log)).await);
    }
    let task = processes[2].client().create_task(KIND, patient(400)).await.unwrap();
    for begun in [40, 120] {
        until("so many began", || log.lock().unwrap().begun.len() > begun).await;
        processes.remove(0).kill().await;
    }
    completed(&task, succeeding(400)).await;
    nothing_wrong(&log);
    stop(processes).await;
}

const SEEDS: u64 = 40;
const STEPS: u64 = 12;
const PROCESSES: usize = 3;

/// Processes that are killed and replaced, on wires that lose calls and answers, while tasks are paused and go on.
struct Chaos {
    stage: Stage,
    dice: Dice,
    calm: Arc<AtomicBool>,
    log: Logged,
    started: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let (dice, calm, log) = (Dice::new(seed), Arc::default(), Logged::default());
        Self { stage: Stage::new(), dice, calm, log, started: 0 }
    }

    async fn start(&mut self) -> (Dtf, Arc<AtomicBool>) {
        self.started += 1;
        let dead = Arc::<AtomicBool>::default();
        let (cut, calm, dice) = (dead.clone(), self.calm.clone(), self.dice.clone());
        let faults: Faults = Arc::new(move |_| match () {
            () if cut.load(Ordering::Relaxed) => Fate::Unreachable,
            () if calm.load(Ordering::Relaxed) => Fate::Pass,
            () => match dice.below(100) {
                0..3 => Fate::Unreachable,
                3..6 => Fate::Unknown,
                _ => Fate::Pass,
            },
        });
        let plugin = Numbers { slow: Some((20, Duration::from_secs(6))), ..in_order(&self.log) };
        (self.stage.start_wired(&format!("p{}", self.started), plugin, &faults).await, dead)
    }

    async fn step(&mut self, processes: &mut Vec<(Dtf, Arc<AtomicBool>)>, tasks: &[TaskHandle]) {
        let (which, task) = (self.dice.below(PROCESSES as u64), self.dice.below(tasks.len() as u64));
        let client = self.stage.process("client", in_order(&self.log)).client();
        let id = tasks[task as usize].id();
        match self.dice.below(10) {
            0..5 => {
                let (killed, dead) = processes.swap_remove(which as usize);
                dead.store(true, Ordering::Relaxed);
                killed.kill().await;
                processes.push(self.start().await);
            }
            5..7 => {
                processes.swap_remove(which as usize).0.stop().await;
                processes.push(self.start().await);
            }
            7..9 => drop(client.pause_task(id).await),
            _ => drop(client.resume_task(id).await),
        }
    }

    async fn run(mut self) {
        let client = self.stage.process("client", in_order(&self.log)).client();
        let (mut processes, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            processes.push(self.start().await);
        }
        for _ in 0..3 {
            let subtasks = 20 + self.dice.below(300);
            tasks.push((client.create_task(KIND, patient(subtasks)).await.unwrap(), subtasks));
        }
        let handles: Vec<_> = tasks.iter().map(|(task, _)| task.clone()).collect();
        for _ in 0..STEPS {
            tokio::time::sleep(Duration::from_millis(self.dice.below(4000))).await;
            self.step(&mut processes, &handles).await;
        }
        self.calm.store(true, Ordering::Relaxed);
        for (task, subtasks) in &tasks {
            drop(client.resume_task(task.id()).await);
            completed(task, succeeding(*subtasks)).await;
        }
        nothing_wrong(&self.log);
        for (process, _) in processes {
            process.stop().await;
        }
    }
}

#[test]
fn whatever_happens_ordered_keys_run_in_order() {
    dice::run_seeds(SEEDS, |seed| Chaos::new(seed).run());
}
