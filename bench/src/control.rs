//! How soon a pause, a resumption and a cancellation reach executors in processes of their own.

use std::time::Duration;

use clap::Args;
use dtf::model::Role;
use dtf::model::TaskStatus;
use dtf::{Dtf, TaskHandle};
use serde_json::json;

use crate::crew::{Crew, Event, Step, now_ns};
use crate::load::{LOAD, LoadParam};
use crate::report::{Report, percentile};
use crate::site::{Site, Stack};

#[derive(Args)]
pub(crate) struct Options {
    /// How many processes execute
    #[arg(long, default_value_t = 4)]
    executors: usize,
    /// How many subtasks each runs at once
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// How many pauses and how many cancellations
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// The servers that DTF_ETCD, DTF_MYSQL and DTF_REDIS name, instead of private ones
    #[arg(long)]
    external: bool,
}

/// The roles that run beside the executors.
pub(crate) const OTHERS: [Role; 4] = [Role::Manager, Role::Generator, Role::Scheduler, Role::Collector];

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { executors, slots, rounds, .. } = *options;
    let mut report =
        Report::new("control", json!({ "executors": executors, "slots": slots, "rounds": rounds }));
    let stack = Stack::new(options.external)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        stack.describe(&mut report).await?;
        let site = Site { slots, ..stack.site().await? };
        let dtf = site.process("others", &OTHERS).await?;
        let mut crew = Crew::new(site);
        for _ in 0..executors {
            crew.start(Role::Executor)?;
        }
        pauses(&dtf, &crew, rounds, &mut report).await?;
        cancels(&dtf, &crew, executors * slots, rounds, &mut report).await?;
        dtf.stop().await;
        Ok(report)
    })
}

async fn pauses(dtf: &Dtf, crew: &Crew, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let param = LoadParam { count: 100_000_000, micros: vec![10_000], ..LoadParam::default() };
    let client = dtf.client();
    let task = client.create_task(LOAD, param.task()).await?;
    for _ in 0..rounds {
        crew.forget();
        until(|| async { crew.events().len() > 1000 }).await;
        let begin = now_ns();
        client.pause_task(task.id()).await?;
        until(|| async {
            running(&task).await == 0 && last(&crew.events(), Step::Starts) < now_ns() - 500_000_000
        })
        .await;
        let last_start = last(&crew.events(), Step::Starts);
        report.add("pause_ms", last_start.saturating_sub(begin) as f64 / 1e6);
        crew.forget();
        let begin = now_ns();
        client.resume_task(task.id()).await?;
        until(|| async { !crew.events().is_empty() }).await;
        let first = crew.events().first().map_or(begin, |event| event.at_ns);
        report.add("resume_ms", (first - begin) as f64 / 1e6);
    }
    task.cancel().await?;
    task.wait().await?;
    Ok(())
}

async fn cancels(
    dtf: &Dtf,
    crew: &Crew,
    all: usize,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    for _ in 0..rounds {
        crew.forget();
        let param = LoadParam { count: 10 * all as u64, micros: vec![600_000_000], ..LoadParam::default() };
        let task = dtf.client().create_task(LOAD, param.task()).await?;
        until(|| async { count(&crew.events(), Step::Starts) == all }).await;
        let begin = now_ns();
        task.cancel().await?;
        let row = task.wait().await?;
        anyhow::ensure!(row.status == TaskStatus::Cancelled, "it ended as {}", row.status);
        report.add("closed_ms", (now_ns() - begin) as f64 / 1e6);
        until(|| async { count(&crew.events(), Step::Ends) == all }).await;
        let ends = crew.events().into_iter().filter(|event| event.step == Step::Ends);
        let mut times: Vec<f64> = ends.map(|event| (event.at_ns - begin) as f64 / 1e6).collect();
        times.sort_by(f64::total_cmp);
        report.add("cancel_p99_ms", percentile(&times, 0.99));
    }
    Ok(())
}

fn count(events: &[Event], step: Step) -> usize {
    events.iter().filter(|event| event.step == step).count()
}

fn last(events: &[Event], step: Step) -> u64 {
    events.iter().rev().find(|event| event.step == step).map_or(0, |event| event.at_ns)
}

async fn running(task: &TaskHandle) -> u64 {
    task.status().await.map_or(u64::MAX, |status| status.progress().running)
}

/// Looks every few milliseconds: what is measured are the times in the events, not these looks.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
