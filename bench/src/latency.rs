//! The duration of a small task on an idle system.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use dtf::model::TaskStatus;
use serde_json::json;

use crate::events::now_ns;
use crate::load::{self, LOAD, LoadParam};
use crate::plot::{Line, cumulative, plot};
use crate::report::{Report, percentile};
use crate::servers::Servers;
use crate::stores::{StoreOptions, cores, process};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// The number of tasks, one after the other
    #[arg(long, default_value_t = 500)]
    tasks: usize,
    /// The SVG file for a plot
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({ "tasks": options.tasks, "backend": options.stores.backend.name() });
    let mut report = Report::new("latency", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let servers = options.stores.servers(&runtime, &mut report)?;
    let mut all = Times::default();
    for _ in 0..runs {
        let times = runtime.block_on(once(options, servers.as_ref()))?;
        report.add("p50_ms", percentile(&times.collected, 0.5));
        report.add("p99_ms", percentile(&times.collected, 0.99));
        report.add("max_ms", percentile(&times.collected, 1.0));
        report.add("ended_p50_ms", percentile(&times.ended, 0.5));
        report.add("ended_p99_ms", percentile(&times.ended, 0.99));
        all.collected.extend(times.collected);
        all.ended.extend(times.ended);
    }
    if let Some(file) = &options.plot {
        let lines = [
            Line { name: "result collected", points: cumulative(all.collected) },
            Line { name: "task ended", points: cumulative(all.ended) },
        ];
        plot(file, "From the creation of a task", "ms", "% of the tasks", &lines)?;
    }
    Ok(report)
}

/// The time from the creation of each task, in milliseconds, ascending.
#[derive(Default)]
struct Times {
    /// Until its one result has been collected: given to the collector's callback, and committed.
    collected: Vec<f64>,
    /// Until whoever waits for it has its terminal row.
    ended: Vec<f64>,
}

async fn once(options: &Options, servers: Option<&Servers>) -> anyhow::Result<Times> {
    load::forget_times();
    let dtf = process(servers, cores()).await?;
    // The first task of a process finds nothing prepared: scripts, connections, the plans of the roles.
    let warm_up = LoadParam { count: 1, ..LoadParam::default() };
    dtf.client().create_task(LOAD, warm_up.task()).await?.wait().await?;
    let mut times = Times::default();
    let millis_since = |begin: u64, end: u64| (end - begin) as f64 / 1e6;
    for _ in 0..options.tasks {
        let param = LoadParam { count: 1, ..LoadParam::default() };
        let begin = now_ns();
        let task = dtf.client().create_task(LOAD, param.task()).await?;
        let row = task.wait().await?;
        times.ended.push(millis_since(begin, now_ns()));
        anyhow::ensure!(row.status == TaskStatus::Completed, "a task ended as {}", row.status);
        let collected = load::collected_ns(task.id()).context("a task completed and was not collected")?;
        times.collected.push(millis_since(begin, collected));
    }
    dtf.stop().await;
    times.collected.sort_by(f64::total_cmp);
    times.ended.sort_by(f64::total_cmp);
    Ok(times)
}
