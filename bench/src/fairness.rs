//! The groups' shares of the executors' time, against those that their quotas give them, with thousands of tasks of short
//! and long subtasks; and the wait of a small task for a huge one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use dtf::Dtf;
use dtf::model::{TaskId, TaskParam};
use serde_json::json;

use crate::events::now_ns;
use crate::load::{self, LOAD, LoadParam};
use crate::plot::{Line, plot};
use crate::polling::until;
use crate::report::{Report, percentile};
use crate::servers::Servers;
use crate::stores::{self, StoreOptions};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// The number of tasks, divided evenly among the groups; every other one has short subtasks, the others long ones
    #[arg(long, default_value_t = 10_000)]
    tasks: usize,
    /// The quotas of the groups
    #[arg(long, value_delimiter = ',', default_values_t = [40, 30, 20, 10])]
    groups: Vec<u32>,
    /// The number of subtasks that run at once
    #[arg(long, default_value_t = 64)]
    slots: usize,
    /// For how long time is reckoned up, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The number of small tasks beside a huge one
    #[arg(long, default_value_t = 20)]
    small: usize,
    /// The SVG file for a plot of the groups' shares
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// The run time of a short subtask, and of a long one, in microseconds.
const SHORT: u64 = 1000;
const LONG: u64 = 1_000_000;
/// The time after a change at which the measured period begins.
const SETTLED: Duration = Duration::from_secs(10);
/// More subtasks than any run of this gets through.
const ENDLESS: u64 = 1 << 40;

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let params = json!({
        "tasks": options.tasks, "groups": options.groups, "slots": options.slots, "seconds": options.seconds,
        "backend": options.stores.backend.name(),
    });
    let mut report = Report::new("fairness", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let servers = options.stores.servers(&runtime, &mut report)?;
    runtime.block_on(async {
        let dtf = process(options, servers.as_ref()).await?;
        let alone = alone(options, &dtf).await?;
        dtf.kill().await;
        let dtf = process(options, servers.as_ref()).await?;
        let mut track = Track::default();
        tokio::select! {
            shared = shares(options, &dtf, alone, &mut report) => shared?,
            never = track.follow(options.slots) => match never {},
        }
        if let Some(file) = &options.plot {
            track.plot(file)?;
        }
        dtf.kill().await;
        let dtf = process(options, servers.as_ref()).await?;
        small_beside_huge(options, &dtf, &mut report).await?;
        dtf.kill().await;
        anyhow::Ok(())
    })?;
    Ok(report)
}

/// The groups' parts of the slots' time, second by second: a line each.
#[derive(Default)]
struct Track(BTreeMap<String, Vec<(f64, f64)>>);

impl Track {
    async fn follow(&mut self, slots: usize) -> Infallible {
        let (begin, mut before) = (Instant::now(), load::slot_time());
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.tick().await;
        let mut last = begin;
        loop {
            let now = second.tick().await.into_std();
            let all = slots as f64 * (now - last).as_secs_f64();
            let times = load::slot_time();
            for (group, time) in &times {
                let used = *time - before.get(group).copied().unwrap_or_default();
                let line = self.0.entry(group.clone()).or_default();
                line.push(((now - begin).as_secs_f64(), 100.0 * used.as_secs_f64() / all));
            }
            (before, last) = (times, now);
        }
    }

    fn plot(self, file: &Path) -> anyhow::Result<()> {
        let lines: Vec<_> =
            self.0.iter().map(|(name, points)| Line { name, points: points.clone() }).collect();
        plot(
            file,
            "Parts of the slot-time; the first group rests, and is back",
            "s",
            "% of all slots",
            &lines,
        )
    }
}

/// Each part has a cluster of its own, as the tasks of the one before never end.
async fn process(options: &Options, servers: Option<&Servers>) -> anyhow::Result<Dtf> {
    load::forget_times();
    stores::process(servers, options.slots).await
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

/// A group and what its quota entitles it to.
struct Group {
    name: String,
    quota: u32,
    tasks: Vec<TaskId>,
}

/// The shares while all groups have work, while the first has paused all of its tasks, and after it has come back.
async fn shares(options: &Options, dtf: &Dtf, alone: f64, report: &mut Report) -> anyhow::Result<()> {
    let client = dtf.client();
    let mut groups = saturate(options, dtf).await?;
    let (times, wall) = reckon(options).await;
    report.add("max_share_error_pct", 100.0 * share_error(&times, &groups));
    report.add("jain", jain(&times, &groups));
    report.add("busy_pct", 100.0 * busy(&times, options, wall));
    report.add("throughput_vs_fifo_pct", 100.0 * busy(&times, options, wall) / alone);

    let first = groups.remove(0);
    for task in &first.tasks {
        client.pause_task(*task).await?;
    }
    tokio::time::sleep(SETTLED).await;
    let (times, _) = reckon(options).await;
    report.add("idle_share_error_pct", 100.0 * share_error(&times, &groups));
    for task in &first.tasks {
        client.resume_task(*task).await?;
    }
    groups.push(first);
    tokio::time::sleep(SETTLED).await;
    let (times, _) = reckon(options).await;
    report.add("back_share_error_pct", 100.0 * share_error(&times, &groups));
    Ok(())
}

/// Creates the tasks, and waits until all slots are busy with them.
async fn saturate(options: &Options, dtf: &Dtf) -> anyhow::Result<Vec<Group>> {
    let client = dtf.client();
    let group =
        |(at, quota): (usize, &u32)| Group { name: format!("group-{at}"), quota: *quota, tasks: Vec::new() };
    let mut groups: Vec<Group> = options.groups.iter().enumerate().map(group).collect();
    for group in &groups {
        client.set_quota(&group.name, group.quota).await?;
    }
    for number in 0..options.tasks {
        let at = number % groups.len();
        let micros = if (number / groups.len()).is_multiple_of(2) { SHORT } else { LONG };
        let param = LoadParam { count: ENDLESS, micros: vec![micros], ..LoadParam::default() };
        let param = TaskParam { group: groups[at].name.clone(), ..param.task() };
        groups[at].tasks.push(client.create_task(LOAD, param).await?.id());
    }
    // All groups have begun, and what ran before them has ended.
    until(|| async { groups.iter().all(|group| load::slot_time().contains_key(&group.name)) }).await;
    tokio::time::sleep(SETTLED).await;
    Ok(groups)
}

/// The largest difference between a group's part of the time and its part of the quotas.
fn share_error(times: &BTreeMap<String, Duration>, groups: &[Group]) -> f64 {
    parts(times, groups).map(|(got, due)| (got - due).abs()).fold(0.0, f64::max)
}

/// Jain's index of fairness, of what each group got for its quota.
fn jain(times: &BTreeMap<String, Duration>, groups: &[Group]) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for (got, due) in parts(times, groups) {
        sum += got / due;
        squares += (got / due).powi(2);
    }
    sum * sum / (groups.len() as f64 * squares)
}

/// The part of the time that each group got, and the part that it was due.
fn parts(times: &BTreeMap<String, Duration>, groups: &[Group]) -> impl Iterator<Item = (f64, f64)> {
    let time = |group: &Group| times.get(&group.name).copied().unwrap_or_default().as_secs_f64();
    let used: f64 = groups.iter().map(time).sum();
    let quotas: u32 = groups.iter().map(|group| group.quota).sum();
    groups.iter().map(move |group| (time(group) / used, f64::from(group.quota) / f64::from(quotas)))
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
