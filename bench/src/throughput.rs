//! Subtasks a second, from the generator to the books in `tbl_task`.

use std::time::Instant;

use clap::Args;
use dtf::Dtf;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::{TaskParam, TaskStatus};
use dtf::tasks::NOOP;
use dtf::tasks::noop::{Noop, NoopParam};
use serde_json::json;

use crate::report::Report;

#[derive(Args)]
pub(crate) struct Options {
    /// How many subtasks
    #[arg(long, default_value_t = 1_000_000)]
    subtasks: u64,
    /// How large the body of each is
    #[arg(long, default_value_t = 64)]
    body_bytes: usize,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({
        "subtasks": options.subtasks,
        "body_bytes": options.body_bytes,
        "backend": "embedded",
    });
    let mut report = Report::new("throughput", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..runs {
        runtime.block_on(once(options, &mut report))?;
    }
    report.add_peak_memory();
    Ok(report)
}

/// A process with all roles that knows the type `noop`.
pub(crate) async fn process() -> anyhow::Result<Dtf> {
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    let builder = Dtf::builder(embedded::ports(Database::Memory).await?).config(Embedded { jobs }.config());
    let dtf = builder.register_task_type(Noop::registration())?.build()?;
    dtf.start_all().await?;
    Ok(dtf)
}

async fn once(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let dtf = process().await?;
    let param = NoopParam { body_bytes: options.body_bytes, ..NoopParam::new(options.subtasks) };
    let param = TaskParam { type_param: param.to_json(), ..TaskParam::default() };
    let started = Instant::now();
    let row = dtf.client().create_task(NOOP, param).await?.wait().await?;
    let wall = started.elapsed().as_secs_f64();
    anyhow::ensure!(row.status == TaskStatus::Completed, "the task ended as {}: {}", row.status, row.reason);
    report.add("wall_s", wall);
    report.add("counted", row.counts.counted() as f64);
    report.add("subtasks_per_s", row.counts.counted() as f64 / wall);
    dtf.stop().await;
    Ok(())
}
