//! How long a small task takes on an idle system.

use std::time::Instant;

use clap::Args;
use dtf::model::{TaskParam, TaskStatus};
use dtf::tasks::NOOP;
use dtf::tasks::noop::NoopParam;
use serde_json::json;

use crate::report::{Report, percentile};
use crate::throughput::process;

#[derive(Args)]
pub(crate) struct Options {
    /// How many tasks, one after the other
    #[arg(long, default_value_t = 500)]
    tasks: usize,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({ "tasks": options.tasks, "backend": "embedded" });
    let mut report = Report::new("latency", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..runs {
        let mut times = runtime.block_on(once(options))?;
        times.sort_by(f64::total_cmp);
        report.add("p50_ms", percentile(&times, 0.5));
        report.add("p99_ms", percentile(&times, 0.99));
        report.add("max_ms", percentile(&times, 1.0));
    }
    Ok(report)
}

/// The time of each task, in milliseconds, from its creation to its terminal row.
async fn once(options: &Options) -> anyhow::Result<Vec<f64>> {
    let dtf = process().await?;
    let mut times = Vec::with_capacity(options.tasks);
    for _ in 0..options.tasks {
        let param = TaskParam { type_param: NoopParam::new(1).to_json(), ..TaskParam::default() };
        let started = Instant::now();
        let row = dtf.client().create_task(NOOP, param).await?.wait().await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(row.status == TaskStatus::Completed, "a task ended as {}", row.status);
    }
    dtf.stop().await;
    Ok(times)
}
