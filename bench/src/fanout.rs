//! The memory that a huge task takes while it runs.

use std::time::{Duration, Instant};

use clap::Args;
use dtf::model::Role;
use dtf::model::TaskStatus;
use serde_json::json;

use crate::cluster::{Cluster, OTHERS};
use crate::load::{LOAD, LoadParam};
use crate::polling::until;
use crate::report::Report;
use crate::servers::{ServerOptions, Servers};
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of subtasks of the huge task
    #[arg(long, default_value_t = 10_000_000)]
    subtasks: u64,
    /// The number of subtasks that wait when the memory of one is measured
    #[arg(long, default_value_t = 1_000_000)]
    pending: u64,
    #[command(flatten)]
    servers: ServerOptions,
}

/// The size of a body.
const BODY: usize = 64;

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let params = json!({ "subtasks": options.subtasks, "pending": options.pending, "body_bytes": BODY });
    let mut report = Report::new("fanout", params);
    let servers = Servers::new(&options.servers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        servers.describe(&mut report).await?;
        huge(options, &servers, &mut report).await?;
        report.add_peak_memory("rss_peak_mb");
        pending(options, &servers, &mut report).await
    })?;
    Ok(report)
}

async fn huge(options: &Options, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let dtf = servers.cluster().await?.process("all", &Role::ALL).await?;
    usage::reset_redis(&servers.redis_urls()).await?;
    let begin = Instant::now();
    let task = dtf.client().create_task(LOAD, load(options.subtasks).task()).await?;
    let row = task.wait().await?;
    anyhow::ensure!(row.status == TaskStatus::Completed, "the task ended as {}: {}", row.status, row.reason);
    report.add("wall_s", begin.elapsed().as_secs_f64());
    report.add("counted", row.counts.counted() as f64);
    report.add("redis_peak_mb", servers.redis_usage().await?.peak_mib);
    dtf.stop().await;
    Ok(())
}

fn load(count: u64) -> LoadParam {
    LoadParam { count, body_bytes: BODY, ..LoadParam::default() }
}

/// The memory of a backlog that nobody takes anything from, less what Redis has in use without it.
async fn pending(options: &Options, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    // A generator fills its backlog up when half of it has drained.
    let cluster = Cluster { backlog: 2 * options.pending, ..servers.cluster().await? };
    let others = cluster.process("others", &OTHERS).await?;
    let executor = cluster.process("executor", &[Role::Executor]).await?;
    let idle = servers.redis_usage().await?.used_mib;
    let task = others.client().create_task(LOAD, load(u64::MAX >> 16).task()).await?;
    // How long a subtask runs has to be known before they travel many in a parcel.
    until(|| async { task.status().await.is_ok_and(|status| status.progress().succeeded > 10_000) }).await;
    executor.stop().await;
    let waits = || async { task.status().await.map_or(0, |status| status.progress().pending) };
    until(|| async { waits().await >= options.pending }).await;
    // Buffers of connections that carried the last batches shrink within a few seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = servers.redis_usage().await?.used_mib - idle;
    report.add("bytes_per_pending", used * 1024.0 * 1024.0 / waits().await as f64);
    others.kill().await;
    Ok(())
}
