//! Schedules under managers that die, whose clocks differ, and whose database is away: each due time has the tasks that its policy
//! says, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::dice::{self, Dice};
use crate::common::wires::{self, Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::schedule::{Cause, Creation, Overlap, ScheduleRow, ScheduleSpec, Template};
use dtf::model::table::{TaskFilter, TaskRow};
use dtf::model::{TaskParam, TaskStatus};
use dtf::{BackfillPeriod, Client, Dtf};
use uuid::Uuid;

const SEEDS: u64 = 12;
const STEPS: u64 = 12;
const INTERVAL: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn spec(name: &str, when: &str, overlap: Overlap) -> ScheduleSpec {
    let param = TaskParam { name: name.to_owned(), timeout: DAY, ..count(1) };
    ScheduleSpec {
        name: name.to_owned(),
        description: String::new(),
        when: when.to_owned(),
        zone: "UTC".to_owned(),
        template: Template::Task { task_type: KIND, param: Box::new(param) },
        overlap,
        catch_up: DAY,
        jitter: Duration::ZERO,
        start_at: None,
        end_at: None,
    }
}

/// Tasks of one subtask that takes longer than the interval, now and then.
fn plugin() -> Numbers {
    Numbers { takes: Duration::from_secs(25), ..Numbers::new(ok) }
}

async fn tasks(stage: &Stage, name: &str) -> Vec<TaskRow> {
    let filter = TaskFilter { name: Some(name.to_owned()), ..TaskFilter::default() };
    stage.ports.table.list(&filter, None, 10_000).await.unwrap()
}

async fn row(stage: &Stage, name: &str) -> ScheduleRow {
    stage.ports.table.schedule(name).await.unwrap().unwrap()
}

/// The due times between the creation of a schedule and the first one that is not decided.
fn decided(row: &ScheduleRow) -> Vec<u64> {
    let calendar = row.spec.calendar().unwrap();
    let next =
        |after: &u64| calendar.next(*after, row.anchor()).filter(|due| Some(*due) != row.state.next_due);
    std::iter::successors(next(&row.created_at), next).collect()
}

struct Process {
    dtf: Dtf,
    dead: Arc<AtomicBool>,
}

struct Chaos {
    stage: Stage,
    dice: Dice,
    calm: Arc<AtomicBool>,
    /// Set while no process reaches the database.
    away: Arc<AtomicBool>,
    started: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        Self {
            stage: Stage::new(),
            dice: Dice::new(seed),
            calm: Arc::default(),
            away: Arc::default(),
            started: 0,
        }
    }

    async fn start(&mut self) -> Process {
        self.started += 1;
        let dead = Arc::<AtomicBool>::default();
        let (cut, calm, away) = (dead.clone(), self.calm.clone(), self.away.clone());
        let dice = self.dice.clone();
        let faults: Faults = Arc::new(move |_| {
            if cut.load(Ordering::Relaxed) || away.load(Ordering::Relaxed) {
                return Fate::Unreachable;
            }
            match dice.below(100) {
                _ if calm.load(Ordering::Relaxed) => Fate::Pass,
                0..4 => Fate::Unreachable,
                4..8 => Fate::Unknown,
                _ => Fate::Pass,
            }
        });
        // One in three is minutes ahead of the others.
        let clock =
            self.stage.clock_ahead(Duration::from_secs(if self.dice.below(3) == 0 { 150 } else { 0 }));
        let ports = wires::wired(&self.stage.ports, &faults);
        let dtf = self.stage.process_at(clock, ports, &format!("p{}", self.started), plugin());
        dtf.start_all().await.unwrap();
        Process { dtf, dead }
    }

    async fn step(&mut self, processes: &mut Vec<Process>) {
        match self.dice.below(6) {
            0..3 => {
                let which = self.dice.below(processes.len() as u64) as usize;
                let killed = processes.swap_remove(which);
                killed.dead.store(true, Ordering::Relaxed);
                killed.dtf.kill().await;
                processes.push(self.start().await);
            }
            // The database is away over several due times.
            3 => {
                self.away.store(true, Ordering::Relaxed);
                tokio::time::sleep(INTERVAL * 5).await;
                self.away.store(false, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    async fn run(mut self) {
        let client = self.stage.process("client", plugin()).client();
        for overlap in Overlap::ALL {
            client.create_schedule(spec(overlap.name(), "@every 20s", overlap)).await.unwrap();
        }
        let mut processes = Vec::new();
        for _ in 0..3 {
            processes.push(self.start().await);
        }
        let watched = self.watch();
        for _ in 0..STEPS {
            tokio::time::sleep(Duration::from_millis(self.dice.below(40_000))).await;
            self.step(&mut processes).await;
        }
        self.calm.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(120)).await;
        for overlap in Overlap::ALL {
            client.pause_schedule(overlap.name()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        watched.abort();
        if let Err(ended) = watched.await {
            assert!(ended.is_cancelled(), "{ended}");
        }
        for overlap in Overlap::ALL {
            self.check(overlap).await;
        }
        for process in processes {
            process.dtf.stop().await;
        }
    }

    /// Looks once a second that no two tasks of a schedule go on at once where they must not.
    fn watch(&self) -> tokio::task::JoinHandle<()> {
        let table = self.stage.ports.table.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                for overlap in [Overlap::Skip, Overlap::QueueOne, Overlap::CancelOther] {
                    let filter =
                        TaskFilter { name: Some(overlap.name().to_owned()), ..TaskFilter::default() };
                    let rows = table.list(&filter, None, 10_000).await.unwrap();
                    let going_on = rows.iter().filter(|row| !row.status.is_terminal()).count();
                    assert!(going_on <= 1, "{overlap:?}: {going_on} tasks at once");
                }
            }
        })
    }

    async fn check(&self, overlap: Overlap) {
        let row = row(&self.stage, overlap.name()).await;
        let state = &row.state;
        assert!(state.creating.is_empty() && state.queued.is_none(), "{overlap:?}: {state:?}");
        let due = decided(&row);
        assert!(due.len() > 10, "{overlap:?}: {due:?}");
        let names: BTreeMap<Uuid, u64> =
            due.iter().map(|due| (Creation::of(row.request, *due, Cause::Due).request, *due)).collect();
        let tasks = tasks(&self.stage, overlap.name()).await;
        let with_tasks: BTreeSet<u64> = tasks.iter().map(|task| names[&task.request]).collect();
        assert_eq!(with_tasks.len(), tasks.len(), "{overlap:?}: a due time has two tasks");
        assert_eq!(state.totals.created, tasks.len() as u64, "{overlap:?}");
        assert_eq!(
            state.totals.created + state.totals.skipped,
            due.len() as u64,
            "{overlap:?}: {:?}",
            state.totals
        );
        assert_eq!((state.totals.missed, state.totals.refused), (0, 0));
        match overlap {
            Overlap::Allow => assert_eq!(tasks.len(), due.len()),
            // Skips only what a later due time overtook before its turn came, which no seed makes sure of.
            Overlap::CancelOther => assert!(tasks.len() > 3, "{overlap:?}: {:?}", state.totals),
            Overlap::Skip | Overlap::QueueOne => {
                assert!(state.totals.skipped > 0 && tasks.len() > 3, "{overlap:?}: {:?}", state.totals);
            }
        }
        assert!(tasks.iter().all(|task| task.status.is_terminal()), "{overlap:?}");
        let cancelled = tasks.iter().filter(|task| task.status == TaskStatus::Cancelled).count();
        assert_eq!(cancelled > 0, overlap == Overlap::CancelOther, "{overlap:?}: {cancelled} cancelled");
    }
}

#[test]
fn each_due_time_has_its_tasks_whatever_dies() {
    dice::run_seeds(SEEDS, |seed| Chaos::new(seed).run());
}

/// A process whose manager does so many calls of the kinds that firing consists of, the last of which has this fate; then it is dead.
async fn dies_at(stage: &Stage, calls: usize, fate: fn() -> Fate) -> bool {
    let (made, died) = (Arc::new(AtomicUsize::new(0)), Arc::<AtomicBool>::default());
    let dead = died.clone();
    let faults: Faults = Arc::new(move |call| {
        if dead.load(Ordering::Relaxed) {
            return Fate::Unreachable;
        }
        let counts = ["due_schedules", "update_schedule", "insert", "set_control"].contains(&call);
        if counts && made.fetch_add(1, Ordering::Relaxed) == calls {
            dead.store(true, Ordering::Relaxed);
            return fate();
        }
        Fate::Pass
    });
    let dtf = stage.start_wired("first", plugin(), &faults).await;
    tokio::time::sleep(INTERVAL + INTERVAL / 2).await;
    let has_died = died.load(Ordering::Relaxed);
    dtf.kill().await;
    has_died
}

/// At every step of firing, before and behind its write.
#[tokio::test(start_paused = true)]
async fn a_manager_that_is_killed_at_any_step_of_firing_leaves_one_task() {
    for fate in [|| Fate::Unreachable, || Fate::Unknown] {
        let mut steps = 0;
        loop {
            let stage = Stage::new();
            let client = stage.process("client", plugin()).client();
            let ends = ScheduleSpec {
                end_at: Some(INTERVAL.as_millis() as u64),
                ..spec("s", "@every 20s", Overlap::Skip)
            };
            client.create_schedule(ends).await.unwrap();
            let has_died = dies_at(&stage, steps, fate).await;
            let second = stage.start("second", plugin()).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
            let (row, tasks) = (row(&stage, "s").await, tasks(&stage, "s").await);
            assert_eq!(tasks.len(), 1, "killed at step {steps}: {:?}", row.state);
            assert_eq!(
                (row.state.totals.created, row.state.totals.skipped),
                (1, 0),
                "{steps}: {:?}",
                row.state
            );
            assert!(row.state.creating.is_empty() && row.next_at.is_none(), "{steps}: {:?}", row.state);
            assert_eq!(tasks[0].status, TaskStatus::Completed);
            second.stop().await;
            if !has_died {
                break;
            }
            steps += 1;
        }
        assert_eq!(steps, 4, "look, decide, create, settle");
    }
}

/// The stage, a process with all roles, and a client.
async fn site() -> (Stage, Dtf, Client) {
    let stage = Stage::new();
    let dtf = stage.start("p", plugin()).await;
    let client = dtf.client();
    (stage, dtf, client)
}

#[tokio::test(start_paused = true)]
async fn a_due_time_is_met_to_the_second_and_fills_the_parameter() {
    let (stage, dtf, client) = site().await;
    let mut spec = spec("s", "*/2 * * * *", Overlap::Allow);
    spec.zone = "Asia/Kolkata".to_owned();
    let param = TaskParam { type_param: "{{due_ms}}".into(), name: "s".to_owned(), ..TaskParam::default() };
    spec.template = Template::Task { task_type: KIND, param: Box::new(param) };
    let view = client.create_schedule(spec).await.unwrap();
    assert_eq!(view.upcoming[..2], [120_000, 240_000]);
    tokio::time::sleep(Duration::from_secs(250)).await;
    let mut found = tasks(&stage, "s").await;
    found.sort_by_key(|task| task.id);
    let created: Vec<_> = found.iter().map(|task| (task.created_at, task.param.type_param.clone())).collect();
    assert_eq!(created, [(120_000, 120_000.into()), (240_000, 240_000.into())]);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_paused_triggered_filled_back_and_deleted() {
    let (stage, dtf, client) = site().await;
    client.create_schedule(spec("s", "@every 20s", Overlap::Skip)).await.unwrap();
    client.pause_schedule("s").await.unwrap();
    tokio::time::sleep(Duration::from_secs(110)).await;
    assert!(tasks(&stage, "s").await.is_empty(), "it is paused");

    let request = Uuid::from_u128(5);
    let task = client.trigger_schedule(request, "s").await.unwrap();
    assert_eq!(client.trigger_schedule(request, "s").await.unwrap(), task, "one request makes one task");
    assert_eq!(tasks(&stage, "s").await.len(), 1);

    let period = BackfillPeriod { from: 30_000, until: 100_000, concurrency: 2 };
    client.backfill_schedule("s", period).await.unwrap();
    assert!(client.backfill_schedule("s", period).await.unwrap_err().to_string().contains("under way"));
    let future = BackfillPeriod { until: 10_000_000, ..period };
    assert!(client.backfill_schedule("s", future).await.unwrap_err().to_string().contains("future"));
    let most = Arc::new(Mutex::new(0));
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let going_on = tasks(&stage, "s").await.iter().filter(|task| !task.status.is_terminal()).count();
        let mut most = most.lock().unwrap();
        *most = going_on.max(*most);
    }
    assert!(*most.lock().unwrap() <= 3, "the triggered one and two of the backfill");
    let view = client.schedule("s").await.unwrap();
    assert_eq!((tasks(&stage, "s").await.len(), &view.row.state.backfill), (5, &None));
    assert_eq!(view.row.state.history.iter().filter(|entry| entry.cause == Cause::Backfill).count(), 4);

    client.resume_schedule("s").await.unwrap();
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(tasks(&stage, "s").await.len(), 6, "what came due during the pause stays without a task");
    client.delete_schedule("s").await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(tasks(&stage, "s").await.len(), 6);
    assert!(client.schedule("s").await.unwrap_err().to_string().contains("does not exist"));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_scheduled_is_refused_in_one_line_and_nothing_is_created() {
    let (stage, dtf, client) = site().await;
    let good = || spec("s", "@every 20s", Overlap::Skip);
    let template = |param: TaskParam| Template::Task { task_type: KIND, param: Box::new(param) };
    let wrong = [
        ("never due", ScheduleSpec { when: "0 0 30 2 *".to_owned(), ..good() }),
        ("Atlantis", ScheduleSpec { zone: "Europe/Atlantis".to_owned(), ..good() }),
        ("type_param must be a count", ScheduleSpec { template: template(TaskParam::default()), ..good() }),
        (
            "resource group",
            ScheduleSpec {
                template: template(TaskParam { group: "nobody".to_owned(), ..count(1) }),
                ..good()
            },
        ),
        (
            "start time",
            ScheduleSpec { template: template(TaskParam { start_at: Some(1), ..count(1) }), ..good() },
        ),
        ("a later end", ScheduleSpec { end_at: Some(5), ..good() }),
    ];
    for (said, spec) in wrong {
        let error = client.create_schedule(spec).await.unwrap_err();
        let line = error.to_string();
        assert!(line.contains(said) && !line.contains('\n') && error.is_definitely_not_applied(), "{line}");
        assert_eq!(stage.ports.table.schedules(None, 10).await.unwrap(), []);
    }
    client.create_schedule(good()).await.unwrap();
    assert!(client.create_schedule(good()).await.unwrap_err().to_string().contains("exists already"));
    dtf.stop().await;
}

/// An idle schedule costs no call: what is looked at does not grow with their number.
#[tokio::test(start_paused = true)]
async fn idle_schedules_cost_the_same_however_many_there_are() {
    let mut calls = Vec::new();
    for number in [1, 500] {
        let stage = Stage::new();
        let client = stage.process("client", plugin()).client();
        for name in 0..number {
            client.create_schedule(spec(&format!("s{name}"), "0 0 1 1 *", Overlap::Skip)).await.unwrap();
        }
        let made = Arc::new(Mutex::new(BTreeMap::<&'static str, u64>::new()));
        let counted = made.clone();
        let faults: Faults = Arc::new(move |call| {
            *counted.lock().unwrap().entry(call).or_default() += 1;
            Fate::Pass
        });
        let dtf = stage.start_wired("p", plugin(), &faults).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        dtf.stop().await;
        let made = made.lock().unwrap();
        assert!(!made.contains_key("due_schedules") && !made.contains_key("schedules"), "{made:?}");
        calls.push(made["next_schedule_at"]);
    }
    assert_eq!(calls[0], calls[1]);
}
