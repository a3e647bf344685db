//! LRMF on a real etcd: how long tasks take to change hands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use lrmf_core::{Coordination, CoordinatorConfig};
use lrmf_etcd::{EtcdConfig, EtcdStore};
use serde_json::json;
use test_servers::servers::Etcd;

use crate::member_group::{MemberGroup, millis};
use crate::plot::{Line, cumulative, plot};
use crate::report::{Report, percentile};
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of members
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// The number of tasks
    #[arg(long, default_value_t = 1000)]
    tasks: usize,
    /// The number of joins and leaves, half of them each
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// The number of kills
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// The sessions' time to live, in milliseconds
    #[arg(long, default_value_t = 3000)]
    ttl_ms: u64,
    /// The SVG file for a plot of the times of joins and leaves
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The etcd that DTF_ETCD names, instead of a private one
    #[arg(long)]
    external: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    anyhow::ensure!(options.members > 1, "--members is {}; at least 2 are needed", options.members);
    let etcd = if options.external { Etcd::get()? } else { Etcd::private()? };
    let url = etcd.url();
    let config = config(options);
    let mut report = Report::new(
        "placement",
        json!({
            "members": options.members, "tasks": options.tasks, "events": options.events, "kills": options.kills,
            "ttl_ms": options.ttl_ms, "margin_ms": config.margin.as_millis() as u64,
            "keep_alive_ms": config.keep_alive_interval().as_millis() as u64,
        }),
    );
    report.add_version("etcd", usage::etcd_version(&url)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = EtcdStore::connect(EtcdConfig::new([url.clone()])).await?;
        let before = usage::etcd(&url)?;
        measure(options, config, Arc::new(store), &mut report).await?;
        let after = usage::etcd(&url)?;
        report.add("etcd_syncs", after.syncs - before.syncs);
        report.add("etcd_syncs_over_64_ms", after.slow_syncs - before.slow_syncs);
        anyhow::Ok(())
    })?;
    Ok(report)
}

fn config(options: &Options) -> CoordinatorConfig {
    let ttl = Duration::from_millis(options.ttl_ms);
    CoordinatorConfig { ttl, margin: ttl / 3, settle: Duration::ZERO, ..CoordinatorConfig::default() }
}

async fn measure(
    options: &Options,
    config: CoordinatorConfig,
    store: Arc<dyn Coordination>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut group = MemberGroup::new(options.tasks, config, store)?;
    let cold = Instant::now();
    for _ in 0..options.members {
        group.start().await?;
    }
    group.until_all_run().await?;
    report.add("cold_ms", millis(cold));
    joins_and_leaves(options, &mut group, report).await?;
    kills(options, &mut group, report).await?;
    leader_kill(&mut group, report).await?;
    report.add("double_held", group.double_held() as f64);
    report.add("ttl_ms", options.ttl_ms as f64);
    Ok(())
}

async fn joins_and_leaves(
    options: &Options,
    group: &mut MemberGroup,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..options.events / 2 {
        let before = group.revision().await?;
        let begin = Instant::now();
        let newcomer = group.join(options.tasks / (options.members + 1)).await?;
        joins.push(millis(begin));
        report.add("etcd_writes_per_join", (group.revision().await? - before) as f64);
        let leaver = group.take(&newcomer)?;
        let begin = Instant::now();
        leaver.close().await;
        group.until_all_run().await?;
        leaves.push(millis(begin));
    }
    for (times, p50, p99) in
        [(&mut joins, "join_p50_ms", "join_p99_ms"), (&mut leaves, "leave_p50_ms", "leave_p99_ms")]
    {
        times.sort_by(f64::total_cmp);
        report.add(p50, percentile(times, 0.5));
        report.add(p99, percentile(times, 0.99));
    }
    if let Some(file) = &options.plot {
        let lines = [
            Line { name: "join", points: cumulative(joins) },
            Line { name: "graceful leave", points: cumulative(leaves) },
        ];
        plot(file, "Until the last moved task runs", "ms", "% of the changes", &lines)?;
    }
    Ok(())
}

async fn kills(options: &Options, group: &mut MemberGroup, report: &mut Report) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..options.kills {
        let victim = group.newest()?;
        times.push(group.kill(&victim).await?);
        group.join(options.tasks / options.members).await?;
    }
    times.sort_by(f64::total_cmp);
    if !times.is_empty() {
        report.add("crash_p50_ms", percentile(&times, 0.5));
        report.add("crash_p99_ms", percentile(&times, 0.99));
    }
    Ok(())
}

async fn leader_kill(group: &mut MemberGroup, report: &mut Report) -> anyhow::Result<()> {
    let leader = group.leader().context("the group has no leader")?;
    let (held, started) = {
        let book = group.board.book();
        (book.held_by(&leader), book.started)
    };
    let took = group.kill(&leader).await?;
    let moves = group.board.book().started - started;
    report.add("leader_kill_ms", took);
    report.add("leader_kill_moves", moves as f64);
    report.add("leader_held", held as f64);
    Ok(())
}
