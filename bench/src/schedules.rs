//! Schedules: how late their due times are met, with thousands of them on one manager.

use std::time::Duration;

use clap::Args;
use dtf::model::schedule::{OutcomeKind, Overlap, ScheduleSpec, Template};
use dtf::{Client, ScheduleView};
use futures::{StreamExt, TryStreamExt, stream};
use lrmf_core::{BootClock, Clock};
use serde_json::json;

use crate::load::{LOAD, LoadParam};
use crate::report::{Report, percentile};
use crate::stores::{StoreOptions, process};

/// The schedules that are created at the same time.
const TOGETHER: usize = 64;
/// The schedules of a page.
const PAGE: u32 = 1000;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    stores: StoreOptions,
    /// The number of schedules
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// The interval of each, in seconds
    #[arg(long, default_value_t = 60)]
    interval_s: u64,
    /// The time that is watched, in seconds
    #[arg(long, default_value_t = 90)]
    watch_s: u64,
    /// All are due at the same moments, instead of spread over the interval
    #[arg(long)]
    burst: bool,
    /// The number of slots
    #[arg(long, default_value_t = 64)]
    slots: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { schedules, interval_s, watch_s, burst, .. } = *options;
    let params = json!({
        "schedules": schedules, "interval_s": interval_s, "watch_s": watch_s, "burst": burst,
        "backend": options.stores.backend.name(),
    });
    let mut report = Report::new("schedules", params);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let servers = options.stores.servers(&runtime, &mut report)?;
    runtime.block_on(async {
        let dtf = process(servers.as_ref(), options.slots).await?;
        let client = dtf.client();
        // All are there before the first one is due.
        let begin = BootClock.unix_millis() + 1000 * 30.max(interval_s);
        let interval = interval_s * 1000;
        let created = stream::iter(0..schedules).map(|at| {
            let offset = if burst { 0 } else { interval * at / schedules };
            let client = client.clone();
            async move { client.create_schedule(spec(at, interval_s, begin + offset)).await }
        });
        created.buffer_unordered(TOGETHER).try_collect::<Vec<_>>().await?;
        let ready = BootClock.unix_millis();
        anyhow::ensure!(ready < begin, "creating the schedules took too long; take a longer interval");
        tokio::time::sleep(Duration::from_millis(begin - ready) + Duration::from_secs(watch_s)).await;
        let all = all(&client).await?;
        let history = all.iter().flat_map(|schedule| &schedule.row.state.history);
        let made = history.filter(|entry| entry.kind == OutcomeKind::Created);
        let mut late: Vec<f64> = made.map(|entry| entry.at.saturating_sub(entry.due) as f64).collect();
        late.sort_by(f64::total_cmp);
        report.add("met", late.len() as f64);
        for (figure, share) in [("late_p50_ms", 0.5), ("late_p99_ms", 0.99), ("late_max_ms", 1.0)] {
            report.add(figure, percentile(&late, share));
        }
        dtf.stop().await;
        anyhow::Ok(())
    })?;
    report.add_peak_memory("rss_peak_mb");
    Ok(report)
}

fn spec(at: u64, interval_s: u64, start_at: u64) -> ScheduleSpec {
    let param = LoadParam { count: 1, ..LoadParam::default() }.task();
    ScheduleSpec {
        name: format!("s{at:06}"),
        description: String::new(),
        when: format!("@every {interval_s}s"),
        zone: "UTC".to_owned(),
        template: Template::Task { task_type: LOAD, param: Box::new(param) },
        overlap: Overlap::Skip,
        catch_up: Duration::from_secs(3600),
        jitter: Duration::ZERO,
        start_at: Some(start_at),
        end_at: None,
    }
}

async fn all(client: &Client) -> anyhow::Result<Vec<ScheduleView>> {
    let mut all: Vec<ScheduleView> = Vec::new();
    loop {
        let after = all.last().map(|last| last.row.spec.name.clone());
        let page = client.schedules(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
