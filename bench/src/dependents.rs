//! Dependents: how long after the end of a task thousands that wait for it have begun, and ended.

use std::time::Duration;

use clap::Args;
use dtf::FlowBuilder;
use dtf::model::flow::Condition;
use serde_json::json;

use crate::load::{LOAD_NAME, LoadParam};
use crate::report::{Report, percentile};
use crate::stores::{StoreOptions, process};

/// The pause between two looks at the flow.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// The number of tasks that wait for one, 9999 at most
    #[arg(long, default_value_t = 9_999)]
    dependents: u64,
    /// The number of slots
    #[arg(long, default_value_t = 64)]
    slots: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let params = json!({ "dependents": options.dependents, "backend": options.stores.backend.name() });
    let mut report = Report::new("dependents", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let servers = options.stores.servers(&runtime, &mut report)?;
    runtime.block_on(async {
        let dtf = process(servers.as_ref(), options.slots).await?;
        let client = dtf.client();
        let param = serde_json::to_value(LoadParam { count: 1, ..LoadParam::default() })?;
        let mut flow = FlowBuilder::named("dependents").task("first", LOAD_NAME, param.clone());
        for at in 0..options.dependents {
            let name = format!("t{at}");
            flow = flow.task(&name, LOAD_NAME, param.clone()).after(&name, "first", Condition::Completed);
        }
        let begin = std::time::Instant::now();
        let id = client.create_flow(flow).await?.row.id;
        report.add("created_ms", begin.elapsed().as_secs_f64() * 1000.0);
        let view = loop {
            tokio::time::sleep(LOOK).await;
            let view = client.flow(id).await?;
            if view.counts.completed == view.counts.tasks {
                break view;
            }
        };
        let first = view.tasks[0].finished_at.unwrap_or_default();
        let since = |at: Option<u64>| at.unwrap_or_default().saturating_sub(first) as f64;
        let mut begun: Vec<f64> = view.tasks[1..].iter().map(|task| since(task.started_at)).collect();
        begun.sort_by(f64::total_cmp);
        for (figure, share) in [("begun_p50_ms", 0.5), ("begun_p99_ms", 0.99), ("begun_max_ms", 1.0)] {
            report.add(figure, percentile(&begun, share));
        }
        let last = view.tasks.iter().map(|task| since(task.finished_at)).fold(0.0, f64::max);
        report.add("last_ended_ms", last);
        dtf.stop().await;
        anyhow::Ok(())
    })?;
    report.add_peak_memory("rss_peak_mb");
    Ok(report)
}
