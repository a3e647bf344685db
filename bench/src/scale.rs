//! How throughput and cost grow with the number of executors.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use dtf::model::Role;
use dtf::model::TaskStatus;
use serde_json::json;

use crate::control::OTHERS;
use crate::crew::Crew;
use crate::load::{LOAD, LoadParam};
use crate::plot::{Line, plot};
use crate::report::Report;
use crate::site::{Site, Stack};
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    /// How many processes execute, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    executors: Vec<usize>,
    /// How many subtasks each runs at once
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// How long a subtask waits, in microseconds
    #[arg(long, default_value_t = 5000)]
    micros: u64,
    /// How many subtasks for each executor
    #[arg(long, default_value_t = 20_000)]
    subtasks: u64,
    /// Where to draw it, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The servers that DTF_ETCD, DTF_MYSQL and DTF_REDIS name, instead of private ones
    #[arg(long)]
    external: bool,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    let stack = Stack::new(options.external)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut reports = Vec::new();
    for executors in options.executors.iter().copied() {
        let params = json!({
            "executors": executors, "slots": options.slots, "micros": options.micros,
            "subtasks": options.subtasks * executors as u64,
        });
        let mut report = Report::new("scale", params);
        runtime.block_on(stack.describe(&mut report))?;
        for _ in 0..runs {
            runtime.block_on(once(options, executors, &stack, &mut report))?;
        }
        reports.push(report);
    }
    if let Some(file) = &options.plot {
        let point = |figure| {
            let at = |(executors, report): (&usize, &Report)| (*executors as f64, report.median(figure));
            options.executors.iter().zip(&reports).map(at).collect::<Vec<_>>()
        };
        let ideal = 1e6 / options.micros as f64 * options.slots as f64;
        let ideal = options.executors.iter().map(|executors| (*executors as f64, *executors as f64 * ideal));
        let lines = [
            Line { name: "subtasks a second", points: point("subtasks_per_s") },
            Line { name: "what the slots allow", points: ideal.collect() },
        ];
        plot(file, "Throughput with the number of executors", "executors", "subtasks a second", &lines)?;
    }
    Ok(reports)
}

async fn once(options: &Options, executors: usize, stack: &Stack, report: &mut Report) -> anyhow::Result<()> {
    let site = Site { slots: options.slots, ..stack.site().await? };
    let dtf = site.process("others", &OTHERS).await?;
    let mut crew = Crew::new(site);
    for _ in 0..executors {
        crew.start_silent(Role::Executor)?;
    }
    let micros = if options.micros == 0 { Vec::new() } else { vec![options.micros] };
    // Warm: the executors hold their shards, and the run time of subtasks is known.
    let warm = LoadParam { count: 1000, micros: micros.clone(), ..LoadParam::default() };
    dtf.client().create_task(LOAD, warm.task()).await?.wait().await?;
    let cost = || -> f64 { usage::own_cpu_s() + crew.cpu_s() };
    let (redis, clients) = (usage::redis(&stack.redis_url()).await?.cpu_s, cost());
    let count = options.subtasks * executors as u64;
    let begin = Instant::now();
    let task =
        dtf.client().create_task(LOAD, LoadParam { count, micros, ..LoadParam::default() }.task()).await?;
    let row = task.wait().await?;
    let wall = begin.elapsed().as_secs_f64();
    anyhow::ensure!(row.status == TaskStatus::Completed, "the task ended as {}: {}", row.status, row.reason);
    report.add("subtasks_per_s", count as f64 / wall);
    report.add("client_cpu_s", cost() - clients);
    report.add("redis_cpu_s", usage::redis(&stack.redis_url()).await?.cpu_s - redis);
    dtf.stop().await;
    Ok(())
}
