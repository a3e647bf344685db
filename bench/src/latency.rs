//! How long a small task takes on an idle system.

use std::time::Instant;

use clap::Args;
use dtf::model::TaskStatus;
use serde_json::json;

use crate::load::{LOAD, LoadParam};
use crate::report::{Report, percentile};
use crate::site::{Backend, Stack, Where};
use crate::throughput::process;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: Where,
    /// How many tasks, one after the other
    #[arg(long, default_value_t = 500)]
    tasks: usize,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({ "tasks": options.tasks, "backend": options.stores.backend.name() });
    let mut report = Report::new("latency", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stack = match options.stores.backend {
        Backend::Embedded => None,
        Backend::Redis => Some(Stack::new(options.stores.external)?),
    };
    for _ in 0..runs {
        let mut times = runtime.block_on(once(options, stack.as_ref()))?;
        times.sort_by(f64::total_cmp);
        report.add("p50_ms", percentile(&times, 0.5));
        report.add("p99_ms", percentile(&times, 0.99));
        report.add("max_ms", percentile(&times, 1.0));
    }
    Ok(report)
}

/// The time of each task, in milliseconds, from its creation to its terminal row.
async fn once(options: &Options, stack: Option<&Stack>) -> anyhow::Result<Vec<f64>> {
    let dtf = process(stack).await?;
    // The first task of a process finds nothing prepared: scripts, connections, the plans of the roles.
    let warm_up = LoadParam { count: 1, ..LoadParam::default() };
    dtf.client().create_task(LOAD, warm_up.task()).await?.wait().await?;
    let mut times = Vec::with_capacity(options.tasks);
    for _ in 0..options.tasks {
        let param = LoadParam { count: 1, ..LoadParam::default() };
        let started = Instant::now();
        let row = dtf.client().create_task(LOAD, param.task()).await?.wait().await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(row.status == TaskStatus::Completed, "a task ended as {}", row.status);
    }
    dtf.stop().await;
    Ok(times)
}
