//! Throughput and cost with the number of executors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use dtf::model::ClusterShape;

use crate::dispatch::Case;
use crate::plot::{Line, plot};
use crate::report::Report;
use crate::servers::{ServerOptions, Servers, on_servers};

#[derive(Args)]
pub(crate) struct Options {
    /// The numbers of executor processes, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    executors: Vec<usize>,
    /// The number of slots of each executor
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// The time that a subtask waits, in microseconds
    #[arg(long, default_value_t = 5000)]
    micros: u64,
    /// The number of subtasks for each executor
    #[arg(long, default_value_t = 20_000)]
    subtasks: u64,
    /// The SVG file to draw the throughput into
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    servers: ServerOptions,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    let reports = on_servers(&options.servers, async |servers| measure(options, servers, runs).await)?;
    if let Some(file) = &options.plot {
        draw(file, options, &reports)?;
    }
    Ok(reports)
}

async fn measure(options: &Options, servers: &Servers, runs: usize) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for executors in options.executors.iter().copied() {
        let case = Case {
            executors,
            slots: options.slots,
            shards: ClusterShape::default().shards,
            micros: options.micros,
            subtasks: options.subtasks * executors as u64,
            idle: Duration::ZERO,
        };
        let mut report = Report::new("scale", case.params());
        servers.describe(&mut report).await?;
        for _ in 0..runs {
            case.measure(servers, &mut report).await?;
        }
        reports.push(report);
    }
    Ok(reports)
}

fn draw(file: &Path, options: &Options, reports: &[Report]) -> anyhow::Result<()> {
    let point = |figure| {
        let at = |(executors, report): (&usize, &Report)| (*executors as f64, report.median(figure));
        options.executors.iter().zip(reports).map(at).collect::<Vec<_>>()
    };
    let ideal = 1e6 / options.micros as f64 * options.slots as f64;
    let ideal = options.executors.iter().map(|executors| (*executors as f64, *executors as f64 * ideal));
    let lines = [
        Line { name: "subtasks a second", points: point("subtasks_per_s") },
        Line { name: "what the slots allow", points: ideal.collect() },
    ];
    plot(file, "Throughput with the number of executors", "executors", "subtasks a second", &lines)
}
