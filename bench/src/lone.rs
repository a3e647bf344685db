//! Subtasks that travel alone, because each takes longer than a parcel should: the work that people really have.

use std::time::Duration;

use clap::Args;

use crate::dispatch::Case;
use crate::report::Report;
use crate::servers::{ServerOptions, on_servers};

#[derive(Args)]
pub(crate) struct Options {
    /// The numbers of executor processes, one measurement each with the first number of shards
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8])]
    executors: Vec<usize>,
    /// The numbers of shards, one measurement each with the first number of executor processes
    #[arg(long, value_delimiter = ',', default_values_t = [64, 8192, 65_536])]
    shards: Vec<u32>,
    /// The number of slots of each executor process
    #[arg(long, default_value_t = 1024)]
    slots: usize,
    /// The time that a subtask waits, in milliseconds
    #[arg(long, default_value_t = 30)]
    millis: u64,
    /// The number of subtasks
    #[arg(long, default_value_t = 60_000)]
    subtasks: u64,
    /// The time over which the idle cost is measured, in seconds; 0 leaves it out
    #[arg(long, default_value_t = 10)]
    idle_s: u64,
    #[command(flatten)]
    servers: ServerOptions,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    on_servers(&options.servers, async |servers| {
        let mut reports = Vec::new();
        for case in cases(options) {
            let mut report = Report::new("lone", case.params());
            servers.describe(&mut report).await?;
            for _ in 0..runs {
                case.measure(servers, &mut report).await?;
            }
            reports.push(report);
        }
        Ok(reports)
    })
}

/// The cases: all numbers of executors with the first number of shards, then the first one with the other numbers of shards.
fn cases(options: &Options) -> Vec<Case> {
    let case = |executors, shards| Case {
        executors,
        slots: options.slots,
        shards,
        micros: options.millis * 1000,
        subtasks: options.subtasks,
        idle: Duration::from_secs(options.idle_s),
    };
    let (Some(shards), Some(executors)) = (options.shards.first(), options.executors.first()) else {
        return Vec::new();
    };
    let by_executors = options.executors.iter().map(|executors| case(*executors, *shards));
    let by_shards = options.shards[1..].iter().map(|shards| case(*executors, *shards));
    by_executors.chain(by_shards).collect()
}
