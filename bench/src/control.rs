//! The time until a pause, a resumption and a cancellation reach executors in processes of their own.

use clap::Args;
use dtf::model::Role;
use dtf::model::TaskStatus;
use dtf::{Dtf, TaskHandle};
use serde_json::json;

use crate::cluster::{Cluster, OTHERS};
use crate::events::{Event, EventKind, now_ns};
use crate::load::{LOAD, LoadParam};
use crate::polling::until;
use crate::processes::Processes;
use crate::report::{Report, percentile};
use crate::servers::{ServerOptions, Servers};

#[derive(Args)]
pub(crate) struct Options {
    /// The number of processes that execute
    #[arg(long, default_value_t = 4)]
    executors: usize,
    /// The number of subtasks that each runs at once
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// The number of pauses, and of cancellations
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    #[command(flatten)]
    servers: ServerOptions,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { executors, slots, rounds, .. } = *options;
    let mut report =
        Report::new("control", json!({ "executors": executors, "slots": slots, "rounds": rounds }));
    let servers = Servers::new(&options.servers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        servers.describe(&mut report).await?;
        let cluster = Cluster { slots, ..servers.cluster().await? };
        let dtf = cluster.process("others", &OTHERS).await?;
        let mut processes = Processes::new(cluster);
        for _ in 0..executors {
            processes.start(Role::Executor)?;
        }
        pauses(&dtf, &processes, rounds, &mut report).await?;
        cancels(&dtf, &processes, executors * slots, rounds, &mut report).await?;
        dtf.stop().await;
        Ok(report)
    })
}

async fn pauses(dtf: &Dtf, processes: &Processes, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let param = LoadParam { count: 100_000_000, micros: vec![10_000], ..LoadParam::default() };
    let client = dtf.client();
    let task = client.create_task(LOAD, param.task()).await?;
    for _ in 0..rounds {
        processes.forget();
        until(|| async { processes.events().len() > 1000 }).await;
        let begin = now_ns();
        client.pause_task(task.id()).await?;
        until(|| async {
            running(&task).await == 0
                && last(&processes.events(), EventKind::Started) < now_ns() - 500_000_000
        })
        .await;
        let last_start = last(&processes.events(), EventKind::Started);
        report.add("pause_ms", last_start.saturating_sub(begin) as f64 / 1e6);
        processes.forget();
        let begin = now_ns();
        client.resume_task(task.id()).await?;
        until(|| async { !processes.events().is_empty() }).await;
        let first = processes.events().first().map_or(begin, |event| event.at_ns);
        report.add("resume_ms", (first - begin) as f64 / 1e6);
    }
    task.cancel().await?;
    task.wait().await?;
    Ok(())
}

async fn cancels(
    dtf: &Dtf,
    processes: &Processes,
    all: usize,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    for _ in 0..rounds {
        processes.forget();
        let param = LoadParam { count: 10 * all as u64, micros: vec![600_000_000], ..LoadParam::default() };
        let task = dtf.client().create_task(LOAD, param.task()).await?;
        until(|| async { count(&processes.events(), EventKind::Started) == all }).await;
        let begin = now_ns();
        task.cancel().await?;
        let row = task.wait().await?;
        anyhow::ensure!(row.status == TaskStatus::Cancelled, "it ended as {}", row.status);
        report.add("closed_ms", (now_ns() - begin) as f64 / 1e6);
        until(|| async { count(&processes.events(), EventKind::Ended) == all }).await;
        let ends = processes.events().into_iter().filter(|event| event.kind == EventKind::Ended);
        let mut times: Vec<f64> = ends.map(|event| (event.at_ns - begin) as f64 / 1e6).collect();
        times.sort_by(f64::total_cmp);
        report.add("cancel_p99_ms", percentile(&times, 0.99));
    }
    Ok(())
}

fn count(events: &[Event], kind: EventKind) -> usize {
    events.iter().filter(|event| event.kind == kind).count()
}

fn last(events: &[Event], kind: EventKind) -> u64 {
    events.iter().rev().find(|event| event.kind == kind).map_or(0, |event| event.at_ns)
}

async fn running(task: &TaskHandle) -> u64 {
    task.status().await.map_or(u64::MAX, |status| status.progress().running)
}
