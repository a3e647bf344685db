//! Benchmarks of LRMF and DTF: `cargo run --release -p bench -- NAME [options] [--json]`.
//!
//! Short ones run several times in one process and give the median with the smallest and the largest value; `placement`
//! repeats its events instead. With `--json` it
//! prints one object a line, for scripts; else a table, for people.

mod api;
mod assign;
mod board;
mod cluster;
mod control;
mod dependents;
mod dispatch;
mod events;
mod fairness;
mod fanout;
mod fleet;
mod latency;
mod leading;
mod load;
mod lone;
mod member_group;
mod members;
mod placement;
mod plot;
mod polling;
mod processes;
mod recovery;
mod remote;
mod report;
mod scale;
mod schedules;
mod servers;
mod stores;
mod take_up;
mod tasks;
mod throughput;
mod usage;

use clap::{Parser, Subcommand};

/// Measures, and prints what was measured.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Cli {
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// The number of runs, of those that are short; the median is given
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
    /// One member that takes up very many tasks, or large ones, on etcd
    TakeUp(take_up::Options),
    /// Thousands of sessions on one etcd: their cost, and what one more or one less costs
    Members(members::Options),
    /// Subtasks a second through all five roles, in one process
    Throughput(throughput::Options),
    /// From the creation of a one-subtask task to its end, in one process
    Latency(latency::Options),
    /// Memory while a task of ten million subtasks runs, and of a waiting subtask
    Fanout(fanout::Options),
    /// Shares of groups under saturation, and a small task beside a huge one
    Fairness(fairness::Options),
    /// Pause, resume and cancel across executors in processes of their own
    Control(control::Options),
    /// Each role is killed while tasks run
    Recovery(recovery::Options),
    /// Throughput and cost with the number of executors in processes of their own
    Scale(scale::Options),
    /// Dispatch and cost of subtasks that travel alone, with the number of executor processes and of shards
    Lone(lone::Options),
    /// Tasks of one subtask: created, run and ended
    Tasks(tasks::Options),
    /// Schedules: how late due times are met, with thousands of them on one manager
    Schedules(schedules::Options),
    /// Dependents: how long after the end of a task thousands that wait for it have begun
    Dependents(dependents::Options),
    /// Thousands of executors: slots busy, filling, losses of executors, and the cost of each
    Fleet(fleet::Options),
    /// Remote workers: items a second through each SDK, latency, idle workers, and feeding
    Remote(remote::Options),
    /// The HTTP API: open dashboards, pages of a large table, creations over HTTP
    Api(api::Options),
    /// Dashboards of a benchmark
    #[command(hide = true)]
    Dashboards(api::WatcherOptions),
    /// Workers of a benchmark that only wait
    #[command(hide = true)]
    IdleWorkers(remote::IdleOptions),
    /// A process of a benchmark's cluster
    #[command(hide = true)]
    Role(processes::Options),
}

fn main() -> anyhow::Result<()> {
    let Cli { json, runs, what } = Cli::parse();
    anyhow::ensure!(runs > 0, "--runs is 0; at least 1 is needed");
    let reports = match what {
        What::Assign(options) => assign::run(&options, runs)?,
        What::Placement(options) => vec![placement::run(&options)?],
        What::TakeUp(options) => take_up::run(&options, runs)?,
        What::Members(options) => vec![members::run(&options)?],
        What::Throughput(options) => vec![throughput::run(&options, runs)?],
        What::Latency(options) => vec![latency::run(&options, runs)?],
        What::Fanout(options) => vec![fanout::run(&options)?],
        What::Fairness(options) => vec![fairness::run(&options)?],
        What::Control(options) => vec![control::run(&options)?],
        What::Recovery(options) => vec![recovery::run(&options)?],
        What::Scale(options) => scale::run(&options, runs)?,
        What::Lone(options) => lone::run(&options, runs)?,
        What::Tasks(options) => vec![tasks::run(&options, runs)?],
        What::Schedules(options) => vec![schedules::run(&options)?],
        What::Dependents(options) => vec![dependents::run(&options)?],
        What::Fleet(options) => vec![fleet::run(&options)?],
        What::Remote(options) => remote::run(&options, runs)?,
        What::Api(options) => api::run(&options, runs)?,
        What::Dashboards(options) => return api::watch(&options),
        What::IdleWorkers(options) => return remote::idle_workers(&options),
        What::Role(options) => return processes::run(&options),
    };
    reports.iter().for_each(|report| report.print(json));
    Ok(())
}
