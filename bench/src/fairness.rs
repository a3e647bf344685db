//! Whether groups get the share of the executors' time that their quotas give them, with thousands of tasks of short and
//! long subtasks; and whether a small task waits for a huge one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use dtf::Dtf;
use dtf::model::TaskParam;
use serde_json::json;

use crate::control::until;
use crate::crew::now_ns;
use crate::load::{self, LOAD, LoadParam};
use crate::report::{Report, percentile};
use crate::site::{Backend, Stack, Where, embedded};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: Where,
    /// How many tasks, divided evenly among the groups; every other one has short subtasks, the others long ones
    #[arg(long, default_value_t = 10_000)]
    tasks: usize,
    /// The quotas of the groups
    #[arg(long, value_delimiter = ',', default_values_t = [40, 30, 20, 10])]
    groups: Vec<u32>,
    /// How many subtasks run at once
    #[arg(long, default_value_t = 64)]
    slots: usize,
    /// For how long time is reckoned up, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many small tasks beside a huge one
    #[arg(long, default_value_t = 20)]
    small: usize,
}

/// How long a short and a long subtask run, in microseconds.
const SHORT: u64 = 1000;
const LONG: u64 = 1_000_000;
/// More subtasks than any run of this gets through.
const ENDLESS: u64 = 1 << 40;

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let params = json!({
        "tasks": options.tasks, "groups": options.groups, "slots": options.slots, "seconds": options.seconds,
        "backend": options.stores.backend.name(),
    });
    let mut report = Report::new("fairness", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stack = match options.stores.backend {
        Backend::Embedded => None,
        Backend::Redis => Some(Stack::new(options.stores.external)?),
    };
    runtime.block_on(async {
        let dtf = process(options, stack.as_ref()).await?;
        let alone = alone(options, &dtf).await?;
        dtf.kill().await;
        let dtf = process(options, stack.as_ref()).await?;
        shares(options, &dtf, alone, &mut report).await?;
        dtf.kill().await;
        let dtf = process(options, stack.as_ref()).await?;
        small_beside_huge(options, &dtf, &mut report).await?;
        dtf.kill().await;
        anyhow::Ok(())
    })?;
    Ok(report)
}

/// Each part has a cluster of its own, as the tasks of the one before never end.
async fn process(options: &Options, stack: Option<&Stack>) -> anyhow::Result<Dtf> {
    load::forget_starts();
    let Some(stack) = stack else { return embedded(options.slots).await };
    let mut site = stack.site().await?;
    site.slots = options.slots;
    site.process("all", &dtf::model::roles::Role::ALL).await
}

/// The time that subtasks have run in every group, over the measured seconds; and how long that took.
async fn reckon(options: &Options) -> (BTreeMap<String, Duration>, f64) {
    let (before, begin) = (load::slot_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let mut times = load::slot_time();
    for (group, time) in &mut times {
        *time -= before.get(group).copied().unwrap_or_default();
    }
    (times, begin.elapsed().as_secs_f64())
}

/// The share of the slots' time that one task of the same mix keeps busy, first come, first served.
async fn alone(options: &Options, dtf: &Dtf) -> anyhow::Result<f64> {
    let param = LoadParam { count: ENDLESS, micros: vec![SHORT, LONG], ..LoadParam::default() };
    dtf.client().create_task(LOAD, param.task()).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (times, wall) = reckon(options).await;
    Ok(busy(&times, options, wall))
}

fn busy(times: &BTreeMap<String, Duration>, options: &Options, wall: f64) -> f64 {
    times.values().map(Duration::as_secs_f64).sum::<f64>() / (options.slots as f64 * wall)
}

async fn shares(options: &Options, dtf: &Dtf, alone: f64, report: &mut Report) -> anyhow::Result<()> {
    let client = dtf.client();
    let names: Vec<String> = (0..options.groups.len()).map(|group| format!("group-{group}")).collect();
    for (name, quota) in names.iter().zip(&options.groups) {
        client.set_quota(name, *quota).await?;
    }
    for task in 0..options.tasks {
        let micros = if (task / names.len()).is_multiple_of(2) { SHORT } else { LONG };
        let param = LoadParam { count: ENDLESS, micros: vec![micros], ..LoadParam::default() };
        let group = names[task % names.len()].clone();
        client.create_task(LOAD, TaskParam { group, ..param.task() }).await?;
    }
    // All have begun, and what ran before that has ended.
    until(|| async { load::slot_time().len() > names.len() }).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (times, wall) = reckon(options).await;
    let time = |name: &String| times.get(name).copied().unwrap_or_default().as_secs_f64();
    let (used, quotas): (f64, u32) = (names.iter().map(time).sum(), options.groups.iter().sum());
    let mut fair = Vec::new();
    let mut worst = 0.0_f64;
    for (name, quota) in names.iter().zip(&options.groups) {
        let (got, due) = (time(name) / used, f64::from(*quota) / f64::from(quotas));
        worst = worst.max((got - due).abs());
        fair.push(got / due);
    }
    let (sum, squares): (f64, f64) = (fair.iter().sum(), fair.iter().map(|share| share * share).sum());
    report.add("max_share_error_pct", 100.0 * worst);
    report.add("jain", sum * sum / (fair.len() as f64 * squares));
    report.add("busy_pct", 100.0 * busy(&times, options, wall));
    report.add("throughput_vs_fifo_pct", 100.0 * busy(&times, options, wall) / alone);
    Ok(())
}

/// From the creation of a one-subtask task to its start, while a task of a million has everything to itself.
async fn small_beside_huge(options: &Options, dtf: &Dtf, report: &mut Report) -> anyhow::Result<()> {
    let client = dtf.client();
    let huge = LoadParam { count: 1_000_000, micros: vec![10_000], ..LoadParam::default() };
    let huge = client.create_task(LOAD, huge.task()).await?;
    until(|| async { load::started_ns(huge.id()).is_some() }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut times = Vec::new();
    for _ in 0..options.small {
        let begin = now_ns();
        let param = LoadParam { count: 1, micros: vec![1000], ..LoadParam::default() };
        let task = client.create_task(LOAD, param.task()).await?;
        task.wait().await?;
        let started = load::started_ns(task.id()).unwrap_or(u64::MAX);
        times.push(started.saturating_sub(begin) as f64 / 1e6);
    }
    times.sort_by(f64::total_cmp);
    report.add("small_task_start_ms", percentile(&times, 0.5));
    report.add("small_task_start_max_ms", percentile(&times, 1.0));
    Ok(())
}
