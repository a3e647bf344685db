//! Ten thousand sessions on one etcd: what it costs to keep them, and what one more or one less costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use lrmf_core::CoordinatorConfig;
use lrmf_etcd::{EtcdConfig, EtcdStore};
use serde_json::json;
use test_servers::servers::Etcd;

use crate::member_group::{MemberGroup, millis};
use crate::report::Report;
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of members, before one more joins
    #[arg(long, default_value_t = 9_999)]
    members: usize,
    /// The number of tasks; more than members, so that one more member gets some
    #[arg(long, default_value_t = 20_000)]
    tasks: usize,
    /// The sessions' time to live, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    ttl_ms: u64,
    /// For how long the idle group is watched, in seconds
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
    /// The number of joins, and of losses
    #[arg(long, default_value_t = 5)]
    events: usize,
    /// The etcd that DTF_ETCD names, instead of a private one
    #[arg(long)]
    external: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { members, tasks, ttl_ms, idle_s, events, .. } = *options;
    anyhow::ensure!(tasks > members, "--tasks is {tasks}; more than --members, {members}, are needed");
    let ttl = Duration::from_millis(ttl_ms);
    let config = CoordinatorConfig { ttl, margin: ttl / 3, ..CoordinatorConfig::default() };
    let params = json!({
        "members": members, "tasks": tasks, "ttl_ms": ttl_ms, "idle_s": idle_s, "events": events,
        "keep_alive_ms": config.keep_alive_interval().as_millis() as u64,
    });
    let mut report = Report::new("members", params);
    let etcd = if options.external { Etcd::get()? } else { Etcd::private()? };
    let url = etcd.url();
    report.add_version("etcd", usage::etcd_version(&url)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(EtcdStore::connect(EtcdConfig::new([url.clone()])).await?);
        let mut group = MemberGroup::new(tasks, config, store)?;
        let begin = Instant::now();
        group.start_many(members).await?;
        group.until_all_run().await?;
        report.add("cold_s", begin.elapsed().as_secs_f64());
        idle(&url, idle_s, &mut report).await?;
        for _ in 0..events {
            let begin = Instant::now();
            let newcomer = group.join(tasks / (members + 1)).await?;
            report.add("join_ms", millis(begin));
            report.add("loss_ms", group.kill(&newcomer).await?);
        }
        report.add("double_held", group.double_held() as f64);
        anyhow::Ok(())
    })?;
    report.add_peak_memory("rss_peak_mb");
    Ok(report)
}

/// Measures the cost while nothing happens.
async fn idle(url: &str, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    // What the start left to do has been done by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (etcd, own, begin) = (usage::etcd(url)?.cpu_s, usage::own_cpu_s(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let took = begin.elapsed().as_secs_f64();
    report.add("etcd_cpu_s_per_s", (usage::etcd(url)?.cpu_s - etcd) / took);
    report.add("client_cpu_s_per_s", (usage::own_cpu_s() - own) / took);
    Ok(())
}
