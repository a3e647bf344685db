//! Tasks of one subtask: how fast many clients at once have them created, run and ended, and their cost.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use dtf::model::TaskStatus;
use dtf::model::table::TaskFilter;
use dtf::{Client, Dtf};
use futures::future::try_join_all;
use serde_json::json;

use crate::load::{self, LOAD, LoadParam};
use crate::polling::until;
use crate::report::Report;
use crate::servers::Servers;
use crate::stores::{StoreOptions, process};
use crate::usage;

/// The time after which the benchmark gives up waiting for the held tasks to run all at once.
const PATIENCE: Duration = Duration::from_secs(300);
/// The time that buffers of connections take to shrink.
const SETTLED: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// The number of tasks
    #[arg(long, default_value_t = 4000)]
    tasks: usize,
    /// The number of clients that create them at the same time
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// The number of slots
    #[arg(long, default_value_t = 64)]
    slots: usize,
    /// The number of tasks that run at once when the memory of one in Redis is measured; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    held: usize,
    /// The time that each of those runs, in seconds: all must have started before the first one ends
    #[arg(long, default_value_t = 30)]
    hold_s: u64,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({
        "tasks": options.tasks, "clients": options.clients, "slots": options.slots,
        "backend": options.stores.backend.name(),
    });
    let mut report = Report::new("tasks", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let servers = options.stores.servers(&runtime, &mut report)?;
    runtime.block_on(async {
        for _ in 0..runs {
            once(options, servers.as_ref(), &mut report).await?;
        }
        if let Some(servers) = servers.as_ref().filter(|_| options.held > 0) {
            memory(options, servers, &mut report).await?;
        }
        anyhow::Ok(())
    })?;
    report.add_peak_memory("rss_peak_mb");
    Ok(report)
}

/// Starts a process in a cluster of its own and warms it up with one task.
async fn warm_process(servers: Option<&Servers>, slots: usize) -> anyhow::Result<Dtf> {
    load::forget_times();
    let dtf = process(servers, slots).await?;
    let warm_up = LoadParam { count: 1, ..LoadParam::default() };
    dtf.client().create_task(LOAD, warm_up.task()).await?.wait().await?;
    load::forget_times();
    Ok(dtf)
}

/// Creates the tasks and waits for their ends.
async fn once(options: &Options, servers: Option<&Servers>, report: &mut Report) -> anyhow::Result<()> {
    let dtf = warm_process(servers, options.slots).await?;
    let before = match servers {
        Some(servers) => Some(servers.cpu().await?),
        None => None,
    };
    let (own, begin) = (usage::own_cpu_s(), Instant::now());
    create(&dtf.client(), options.tasks, options.clients, &LoadParam::default()).await?;
    report.add("created_per_s", options.tasks as f64 / begin.elapsed().as_secs_f64());
    report.add("ended_while_creating", load::collected_tasks() as f64);
    until(|| async { load::collected_tasks() >= options.tasks }).await;
    all_ended(&dtf.client()).await?;
    let tasks = options.tasks as f64;
    report.add("tasks_per_s", tasks / begin.elapsed().as_secs_f64());
    report.add("client_us_per_task", (usage::own_cpu_s() - own) * 1e6 / tasks);
    if let (Some(servers), Some(before)) = (servers, before) {
        let used = servers.cpu().await?.since(before);
        report.add("redis_us_per_task", used.redis_s * 1e6 / tasks);
        report.add("sql_us_per_task", used.sql_s * 1e6 / tasks);
        report.add("etcd_us_per_task", used.etcd_s * 1e6 / tasks);
    }
    dtf.stop().await;
    Ok(())
}

/// Creates tasks of one subtask, this many clients at a time.
async fn create(client: &Client, tasks: usize, clients: usize, param: &LoadParam) -> anyhow::Result<()> {
    let param = LoadParam { count: 1, ..param.clone() };
    let creating = (0..clients).map(|number| {
        let (client, param) = (client.clone(), param.clone());
        let share = tasks / clients + usize::from(number < tasks % clients);
        tokio::spawn(async move {
            for _ in 0..share {
                client.create_task(LOAD, param.task()).await?;
            }
            anyhow::Ok(())
        })
    });
    try_join_all(creating).await?.into_iter().collect()
}

/// Waits until no task is left that has not ended, and checks that all have completed.
async fn all_ended(client: &Client) -> anyhow::Result<()> {
    let any = async |status| -> anyhow::Result<bool> {
        let filter = TaskFilter { status: Some(status), ..TaskFilter::default() };
        Ok(!client.list_tasks(&filter, None, 1).await?.is_empty())
    };
    while any(TaskStatus::Created).await? || any(TaskStatus::Running).await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let failed = any(TaskStatus::Exceptional).await? || any(TaskStatus::Cancelled).await?;
    anyhow::ensure!(!failed, "a task did not complete");
    Ok(())
}

/// Measures the memory of Redis for tasks that all run, and again when they have ended.
async fn memory(options: &Options, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let held = options.held;
    let dtf = warm_process(Some(servers), held).await?;
    let bytes = async || -> anyhow::Result<f64> {
        tokio::time::sleep(SETTLED).await;
        Ok(servers.redis_usage().await?.data_bytes)
    };
    let empty = bytes().await?;
    let param = LoadParam { micros: vec![options.hold_s * 1_000_000], ..LoadParam::default() };
    create(&dtf.client(), held, options.clients, &param).await?;
    let all_run = until(|| async { load::running() as usize == held });
    tokio::time::timeout(PATIENCE, all_run)
        .await
        .context("the held tasks never ran all at once: a longer --hold-s or fewer --held are needed")?;
    report.add("redis_bytes_per_running_task", (bytes().await? - empty) / held as f64);
    until(|| async { load::collected_tasks() >= held }).await;
    all_ended(&dtf.client()).await?;
    report.add("redis_bytes_per_ended_task", (bytes().await? - empty) / held as f64);
    dtf.stop().await;
    Ok(())
}
