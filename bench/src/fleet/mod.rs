//! Ten thousand executors: slots busy, the time to fill them, deaths, and the cost of each executor.
//!
//! The executors are members with the role's real code in this process, on shared connections; each other role has a
//! process of its own, the scheduler two. One task of subtasks that run for seconds lasts through all phases.

mod executors;
mod samples;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use dtf::TaskHandle;
use dtf::model::Role;
use dtf::model::TaskStatus;
use serde_json::json;
use tokio::runtime::Runtime;

use self::executors::Executors;
use self::samples::{Samples, last_below, least_running, longest_rest};
use crate::cluster::Cluster;
use crate::load::{self, BACKLOG, Books, LOAD, LoadParam};
use crate::polling::until;
use crate::processes::Processes;
use crate::report::Report;
use crate::servers::{ServerOptions, Servers};
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of executors
    #[arg(long, default_value_t = 10_000)]
    executors: usize,
    /// The number of slots of each executor
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// The number of shards; by default four for each executor, as far as that many are allowed
    #[arg(long)]
    shards: Option<u32>,
    /// The shortest run time of a subtask, in milliseconds
    #[arg(long, default_value_t = 1000)]
    min_ms: u64,
    /// The longest run time of a subtask, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    max_ms: u64,
    /// The number of executors that die at once; by default a tenth of them
    #[arg(long)]
    kill: Option<usize>,
    /// The TTL of sessions, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    ttl_ms: u64,
    /// The time over which the idle cost is measured, in seconds
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
    /// The time over which the busy slots are measured, in seconds
    #[arg(long, default_value_t = 30)]
    steady_s: u64,
    #[command(flatten)]
    servers: ServerOptions,
}

/// The number of different run times.
const RUN_TIMES: u64 = 10;
/// The share of the slots that counts as filled.
const FILLED: f64 = 0.95;
/// The longest time that filling the slots may take before the benchmark goes on.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time after a death, beside the TTL, in which everything should be as before.
const RECOVERY: Duration = Duration::from_secs(15);

impl Options {
    fn shards(&self) -> u32 {
        let most = dtf::model::ClusterShape::MOST as usize;
        self.shards.unwrap_or((4 * self.executors).min(most) as u32)
    }

    fn killed(&self) -> usize {
        self.kill.unwrap_or(self.executors / 10)
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// The run times in microseconds, evenly spread and in a mixed order.
    fn micros(&self) -> Vec<u64> {
        let step = (self.max_ms - self.min_ms) as f64 / (RUN_TIMES - 1) as f64;
        let millis = |at: u64| self.min_ms as f64 + step * (at * 3 % RUN_TIMES) as f64;
        (0..RUN_TIMES).map(|at| (millis(at) * 1000.0) as u64).collect()
    }

    /// The number of subtasks that all slots can run until the last phase ends.
    fn subtasks(&self) -> u64 {
        let mean_s = (self.min_ms + self.max_ms) as f64 / 2000.0;
        let seconds = PATIENCE + Duration::from_secs(self.steady_s) + 2 * (self.ttl() + RECOVERY);
        ((self.executors * self.slots) as f64 / mean_s * seconds.as_secs_f64()) as u64
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { executors, slots, min_ms, max_ms, ttl_ms, .. } = *options;
    let killed = options.killed();
    anyhow::ensure!(min_ms <= max_ms, "--min-ms is {min_ms}; at most --max-ms, {max_ms}, is allowed");
    anyhow::ensure!(killed < executors, "--kill is {killed}; less than --executors, {executors}, is allowed");
    let params = json!({
        "executors": executors, "slots": slots, "shards": options.shards(), "min_ms": min_ms, "max_ms": max_ms,
        "killed": killed, "ttl_ms": ttl_ms, "subtasks": options.subtasks(),
    });
    let mut report = Report::new("fleet", params);
    let servers = Servers::new(&options.servers)?;
    let plugins = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(measure(options, &servers, &plugins, &mut report));
    plugins.shutdown_background();
    measured?;
    report.add_peak_memory("rss_peak_mb");
    Ok(report)
}

async fn measure(
    options: &Options,
    servers: &Servers,
    plugins: &Runtime,
    report: &mut Report,
) -> anyhow::Result<()> {
    servers.describe(report).await?;
    let cluster = Cluster {
        slots: options.slots,
        ttl_ms: options.ttl_ms,
        shards: options.shards(),
        backlog: BACKLOG.max(2 * (options.executors * options.slots) as u64),
        ..servers.cluster().await?
    };
    let mut others = Processes::new(cluster.clone());
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Scheduler, Role::Collector] {
        others.start_silent(role)?;
    }
    let ports = cluster.ports().await?;
    let (begin, memory) = (Instant::now(), usage::own_rss_mib());
    let members = Executors::start(&cluster, &ports, plugins, options.executors).await?;
    report.add("join_s", begin.elapsed().as_secs_f64());
    let mut fleet = Fleet { options, servers, others, members, samples: Arc::default() };
    fleet.cost_of_executors(memory, report).await?;
    let client = cluster.process("client", &[]).await?.client();
    let param = LoadParam {
        count: options.subtasks(),
        micros: options.micros(),
        books: true,
        ..LoadParam::default()
    };
    let samples = fleet.samples.clone();
    tokio::select! {
        measured = async {
            let task = client.create_task(LOAD, param.task()).await?;
            fleet.fill(report).await;
            fleet.steady(report).await?;
            fleet.executors_die(report).await;
            fleet.scheduler_dies(report).await?;
            check_books(&task, options.subtasks(), report).await
        } => measured,
        never = samples.follow() => match never {},
    }
}

/// The executors and the processes with the other roles.
struct Fleet<'a> {
    options: &'a Options,
    servers: &'a Servers,
    others: Processes,
    members: Executors,
    samples: Arc<Samples>,
}

impl Fleet<'_> {
    /// Measures the memory, the connections and the idle cost of the executors.
    async fn cost_of_executors(&self, memory: Option<f64>, report: &mut Report) -> anyhow::Result<()> {
        let executors = self.members.count() as f64;
        if let (Some(before), Some(now)) = (memory, usage::own_rss_mib()) {
            report.add("kib_per_executor", (now - before) * 1024.0 / executors);
        }
        report.add("connections", usage::own_sockets()? as f64);
        report.add("redis_connections", self.servers.redis_usage().await?.clients);
        let (servers, redis) = (self.servers.cpu().await?, self.servers.redis_usage().await?);
        let (own, begin) = (usage::own_cpu_s(), Instant::now());
        tokio::time::sleep(Duration::from_secs(self.options.idle_s)).await;
        let seconds = begin.elapsed().as_secs_f64();
        let used = self.servers.cpu().await?.since(servers);
        let commands = self.servers.redis_usage().await?.commands - redis.commands;
        report.add("idle_us_per_s_per_executor", (usage::own_cpu_s() - own) * 1e6 / seconds / executors);
        report.add("idle_redis_cores", used.redis_s / seconds);
        report.add("idle_etcd_cores", used.etcd_s / seconds);
        report.add("idle_sql_cores", used.sql_s / seconds);
        report.add("idle_redis_commands_per_s", commands / seconds);
        Ok(())
    }

    /// The number of slots of the executors that live.
    fn slots(&self) -> usize {
        self.members.count() * self.options.slots
    }

    /// The number of running subtasks at which the slots count as filled.
    fn filled(&self) -> u32 {
        (self.slots() as f64 * FILLED).ceil() as u32
    }

    /// Measures the time until the slots are filled from cold.
    async fn fill(&self, report: &mut Report) {
        let begin = Instant::now();
        let filled = until(|| async { load::running() >= self.filled() });
        if tokio::time::timeout(PATIENCE, filled).await.is_ok() {
            report.add("fill_s", begin.elapsed().as_secs_f64());
        }
    }

    /// Measures the share of busy slots, the rate of dispatch and its cost while nothing happens.
    async fn steady(&self, report: &mut Report) -> anyhow::Result<()> {
        let slot_time = || load::slot_time().values().sum::<Duration>();
        let (servers, others, own) = (self.servers.cpu().await?, self.others.cpu_s(), usage::own_cpu_s());
        let (begin, busy, started) = (Instant::now(), slot_time(), load::executed());
        tokio::time::sleep(Duration::from_secs(self.options.steady_s)).await;
        let seconds = begin.elapsed().as_secs_f64();
        let subtasks = (load::executed() - started) as f64;
        let busy = (slot_time() - busy).as_secs_f64();
        report.add("busy_share", busy / (self.slots() as f64 * seconds));
        report.add("subtasks_per_s", subtasks / seconds);
        let used = self.servers.cpu().await?.since(servers);
        report.add("redis_us_per_subtask", used.redis_s * 1e6 / subtasks);
        report.add("etcd_cores", used.etcd_s / seconds);
        report.add("sql_cores", used.sql_s / seconds);
        report.add("executors_us_per_subtask", (usage::own_cpu_s() - own) * 1e6 / subtasks);
        report.add("others_us_per_subtask", (self.others.cpu_s() - others) * 1e6 / subtasks);
        Ok(())
    }

    /// Kills many executors at once, and measures the time until all that they ran runs again and the slots of the
    /// others are filled.
    async fn executors_die(&mut self, report: &mut Report) {
        let begin = Instant::now();
        self.members.kill(self.options.killed()).await;
        report.add("cut_off", load::cut_off() as f64);
        let again = until(|| async { load::cut_off() == 0 });
        if tokio::time::timeout(PATIENCE, again).await.is_ok() {
            report.add("executors_died_run_again_s", begin.elapsed().as_secs_f64());
        }
        tokio::time::sleep((self.options.ttl() + RECOVERY).saturating_sub(begin.elapsed())).await;
        self.after_death(begin, ["executors_died_least_busy", "executors_died_refilled_s"], report);
    }

    /// Kills the scheduler, and measures the time until its successor has filled the slots.
    async fn scheduler_dies(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let scheduler = self.others.oldest(Role::Scheduler)?;
        let begin = Instant::now();
        self.others.kill(scheduler)?;
        tokio::time::sleep(self.options.ttl() + RECOVERY).await;
        self.after_death(begin, ["scheduler_died_least_busy", "scheduler_died_refilled_s"], report);
        report.add("scheduler_died_rest_s", longest_rest(&self.samples.since(begin)).as_secs_f64());
        let (started, all) = (load::executed(), self.options.subtasks());
        anyhow::ensure!(started < all, "all {all} subtasks had started before the last phase was over");
        Ok(())
    }

    fn after_death(&self, begin: Instant, figures: [&'static str; 2], report: &mut Report) {
        let samples = self.samples.since(begin);
        report.add(figures[0], f64::from(least_running(&samples)) / self.slots() as f64);
        report.add(figures[1], last_below(&samples, begin, self.filled()).as_secs_f64());
    }
}

/// Waits for the end of the task and compares its books with its inputs.
async fn check_books(task: &TaskHandle, subtasks: u64, report: &mut Report) -> anyhow::Result<()> {
    let row = task.wait().await?;
    anyhow::ensure!(row.status == TaskStatus::Completed, "the task ended as {}: {}", row.status, row.reason);
    let books: Books = serde_json::from_value(row.result.context("a completed task has a result")?.data)?;
    report.add("lost", subtasks.saturating_sub(books.results) as f64);
    report.add("double_counted", books.results.saturating_sub(subtasks) as f64);
    report.add("run_again", load::executed() as f64 - subtasks as f64);
    let exact = books == Books::of(subtasks);
    anyhow::ensure!(exact || books.results != subtasks, "a subtask was counted in place of another one");
    Ok(())
}
