//! Dependencies and flows under managers that die: each task begins once its conditions are met, is skipped once they cannot be, and
//! neither twice nor never.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::dice::{self, Dice};
use crate::common::wires::{self, Fate, Faults};
use crate::common::{KIND, Numbers, Stage, count, ok};
use dtf::model::flow::{Condition, End, NewFlow, NewMember, On, OnTask};
use dtf::model::plugin::ExecuteError;
use dtf::model::table::TaskRow;
use dtf::model::{TaskId, TaskParam, TaskStatus};
use dtf::{Dtf, FlowBuilder, FlowView};
use serde_json::json;
use uuid::Uuid;

const SEEDS: u64 = 15;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Tasks whose subtask 7 fails: one with eight subtasks fails, one with fewer completes.
fn plugin() -> Numbers {
    let takes = Duration::from_millis(500);
    let execute = |number, context: &_| match number {
        7 => Err(ExecuteError::final_error(anyhow::anyhow!("no"))),
        _ => ok(number, context),
    };
    Numbers { takes, ..Numbers::new(execute) }
}

const FAILS: u64 = 8;

fn flow(tasks: &[(&str, u64)], after: &[(&str, &str, Condition)]) -> FlowBuilder {
    let flow = FlowBuilder::named("test");
    let flow = tasks.iter().fold(flow, |flow, (name, number)| flow.task(name, "numbers", (*number).into()));
    after.iter().fold(flow, |flow, (task, on, condition)| flow.after(task, on, *condition))
}

async fn site() -> (Stage, Dtf) {
    let stage = Stage::new();
    let dtf = stage.start("p", plugin()).await;
    (stage, dtf)
}

async fn ended(dtf: &Dtf, view: &FlowView) -> BTreeMap<String, TaskRow> {
    let client = dtf.client();
    for task in &view.tasks {
        let handle = client.task(task.id);
        let wait = tokio::time::timeout(Duration::from_secs(3600), handle.wait());
        wait.await.unwrap_or_else(|_| panic!("task {} never ends", task.id)).unwrap();
    }
    let view = client.flow(view.row.id).await.unwrap();
    view.tasks.into_iter().map(|task| (task.flow.clone().unwrap().name, task)).collect()
}

fn statuses(tasks: &BTreeMap<String, TaskRow>) -> Vec<(&str, TaskStatus)> {
    tasks.iter().map(|(name, task)| (name.as_str(), task.status)).collect()
}

#[tokio::test(start_paused = true)]
async fn tasks_wait_for_others_and_are_skipped_where_conditions_cannot_be_met() {
    use Condition::{Completed, Ended, Failed};
    let (_stage, dtf) = site().await;
    let tasks = [("a", 2), ("b", FAILS), ("c", 1), ("d", 1), ("e", 1), ("f", 1), ("g", 1)];
    let after = [
        ("c", "a", Completed),
        ("d", "b", Completed), // skipped
        ("e", "d", Completed), // skipped behind it
        ("f", "b", Failed),
        ("g", "e", Ended), // skipped has ended
        ("g", "c", Completed),
    ];
    let view = dtf.client().create_flow(flow(&tasks, &after)).await.unwrap();
    assert_eq!((view.counts.tasks, view.counts.waiting), (7, 5));
    let tasks = ended(&dtf, &view).await;
    use TaskStatus::{Completed as Done, Skipped};
    assert_eq!(
        statuses(&tasks),
        [("a", Done), ("b", Done), ("c", Done), ("d", Skipped), ("e", Skipped), ("f", Done), ("g", Done)]
    );
    assert!(tasks["c"].started_at >= tasks["a"].finished_at);
    assert!(tasks["g"].started_at >= tasks["c"].finished_at.max(tasks["e"].finished_at));
    assert!(
        tasks["d"].reason.contains("\"b\"") && tasks["d"].reason.contains("failed"),
        "{}",
        tasks["d"].reason
    );
    let counts = dtf.client().flow(view.row.id).await.unwrap().counts;
    assert_eq!((counts.completed, counts.failed, counts.skipped), (4, 1, 2));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn results_of_predecessors_are_put_into_parameters() {
    let (_stage, dtf) = site().await;
    // The data of a result is the number of subtasks that succeeded.
    let flow = FlowBuilder::named("sums")
        .task("a", "numbers", 3.into())
        .task("b", "numbers", json!({"$result": ""}))
        .task("c", "numbers", json!({"$result": "", "of": "b"}))
        .task("wrong", "numbers", json!({"$result": "/nowhere", "of": "a"}))
        .task("behind", "numbers", 1.into())
        .after("b", "a", Condition::Completed)
        .after("c", "a", Condition::Completed)
        .after("c", "b", Condition::Completed)
        .after("wrong", "a", Condition::Completed)
        .after("behind", "wrong", Condition::Failed);
    let view = dtf.client().create_flow(flow).await.unwrap();
    let tasks = ended(&dtf, &view).await;
    assert_eq!((tasks["b"].counts.succeeded, tasks["c"].counts.succeeded), (3, 3));
    assert_eq!(tasks["b"].param.type_param, json!(3));
    let wrong = &tasks["wrong"];
    assert_eq!(wrong.status, TaskStatus::Exceptional);
    assert!(wrong.reason.contains("the result has no \"/nowhere\""), "{}", wrong.reason);
    assert_eq!(
        tasks["behind"].status,
        TaskStatus::Completed,
        "whoever waits for a failure is told of this one"
    );
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_flow_is_refused_in_one_line_and_nothing_is_created() {
    let (stage, dtf) = site().await;
    let client = dtf.client();
    let completed = Condition::Completed;
    let large = "x".repeat(70_000);
    let wrong = [
        ("in a circle", flow(&[("a", 1), ("b", 1)], &[("a", "b", completed), ("b", "a", completed)])),
        ("which is unknown", flow(&[("a", 1)], &[("a", "nobody", completed)])),
        ("not in the flow", flow(&[("a", 1)], &[("nobody", "a", completed)])),
        ("twice", flow(&[("a", 1), ("b", 1)], &[("b", "a", completed), ("b", "a", completed)])),
        ("twice", flow(&[("a", 1), ("a", 1)], &[])),
        ("1 to 10000", flow(&[], &[])),
        (
            "must be a count",
            FlowBuilder::named("x").task("a", "numbers", 1.into()).task("b", "numbers", json!("no")),
        ),
        ("unknown; registered", FlowBuilder::named("x").task("a", "nothing", 1.into())),
        ("waits for 0 tasks", FlowBuilder::named("x").task("a", "numbers", json!({"$result": ""}))),
        ("is written as", FlowBuilder::named("x").task("a", "numbers", json!({"$result": 5}))),
        ("at most 65536", FlowBuilder::named("x").task("a", "numbers", json!({"$result": "", "of": large}))),
    ];
    for (said, flow) in wrong {
        let error = client.create_flow(flow).await.unwrap_err();
        let line = error.to_string();
        assert!(line.contains(said) && !line.contains('\n') && error.is_definitely_not_applied(), "{line}");
    }
    let missing = client.create_task_after(Uuid::new_v4(), KIND, count(1), &[(TaskId(77), completed)]).await;
    assert_eq!(missing.map(|task| task.id()).unwrap_err().to_string(), "task 77 does not exist");
    let all = stage.ports.table.list(&Default::default(), None, 10).await.unwrap();
    assert!(all.is_empty() && stage.ports.table.flows(None, 10).await.unwrap().is_empty(), "{all:?}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_paused_cancelled_and_retried_together() {
    let completed = Condition::Completed;
    let (_stage, dtf) = site().await;
    let client = dtf.client();
    let tasks = [("a", 1), ("b", FAILS), ("c", 1), ("d", 1)];
    let after = [("c", "a", completed), ("c", "b", completed), ("d", "c", completed)];
    let view = client.create_flow(flow(&tasks, &after)).await.unwrap();
    client.pause_flow(view.row.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(client.flow(view.row.id).await.unwrap().tasks.iter().all(|task| !task.status.is_terminal()));
    client.resume_flow(view.row.id).await.unwrap();
    let first = ended(&dtf, &view).await;
    use TaskStatus::{Cancelled, Completed as Done, Skipped};
    assert_eq!(statuses(&first), [("a", Done), ("b", Done), ("c", Skipped), ("d", Skipped)]);

    let request = Uuid::from_u128(9);
    let again = client.retry_flow(request, view.row.id).await.unwrap();
    assert_eq!(again.row.retry_of, Some(view.row.id));
    assert_eq!(client.retry_flow(request, view.row.id).await.unwrap().row.id, again.row.id);
    let second = ended(&dtf, &again).await;
    assert_eq!(second.keys().collect::<Vec<_>>(), ["b", "c", "d"], "and nothing else");
    assert_eq!((second["b"].param.retry_of, second["b"].counts.created), (Some(first["b"].id), 1));
    let done = client.retry_flow(Uuid::new_v4(), again.row.id).await;
    // The subtask fails again, so there is something to run again.
    assert_eq!(done.unwrap().tasks.len(), 3);

    let view = client.create_flow(flow(&tasks, &after)).await.unwrap();
    client.cancel_flow(view.row.id).await.unwrap();
    let cancelled = ended(&dtf, &view).await;
    assert!(cancelled.values().all(|task| task.status == Cancelled), "{:?}", statuses(&cancelled));
    let nothing = client.retry_flow(Uuid::new_v4(), view.row.id).await.unwrap_err().to_string();
    assert!(nothing.contains("nothing to run again"), "{nothing}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_may_wait_for_tasks_that_have_ended() {
    let (_stage, dtf) = site().await;
    let client = dtf.client();
    let good = client.create_task(KIND, count(1)).await.unwrap();
    let bad = client.create_task(KIND, count(FAILS)).await.unwrap();
    good.wait().await.unwrap();
    bad.wait().await.unwrap();
    let after = async |on: &dtf::TaskHandle, condition| {
        let task =
            client.create_task_after(Uuid::new_v4(), KIND, count(1), &[(on.id(), condition)]).await.unwrap();
        task.wait().await.unwrap().status
    };
    assert_eq!(after(&good, Condition::Completed).await, TaskStatus::Completed);
    assert_eq!(after(&good, Condition::Failed).await, TaskStatus::Skipped);
    assert_eq!(after(&bad, Condition::Failed).await, TaskStatus::Completed);
    assert_eq!(after(&bad, Condition::Ended).await, TaskStatus::Completed);
    dtf.stop().await;
}

/// A schedule of a flow: each due time has a flow of its own, and the next one waits for the end of all of its tasks.
#[tokio::test(start_paused = true)]
async fn a_schedule_creates_flows() {
    use dtf::model::schedule::{Overlap, ScheduleSpec};
    let (_stage, dtf) = site().await;
    let client = dtf.client();
    let long = FlowBuilder::named("hourly")
        .task("first", "numbers", 1.into())
        .task("second", "numbers", json!({"$result": ""}))
        .task("last", "numbers", 7.into())
        .after("second", "first", Condition::Completed)
        .after("last", "second", Condition::Ended);
    let spec = ScheduleSpec {
        name: "s".to_owned(),
        description: String::new(),
        when: "@every 1s".to_owned(),
        zone: "UTC".to_owned(),
        template: client.flow_template(long).await.unwrap(),
        overlap: Overlap::Skip,
        catch_up: DAY,
        jitter: Duration::ZERO,
        start_at: None,
        end_at: Some(20_000),
    };
    let circle = FlowBuilder::named("x").task("a", "numbers", 1.into()).after("a", "a", Condition::Ended);
    let refused = ScheduleSpec { template: client.flow_template(circle).await.unwrap(), ..spec.clone() };
    assert!(client.create_schedule(refused).await.unwrap_err().to_string().contains("in a circle"));
    let begin = client.create_schedule(spec).await.unwrap().row.created_at;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let flows = client.flows(None, 100).await.unwrap();
    let totals = client.schedule("s").await.unwrap().row.state.totals;
    assert_eq!(
        (totals.created, totals.created + totals.skipped),
        (flows.len() as u64, (20_000 - begin) / 1000)
    );
    assert!(totals.skipped > 0 && flows.len() > 1, "{totals:?}");
    for (row, counts) in &flows {
        assert_eq!((row.name.as_str(), counts.completed, counts.tasks), ("hourly", 3, 3));
    }
    let mut spans = Vec::new();
    for (row, _) in flows.iter().rev() {
        let tasks = client.flow(row.id).await.unwrap().tasks;
        spans.push((tasks[0].created_at, tasks.iter().filter_map(|task| task.finished_at).max().unwrap()));
    }
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
    dtf.stop().await;
}

/// Ten thousand dependents cost calls by the thousand, and begin within seconds.
#[tokio::test(start_paused = true)]
async fn many_dependents_begin_without_a_call_each() {
    const MANY: usize = 10_000;
    let stage = Stage::new();
    let calls = Arc::new(Mutex::new(BTreeMap::<&'static str, usize>::new()));
    let counted = calls.clone();
    let faults: Faults = Arc::new(move |call| {
        *counted.lock().unwrap().entry(call).or_default() += 1;
        Fate::Pass
    });
    let dtf = stage.start_wired("p", plugin(), &faults).await;
    let member =
        |name: String, after: Vec<OnTask>| NewMember { name, task_type: KIND, param: count(0), after };
    let on = || OnTask { on: On::Member(0), condition: Condition::Completed, label: "first".to_owned() };
    let members = std::iter::once(member("first".to_owned(), Vec::new()))
        .chain((1..MANY).map(|at| member(format!("t{at}"), vec![on()])))
        .collect();
    let flow =
        NewFlow { request: Uuid::new_v4(), name: Some("many".to_owned()), retry_of: None, members, now: 0 };
    let ids = stage.ports.table.create_flow(&flow).await.unwrap();
    let first = dtf.client().task(ids[0]).wait().await.unwrap();
    let begun = stage.ports.table.get(ids[0]).await.unwrap().unwrap();
    assert_eq!(first.status, TaskStatus::Completed);
    let told: usize = {
        let calls = calls.lock().unwrap();
        ["untold", "release", "release_with", "told"].iter().filter_map(|call| calls.get(call)).sum()
    };
    assert!(told <= 4 * MANY.div_ceil(1000), "{told} calls");
    let mut last = 0;
    for id in &ids[1..] {
        dtf.client().task(*id).wait().await.unwrap();
        let row = stage.ports.table.get(*id).await.unwrap().unwrap();
        last = last.max(row.started_at.unwrap_or(u64::MAX));
    }
    assert!(last >= begun.finished_at.unwrap());
    dtf.stop().await;
}

/// A manager that does so many calls of the telling, the last of which has this fate; then it is dead.
#[tokio::test(start_paused = true)]
async fn a_manager_that_is_killed_at_any_step_of_telling_leaves_none_behind() {
    use Condition::{Completed, Failed};
    for fate in [|| Fate::Unreachable, || Fate::Unknown] {
        let mut steps = 0;
        loop {
            let stage = Stage::new();
            let (made, died) = (Arc::new(AtomicUsize::new(0)), Arc::<AtomicBool>::default());
            let dead = died.clone();
            let faults: Faults = Arc::new(move |call| {
                if dead.load(Ordering::Relaxed) {
                    return Fate::Unreachable;
                }
                let counts =
                    ["finish", "untold", "release", "release_with", "end_waiting", "told"].contains(&call);
                if counts && made.fetch_add(1, Ordering::Relaxed) == steps {
                    dead.store(true, Ordering::Relaxed);
                    return fate();
                }
                Fate::Pass
            });
            let first = stage.start_wired("first", plugin(), &faults).await;
            let client = stage.process("client", plugin()).client();
            let flow = FlowBuilder::named("x")
                .task("a", "numbers", 2.into())
                .task("b", "numbers", 1.into())
                .task("c", "numbers", json!({"$result": ""}))
                .task("d", "numbers", 1.into())
                .task("e", "numbers", 1.into())
                .after("b", "a", Completed)
                .after("c", "a", Completed)
                .after("d", "a", Failed)
                .after("e", "d", Completed);
            let view = client.create_flow(flow).await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
            let has_died = died.load(Ordering::Relaxed);
            first.kill().await;
            let second = stage.start("second", plugin()).await;
            let tasks = ended(&second, &view).await;
            use TaskStatus::{Completed as Done, Skipped};
            assert_eq!(
                statuses(&tasks),
                [("a", Done), ("b", Done), ("c", Done), ("d", Skipped), ("e", Skipped)],
                "killed at step {steps}"
            );
            assert_eq!(tasks["c"].counts.succeeded, 2);
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert!(stage.ports.table.with_untold(TaskId(0), 10).await.unwrap().is_empty(), "{steps}");
            second.stop().await;
            if !has_died {
                break;
            }
            steps += 1;
        }
        assert!(steps >= 8, "{steps}");
    }
}

/// Random graphs over processes that die and whose clocks differ, wires that lose calls, and a database that is away for a while.
struct Chaos {
    stage: Stage,
    dice: Dice,
    calm: Arc<AtomicBool>,
    /// Set while no process reaches the database.
    away: Arc<AtomicBool>,
    started: usize,
}

impl Chaos {
    async fn start(&mut self) -> (Dtf, Arc<AtomicBool>) {
        self.started += 1;
        let dead = Arc::<AtomicBool>::default();
        let (cut, calm, dice) = (dead.clone(), self.calm.clone(), self.dice.clone());
        let away = self.away.clone();
        let faults: Faults = Arc::new(move |_| match dice.below(100) {
            _ if cut.load(Ordering::Relaxed) || away.load(Ordering::Relaxed) => Fate::Unreachable,
            _ if calm.load(Ordering::Relaxed) => Fate::Pass,
            0..4 => Fate::Unreachable,
            4..8 => Fate::Unknown,
            _ => Fate::Pass,
        });
        // One in three is minutes ahead of the others.
        let clock =
            self.stage.clock_ahead(Duration::from_secs(if self.dice.below(3) == 0 { 150 } else { 0 }));
        let (ports, name) = (wires::wired(&self.stage.ports, &faults), format!("p{}", self.started));
        let dtf = self.stage.process_at(clock, ports, &name, plugin());
        dtf.start_all().await.unwrap();
        (dtf, dead)
    }

    fn members(&self) -> Vec<NewMember> {
        let number = 12;
        (0..number)
            .map(|at| {
                let mut after = Vec::new();
                for on in 0..at {
                    if self.dice.below(4) == 0 {
                        let condition = Condition::ALL[self.dice.below(3) as usize];
                        after.push(OnTask { on: On::Member(on), condition, label: format!("t{on}") });
                    }
                }
                let subtasks = if self.dice.below(3) == 0 { FAILS } else { self.dice.below(4) };
                let param = TaskParam { timeout: DAY, ..count(subtasks) };
                NewMember { name: format!("t{at}"), task_type: KIND, param, after }
            })
            .collect()
    }

    async fn run(mut self) {
        let mut processes = vec![self.start().await, self.start().await];
        let mut flows = Vec::new();
        for at in 0..4_u32 {
            let members = self.members();
            let flow = NewFlow {
                request: Uuid::from_u128(at.into()),
                name: Some("x".to_owned()),
                retry_of: None,
                members,
                now: 0,
            };
            flows.push((self.stage.ports.table.create_flow(&flow).await.unwrap(), flow));
        }
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(self.dice.below(3000))).await;
            let (killed, dead) = processes.swap_remove(self.dice.below(2) as usize);
            dead.store(true, Ordering::Relaxed);
            killed.kill().await;
            processes.push(self.start().await);
            if self.dice.below(4) == 0 {
                self.away.store(true, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(30 + self.dice.below(60))).await;
                self.away.store(false, Ordering::Relaxed);
            }
        }
        self.calm.store(true, Ordering::Relaxed);
        let client = self.stage.process("client", plugin()).client();
        for (ids, flow) in &flows {
            let mut ends = Vec::new();
            for (id, member) in ids.iter().zip(&flow.members) {
                let handle = client.task(*id);
                let wait = tokio::time::timeout(Duration::from_secs(3600), handle.wait());
                wait.await.unwrap_or_else(|_| panic!("{} never ends", member.name)).unwrap();
                let row = self.stage.ports.table.get(*id).await.unwrap().unwrap();
                let end = End::of(row.status, &row.counts).unwrap();
                let on = |on: &OnTask| match on.on {
                    On::Member(place) => (ends[place], on.condition),
                    On::Task(_) => unreachable!("they wait for members only"),
                };
                let is_met = member.after.iter().map(on).all(|(end, condition)| condition.is_met_by(end));
                assert_eq!(is_met, row.status != TaskStatus::Skipped, "{}: {row:?}", member.name);
                if is_met {
                    let fails = member.param.type_param == FAILS;
                    assert_eq!(end, if fails { End::Failed } else { End::Completed }, "{row:?}");
                }
                ends.push(end);
            }
        }
        for (dtf, _) in processes {
            dtf.stop().await;
        }
    }
}

#[test]
fn random_flows_end_as_their_conditions_say_whatever_dies() {
    dice::run_seeds(SEEDS, |seed| {
        let (stage, dice) = (Stage::new(), Dice::new(seed));
        Chaos { stage, dice, calm: Arc::default(), away: Arc::default(), started: 0 }.run()
    });
}
