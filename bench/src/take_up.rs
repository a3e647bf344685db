//! LRMF on a real etcd: how long one member needs to take up very many tasks, or large ones.

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
    /// The tasks, as NUMBERxBYTES of a value
    #[arg(long, value_delimiter = ',', value_parser = load, default_value = "100000x16,100000x1024,12000x16384")]
    tasks: Vec<(usize, usize)>,
}

fn load(text: &str) -> Result<(usize, usize), String> {
    let (tasks, bytes) = text.split_once('x').ok_or("write NUMBERxBYTES, as in 100000x1024")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text:?} is no number: {error}"));
    Ok((number(tasks)?, number(bytes)?))
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    options.tasks.iter().map(|(tasks, bytes)| one(*tasks, *bytes, runs)).collect()
}

fn one(tasks: usize, bytes: usize, runs: usize) -> anyhow::Result<Report> {
    let config = CoordinatorConfig { settle: Duration::ZERO, ..CoordinatorConfig::default() };
    let mut report = Report::new("take-up", json!({ "tasks": tasks, "value_bytes": bytes }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..runs {
        // A new one each time, as a group leaves its records behind.
        let etcd = Etcd::private()?;
        let url = etcd.url();
        report.add_version("etcd", usage::etcd_version(&url)?);
        runtime.block_on(async {
            let store = Arc::new(EtcdStore::connect(EtcdConfig::new([url.clone()])).await?);
            let mut group = MemberGroup::new(tasks, config.clone(), store)?.with_values_of(bytes);
            let (begin, cpu) = (Instant::now(), usage::own_cpu_s());
            group.start().await?;
            group.until_all_run().await?;
            report.add("take_up_ms", millis(begin));
            report.add("process_cpu_ms", (usage::own_cpu_s() - cpu) * 1e3);
            report.add("double_held", group.double_held() as f64);
            anyhow::Ok(())
        })?;
    }
    report.add_peak_memory("peak_rss_mib");
    Ok(report)
}
