//! Processes that are killed, stopped and replaced at random, on wires that lose calls and answers, over stores that lose their
//! last writes: whatever happens, every
//! task ends, every input is executed, and the books are right.
//!
//! Each run follows from a seed, but for the order in which a runtime polls what is ready at the same time. A failure
//! names its seed; `DTF_SEED=n` runs that one alone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::dice::{self, Dice};
use crate::common::wires::{Fate, Faults};
use crate::common::{KIND, Numbers, Stage};
use dtf::model::plugin::{Backoff, ExecuteError, IterationMode, MAX_PARCEL_WORK, SubtaskResult};
use dtf::model::{Counts, TaskId, TaskParam, TaskStatus};
use dtf::{Dtf, TaskHandle};
use dtf_memory::{QueuesSnapshot, ShardsSnapshot};

const SEEDS: u64 = 60;
const STEPS: u64 = 14;
const PROCESSES: usize = 3;
/// The numbers below it, for which the collector adds a subtask.
const FOLLOW_UPS: u64 = 10;
const DAY: Duration = Duration::from_secs(24 * 3600);

type Executed = Arc<Mutex<BTreeSet<(TaskId, u64)>>>;

fn fails(number: u64) -> bool {
    number % 11 == 5
}

struct Process {
    dtf: Dtf,
    dead: Arc<AtomicBool>,
}

struct Chaos {
    stage: Stage,
    dice: Dice,
    /// Set when the faults are over.
    calm: Arc<AtomicBool>,
    executed: Executed,
    started: usize,
    /// The number of a parcel's subtasks that run at once.
    at_once: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let at_once = if seed.is_multiple_of(2) { 1 } else { 16 };
        Self {
            stage: Stage::new(),
            dice,
            calm: Arc::default(),
            executed: Arc::default(),
            started: 0,
            at_once,
        }
    }

    fn plugin(&self) -> Numbers {
        let executed = self.executed.clone();
        let mut plugin = Numbers::new(move |number, context| {
            executed.lock().unwrap().insert((context.id.task, number));
            if fails(number) {
                return Err(ExecuteError::final_error(anyhow::anyhow!("no")));
            }
            if number % 7 == 3 && context.attempt == 0 {
                return Err(anyhow::anyhow!("not yet").into());
            }
            Ok(SubtaskResult::default())
        });
        plugin.conf.iteration = IterationMode::Yes;
        // Nobody here is to blame.
        plugin.conf.max_executor_losses = 7;
        plugin.conf.backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(4) };
        plugin.follow_up_below = FOLLOW_UPS;
        plugin.takes = Duration::from_millis(200);
        plugin.slow = Some((20, Duration::from_secs(6)));
        if self.at_once > 1 {
            (plugin.at_once, plugin.conf.parcel_work) = (self.at_once, MAX_PARCEL_WORK);
        }
        plugin
    }

    async fn start(&mut self) -> Process {
        self.started += 1;
        let dead = Arc::<AtomicBool>::default();
        let (cut, calm, dice) = (dead.clone(), self.calm.clone(), self.dice.clone());
        let faults: Faults = Arc::new(move |_| {
            if cut.load(Ordering::Relaxed) {
                return Fate::Unreachable;
            }
            if calm.load(Ordering::Relaxed) {
                return Fate::Pass;
            }
            match dice.below(100) {
                0..3 => Fate::Unreachable,
                3..6 => Fate::Unknown,
                _ => Fate::Pass,
            }
        });
        let dtf = self.stage.start_wired(&format!("p{}", self.started), self.plugin(), &faults).await;
        Process { dtf, dead }
    }

    /// Something happens to a process or to a task.
    async fn step(&mut self, processes: &mut Vec<Process>, tasks: &[TaskHandle]) {
        let (which, task) = (self.dice.below(PROCESSES as u64), self.dice.below(tasks.len() as u64));
        let client = self.stage.process("client", self.plugin()).client();
        let id = tasks[task as usize].id();
        match self.dice.below(13) {
            10..13 => self.forget().await,
            0..4 => {
                let killed = processes.swap_remove(which as usize);
                killed.dead.store(true, Ordering::Relaxed);
                killed.dtf.kill().await;
                processes.push(self.start().await);
            }
            4..6 => {
                processes.swap_remove(which as usize).dtf.stop().await;
                processes.push(self.start().await);
            }
            // A task that has ended refuses; that is as good.
            6..8 => drop(client.pause_task(id).await),
            8 => drop(client.resume_task(id).await),
            _ => drop(client.cancel_task(id).await),
        }
    }

    /// The stores of queues and shards lose what they were told in the last moment: both, as one server, or one of them, as a
    /// node of several; now and then everything.
    async fn forget(&self) {
        let (mut queues, mut shards) = (self.stage.queues.snapshot(), self.stage.shards.snapshot());
        let what = self.dice.below(4);
        if self.dice.below(5) == 0 {
            (queues, shards) = (QueuesSnapshot::default(), ShardsSnapshot::default());
        }
        tokio::time::sleep(Duration::from_millis(self.dice.below(2000))).await;
        match what {
            0 => self.stage.queues.roll_back(&queues),
            1 => self.stage.shards.roll_back(&shards),
            _ => {
                self.stage.queues.roll_back(&queues);
                self.stage.shards.roll_back(&shards);
            }
        }
    }

    async fn run(mut self) {
        let client = self.stage.process("client", self.plugin()).client();
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            processes.push(self.start().await);
        }
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let param = TaskParam { timeout: DAY, ..crate::common::count(self.dice.below(120)) };
            tasks.push(client.create_task(KIND, param).await.unwrap());
        }
        for _ in 0..STEPS {
            tokio::time::sleep(Duration::from_millis(self.dice.below(4000))).await;
            self.step(&mut processes, &tasks).await;
        }
        self.calm.store(true, Ordering::Relaxed);
        for task in &tasks {
            drop(client.resume_task(task.id()).await);
            self.check(task).await;
        }
        tokio::time::sleep(Duration::from_secs(80)).await;
        assert!(self.stage.queues.is_empty(), "queues are left after the retention");
        for process in processes {
            process.dtf.stop().await;
        }
    }

    async fn check(&self, task: &TaskHandle) {
        let Ok(row) = tokio::time::timeout(Duration::from_secs(3600), task.wait()).await else {
            panic!("never ends: {:?}", task.status().await.unwrap());
        };
        let row = row.unwrap();
        assert_eq!(row.counts.counted(), row.counts.created, "{row:?}");
        if row.status == TaskStatus::Cancelled {
            return;
        }
        assert_eq!(row.status, TaskStatus::Completed, "{row:?}");
        let count = row.param.type_param.as_u64().unwrap();
        let inputs: BTreeSet<u64> =
            (0..count).chain((0..count.min(FOLLOW_UPS)).map(|number| number + 1_000_000)).collect();
        let failed = inputs.iter().filter(|number| fails(**number)).count() as u64;
        let created = inputs.len() as u64;
        let expected = Counts { created, succeeded: created - failed, failed, ..Counts::default() };
        assert_eq!(row.counts, expected, "{row:?}");
        let executed = self.executed.lock().unwrap();
        assert!(
            inputs.iter().all(|number| executed.contains(&(task.id(), *number))),
            "not all were executed"
        );
    }
}

#[test]
fn every_task_ends_with_the_right_books() {
    dice::run_seeds(SEEDS, |seed| Chaos::new(seed).run());
}
