//! Subtasks a second, from the generator to the books in `tbl_task`.

use std::time::Instant;

use clap::Args;
use dtf::model::TaskStatus;
use serde_json::json;

use crate::load::{self, LOAD, LoadParam};
use crate::report::Report;
use crate::servers::Servers;
use crate::stores::{StoreOptions, cores, process};
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// The number of subtasks
    #[arg(long, default_value_t = 1_000_000)]
    subtasks: u64,
    /// The size of each body, in bytes; at least 8
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    body_bytes: u64,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({
        "subtasks": options.subtasks,
        "body_bytes": options.body_bytes,
        "backend": options.stores.backend.name(),
    });
    let mut report = Report::new("throughput", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let servers = options.stores.servers(&runtime, &mut report)?;
    for _ in 0..runs {
        runtime.block_on(once(options, servers.as_ref(), &mut report))?;
    }
    report.add_peak_memory("rss_peak_mb");
    Ok(report)
}

async fn once(options: &Options, servers: Option<&Servers>, report: &mut Report) -> anyhow::Result<()> {
    let dtf = process(servers, cores()).await?;
    let body_bytes = usize::try_from(options.body_bytes)?;
    let param = LoadParam { count: options.subtasks, body_bytes, ..LoadParam::default() };
    let before = match servers {
        Some(servers) => {
            usage::reset_redis(&servers.redis_urls()).await?;
            Some(servers.redis_usage().await?)
        }
        None => None,
    };
    let (own, executed, started) = (usage::own_cpu_s(), load::executed(), Instant::now());
    let row = dtf.client().create_task(LOAD, param.task()).await?.wait().await?;
    let wall = started.elapsed().as_secs_f64();
    anyhow::ensure!(row.status == TaskStatus::Completed, "the task ended as {}: {}", row.status, row.reason);
    report.add("wall_s", wall);
    report.add("counted", row.counts.counted() as f64);
    report.add("executed", (load::executed() - executed) as f64);
    report.add("subtasks_per_s", row.counts.counted() as f64 / wall);
    report.add("client_cpu_s", usage::own_cpu_s() - own);
    if let (Some(servers), Some(before)) = (servers, before) {
        let after = servers.redis_usage().await?;
        report.add("redis_cpu_s", after.cpu_s - before.cpu_s);
        report.add("redis_peak_mb", after.peak_mib);
    }
    dtf.stop().await;
    Ok(())
}
