//! Benchmarks of LRMF and DTF: `cargo run --release -p bench -- NAME [options] [--json]`.
//!
//! Short ones run several times in one process and give the median with the smallest and the largest value; `placement`
//! repeats its events instead. With `--json` it
//! prints one object a line, for scripts; else a table, for people.

mod assign;
mod board;
mod latency;
mod placement;
mod report;
mod throughput;

use clap::{Parser, Subcommand};

/// Measures, and prints what was measured.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Cli {
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// How many runs, of those that are short; the median is given
    #[arg(long, global = true, default_value_t = 5)]
    runs: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Planning: a full placement, one member more, one member less
    Assign(assign::Options),
    /// Tasks changing hands, on etcd: cold start, joins, leaves, kills, the leader's death
    Placement(placement::Options),
    /// Subtasks a second through all five roles, in one process
    Throughput(throughput::Options),
    /// From the creation of a one-subtask task to its end, in one process
    Latency(latency::Options),
}

fn main() -> anyhow::Result<()> {
    let Cli { json, runs, what } = Cli::parse();
    anyhow::ensure!(runs > 0, "--runs is 0; at least 1 is needed");
    let reports = match what {
        What::Assign(options) => assign::run(&options, runs)?,
        What::Placement(options) => vec![placement::run(&options)?],
        What::Throughput(options) => vec![throughput::run(&options, runs)?],
        What::Latency(options) => vec![latency::run(&options, runs)?],
    };
    reports.iter().for_each(|report| report.print(json));
    Ok(())
}
